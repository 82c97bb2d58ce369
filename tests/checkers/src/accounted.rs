//! Every trigger due in the past is completed, in a lease, in the retry lane, dead-lettered, cancelled or held.

use crate::history::{FinalRead, History, State};
use crate::verdict::{Options, Violation};

pub(crate) const PROMISE: &str = "everything due is accounted for";

/// Looks for final reads that are due and nowhere.
#[must_use]
pub fn check(history: &History, options: &Options) -> Vec<Violation> {
    history
        .final_reads
        .values()
        .filter_map(|read| {
            Some(Violation { promise: PROMISE, trigger: read.trigger.clone(), detail: nowhere(read, options)? })
        })
        .collect()
}

/// Why a trigger is nowhere, if it is.
fn nowhere(read: &FinalRead, options: &Options) -> Option<String> {
    let read_ms = read.read_us / 1_000;
    let overdue_ms = read_ms - read.due_ms;
    match read.state {
        State::Completed | State::DeadLettered | State::Cancelled | State::Absent => None,
        State::Scheduled => (overdue_ms > options.grace_ms && !options.held_topics.contains(&read.topic))
            .then(|| format!("still scheduled {overdue_ms} ms after it was due")),
        State::Fired if read.leased => None,
        State::Fired => match read.retry_at_ms {
            Some(retry_at_ms) if read_ms - retry_at_ms <= options.grace_ms => None,
            Some(retry_at_ms) => {
                Some(format!("attempt {} was to be made {} ms ago", read.attempt + 1, read_ms - retry_at_ms))
            }
            None => (overdue_ms > options.grace_ms)
                .then(|| format!("fired, {overdue_ms} ms overdue, neither leased nor waiting for a retry")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, DUE_MS, GENERATION, ID};
    use crate::history::Event;

    fn ends_as(change: impl FnOnce(&mut FinalRead)) -> usize {
        let mut read = fixture::final_read(ID, State::Fired, GENERATION, DUE_MS);
        change(&mut read);
        let mut history = History::default();
        history.push(Event::FinalRead(read));
        check(&history, &Options { grace_ms: 1_000, ..Options::default() }).len()
    }

    #[test]
    fn accepts_good_lives() {
        let options = Options::default();
        assert!(check(&fixture::life(), &options).is_empty());
        assert!(check(&fixture::cancelled(), &options).is_empty());
        assert_eq!(ends_as(|read| read.leased = true), 0);
        assert_eq!(ends_as(|read| read.retry_at_ms = Some(read.read_us / 1_000 + 500)), 0);
        assert_eq!(ends_as(|read| read.read_us = (DUE_MS + 1_000) * 1_000), 0);
        assert_eq!(ends_as(|read| read.state = State::DeadLettered), 0);
    }

    /// Red when the overdue are not looked for.
    #[test]
    fn rejects_a_trigger_that_was_skipped() {
        assert_eq!(ends_as(|read| read.state = State::Scheduled), 1);
    }

    /// Red when FIRED is taken for delivered.
    #[test]
    fn rejects_a_trigger_nobody_holds() {
        assert_eq!(ends_as(|_| ()), 1);
    }

    /// Red when a retry that is never made is waited for.
    #[test]
    fn rejects_a_retry_that_is_overdue() {
        assert_eq!(ends_as(|read| read.retry_at_ms = Some(DUE_MS)), 1);
    }

    /// Red when pausing one topic excuses the others.
    #[test]
    fn a_held_topic_excuses_only_itself() {
        let mut history = History::default();
        for topic in ["mail", "push"] {
            let mut read = fixture::final_read(topic, State::Scheduled, GENERATION, DUE_MS);
            read.topic = topic.into();
            history.push(Event::FinalRead(read));
        }
        let options = Options { held_topics: ["mail".to_owned()].into(), ..Options::default() };
        let violations = check(&history, &options);
        assert_eq!(violations.len(), 1);
        assert_eq!(violations[0].trigger.id, "push");
    }
}
