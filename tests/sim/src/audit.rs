//! The judgement of a run that has come to rest.

use std::collections::BTreeSet;

use checkers::history::{Event as Recorded, FinalRead, Key, State};
use checkers::{Options, attempts, convert, effects, replicas};
use scheduler::read;
use scheduler::reply::Outcome as Standing;

use crate::caller;
use crate::gifts;
use crate::swarm::NODES;
use crate::wire;
use crate::world::World;

/// How long after its due time a trigger may still be on its way at the end.
const GRACE_MS: i64 = 10_000;
/// States the search for an order may visit per id.
const SEARCH_STEPS: usize = 200_000;

/// Why a world that was healed is not at rest; `None` when it is.
#[must_use]
pub fn unrest(world: &World) -> Option<String> {
    let Some(leader) = (0..NODES).find(|&node| world.nodes[node].office.is_some()) else {
        return Some("nobody leads".into());
    };
    if let Some(behind) = (0..NODES).find(|&node| world.nodes[node].applied != world.nodes[leader].applied) {
        return Some(format!("node {behind} is behind node {leader}"));
    }
    let rows = &world.nodes[leader].store;
    let now = world.nodes[leader].machine.watermark();
    let topics = read::topics(rows).unwrap_or_default();
    for topic in topics {
        let open = read::topic_counts(rows, topic.id).map_or(0, |counts| counts.fired + counts.retrying);
        if open > 0 {
            return Some(format!("{open} triggers of {} have fired and not ended at {now}", topic.name));
        }
    }
    None
}

/// Reads everything, asks every checker, and returns what is broken.
pub fn judge(world: &mut World) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = world.broken.iter().map(|what| ("core".to_owned(), what.clone())).collect();
    resolve_unknown(world);
    world.coverage.events = world.happened;
    let Some(leader) = (0..NODES).find(|&node| world.nodes[node].office.is_some()) else {
        found.push(("liveness".into(), "nobody leads after everything was mended".into()));
        return found;
    };
    if let Some(why) = unrest(world).filter(|why| why.contains("behind")) {
        found.push(("liveness".into(), why));
    }
    if let Some(caller) = world.callers.iter().position(caller::Caller::is_calling) {
        found.push(("liveness".into(), format!("caller {caller} was never answered")));
    }
    final_reads(world, leader);
    let seen: Vec<replicas::Seen> = (0..NODES)
        .filter_map(|node| {
            let node = &world.nodes[node];
            let digest = read::digest(&node.store).ok()?.to_vec();
            Some(replicas::Seen { replica: node.number as u64, index: node.applied, digest })
        })
        .collect();
    for one in &seen {
        one.digest.iter().for_each(|byte| world.trace.add(u64::from(*byte)));
    }
    let error_ms = (world.swarm.clock_error / 1_000) as i64;
    let options = Options { grace_ms: GRACE_MS + error_ms, search_steps: SEARCH_STEPS, ..Options::default() };
    let verdict = checkers::check(&world.history, &options);
    let mut all = verdict.violations;
    all.extend(replicas::check(&world.applied, &seen));
    all.extend(attempts::check(&world.counted));
    all.extend(effects::check(&world.history, &world.ledger));
    found.extend(all.into_iter().map(|one| (one.promise.to_owned(), format!("{}: {}", one.trigger, one.detail))));
    found.extend(gifts::judge::judge(world, leader));
    world.coverage.undecided += verdict.checked.undecided as u64;
    world.coverage.searched += verdict.checked.searched as u64;
    found
}

/// What became of the entries whose leader never learned it.
fn resolve_unknown(world: &mut World) {
    if let Some(cluster) = &world.cluster {
        let applied = cluster.laws.contents();
        let committed = cluster.unknown.iter().filter(|contents| applied.contains(contents)).count() as u64;
        world.coverage.unknown_committed += committed;
        world.coverage.unknown_lost += cluster.unknown.len() as u64 - committed;
    }
    for (index, term) in std::mem::take(&mut world.coverage.unknown_at) {
        let committed = world.committed.get(&index) == Some(&term);
        world.coverage.unknown_committed += u64::from(committed);
        world.coverage.unknown_lost += u64::from(!committed);
    }
}

/// What a reader sees at the end of everything that was ever asked about.
fn final_reads(world: &mut World, leader: usize) {
    let keys: BTreeSet<Key> = world.history.operations.iter().map(|operation| operation.trigger.clone()).collect();
    let read_us = world.recorded_us();
    for key in keys {
        let view = match read::get(&world.nodes[leader].store, &key.namespace, &key.id) {
            Ok(view) => view,
            Err(error) => {
                world.broke(format!("{key} cannot be read at the end: {error}"));
                continue;
            }
        };
        let read = match view {
            None => convert::absent(key, read_us),
            Some(view) => {
                let may_be_held = matches!(view.state, Standing::Fired | Standing::Retrying);
                let receipt =
                    (view.state != Standing::Scheduled).then(|| convert::facts(&wire::receipt(&view.receipt)));
                FinalRead {
                    trigger: key,
                    state: caller::state(view.state),
                    topic: view.topic,
                    generation: view.generation.number(),
                    due_ms: view.due.as_millis() as i64,
                    attempt: view.attempt,
                    leased: may_be_held && world.holds(leader, view.lane, view.position),
                    retry_at_ms: view.retry_at.map(|at| at.as_millis() as i64),
                    receipt,
                    read_us,
                }
            }
        };
        world.trace.add(read.generation ^ (read.state == State::Completed) as u64);
        world.record(Recorded::FinalRead(read));
    }
}
