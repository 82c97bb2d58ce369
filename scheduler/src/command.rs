//! What a log entry says: a moment, and commands in order. The stored form of the log.
//!
//! These are prost messages of their own, apart from the public protocol. A field, once written to a log, keeps its
//! number and meaning; a new kind of command needs a higher [`Entry::level`], and a replica that does not know the
//! kind or the level halts rather than skip it.

use bytes::Bytes;

/// One log entry.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Entry {
    /// The leader's time in milliseconds; applying moves the watermark there. Never below the last entry's.
    #[prost(uint64, tag = "1")]
    pub time: u64,
    /// At most [`Generation::COMMANDS_PER_ENTRY_MAX`](crate::lane::Generation::COMMANDS_PER_ENTRY_MAX).
    #[prost(message, repeated, tag = "2")]
    pub commands: Vec<Command>,
    /// The feature level a replica needs to apply this entry.
    #[prost(uint32, tag = "3")]
    pub level: u32,
}

/// One command. `None` after decoding means a kind this build does not know.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Command {
    /// Which.
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15")]
    pub kind: Option<Kind>,
}

/// The kinds of command.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Kind {
    /// Creates a trigger.
    #[prost(message, tag = "1")]
    Schedule(Schedule),
    /// Cancels one that has not fired.
    #[prost(message, tag = "2")]
    Cancel(Cancel),
    /// Moves one that has not fired.
    #[prost(message, tag = "3")]
    Reschedule(Reschedule),
    /// Makes one due now.
    #[prost(message, tag = "4")]
    RunNow(RunNow),
    /// One success, looked up by id.
    #[prost(message, tag = "5")]
    Complete(Complete),
    /// One failed attempt: back to the retry lane, or to the dead letters when it was the last.
    #[prost(message, tag = "6")]
    Retry(Retry),
    /// One failure for good.
    #[prost(message, tag = "7")]
    Fail(Fail),
    /// Plain successes of first attempts of one lane, merged by the leader.
    #[prost(message, tag = "8")]
    CompleteRun(CompleteRun),
    /// Lets a rate-limited lane fire up to a position.
    #[prost(message, tag = "9")]
    Release(Release),
    /// Dead-letters a trigger whose late policy says so.
    #[prost(message, tag = "10")]
    SkipLate(SkipLate),
    /// Creates or replaces the settings of a topic.
    #[prost(message, tag = "11")]
    SetTopic(SetTopic),
    /// Brings a dead letter back.
    #[prost(message, tag = "12")]
    Requeue(Requeue),
    /// Gives a dead letter up.
    #[prost(message, tag = "13")]
    Drop(Drop),
    /// Moves a lane's floor.
    #[prost(message, tag = "14")]
    RaiseFloor(RaiseFloor),
    /// A command of the business domains composed with the scheduler.
    #[prost(message, tag = "15")]
    Business(Business),
}

/// When, before apply has resolved it.
#[derive(Clone, Copy, PartialEq, Eq, prost::Oneof)]
pub enum When {
    /// A moment, in milliseconds.
    #[prost(uint64, tag = "20")]
    At(u64),
    /// Milliseconds after the entry's time.
    #[prost(uint64, tag = "21")]
    After(u64),
}

/// A local time as asked for, kept beside the instant it was resolved to before proposing.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct LocalTime {
    /// `2027-02-14T00:00:00`.
    #[prost(string, tag = "1")]
    pub date_time: String,
    /// IANA name.
    #[prost(string, tag = "2")]
    pub zone: String,
    /// Number of the public `LocalTimePolicy`.
    #[prost(uint32, tag = "3")]
    pub policy: u32,
    /// Version of the zone database.
    #[prost(string, tag = "4")]
    pub tzdb: String,
}

/// A key and a value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
pub struct Label {
    /// Key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// How failures are retried. Zero means: as the topic says.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct RetryPolicy {
    /// Attempts in all.
    #[prost(uint32, tag = "1")]
    pub max_attempts: u32,
    /// Before the second attempt.
    #[prost(uint64, tag = "2")]
    pub initial_backoff_ms: u64,
    /// Upper bound.
    #[prost(uint64, tag = "3")]
    pub max_backoff_ms: u64,
    /// 200 doubles.
    #[prost(uint32, tag = "4")]
    pub multiplier_percent: u32,
    /// Taken off at most, plus one: 0 means as the topic says, 1 means none.
    #[prost(uint32, tag = "5")]
    pub jitter_percent_plus_one: u32,
}

/// Creates a trigger.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Schedule {
    /// Tenant.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// Unique within it.
    #[prost(string, tag = "2")]
    pub id: String,
    /// Handler.
    #[prost(string, tag = "3")]
    pub topic: String,
    /// When.
    #[prost(oneof = "When", tags = "20, 21")]
    pub when: Option<When>,
    /// The id when empty.
    #[prost(string, tag = "4")]
    pub shard_key: String,
    /// Opaque.
    #[prost(bytes = "bytes", tag = "5")]
    pub payload: Bytes,
    /// Sorted by key.
    #[prost(message, repeated, tag = "6")]
    pub labels: Vec<Label>,
    /// Number of [`Class`](crate::lane::Class): high, normal or low.
    #[prost(uint32, tag = "7")]
    pub priority: u32,
    /// As the topic says when absent.
    #[prost(message, optional, tag = "8")]
    pub retry: Option<RetryPolicy>,
    /// Dead-letter instead of a first delivery later than this after due; 0: deliver however late.
    #[prost(uint64, tag = "9")]
    pub skip_when_later_ms: u64,
    /// Hash of the request as it was sent.
    #[prost(fixed64, tag = "10")]
    pub fingerprint: u64,
    /// Where the moment came from.
    #[prost(message, optional, tag = "11")]
    pub local: Option<LocalTime>,
}

/// Cancels a trigger that has not fired.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Cancel {
    /// Tenant.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// Which.
    #[prost(string, tag = "2")]
    pub id: String,
    /// 0: any.
    #[prost(uint64, tag = "3")]
    pub expected_generation: u64,
    /// UUIDv7 in 16 bytes, or empty.
    #[prost(bytes = "bytes", tag = "4")]
    pub request: Bytes,
}

/// Moves a trigger that has not fired.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reschedule {
    /// Tenant.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// Which.
    #[prost(string, tag = "2")]
    pub id: String,
    /// 0: any.
    #[prost(uint64, tag = "3")]
    pub expected_generation: u64,
    /// UUIDv7 in 16 bytes, or empty.
    #[prost(bytes = "bytes", tag = "4")]
    pub request: Bytes,
    /// When now.
    #[prost(oneof = "When", tags = "20, 21")]
    pub when: Option<When>,
    /// Where the moment came from.
    #[prost(message, optional, tag = "5")]
    pub local: Option<LocalTime>,
}

/// Makes a scheduled trigger due at the entry's time.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RunNow {
    /// Tenant.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// Which.
    #[prost(string, tag = "2")]
    pub id: String,
    /// 0: any.
    #[prost(uint64, tag = "3")]
    pub expected_generation: u64,
    /// UUIDv7 in 16 bytes, or empty.
    #[prost(bytes = "bytes", tag = "4")]
    pub request: Bytes,
}

/// Grows with every delivery of a partition; compared field by field.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
pub struct Token {
    /// Of the cluster: changes when it was restored from a backup.
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// Of the leader that delivered.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// Of the delivery in that term.
    #[prost(uint64, tag = "3")]
    pub counter: u64,
}

/// Who reports, about which delivery of which version.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Report {
    /// Tenant.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// Which.
    #[prost(string, tag = "2")]
    pub id: String,
    /// Which version.
    #[prost(uint64, tag = "3")]
    pub generation: u64,
    /// Which delivery.
    #[prost(message, optional, tag = "4")]
    pub token: Option<Token>,
    /// Attempt of that delivery, counted from 1.
    #[prost(uint32, tag = "5")]
    pub attempt: u32,
    /// Name of the executor.
    #[prost(string, tag = "6")]
    pub executor: String,
}

/// One success. The first of a generation wins, whatever its token.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Complete {
    /// About what.
    #[prost(message, optional, tag = "1")]
    pub report: Option<Report>,
    /// Applied in the same step, or nothing is.
    #[prost(bytes = "bytes", tag = "2")]
    pub business: Bytes,
}

/// One failed attempt. Counts only when it is the attempt the record waits for.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Retry {
    /// About what.
    #[prost(message, optional, tag = "1")]
    pub report: Option<Report>,
    /// At most 1,024 characters.
    #[prost(string, tag = "2")]
    pub error: String,
    /// Replaces the policy's backoff when not 0.
    #[prost(uint64, tag = "3")]
    pub retry_after_ms: u64,
    /// True when the lease ran out rather than the executor saying so.
    #[prost(bool, tag = "4")]
    pub lease_expired: bool,
}

/// One failure for good. Counts only when it is the attempt the record waits for.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Fail {
    /// About what.
    #[prost(message, optional, tag = "1")]
    pub report: Option<Report>,
    /// At most 1,024 characters.
    #[prost(string, tag = "2")]
    pub error: String,
}

/// Plain successes of first attempts of one lane, in order of position.
///
/// Positions are delta-coded: `due_deltas[i]` from the position before (from 0 at first), `generations[i]` as they are.
/// Executors are run-length coded: the next `executor_counts[i]` positions were done by `executors[i]`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CompleteRun {
    /// Number of the lane.
    #[prost(uint32, tag = "1")]
    pub lane: u32,
    /// See above.
    #[prost(uint64, repeated, tag = "2")]
    pub due_deltas: Vec<u64>,
    /// See above. Zigzag-coded deltas from the generation before, because neighbours were mostly scheduled together.
    #[prost(sint64, repeated, tag = "3")]
    pub generation_deltas: Vec<i64>,
    /// See above.
    #[prost(string, repeated, tag = "4")]
    pub executors: Vec<String>,
    /// See above.
    #[prost(uint32, repeated, tag = "5")]
    pub executor_counts: Vec<u32>,
    /// Token of the first position; the counter of each further one is given by `counter_deltas`.
    #[prost(message, optional, tag = "6")]
    pub token: Option<Token>,
    /// From the counter before.
    #[prost(sint64, repeated, tag = "7")]
    pub counter_deltas: Vec<i64>,
}

/// Lets a lane fire up to and including a position.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Release {
    /// Number of the lane.
    #[prost(uint32, tag = "1")]
    pub lane: u32,
    /// Position.
    #[prost(uint64, tag = "2")]
    pub due: u64,
    /// Position.
    #[prost(uint64, tag = "3")]
    pub generation: u64,
}

/// Dead-letters a fired trigger that came too late for its policy.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SkipLate {
    /// Tenant.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// Which.
    #[prost(string, tag = "2")]
    pub id: String,
    /// Which version.
    #[prost(uint64, tag = "3")]
    pub generation: u64,
}

/// Settings of a topic, as a whole.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SetTopic {
    /// Tenant.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// Which.
    #[prost(string, tag = "2")]
    pub topic: String,
    /// Settings older than those stored are refused.
    #[prost(uint64, tag = "3")]
    pub version: u64,
    /// What they are.
    #[prost(message, optional, tag = "4")]
    pub settings: Option<TopicSettings>,
}

/// Settings of a topic.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TopicSettings {
    /// Frozen at the point of the log where this was applied.
    #[prost(bool, tag = "1")]
    pub paused: bool,
    /// Of deliveries.
    #[prost(uint64, tag = "2")]
    pub lease_ms: u64,
    /// Every field set.
    #[prost(message, optional, tag = "3")]
    pub retry: Option<RetryPolicy>,
    /// This partition's share, in thousandths of a trigger per second; 0: unlimited.
    #[prost(uint64, tag = "4")]
    pub rate_milli_per_second: u64,
    /// This partition's share; 0: unlimited.
    #[prost(uint32, tag = "5")]
    pub concurrency_max: u32,
    /// How long an ended trigger is visible.
    #[prost(uint64, tag = "6")]
    pub retention_ms: u64,
    /// What `rate_milli_per_second` is a share of, per second; shown to whoever asks, and of no effect here.
    #[prost(uint32, tag = "7")]
    pub rate_per_second_total: u32,
    /// What `concurrency_max` is a share of; shown to whoever asks, and of no effect here.
    #[prost(uint32, tag = "8")]
    pub concurrency_total: u32,
}

/// Brings a dead letter back to delivery as a new generation.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Requeue {
    /// Tenant.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// Which.
    #[prost(string, tag = "2")]
    pub id: String,
    /// 0: any.
    #[prost(uint64, tag = "3")]
    pub expected_generation: u64,
    /// UUIDv7 in 16 bytes, or empty.
    #[prost(bytes = "bytes", tag = "4")]
    pub request: Bytes,
}

/// Gives a dead letter up: it ends cancelled.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Drop {
    /// Tenant.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// Which.
    #[prost(string, tag = "2")]
    pub id: String,
    /// 0: any.
    #[prost(uint64, tag = "3")]
    pub expected_generation: u64,
    /// UUIDv7 in 16 bytes, or empty.
    #[prost(bytes = "bytes", tag = "4")]
    pub request: Bytes,
}

/// Says that everything in a lane before a position has ended. Apply checks that it has.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct RaiseFloor {
    /// Number of the lane.
    #[prost(uint32, tag = "1")]
    pub lane: u32,
    /// First position that may be live.
    #[prost(uint64, tag = "2")]
    pub due: u64,
    /// First position that may be live.
    #[prost(uint64, tag = "3")]
    pub generation: u64,
}

/// A command for the business domains.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Business {
    /// Tenant.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// In the domain's own schema.
    #[prost(bytes = "bytes", tag = "2")]
    pub body: Bytes,
}
