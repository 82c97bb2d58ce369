//! Work for executors without streams: one long poll over the partitions that this node leads.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use proto::v1;
use scheduler::dispatcher::{Hello, SessionId};
use tokio::sync::{mpsc, oneshot};

use super::Services;
use crate::convert::{self, Range};
use crate::dispatch::{Event, Handle, Outbound};
use crate::error::Error;
use crate::validate::Violations;

const WAIT_MS_MAX: u64 = 60_000;
const DELIVERIES_MAX: u32 = 1_000;
/// How long a poll that got something waits for more from the other partitions.
const GATHER: Duration = Duration::from_millis(2);
/// How long a poll waits before it looks again which partitions are led here.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long a poll for less than one trigger of each partition waits for some of them before it turns to others.
const TURN: Duration = Duration::from_millis(100);

impl Services {
    pub(crate) async fn poll_here(&self, message: v1::PollRequest) -> Result<v1::PollResponse, Error> {
        let mut v = Violations::new();
        v.executor("executor", &message.executor);
        let namespace: Arc<str> = v.namespace("namespace", message.namespace).into();
        v.not_reserved_namespace("namespace", &namespace);
        v.executor_topics("topics", &message.topics);
        v.require((1..=DELIVERIES_MAX).contains(&message.max), "max", || {
            format!("expected 1 to {DELIVERIES_MAX}, got {}", message.max)
        });
        let wait = message.wait.map(|wait| convert::delay_of(&mut v, "wait", &wait, Range(0, WAIT_MS_MAX)));
        v.finish(())?;
        let wait = Duration::from_millis(wait.map_or(0, |wait| wait.as_millis()));
        let topics: Vec<Arc<str>> = message.topics.into_iter().map(Arc::from).collect();

        let asked = Asked { executor: message.executor.into(), namespace, topics, max: message.max };
        let deadline = tokio::time::Instant::now() + wait;
        // Chance decides where to begin, so that no partition is always asked last.
        let mut first = uuid::Uuid::now_v7().as_u128() as usize;
        let mut looked_at = 0;
        loop {
            let mut led: Vec<(u32, Handle)> = self
                .node
                .partitions()
                .iter()
                .filter_map(|partition| Some((partition.number(), partition.dispatcher()?)))
                .collect();
            if led.is_empty() {
                return Err(self.node.partition(0)?.not_leader());
            }
            let count = led.len();
            led.rotate_left(first % count);
            led.truncate(asked.max as usize);
            looked_at += led.len();
            first = first.wrapping_add(led.len());
            // No more than `max` may be handed out. If that is less than one for each partition they are asked in turns:
            // once quickly, since work may be waiting already, then for a while each.
            let turn = match () {
                () if led.len() == count => LOOK_AGAIN,
                () if looked_at <= count => GATHER,
                () => TURN,
            };
            let now = tokio::time::Instant::now();
            let until = deadline.min(now + turn).max(now + GATHER);
            let deliveries = asked.ask(led, until, self.node.stopping()).await;
            let over = looked_at >= count && tokio::time::Instant::now() >= deadline;
            if !deliveries.is_empty() || over || self.node.stopping().now_or_never().is_some() {
                return Ok(v1::PollResponse { deliveries });
            }
        }
    }
}

/// What a poll asks for.
struct Asked {
    executor: Arc<str>,
    namespace: Arc<str>,
    topics: Vec<Arc<str>>,
    max: u32,
}

impl Asked {
    /// Waits until one of the partitions has something, then takes what the others have.
    async fn ask(
        &self,
        partitions: Vec<(u32, Handle)>,
        until: tokio::time::Instant,
        stopping: impl Future<Output = ()>,
    ) -> Vec<v1::Delivery> {
        let count = partitions.len() as u32;
        // Shares of `max` that add up to it.
        let mut polls: FuturesUnordered<_> = partitions
            .into_iter()
            .zip(0..)
            .map(|((partition, handle), place)| {
                let hello = Hello {
                    executor: self.executor.clone(),
                    namespace: self.namespace.clone(),
                    topics: self.topics.clone(),
                    in_flight_max: self.max / count + u32::from(place < self.max % count),
                    held: Vec::new(),
                    poll: true,
                };
                // A task, so that a session is known here, and can be closed, also when nobody waits for it any more.
                tokio::spawn(Polled::begin(partition, handle, hello))
            })
            .collect();
        let mut open = Vec::new();
        while let Some(polled) = polls.next().await {
            open.extend(polled.ok().flatten());
        }
        let first = async {
            let mut waiting: FuturesUnordered<_> = open.iter_mut().map(Polled::next).collect();
            while let Some(deliveries) = waiting.next().await {
                if !deliveries.is_empty() {
                    return deliveries;
                }
            }
            std::future::pending().await
        };
        let mut found = tokio::select! {
            found = tokio::time::timeout_at(until, first) => found.unwrap_or_default(),
            () = stopping => Vec::new(),
        };
        if !found.is_empty() {
            tokio::time::sleep(GATHER).await;
        }
        for polled in open {
            found.extend(polled.end().await);
        }
        found
    }
}

/// A session for the time of a poll; closed when dropped, as when the caller hangs up. What it was handed by then is
/// handed out again when the lease has run out.
struct Polled {
    partition: u32,
    handle: Handle,
    session: SessionId,
    outbox: mpsc::UnboundedReceiver<Outbound>,
    closed: bool,
}

impl Polled {
    async fn begin(partition: u32, handle: Handle, hello: Hello) -> Option<Polled> {
        let (outbound, outbox) = mpsc::unbounded_channel();
        let (reply, welcome) = oneshot::channel();
        handle.tell(partition, Event::Open { hello, outbound, reply }).await.ok()?;
        let session = welcome.await.ok()?.session;
        Some(Polled { partition, handle, session, outbox, closed: false })
    }

    /// The next deliveries; none when the partition is led no more.
    async fn next(&mut self) -> Vec<v1::Delivery> {
        while let Some(outbound) = self.outbox.recv().await {
            if let Outbound::Deliveries(deliveries) = outbound {
                return convert::deliveries(self.partition, deliveries);
            }
        }
        Vec::new()
    }

    /// Ends the session; what was handed out until then is returned, so that no delivery is lost on the way.
    async fn end(mut self) -> Vec<v1::Delivery> {
        let mut found = Vec::new();
        self.closed = true;
        if self.handle.tell(self.partition, Event::Close(self.session)).await.is_ok() {
            // The dispatcher hangs up when it has heard that.
            loop {
                let more = self.next().await;
                if more.is_empty() {
                    break;
                }
                found.extend(more);
            }
        }
        found
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        if !self.closed {
            let (handle, partition, session) = (self.handle.clone(), self.partition, self.session);
            tokio::spawn(async move {
                // When its term is over so is the session.
                let _ = handle.tell(partition, Event::Close(session)).await;
            });
        }
    }
}
