//! A caller that keeps trying: another node when one does not answer, the same request with the same ids.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proto::admin::v1::cluster_service_client::ClusterServiceClient;
use proto::v1::dead_letter_service_client::DeadLetterServiceClient;
use proto::v1::executor_service_client::ExecutorServiceClient;
use proto::v1::scheduler_service_client::SchedulerServiceClient;
use proto::v1::topic_service_client::TopicServiceClient;
use tonic::transport::{Channel, Endpoint};

use crate::call::Problem;
use crate::{Error, Result};

/// A message may hold a batch of 1,000 with large payloads.
const MESSAGE_BYTES_MAX: usize = 80 << 20;

/// Channels to all nodes of a cluster.
#[derive(Debug)]
pub struct Caller {
    channels: Vec<(String, Channel)>,
    at: AtomicUsize,
    /// How long one attempt may take.
    pub attempt_within: Duration,
    /// How long all attempts of a call may take.
    pub call_within: Duration,
}

/// A channel to one node that notices when the node is gone or stopped.
///
/// # Errors
///
/// When the endpoint is no URL.
pub fn channel(endpoint: &str) -> Result<Channel> {
    let endpoint = if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") };
    Ok(Endpoint::from_shared(endpoint.clone())
        .map_err(|error| Error(format!("endpoint {endpoint}: {error}")))?
        .connect_timeout(Duration::from_millis(500))
        .http2_keep_alive_interval(Duration::from_secs(2))
        .keep_alive_timeout(Duration::from_secs(2))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20)
        .connect_lazy())
}

impl Caller {
    /// For these endpoints; connects when first used.
    ///
    /// # Errors
    ///
    /// When one of them is no URL, or there is none.
    pub fn new(endpoints: &[String]) -> Result<Self> {
        if endpoints.is_empty() {
            return Err(Error::new("no endpoint"));
        }
        let channels =
            endpoints.iter().map(|endpoint| Ok((endpoint.clone(), channel(endpoint)?))).collect::<Result<_>>()?;
        Ok(Self {
            channels,
            at: AtomicUsize::new(0),
            attempt_within: Duration::from_secs(3),
            call_within: Duration::from_secs(30),
        })
    }

    /// The node that answered last.
    #[must_use]
    pub fn current(&self) -> Channel {
        self.channels[self.at.load(Ordering::Relaxed) % self.channels.len()].1.clone()
    }

    /// Tries until something definite is said or time is up.
    ///
    /// # Errors
    ///
    /// The refusal; or the last problem, marked uncertain if any attempt may have had an effect.
    pub async fn call<T, F>(&self, attempt: impl Fn(Channel) -> F) -> Result<T, Problem>
    where
        F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let deadline = Instant::now() + self.call_within;
        let mut certain = true;
        loop {
            let answer = tokio::time::timeout(self.attempt_within, attempt(self.current())).await;
            let mut problem = match answer {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => Problem::from(status),
                Err(_) => Problem::from(tonic::Status::deadline_exceeded("no answer in time")),
            };
            if !problem.may_retry() {
                return Err(problem);
            }
            certain &= problem.certain;
            problem.certain = certain;
            if Instant::now() >= deadline {
                return Err(problem);
            }
            self.turn(&problem);
            let pause = problem.retry_after.unwrap_or(Duration::from_millis(20));
            tokio::time::sleep(pause.min(Duration::from_millis(200))).await;
        }
    }

    /// To the node a problem points at, or the next one.
    fn turn(&self, problem: &Problem) {
        // Overload is no reason to burden another node: every node takes the call to the same leader.
        if matches!(problem.reason.as_str(), "OVERLOADED" | "DISK_LOW" | "CLOCK_HELD" | "MEMBERSHIP_BUSY") {
            return;
        }
        let hint = problem
            .metadata
            .get("leader_endpoint")
            .and_then(|leader| self.channels.iter().position(|(endpoint, _)| strip(endpoint) == strip(leader)));
        match hint {
            Some(at) => self.at.store(at, Ordering::Relaxed),
            None => drop(self.at.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

fn strip(endpoint: &str) -> &str {
    endpoint.rsplit("://").next().unwrap_or(endpoint)
}

/// The scheduler service of a node.
#[must_use]
pub fn scheduler(channel: Channel) -> SchedulerServiceClient<Channel> {
    SchedulerServiceClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// The executor service of a node.
#[must_use]
pub fn executor(channel: Channel) -> ExecutorServiceClient<Channel> {
    ExecutorServiceClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// The topic service of a node.
#[must_use]
pub fn topics(channel: Channel) -> TopicServiceClient<Channel> {
    TopicServiceClient::new(channel)
}

/// The dead letters of a node.
#[must_use]
pub fn dead_letters(channel: Channel) -> DeadLetterServiceClient<Channel> {
    DeadLetterServiceClient::new(channel)
}

/// The cluster service of a node.
#[must_use]
pub fn cluster(channel: Channel) -> ClusterServiceClient<Channel> {
    ClusterServiceClient::new(channel)
}
