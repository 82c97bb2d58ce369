//! What a replica tells its node about what it applied: the wheel, and the leader's dispatcher. As the server's feed does.

use scheduler::lane::{Class, LaneId};
use scheduler::machine::Applied;
use scheduler::read;
use scheduler::reply::Effect;
use scheduler::store::{Read, StoreError};
use scheduler::time::Timestamp;
use scheduler::wheel::{Level, Split, Wheel};

/// Exact slots looked through one by one when time moves on; beyond that every lane with anything pending counts as
/// touched.
const SLOTS_LOOKED_THROUGH_MAX: usize = 64;

/// One applied entry, as the dispatcher needs it.
#[derive(Debug)]
pub struct Fed {
    /// Its index.
    pub index: u64,
    /// The watermark it moved to.
    pub watermark: Timestamp,
    /// Lanes in which something became due; may name too many.
    pub lanes: Vec<LaneId>,
    /// What it changed.
    pub effects: Vec<Effect>,
}

/// When the leader has to propose an entry though nobody asks for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextEntry {
    /// Internal work is left over: soon.
    Owed,
    /// When time is here.
    At(Timestamp),
    /// Nothing is pending.
    Never,
}

/// The wheel of one replica.
#[derive(Debug)]
pub struct Feed {
    wheel: Wheel,
    owed: bool,
}

/// A slot to be counted and what the rows said when it was begun.
pub type Counting = (Split, Vec<(LaneId, Timestamp, i64)>);

impl Feed {
    /// Of these rows.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub fn of(rows: &dyn Read) -> Result<Self, StoreError> {
        let mut wheel = Wheel::new(read::status(rows)?.watermark());
        for row in read::minute_counts(rows)? {
            wheel.load_minute(row.lane, row.minute, i64::try_from(row.count).unwrap_or(i64::MAX));
        }
        Ok(Feed { wheel, owed: false })
    }

    /// An entry was applied.
    pub fn take_in(&mut self, applied: Applied) -> Fed {
        self.owed = applied.owed;
        let lanes = self.advance(applied.watermark);
        for effect in &applied.effects {
            match effect {
                Effect::Inserted { lane, position }
                    if position.due > applied.watermark && lane.class() != Class::Dead =>
                {
                    self.wheel.insert(*lane, position.due);
                }
                Effect::Removed { lane, position }
                    if position.due > applied.watermark && lane.class() != Class::Dead =>
                {
                    self.wheel.remove(*lane, position.due);
                }
                _ => {}
            }
        }
        Fed { index: applied.index, watermark: applied.watermark, lanes, effects: applied.effects }
    }

    /// Moves the wheel; returns the lanes in which something became due.
    fn advance(&mut self, watermark: Timestamp) -> Vec<LaneId> {
        let mut lanes = Vec::new();
        for looked_through in 0.. {
            let Some(next) = self.wheel.next_due(self.wheel.now()).filter(|next| next.at <= watermark) else { break };
            if !next.exact || looked_through == SLOTS_LOOKED_THROUGH_MAX {
                lanes.extend(self.wheel.pending_by_lane().iter().map(|(lane, _)| lane));
                break;
            }
            lanes.extend(next.lanes.iter().map(|(lane, _)| lane));
            self.wheel.advance(next.at);
        }
        self.wheel.advance(watermark);
        lanes.sort_unstable();
        lanes.dedup();
        lanes
    }

    /// Begins the splits that are owed; each is to be finished with what is returned for it.
    ///
    /// # Errors
    ///
    /// The rows cannot be read.
    pub fn begin_splits(&mut self, rows: &dyn Read) -> Result<Vec<Counting>, StoreError> {
        let owed: Vec<Split> = self.wheel.splits_owed().collect();
        let mut begun = Vec::new();
        for split in owed {
            if self.wheel.begin_split(split) {
                begun.push((split, count(rows, split)?));
            }
        }
        Ok(begun)
    }

    /// A split has been counted; what the wheel and the rows did not agree on.
    pub fn finish_split(&mut self, (split, counts): Counting) -> scheduler::wheel::Drift {
        self.wheel.finish_split(split, counts)
    }

    /// When an entry is needed to move time.
    pub fn next_entry(&self) -> NextEntry {
        if self.owed {
            return NextEntry::Owed;
        }
        match self.wheel.next_due(self.wheel.now()) {
            None => NextEntry::Never,
            Some(next) if next.exact => NextEntry::At(next.at),
            Some(next) => NextEntry::At(next.wake),
        }
    }
}

fn count(rows: &dyn Read, split: Split) -> Result<Vec<(LaneId, Timestamp, i64)>, StoreError> {
    let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    Ok(if split.level == Level::Hour {
        // Minutes are counted as they are written.
        read::minute_counts(rows)?
            .into_iter()
            .filter(|row| (split.from..split.to).contains(&row.minute))
            .map(|row| (row.lane, row.minute, signed(row.count)))
            .collect()
    } else {
        read::count_dues(rows, split.from, split.to)?
            .into_iter()
            .map(|(due, lane, count)| (lane, due, signed(count)))
            .collect()
    })
}
