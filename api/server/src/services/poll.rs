//! Work for executors without streams: one long poll over the partitions that this node leads.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use proto::v1;
use scheduler::dispatcher::Hello;
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

impl Services {
    pub(crate) async fn poll_here(&self, message: v1::PollRequest) -> Result<v1::PollResponse, Error> {
        let mut v = Violations::new();
        v.executor("executor", &message.executor);
        let namespace: Arc<str> = v.namespace("namespace", message.namespace).into();
        v.executor_topics("topics", &message.topics);
        v.require((1..=DELIVERIES_MAX).contains(&message.max), "max", || {
            format!("expected 1 to {DELIVERIES_MAX}, got {}", message.max)
        });
        let wait = message.wait.map(|wait| convert::delay_of(&mut v, "wait", &wait, Range(0, WAIT_MS_MAX)));
        v.finish(())?;
        let wait = Duration::from_millis(wait.map_or(0, |wait| wait.as_millis()));
        let executor: Arc<str> = message.executor.into();
        let topics: Vec<Arc<str>> = message.topics.into_iter().map(Arc::from).collect();

        let mut led: Vec<(u32, Handle)> = self
            .node
            .partitions()
            .iter()
            .filter_map(|partition| Some((partition.number(), partition.dispatcher()?)))
            .collect();
        if led.is_empty() {
            return Err(self.node.partition(0)?.not_leader());
        }
        // Shares of `max` add up to it, so that no more is handed out than was asked for. When there are fewer than
        // partitions, chance decides which are asked.
        let turn = uuid::Uuid::now_v7().as_u128() as usize % led.len();
        led.rotate_left(turn);
        let count = led.len() as u32;
        let shares = led.into_iter().zip(0..).map(|((partition, handle), place)| {
            let share = message.max / count + u32::from(place < message.max % count);
            (partition, handle, share)
        });
        let mut polls: FuturesUnordered<_> = shares
            .filter(|(_, _, share)| *share > 0)
            .map(|(partition, handle, share)| {
                let hello = Hello {
                    executor: executor.clone(),
                    namespace: namespace.clone(),
                    topics: topics.clone(),
                    in_flight_max: share,
                    held: Vec::new(),
                    poll: true,
                };
                Polled::begin(partition, handle, hello)
            })
            .collect();
        let mut open = Vec::new();
        while let Some(polled) = polls.next().await {
            open.extend(polled);
        }

        let mut found = Vec::new();
        let deadline = tokio::time::Instant::now() + wait.max(GATHER);
        let first = async {
            let mut waiting: FuturesUnordered<_> = open.iter_mut().map(Polled::next).collect();
            while let Some(deliveries) = waiting.next().await {
                if !deliveries.is_empty() {
                    return deliveries;
                }
            }
            std::future::pending().await
        };
        tokio::select! {
            deliveries = tokio::time::timeout_at(deadline, first) => found.extend(deliveries.unwrap_or_default()),
            () = self.node.stopping() => {}
        }
        if !found.is_empty() {
            tokio::time::sleep(GATHER).await;
        }
        for polled in open {
            found.extend(polled.end().await);
        }
        Ok(v1::PollResponse { deliveries: found })
    }
}

/// A session for the time of a poll.
struct Polled {
    partition: u32,
    handle: Handle,
    session: scheduler::dispatcher::SessionId,
    outbox: mpsc::UnboundedReceiver<Outbound>,
}

impl Polled {
    async fn begin(partition: u32, handle: Handle, hello: Hello) -> Option<Polled> {
        let (outbound, outbox) = mpsc::unbounded_channel();
        let (reply, welcome) = oneshot::channel();
        handle.tell(partition, Event::Open { hello, outbound, reply }).await.ok()?;
        let session = welcome.await.ok()?.session;
        Some(Polled { partition, handle, session, outbox })
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
