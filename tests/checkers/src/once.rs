//! Effect at most once per (id, generation): one report decides, and everybody gets its receipt.

use std::collections::BTreeMap;

use crate::history::{Facts, History, Key, Report, ReportVerdict, State};
use crate::verdict::Violation;

pub(crate) const PROMISE: &str = "effect at most once";

/// Counts deciding reports and compares the receipts of ended versions.
#[must_use]
pub fn check(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut report = |trigger: &Key, detail: String| {
        violations.push(Violation { promise: PROMISE, trigger: trigger.clone(), detail });
    };
    let mut deciding: BTreeMap<(&Key, u64), usize> = BTreeMap::new();
    for completion in &history.completions {
        if completion.verdict == ReportVerdict::Accepted && completion.report == Report::Success {
            let count = deciding.entry((&completion.trigger, completion.generation)).or_default();
            *count += 1;
            if *count == 2 {
                report(&completion.trigger, format!("generation {} was completed twice", completion.generation));
            }
        }
    }
    let mut receipts: BTreeMap<(&Key, u64), &Facts> = BTreeMap::new();
    let seen = history
        .completions
        .iter()
        .filter_map(|completion| Some((&completion.trigger, completion.receipt.as_ref()?)))
        .chain(history.final_reads.values().filter_map(|read| Some((&read.trigger, read.receipt.as_ref()?))))
        // A retry's receipt is replaced by the next attempt's; a dead letter may be requeued. Only completion is final.
        .filter(|(_, facts)| facts.outcome == State::Completed);
    for (trigger, facts) in seen {
        let first = receipts.entry((trigger, facts.generation)).or_insert(facts);
        if *first != facts {
            report(trigger, format!("two receipts of generation {}: {first:?} and {facts:?}", facts.generation));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, DUE_MS, GENERATION, ID, key};
    use crate::history::Event;

    #[test]
    fn accepts_good_lives() {
        assert!(check(&fixture::life()).is_empty());
        assert!(check(&fixture::cancelled()).is_empty());
    }

    /// Red when a second delivery's report may count again.
    #[test]
    fn rejects_two_deciding_reports() {
        let mut history = fixture::life();
        history.push(Event::Completion(fixture::completion(ID, GENERATION, DUE_MS)));
        assert_eq!(check(&history).len(), 1);
    }

    /// Red when every report is counted, not the deciding ones.
    #[test]
    fn accepts_a_repeated_report() {
        let mut history = fixture::life();
        let mut repeated = fixture::completion(ID, GENERATION, DUE_MS);
        repeated.verdict = ReportVerdict::AlreadyDecided;
        history.push(Event::Completion(repeated));
        assert!(check(&history).is_empty());
    }

    /// Red when receipts are not compared.
    #[test]
    fn rejects_two_receipts() {
        let mut history = fixture::life();
        let receipt = &mut history.final_reads.get_mut(&key(ID)).unwrap().receipt;
        receipt.as_mut().unwrap().executor = "e2".into();
        assert_eq!(check(&history).len(), 1);
    }
}
