//! The rows of a partition as its dispatcher reads them.

use std::sync::Arc;

use scheduler::dispatcher::{Located, Row, RowSource, Scanned, shard_of};
use scheduler::lane::{Generation, LaneId, Position};
use scheduler::read;
use scheduler::reply::Outcome;
use scheduler::store::{Read, StoreError};
use scheduler::time::{Delay, Timestamp};

/// Reads through a store that has everything the dispatcher was told.
pub struct Source<'a>(pub &'a dyn Read);

impl RowSource for Source<'_> {
    fn rows(
        &self,
        lane: LaneId,
        from: Position,
        to: Position,
        rows_max: usize,
        bytes_max: usize,
        rows: &mut Vec<Row>,
    ) -> Result<Scanned, StoreError> {
        let found = read::due_rows(self.0, lane, before(from), to, rows_max, bytes_max)?;
        rows.extend(found.rows.into_iter().map(|row| {
            let key = if row.trigger.shard_key.is_empty() { &row.id } else { &row.trigger.shard_key };
            Row {
                position: row.position,
                shard: shard_of(key.as_bytes()),
                attempt: row.attempt + 1,
                fired: row.fired,
                skip_when_later: Delay::from_millis(row.trigger.skip_when_later_ms),
                value: row.value,
                id: Arc::from(row.id),
            }
        }));
        Ok(Scanned { last: found.last, more: found.next.is_some() })
    }

    fn count(
        &self,
        lane: LaneId,
        from: Position,
        to: Position,
        count_max: usize,
    ) -> Result<Option<(Position, usize)>, StoreError> {
        let found = read::due_positions(self.0, lane, before(from), to, count_max)?;
        Ok(found.last().map(|last| (*last, found.len())))
    }

    fn locate(&self, namespace: &str, id: &str, generation: Generation) -> Result<Option<Located>, StoreError> {
        let Some(view) = read::get(self.0, namespace, id)? else { return Ok(None) };
        let live = view.generation == generation && matches!(view.state, Outcome::Fired | Outcome::Retrying);
        Ok(view.receipt.fired.filter(|_| live).map(|fired| Located {
            lane: view.lane,
            position: view.position,
            attempt: view.attempt + 1,
            fired,
        }))
    }
}

/// The position just before this one; no trigger stands at the very first.
fn before(position: Position) -> Position {
    match position.generation.number().checked_sub(1) {
        Some(number) => Position { due: position.due, generation: Generation::from_number(number) },
        None => match position.due.as_millis().checked_sub(1) {
            Some(ms) => Position::end_of(Timestamp::from_millis(ms)),
            None => Position::MIN,
        },
    }
}
