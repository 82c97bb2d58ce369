//! The metrics of the server: names, labels and descriptions in one place.
//!
//! Units are in the names. Durations are histograms with buckets, so that they can be added up over nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use scheduler::dispatcher::{Cause, Delivery, LateCause, Noted, OutcomeResult, Verdict};
use scheduler::reply::Outcome;
use scheduler::time::Timestamp;

use crate::dispatch::lateness;
use crate::lateness::is_first;

/// How long after its due time a trigger was handed out (`stage="dispatched"`) or its completion durable
/// (`stage="acked"`). First attempts only.
pub const LATENESS: &str = "bosingak_trigger_lateness_seconds";
/// The same of canaries, which are in no other figure of triggers, deliveries and executors.
pub const CANARY_LATENESS: &str = "bosingak_canary_lateness_seconds";
/// Seconds since the newest canary that came through was due, or since this node started if it knows of none, by
/// `partition`; only of partitions led here. See [`crate::scrape`].
pub const CANARY_AGE: &str = "bosingak_canary_age_seconds";
/// Age from which on a canary is overdue, by `partition`; only of partitions led here, and only where there are canaries.
pub const CANARY_AGE_MAX: &str = "bosingak_canary_age_max_seconds";
/// Triggers first handed out, or completed, later than `late.bound` after their due time, by `cause`.
pub const LATE: &str = "bosingak_late_triggers_total";
/// Leases that ran out, or were given up because their executor came back without them.
pub const LEASES_EXPIRED: &str = "bosingak_lease_expired_total";
/// Triggers due in the hour that begins so many hours from now, by `hours_ahead`; of partitions led here.
/// See [`crate::scrape`].
pub const FORECAST: &str = "bosingak_forecast_triggers";
/// Deliveries that the executors connected to this node still allow.
pub const CAPACITY: &str = "bosingak_executor_capacity";
/// Triggers given up and kept for a human, by `partition`; of partitions led here.
pub const DEAD_LETTERS: &str = "bosingak_dead_letters";
/// Triggers handed out under a lease.
pub const DELIVERIES: &str = "bosingak_deliveries_total";
/// Deliveries of second and later attempts.
pub const REDELIVERIES: &str = "bosingak_redeliveries_total";
/// Verdicts on outcomes that executors reported, by `verdict`.
pub const OUTCOMES: &str = "bosingak_outcomes_total";
/// Triggers waiting for their due time, by `partition`.
pub const PENDING: &str = "bosingak_triggers_pending";
/// Commands put into log entries.
pub const COMMANDS: &str = "bosingak_commands_total";
/// Log entries proposed that held commands.
pub const ENTRIES: &str = "bosingak_entries_total";
/// Log entries proposed only to move time.
pub const BARE_ENTRIES: &str = "bosingak_bare_entries_total";
/// Bytes of log entries proposed.
pub const ENTRY_BYTES: &str = "bosingak_entry_bytes_total";
/// From handing an entry to raft until it was applied here, by `result`.
pub const PROPOSAL_SECONDS: &str = "bosingak_raft_proposal_seconds";
/// Commands refused because a queue was full.
pub const OVERLOADED: &str = "bosingak_overloaded_total";
/// Commands whose client had given up before they were proposed.
pub const GIVEN_UP: &str = "bosingak_given_up_total";
/// Applying the entries of one batch, without writing them.
pub const APPLY_SECONDS: &str = "bosingak_apply_seconds";
/// Counting the rows of a coarse slot of the wheel.
pub const RECOUNT_SECONDS: &str = "bosingak_wheel_recount_seconds";
/// Recounts that found another number than the wheel had: a bug.
pub const WHEEL_DRIFT: &str = "bosingak_wheel_drift_total";
/// Answered calls, by `method` and `code`.
pub const CALLS: &str = "bosingak_calls_total";
/// Time to answer a unary call, by `method`.
pub const CALL_SECONDS: &str = "bosingak_call_seconds";
/// Calls passed on to the leader's node.
pub const FORWARDED: &str = "bosingak_calls_forwarded_total";
/// Attempts of shops' terminals to redeem a code, by `result`: right, wrong_code, wrong_secret, locked.
pub const TERMINAL_ATTEMPTS: &str = "bosingak_terminal_attempts_total";
/// Terminals of shops that were locked, because they were wrong ten times within an hour.
pub const TERMINALS_LOCKED: &str = "bosingak_terminals_locked_total";
/// 1 where a leader is known, by `partition`.
pub const HAS_LEADER: &str = "bosingak_raft_has_leader";
/// Times a leader was seen to change.
pub const LEADER_CHANGES: &str = "bosingak_raft_leader_changes_total";
/// Executors connected to partitions led here, by `partition`.
pub const EXECUTORS: &str = "bosingak_executor_connected";
/// Deliveries under lease, by `partition`.
pub const IN_FLIGHT: &str = "bosingak_executor_in_flight";
/// Triggers that fired and have not ended, as far as the dispatcher has read, by `partition`.
pub const OVERDUE: &str = "bosingak_overdue_triggers";
/// Seconds by which the oldest of them is late, by `partition`.
pub const OLDEST_OVERDUE: &str = "bosingak_oldest_overdue_seconds";
/// Seconds by which the oldest is late that waits and is not held back on purpose, by `partition`.
pub const OLDEST_WAITING: &str = "bosingak_oldest_waiting_seconds";
/// Triggers that fired and wait to be handed out, as far as the dispatcher has read, by `partition` and `cause`.
pub const WAITING: &str = "bosingak_waiting_triggers";
/// How far another node's clock is ahead of this one's, by `peer`.
pub const CLOCK_OFFSET: &str = "bosingak_clock_offset_seconds";
/// Round trip of the clock question, by `peer`.
pub const PEER_RTT: &str = "bosingak_raft_peer_rtt_seconds";
/// 1 while replicated time is held, by `partition`.
pub const CLOCK_HELD: &str = "bosingak_clock_held";
/// Free bytes of the file system that holds the data.
pub const DISK_FREE: &str = "bosingak_disk_free_bytes";
/// Bytes given out by the allocator.
pub const ALLOCATED: &str = "bosingak_memory_allocated_bytes";
/// 1, with the version as a label.
pub const BUILD_INFO: &str = "bosingak_build_info";
/// 1, with the version of the time zone database as a label.
pub const TZDB_INFO: &str = "bosingak_tzdb_info";

const LATENESS_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
const CALL_BUCKETS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const DISK_BUCKETS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// For histograms that count things or bytes.
const COUNT_BUCKETS: &[f64] =
    &[1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0];

/// Installs the recorder of this process; a second call returns the first one's handle.
///
/// # Errors
///
/// Another recorder is installed already.
pub fn install(cluster: &str, node: u64) -> Result<PrometheusHandle, String> {
    static HANDLE: std::sync::Mutex<Option<PrometheusHandle>> = std::sync::Mutex::new(None);
    let mut installed = HANDLE.lock().expect("never held over a panic");
    if let Some(handle) = &*installed {
        return Ok(handle.clone());
    }
    // Whatever has no buckets of its own gets some: without any it would be a summary, which cannot be added up.
    let builder = PrometheusBuilder::new()
        .add_global_label("cluster", cluster)
        .add_global_label("node", node.to_string())
        .set_buckets_for_metric(Matcher::Full(LATENESS.into()), LATENESS_BUCKETS)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Full(CANARY_LATENESS.into()), LATENESS_BUCKETS))
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Full(CALL_SECONDS.into()), CALL_BUCKETS))
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_seconds".into()), DISK_BUCKETS))
        .and_then(|builder| builder.set_buckets(COUNT_BUCKETS))
        .map_err(|error| error.to_string())?;
    let handle = builder.install_recorder().map_err(|error| error.to_string())?;
    describe();
    start_at_zero();
    raft::metrics::describe();
    *installed = Some(handle.clone());
    Ok(handle)
}

fn describe() {
    let seconds = [
        (LATENESS, "How long after its due time a trigger was handed out or its completion durable; first attempts"),
        (CANARY_LATENESS, "How long after its due time a canary was handed out or its completion durable"),
        (PROPOSAL_SECONDS, "From handing an entry to raft until it was applied here"),
        (APPLY_SECONDS, "Applying the entries of one batch, without writing them"),
        (RECOUNT_SECONDS, "Counting the rows of a coarse slot of the wheel"),
        (CALL_SECONDS, "Time to answer a unary call"),
        (PEER_RTT, "Round trip of the clock question"),
    ];
    for (name, text) in seconds {
        describe_histogram!(name, Unit::Seconds, text);
    }
    let counters = [
        (LATE, "Triggers first handed out, or completed, later than late.bound after their due time"),
        (LEASES_EXPIRED, "Leases that ran out, or were given up because their executor came back without them"),
        (DELIVERIES, "Triggers handed out under a lease"),
        (REDELIVERIES, "Deliveries of second and later attempts"),
        (OUTCOMES, "Verdicts on outcomes that executors reported"),
        (COMMANDS, "Commands put into log entries"),
        (ENTRIES, "Log entries proposed that held commands"),
        (BARE_ENTRIES, "Log entries proposed only to move time"),
        (ENTRY_BYTES, "Bytes of log entries proposed"),
        (OVERLOADED, "Commands refused because a queue was full"),
        (GIVEN_UP, "Commands whose client had given up before they were proposed"),
        (WHEEL_DRIFT, "Recounts that found another number than the wheel had"),
        (CALLS, "Answered calls"),
        (FORWARDED, "Calls passed on to the leader's node"),
        (TERMINAL_ATTEMPTS, "Attempts of shops' terminals to redeem a code, by result"),
        (TERMINALS_LOCKED, "Terminals of shops that were locked"),
        (LEADER_CHANGES, "Times a leader was seen to change"),
    ];
    for (name, text) in counters {
        describe_counter!(name, text);
    }
    // There from the start, so that the first of a cause is an increase.
    for cause in LateCause::ALL {
        counter!(LATE, "cause" => cause.name()).increment(0);
    }
    counter!(LEASES_EXPIRED).increment(0);
    let gauges = [
        (PENDING, "Triggers waiting for their due time"),
        (HAS_LEADER, "1 where a leader is known"),
        (EXECUTORS, "Executors connected"),
        (IN_FLIGHT, "Deliveries under lease"),
        (OVERDUE, "Triggers that fired and have not ended, as far as the dispatcher has read"),
        (OLDEST_OVERDUE, "Seconds by which the oldest trigger is late that fired and has not ended"),
        (
            OLDEST_WAITING,
            "Seconds by which the oldest trigger is late that waits to be handed out and is not held back on purpose",
        ),
        (WAITING, "Triggers that fired and wait to be handed out, as far as the dispatcher has read, by cause"),
        (CLOCK_OFFSET, "How far another node's clock is ahead of this one's"),
        (CLOCK_HELD, "1 while replicated time is held"),
        (DISK_FREE, "Free bytes of the file system that holds the data"),
        (ALLOCATED, "Bytes given out by the allocator"),
        (BUILD_INFO, "1, with the version as a label"),
        (TZDB_INFO, "1, with the version of the time zone database as a label"),
    ];
    for (name, text) in gauges {
        describe_gauge!(name, text);
    }
}

/// A counter that is first seen at 1 has not increased, as Prometheus sees it: what alerts count is there from the start.
fn start_at_zero() {
    for name in [
        COMMANDS,
        ENTRIES,
        BARE_ENTRIES,
        DELIVERIES,
        REDELIVERIES,
        OVERLOADED,
        GIVEN_UP,
        WHEEL_DRIFT,
        FORWARDED,
        TERMINALS_LOCKED,
    ] {
        counter!(name).increment(0);
    }
    for verdict in ["accepted", "already_decided", "superseded", "not_found", "refused"] {
        counter!(OUTCOMES, "verdict" => verdict).increment(0);
    }
}

/// Entries were applied.
pub fn applied(took: Duration) {
    histogram!(APPLY_SECONDS).record(took);
}

/// A recount found another number than the wheel had.
pub fn wheel_drift() {
    counter!(WHEEL_DRIFT).increment(1);
}

/// A slot of the wheel was counted.
pub fn recounted(took: Duration) {
    histogram!(RECOUNT_SECONDS).record(took);
}

/// A queue was full.
pub fn overloaded() {
    counter!(OVERLOADED).increment(1);
}

/// A command was dropped from the queue because nobody waits for its answer.
pub fn given_up() {
    counter!(GIVEN_UP).increment(1);
}

/// An entry without commands was proposed.
pub fn bare_entry() {
    counter!(BARE_ENTRIES).increment(1);
}

/// An entry was proposed.
pub fn proposed(commands: usize, bytes: usize) {
    if commands > 0 {
        counter!(ENTRIES).increment(1);
        counter!(COMMANDS).increment(commands as u64);
    }
    counter!(ENTRY_BYTES).increment(bytes as u64);
}

/// An entry's fate is known.
pub fn decided(took: Duration, applied: bool) {
    histogram!(PROPOSAL_SECONDS, "result" => if applied { "applied" } else { "failed" }).record(took);
}

/// Triggers were handed out.
pub fn delivered(now: Timestamp, deliveries: &[Delivery]) {
    counter!(DELIVERIES).increment(deliveries.len() as u64);
    let late = histogram!(LATENESS, "stage" => "dispatched");
    let mut again = 0;
    for delivery in deliveries {
        if is_first(delivery) {
            late.record(lateness(now, delivery.row.position.due));
        } else {
            again += 1;
        }
    }
    if again > 0 {
        counter!(REDELIVERIES).increment(again);
    }
}

/// Canaries were handed out.
pub fn canaries_delivered(now: Timestamp, deliveries: &[Delivery]) {
    let late = histogram!(CANARY_LATENESS, "stage" => "dispatched");
    for delivery in deliveries.iter().filter(|delivery| delivery.row.attempt == 1) {
        late.record(lateness(now, delivery.row.position.due));
    }
}

/// Canaries were completed.
pub fn canaries_completed(results: &[OutcomeResult]) {
    let late = histogram!(CANARY_LATENESS, "stage" => "acked");
    for receipt in results.iter().filter_map(|result| result.receipt.as_ref()) {
        late.record(lateness(receipt.decided, receipt.due));
    }
}

/// What a dispatcher noted since it was asked last.
pub fn noted(noted: &Noted) {
    for (cause, count) in LateCause::ALL.into_iter().zip(noted.late_counts).filter(|(_, count)| *count > 0) {
        counter!(LATE, "cause" => cause.name()).increment(count);
    }
    counter!(LEASES_EXPIRED).increment(noted.leases_expired);
}

/// Outcomes were decided.
pub fn outcomes(results: &[OutcomeResult]) {
    let late = histogram!(LATENESS, "stage" => "acked");
    for result in results {
        let verdict = match result.verdict {
            Verdict::Accepted => "accepted",
            Verdict::AlreadyDecided => "already_decided",
            Verdict::Superseded => "superseded",
            Verdict::NotFound => "not_found",
            Verdict::Refused(_) => "refused",
        };
        counter!(OUTCOMES, "verdict" => verdict).increment(1);
        if let (Verdict::Accepted, Some(receipt)) = (&result.verdict, &result.receipt)
            && receipt.outcome == Outcome::Completed
            && receipt.attempt == 1
        {
            late.record(lateness(receipt.decided, receipt.due));
        }
    }
}

/// A unary call was answered.
pub fn called(method: &'static str, code: tonic::Code, took: Duration) {
    counter!(CALLS, "method" => method, "code" => code_text(code)).increment(1);
    histogram!(CALL_SECONDS, "method" => method).record(took);
}

/// A call was passed on.
pub fn forwarded() {
    counter!(FORWARDED).increment(1);
}

/// What became of an attempt of a shop's terminal to redeem a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The code led to a gift, or nobody learnt whether it does.
    Right,
    /// There is no such code.
    WrongCode,
    /// The terminal is not known by what it showed.
    WrongSecret,
    /// The terminal is locked.
    Locked,
}

/// A terminal tried to redeem a code.
pub fn attempted(attempt: Attempt) {
    let result = match attempt {
        Attempt::Right => "right",
        Attempt::WrongCode => "wrong_code",
        Attempt::WrongSecret => "wrong_secret",
        Attempt::Locked => "locked",
    };
    counter!(TERMINAL_ATTEMPTS, "result" => result).increment(1);
}

/// A terminal was locked.
pub fn terminal_locked() {
    counter!(TERMINALS_LOCKED).increment(1);
}

/// A leader was seen to change.
pub fn leader_changed() {
    counter!(LEADER_CHANGES).increment(1);
}

/// Another node's clock was read.
pub fn peer_clock(peer: u64, offset_seconds: f64, rtt: Duration) {
    gauge!(CLOCK_OFFSET, "peer" => peer.to_string()).set(offset_seconds);
    histogram!(PEER_RTT, "peer" => peer.to_string()).record(rtt);
}

/// Sets a gauge of a partition.
pub fn of_partition(name: &'static str, partition: u32, value: f64) {
    gauge!(name, "partition" => partition.to_string()).set(value);
}

/// Sets how many triggers wait in a partition, and why; causes that are not given are set to none.
pub fn waiting(partition: u32, waiting: &BTreeMap<Cause, usize>) {
    use Cause::{Concurrency, Grace, NoCredit, NoExecutor, Paused, Queued, RateLimit, Undecided};
    for cause in [NoExecutor, NoCredit, Paused, RateLimit, Concurrency, Grace, Undecided, Queued] {
        let count = waiting.get(&cause).copied().unwrap_or_default();
        gauge!(WAITING, "partition" => partition.to_string(), "cause" => cause_text(cause)).set(count as f64);
    }
}

/// Sets the gauges of the process.
pub fn of_process(disk_free_bytes: u64, tzdb: &str) {
    // Not measured yet: exported, it would look like a disk that fills within seconds.
    if disk_free_bytes != u64::MAX {
        gauge!(DISK_FREE).set(disk_free_bytes as f64);
    }
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    gauge!(TZDB_INFO, "version" => tzdb.to_string()).set(1.0);
    if tikv_jemalloc_ctl::epoch::advance().is_ok()
        && let Ok(bytes) = tikv_jemalloc_ctl::stats::allocated::read()
    {
        gauge!(ALLOCATED).set(bytes as f64);
    }
}

fn cause_text(cause: Cause) -> &'static str {
    match cause {
        Cause::NoExecutor => "no_executor",
        Cause::NoCredit => "no_credit",
        Cause::Paused => "paused",
        Cause::RateLimit => "rate_limit",
        Cause::Concurrency => "concurrency",
        Cause::Grace => "grace",
        Cause::Undecided => "undecided",
        Cause::Queued => "queued",
    }
}

fn code_text(code: tonic::Code) -> &'static str {
    use tonic::Code;
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
