//! Short sweeps, determinism, and seeds that once found something.

use sim::coverage::Agreement;
use sim::rng::Rng;
use sim::run;
use sim::swarm::Swarm;
use sim::sweep::Sweep;

/// Every promise is kept, and enough is met to believe it.
#[test]
fn a_sweep_breaks_nothing_and_is_not_vacuous() {
    let sweep = Sweep::run(Agreement::Ideal, 1, 300, |_| ());
    assert_eq!(sweep.problems(), Vec::<String>::new(), "\n{}", sweep.coverage);
    assert_eq!((sweep.seeds, sweep.again), (300, 3));
    let (operations, faults) = (sweep.coverage.operations / sweep.seeds, sweep.coverage.faults / sweep.seeds);
    assert!(operations >= 200 && faults >= 1, "{operations} operations and {faults} faults a seed");
}

/// Red when anything looks at a clock, an address or the order of a hash map.
#[test]
fn the_same_seed_gives_the_same_run_to_the_byte() {
    let mut traces = std::collections::BTreeSet::new();
    for seed in 40_000..40_020 {
        let (one, other) = (run::run(seed), run::run(seed));
        assert_eq!((one.trace, &one.coverage), (other.trace, &other.coverage), "seed {seed}");
        traces.insert(one.trace);
    }
    assert_eq!(traces.len(), 20, "other seeds give other runs");
}

/// Red when a sweep that met nothing passes.
#[test]
fn an_idle_sweep_is_vacuous() {
    let outcome = run::run_with(7, Swarm::idle(), Rng::new(7));
    assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
    let why = outcome.coverage.vacuous(Agreement::Ideal);
    for needed in ["never met: faults", "never met: two_leaders", "never met: deliveries", "0 of 0 calls were answered"]
    {
        assert!(why.iter().any(|found| found == needed), "{needed} is missing in {why:?}");
    }
}

/// Red when most calls may fail.
#[test]
fn a_sweep_in_which_most_calls_fail_is_vacuous() {
    let mut coverage = Sweep::run(Agreement::Ideal, 1, 1, |_| ()).coverage;
    coverage.answered = coverage.operations / 2 - 1;
    assert!(coverage.vacuous(Agreement::Ideal).iter().any(|why| why.ends_with("calls were answered")));
}

fn keeps_every_promise(seed: u64) {
    let outcome = run::run(seed);
    assert!(outcome.violations.is_empty(), "{:#?}", outcome.violations);
}

/// A call that timed out, and then heard only that another node leads, ended as one that had certainly not been carried
/// out; it had been. Red when `Attempts::verdict` returns `last`.
#[test]
fn seed_3035_a_call_ended_as_not_executed_and_was() {
    keeps_every_promise(3_035);
}

/// A slot counted for the wheel before a snapshot was taken over ended the count of the same slot for the wheel after it.
/// Red when `counted` does not ask which wheel a count is for.
#[test]
fn seed_2475_a_count_came_for_a_wheel_that_was_replaced() {
    keeps_every_promise(2_475);
}
