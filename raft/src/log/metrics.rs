//! Metrics of the log.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const SYNC_SECONDS: &str = "bosingak_log_sync_seconds";
const BATCH_BYTES: &str = "bosingak_log_batch_bytes";
const BATCH_REQUESTS: &str = "bosingak_log_batch_requests";
const BYTES: &str = "bosingak_log_bytes_total";
const REWRITTEN: &str = "bosingak_log_rewritten_bytes_total";
const SEGMENTS: &str = "bosingak_log_segments";
const CACHE_BYTES: &str = "bosingak_log_cache_bytes";

/// Registers what the metrics mean; called once after the recorder is installed.
pub fn describe() {
    describe_histogram!(SYNC_SECONDS, Unit::Seconds, "How long one sync of the node's log took.");
    describe_histogram!(BATCH_BYTES, Unit::Bytes, "Bytes written to the log at once, for all groups together.");
    describe_histogram!(BATCH_REQUESTS, Unit::Count, "Requests of groups answered by one write of the log.");
    describe_counter!(BYTES, Unit::Bytes, "Bytes written to the log.");
    describe_counter!(REWRITTEN, Unit::Bytes, "Of these, bytes copied from old segments to free them.");
    describe_gauge!(SEGMENTS, Unit::Count, "Segment files the log consists of.");
    describe_gauge!(CACHE_BYTES, Unit::Bytes, "Log entries kept in memory.");
    counter!(REWRITTEN).increment(0);
}

pub(super) fn wrote(bytes: usize) {
    histogram!(BATCH_BYTES).record(bytes as f64);
    counter!(BYTES).increment(bytes as u64);
}

pub(super) fn batch(requests: usize) {
    histogram!(BATCH_REQUESTS).record(requests as f64);
}

pub(super) fn synced(took: Duration) {
    histogram!(SYNC_SECONDS).record(took.as_secs_f64());
}

pub(super) fn rewrote(bytes: u64) {
    counter!(REWRITTEN).increment(bytes);
}

pub(super) fn segments(count: usize) {
    gauge!(SEGMENTS).set(count as f64);
}

pub(super) fn cached(bytes: usize) {
    gauge!(CACHE_BYTES).set(bytes as f64);
}
