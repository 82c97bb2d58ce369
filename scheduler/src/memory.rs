//! A store in memory: for tests and for the simulation.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::overlay::{decode_counter, encode_counter};
use crate::store::{Read, StoreError, Write};

/// Rows in a `BTreeMap`. A clone is a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryStore {
    rows: BTreeMap<Vec<u8>, Bytes>,
}

impl MemoryStore {
    /// Makes the writes in their order.
    pub fn write(&mut self, writes: Vec<Write>) {
        for write in writes {
            match write {
                Write::Put { key, value } => drop(self.rows.insert(key, Bytes::from(value))),
                Write::Delete { key } => drop(self.rows.remove(&key)),
                // Putting together again what was split off would cost as much as there are rows.
                Write::DeleteRange { from, to } if from < to => {
                    self.rows.extract_if(from..to, |_, _| true).for_each(drop);
                }
                Write::DeleteRange { .. } => {}
                Write::Add { key, delta } => {
                    let sum = self.rows.get(&key).map_or(0, |value| decode_counter(value)).wrapping_add(delta);
                    self.rows.insert(key, Bytes::from(encode_counter(sum)));
                }
            }
        }
    }

    /// The rows in order of key.
    pub fn rows(&self) -> &BTreeMap<Vec<u8>, Bytes> {
        &self.rows
    }

    /// Keeps the rows for which `keep` holds: what a compaction does.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        self.rows.retain(|key, value| keep(key, value));
    }

    /// Hash of every row.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        for (key, value) in &self.rows {
            hasher.update((key.len() as u64).to_be_bytes());
            hasher.update(key);
            hasher.update((value.len() as u64).to_be_bytes());
            hasher.update(value);
        }
        hasher.finalize().into()
    }
}

impl Read for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.rows.get(key).cloned())
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        if from >= to {
            return Ok(());
        }
        for (key, value) in self.rows.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))) {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}
