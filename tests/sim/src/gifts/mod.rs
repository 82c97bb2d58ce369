//! Gifts beside the triggers: in every eighth seed callers reserve, change, take back, accept, pass on and use gifts, executors
//! do the work of the gift business, and providers outside take money and messages.
//!
//! What is real: the domains (`api/domain`), composed with the machine as the server does. Written again, small: what the server
//! draws before it proposes, the executors' rules of `executor/src/business` ([`executors`], [`sending`], [`paying`]), the node's own
//! session for internal triggers. Simulated: providers of the three classes there are ([`provider`]), whose requests are lost before or after
//! they took effect, or arrive when nobody waits any more.
//!
//! Everything is due at a midnight: all machines sleep until a moment before it, twice in a run, and at the end until whatever is next.

pub mod callers;
pub mod domain;
pub mod executors;
pub mod judge;
pub mod paying;
pub mod provider;
pub mod sending;

use ::domain::Command;
use ::domain::gift::{Draw, Secret};
use bytes::Bytes;
use checkers::gifts::history;
use checkers::history::Key;
use prost::Message as _;
use scheduler::read::{self, ListQuery};
use scheduler::reply::Outcome as Standing;

use crate::events::{MS, Micros, SECOND};
use crate::nemesis::Relief;
use crate::rng::Rng;
use crate::swarm::{FaultKind, NODES, Swarm};
use crate::world::{Event, World};
use provider::Provider;

/// Tenant of everything.
pub const NAMESPACE: &str = "default";
/// Topics of the gift business that executors serve.
pub const TOPICS: [&str; 10] = [
    "payment.confirm",
    "payment.query",
    "payment.refund",
    "gift.send",
    "gift.find",
    "notify.kakao",
    "notify.sms",
    "notify.email",
    "notify.push",
    "notify.operator",
];
/// Millisecond of the first midnight, from the beginning; the second is as long after it.
pub const MIDNIGHT_MS: u64 = 2 * 3_600_000;
/// Steps in which a world with gifts may come to rest, each of a second and whatever was slept.
const STEPS_MAX: usize = 400;

/// What there is of gifts in a run.
#[derive(Debug)]
pub struct Gifts {
    /// Dice of its own.
    pub rng: Rng,
    /// True time at the beginning, in milliseconds.
    pub began_ms: u64,
    /// Ids that were asked for, in order.
    pub known: Vec<String>,
    /// Codes that holders were shown, with their gifts.
    pub codes: Vec<(String, Bytes)>,
    /// Who takes money and messages.
    pub provider: Provider,
    /// What callers asked and were answered.
    pub calls: Vec<history::Call>,
}

impl Gifts {
    /// Of a seed; `None` in most.
    #[must_use]
    pub fn of(seed: u64, began_ms: u64) -> Option<Box<Gifts>> {
        // Dice of its own, so that the other seeds are what they were, those with a name among them.
        has_gifts(seed).then(|| {
            let mut rng = Rng::new(seed ^ 0x0067_6966_7473);
            let provider = Provider::new(&mut rng);
            Box::new(Gifts { rng, began_ms, known: Vec::new(), codes: Vec::new(), provider, calls: Vec::new() })
        })
    }

    /// A link and a code nobody has.
    pub fn draw(&mut self) -> Draw {
        let mut secret = || Secret {
            hash: Bytes::copy_from_slice(&self.rng.draw().to_be_bytes()),
            sealed: Bytes::from_static(b"sealed"),
        };
        Draw { link: Some(secret()), code: Some(secret()) }
    }
}

/// Whether a seed is one with gifts.
#[must_use]
pub fn has_gifts(seed: u64) -> bool {
    seed.is_multiple_of(8)
}

/// What a run with gifts changes of its setting: the midnights are when machines sleep.
pub fn adapt(seed: u64, swarm: &mut Swarm) {
    if has_gifts(seed) && swarm.callers > 0 {
        swarm.faults.retain(|(kind, _)| *kind != FaultKind::Sleep);
        if swarm.faults.is_empty() {
            swarm.fault_every = None;
        }
    }
}

/// Short name of a secret for the record.
#[must_use]
pub fn digest(hash: &[u8]) -> u64 {
    hash.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The name of a gift in records.
#[must_use]
pub fn key(id: &str) -> Key {
    Key::new(NAMESPACE, id)
}

/// The bytes of a command.
#[must_use]
pub fn encoded(kind: ::domain::Kind) -> Bytes {
    Command { kind: Some(kind) }.encode_to_vec().into()
}

impl World {
    /// Plans what is special about a run with gifts.
    pub fn plan_gifts(&mut self) {
        let Some(gifts) = &mut self.gifts else { return };
        let (first, second) = (gifts.rng.between(10, 14) * SECOND, gifts.rng.between(19, 23) * SECOND);
        let (out, back) = (gifts.rng.between(2, 20) * SECOND, gifts.rng.between(1, 6) * SECOND);
        if gifts.rng.coin() {
            gifts.provider.down = Some((out, out + back));
        }
        let begin = gifts.began_ms;
        for (at, count) in [(first, 1), (second, 2)] {
            self.queue.at(at, Event::Relief(Relief::SleepUntil(begin + count * MIDNIGHT_MS - 300)));
        }
    }

    /// All machines sleep until a moment; requests that are on their way to a provider arrive meanwhile.
    pub fn sleep_until(&mut self, moment_ms: u64) {
        let now = self.true_ms();
        if moment_ms <= now {
            return;
        }
        self.arrive_all();
        self.epoch += (moment_ms - now) * MS;
        self.coverage.midnights += 1;
    }

    /// Lets gifts come to their ends: again and again everybody sleeps until something of a gift is due.
    pub fn rest_gifts(&mut self, unrest: impl Fn(&World) -> bool) {
        if self.gifts.is_none() {
            return;
        }
        for _ in 0..STEPS_MAX {
            let next = self.next_of_gifts();
            if next.is_none() && !unrest(self) {
                return;
            }
            if let Some(due) = next.filter(|due| *due > self.true_ms() + 1_000) {
                self.sleep_until(due - 200);
            }
            let until = self.now() + SECOND;
            self.run_until(until);
        }
    }

    /// When the next trigger of a gift is due, as the leader's rows say, in milliseconds; `None` when none is left. One that is fired is due now.
    fn next_of_gifts(&self) -> Option<u64> {
        let Some(leader) = (0..NODES).find(|&node| self.nodes[node].office.is_some()) else {
            return Some(0);
        };
        let query = ListQuery {
            namespace: NAMESPACE.to_owned(),
            topic: None,
            states: vec![Standing::Scheduled, Standing::Fired, Standing::Retrying],
            due_from: None,
            due_to: None,
            labels: Vec::new(),
            limit: 500,
            bytes: 1 << 24,
        };
        let (mut next, mut after) = (None::<u64>, None);
        loop {
            let Ok(page) = read::list(&self.nodes[leader].store, &query, after) else { return Some(0) };
            for view in page.items.iter().filter(|view| ::domain::triggers::parse(&view.id).is_some()) {
                let due = match view.state {
                    Standing::Fired => 0,
                    _ => view.retry_at.unwrap_or(view.due).as_millis(),
                };
                next = Some(next.map_or(due, |next| next.min(due)));
            }
            after = page.next;
            if after.is_none() {
                return next;
            }
        }
    }

    /// How long a request or a pause takes that may take up to this.
    pub fn within(&mut self, most: Micros) -> Micros {
        1 + self.gifts.as_mut().map_or(0, |gifts| gifts.rng.below(most))
    }
}
