//! What executors report about one trigger: complete, retry, fail; and the leader's skip of what came too late.

use crate::command::{Complete, Fail, Report, Retry, SkipLate, Token};
use crate::keys;
use crate::lane::{Class, LaneId, Position};
use crate::planted::{self, Bug};
use crate::record::{Progress, Stage, Trigger, corrupt};
use crate::reply::{Fired, Outcome, Receipt, Refusal, Reply};
use crate::retry;
use crate::standing::{self, Standing, first_fired};
use crate::time::{Delay, Timestamp};

use super::step::{Found, keep_origin};
use super::{Step, Stop, check};

/// What an attempt that did not end well left behind.
struct Failure {
    error: String,
    executor: String,
    token: Option<Token>,
    /// Attempts that failed by now.
    attempt: u32,
}

/// A fired trigger as its lane has it, before an outcome is written.
struct Attempted {
    id: String,
    trigger: Trigger,
    /// Lane it had first.
    lane: LaneId,
    due: Timestamp,
    fired: Fired,
    /// Attempts that failed so far.
    failed: u32,
}

impl Step<'_, '_> {
    /// One success. The first of a generation wins, whatever its token.
    pub(super) fn complete(&mut self, command: Complete) -> Result<Reply, Stop> {
        let report = check::report(command.report)?;
        let found = self.find(&report.namespace, &report.id)?;
        if found.record.position.generation.number() != report.generation {
            return Ok(Reply::Superseded);
        }
        match found.standing {
            Standing::Scheduled => return Err(not_fired()),
            Standing::Completed(_) | Standing::Dead | Standing::Ended => {
                return Ok(Reply::AlreadyDecided(self.receipt(&found)?));
            }
            Standing::Fired(_) | Standing::Retrying => {}
        }
        let attempted = self.attempted(&found)?;
        let receipt = Receipt {
            log_index: self.index,
            generation: found.record.position.generation,
            due: attempted.due,
            fired: Some(attempted.fired),
            outcome: Outcome::Completed,
            decided: self.now,
            executor: report.executor,
            attempt: report.attempt,
            token: report.token,
        };
        self.remove_row(found.record.lane, found.record.position);
        self.overlay.add(&keys::done(attempted.lane), 1);
        self.end(found.hash, &attempted.id, found.record, attempted.lane, &receipt)?;
        self.changed(&report.namespace, &report.id);
        Ok(Reply::Decided(receipt))
    }

    /// One failed attempt: to the retry lane, or to the dead letters when it was the last.
    pub(super) fn retry(&mut self, command: Retry) -> Result<Reply, Stop> {
        let report = check::report(command.report)?;
        check::retry_after(command.retry_after_ms)?;
        let found = match self.awaited(&report)? {
            Ok(found) => found,
            Err(reply) => return Ok(reply),
        };
        let attempted = self.attempted(&found)?;
        let topic = self.topic_of(attempted.lane)?;
        let policy = topic.settings.retry.as_ref().ok_or_else(|| corrupt("topic"))?;
        let policy = retry::effective(attempted.trigger.retry.as_ref(), policy);
        let error = match (command.error.is_empty(), command.lease_expired) {
            (true, true) => "lease expired".to_owned(),
            _ => check::kept_error(command.error),
        };
        let failure = Failure { error, executor: report.executor, token: report.token, attempt: report.attempt };
        if report.attempt >= policy.max_attempts {
            return self.give_up(&report.namespace, found, attempted, failure).map(Reply::Decided);
        }
        let delay = match command.retry_after_ms {
            0 => retry::backoff(&policy, found.record.position.generation, report.attempt),
            ms => Delay::from_millis(ms),
        };
        let not_before = self.now.after(delay);
        self.fail_over(&report.namespace, found, attempted, failure, Stage::Retry, not_before).map(Reply::Decided)
    }

    /// One failure for good.
    pub(super) fn fail(&mut self, command: Fail) -> Result<Reply, Stop> {
        let report = check::report(command.report)?;
        let found = match self.awaited(&report)? {
            Ok(found) => found,
            Err(reply) => return Ok(reply),
        };
        let attempted = self.attempted(&found)?;
        let error = check::kept_error(command.error);
        let failure = Failure { error, executor: report.executor, token: report.token, attempt: report.attempt };
        self.give_up(&report.namespace, found, attempted, failure).map(Reply::Decided)
    }

    /// Dead-letters a fired trigger that nobody got in time.
    pub(super) fn skip_late(&mut self, command: SkipLate) -> Result<Reply, Stop> {
        let found = self.find(&command.namespace, &command.id)?;
        super::cancel::expect(&found.record, command.generation)?;
        match found.standing {
            Standing::Fired(_) => {}
            Standing::Scheduled => return Err(not_fired()),
            Standing::Retrying => return Err(Refusal::AlreadyFired(self.receipt(&found)?).into()),
            _ => return Err(Refusal::AlreadyEnded(self.receipt(&found)?).into()),
        }
        let attempted = self.attempted(&found)?;
        let skip = attempted.trigger.skip_when_later_ms;
        if skip == 0 || self.now.since(attempted.due).as_millis() <= skip {
            let expected = "of a trigger that is later than its policy allows";
            return Err(Refusal::Invalid { field: "generation", expected }.into());
        }
        let failure = Failure { error: "too late".to_owned(), executor: String::new(), token: None, attempt: 0 };
        self.give_up(&command.namespace, found, attempted, failure).map(Reply::Ended)
    }

    /// The trigger, when this report is about the attempt it waits for; else the answer.
    fn awaited(&self, report: &Report) -> Result<Result<Found, Reply>, Stop> {
        let found = self.find(&report.namespace, &report.id)?;
        let position = found.record.position;
        if position.generation.number() != report.generation {
            return Ok(Err(Reply::Superseded));
        }
        let failed = match &found.standing {
            Standing::Scheduled => return Err(not_fired()),
            Standing::Completed(_) | Standing::Dead | Standing::Ended => {
                return Ok(Err(Reply::AlreadyDecided(self.receipt(&found)?)));
            }
            Standing::Fired(_) => 0,
            Standing::Retrying => {
                let (_, trigger) = self.row(&found.record)?;
                let progress = standing::progress(&trigger)?;
                if progress.attempt == report.attempt && progress.token == report.token {
                    return Ok(Err(Reply::AlreadyDecided(self.receipt(&found)?)));
                }
                if !self.topics.lane(found.record.lane).has_fired(position, self.now) {
                    return Ok(Err(Reply::Superseded));
                }
                progress.attempt
            }
        };
        let awaited = report.attempt == failed.saturating_add(1) || planted::is(Bug::AcceptsOldAttempts);
        Ok(if awaited { Ok(found) } else { Err(Reply::Superseded) })
    }

    fn attempted(&self, found: &Found) -> Result<Attempted, Stop> {
        let record = &found.record;
        let (id, trigger) = self.row(record)?;
        if let Standing::Fired(fired) = found.standing {
            return Ok(Attempted { id, trigger, lane: record.lane, due: record.position.due, fired, failed: 0 });
        }
        let progress = standing::progress(&trigger)?;
        let class = Class::first_attempt(progress.class).ok_or_else(|| corrupt("trigger"))?;
        let (due, fired, failed) = (Timestamp::from_millis(progress.due), first_fired(progress), progress.attempt);
        Ok(Attempted { id, trigger, lane: LaneId::new(record.lane.topic(), class), due, fired, failed })
    }

    fn give_up(
        &mut self,
        namespace: &str,
        found: Found,
        attempted: Attempted,
        failure: Failure,
    ) -> Result<Receipt, Stop> {
        let now = self.now;
        self.fail_over(namespace, found, attempted, failure, Stage::Dead, now)
    }

    /// Moves a trigger to its topic's retry or dead lane.
    fn fail_over(
        &mut self,
        namespace: &str,
        found: Found,
        attempted: Attempted,
        failure: Failure,
        stage: Stage,
        due: Timestamp,
    ) -> Result<Receipt, Stop> {
        let Attempted { id, mut trigger, lane, fired, failed, .. } = attempted;
        let mut record = found.record;
        keep_origin(&mut record, attempted.due);
        self.remove_row(record.lane, record.position);
        let progress = Progress {
            class: lane.class() as u32,
            due: attempted.due.as_millis(),
            fired_time: fired.time.as_millis(),
            fired_index: fired.index,
            attempt: failure.attempt.max(failed),
            error: failure.error,
            executor: failure.executor,
            token: failure.token,
            decided: self.now.as_millis(),
            log_index: self.index,
        };
        let (class, outcome) = match stage {
            Stage::Dead => (Class::Dead, Outcome::DeadLettered),
            _ => (Class::Retry, Outcome::Retrying),
        };
        record.stage = stage;
        record.lane = LaneId::new(lane.topic(), class);
        record.position = Position { due, generation: record.position.generation };
        let receipt = standing::progress_receipt(record.position, &progress, outcome);
        trigger.progress = Some(progress);
        self.insert_row(record.lane, record.position, &id, &trigger);
        self.put_id(found.hash, &record);
        self.changed(namespace, &id);
        Ok(receipt)
    }
}

fn not_fired() -> Stop {
    Refusal::Invalid { field: "generation", expected: "of a trigger that has fired" }.into()
}
