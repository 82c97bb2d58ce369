//! One lane as the dispatcher sees it: how far it has read, what is ready, what is under way.

use std::collections::{BTreeSet, VecDeque};

use super::Config;
use super::assign::Shards;
use super::leases::Leases;
use super::outcomes::Reported;
use super::types::{Cause, Marks, Row, RowSource};
use crate::lane::{Class, Generation, LaneId, Position};
use crate::planted::{self, Bug};
use crate::store::StoreError;
use crate::time::Timestamp;

/// Rows read at once at most.
const CHUNK_ROWS_MAX: usize = 1_024;
/// Rows a lane with nothing ready may read however much other lanes keep.
const CHUNK_ROWS_MIN: usize = 16;

#[derive(Debug)]
pub(super) struct Lane {
    pub id: LaneId,
    pub marks: Marks,
    /// First position not read.
    cursor: Position,
    /// Fired rows may stand at the cursor or after it.
    pub unread: bool,
    /// Before this position a row that is read may be known already: the cursor was set back, or a lease was adopted.
    known_until: Position,
    /// Rows ready for each member of the topic, in order of position.
    queues: Vec<VecDeque<Row>>,
    pub ready: usize,
    pub ready_bytes: usize,
    /// Rows handed out and not ended.
    pub held: BTreeSet<Position>,
    /// What delivery last waited for.
    pub cause: Option<Cause>,
    /// What firing last waited for.
    pub behind: Option<Cause>,
    /// Rows ended since the floor was last looked at.
    pub ended: u64,
    /// A RaiseFloor is undecided.
    pub raising: bool,
    /// A Release is undecided.
    pub releasing: bool,
    /// Something due may stand after the released mark.
    pub unreleased: bool,
    /// Rows released and not read.
    pub released_unread: u64,
    /// Plain successes to be merged.
    pub successes: Vec<Reported>,
    /// Runs undecided.
    pub runs: u32,
    /// No run before this moment, because one could not be proposed.
    pub runs_after: Timestamp,
}

impl Lane {
    pub fn new(id: LaneId) -> Self {
        Lane {
            id,
            marks: Marks { floor: Position::MIN, released: None },
            cursor: Position::MIN,
            unread: true,
            known_until: Position::MIN,
            queues: Vec::new(),
            ready: 0,
            ready_bytes: 0,
            held: BTreeSet::new(),
            cause: None,
            behind: None,
            ended: 0,
            raising: false,
            releasing: false,
            unreleased: true,
            released_unread: 0,
            successes: Vec::new(),
            runs: 0,
            runs_after: Timestamp::MIN,
        }
    }

    /// The last position that may have fired.
    pub fn fired_to(&self, watermark: Timestamp) -> Position {
        let due = Position::end_of(planted::due_by(watermark));
        self.marks.released.map_or(due, |released| released.min(due))
    }

    /// Something may be there to deliver.
    pub fn backlog(&self) -> bool {
        self.ready > 0 || self.unread
    }

    pub fn set_marks(&mut self, marks: Marks) {
        self.marks = marks;
        self.cursor = self.cursor.max(marks.floor);
        self.unread = !(planted::is(Bug::ForgetsRetryLane) && self.id.class() == Class::Retry);
        self.unreleased = true;
    }

    /// Reads again from `position` on; rows that are known are left alone.
    pub fn set_back(&mut self, position: Position) {
        if position < self.cursor {
            self.known_until = self.known_until.max(self.cursor);
            self.cursor = position;
            self.unread = true;
        }
    }

    /// A row was handed out, maybe by an earlier leader and ahead of the cursor.
    pub fn hold(&mut self, position: Position) {
        self.held.insert(position);
        if position >= self.cursor {
            self.known_until = self.known_until.max(next(position));
        }
    }

    pub fn head(&self, member: usize) -> Option<&Row> {
        self.queues.get(member)?.front()
    }

    pub fn pop(&mut self, member: usize) -> Option<Row> {
        let row = self.queues.get_mut(member)?.pop_front()?;
        self.ready -= 1;
        self.ready_bytes -= row.value.len();
        Some(row)
    }

    /// Removes a row that is ready; false when it is not.
    pub fn remove_ready(&mut self, position: Position) -> bool {
        for queue in &mut self.queues {
            if let Ok(place) = queue.binary_search_by_key(&position, |row| row.position)
                && let Some(row) = queue.remove(place)
            {
                self.ready -= 1;
                self.ready_bytes -= row.value.len();
                return true;
            }
        }
        false
    }

    /// The first row that is ready.
    pub fn first_ready(&self) -> Option<Position> {
        self.queues.iter().filter_map(|queue| queue.front()).map(|row| row.position).min()
    }

    /// Everything before this position has ended.
    pub fn ended_before(&self, watermark: Timestamp) -> Position {
        let waiting = [self.held.first().copied(), self.first_ready()].into_iter().flatten().min();
        let waiting = waiting.filter(|_| !planted::is(Bug::RaisesFloorTooFar));
        let position = waiting.map_or(self.cursor, |waiting| waiting.min(self.cursor));
        match self.id.class() {
            // A retry keeps its old generation, so one inserted later may stand before what was read at this moment.
            Class::Retry => position.min(Position { due: watermark, generation: Generation::from_number(0) }),
            _ => position,
        }
    }

    /// Shares what is ready among the new members; without any it is dropped, to be read again.
    pub fn share(&mut self, shards: &Shards) {
        let mut rows: Vec<Row> = self.queues.drain(..).flatten().collect();
        rows.sort_unstable_by_key(|row| row.position);
        self.queues.resize_with(shards.members().len(), VecDeque::new);
        if self.queues.is_empty() {
            (self.ready, self.ready_bytes) = (0, 0);
            if let Some(first) = rows.first() {
                self.set_back(first.position);
            }
            return;
        }
        for row in rows {
            if let Some(owner) = shards.owner(row.shard) {
                self.queues[owner].push_back(row);
            }
        }
    }

    /// Reads a chunk if there is room and something to read; false when not.
    ///
    /// `ready_bytes` is what all lanes together keep ready, kept up to date by the caller.
    pub fn read(
        &mut self,
        config: &Config,
        watermark: Timestamp,
        ready_bytes: usize,
        shards: &Shards,
        leases: &Leases,
        source: &dyn RowSource,
    ) -> Result<bool, StoreError> {
        let mut rows_max = config.lookahead_rows_max.max(1).saturating_sub(self.ready).min(CHUNK_ROWS_MAX);
        let mut bytes_max = config.lookahead_bytes_max.saturating_sub(self.ready_bytes);
        if ready_bytes >= config.ready_bytes_max {
            rows_max = if self.ready == 0 { rows_max.min(CHUNK_ROWS_MIN) } else { 0 };
        } else {
            bytes_max = bytes_max.min(config.ready_bytes_max - ready_bytes);
        }
        if self.ready == 0 {
            bytes_max = bytes_max.max(1);
        }
        let to = self.fired_to(watermark);
        if self.cursor > to {
            self.unread = false;
        }
        if !self.unread || rows_max == 0 || bytes_max == 0 {
            return Ok(false);
        }
        let mut rows = Vec::with_capacity(rows_max);
        let scanned = source.rows(self.id, self.cursor, to, rows_max, bytes_max, &mut rows)?;
        self.unread = scanned.more && scanned.last.is_some();
        if let Some(last) = scanned.last {
            self.cursor = self.cursor.max(next(last));
        }
        self.released_unread = if self.unread { self.released_unread.saturating_sub(rows.len() as u64) } else { 0 };
        for row in rows {
            self.take(row, shards, leases);
        }
        Ok(true)
    }

    /// Queues a row that was read for the owner of its shard, unless it is known already.
    fn take(&mut self, row: Row, shards: &Shards, leases: &Leases) {
        let known = row.position < self.known_until;
        if known && leases.at(self.id, row.position).is_some() {
            return;
        }
        let Some(queue) = shards.owner(row.shard).and_then(|owner| self.queues.get_mut(owner)) else {
            return;
        };
        let bytes = row.value.len();
        if queue.back().is_none_or(|last| last.position < row.position) {
            queue.push_back(row);
        } else {
            match queue.binary_search_by_key(&row.position, |row| row.position) {
                Ok(_) => return,
                Err(place) => queue.insert(place, row),
            }
        }
        self.ready += 1;
        self.ready_bytes += bytes;
    }

    /// There is no room to read on.
    pub fn full(&self, config: &Config) -> bool {
        self.ready >= config.lookahead_rows_max.max(1) || self.ready_bytes >= config.lookahead_bytes_max
    }
}

/// The first position after this one.
pub(super) fn next(position: Position) -> Position {
    match position.generation.number().checked_add(1) {
        Some(number) => Position { due: position.due, generation: Generation::from_number(number) },
        None => Position {
            due: Timestamp::from_millis(position.due.as_millis().saturating_add(1)),
            generation: Generation::from_number(0),
        },
    }
}
