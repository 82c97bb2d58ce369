//! A short sweep with openraft, and its determinism.

use sim::coverage::Agreement;
use sim::run;
use sim::sweep::Sweep;

/// Every promise and every rule of Raft is kept, and enough is met to believe it.
#[test]
fn a_sweep_breaks_nothing_and_is_not_vacuous() {
    let sweep = Sweep::run(Agreement::Openraft, 1, 150, |_| ());
    assert_eq!(sweep.problems(), Vec::<String>::new(), "\n{}", sweep.coverage);
    assert_eq!((sweep.seeds, sweep.again), (150, 7));
}

/// Red when anything looks at a clock, an address or the order of a hash map, openraft included.
#[test]
fn the_same_seed_gives_the_same_run_to_the_byte() {
    let mut traces = std::collections::BTreeSet::new();
    for seed in 40_000..40_004 {
        let (one, other) = (run::run_openraft(seed), run::run_openraft(seed));
        assert_eq!((one.trace, &one.coverage), (other.trace, &other.coverage), "seed {seed}");
        traces.insert(one.trace);
    }
    assert_eq!(traces.len(), 4, "other seeds give other runs");
}

fn keeps_every_promise(seed: u64) {
    let outcome = run::run_openraft(seed);
    assert!(outcome.violations.is_empty(), "{:#?}", outcome.violations);
}

/// One answer to a pipelined append counted for a later one that had never arrived: a leader was sure to lead, and handed
/// out work, while another one led. Red when the lease is what openraft says was acknowledged.
#[test]
fn seed_205_an_answer_counted_for_requests_that_never_arrived() {
    keeps_every_promise(205);
}

/// As seed 205, seen as the other leader was elected.
#[test]
fn seed_555_an_answer_counted_for_requests_that_never_arrived() {
    keeps_every_promise(555);
}

/// A leader that had handed over and had not heard of its successor was still sure to lead. Red when the lease is not given
/// up with the order to hand over.
#[test]
fn seed_4_a_leader_that_had_handed_over_was_sure_to_lead() {
    keeps_every_promise(4);
}
