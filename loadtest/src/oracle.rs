//! Keeps every id that was asked for, and its fate.
//!
//! Independent of the product: ids are made here, acknowledgements come from callers, deliveries and completions from
//! executor processes, all times from the clock of the one machine.

use std::collections::{BTreeMap, BTreeSet};

use crate::histogram::Times;
use crate::lines::{Said, Verdict};

/// What became of one trigger.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    /// Scheduling it has been tried.
    asked: bool,
    /// As acknowledged; as asked for before that.
    due_ms: i64,
    /// 0 until acknowledged; the newest.
    generation: u64,
    /// Of the last delivery; 0 before.
    delivered: u64,
    /// Deliveries, of any generation.
    deliveries: u16,
    /// Completions that decided.
    completions: u16,
    /// Completed, as some receipt says.
    completed: bool,
    /// Delivered, or fired by the log, before it was due.
    early: bool,
    /// Counted under the second of the two lateness histograms.
    burst: bool,
    /// What its owner was told about cancelling it.
    cancel: Cancel,
    /// Counted among those that have ended.
    ended: bool,
    /// A read at the end shows another state than what its owner was told.
    contradicted: bool,
}

/// What somebody was told who cancelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Cancel {
    /// Nobody has tried.
    #[default]
    None,
    /// Tried, and no answer, or one that leaves it open.
    Unknown,
    /// It is cancelled.
    Done,
    /// Too late: it has fired.
    TooLate,
}

/// How a trigger is at the end of a run, as a read says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Waits for its due time.
    Scheduled,
    /// Fired, or completed, or given up.
    Fired,
    /// Cancelled.
    Cancelled,
    /// There is no such trigger.
    Nothing,
}

/// Waits for the first completion that a new leader brings, per partition.
#[derive(Clone, Debug)]
struct Probe {
    since_us: i64,
    /// Term of the leader that was killed, by partition.
    terms: BTreeMap<u32, u64>,
    /// First completion in a newer term.
    found_us: BTreeMap<u32, i64>,
}

/// Everything that is known about a run.
#[derive(Debug)]
pub struct Oracle {
    prefix: String,
    fates: Vec<Fate>,
    errors: BTreeMap<String, u64>,
    retries: BTreeMap<String, u64>,
    asked: u64,
    acknowledged: u64,
    completed: u64,
    cancelled: u64,
    too_late: u64,
    ended: u64,
    failed_changes: u64,
    delivered: u64,
    redelivered: u64,
    unasked: u64,
    lateness: Times,
    lateness_burst: Times,
    last_burst_completion_us: i64,
    probe: Option<Probe>,
}

/// What a run comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Asked for.
    pub count: u64,
    /// Acknowledged.
    pub acknowledged: u64,
    /// Completed, as receipts say.
    pub completed: u64,
    /// Cancelled, as their owners were told.
    pub cancelled: u64,
    /// Completed or cancelled.
    pub ended: u64,
    /// Cancels and reschedules that failed.
    pub failed_changes: u64,
    /// Acknowledged, due, and neither completed nor cancelled.
    pub lost: u64,
    /// Completed more than once, or delivered though never asked for.
    pub duplicates: u64,
    /// Delivered or fired before due.
    pub early: u64,
    /// Answers to cancels that what happened contradicts: told that it is cancelled, and it fired, or the other way round.
    pub contradicted: u64,
    /// Deliveries beyond the first of each.
    pub redelivered: u64,
}

impl Oracle {
    /// For ids that begin with `prefix` and a dash.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: format!("{prefix}-"),
            fates: Vec::new(),
            errors: BTreeMap::new(),
            retries: BTreeMap::new(),
            asked: 0,
            acknowledged: 0,
            completed: 0,
            cancelled: 0,
            too_late: 0,
            ended: 0,
            failed_changes: 0,
            delivered: 0,
            redelivered: 0,
            unasked: 0,
            lateness: Times::default(),
            lateness_burst: Times::default(),
            last_burst_completion_us: 0,
            probe: None,
        }
    }

    /// A trigger of this number is about to be scheduled, due then.
    pub fn ask(&mut self, number: u64, due_ms: i64, burst: bool) {
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        if self.fates.len() <= at {
            self.fates.resize(at + 1, Fate::default());
        }
        self.asked += 1;
        self.fates[at] = Fate { asked: true, due_ms, burst, ..Fate::default() };
    }

    /// The number of an id of ours.
    #[must_use]
    pub fn number(&self, id: &str) -> Option<u64> {
        id.strip_prefix(&self.prefix)?.parse().ok()
    }

    /// The schedule was acknowledged.
    pub fn acknowledge(&mut self, number: u64, generation: u64, due_ms: i64) {
        if let Some(fate) = self.fate(number)
            && fate.generation == 0
        {
            fate.generation = generation.max(1);
            fate.due_ms = due_ms;
            self.acknowledged += 1;
        }
    }

    /// A trigger is about to be cancelled.
    pub fn ask_to_cancel(&mut self, number: u64) {
        if let Some(fate) = self.fate(number) {
            fate.cancel = Cancel::Unknown;
        }
    }

    /// Its owner was told that it is cancelled.
    pub fn cancel(&mut self, number: u64) {
        let Some(fate) = self.fate(number) else { return };
        if std::mem::replace(&mut fate.cancel, Cancel::Done) != Cancel::Done {
            let ended = std::mem::replace(&mut fate.ended, true);
            self.cancelled += 1;
            self.ended += u64::from(!ended);
        }
    }

    /// Its owner was told at `answered_us` that it cannot be cancelled, because it fired at `fired_ms` of replicated time.
    pub fn too_late(&mut self, number: u64, fired_ms: i64, answered_us: i64) {
        let Some(fate) = self.fate(number) else { return };
        fate.cancel = Cancel::TooLate;
        fate.early |= fired_ms < fate.due_ms || answered_us < fate.due_ms * 1_000;
        self.too_late += 1;
    }

    /// Its owner was told that it is due then, as a new generation.
    pub fn reschedule(&mut self, number: u64, generation: u64, due_ms: i64) {
        let Some(fate) = self.fate(number) else { return };
        // What was delivered before as an older generation was not due any more.
        fate.early |= fate.delivered != 0 && fate.delivered < generation;
        (fate.generation, fate.due_ms) = (generation, due_ms);
    }

    /// How it is at the end, when all is quiet.
    pub fn find(&mut self, number: u64, found: Found) {
        let Some(fate) = self.fate(number).filter(|fate| fate.generation != 0) else { return };
        let told = fate.cancel;
        if told == Cancel::Unknown && found == Found::Cancelled {
            self.cancel(number);
            return;
        }
        fate.contradicted = match (told, found) {
            (Cancel::Done, found) => found != Found::Cancelled,
            (Cancel::TooLate, found) => found != Found::Fired,
            // It ended, and was forgotten since.
            (Cancel::Unknown, Found::Nothing) => !fate.completed,
            (Cancel::None | Cancel::Unknown, found) => found == Found::Cancelled || found == Found::Nothing,
        };
    }

    /// Whether somebody tried to cancel it without learning what came of it.
    #[must_use]
    pub fn is_open(&self, number: u64) -> bool {
        let fate = usize::try_from(number).ok().and_then(|number| self.fates.get(number));
        fate.is_some_and(|fate| fate.generation != 0 && fate.cancel == Cancel::Unknown)
    }

    /// Numbers that somebody tried to cancel without learning what came of it.
    #[must_use]
    pub fn open_cancels(&self) -> Vec<u64> {
        let open = |fate: &Fate| fate.generation != 0 && fate.cancel == Cancel::Unknown;
        (0..).zip(&self.fates).filter(|(_, fate)| open(fate)).map(|(number, _)| number).collect()
    }

    /// Owners that were told it was cancelled, and that it was too late.
    #[must_use]
    pub fn cancels(&self) -> (u64, u64) {
        (self.cancelled, self.too_late)
    }

    /// The schedule failed for good, or nobody knows.
    pub fn fail(&mut self, reason: &str) {
        *self.errors.entry(reason.to_owned()).or_default() += 1;
    }

    /// A cancel or a reschedule failed for good, or nobody knows: whatever becomes of the trigger, its owner was not served.
    pub fn fail_change(&mut self, reason: &str) {
        self.failed_changes += 1;
        self.fail(reason);
    }

    /// An attempt failed and is made again.
    pub fn retry(&mut self, reason: &str) {
        *self.retries.entry(reason.to_owned()).or_default() += 1;
    }

    /// An executor process said something.
    pub fn hear(&mut self, said: &Said<'_>) {
        match said {
            Said::Ready => {}
            Said::Delivered { id, generation, due_ms, fired_ms, received_us, .. } => {
                self.deliver(id, *generation, *due_ms, *fired_ms, *received_us);
            }
            Said::Answered { id, verdict, partition, stream_term, answered_us, .. } => {
                self.complete(id, *verdict, *partition, *stream_term, *answered_us);
            }
        }
    }

    fn deliver(&mut self, id: &str, generation: u64, due_ms: i64, fired_ms: i64, received_us: i64) {
        let Some(number) = self.number(id) else {
            return;
        };
        let Some(fate) = self.fate(number) else {
            self.unasked += 1;
            return;
        };
        // What the client was told binds, when the delivery itself says something earlier.
        let due_ms = fate.due_ms.max(due_ms);
        fate.early |= fired_ms < due_ms || received_us < due_ms * 1_000;
        fate.delivered = generation;
        fate.deliveries = fate.deliveries.saturating_add(1);
        let (first, burst) = (fate.deliveries == 1, fate.burst);
        if first {
            self.delivered += 1;
            let late_us = received_us - due_ms * 1_000;
            if burst { self.lateness_burst.add_us(late_us) } else { self.lateness.add_us(late_us) }
        } else {
            self.redelivered += 1;
        }
    }

    fn complete(&mut self, id: &str, verdict: Verdict, partition: u32, stream_term: u64, answered_us: i64) {
        let Some(number) = self.number(id) else {
            return;
        };
        let Some(fate) = self.fate(number) else {
            self.unasked += 1;
            return;
        };
        if verdict == Verdict::Accepted {
            fate.completions = fate.completions.saturating_add(1);
        }
        if !matches!(verdict, Verdict::Accepted | Verdict::Already) {
            return;
        }
        let (first, burst) = (!std::mem::replace(&mut fate.completed, true), fate.burst);
        let newly_ended = u64::from(!std::mem::replace(&mut fate.ended, true));
        if first && burst {
            self.last_burst_completion_us = self.last_burst_completion_us.max(answered_us);
        }
        if first {
            self.completed += 1;
            self.ended += newly_ended;
        }
        if let Some(probe) = &mut self.probe
            && answered_us > probe.since_us
            && probe.terms.get(&partition).is_some_and(|term| stream_term > *term)
        {
            let found = probe.found_us.entry(partition).or_insert(answered_us);
            *found = (*found).min(answered_us);
        }
    }

    /// From now on, looks for the first completion of each of these partitions in a newer term.
    pub fn probe(&mut self, since_us: i64, terms: BTreeMap<u32, u64>) {
        self.probe = Some(Probe { since_us, terms, found_us: BTreeMap::new() });
    }

    /// How long each probed partition took; `None` while one is missing.
    #[must_use]
    pub fn probed_us(&self) -> Option<Vec<i64>> {
        let probe = self.probe.as_ref()?;
        (probe.found_us.len() == probe.terms.len())
            .then(|| probe.found_us.values().map(|found| found - probe.since_us).collect())
    }

    /// A final read or a list shows it: counts as completed in scenarios that fire nothing.
    pub fn seen(&mut self, number: u64) {
        if let Some(fate) = self.fate(number)
            && !std::mem::replace(&mut fate.completed, true)
        {
            let newly_ended = u64::from(!std::mem::replace(&mut fate.ended, true));
            self.completed += 1;
            self.ended += newly_ended;
        }
    }

    /// Numbers that were acknowledged, due before `until_ms`, and neither completed nor cancelled.
    #[must_use]
    pub fn missing(&self, until_ms: i64) -> Vec<u64> {
        (0..)
            .zip(&self.fates)
            .filter(|(_, fate)| fate.generation != 0 && !fate.ended && fate.due_ms <= until_ms)
            .map(|(number, _)| number)
            .collect()
    }

    /// How many of those there are; cheap when everything is complete.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        self.acknowledged.saturating_sub(self.ended)
    }

    /// What it all comes to, for triggers due before `until_ms`.
    #[must_use]
    pub fn tally(&self, until_ms: i64) -> Tally {
        let twice = self.fates.iter().filter(|fate| fate.completions > 1).count() as u64;
        // Whatever the order in which it was heard: nothing that is cancelled has ever fired.
        let both = |fate: &&Fate| fate.cancel == Cancel::Done && (fate.deliveries > 0 || fate.completed);
        let contradicted = self.fates.iter().filter(|fate| fate.contradicted || both(fate)).count() as u64;
        Tally {
            count: self.asked,
            acknowledged: self.acknowledged,
            completed: self.completed,
            cancelled: self.cancelled,
            ended: self.ended,
            failed_changes: self.failed_changes,
            contradicted,
            lost: self.missing(until_ms).len() as u64,
            duplicates: twice + self.unasked,
            early: self.fates.iter().filter(|fate| fate.early).count() as u64,
            redelivered: self.redelivered,
        }
    }

    /// Schedules that failed, by reason.
    #[must_use]
    pub fn errors(&self) -> &BTreeMap<String, u64> {
        &self.errors
    }

    /// Attempts that were made again, by reason.
    #[must_use]
    pub fn retries(&self) -> &BTreeMap<String, u64> {
        &self.retries
    }

    /// Acknowledged, first deliveries, completed so far.
    #[must_use]
    pub fn progress(&self) -> (u64, u64, u64) {
        (self.acknowledged, self.delivered, self.completed)
    }

    /// Lateness of single triggers, and of those of a burst.
    #[must_use]
    pub fn lateness(&self) -> (&Times, &Times) {
        (&self.lateness, &self.lateness_burst)
    }

    /// When the last completion of a burst was known to be durable.
    #[must_use]
    pub fn last_burst_completion_us(&self) -> i64 {
        self.last_burst_completion_us
    }

    /// Acknowledged numbers.
    pub fn acknowledged(&self) -> impl Iterator<Item = u64> {
        (0..).zip(&self.fates).filter(|(_, fate)| fate.generation != 0).map(|(number, _)| number)
    }

    /// Terms that are waited for, for a message.
    #[must_use]
    pub fn unprobed(&self) -> BTreeSet<u32> {
        self.probe.as_ref().map_or_else(BTreeSet::new, |probe| {
            probe.terms.keys().filter(|partition| !probe.found_us.contains_key(partition)).copied().collect()
        })
    }

    fn fate(&mut self, number: u64) -> Option<&mut Fate> {
        self.fates.get_mut(usize::try_from(number).ok()?).filter(|fate| fate.asked)
    }
}

#[cfg(test)]
mod tests;
