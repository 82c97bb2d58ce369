//! The ordered key-value store that the core is written against: reads, and a list of writes as the result.
//!
//! The store itself is someone else's (RocksDB in the server, a `BTreeMap` in tests and simulation).

use std::ops::ControlFlow;

use bytes::Bytes;

/// The store could not answer. The replica must halt: it may not guess.
#[derive(Clone, Debug, thiserror::Error)]
#[error("store: {0}")]
pub struct StoreError(pub String);

/// A consistent view of an ordered map from bytes to bytes.
pub trait Read {
    /// The value under `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// The values under several keys, in their order, when asking at once is cheaper than one by one; `None` when not. For
    /// keys of ids only: the store need not look at deletions of ranges, of which ids are never part.
    fn get_many(&self, keys: &[Vec<u8>]) -> Result<Option<Vec<Option<Bytes>>>, StoreError> {
        let _ = keys;
        Ok(None)
    }

    /// Visits the pairs with `from <= key < to` in ascending key order until the visitor breaks.
    #[expect(clippy::type_complexity, reason = "a name for the visitor would hide the lifetime it is borrowed for")]
    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;
}

/// One change, to be made atomically with the others of its list and in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets the value.
    Put {
        /// Key.
        key: Vec<u8>,
        /// Value.
        value: Vec<u8>,
    },
    /// Removes one key; fine when absent.
    Delete {
        /// Key.
        key: Vec<u8>,
    },
    /// Removes every key with `from <= key < to`.
    DeleteRange {
        /// First key removed.
        from: Vec<u8>,
        /// First key kept.
        to: Vec<u8>,
    },
    /// Adds to a counter: an `i64` in little-endian bytes, zero when absent. Wraps, so that order cannot matter.
    Add {
        /// Key.
        key: Vec<u8>,
        /// What to add.
        delta: i64,
    },
}
