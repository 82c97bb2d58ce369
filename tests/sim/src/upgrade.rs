//! Nodes of two builds in one cluster: in every eighth seed they are exchanged one by one, at any moment, and in some of these one
//! never is. Apply does different things at the two levels, in the way business domains are to do it.

use bytes::Bytes;
use scheduler::command::{Business, Kind};
use scheduler::domain::{Domain, DomainContext, DomainError};
use scheduler::keys;
use scheduler::planted::{self, Bug};
use scheduler::upgrade::level_to_write;

use crate::events::{MS, Micros, SECOND};
use crate::nemesis::Relief;
use crate::rng::Rng;
use crate::swarm::NODES;
use crate::world::{Event, NodeEvent, World};

/// The feature level of the builds nodes begin with.
pub const OLD: u32 = 1;
/// That of the builds they are exchanged for.
pub const NEW: u32 = 2;
/// Namespace of the commands that show which level is in force.
pub const NAMESPACE: &str = "upgrade";
/// How long an exchange takes.
const AWAY: Micros = 300 * MS;

/// What changed between the two: which row is written.
#[derive(Clone, Copy, Debug)]
pub struct Changed {
    /// The level the build knows, which apply must not look at.
    pub build: u32,
}

impl Domain for Changed {
    fn apply(&self, cx: &mut DomainContext<'_, '_, '_>, _: &str, body: &Bytes) -> Result<Bytes, DomainError> {
        let level = if planted::is(Bug::GatesOnBuild) { self.build } else { cx.level() };
        let row = if level >= NEW { b'n' } else { b'o' };
        cx.put(&[keys::DOMAIN_FIRST, row], cx.index().to_be_bytes().to_vec())?;
        Ok(body.clone())
    }
}

/// When each node is exchanged; `None`: never.
#[must_use]
pub fn plan(seed: u64) -> Option<[Option<Micros>; NODES]> {
    // Dice of its own, so that the other seeds are what they were, those with a name among them.
    (seed % 8 == 1).then(|| {
        let mut dice = Rng::new(seed ^ 0x0075_7067_7261_6465);
        let mut at = [(); NODES].map(|()| Some(dice.between(2, 26) * SECOND));
        if dice.chance(250_000) {
            at[dice.below(NODES as u64) as usize] = None;
        }
        at
    })
}

impl World {
    /// Plans the exchanges of a seed.
    pub fn plan_upgrade(&mut self, seed: u64) {
        let Some(plan) = plan(seed) else { return };
        self.upgrades = true;
        for (node, at) in plan.into_iter().enumerate() {
            if let Some(at) = at {
                self.queue.at(at, Event::Relief(Relief::NewBuild(node)));
            }
        }
    }

    /// A node is stopped and started with the new build; one that is down comes back with it.
    pub fn exchange(&mut self, node: usize) {
        self.coverage.builds_exchanged += 1;
        self.nodes[node].build = NEW;
        if self.nodes[node].up {
            self.crash(node, false);
            let at = self.now() + AWAY;
            self.at_node(at, node, NodeEvent::Start);
        }
    }

    /// The level at which a leader writes, and what it adds to its entry so that levels matter.
    pub fn write_at_level(&mut self, number: usize, kinds: &mut Vec<Kind>) -> u32 {
        if !self.upgrades {
            return OLD;
        }
        kinds.push(Kind::Business(Business { namespace: NAMESPACE.into(), body: Bytes::from_static(b"which") }));
        let node = &self.nodes[number];
        let others = (0..NODES).filter(|&other| other != number).map(|other| node.levels.get(&other).copied());
        let level = match planted::is(Bug::WritesOwnLevel) {
            true => node.build,
            false => level_to_write(node.machine.level(), node.build, others),
        };
        self.coverage.levels_held_back += u64::from(level < node.build);
        level
    }
}
