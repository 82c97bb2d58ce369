//! Which rows a compaction may drop.
//!
//! The row of an id whose trigger was completed in a run is not deleted: its state is derived, and once its position is
//! behind the lane's `forgotten` mark every reader says that it is not there. A compaction may then drop it, judged by
//! the marks of the last *completed flush*: a crash returns the replica to that state, where the row must have been
//! invisible already.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::keys;
use crate::lane::{LaneId, Position};
use crate::record::{IdRecord, Lane, Stage, corrupt};
use crate::store::{Read, StoreError};

/// The `forgotten` marks of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    forgotten: BTreeMap<LaneId, Position>,
}

/// Reads the marks of a store that survives a crash: a checkpoint or a completed flush, never the live one.
pub fn marks(flushed: &dyn Read) -> Result<Marks, StoreError> {
    let mut marks = Marks::default();
    let mut failed = None;
    flushed.scan(&[keys::LANE], &[keys::LANE + 1], &mut |key, value| {
        match (keys::lane_of(key), Lane::decode(value)) {
            (Some(lane), Ok(row)) => drop(marks.forgotten.insert(lane, row.forgotten)),
            (_, row) => failed = Some(row.err().unwrap_or_else(|| corrupt("lane"))),
        }
        if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    failed.map_or(Ok(marks), Err)
}

impl Marks {
    /// Whether this row may be dropped. Rows it cannot read stay.
    pub fn drops(&self, key: &[u8], value: &[u8]) -> bool {
        if key.first() != Some(&keys::ID) {
            return false;
        }
        match IdRecord::decode_place(value) {
            Ok((Stage::Live, lane, position)) => {
                self.forgotten.get(&lane).is_some_and(|&forgotten| position < forgotten)
            }
            _ => false,
        }
    }
}

/// The marks as a compaction filter: `true` drops the row.
pub fn filter(marks: Marks) -> impl Fn(&[u8], &[u8]) -> bool + Send + Sync {
    move |key, value| marks.drops(key, value)
}
