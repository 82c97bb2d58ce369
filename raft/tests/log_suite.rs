//! openraft's own storage suite over the log, with the smallest state machine that satisfies it.

use std::io;

use futures::{Stream, StreamExt};
use openraft::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::storage::{ApplyResponder, RaftStateMachine, Snapshot};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder, SnapshotMeta, StorageError};
use raft::log::{FileIo, GroupLog, Log, LogConfig};
use raft::types::{AnyReply, TypeConfig};

/// Remembers only what it applied last.
#[derive(Clone, Default)]
struct Nothing {
    applied: Option<LogIdOf<TypeConfig>>,
    membership: StoredMembershipOf<TypeConfig>,
    snapshot: Option<SnapshotMetaOf<TypeConfig>>,
}

struct Builder(SnapshotMetaOf<TypeConfig>);

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, ()>> {
        Ok(Snapshot { meta: self.0.clone(), snapshot: () })
    }
}

impl RaftStateMachine<TypeConfig> for Nothing {
    type SnapshotData = ();
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogIdOf<TypeConfig>>, StoredMembershipOf<TypeConfig>)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<(openraft::alias::EntryOf<TypeConfig>, Option<ApplyResponder<TypeConfig>>)>>
            + Unpin
            + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            self.applied = Some(entry.log_id);
            if let EntryPayload::Membership(members) = entry.payload {
                self.membership = StoredMembershipOf::<TypeConfig>::new(Some(entry.log_id), members);
            }
            if let Some(responder) = responder {
                responder.send(AnyReply(None));
            }
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Builder> {
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let meta = SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
        };
        self.snapshot = Some(meta.clone());
        Builder(meta)
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMetaOf<TypeConfig>, _data: ()) -> io::Result<()> {
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.snapshot = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<TypeConfig, ()>>> {
        Ok(self.snapshot.clone().map(|meta| Snapshot { meta, snapshot: () }))
    }
}

struct Stores {
    /// Nothing in memory: every read goes to the segments.
    cache_bytes: usize,
}

impl StoreBuilder<TypeConfig, GroupLog, Nothing, (Log, tempfile::TempDir)> for Stores {
    async fn build(&self) -> Result<((Log, tempfile::TempDir), GroupLog, Nothing), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().expect("a directory");
        let config = LogConfig { segment_bytes: 64 << 10, cache_bytes: self.cache_bytes, ..LogConfig::default() };
        let log = Log::open(dir.path(), config, Box::new(FileIo)).expect("opens");
        let group = log.group(7);
        Ok(((log, dir), group, Nothing::default()))
    }
}

/// Red when `State::trim` in `log/group.rs` forgets to cut the end of the cache.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openraft_suite_passes() {
    Suite::test_all(Stores { cache_bytes: 64 << 20 }).await.expect("suite");
}

/// Red when `Writer::put` in `log/writer.rs` forgets to add `self.end` to the offset.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openraft_suite_passes_when_entries_are_read_from_disk() {
    Suite::test_all(Stores { cache_bytes: 0 }).await.expect("suite");
}
