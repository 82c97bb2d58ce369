//! What is completed was done, and what an idempotent sink makes of it happened once.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{History, Key, Report, ReportVerdict, State};
use crate::verdict::Violation;

const PROMISE: &str = "completed means done";

/// A handler did to the outside world what its trigger is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// For which trigger.
    pub trigger: Key,
    /// For which version: with the id the key by which a sink knows a repeat.
    pub generation: u64,
    /// By whom.
    pub executor: String,
    /// When, microseconds since the Unix epoch.
    pub at_us: i64,
}

/// Compares completions with what was done.
#[must_use]
pub fn check(history: &History, effects: &[Effect]) -> Vec<Violation> {
    let mut done: BTreeMap<(&Key, u64), BTreeSet<&str>> = BTreeMap::new();
    for effect in effects {
        done.entry((&effect.trigger, effect.generation)).or_default().insert(&effect.executor);
    }
    let mut violations = Vec::new();
    let mut report = |trigger: &Key, detail: String| {
        violations.push(Violation { promise: PROMISE, trigger: trigger.clone(), detail });
    };
    for completion in &history.completions {
        let decided = completion.verdict == ReportVerdict::Accepted && completion.report == Report::Success;
        let by_it = done.get(&(&completion.trigger, completion.generation));
        if decided && !by_it.is_some_and(|executors| executors.contains(completion.executor.as_str())) {
            let (generation, executor) = (completion.generation, &completion.executor);
            report(
                &completion.trigger,
                format!("generation {generation} was reported by {executor}, which never did it"),
            );
        }
    }
    for read in history.final_reads.values() {
        if read.state == State::Completed && !done.contains_key(&(&read.trigger, read.generation)) {
            report(&read.trigger, format!("generation {} is completed, and nobody did it", read.generation));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, DUE_MS, GENERATION, ID};

    fn effect(executor: &str, generation: u64) -> Effect {
        Effect { trigger: fixture::key(ID), generation, executor: executor.into(), at_us: DUE_MS * 1_000 + 900 }
    }

    /// Red when doing it again, which a lost lease leads to, counts as a fault.
    #[test]
    fn accepts_what_was_done_once_or_again() {
        assert!(check(&fixture::life(), &[effect("e1", GENERATION)]).is_empty());
        assert!(check(&fixture::life(), &[effect("e2", GENERATION), effect("e1", GENERATION)]).is_empty());
        assert!(check(&fixture::cancelled(), &[]).is_empty());
    }

    /// Red when reports are believed.
    #[test]
    fn rejects_a_report_of_what_was_not_done() {
        let mut history = fixture::life();
        history.final_reads.clear();
        assert_eq!(check(&history, &[]).len(), 1);
        assert_eq!(check(&history, &[effect("e1", GENERATION + 1)]).len(), 1);
        assert_eq!(check(&history, &[effect("e2", GENERATION)]).len(), 1);
    }

    /// Red when only reports are looked at: the answer to one may have been lost.
    #[test]
    fn rejects_a_completed_trigger_that_nobody_did() {
        let mut history = fixture::life();
        history.completions.clear();
        assert_eq!(check(&history, &[]).len(), 1);
    }
}
