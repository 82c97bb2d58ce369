//! How many triggers of which lanes are due within one slot.

use std::collections::BTreeMap;

use crate::lane::LaneId;

/// Counts by lane. Most slots know one or two lanes and keep them in place; more go to a map.
///
/// A count is signed because while a coarser slot is being split, removals arrive before the count they are removed from.
#[derive(Clone, Debug)]
pub(super) enum Slot {
    /// A count of zero marks a free place.
    Few { lanes: [LaneId; 2], counts: [i64; 2] },
    /// Never holds a zero.
    Many(BTreeMap<LaneId, i64>),
}

impl Slot {
    /// Adds to the count of a lane; a lane that reaches zero is forgotten.
    pub(super) fn add(&mut self, lane: LaneId, delta: i64) {
        if delta == 0 {
            return;
        }
        match self {
            Slot::Few { lanes, counts } => {
                let known = (0..2).find(|&i| counts[i] != 0 && lanes[i] == lane);
                if let Some(i) = known.or_else(|| (0..2).find(|&i| counts[i] == 0)) {
                    lanes[i] = lane;
                    counts[i] += delta;
                } else {
                    let both = [(lanes[0], counts[0]), (lanes[1], counts[1]), (lane, delta)];
                    *self = Slot::Many(both.into());
                }
            }
            Slot::Many(map) => {
                let count = map.entry(lane).or_insert(0);
                *count += delta;
                if *count == 0 {
                    map.remove(&lane);
                }
                if map.is_empty() {
                    *self = Slot::default();
                }
            }
        }
    }

    /// Whether every count is zero.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Slot::Few { counts, .. } => counts == &[0, 0],
            Slot::Many(map) => map.is_empty(),
        }
    }

    /// The lanes whose count is not zero, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (LaneId, i64)> + '_ {
        let (few, many) = match self {
            Slot::Few { lanes, counts } => (Some(lanes.iter().zip(counts)), None),
            Slot::Many(map) => (None, Some(map.iter())),
        };
        let all = few.into_iter().flatten().chain(many.into_iter().flatten());
        all.map(|(lane, count)| (*lane, *count)).filter(|(_, count)| *count != 0)
    }
}

impl Default for Slot {
    fn default() -> Self {
        Slot::Few { lanes: [LaneId::default(); 2], counts: [0; 2] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::{Class, TopicId};

    fn lane(topic: u32) -> LaneId {
        LaneId::new(TopicId(topic), Class::Normal)
    }

    #[test]
    fn lanes_come_and_go_in_place_and_in_the_map() {
        let mut slot = Slot::default();
        for (topic, delta) in [(1, 2), (2, -1), (1, -2), (3, 5)] {
            slot.add(lane(topic), delta);
        }
        assert!(matches!(slot, Slot::Few { .. }), "lane 3 takes the place lane 1 left");
        slot.add(lane(4), 1);
        assert_eq!(slot.iter().collect::<Vec<_>>(), [(lane(2), -1), (lane(3), 5), (lane(4), 1)]);
        for (topic, delta) in [(2, 1), (3, -5), (4, -1)] {
            assert!(!slot.is_empty());
            slot.add(lane(topic), delta);
        }
        assert!(slot.is_empty());
        assert!(matches!(slot, Slot::Few { .. }), "an emptied map is given back");
    }

    #[test]
    fn a_slot_is_half_a_cache_line() {
        assert_eq!(size_of::<Slot>(), 32);
    }
}
