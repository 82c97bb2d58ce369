//! No acknowledged write lost: what a client was told is still so at the end, or something newer is.

use crate::history::{Answer, History, Key, Outcome, Report, ReportVerdict, State};
use crate::verdict::{Options, Violation};

pub(crate) const PROMISE: &str = "no acknowledged write lost";

/// Compares every acknowledgement with the final reads.
#[must_use]
pub fn check(history: &History, options: &Options) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut report = |trigger: &Key, detail: String| {
        violations.push(Violation { promise: PROMISE, trigger: trigger.clone(), detail });
    };
    for operation in &history.operations {
        let Outcome::Ok(answer) = &operation.outcome else {
            continue;
        };
        let (generation, due_ms) = match answer {
            Answer::Scheduled { generation, due_ms, .. } | Answer::Rescheduled { generation, due_ms, .. } => {
                (*generation, Some(*due_ms))
            }
            Answer::Cancelled { generation, .. } | Answer::Started { generation, .. } => (*generation, None),
            Answer::Read { .. } | Answer::Refused(_) => continue,
        };
        let trigger = &operation.trigger;
        let Some(read) = history.final_reads.get(trigger) else {
            if options.all_read {
                report(trigger, format!("generation {generation} acknowledged, never read at the end"));
            }
            continue;
        };
        if read.state == State::Absent {
            report(trigger, format!("generation {generation} acknowledged, absent at the end"));
        } else if read.generation < generation {
            report(trigger, format!("generation {generation} acknowledged, {} at the end", read.generation));
        } else if read.generation == generation {
            if let Some(due_ms) = due_ms.filter(|due_ms| *due_ms != read.due_ms) {
                report(
                    trigger,
                    format!("due {due_ms} acknowledged for generation {generation}, {} at the end", read.due_ms),
                );
            }
            if matches!(answer, Answer::Cancelled { .. }) && read.state != State::Cancelled {
                report(
                    trigger,
                    format!("cancellation of generation {generation} acknowledged, {:?} at the end", read.state),
                );
            }
        }
    }
    for completion in &history.completions {
        if completion.verdict != ReportVerdict::Accepted || completion.report != Report::Success {
            continue;
        }
        let Some(read) = history.final_reads.get(&completion.trigger) else {
            continue;
        };
        let generation = completion.generation;
        if read.generation < generation || (read.generation == generation && read.state != State::Completed) {
            report(
                &completion.trigger,
                format!(
                    "completion of generation {generation} accepted, generation {} is {:?} at the end",
                    read.generation, read.state
                ),
            );
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, DUE_MS, GENERATION, ID, key};

    fn found(history: &History) -> usize {
        check(history, &Options::default()).len()
    }

    #[test]
    fn accepts_good_lives() {
        assert_eq!(found(&fixture::life()), 0);
        assert_eq!(found(&fixture::cancelled()), 0);
    }

    /// Red when absence is taken for retention.
    #[test]
    fn rejects_a_trigger_that_is_gone() {
        let mut history = fixture::life();
        history.final_reads.get_mut(&key(ID)).unwrap().state = State::Absent;
        assert!(found(&history) > 0);
    }

    /// Red when only the id is compared, not the generation.
    #[test]
    fn rejects_an_older_version() {
        let mut history = fixture::cancelled();
        let read = history.final_reads.get_mut(&key(ID)).unwrap();
        read.generation = GENERATION;
        read.due_ms = DUE_MS;
        assert!(found(&history) > 0);
    }

    /// Red when the due time is not compared.
    #[test]
    fn rejects_another_due_time() {
        let mut history = fixture::life();
        history.final_reads.get_mut(&key(ID)).unwrap().due_ms += 1;
        assert!(found(&history) > 0);
    }

    /// Red when cancellations are not followed to the end.
    #[test]
    fn rejects_a_cancellation_undone() {
        let mut history = fixture::cancelled();
        history.final_reads.get_mut(&key(ID)).unwrap().state = State::Scheduled;
        assert!(found(&history) > 0);
    }

    /// Red when completions are not followed to the end.
    #[test]
    fn rejects_a_completion_undone() {
        let mut history = fixture::life();
        history.final_reads.get_mut(&key(ID)).unwrap().state = State::Fired;
        assert!(found(&history) > 0);
    }

    /// Red when an id nobody read is passed over.
    #[test]
    fn rejects_an_acknowledged_id_that_was_never_read() {
        let mut history = fixture::life();
        history.final_reads.clear();
        assert!(found(&history) > 0);
        let options = Options { all_read: false, ..Options::default() };
        assert!(check(&history, &options).is_empty());
    }
}
