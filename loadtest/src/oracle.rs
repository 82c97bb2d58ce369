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
    /// 0 until acknowledged.
    generation: u64,
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
    /// Acknowledged, due, and not completed.
    pub lost: u64,
    /// Completed more than once, or delivered though never asked for.
    pub duplicates: u64,
    /// Delivered or fired before due.
    pub early: u64,
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

    /// The schedule failed for good, or nobody knows.
    pub fn fail(&mut self, reason: &str) {
        *self.errors.entry(reason.to_owned()).or_default() += 1;
    }

    /// An attempt failed and is made again.
    pub fn retry(&mut self, reason: &str) {
        *self.retries.entry(reason.to_owned()).or_default() += 1;
    }

    /// An executor process said something.
    pub fn hear(&mut self, said: &Said<'_>) {
        match said {
            Said::Ready => {}
            Said::Delivered { id, due_ms, fired_ms, received_us, .. } => {
                self.deliver(id, *due_ms, *fired_ms, *received_us);
            }
            Said::Answered { id, verdict, partition, stream_term, answered_us, .. } => {
                self.complete(id, *verdict, *partition, *stream_term, *answered_us);
            }
        }
    }

    fn deliver(&mut self, id: &str, due_ms: i64, fired_ms: i64, received_us: i64) {
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
        if first && burst {
            self.last_burst_completion_us = self.last_burst_completion_us.max(answered_us);
        }
        if first {
            self.completed += 1;
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

    /// A final read or a list shows it: counts as accounted for in scenarios that fire nothing.
    pub fn seen(&mut self, number: u64) {
        if let Some(fate) = self.fate(number)
            && !std::mem::replace(&mut fate.completed, true)
        {
            self.completed += 1;
        }
    }

    /// Numbers that were acknowledged, due before `until_ms`, and not completed.
    #[must_use]
    pub fn missing(&self, until_ms: i64) -> Vec<u64> {
        (0..)
            .zip(&self.fates)
            .filter(|(_, fate)| fate.generation != 0 && !fate.completed && fate.due_ms <= until_ms)
            .map(|(number, _)| number)
            .collect()
    }

    /// How many of those there are; cheap when everything is complete.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        self.acknowledged.saturating_sub(self.completed)
    }

    /// What it all comes to, for triggers due before `until_ms`.
    #[must_use]
    pub fn tally(&self, until_ms: i64) -> Tally {
        let twice = self.fates.iter().filter(|fate| fate.completions > 1).count() as u64;
        Tally {
            count: self.asked,
            acknowledged: self.acknowledged,
            completed: self.completed,
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
mod tests {
    use super::*;
    use crate::report::Report;

    const DUE_MS: i64 = 1_000;

    fn delivered(id: &str, received_us: i64) -> Said<'_> {
        Said::Delivered { id, generation: 5, attempt: 1, partition: 0, due_ms: DUE_MS, fired_ms: DUE_MS, received_us }
    }

    fn completed(id: &str, verdict: Verdict) -> Said<'_> {
        Said::Answered { id, generation: 5, verdict, partition: 0, stream_term: 1, answered_us: DUE_MS * 1_000 + 900 }
    }

    /// Ten triggers whose life `live` tells.
    fn run(live: impl Fn(&mut Oracle, u64, &str)) -> Tally {
        let mut oracle = Oracle::new("x");
        for number in 0..10 {
            oracle.ask(number, DUE_MS, true);
            oracle.acknowledge(number, 5, DUE_MS);
            let id = format!("x-{number}");
            live(&mut oracle, number, &id);
        }
        oracle.tally(2 * DUE_MS)
    }

    fn good(oracle: &mut Oracle, id: &str) {
        oracle.hear(&delivered(id, DUE_MS * 1_000 + 400));
        oracle.hear(&completed(id, Verdict::Accepted));
    }

    fn verdict(tally: &Tally) -> Vec<String> {
        let mut report = Report::new("burst", 3, 4);
        report.take(tally);
        report.problems()
    }

    #[test]
    fn a_good_run_is_good() {
        let tally = run(|oracle, _, id| good(oracle, id));
        assert_eq!((tally.count, tally.acknowledged, tally.completed), (10, 10, 10));
        assert!(verdict(&tally).is_empty(), "{tally:?}");
    }

    /// Red when an acknowledged trigger may go missing.
    #[test]
    fn a_dropped_trigger_turns_the_verdict_red() {
        let tally = run(|oracle, number, id| {
            if number != 3 {
                good(oracle, id);
            }
        });
        assert_eq!(tally.lost, 1);
        assert!(!verdict(&tally).is_empty());
    }

    /// Red when a second deciding completion passes; a second delivery alone is allowed.
    #[test]
    fn a_doubled_trigger_turns_the_verdict_red() {
        let twice = run(|oracle, number, id| {
            good(oracle, id);
            if number == 3 {
                good(oracle, id);
            }
        });
        assert_eq!((twice.duplicates, twice.redelivered), (1, 1));
        assert!(!verdict(&twice).is_empty());

        let again = run(|oracle, number, id| {
            good(oracle, id);
            if number == 3 {
                oracle.hear(&delivered(id, DUE_MS * 1_000 + 500));
                oracle.hear(&completed(id, Verdict::Already));
            }
        });
        assert_eq!((again.duplicates, again.redelivered), (0, 1));
        assert!(verdict(&again).is_empty());
    }

    /// Red when arrival is not compared with the due time, to the microsecond.
    #[test]
    fn an_early_trigger_turns_the_verdict_red() {
        let tally = run(|oracle, number, id| {
            if number == 3 {
                oracle.hear(&delivered(id, DUE_MS * 1_000 - 1));
                oracle.hear(&completed(id, Verdict::Accepted));
            } else {
                good(oracle, id);
            }
        });
        assert_eq!(tally.early, 1);
        assert!(!verdict(&tally).is_empty());
    }

    /// Red when deliveries of ids nobody asked for pass.
    #[test]
    fn an_unasked_trigger_turns_the_verdict_red() {
        let tally = run(|oracle, number, id| {
            good(oracle, id);
            if number == 9 {
                oracle.hear(&delivered("x-10", DUE_MS * 1_000));
                oracle.hear(&delivered("other", DUE_MS * 1_000));
            }
        });
        assert_eq!(tally.duplicates, 1);
        assert!(!verdict(&tally).is_empty());
    }

    /// Red when the old leader's last answers are taken for the new leader's first.
    #[test]
    fn failover_ends_with_a_newer_term() {
        let mut oracle = Oracle::new("x");
        for number in 0..2 {
            oracle.ask(number, DUE_MS, true);
        }
        oracle.probe(100, [(0, 1)].into());
        oracle.hear(&completed("x-0", Verdict::Accepted));
        assert_eq!(oracle.probed_us(), None);
        oracle.hear(&Said::Answered {
            id: "x-1",
            generation: 5,
            verdict: Verdict::Accepted,
            partition: 0,
            stream_term: 2,
            answered_us: 700,
        });
        assert_eq!(oracle.probed_us(), Some(vec![600]));
    }
}
