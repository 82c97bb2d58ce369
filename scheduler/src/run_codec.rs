//! Runs: many plain successes of one lane in one command, delta-coded both ways.
//!
//! The leader's dispatcher encodes, apply decodes. A run names every position, who did it and under which token;
//! the attempt is 1 by definition.

use std::sync::Arc;

use crate::command::{CompleteRun, Token};
use crate::lane::{Class, Generation, LaneId, Position};
use crate::time::Timestamp;

/// One success, as the leader has it before encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Success {
    /// Where the trigger stands in its lane.
    pub position: Position,
    /// Who did it.
    pub executor: Arc<str>,
    /// Counter of the delivery's token.
    pub counter: u64,
}

/// One success of a run, as apply sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// Where the trigger stands in its lane.
    pub position: Position,
    /// Who did it.
    pub executor: &'a str,
    /// Index of `executor` in [`CompleteRun::executors`].
    pub executor_place: usize,
    /// The delivery that did it.
    pub token: Token,
}

/// A run that says nothing: a bug of the leader that made it, to be refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No lane of first attempts has this number.
    #[error("lane: {0} is no lane of first attempts")]
    Lane(u32),
    /// A list has another length than the positions ask for.
    #[error("{field}: {found} given, {expected} expected")]
    Length {
        /// Which list.
        field: &'static str,
        /// Its length.
        found: u64,
        /// As the positions ask for.
        expected: u64,
    },
    /// Positions without a token.
    #[error("token: missing")]
    Token,
    /// The position at this place does not come after the one before.
    #[error("due_deltas, generation_deltas: position {0} is not after the one before")]
    Order(usize),
}

/// Encodes successes of deliveries of one leader in one lane.
///
/// # Panics
///
/// If the positions do not ascend strictly: a run is sorted and names nothing twice.
pub fn encode<'a>(
    lane: LaneId,
    epoch: u64,
    term: u64,
    successes: impl ExactSizeIterator<Item = &'a Success>,
) -> CompleteRun {
    let count = successes.len();
    let mut run = CompleteRun {
        lane: lane.number(),
        due_deltas: Vec::with_capacity(count),
        generation_deltas: Vec::with_capacity(count),
        executors: Vec::new(),
        executor_counts: Vec::new(),
        token: None,
        counter_deltas: Vec::with_capacity(count.saturating_sub(1)),
    };
    let mut before: Option<&Success> = None;
    for success in successes {
        let last = before.map_or(Position::MIN, |b| b.position);
        assert!(before.is_none() || last < success.position, "{:?} after {last:?} in a run", success.position);
        run.due_deltas.push(success.position.due.since(last.due).as_millis());
        let delta = success.position.generation.number().wrapping_sub(last.generation.number());
        run.generation_deltas.push(delta as i64);
        match before {
            Some(before) => run.counter_deltas.push(success.counter.wrapping_sub(before.counter) as i64),
            None => run.token = Some(Token { epoch, term, counter: success.counter }),
        }
        match run.executor_counts.last_mut() {
            Some(count) if before.is_some_and(|b| b.executor == success.executor) => *count += 1,
            _ => {
                run.executors.push(success.executor.to_string());
                run.executor_counts.push(1);
            }
        }
        before = Some(success);
    }
    run
}

/// Decodes a run: checks all of it first, then hands out its items in order of position.
pub fn decode(run: &CompleteRun) -> Result<Items<'_>, Malformed> {
    let lane = lane_of(run)?;
    let count = run.due_deltas.len();
    let lengths = [
        ("generation_deltas", run.generation_deltas.len() as u64, count as u64),
        ("counter_deltas", run.counter_deltas.len() as u64, count.saturating_sub(1) as u64),
        ("executor_counts", run.executor_counts.len() as u64, run.executors.len() as u64),
        ("executors", run.executor_counts.iter().map(|&n| u64::from(n)).sum(), count as u64),
    ];
    for (field, found, expected) in lengths {
        if found != expected {
            return Err(Malformed::Length { field, found, expected });
        }
    }
    let token = match run.token {
        Some(token) => token,
        None if count == 0 => Token::default(),
        None => return Err(Malformed::Token),
    };
    let mut last = Position::MIN;
    for place in 0..count {
        let position = step(run, place, last).filter(|&p| place == 0 || p > last).ok_or(Malformed::Order(place))?;
        last = position;
    }
    Ok(Items { run, lane, place: 0, last: Position::MIN, token, executor: 0, executor_left: 0 })
}

fn lane_of(run: &CompleteRun) -> Result<LaneId, Malformed> {
    LaneId::from_number(run.lane)
        .filter(|lane| matches!(lane.class(), Class::High | Class::Normal | Class::Low))
        .ok_or(Malformed::Lane(run.lane))
}

/// The position at `place` given the one before; `None` when the due time overflows.
fn step(run: &CompleteRun, place: usize, last: Position) -> Option<Position> {
    let due = last.due.as_millis().checked_add(run.due_deltas[place])?;
    let generation = last.generation.number().wrapping_add(run.generation_deltas[place] as u64);
    Some(Position { due: Timestamp::from_millis(due), generation: Generation::from_number(generation) })
}

/// The items of a checked run, in order of position.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    run: &'a CompleteRun,
    lane: LaneId,
    place: usize,
    last: Position,
    token: Token,
    /// One past the executor of the item before.
    executor: usize,
    /// Items it has left.
    executor_left: u32,
}

impl Items<'_> {
    /// The lane they are of.
    pub fn lane(&self) -> LaneId {
        self.lane
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        if self.place == self.run.due_deltas.len() {
            return None;
        }
        let position = step(self.run, self.place, self.last)?;
        if self.place > 0 {
            let delta = self.run.counter_deltas[self.place - 1];
            self.token.counter = self.token.counter.wrapping_add(delta as u64);
        }
        while self.executor_left == 0 {
            self.executor_left = *self.run.executor_counts.get(self.executor)?;
            self.executor += 1;
        }
        self.executor_left -= 1;
        self.place += 1;
        self.last = position;
        let executor_place = self.executor - 1;
        Some(Item { position, executor: &self.run.executors[executor_place], executor_place, token: self.token })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.run.due_deltas.len() - self.place;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Items<'_> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lane::TopicId;

    fn lane() -> LaneId {
        LaneId::new(TopicId(3), Class::Normal)
    }

    fn success(due: u64, generation: u64, executor: &str, counter: u64) -> Success {
        let position = Position { due: Timestamp::from_millis(due), generation: Generation::from_number(generation) };
        Success { position, executor: executor.into(), counter }
    }

    proptest! {
        /// Red when `encode` takes the due delta from zero instead of from the position before.
        #[test]
        fn a_run_decodes_to_what_was_encoded(
            mut raw in prop::collection::vec((0..u64::MAX, 0..u64::MAX, 0..3u8, 0..u64::MAX), 0..50),
        ) {
            raw.sort_by_key(|r| (r.0, r.1));
            raw.dedup_by_key(|r| (r.0, r.1));
            let successes: Vec<_> = raw.iter().map(|r| success(r.0, r.1, ["a", "b", "c"][r.2 as usize], r.3)).collect();
            let run = encode(lane(), 7, 9, successes.iter());
            let items = decode(&run).unwrap();
            prop_assert_eq!(items.lane(), lane());
            prop_assert_eq!(items.len(), successes.len());
            let mut count = 0;
            for (item, success) in items.zip(&successes) {
                prop_assert_eq!(item.position, success.position);
                prop_assert_eq!(item.executor, &*success.executor);
                prop_assert_eq!(item.token, Token { epoch: 7, term: 9, counter: success.counter });
                count += 1;
            }
            prop_assert_eq!(count, successes.len());
        }

        /// Red when the check of the sum of `executor_counts` is dropped: iteration ends early.
        #[test]
        fn any_run_is_decoded_or_refused(
            lane in any::<u32>(),
            due_deltas in prop::collection::vec(any::<u64>(), 0..4),
            generation_deltas in prop::collection::vec(any::<i64>(), 0..4),
            executor_counts in prop::collection::vec(any::<u32>().prop_map(|n| n % 4), 0..3),
            counter_deltas in prop::collection::vec(any::<i64>(), 0..4),
            token in any::<bool>(),
        ) {
            let executors = executor_counts.iter().map(u32::to_string).collect();
            let token = token.then(Token::default);
            let run = CompleteRun {
                lane: lane % 8, due_deltas, generation_deltas, executors, executor_counts, token, counter_deltas,
            };
            if let Ok(items) = decode(&run) {
                let items: Vec<_> = items.collect();
                prop_assert_eq!(items.len(), run.due_deltas.len());
                prop_assert!(items.is_sorted_by(|a, b| a.position < b.position));
            }
        }
    }

    #[test]
    fn neighbours_scheduled_together_cost_few_bytes() {
        let successes: Vec<_> =
            (0..4_096).map(|n| success(1_771_000_000_000, (50_000 << 12) + n, "e-1", n + 1)).collect();
        let bytes = prost::Message::encoded_len(&encode(lane(), 1, 4, successes.iter()));
        assert!(bytes < 4_096 * 4, "{bytes} bytes for 4,096 successes");
    }

    #[test]
    fn a_lane_of_retries_is_refused() {
        let mut run = encode(lane(), 1, 1, [success(5, 5, "a", 1)].iter());
        run.lane = LaneId::new(TopicId(3), Class::Retry).number();
        assert_eq!(decode(&run).unwrap_err(), Malformed::Lane(run.lane));
    }
}
