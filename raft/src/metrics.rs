//! Names, labels and descriptions of this crate's metrics. Label `partition` is the partition's number.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::store::Strain;

const IS_LEADER: &str = "bosingak_raft_is_leader";
const TERM: &str = "bosingak_raft_term";
const LAST: &str = "bosingak_raft_last_index";
const COMMITTED: &str = "bosingak_raft_committed_index";
const APPLIED: &str = "bosingak_raft_applied_index";
const CHECKPOINT: &str = "bosingak_raft_checkpoint_index";
const PURGED: &str = "bosingak_raft_purged_index";
const PROPOSALS: &str = "bosingak_raft_proposals_total";
const READS: &str = "bosingak_raft_read_barriers_total";
const APPLIED_TOTAL: &str = "bosingak_raft_applied_entries_total";
const APPLY_SECONDS: &str = "bosingak_raft_apply_seconds";
const CHECKPOINT_SECONDS: &str = "bosingak_raft_checkpoint_seconds";
const SNAPSHOTS: &str = "bosingak_raft_snapshots_total";
const SNAPSHOT_BYTES: &str = "bosingak_raft_snapshot_bytes_total";
const REBUILDS: &str = "bosingak_raft_group_rebuilds_total";
const HALTED: &str = "bosingak_raft_halted";
const TRANSFERS: &str = "bosingak_raft_leader_transfers_total";
const LAG: &str = "bosingak_raft_follower_lag_entries";
const SNAPSHOT_AGE: &str = "bosingak_raft_snapshot_age_seconds";
const BLOCK_CACHE: &str = "bosingak_rocksdb_block_cache_bytes";
const COMPACTION_PENDING: &str = "bosingak_rocksdb_compaction_pending_bytes";
const WRITE_STOPPED: &str = "bosingak_rocksdb_write_stopped";
const WRITE_BUFFER: &str = "bosingak_raft_store_write_buffer_bytes";

/// Registers the descriptions with the recorder installed, those of the log too.
pub fn describe() {
    crate::log::metrics::describe();
    describe_gauge!(IS_LEADER, "1 if this node leads the partition");
    describe_gauge!(TERM, "newest term seen");
    describe_gauge!(LAST, "last entry in this node's log");
    describe_gauge!(COMMITTED, "last entry known to be committed");
    describe_gauge!(APPLIED, "last entry applied here");
    describe_gauge!(CHECKPOINT, "last entry in the newest durable checkpoint");
    describe_gauge!(PURGED, "last entry no longer in the log");
    describe_counter!(PROPOSALS, "proposals by outcome: applied, refused, unknown");
    describe_counter!(READS, "read barriers by outcome: ok, failed; many readers share one");
    describe_counter!(APPLIED_TOTAL, "entries applied");
    describe_histogram!(APPLY_SECONDS, "time of one apply, its write included");
    describe_histogram!(CHECKPOINT_SECONDS, "time of one checkpoint");
    describe_counter!(SNAPSHOTS, "snapshots by event: sent, installed, failed");
    describe_counter!(SNAPSHOT_BYTES, "bytes of snapshots sent");
    describe_counter!(REBUILDS, "groups opened again from disk after their core died");
    describe_gauge!(HALTED, "1 if the partition's replica here stopped for good");
    describe_counter!(TRANSFERS, "leadership handed over by outcome: done, failed");
    describe_gauge!(LAG, "entries a follower lacks, as its leader sees it; label peer");
    describe_gauge!(
        SNAPSHOT_AGE,
        "seconds since the newest durable checkpoint, or since the replica was opened if that is later"
    );
    describe_gauge!(BLOCK_CACHE, "bytes in the block cache, write buffers among them, all partitions");
    describe_gauge!(COMPACTION_PENDING, "bytes RocksDB estimates it still has to compact, all partitions");
    describe_gauge!(WRITE_STOPPED, "1 while RocksDB takes no writes in some partition");
    describe_gauge!(WRITE_BUFFER, "bytes written and not yet in files, all partitions");
}

fn label(partition: u32) -> [(&'static str, String); 1] {
    [("partition", partition.to_string())]
}

fn labels(partition: u32, key: &'static str, value: &'static str) -> [(&'static str, String); 2] {
    [("partition", partition.to_string()), (key, value.to_owned())]
}

pub(crate) fn applied(partition: u32, entries: usize, took: Duration) {
    counter!(APPLIED_TOTAL, &label(partition)).increment(entries as u64);
    histogram!(APPLY_SECONDS, &label(partition)).record(took.as_secs_f64());
}

pub(crate) fn checkpointed(partition: u32, index: u64, took: Duration) {
    gauge!(CHECKPOINT, &label(partition)).set(index as f64);
    histogram!(CHECKPOINT_SECONDS, &label(partition)).record(took.as_secs_f64());
}

pub(crate) fn snapshot_installed(partition: u32) {
    counter!(SNAPSHOTS, &labels(partition, "event", "installed")).increment(1);
}

pub(crate) fn snapshot_sent(partition: u32, bytes: u64) {
    counter!(SNAPSHOTS, &labels(partition, "event", "sent")).increment(1);
    counter!(SNAPSHOT_BYTES, &label(partition)).increment(bytes);
}

pub(crate) fn snapshot_failed(partition: u32) {
    counter!(SNAPSHOTS, &labels(partition, "event", "failed")).increment(1);
}

pub(crate) fn proposed(partition: u32, outcome: &'static str) {
    counter!(PROPOSALS, &labels(partition, "outcome", outcome)).increment(1);
}

pub(crate) fn read_barrier(partition: u32, ok: bool) {
    let outcome = if ok { "ok" } else { "failed" };
    counter!(READS, &labels(partition, "outcome", outcome)).increment(1);
}

pub(crate) fn rebuilt(partition: u32) {
    counter!(REBUILDS, &label(partition)).increment(1);
}

pub(crate) fn halted(partition: u32) {
    gauge!(HALTED, &label(partition)).set(1.0);
}

pub(crate) fn transferred(partition: u32, done: bool) {
    let outcome = if done { "done" } else { "failed" };
    counter!(TRANSFERS, &labels(partition, "outcome", outcome)).increment(1);
}

/// Sets the gauges of the stores of a node.
pub(crate) fn stores(write_buffer_bytes: usize, block_cache_bytes: usize, strain: Strain) {
    gauge!(WRITE_BUFFER).set(write_buffer_bytes as f64);
    gauge!(BLOCK_CACHE).set(block_cache_bytes as f64);
    gauge!(COMPACTION_PENDING).set(strain.compaction_pending_bytes as f64);
    gauge!(WRITE_STOPPED).set(if strain.write_stopped { 1.0 } else { 0.0 });
}

/// Sets the gauges of one group.
pub(crate) fn status(status: &crate::group::GroupStatus) {
    let of = label(status.partition);
    gauge!(IS_LEADER, &of).set(if status.leadership.we_lead { 1.0 } else { 0.0 });
    gauge!(TERM, &of).set(status.leadership.term as f64);
    gauge!(LAST, &of).set(status.last_index as f64);
    gauge!(COMMITTED, &of).set(status.committed_index as f64);
    gauge!(APPLIED, &of).set(status.applied_index as f64);
    gauge!(CHECKPOINT, &of).set(status.checkpoint_index as f64);
    gauge!(PURGED, &of).set(status.purged_index as f64);
    gauge!(HALTED, &of).set(if matches!(status.health, crate::group::Health::Halted(_)) { 1.0 } else { 0.0 });
    start_at_zero(status.partition);
    if let Some(age) = status.checkpoint_age {
        gauge!(SNAPSHOT_AGE, &of).set(age.as_secs_f64());
    }
    for replica in &status.replicas {
        if let (Some(matched), true) = (replica.matched, status.leadership.we_lead) {
            // Not `node`, which every metric of this process carries and which names the leader here.
            let of = [("partition", status.partition.to_string()), ("peer", replica.node.to_string())];
            gauge!(LAG, &of).set(status.last_index.saturating_sub(matched) as f64);
        }
    }
}

/// A counter that is first seen at 1 has not increased, as Prometheus sees it: what counts faults is there from the start.
fn start_at_zero(partition: u32) {
    for outcome in ["applied", "refused", "unknown"] {
        counter!(PROPOSALS, &labels(partition, "outcome", outcome)).increment(0);
    }
    for outcome in ["ok", "failed"] {
        counter!(READS, &labels(partition, "outcome", outcome)).increment(0);
    }
    for event in ["sent", "installed", "failed"] {
        counter!(SNAPSHOTS, &labels(partition, "event", event)).increment(0);
    }
    for outcome in ["done", "failed"] {
        counter!(TRANSFERS, &labels(partition, "outcome", outcome)).increment(0);
    }
    counter!(SNAPSHOT_BYTES, &label(partition)).increment(0);
    counter!(REBUILDS, &label(partition)).increment(0);
}
