//! Writes that are not in the store yet, laid over it: whoever reads through the overlay sees them.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::keys::{self, IdHash};
use crate::store::{Read, StoreError, Write};

/// Reads of a store with writes on top, savepoints, and in the end the list of writes.
///
/// One overlay serves all entries of one write batch. Later writes to a key replace earlier ones and counters are
/// summed, so the list that comes out is no longer than the keys touched.
pub struct Overlay<'a> {
    base: &'a dyn Read,
    rows: BTreeMap<Vec<u8>, Slot>,
    /// Ranges removed from the base. Rows written before a removal are gone from `rows`, so that what is there wins.
    ranges: Vec<(Vec<u8>, Vec<u8>)>,
    /// What the base answered to `prefetch`.
    known: HashMap<Vec<u8>, Option<Bytes>>,
    undo: Vec<Undo>,
    savepoints: usize,
}

/// Where to roll back to. Roll back or release in the opposite order of making.
#[must_use = "a savepoint is either rolled back or released"]
#[derive(Debug)]
pub struct Savepoint {
    undo: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Slot {
    Put(Vec<u8>),
    Deleted,
    /// On top of what the base has.
    Add(i64),
}

impl Slot {
    /// The value, on top of what a counter has below.
    fn resolved(&self, below: i64) -> Option<Cow<'_, [u8]>> {
        match self {
            Slot::Put(value) => Some(Cow::Borrowed(value)),
            Slot::Deleted => None,
            Slot::Add(delta) => Some(Cow::Owned(encode_counter(below.wrapping_add(*delta)))),
        }
    }
}

enum Undo {
    Row(Vec<u8>, Option<Slot>),
    Range(Vec<(Vec<u8>, Slot)>),
}

impl<'a> Overlay<'a> {
    /// Nothing written yet.
    pub fn new(base: &'a dyn Read) -> Self {
        Overlay {
            base,
            rows: BTreeMap::new(),
            ranges: Vec::new(),
            known: HashMap::new(),
            undo: Vec::new(),
            savepoints: 0,
        }
    }

    /// Sets a value.
    pub fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.set(key, Slot::Put(value));
    }

    /// Removes a key; fine when absent.
    pub fn delete(&mut self, key: &[u8]) {
        self.set(key, Slot::Deleted);
    }

    /// Removes every key with `from <= key < to`.
    pub fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        if from >= to {
            return;
        }
        let mut inside = self.rows.split_off(from);
        self.rows.append(&mut inside.split_off(to));
        if self.savepoints > 0 {
            self.undo.push(Undo::Range(inside.into_iter().collect()));
        }
        self.ranges.push((from.to_vec(), to.to_vec()));
    }

    /// Adds to a counter.
    pub fn add(&mut self, key: &[u8], delta: i64) {
        if let Some(slot) = self.rows.get_mut(key) {
            if self.savepoints > 0 {
                self.undo.push(Undo::Row(key.to_vec(), Some(slot.clone())));
            }
            match slot {
                Slot::Add(sum) => *sum = sum.wrapping_add(delta),
                Slot::Put(value) => *value = encode_counter(decode_counter(value).wrapping_add(delta)),
                Slot::Deleted => *slot = Slot::Put(encode_counter(delta)),
            }
        } else {
            self.set(key, Slot::Add(delta));
        }
    }

    fn set(&mut self, key: &[u8], slot: Slot) {
        let before = self.rows.insert(key.to_vec(), slot);
        if self.savepoints > 0 {
            self.undo.push(Undo::Row(key.to_vec(), before));
        }
    }

    /// Asks the base for the rows of several ids at once, if it says that is cheaper; later reads of them are answered from
    /// memory.
    pub fn prefetch(&mut self, ids: impl Iterator<Item = IdHash>) -> Result<(), StoreError> {
        let keys: Vec<_> = ids.map(|hash| keys::id(hash).to_vec()).collect();
        if keys.len() < 2 {
            return Ok(());
        }
        if let Some(values) = self.base.get_many(&keys)? {
            if values.len() != keys.len() {
                return Err(StoreError(format!("{} values for {} keys", values.len(), keys.len())));
            }
            self.known.extend(keys.into_iter().zip(values));
        }
        Ok(())
    }

    /// Remembers the present state.
    pub fn savepoint(&mut self) -> Savepoint {
        self.savepoints += 1;
        Savepoint { undo: self.undo.len() }
    }

    /// Takes back every write since the savepoint.
    pub fn rollback(&mut self, savepoint: Savepoint) {
        for undo in self.undo.drain(savepoint.undo..).rev() {
            match undo {
                Undo::Row(key, Some(slot)) => drop(self.rows.insert(key, slot)),
                Undo::Row(key, None) => drop(self.rows.remove(&key)),
                Undo::Range(rows) => {
                    self.ranges.pop();
                    self.rows.extend(rows);
                }
            }
        }
        self.savepoints -= 1;
    }

    /// Keeps the writes since the savepoint; an outer savepoint can still take them back.
    pub fn release(&mut self, savepoint: Savepoint) {
        let _ = savepoint;
        self.savepoints -= 1;
        if self.savepoints == 0 {
            self.undo.clear();
        }
    }

    /// Whether anything was written.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.ranges.is_empty()
    }

    /// The writes, to be made in this order: removals of ranges first, then the rest by key.
    pub fn into_writes(self) -> Vec<Write> {
        let ranges = self.ranges.into_iter().map(|(from, to)| Write::DeleteRange { from, to });
        let rows = self.rows.into_iter().map(|(key, slot)| match slot {
            Slot::Put(value) => Write::Put { key, value },
            Slot::Deleted => Write::Delete { key },
            Slot::Add(delta) => Write::Add { key, delta },
        });
        ranges.chain(rows).collect()
    }

    fn removed(&self, key: &[u8]) -> bool {
        self.ranges.iter().any(|(from, to)| from.as_slice() <= key && key < to.as_slice())
    }

    fn base_get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if self.removed(key) {
            return Ok(None);
        }
        if !self.known.is_empty()
            && let Some(value) = self.known.get(key)
        {
            return Ok(value.clone());
        }
        self.base.get(key)
    }
}

impl Read for Overlay<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self.rows.get(key) {
            Some(Slot::Put(value)) => Ok(Some(Bytes::copy_from_slice(value))),
            Some(Slot::Deleted) => Ok(None),
            Some(Slot::Add(delta)) => {
                let below = self.base_get(key)?.map_or(0, |value| decode_counter(&value));
                Ok(Some(Bytes::from(encode_counter(below.wrapping_add(*delta)))))
            }
            None => self.base_get(key),
        }
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
        let mut above = self.rows.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))).peekable();
        let mut stopped = false;
        self.base.scan(from, to, &mut |key, value| {
            while let Some((own, slot)) = above.next_if(|(own, _)| own.as_slice() < key) {
                if let Some(value) = slot.resolved(0)
                    && visit(own, &value).is_break()
                {
                    stopped = true;
                    return ControlFlow::Break(());
                }
            }
            let removed = self.removed(key);
            let flow = match above.next_if(|(own, _)| own.as_slice() == key) {
                Some((own, slot)) => {
                    let below = if removed { 0 } else { decode_counter(value) };
                    slot.resolved(below).map_or(ControlFlow::Continue(()), |value| visit(own, &value))
                }
                None if removed => ControlFlow::Continue(()),
                None => visit(key, value),
            };
            stopped = flow.is_break();
            flow
        })?;
        if stopped {
            return Ok(());
        }
        for (own, slot) in above {
            if let Some(value) = slot.resolved(0)
                && visit(own, &value).is_break()
            {
                break;
            }
        }
        Ok(())
    }
}

/// A counter as [`Write::Add`] keeps it.
pub fn encode_counter(value: i64) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

/// A counter as [`Write::Add`] keeps it; anything that is not eight bytes counts as zero.
pub fn decode_counter(value: &[u8]) -> i64 {
    value.try_into().map_or(0, i64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::memory::MemoryStore;

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8, u8),
        Delete(u8),
        DeleteRange(u8, u8),
        Add(u8, i8),
        Savepoint,
        Rollback,
        Release,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0u8..12, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
            2 => (0u8..12).prop_map(Step::Delete),
            1 => (0u8..12, 0u8..13).prop_map(|(from, to)| Step::DeleteRange(from, to)),
            // Counters live apart from other values, as in the real keys.
            3 => (12u8..16, any::<i8>()).prop_map(|(key, delta)| Step::Add(key, delta)),
            1 => (12u8..16, 12u8..17).prop_map(|(from, to)| Step::DeleteRange(from, to)),
            2 => Just(Step::Savepoint),
            1 => Just(Step::Rollback),
            1 => Just(Step::Release),
        ]
    }

    fn rows(read: &dyn Read) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut rows = Vec::new();
        let mut visit = |key: &[u8], value: &[u8]| {
            rows.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        };
        read.scan(&[0], &[255], &mut visit).unwrap();
        rows
    }

    proptest! {
        /// Red when `rollback` walks its log forwards.
        #[test]
        fn reads_like_a_store_written_at_once(before in proptest::collection::vec(step(), 0..20), steps in proptest::collection::vec(step(), 0..60)) {
            let mut base = MemoryStore::default();
            let write = |store: &mut MemoryStore, step: &Step| match *step {
                Step::Put(key, value) => store.write(vec![Write::Put { key: vec![key], value: vec![value] }]),
                Step::Delete(key) => store.write(vec![Write::Delete { key: vec![key] }]),
                Step::DeleteRange(from, to) => store.write(vec![Write::DeleteRange { from: vec![from], to: vec![to] }]),
                Step::Add(key, delta) => store.write(vec![Write::Add { key: vec![key], delta: delta.into() }]),
                _ => {}
            };
            for step in &before {
                write(&mut base, step);
            }
            let mut plain = base.clone();
            let mut overlay = Overlay::new(&base);
            let mut saved = Vec::new();
            for step in &steps {
                write(&mut plain, step);
                match *step {
                    Step::Put(key, value) => overlay.put(&[key], vec![value]),
                    Step::Delete(key) => overlay.delete(&[key]),
                    Step::DeleteRange(from, to) => overlay.delete_range(&[from], &[to]),
                    Step::Add(key, delta) => overlay.add(&[key], delta.into()),
                    Step::Savepoint => saved.push((overlay.savepoint(), plain.clone())),
                    Step::Rollback => if let Some((savepoint, then)) = saved.pop() {
                        overlay.rollback(savepoint);
                        plain = then;
                    },
                    Step::Release => if let Some((savepoint, _)) = saved.pop() {
                        overlay.release(savepoint);
                    },
                }
                prop_assert_eq!(rows(&overlay), rows(&plain));
                for key in 0..17 {
                    prop_assert_eq!(overlay.get(&[key]).unwrap(), plain.get(&[key]).unwrap());
                }
            }
            let writes = overlay.into_writes();
            base.write(writes);
            prop_assert_eq!(rows(&base), rows(&plain));
        }
    }
}
