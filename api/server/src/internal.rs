//! Runs the internal triggers of the business domains: pure changes of state, whose payload is the command that makes them.
//!
//! The node that leads a partition has a session of its own with the dispatcher for every namespace that has such triggers, and
//! completes each with its command, in one step. Nothing outside is touched, so it does not matter how often one is handed out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use prost::Message;
use scheduler::dispatcher::{Done, HeldLease, Hello, Outcome, OutcomeResult, Verdict};
use scheduler::record::Trigger;
use tokio::sync::{mpsc, oneshot, watch};

use crate::dispatch::{Event, Handle, Outbound};
use crate::feed::Feed;

/// Executor of internal triggers.
pub const EXECUTOR: &str = "bosingak.internal";
/// Triggers of a namespace that may be undecided.
const IN_FLIGHT_MAX: u32 = 4_096;
/// How long to wait before a session that ended is opened again.
const PAUSE: Duration = Duration::from_millis(200);

/// Completes internal triggers of a partition until dropped.
pub async fn run(partition: u32, feed: &Feed, dispatcher: watch::Receiver<Option<Handle>>) {
    let mut progress = feed.progress();
    let mut served = BTreeSet::new();
    let mut sessions = FuturesUnordered::new();
    loop {
        for topic in feed.topics().iter().filter(|topic| topic.name == domain::triggers::INTERNAL) {
            if served.insert(topic.namespace.clone()) {
                sessions.push(serve(partition, topic.namespace.as_str().into(), dispatcher.clone()));
            }
        }
        let topics = feed.topics().len();
        let grown = async {
            while progress.changed().await.is_ok() {
                if feed.topics().len() > topics {
                    return;
                }
            }
            std::future::pending().await
        };
        tokio::select! {
            () = grown => {}
            Some(()) = sessions.next() => {}
        }
    }
}

/// Serves one namespace, in one session after another.
async fn serve(partition: u32, namespace: Arc<str>, mut dispatcher: watch::Receiver<Option<Handle>>) {
    loop {
        let Ok(handle) = dispatcher.wait_for(Option::is_some).await.map(|handle| handle.clone()) else {
            // Without a dispatcher the term is about to end.
            return std::future::pending().await;
        };
        if let Some(handle) = handle {
            session(partition, &namespace, &handle).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn session(partition: u32, namespace: &Arc<str>, dispatcher: &Handle) {
    let (outbound, mut outbox) = mpsc::unbounded_channel();
    let (reply, welcome) = oneshot::channel();
    let executor: Arc<str> = EXECUTOR.into();
    let hello = Hello {
        executor: executor.clone(),
        namespace: namespace.clone(),
        topics: vec![domain::triggers::INTERNAL.into()],
        in_flight_max: IN_FLIGHT_MAX,
        held: Vec::new(),
        poll: false,
    };
    if dispatcher.tell(partition, Event::Open { hello, outbound, reply }).await.is_err() {
        return;
    }
    let Ok(welcome) = welcome.await else { return };
    while let Some(outbound) = outbox.recv().await {
        match outbound {
            Outbound::Deliveries(deliveries) => {
                let count = deliveries.len() as u32;
                let outcomes = deliveries.into_iter().map(|delivery| Outcome {
                    sequence: delivery.row.position.generation.number(),
                    result: command_of(&delivery.row.value),
                    lease: HeldLease {
                        namespace: delivery.topic.namespace.clone(),
                        id: delivery.row.id,
                        generation: delivery.row.position.generation,
                        token: delivery.token,
                        attempt: delivery.row.attempt,
                    },
                });
                let report = Event::Report(welcome.session, executor.clone(), outcomes.collect());
                for event in [report, Event::Credit(welcome.session, count)] {
                    if dispatcher.tell(partition, event).await.is_err() {
                        return;
                    }
                }
            }
            Outbound::Results(results) => results.iter().for_each(|result| told(partition, namespace, result)),
            Outbound::GoAway { .. } => return,
            Outbound::Assigned { .. } | Outbound::Extended(_) => {}
        }
    }
}

/// The payload is the command.
fn command_of(value: &Bytes) -> Done {
    match Trigger::decode(value.clone()) {
        Ok(trigger) => Done::Success { business: trigger.payload },
        Err(error) => Done::Fail { error: error.to_string() },
    }
}

/// A domain never refuses its own: what has nothing left to do is a success.
fn told(partition: u32, namespace: &str, result: &OutcomeResult) {
    if let Verdict::Refused(refusal) = &result.verdict {
        tracing::error!(partition, namespace, %refusal, "an internal trigger was refused; it is handed out again");
    }
}
