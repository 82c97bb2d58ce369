//! Reading many small ranges that mostly lie side by side.

use std::ops::ControlFlow;

use crate::store::{Read, StoreError};

/// Rows stepped over before a new seek is the cheaper way on.
const STEPS_MAX: usize = 16;

/// Visits the rows in each of `ranges`, which are `from <= key < to`, ascending and apart. The visitor is told the number
/// of the range.
///
/// Neighbouring ranges are read by stepping on, distant ones by seeking: the cost follows the number of ranges and of
/// rows in them, never what lies between.
pub(crate) fn visit<const N: usize>(
    store: &dyn Read,
    ranges: &[([u8; N], [u8; N])],
    mut visit: impl FnMut(usize, &[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let Some((_, end)) = ranges.last() else { return Ok(()) };
    let mut at = 0;
    let mut failed = None;
    while at < ranges.len() && failed.is_none() {
        let mut steps = 0;
        let mut exhausted = true;
        store.scan(&ranges[at].0, end, &mut |key, value| {
            while at < ranges.len() && key >= &ranges[at].1[..] {
                at += 1;
            }
            let Some((from, _)) = ranges.get(at) else { return ControlFlow::Break(()) };
            if key >= &from[..] {
                steps = 0;
                failed = visit(at, key, value).err();
            } else {
                steps += 1;
            }
            if failed.is_some() || steps > STEPS_MAX {
                exhausted = false;
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        if exhausted {
            break;
        }
    }
    failed.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::memory::MemoryStore;
    use crate::store::Write;

    proptest! {
        /// Red when the visitor of a key before the next range is called.
        #[test]
        fn finds_what_single_scans_find(
            keys in proptest::collection::btree_set(any::<u16>(), 0..200),
            bounds in proptest::collection::btree_set(any::<u16>(), 0..40),
        ) {
            let mut store = MemoryStore::default();
            store.write(keys.iter().map(|key| Write::Put { key: key.to_be_bytes().to_vec(), value: vec![] }).collect());
            let bounds: Vec<_> = bounds.into_iter().map(u16::to_be_bytes).collect();
            let ranges: Vec<_> = bounds.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
            let mut expected = Vec::new();
            for (number, (from, to)) in ranges.iter().enumerate() {
                store.scan(from, to, &mut |key, _| {
                    expected.push((number, key.to_vec()));
                    ControlFlow::Continue(())
                }).unwrap();
            }
            let mut found = Vec::new();
            visit(&store, &ranges, |number, key, _| {
                found.push((number, key.to_vec()));
                Ok(())
            }).unwrap();
            prop_assert_eq!(found, expected);
        }
    }
}
