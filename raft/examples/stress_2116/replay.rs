//! The interleaving behind openraft issue 2116, played to one follower.
//!
//! A leader under load believes that a follower lags, because answers are late, and sends it a snapshot although the
//! follower has later entries. Installing takes longer than the leader waits; the leader tries again, is told that the
//! snapshot is known, sends the entries after it, again gets no answer in time, purges, and sends a later snapshot.
//!
//! The follower meanwhile queues: the purge, which waits for the installation, the entries it already has, which write
//! nothing and only have to be counted as flushed one request after the other (`Command::UpdateIOProgress`), and the
//! second installation. The effect of the latter on the core's memory is immediate: log ids are purged and the commit
//! mark is that of the snapshot. When the first of the queued requests is counted and the second has to wait for it,
//! `Command::SaveCommittedAndApply`, which is generated from progress instead of queued, wants to apply entries whose
//! ids are gone: `get_log_id(already_applied.next_index()).unwrap()`.
//!
//! With openraft 0.10.0-alpha.37 as released the core panics every time; with `raft/patches/openraft-2116.patch` it does
//! not. One snapshot at a time per replica, until it is installed, keeps a core out of this.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use openraft::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::async_runtime::WatchReceiver;
use openraft::entry::RaftEntry;
use openraft::errors::Fatal;
use openraft::raft::AppendEntriesRequest;
use openraft::storage::Snapshot;
use openraft::vote::leader_id_std::{CommittedLeaderId, LeaderId};
use openraft::{Config, EntryPayload, Membership, Raft, StoredMembership};
use raft::log::{FileIo, Log, LogConfig};
use raft::types::{Member, Payload, TypeConfig};

use crate::machine::{Counter, Image, meta};
use crate::network::{Core, Link, Network};

const OLD: LeaderId<u64, u64> = LeaderId { term: 5, voted_for: 2 };
const NEW: LeaderId<u64, u64> = LeaderId { term: 6, voted_for: 3 };
const ENTRIES: u64 = 200;
const COMMITTED: u64 = 10;

/// Everything was written by the old leader.
fn log_id(index: u64) -> LogIdOf<TypeConfig> {
    LogIdOf::<TypeConfig> { leader_id: CommittedLeaderId::new(OLD.term), index }
}

fn members() -> Membership<u64, Member> {
    let ids = BTreeSet::from([1, 2, 3]);
    let nodes: BTreeMap<_, _> = ids.iter().map(|id| (*id, Member { node: *id, ..Member::default() })).collect();
    Membership::new(vec![ids], nodes).expect("valid")
}

fn entry(index: u64) -> EntryOf<TypeConfig> {
    let payload = match index {
        0 => EntryPayload::Membership(members()),
        _ => EntryPayload::Normal(Payload(Bytes::from(index.to_string()))),
    };
    EntryOf::<TypeConfig>::new(log_id(index), payload)
}

fn append(leader_id: LeaderId<u64, u64>, range: std::ops::Range<u64>) -> AppendEntriesRequest<TypeConfig> {
    AppendEntriesRequest {
        vote: VoteOf::<TypeConfig> { leader_id, committed: true },
        prev_log_id: range.start.checked_sub(1).map(log_id),
        entries: range.map(entry).collect(),
        leader_commit: Some(log_id(COMMITTED)),
    }
}

/// Plays it once.
pub async fn run(dir: &Path) -> Result<(), String> {
    let log = Log::open(dir.join("replay"), LogConfig::default(), Box::new(FileIo)).map_err(|e| e.to_string())?;
    let machine = Counter { install_time: Duration::from_millis(500), ..Counter::default() };
    let image = machine.image.clone();
    let link = Link { from: 1, to: 0, network: Arc::new(Network::default()) };
    let config = Arc::new(Config { enable_tick: false, ..Config::default() });
    let core = Raft::new(1, config, link, log.group(1), machine).await.map_err(|e| e.to_string())?;
    core.append_entries(append(OLD, 0..ENTRIES)).await.map_err(|e| e.to_string())?;

    let first = tokio::spawn(install(core.clone(), 50));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let again = (51..91).step_by(10).map(|index| append(NEW, index..index + 10));
    let answers = core.stream_append(futures::stream::iter(again.collect::<Vec<_>>()));
    let appended = tokio::spawn(answers.for_each(|_| async {}));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let second = tokio::spawn(install(core.clone(), 100));
    for task in [first, second] {
        task.await.map_err(|e| e.to_string())?.map_err(|e| format!("snapshot: {e}"))?;
    }
    appended.await.map_err(|e| e.to_string())?;
    core.append_entries(append(NEW, ENTRIES..ENTRIES + 1)).await.map_err(|e| e.to_string())?;
    core.metrics().borrow_watched().running_state.clone().map_err(|e| e.to_string())?;
    let found = image.lock().expect("an image").applied;
    if found.is_some_and(|id| id.index >= 100) {
        Ok(())
    } else {
        Err(format!("applied {found:?} instead of the snapshot"))
    }
}

async fn install(core: Core, index: u64) -> Result<(), Fatal<TypeConfig>> {
    let state = Image {
        applied: Some(log_id(index)),
        membership: StoredMembership::new(Some(log_id(0)), members()),
        entries: index + 1,
        checksum: 0,
    };
    let snapshot = Snapshot { meta: meta(&state), snapshot: Arc::new(state) };
    core.install_full_snapshot(VoteOf::<TypeConfig> { leader_id: NEW, committed: true }, snapshot).await.map(drop)
}
