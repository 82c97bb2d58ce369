//! One run: faults and load, then rest, then judgement.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::audit;
use crate::coverage::{Agreement, Coverage};
use crate::events::{Micros, SECOND};
use crate::openraft::runtime;
use crate::openraft::setting::Setting;
use crate::rng::Rng;
use crate::swarm::Swarm;
use crate::world::{About, World};

/// Coming to rest may take this much longer than planned.
const REST_MAX: Micros = 60 * SECOND;

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// Hash of everything that happened.
    pub trace: u64,
    /// What it met.
    pub coverage: Coverage,
    /// Promises that were broken: the checker, and what it saw.
    pub violations: Vec<(String, String)>,
}

/// Runs a seed with this agreeing on the log.
#[must_use]
pub fn run_as(agreement: Agreement, seed: u64) -> Outcome {
    match agreement {
        Agreement::Ideal => run(seed),
        Agreement::Openraft => run_openraft(seed),
    }
}

/// Runs a seed with the setting that belongs to it.
#[must_use]
pub fn run(seed: u64) -> Outcome {
    let mut rng = Rng::new(seed);
    let swarm = Swarm::new(&mut rng.fork());
    run_with(seed, swarm, rng)
}

/// Runs a seed with openraft, with the settings that belong to it.
#[must_use]
pub fn run_openraft(seed: u64) -> Outcome {
    // Other dice than those of the same seed without it: the two are different runs anyway.
    let mut rng = Rng::new(!seed);
    let swarm = Swarm::new(&mut rng.fork());
    let setting = Setting::new(&mut rng.fork());
    run_in(seed, swarm, Some(setting), rng)
}

/// Runs a seed with a setting of one's own.
#[must_use]
pub fn run_with(seed: u64, swarm: Swarm, rng: Rng) -> Outcome {
    run_in(seed, swarm, None, rng)
}

fn run_in(seed: u64, swarm: Swarm, setting: Option<Setting>, rng: Rng) -> Outcome {
    // An assertion of the core that fails is a finding like any other.
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed, swarm, setting, rng);
        live(&mut world);
        let violations = audit::judge(&mut world);
        Outcome { seed, trace: world.trace.value(), coverage: world.coverage, violations }
    }));
    // What a run leaves, also one that panicked, must not meet the next.
    runtime::clear();
    ran.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
        Outcome { seed, trace: 0, coverage: Coverage::default(), violations: vec![("panic".into(), text)] }
    })
}

fn live(world: &mut World) {
    let quiet_at = world.swarm.quiet_at;
    world.run_until(quiet_at);
    world.heal();
    // Callers end what they have begun, and then somebody resumes what was paused.
    world.run_until(quiet_at + 12 * SECOND);
    if !world.callers.is_empty() {
        let ask = world.callers[0].resume();
        world.begin_call(0, ask, About::Nothing);
    }
    let end = world.swarm.end;
    world.run_until(end);
    world.rest_gifts(|world| audit::unrest(world).is_some());
    let end = world.now();
    let mut until = end;
    while audit::unrest(world).is_some() && until < end + REST_MAX {
        until += 5 * SECOND;
        world.run_until(until);
    }
}
