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

/// Half of the triggers are cancelled; `wrong` tells what else happens to number 3, which is one of them.
fn churn(wrong: impl Fn(&mut Oracle, &str)) -> Tally {
    run(|oracle, number, id| {
        oracle.ask_to_cancel(number);
        if number % 2 == 1 {
            oracle.cancel(number);
            oracle.find(number, Found::Cancelled);
        } else {
            oracle.too_late(number, DUE_MS, DUE_MS * 1_000 + 100);
            good(oracle, id);
            oracle.find(number, Found::Fired);
        }
        if number == 3 {
            wrong(oracle, id);
        }
    })
}

/// Turns red when what is cancelled counts as lost, or not as done.
#[test]
fn a_good_churn_is_good() {
    let tally = churn(|_, _| {});
    assert_eq!((tally.ended, tally.completed, tally.cancelled, tally.lost), (10, 5, 5, 0));
    assert!(verdict(&tally).is_empty(), "{tally:?}");
}

/// Turns red when a delivery, a completion or a read of what is cancelled passes, in either order.
#[test]
fn cancelled_and_fired_turns_the_verdict_red() {
    let late = DUE_MS * 1_000 + 400;
    let cases: [fn(&mut Oracle, &str); 3] = [
        |oracle, id| oracle.hear(&delivered(id, DUE_MS * 1_000 + 400)),
        |oracle, id| oracle.hear(&completed(id, Verdict::Accepted)),
        |oracle, _| oracle.find(3, Found::Fired),
    ];
    for wrong in cases {
        let tally = churn(wrong);
        assert_eq!(tally.contradicted, 1);
        assert!(!verdict(&tally).is_empty());
    }
    let delivered_first = run(|oracle, number, id| {
        if number == 3 {
            oracle.hear(&delivered(id, late));
            oracle.ask_to_cancel(3);
            oracle.cancel(3);
        } else {
            good(oracle, id);
        }
    });
    assert_eq!(delivered_first.contradicted, 1);
}

/// Turns red when "too late" is believed of what did not fire: it is cancelled after all, it never fires, or the answer
/// comes before the due time.
#[test]
fn too_late_and_not_fired_turns_the_verdict_red() {
    let told = |then: fn(&mut Oracle, &str)| {
        run(move |oracle, number, id| {
            if number == 3 {
                oracle.ask_to_cancel(3);
                oracle.too_late(3, DUE_MS, DUE_MS * 1_000);
                then(oracle, id);
            } else {
                good(oracle, id);
            }
        })
    };
    let cancelled = told(|oracle, _| oracle.find(3, Found::Cancelled));
    assert_eq!((cancelled.contradicted, cancelled.lost), (1, 1));
    let never = told(|_, _| {});
    assert_eq!((never.contradicted, never.lost), (0, 1));
    assert!(!verdict(&never).is_empty());
    let early = run(|oracle, number, id| {
        good(oracle, id);
        if number == 3 {
            oracle.too_late(3, DUE_MS, DUE_MS * 1_000 - 1);
        }
    });
    assert_eq!(early.early, 1);
}

/// Turns red when an unanswered cancel leaves a trigger lost that a read finds cancelled.
#[test]
fn a_read_settles_a_cancel_without_an_answer() {
    let mut oracle = Oracle::new("x");
    for number in 0..2 {
        oracle.ask(number, DUE_MS, false);
        oracle.acknowledge(number, 5, DUE_MS);
        oracle.ask_to_cancel(number);
    }
    assert_eq!((oracle.open_cancels(), oracle.outstanding()), (vec![0, 1], 2));
    oracle.find(0, Found::Cancelled);
    oracle.find(1, Found::Fired);
    assert_eq!((oracle.open_cancels(), oracle.outstanding()), (vec![1], 1));
    good(&mut oracle, "x-1");
    let tally = oracle.tally(2 * DUE_MS);
    assert_eq!((tally.ended, tally.lost, tally.contradicted), (2, 0, 0));
}

/// Turns red when a trigger that was moved may still fire at its old due time, or as its old generation.
#[test]
fn a_moved_trigger_fires_at_its_new_time_only() {
    let moved = |generation: u64, received_ms: i64, told_first: bool| {
        let mut oracle = Oracle::new("x");
        oracle.ask(0, DUE_MS, false);
        oracle.acknowledge(0, 5, DUE_MS);
        let received = Said::Delivered {
            id: "x-0",
            generation,
            attempt: 1,
            partition: 0,
            due_ms: DUE_MS,
            fired_ms: received_ms,
            received_us: received_ms * 1_000,
        };
        if told_first {
            oracle.reschedule(0, 6, 2 * DUE_MS);
        }
        oracle.hear(&received);
        if !told_first {
            oracle.reschedule(0, 6, 2 * DUE_MS);
        }
        oracle.tally(3 * DUE_MS).early
    };
    assert_eq!(moved(6, 2 * DUE_MS, true), 0);
    assert_eq!(moved(6, 2 * DUE_MS - 1, true), 1);
    // The answer to the caller may be slower than the delivery.
    assert_eq!(moved(6, 2 * DUE_MS, false), 0);
    assert_eq!(moved(5, DUE_MS, false), 1);
}
