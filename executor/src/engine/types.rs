//! What an engine is told and what it says.

use std::sync::Arc;
use std::time::Duration;

use proto::v1::{Delivery, OutcomeResult, OutcomeVerdict, WorkRequest, WorkResponse, delivery_outcome};

use crate::outcome::Outcome;

/// Names a stream; never used twice by one engine.
pub type StreamId = u64;
/// Names a delivery in hand; never used twice by one engine.
pub type WorkId = u64;

/// What an engine is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Stable name of the executor.
    pub name: String,
    /// Namespace it works in; empty is `default`.
    pub namespace: String,
    /// Topics it has handlers for.
    pub topics: Vec<String>,
    /// Handlers that run at the same time.
    pub concurrency: usize,
    /// Deliveries held at the same time over all partitions; each partition gets an equal share, at least one.
    pub max_in_flight: u32,
    /// A handler is dropped this long before its lease ends; at most a quarter of the lease counts.
    pub lease_margin: Duration,
    /// Leases of running handlers are extended until this long after receipt.
    pub extend_up_to: Option<Duration>,
    /// Of all randomness.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            name: String::new(),
            namespace: String::new(),
            topics: Vec::new(),
            concurrency: 64,
            max_in_flight: 256,
            lease_margin: Duration::from_millis(500),
            extend_up_to: None,
            seed: 0,
        }
    }
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// Answer to [`Action::AskLeaders`]: (partition, endpoint or empty, term).
    Leaders(Vec<(u32, String, u64)>),
    /// [`Action::AskLeaders`] was not answered.
    LeadersFailed,
    /// A message on a stream.
    Message {
        /// Which stream.
        stream: StreamId,
        /// As it came.
        message: WorkResponse,
    },
    /// A stream ended or could not be opened. `leader` is where the answer said the leader is.
    Closed {
        /// Which stream.
        stream: StreamId,
        /// If the answer named it.
        leader: Option<String>,
    },
    /// A handler is done.
    Finished {
        /// Which.
        work: WorkId,
        /// With what.
        outcome: Outcome,
    },
    /// Finish what is in hand, take no more.
    Drain,
}

/// What to do.
#[derive(Debug)]
pub enum Action {
    /// Ask any node who leads what; answer with [`Event::Leaders`] or [`Event::LeadersFailed`].
    AskLeaders,
    /// Open a stream and send the hello.
    Dial {
        /// Its name from now on.
        stream: StreamId,
        /// Where.
        endpoint: String,
        /// First message.
        hello: WorkRequest,
    },
    /// Close a stream; nothing of it is awaited any more.
    HangUp {
        /// Which.
        stream: StreamId,
    },
    /// Send on an open stream.
    Send {
        /// Which.
        stream: StreamId,
        /// What.
        request: WorkRequest,
    },
    /// Start a handler.
    Start {
        /// Its name from now on.
        work: WorkId,
        /// What to work on.
        delivery: Arc<Delivery>,
        /// When it will be dropped, unless the server takes the lease away earlier.
        deadline: Duration,
    },
    /// Drop a handler; what it would say does not count any more.
    Abort {
        /// Which.
        work: WorkId,
    },
    /// A report has its answer.
    Settled(Settled),
    /// Everything in hand is finished and durable: follows [`Event::Drain`].
    Drained,
}

/// A report and its answer.
#[derive(Clone, Debug)]
pub struct Settled {
    /// What it was about.
    pub delivery: Arc<Delivery>,
    /// What was reported.
    pub outcome: delivery_outcome::Outcome,
    /// What the server made of it: anything but ERROR, which is repeated, unless the error is for good.
    pub verdict: OutcomeVerdict,
    /// The whole answer with its receipt.
    pub result: OutcomeResult,
}
