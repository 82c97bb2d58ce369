//! A fired trigger, handed to a handler.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use proto::v1::FencingToken;
use tokio::time::Instant;

/// A fired trigger, handed to a handler under a lease. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Delivery {
    facts: Arc<proto::v1::Delivery>,
    deadline: Instant,
}

impl Delivery {
    pub(crate) fn new(facts: Arc<proto::v1::Delivery>, deadline: Instant) -> Self {
        Delivery { facts, deadline }
    }

    /// A delivery of these facts, whose lease begins now: for tests of handlers.
    pub fn from_proto(facts: proto::v1::Delivery) -> Self {
        let lease = facts.lease.and_then(|lease| lease.try_into().ok()).unwrap_or_default();
        // A lease nobody could wait for ends now.
        let now = Instant::now();
        Delivery::new(Arc::new(facts), now.checked_add(lease).unwrap_or(now))
    }

    /// Tenant boundary.
    pub fn namespace(&self) -> &str {
        &self.facts.namespace
    }

    /// Id of the trigger, unique within the namespace.
    pub fn id(&self) -> &str {
        &self.facts.id
    }

    /// Name of the handler it is for.
    pub fn topic(&self) -> &str {
        &self.facts.topic
    }

    /// What the scheduling side gave.
    pub fn payload(&self) -> &Bytes {
        &self.facts.payload
    }

    /// Labels of the trigger.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.facts.labels
    }

    /// What decided that this executor got it.
    pub fn shard_key(&self) -> &str {
        &self.facts.shard_key
    }

    /// The millisecond it was meant to fire.
    pub fn due(&self) -> SystemTime {
        moment(self.facts.due)
    }

    /// Replicated time at which it fired; never before it was due.
    pub fn fired(&self) -> SystemTime {
        moment(self.facts.fired)
    }

    /// Version of the trigger; with the id, the identity of this piece of work.
    pub fn generation(&self) -> u64 {
        self.facts.generation
    }

    /// Counted from 1.
    pub fn attempt(&self) -> u32 {
        self.facts.attempt
    }

    /// Whether nobody was handed it before, for certain. `false` says nothing: a new leader delivers again what the one before it may
    /// have delivered, with the same attempt number.
    pub fn is_first(&self) -> bool {
        self.facts.first
    }

    /// Partition it lives in.
    pub fn partition(&self) -> u32 {
        self.facts.partition
    }

    /// Grows with every delivery; compare epoch, then term, then counter. For downstream systems that refuse what is
    /// older than what they have seen.
    pub fn fencing_token(&self) -> FencingToken {
        self.facts.token.unwrap_or_default()
    }

    /// The same for every attempt at this piece of work and for no other: for downstream systems that know repeats.
    pub fn idempotency_key(&self) -> String {
        format!("{}/{}/{}", self.namespace(), self.id(), self.generation())
    }

    /// How long it may be worked on, counted from receipt.
    pub fn lease(&self) -> Duration {
        self.facts.lease.and_then(|lease| lease.try_into().ok()).unwrap_or_default()
    }

    /// When the handler is dropped.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Time until the handler is dropped.
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// As it came over the wire.
    pub fn as_proto(&self) -> &proto::v1::Delivery {
        &self.facts
    }
}

fn moment(timestamp: Option<prost_types::Timestamp>) -> SystemTime {
    timestamp.and_then(|timestamp| timestamp.try_into().ok()).unwrap_or(SystemTime::UNIX_EPOCH)
}
