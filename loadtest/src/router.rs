//! Sends calls where a good client would: to the leader of the id's partition.
//!
//! Plain unary calls over one connection per node, as the client crate and any other client of gRPC makes them; nothing is coalesced.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use harness::call::Problem;
use harness::caller;
use proto::v1;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

/// How long one attempt may take.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(10);

/// Who leads a partition: node index and term.
type Leaders = BTreeMap<u32, (usize, u64)>;

/// Channels to all nodes, and who leads what.
#[derive(Debug)]
pub struct Router {
    shared: Arc<Shared>,
    partitions: u32,
    unrouted: bool,
    next: AtomicUsize,
    follower: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    nodes: Vec<(String, Channel)>,
    leaders: RwLock<Leaders>,
    kick: Notify,
}

impl Router {
    /// Asks the nodes who leads.
    ///
    /// # Errors
    ///
    /// When an endpoint is no URL, or none answers within 5 s.
    pub async fn new(endpoints: &[String], unrouted: bool) -> anyhow::Result<Self> {
        let nodes = endpoints
            .iter()
            .map(|endpoint| Ok((endpoint.clone(), caller::channel(endpoint)?)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let shared = Arc::new(Shared { nodes, leaders: RwLock::default(), kick: Notify::new() });
        let deadline = Instant::now() + Duration::from_secs(5);
        while shared.refresh().await == 0 {
            if Instant::now() > deadline {
                anyhow::bail!("no answer from {}", endpoints.join(", "));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let partitions = shared.read().keys().max().map_or(1, |partition| partition + 1);
        let follower = tokio::spawn({
            let shared = shared.clone();
            async move {
                loop {
                    drop(tokio::time::timeout(Duration::from_millis(500), shared.kick.notified()).await);
                    shared.refresh().await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        });
        Ok(Self { shared, partitions, unrouted, next: AtomicUsize::new(0), follower })
    }

    /// How many partitions there are.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// The partition of an id in the default namespace.
    #[must_use]
    pub fn partition(&self, id: &str) -> u32 {
        harness::route::partition("default", id, self.partitions)
    }

    /// A channel to the leader of a partition; to any node when that is unknown or routing is off.
    #[must_use]
    pub fn channel(&self, partition: u32) -> Channel {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let leader = if self.unrouted { None } else { self.shared.read().get(&partition).map(|(node, _)| *node) };
        let (_, channel) = &self.shared.nodes[leader.unwrap_or(turn % self.shared.nodes.len())];
        channel.clone()
    }

    /// Looks for the leaders again, soon.
    pub fn kick(&self) {
        self.shared.kick.notify_one();
    }

    /// Repeats a call until it gets a definite answer; `retried` hears of every other one.
    ///
    /// # Errors
    ///
    /// The refusal, or the last problem after `within`.
    pub async fn call<T, F>(
        &self,
        partition: u32,
        within: Duration,
        retried: impl Fn(&str),
        attempt: impl Fn(Channel) -> F,
    ) -> Result<T, Problem>
    where
        F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let deadline = Instant::now() + within;
        loop {
            let problem = match tokio::time::timeout(ATTEMPT_WITHIN, attempt(self.channel(partition))).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => Problem::from(status),
                Err(_) => Problem::from(tonic::Status::deadline_exceeded("no answer in time")),
            };
            if !problem.may_retry() || Instant::now() > deadline {
                return Err(problem);
            }
            retried(&problem.label());
            self.kick();
            tokio::time::sleep(problem.retry_after.unwrap_or(Duration::from_millis(30))).await;
        }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl Shared {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Leaders> {
        self.leaders.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Asks all nodes; returns how many partitions have a known leader.
    async fn refresh(&self) -> usize {
        let asked = self.nodes.iter().map(|(_, channel)| {
            let mut client = caller::executor(channel.clone());
            async move {
                tokio::time::timeout(Duration::from_millis(500), client.leaders(v1::LeadersRequest {})).await.ok()?.ok()
            }
        });
        let answers = futures::future::join_all(asked).await;
        let mut leaders = self.leaders.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        for leader in answers.into_iter().flatten().flat_map(|answer| answer.into_inner().leaders) {
            let at = self.nodes.iter().position(|(endpoint, _)| strip(endpoint) == strip(&leader.endpoint));
            let newer = leaders.get(&leader.partition).is_none_or(|(_, term)| leader.term >= *term);
            if let Some(at) = at.filter(|_| newer) {
                leaders.insert(leader.partition, (at, leader.term));
            }
        }
        leaders.len()
    }
}

fn strip(endpoint: &str) -> &str {
    endpoint.rsplit("://").next().unwrap_or(endpoint).trim_end_matches('/')
}
