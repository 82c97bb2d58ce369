//! The state machine as openraft sees it: what is committed is handed to the world, which applies it to the node's rows.

use std::io;

use futures::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine, Snapshot as RaftSnapshot};
use openraft::{EmptyNode, OptionalSend, RaftSnapshotBuilder};

use super::port::{ApplyJob, Ask, Hold, InstallJob, Port, Rows};
use super::types::{CommittedLeaderId, LogId, Mark, SnapshotMeta, StoredMembership, TypeConfig};

/// A snapshot of openraft's.
pub type Snapshot = RaftSnapshot<CommittedLeaderId, u64, EmptyNode, SnapshotData>;

/// Entries applied together at most.
const CHUNK_ENTRIES: usize = 256;

/// What openraft carries as "the snapshot".
pub enum SnapshotData {
    /// This replica's own rows; they are copied only when they have to travel.
    Own {
        /// Keeps the log that the receiver will need next.
        hold: Hold,
    },
    /// Rows received from the leader.
    Received {
        /// All of them.
        rows: Rows,
    },
}

/// See the module.
pub struct Machine {
    port: Port,
}

impl Machine {
    /// The state machine of a replica.
    #[must_use]
    pub fn new(port: Port) -> Self {
        Machine { port }
    }

    async fn hand_over(&self, entries: Vec<EntryResponder<TypeConfig>>) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let applied = self.port.wait(|done| Ask::Apply(ApplyJob { entries, done })).await;
        applied.ok_or_else(|| io::Error::other("the state machine halted"))
    }
}

fn own(port: &Port, mark: Mark) -> Snapshot {
    let hold = port.hold(mark.index());
    let meta = SnapshotMeta { last_log_id: mark.applied, last_membership: mark.membership };
    RaftSnapshot { meta, snapshot: SnapshotData::Own { hold } }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let mark = self.port.mark();
        Ok((mark.applied, mark.membership))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut chunk = Vec::new();
        while let Some(item) = entries.try_next().await? {
            chunk.push(item);
            if chunk.len() >= CHUNK_ENTRIES {
                self.hand_over(std::mem::take(&mut chunk)).await?;
            }
        }
        self.hand_over(chunk).await
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { port: self.port.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        let SnapshotData::Received { rows } = snapshot else {
            // openraft offers a replica its own rows only at start, and only when they are behind themselves.
            return Err(io::Error::other("a replica cannot install its own rows"));
        };
        let meta = meta.clone();
        let installed = self.port.wait(|done| Ask::Install(InstallJob { meta, rows, done })).await;
        installed.ok_or_else(|| io::Error::other("the snapshot is of no use"))
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let mark = self.port.durable();
        Ok(mark.applied.is_some().then(|| own(&self.port, mark)))
    }
}

/// Makes a checkpoint.
pub struct Builder {
    port: Port,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let mark = self.port.wait(Ask::Checkpoint).await;
        let mark = mark.ok_or_else(|| io::Error::other("no checkpoint was made"))?;
        Ok(own(&self.port, mark))
    }
}
