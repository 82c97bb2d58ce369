//! The state machine as openraft sees it: a stream of entries in, a store that is its own snapshot.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use futures::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine, Snapshot as RaftSnapshot};
use openraft::{OptionalSend, RaftSnapshotBuilder};

use crate::apply::{Applier, Failure};
use crate::crash;
use crate::machine::CompactionFilter;
use crate::metrics;
use crate::progress::{Hold, Progress, lock};
use crate::store::Current;
use crate::store::{Mark, Place, Shared, Store};
use crate::types::{LogId, SnapshotMeta, StoredMembership, TypeConfig};

/// At most so many entries, and about so many bytes, go down in one write.
const CHUNK_ENTRIES: usize = 256;
const CHUNK_BYTES: usize = 8 << 20;

/// The store that is current, for readers.
pub(crate) struct StoreSlot(RwLock<Store>);

impl StoreSlot {
    pub(crate) fn new(store: Store) -> Self {
        StoreSlot(RwLock::new(store))
    }

    pub(crate) fn get(&self) -> Store {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, store: Store) -> Store {
        let mut slot = self.0.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut slot, store)
    }
}

/// The filter of the machine that runs now; a store outlives the machine it was opened for when a group is rebuilt.
#[derive(Clone, Default)]
pub(crate) struct FilterSlot(Arc<RwLock<Option<CompactionFilter>>>);

impl FilterSlot {
    pub(crate) fn set(&self, filter: Option<CompactionFilter>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = filter;
    }

    /// What a store is opened with; `None` when the machine has no filter.
    pub(crate) fn get(&self) -> Option<CompactionFilter> {
        let present = self.0.read().unwrap_or_else(PoisonError::into_inner).is_some();
        let slot = self.0.clone();
        present.then(|| {
            Arc::new(move |key: &[u8], value: &[u8]| {
                let filter = slot.read().unwrap_or_else(PoisonError::into_inner);
                filter.as_ref().is_some_and(|filter| filter(key, value))
            }) as CompactionFilter
        })
    }
}

/// A replica's rows and where they lie; shared by its adapter, its snapshots and its readers.
pub(crate) struct Rows {
    pub(crate) partition: u32,
    pub(crate) place: Place,
    pub(crate) current: Mutex<Current>,
    pub(crate) slot: StoreSlot,
    pub(crate) shared: Shared,
    pub(crate) filter: FilterSlot,
    pub(crate) progress: Arc<Progress>,
    serial: AtomicU64,
}

impl Rows {
    pub(crate) fn new(
        partition: u32,
        place: Place,
        current: Current,
        store: Store,
        shared: Shared,
        filter: FilterSlot,
        progress: Arc<Progress>,
    ) -> Self {
        Rows {
            partition,
            place,
            current: Mutex::new(current),
            slot: StoreSlot::new(store),
            shared,
            filter,
            progress,
            serial: AtomicU64::new(0),
        }
    }

    /// A directory with the rows as they are now, deleted when dropped; blocks.
    pub(crate) fn checkpoint(self: &Arc<Self>) -> io::Result<MarkedCheckpoint> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let dir = self.place.outgoing(serial)?;
        self.slot.get().checkpoint(&dir).map_err(io::Error::other)?;
        let checkpoint = Checkpoint { dir };
        // The meta data are read from the files themselves: what travels and what is said of it cannot differ.
        let mark = Store::mark_of(&checkpoint.dir, &self.shared).map_err(io::Error::other)?;
        Ok(MarkedCheckpoint { checkpoint, mark })
    }

    /// Makes the files in `dir` the rows; blocks. The caller has synced them.
    fn install(&self, dir: &std::path::Path, meta: &SnapshotMeta) -> io::Result<Store> {
        let mut current = lock(&self.current).clone();
        current.epoch += 1;
        let rows = self.place.rows(&current);
        if rows.exists() {
            // An earlier attempt that failed after its files were in place.
            std::fs::remove_dir_all(&rows)?;
        }
        std::fs::rename(dir, &rows)?;
        crash::point("install-renamed");
        if let Some(parent) = rows.parent() {
            crate::store::sync_dir(parent)?;
        }
        let store = Store::open(&rows, &self.shared, self.filter.get()).map_err(io::Error::other)?;
        let mark = store.mark().map_err(io::Error::other)?;
        if mark.applied != meta.last_log_id {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "the snapshot was announced up to {:?} and holds rows up to {:?}",
                    meta.last_log_id, mark.applied
                ),
            ));
        }
        crash::point("install-opened");
        self.place.set(&current)?;
        crash::point("install-current");
        *lock(&self.current) = current;
        Ok(store)
    }
}

/// A checkpoint on disk.
pub(crate) struct Checkpoint {
    pub(crate) dir: PathBuf,
}

/// A checkpoint and what it holds.
pub(crate) struct MarkedCheckpoint {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) mark: Mark,
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        // A leftover is deleted at the next start.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// What openraft carries as "the snapshot".
pub(crate) enum SnapshotData {
    /// This replica's own rows; a checkpoint is made of them only when one has to travel.
    Own {
        /// The rows.
        rows: Arc<Rows>,
        /// Keeps the log that the receiver will need next.
        hold: Hold,
    },
    /// Files received from the leader, complete and synced.
    Received {
        /// Where they are.
        dir: PathBuf,
    },
}

/// See the module.
pub(crate) struct Adapter {
    rows: Arc<Rows>,
    applier: Applier,
}

impl Adapter {
    pub(crate) fn new(rows: Arc<Rows>, applier: Applier) -> Self {
        Adapter { rows, applier }
    }

    fn failed(&self, failure: Failure) -> io::Error {
        self.rows.progress.fail(&failure);
        io::Error::other(failure)
    }
}

fn meta(mark: Mark) -> SnapshotMeta {
    SnapshotMeta { last_log_id: mark.applied, last_membership: mark.membership }
}

impl RaftStateMachine<TypeConfig> for Adapter {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let mark = self.rows.slot.get().mark().map_err(|e| self.failed(e.into()))?;
        Ok((mark.applied, mark.membership))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut chunk = Vec::new();
        let mut bytes = 0;
        while let Some(item) = entries.try_next().await? {
            if let openraft::EntryPayload::Normal(payload) = &item.0.payload {
                bytes += payload.0.len();
            }
            chunk.push(item);
            if chunk.len() >= CHUNK_ENTRIES || bytes >= CHUNK_BYTES {
                let full = std::mem::take(&mut chunk);
                bytes = 0;
                self.applier.apply(full).await.map_err(|e| self.failed(e))?;
            }
        }
        if !chunk.is_empty() {
            self.applier.apply(chunk).await.map_err(|e| self.failed(e))?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { rows: self.rows.clone(), applier: self.applier.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> Result<(), io::Error> {
        let SnapshotData::Received { dir } = snapshot else {
            // openraft offers a replica its own rows only at start, and only when they are behind themselves.
            return Err(io::Error::other("a replica cannot install its own rows"));
        };
        let (rows, announced) = (self.rows.clone(), meta.clone());
        let store =
            tokio::task::spawn_blocking(move || rows.install(&dir, &announced)).await.map_err(io::Error::other)??;
        self.applier.restored(store.clone()).await.map_err(|e| self.failed(e))?;
        self.rows.slot.replace(store).doom();
        // Only now: whoever waits for the index reads the store next.
        self.applier.publish(meta.last_log_id.map_or(0, |id| id.index));
        let mark = Mark { applied: meta.last_log_id, membership: meta.last_membership.clone() };
        self.rows.progress.durable(mark, self.rows.progress.bytes());
        metrics::snapshot_installed(self.rows.partition);
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<RaftSnapshot<crate::types::CommittedLeaderId, u64, crate::types::Member, SnapshotData>>, io::Error>
    {
        let mark = self.rows.progress.durable_mark();
        let Some(last) = mark.applied else {
            return Ok(None);
        };
        Ok(Some(RaftSnapshot {
            meta: meta(mark),
            snapshot: SnapshotData::Own { rows: self.rows.clone(), hold: self.rows.progress.hold(last.index) },
        }))
    }
}

/// Makes a checkpoint: what was applied is brought into files, so that the log below can go.
pub(crate) struct Builder {
    rows: Arc<Rows>,
    applier: Applier,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(
        &mut self,
    ) -> Result<RaftSnapshot<crate::types::CommittedLeaderId, u64, crate::types::Member, SnapshotData>, io::Error> {
        let started = std::time::Instant::now();
        let rows = self.rows.clone();
        let (view, mark, bytes) = tokio::task::spawn_blocking(move || {
            let store = rows.slot.get();
            // Taken before the flush: everything in the view is in files once the flush returns.
            let bytes = rows.progress.bytes();
            let view = store.snapshot();
            let mark = view.mark()?;
            crash::point("checkpoint-begun");
            store.flush()?;
            crash::point("checkpoint-flushed");
            Ok::<_, crate::error::StoreError>((view, mark, bytes))
        })
        .await
        .map_err(io::Error::other)?
        .map_err(|e| {
            let failure = Failure::from(e);
            self.rows.progress.fail(&failure);
            io::Error::other(failure)
        })?;
        let last = mark.applied.map_or(0, |id| id.index);
        // A snapshot installed meanwhile is further; what is durable never steps back.
        if last >= self.rows.progress.durable_mark().applied.map_or(0, |id| id.index) {
            self.rows.progress.durable(mark.clone(), bytes);
        }
        crash::point("checkpoint-marked");
        self.applier.flushed(view);
        metrics::checkpointed(self.rows.partition, last, started.elapsed());
        Ok(RaftSnapshot {
            meta: meta(mark),
            snapshot: SnapshotData::Own { rows: self.rows.clone(), hold: self.rows.progress.hold(last) },
        })
    }
}
