//! Rows of one group: an ordered map from bytes to bytes in one RocksDB directory.

mod batch;

use std::ops::ControlFlow;
use std::path::Path;

use bytes::Bytes;

pub use batch::Batch;

use crate::error::StoreError;
use crate::machine::CompactionFilter;

/// Memory and threads of the stores of one node, shared by its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Bytes for blocks read from disk and for write buffers together. Default 256 MiB; at least 8 MiB.
    pub memory_bytes: usize,
    /// Of those, how many may be written and not yet in files. Default 96 MiB; at most half of the above.
    pub write_buffer_bytes: usize,
    /// Threads that flush and compact. Default 2.
    pub background_threads: u32,
}

/// The rows; cheap to clone, closed when the last clone is gone.
///
/// Keys starting with a zero byte are this crate's own: reads do not show them.
#[derive(Clone)]
pub struct Store {}

/// The rows as they were at one moment; cheap to clone. Holding it keeps overwritten rows on disk: seconds, not hours.
#[derive(Clone)]
pub struct Snapshot {}

impl Store {
    /// Opens rows outside a node, for tests and measurements; created if absent.
    pub fn open_alone(_dir: &Path, _config: &StoreConfig, _filter: Option<CompactionFilter>) -> Result<Store, StoreError> {
        todo!()
    }

    /// The value under `key`.
    pub fn get(&self, _key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        todo!()
    }

    /// The values under many keys, in their order; cheaper than as many [`get`](Self::get)s.
    pub fn multi_get(&self, _keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>, StoreError> {
        todo!()
    }

    /// Visits the rows with `from <= key < to` in ascending order until the visitor breaks; an empty `to` means no bound.
    pub fn scan(
        &self,
        _from: &[u8],
        _to: &[u8],
        _visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        todo!()
    }

    /// The rows as they are now, whatever is written later.
    pub fn snapshot(&self) -> Snapshot {
        todo!()
    }

    /// Writes a batch: all of it or nothing. Not durable before [`flush`](Self::flush).
    ///
    /// Only for stores opened with [`open_alone`](Self::open_alone); a group writes its own.
    pub fn write(&self, _batch: Batch) -> Result<(), StoreError> {
        todo!()
    }

    /// Brings everything written so far into files that survive a crash.
    pub fn flush(&self) -> Result<(), StoreError> {
        todo!()
    }
}

impl Snapshot {
    /// As [`Store::get`].
    pub fn get(&self, _key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        todo!()
    }

    /// As [`Store::multi_get`].
    pub fn multi_get(&self, _keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>, StoreError> {
        todo!()
    }

    /// As [`Store::scan`].
    pub fn scan(
        &self,
        _from: &[u8],
        _to: &[u8],
        _visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        todo!()
    }
}
