//! Rows of one group: an ordered map from bytes to bytes in one RocksDB directory.

mod batch;
mod mark;
mod options;
mod place;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{DB, InfoLogger, LogLevel, ReadOptions, SnapshotWithThreadMode};

pub use batch::Batch;
pub use options::StoreConfig;

pub(crate) use mark::Mark;
pub(crate) use options::Shared;
pub(crate) use place::{Current, Place, sync_dir, write_atomic};

use crate::error::StoreError;
use crate::machine::CompactionFilter;

/// The rows; cheap to clone, closed when the last clone is gone.
///
/// Keys starting with a zero byte are this crate's own: reads do not show them.
#[derive(Clone)]
pub struct Store {
    tablet: Arc<Tablet>,
}

/// The rows as they were at one moment; cheap to clone. Holding it keeps overwritten rows on disk: seconds, not hours.
#[derive(Clone)]
pub struct Snapshot {
    view: Arc<View>,
}

/// How far the compaction of stores is behind their writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Strain {
    /// As RocksDB estimates it.
    pub(crate) compaction_pending_bytes: u64,
    /// Whether writes are held until it has caught up.
    pub(crate) write_stopped: bool,
}

impl Strain {
    /// That of both.
    pub(crate) fn and(self, other: Strain) -> Strain {
        Strain {
            compaction_pending_bytes: self.compaction_pending_bytes + other.compaction_pending_bytes,
            write_stopped: self.write_stopped || other.write_stopped,
        }
    }
}

/// Sees rows one by one, key and value, until it breaks.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

struct Tablet {
    // `None` only while dropping: the directory may be deleted once RocksDB has let go of it.
    db: Option<DB>,
    dir: PathBuf,
    doomed: AtomicBool,
}

impl Tablet {
    fn db(&self) -> &DB {
        self.db.as_ref().expect("open until dropped")
    }
}

impl Drop for Tablet {
    fn drop(&mut self) {
        drop(self.db.take());
        if self.doomed.load(Ordering::Acquire)
            && let Err(error) = std::fs::remove_dir_all(&self.dir)
        {
            // The next start deletes it.
            tracing::warn!(dir = %self.dir.display(), %error, "cannot delete a replaced store");
        }
    }
}

struct View {
    // Declared before the tablet, so dropped before it.
    inner: SnapshotWithThreadMode<'static, DB>,
    tablet: Arc<Tablet>,
}

impl View {
    #[expect(
        unsafe_code,
        reason = "rocksdb's snapshots borrow the database, which keeps them from crossing threads with it"
    )]
    fn new(tablet: Arc<Tablet>) -> View {
        let db: *const DB = tablet.db();
        // SAFETY: the database lives inside an `Arc` that this value holds for as long as the snapshot, at an address that never
        // changes, and is neither moved nor closed before the last `Arc` is dropped; `inner` is dropped before `tablet`.
        let db: &'static DB = unsafe { &*db };
        View { inner: db.snapshot(), tablet }
    }
}

fn get(db: &DB, options: &ReadOptions, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
    Ok(db.get_pinned_opt(key, options)?.map(|row| Bytes::copy_from_slice(&row)))
}

fn multi_get(db: &DB, mut options: ReadOptions, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>, StoreError> {
    // With any deleted range in a memtable RocksDB asks it for every key; without, its Bloom filter answers for those that are new.
    #[expect(deprecated, reason = "RocksDB wants to drop it for stores that delete no ranges; this one does")]
    options.set_ignore_range_deletions(true);
    db.multi_get_opt(keys, &options).into_iter().map(|row| Ok(row?.map(Bytes::from))).collect()
}

fn scan(db: &DB, mut options: ReadOptions, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
    let from = if from.first().is_none_or(|&b| b == 0) { mark::FIRST_ROW } else { from };
    if !to.is_empty() {
        if from >= to {
            return Ok(());
        }
        // Besides ending the scan, the bound keeps the iterator from walking through range tombstones beyond it.
        options.set_iterate_upper_bound(to);
    }
    let mut rows = db.raw_iterator_opt(options);
    rows.seek(from);
    while let Some((key, value)) = rows.item() {
        if visit(key, value).is_break() {
            return Ok(());
        }
        rows.next();
    }
    rows.status()?;
    Ok(())
}

impl Store {
    /// Opens rows outside a node, for tests and measurements; created if absent.
    pub fn open_alone(dir: &Path, config: &StoreConfig, filter: Option<CompactionFilter>) -> Result<Store, StoreError> {
        Self::open(dir, &Shared::new(config, 1)?, filter)
    }

    pub(crate) fn open(dir: &Path, shared: &Shared, filter: Option<CompactionFilter>) -> Result<Store, StoreError> {
        let db = DB::open(&shared.options(filter)?, dir)?;
        Ok(Store { tablet: Arc::new(Tablet { db: Some(db), dir: dir.to_owned(), doomed: AtomicBool::new(false) }) })
    }

    /// How far the rows in `dir` are, without changing a file there.
    pub(crate) fn mark_of(dir: &Path, shared: &Shared) -> Result<Mark, StoreError> {
        let db = DB::open_for_read_only(&shared.options(None)?, dir, false)?;
        let tablet = Tablet { db: Some(db), dir: dir.to_owned(), doomed: AtomicBool::new(false) };
        Store { tablet: Arc::new(tablet) }.mark()
    }

    /// Opens rows that no node has open, without writing anything beside them. Writes to it fail.
    pub(crate) fn open_for_reading(dir: &Path) -> Result<Store, StoreError> {
        let config = StoreConfig::default();
        let mut options = Shared::new(&config, 1)?.options(None)?;
        // Without one of our own RocksDB begins a LOG in the directory.
        options.set_info_logger(InfoLogger::new_callback_logger(LogLevel::Fatal, |_, _| ()));
        let db = DB::open_for_read_only(&options, dir, false)?;
        Ok(Store { tablet: Arc::new(Tablet { db: Some(db), dir: dir.to_owned(), doomed: AtomicBool::new(false) }) })
    }

    fn db(&self) -> &DB {
        self.tablet.db()
    }

    /// The value under `key`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        get(self.db(), &ReadOptions::default(), key)
    }

    /// The values under many keys, in their order; cheaper than as many [`get`](Self::get)s. They are read one after the other, so a
    /// write meanwhile may show in some only; use a [`snapshot`](Self::snapshot) where that matters. Only for keys that lie in no range that
    /// was ever deleted: such deletions are not looked at.
    pub fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>, StoreError> {
        multi_get(self.db(), ReadOptions::default(), keys)
    }

    /// Visits the rows with `from <= key < to` in ascending order until the visitor breaks; an empty `to` means no bound.
    ///
    /// It sees the rows as they were when it began.
    pub fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        scan(self.db(), ReadOptions::default(), from, to, visit)
    }

    /// The rows as they are now, whatever is written later.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { view: Arc::new(View::new(self.tablet.clone())) }
    }

    /// Writes a batch: all of it or nothing. Not durable before [`flush`](Self::flush).
    ///
    /// Only for stores opened with [`open_alone`](Self::open_alone): a group writes its own, and a replica that writes besides its log
    /// differs from the others.
    pub fn write(&self, batch: Batch) -> Result<(), StoreError> {
        self.db().write_opt(batch.inner, &options::unlogged())?;
        Ok(())
    }

    /// Brings everything written so far into files that survive a crash. Blocks for as long as the disk takes.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.db().flush()?;
        Ok(())
    }

    /// Runs compaction, and with it the filter, over all rows; for tests and maintenance. Blocks until done.
    pub fn compact(&self) {
        self.db().compact_range(None::<&[u8]>, None::<&[u8]>);
    }

    /// Bytes on disk, about.
    pub fn disk_bytes(&self) -> u64 {
        self.db().property_int_value("rocksdb.total-sst-files-size").ok().flatten().unwrap_or(0)
    }

    /// How far compaction is behind the writes.
    pub(crate) fn strain(&self) -> Strain {
        let number = |property: &str| self.db().property_int_value(property).ok().flatten().unwrap_or(0);
        Strain {
            compaction_pending_bytes: number("rocksdb.estimate-pending-compaction-bytes"),
            write_stopped: number("rocksdb.is-write-stopped") > 0,
        }
    }

    /// Links the files that hold everything written so far into `dir`, which must not exist. Flushes first.
    pub(crate) fn checkpoint(&self, dir: &Path) -> Result<(), StoreError> {
        Checkpoint::new(self.db())?.create_checkpoint(dir)?;
        Ok(())
    }

    /// Deletes the directory once the last reader lets go.
    pub(crate) fn doom(&self) {
        self.tablet.doomed.store(true, Ordering::Release);
    }
}

impl Snapshot {
    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.view.inner);
        options
    }

    fn db(&self) -> &DB {
        self.view.tablet.db()
    }

    /// As [`Store::get`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        get(self.db(), &self.options(), key)
    }

    /// As [`Store::multi_get`], all of the same moment.
    pub fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>, StoreError> {
        multi_get(self.db(), self.options(), keys)
    }

    /// As [`Store::scan`].
    pub fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        scan(self.db(), self.options(), from, to, visit)
    }
}
