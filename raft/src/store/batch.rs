//! What one apply writes.

/// Changes to be made together, in their order: all of them or none.
///
/// # Panics
///
/// Its methods panic on a key that is empty or starts with a zero byte: those are this crate's own.
#[derive(Default)]
pub struct Batch {
    pub(super) inner: rocksdb::WriteBatch,
}

fn check(key: &[u8]) {
    assert!(
        key.first().is_some_and(|&b| b != 0),
        "a row's key must not be empty or start with a zero byte: {key:?}"
    );
}

impl Batch {
    /// Sets a value.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        check(key);
        self.inner.put(key, value);
    }

    /// Removes one row; fine when absent.
    pub fn delete(&mut self, key: &[u8]) {
        check(key);
        self.inner.delete(key);
    }

    /// Removes every row with `from <= key < to`; nothing when `from >= to`.
    pub fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        check(from);
        if from < to {
            self.inner.delete_range(from, to);
        }
    }

    /// Adds to a counter: an `i64` in 8 little-endian bytes, zero when absent. Wraps.
    pub fn add(&mut self, key: &[u8], delta: i64) {
        check(key);
        self.inner.merge(key, delta.to_le_bytes());
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    /// Size of the changes as they go to the store.
    pub fn bytes(&self) -> usize {
        self.inner.size_in_bytes()
    }
}
