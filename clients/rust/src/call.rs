//! The client, and the one loop every call goes through: pick a node, try, ask [`crate::retry`] what next.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto::v1::executor_service_client::ExecutorServiceClient;
use proto::v1::{LeadersRequest, LeadersResponse};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::builder::{Builder, checked, normal};
use crate::connection::Connection;
use crate::error::Error;
use crate::leaders::Leaders;
use crate::retry::{Attempts, Next, Policy, Target};
use crate::route;

/// The largest answer taken: a page of 1,000 triggers with full payloads fits.
pub(crate) const MESSAGE_BYTES_MAX: usize = 80 << 20;

/// A client of one cluster. Cheap to clone; clones share connections and beliefs about leaders.
///
/// Every mutating call carries a request id (or the trigger's id) made before its first try, so that a call repeated
/// after an unknown outcome is answered as the first would have been. An `Ok` of a mutating call means durable on a
/// majority. Dropping the future of a call leaves its outcome unknown.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
    pub(crate) policy: Policy,
}

/// What clones share.
pub(crate) struct Inner {
    started: Instant,
    leaders: Mutex<Leaders>,
    channels: Mutex<HashMap<String, Connection>>,
    settings: Builder,
}

/// What the loop needs to know of a call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct How {
    /// Partition of the id it is about, when it is about one.
    pub partition: Option<u32>,
    /// A repeat has the effect and the answer of the first.
    pub repeatable: bool,
    /// Time the server is asked to take, on top of what a call may take.
    pub patience: Duration,
}

impl How {
    /// A read, or a write that can be repeated, of nothing in particular.
    pub(crate) fn repeatable() -> Self {
        How { repeatable: true, ..How::default() }
    }

    /// A write that has its effect each time.
    pub(crate) fn once() -> Self {
        How::default()
    }
}

impl Client {
    /// A client with default settings that has asked one of the nodes who leads what. See [`Builder::endpoints`] for
    /// the form of an endpoint.
    pub async fn connect(endpoints: impl AsRef<str>) -> Result<Client, Error> {
        Client::builder().endpoints([endpoints]).connect().await
    }

    /// Settings to begin with.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(settings: Builder) -> Client {
        let inner = Inner {
            started: Instant::now(),
            leaders: Mutex::new(Leaders::new(settings.endpoints.clone())),
            channels: Mutex::default(),
            settings,
        };
        Client { policy: inner.settings.policy, inner: Arc::new(inner) }
    }

    /// The same client with other bounds for its calls.
    pub fn with_policy(&self, policy: Policy) -> Client {
        Client { inner: self.inner.clone(), policy }
    }

    /// Bounds of its calls.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Number of partitions of the cluster; 0 until a node was asked.
    pub fn partitions(&self) -> u32 {
        self.inner.leaders().partitions()
    }

    /// Asks a node who leads what, and remembers it.
    pub async fn leaders(&self) -> Result<LeadersResponse, Error> {
        let answer = self
            .call(How::repeatable(), LeadersRequest {}, |channel, request| async move {
                ExecutorServiceClient::new(channel).leaders(request).await
            })
            .await?;
        let news = answer.leaders.iter().map(|l| {
            let endpoint = if l.endpoint.is_empty() { String::new() } else { normal(&l.endpoint) };
            (l.partition, endpoint, l.term)
        });
        self.inner.leaders().learned(self.now(), news);
        Ok(answer)
    }

    /// Time since the client was made.
    pub(crate) fn now(&self) -> Duration {
        self.inner.started.elapsed()
    }

    pub(crate) fn new_request_id(&self) -> String {
        (self.inner.settings.ids)()
    }

    /// Fills in what a caller may leave out.
    pub(crate) fn fill(&self, namespace: &mut String, request_id: &mut String) {
        self.fill_namespace(namespace);
        if request_id.is_empty() {
            *request_id = self.new_request_id();
        }
    }

    pub(crate) fn fill_namespace(&self, namespace: &mut String) {
        if namespace.is_empty() {
            namespace.clone_from(&self.inner.settings.namespace);
        }
    }

    /// How to call about one id: at its leader, repeatable.
    pub(crate) fn about(&self, namespace: &str, id: &str) -> How {
        let partition =
            if self.inner.settings.routing { route::partition(namespace, id, self.partitions()) } else { None };
        How { partition, ..How::repeatable() }
    }

    /// Makes a call with as many tries as it takes and may take. `request` is cloned for each.
    pub(crate) async fn call<Req, Res, F, Fut>(&self, how: How, request: Req, send: F) -> Result<Res, Error>
    where
        Req: Clone,
        F: Fn(Connection, Request<Req>) -> Fut,
        Fut: Future<Output = Result<Response<Res>, Status>>,
    {
        self.refresh_in_background(how);
        let policy = Policy {
            total: self.policy.total.saturating_add(how.patience),
            attempt: self.policy.attempt.saturating_add(how.patience),
            ..self.policy
        };
        let mut attempts = Attempts::new(policy, self.now(), how.repeatable);
        let mut named: Option<String> = None;
        let mut last = None;
        loop {
            let Some(timeout) = attempts.begin(self.now()) else {
                return Err(attempts.verdict(last.unwrap_or(Error::TimedOut { after: policy.total })));
            };
            let endpoint = named.take().unwrap_or_else(|| self.inner.pick(self.now(), how.partition));
            let error = match self.attempt(&endpoint, timeout, request.clone(), &send).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match attempts.failed(self.now(), &error, rand::random()) {
                Next::GiveUp => return Err(attempts.verdict(error)),
                Next::Again { after, target } => {
                    named = self.follow(how.partition, &endpoint, target);
                    last = Some(error);
                    if !after.is_zero() {
                        tokio::time::sleep(after).await;
                    }
                }
            }
        }
    }

    pub(crate) async fn attempt<Req, Res, F, Fut>(
        &self,
        endpoint: &str,
        timeout: Duration,
        request: Req,
        send: &F,
    ) -> Result<Res, Error>
    where
        F: Fn(Connection, Request<Req>) -> Fut,
        Fut: Future<Output = Result<Response<Res>, Status>>,
    {
        let channel = self.inner.channel(endpoint)?;
        let mut request = Request::new(request);
        request.set_timeout(timeout);
        match tokio::time::timeout(timeout, send(channel, request)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(Error::from_status(&status, endpoint, timeout)),
            Err(_) => Err(Error::TimedOut { after: timeout }),
        }
    }

    /// Records what a failure taught about nodes; the endpoint the next try must go to, if it must.
    pub(crate) fn follow(&self, partition: Option<u32>, endpoint: &str, target: Target) -> Option<String> {
        let mut leaders = self.inner.leaders();
        match target {
            Target::Same => Some(endpoint.to_owned()),
            Target::Other => {
                leaders.failed(self.now(), endpoint);
                None
            }
            // A hint that cannot be an address is no hint.
            Target::Leader(leader) if checked(&leader).is_err() => None,
            Target::Leader(leader) => {
                let leader = normal(&leader);
                if let Some(partition) = partition {
                    leaders.hinted(partition, &leader);
                }
                Some(leader)
            }
        }
    }

    /// Keeps beliefs about leaders fresh, for calls that profit from them, without making them wait.
    fn refresh_in_background(&self, how: How) {
        if how.partition.is_none() || !self.inner.leaders().take_refresh(self.now()) {
            return;
        }
        let client = self.clone();
        tokio::spawn(async move {
            if let Err(error) = client.leaders().await {
                tracing::debug!(%error, "could not refresh who leads what");
            }
        });
    }
}

impl Inner {
    pub(crate) fn leaders(&self) -> MutexGuard<'_, Leaders> {
        // Beliefs are valid after any partial update.
        self.leaders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn pick(&self, now: Duration, partition: Option<u32>) -> String {
        self.leaders().pick(now, partition).to_owned()
    }

    /// The connection to an endpoint, made when first used, kept for good; it reconnects by itself.
    pub(crate) fn channel(&self, endpoint: &str) -> Result<Connection, Error> {
        let endpoint = &normal(endpoint);
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(endpoint) {
            return Ok(channel.clone());
        }
        let dialled = checked(endpoint)?
            .connect_timeout(self.settings.connect_timeout)
            .tcp_nodelay(true)
            // Below 30 s some servers and proxies close with "too many pings".
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true)
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20);
        let channel = Connection::new((self.settings.dial)(dialled), self.settings.api_key.clone());
        channels.insert(endpoint.to_owned(), channel.clone());
        Ok(channel)
    }
}
