//! Adding up the rows of a split, outside whatever lock the wheel is under.

use super::Split;
use crate::lane::LaneId;
use crate::time::Timestamp;

/// What a snapshot of the store holds in the range of a split, in slots of the next finer level.
///
/// Rows come lane by lane in order of due time, as they lie on disk; then its size is that of the finer slots in use, so
/// that [`Wheel::finish_split`](super::Wheel::finish_split) has little to do however many rows there were. Another order
/// is as right, and takes more room.
#[derive(Clone, Debug)]
pub struct Recount {
    split: Split,
    counts: Vec<(LaneId, Timestamp, i64)>,
}

impl Recount {
    /// Of nothing yet.
    pub fn new(split: Split) -> Self {
        Recount { split, counts: Vec::new() }
    }

    /// Adds triggers of one lane: one row and its due time, or a stored minute count and the start of its minute.
    pub fn add(&mut self, lane: LaneId, due: Timestamp, count: i64) {
        let finer = self.split.level.finer();
        match self.counts.last_mut() {
            Some((last, at, sum)) if *last == lane && finer.slot(*at) == finer.slot(due) => {
                *sum += count;
            }
            _ => self.counts.push((lane, due, count)),
        }
    }
}

impl IntoIterator for Recount {
    type Item = (LaneId, Timestamp, i64);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.counts.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::{Class, TopicId};
    use crate::wheel::Level;

    #[test]
    fn rows_of_one_slot_are_one_count() {
        let [first, second] = [1, 2].map(|topic| LaneId::new(TopicId(topic), Class::Normal));
        let at = Timestamp::from_millis;
        let mut recount = Recount::new(Split { level: Level::Minute, from: at(60_000), to: at(120_000) });
        for (lane, ms) in [(first, 60_000), (first, 60_999), (first, 61_000), (second, 61_001), (second, 61_001)] {
            recount.add(lane, at(ms), 1);
        }
        let expected = [(first, at(60_000), 2), (first, at(61_000), 1), (second, at(61_001), 2)];
        assert_eq!(recount.into_iter().collect::<Vec<_>>(), expected);
    }
}
