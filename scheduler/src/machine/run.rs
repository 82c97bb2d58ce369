//! What the leader says about whole lanes: runs of plain successes, the floor, releases.

use crate::command::{CompleteRun, RaiseFloor, Release};
use crate::keys;
use crate::lane::{Class, Generation, LaneId, Position};
use crate::planted::{self, Bug};
use crate::read;
use crate::record::{Lane, Run, RunGroup, encode_release, trigger_id};
use crate::reply::{Effect, Fired, Refusal, Reply};
use crate::run_codec::{self, Item};
use crate::sparse;
use crate::standing::{self, FiredFacts};
use crate::store::StoreError;
use crate::time::Timestamp;

use super::{Step, Stop, check};

/// Positions one command may complete.
const POSITIONS_MAX: usize = 65_536;

/// Rows one command may put below the floor.
const FLOOR_ROWS_MAX: usize = 100_000;

/// Places completed before, in order, and the run that the entry being applied has begun itself.
type Completed = (Vec<u32>, Option<Run>);

fn invalid(field: &'static str, expected: &'static str) -> Stop {
    Refusal::Invalid { field, expected }.into()
}

impl Step<'_, '_> {
    /// A lane of a topic that exists, by its number.
    fn known_lane(&self, number: u32) -> Result<(LaneId, Lane), Stop> {
        let lane = LaneId::from_number(number).filter(|lane| self.topics.topic(lane.topic()).is_some());
        let lane = lane.ok_or_else(|| invalid("lane", "of a topic of this partition"))?;
        Ok((lane, self.topics.lane(lane)))
    }

    /// Plain successes of first attempts. Positions that have not fired, are gone, or were completed before do not count.
    pub(super) fn complete_run(&mut self, command: &CompleteRun) -> Result<Reply, Stop> {
        let (lane, marks) = self.known_lane(command.lane)?;
        if !(1..=POSITIONS_MAX).contains(&command.due_deltas.len()) {
            return Err(invalid("due_deltas", "1..65,536 positions"));
        }
        for executor in &command.executors {
            check::executor(executor)?;
        }
        let (candidates, others): (Vec<_>, Vec<_>) = run_codec::decode(command)
            .map_err(malformed)?
            .partition(|success| success.position >= marks.floor && marks.has_fired(success.position, self.now));
        let mut rejected: Vec<Position> = others.into_iter().map(|success| success.position).collect();
        let ids = self.ids_at(lane, &candidates)?;
        let topic = self.topic_of(lane)?;
        let visible_until = standing::visible_until(self.now, topic.settings.retention_ms);
        let namespace = topic.namespace.clone();

        let mut facts = FiredFacts::new(lane);
        let mut accepted = 0i64;
        let entries: Vec<_> = candidates.chunk_by(|one, next| origin(one) == origin(next)).collect();
        let completed = self.completed_at(lane, &entries)?;
        let mut ids = ids.into_iter();
        for (successes, (places, own)) in entries.into_iter().zip(completed) {
            let (due, scheduling) = origin(&successes[0]);
            let mut run = own.unwrap_or(Run { visible_until, decided: self.now, groups: Vec::new() });
            let groups_before = run.groups.len();
            let mut last: Option<(Fired, u64)> = None;
            for (success, id) in successes.iter().zip(&mut ids) {
                let position = success.position;
                let place = u32::from(position.generation.place());
                let Some(id) = id.filter(|_| places.binary_search(&place).is_err()) else {
                    rejected.push(position);
                    continue;
                };
                let fired = facts.at(self.overlay, position)?;
                if last.is_none_or(|(before, _)| before != fired) {
                    run.groups.push(RunGroup {
                        fired_time: fired.time.as_millis(),
                        fired_index: fired.index,
                        epoch: success.token.epoch,
                        term: success.token.term,
                        ..RunGroup::default()
                    });
                    last = Some((fired, 0));
                }
                if let (Some(group), Some((_, counter_before))) = (run.groups.last_mut(), last.as_mut()) {
                    let counter = success.token.counter;
                    group.push(position.generation, &id, success.executor, counter, *counter_before);
                    *counter_before = counter;
                }
                accepted += 1;
                self.effect(Effect::Ended { lane, position });
                self.changed(&namespace, &id);
            }
            if run.groups.len() > groups_before {
                self.overlay.put(&keys::run(lane, due, scheduling, self.index), run.encode());
            }
        }
        if accepted > 0 {
            self.overlay.add(&keys::live(lane), -accepted);
            self.overlay.add(&keys::done(lane), accepted);
        }
        rejected.sort_unstable();
        Ok(Reply::RunDecided { rejected })
    }

    /// The ids of the rows at these positions, where there are rows.
    fn ids_at(&self, lane: LaneId, successes: &[Item<'_>]) -> Result<Vec<Option<String>>, StoreError> {
        let one = |success: &Item<'_>| (keys::due(lane, success.position), keys::due(lane, success.position.next()));
        let ranges: Vec<_> = successes.iter().map(one).collect();
        let mut ids = vec![None; successes.len()];
        sparse::visit(self.overlay, &ranges, |number, _, value| {
            ids[number] = Some(trigger_id(value)?.to_owned());
            Ok(())
        })?;
        Ok(ids)
    }

    /// For each group of successes that one entry scheduled for one moment: the places completed before, and the run
    /// that this entry has begun itself.
    fn completed_at(&self, lane: LaneId, entries: &[&[Item<'_>]]) -> Result<Vec<Completed>, StoreError> {
        let range = |successes: &&[Item<'_>]| {
            let (due, scheduling) = origin(&successes[0]);
            (keys::run(lane, due, scheduling, 0), keys::run(lane, due, scheduling, u64::MAX))
        };
        let ranges: Vec<_> = entries.iter().map(range).collect();
        let mut completed: Vec<Completed> = vec![(Vec::new(), None); entries.len()];
        let index = self.index;
        sparse::visit(self.overlay, &ranges, |number, key, value| {
            let run = Run::decode(value)?;
            let (places, own) = &mut completed[number];
            places.extend(run.places());
            if keys::run_fields(key).is_some_and(|(_, _, completing)| completing == index) {
                *own = Some(run);
            }
            Ok(())
        })?;
        for (places, _) in &mut completed {
            places.sort_unstable();
        }
        Ok(completed)
    }

    /// Puts everything before a position behind the lane's floor, after checking that it has ended.
    pub(super) fn raise_floor(&mut self, command: RaiseFloor) -> Result<Reply, Stop> {
        let (lane, marks) = self.known_lane(command.lane)?;
        if lane.class() == Class::Dead {
            return Err(invalid("lane", "one that is delivered"));
        }
        let floor = position(command.due, command.generation);
        if floor <= marks.floor {
            return Ok(Reply::Done);
        }
        // What comes later in the log stands after this.
        if floor > self.here() {
            return Err(invalid("due", "not after the watermark"));
        }
        let checked = !planted::is(Bug::RaisesFloorTooFar);
        if checked && !read::all_ended(self.overlay, lane, marks.floor, floor, FLOOR_ROWS_MAX)? {
            return Err(invalid("due", "behind at most 100,000 rows, all of them ended"));
        }
        self.overlay.delete_range(&keys::due(lane, marks.floor), &keys::due(lane, floor));
        if read::any_between(self.overlay, &keys::released(lane, Position::MIN), &keys::released(lane, floor))? {
            self.overlay.delete_range(&keys::released(lane, Position::MIN), &keys::released(lane, floor));
        }
        self.set_lane(lane, Lane { floor, ..marks });
        Ok(Reply::Done)
    }

    /// Lets a rate-limited lane fire up to a position.
    pub(super) fn release_lane(&mut self, command: Release) -> Result<Reply, Stop> {
        let (lane, marks) = self.known_lane(command.lane)?;
        let settings = &self.topic_of(lane)?.settings;
        let lower = marks.released.filter(|_| settings.rate_milli_per_second > 0 && !settings.paused);
        let lower = lower.ok_or_else(|| invalid("lane", "rate-limited and not paused"))?;
        if command.due > self.now.as_millis() {
            return Err(invalid("due", "not after the watermark"));
        }
        // Not beyond this point of the log: what comes later in this millisecond is not covered.
        let upper = position(command.due, command.generation).min(self.here());
        if upper > lower {
            self.fire_held(lane, lower, upper);
            self.set_lane(lane, Lane { released: Some(upper), ..marks });
        }
        Ok(Reply::Done)
    }

    /// Writes down that this entry fired what a lane held back after `lower` up to `upper`.
    pub(super) fn fire_held(&mut self, lane: LaneId, lower: Position, upper: Position) {
        // Rows of retry lanes carry what fired them first.
        if lane.class() != Class::Retry {
            let fired = Fired { time: self.now, index: self.index };
            self.overlay.put(&keys::released(lane, upper), encode_release(lower, fired));
        }
    }
}

fn position(due: u64, generation: u64) -> Position {
    Position { due: Timestamp::from_millis(due), generation: Generation::from_number(generation) }
}

/// Due time and scheduling index: what a run is about.
fn origin(success: &Item<'_>) -> (Timestamp, u64) {
    (success.position.due, success.position.generation.index())
}

/// What a leader's run must not be, as the refusal of it.
fn malformed(error: run_codec::Malformed) -> Stop {
    match error {
        run_codec::Malformed::Lane(_) => invalid("lane", "of first attempts"),
        run_codec::Malformed::Length { field, .. } => invalid(field, "as many as positions ask for"),
        run_codec::Malformed::Token => invalid("token", "present"),
        run_codec::Malformed::Order(_) => invalid("due_deltas", "positions in order, each once"),
    }
}
