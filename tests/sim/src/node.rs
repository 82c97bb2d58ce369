//! A replica: rows, the state machine over them, checkpoints, crashes and starts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use checkers::{attempts, replicas};
use scheduler::command::{Entry as Decoded, Kind};
use scheduler::keys;
use scheduler::machine::{Applied, Machine};
use scheduler::memory::MemoryStore;
use scheduler::overlay::Overlay;
use scheduler::planted::{self, Bug};
use scheduler::reply::{Effect, Outcome as State, Receipt, Refusal, Reply};
use scheduler::retention;
use scheduler::wheel::Split;

use crate::clock::Clock;
use crate::digest;
use crate::dispatch::Hello;
use crate::events::{MS, Micros};
use crate::feed::Feed;
use crate::gifts::domain::Composed;
use crate::log::{LOYAL, Member};
use crate::proposer::{Office, PendingRead, Submitted, Waiting};
use crate::rng::Rng;
use crate::swarm::Swarm;
use crate::time_rules::Sample;
use crate::upgrade::{self, Changed};
use crate::world::{NodeEvent, Rows, World};

/// Entries applied together at most.
const BATCH_MAX: usize = 64;
/// Other clocks are read this often.
const SAMPLE_EVERY: Micros = 500 * MS;

/// The rows of a replica that survive a crash.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// They hold everything up to this entry: index and term.
    pub at: (u64, u64),
    /// The rows.
    pub rows: Rows,
}

/// One node.
#[derive(Debug)]
pub struct Node {
    /// Which.
    pub number: usize,
    /// Counts its lives.
    pub boot: u32,
    /// Its process runs.
    pub up: bool,
    /// Its process is stopped until then.
    pub paused_until: Micros,
    /// What it can read of time.
    pub clock: Clock,
    /// Its part in the agreement.
    pub member: Member,
    /// Rows as applied.
    pub store: MemoryStore,
    /// The feature level its build knows.
    pub build: u32,
    /// What applies.
    pub machine: Machine<Composed>,
    /// What the builds of the others know, as they said.
    pub levels: BTreeMap<usize, u32>,
    /// Index of the last entry applied.
    pub applied: u64,
    /// What survives.
    pub checkpoint: Checkpoint,
    /// Why it does not go on.
    pub halted: Option<String>,
    /// When is something due.
    pub feed: Feed,
    /// Counts the wheels it had: what was counted for one is nothing to another.
    pub wheel: u64,
    /// The newest reading of each other node's clock.
    pub samples: BTreeMap<u64, Sample>,
    /// Commands not proposed yet.
    pub queue: VecDeque<Waiting>,
    /// Proposed and not decided, by index, or by number where a replica gives the index.
    pub submitted: BTreeMap<u64, Submitted>,
    /// Reads that wait for a majority.
    pub reads: Vec<PendingRead>,
    /// What it needs while it leads and is ready.
    pub office: Option<Office>,
    /// Hellos that wait for a leader, by stream.
    pub hellos: BTreeMap<u64, Hello>,
}

impl Node {
    /// A node that was never started.
    pub fn new(number: usize, swarm: &Swarm, rng: &mut Rng) -> Self {
        let signed = |rng: &mut Rng, bound: u64| rng.below(2 * bound + 1) as i64 - bound as i64;
        let clock = Clock { offset: signed(rng, swarm.skew), drift_ppm: signed(rng, swarm.drift_ppm) };
        let store = MemoryStore::default();
        Node {
            number,
            boot: 0,
            up: true,
            paused_until: 0,
            clock,
            member: Member::default(),
            build: upgrade::OLD,
            machine: machine_of(upgrade::OLD),
            levels: BTreeMap::new(),
            applied: 0,
            checkpoint: Checkpoint { at: (0, 0), rows: Arc::new(store.clone()) },
            halted: None,
            feed: empty_feed(&store),
            wheel: 0,
            store,
            samples: BTreeMap::new(),
            queue: VecDeque::new(),
            submitted: BTreeMap::new(),
            reads: Vec::new(),
            office: None,
            hellos: BTreeMap::new(),
        }
    }
}

impl Node {
    /// Entries of the present term that are on their way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.submitted.values().filter(|submitted| submitted.term == self.member.term).count()
    }
}

/// The state machine of a build.
fn machine_of(build: u32) -> Machine<Composed> {
    Machine::of_build(Composed { changed: Changed { build } }, build)
}

fn empty_feed(store: &MemoryStore) -> Feed {
    // A store in memory answers.
    Feed::of(store).unwrap_or_else(|error| unreachable!("{error}"))
}

impl World {
    /// A node's process begins: with what survived, and nothing else.
    pub fn boot(&mut self, number: usize) {
        let now = self.now();
        let files = self.rows_in_files(number);
        let node = &mut self.nodes[number];
        node.up = true;
        node.paused_until = 0;
        // A node that was never up has nothing to read again.
        if node.boot > 0 {
            (node.store, node.applied) = match &files {
                Some((rows, index)) => ((**rows).clone(), *index),
                None => ((*node.checkpoint.rows).clone(), node.checkpoint.at.0),
            };
            node.feed = empty_feed(&node.store);
            node.wheel += 1;
            node.machine = machine_of(node.build);
            if let Err(error) = node.machine.restored(&node.store) {
                node.halted = Some(error.to_string());
                return self.broke(format!("node {number} cannot start: {error}"));
            }
        }
        if files.is_some() {
            self.count_slots(number);
            self.start_replica(number);
            return self.at_node(now + 30 * MS, number, NodeEvent::Sample);
        }
        let patience = if node.boot == 0 { 0 } else { node.clock.lasts(LOYAL) };
        node.member.restarted(now, patience, node.applied);
        self.count_slots(number);
        self.begin_elections(number);
        self.at_node(now + 30 * MS, number, NodeEvent::Sample);
    }

    /// It dies. What it knew and had not written is gone; whoever talked to it finds out.
    pub fn crash(&mut self, number: usize, power_lost: bool) {
        if !self.nodes[number].up {
            return;
        }
        self.coverage.crashes += 1;
        // From here on it says nothing any more.
        self.nodes[number].up = false;
        self.end_term(number);
        let node = &mut self.nodes[number];
        node.boot += 1;
        node.paused_until = 0;
        node.member.leads = None;
        node.samples.clear();
        node.levels.clear();
        node.hellos.clear();
        if self.cluster.is_some() {
            self.kill_replica(number, power_lost);
        } else {
            let crashed = node.member.log.crash(&mut self.fate, power_lost);
            self.coverage.unsynced_lost += crashed.lost;
            self.coverage.torn_tails += u64::from(crashed.torn);
        }
        self.cut_streams_of_node(number);
    }

    /// It comes back.
    pub fn start(&mut self, number: usize) {
        if !self.nodes[number].up && self.nodes[number].halted.is_none() {
            self.boot(number);
        }
    }

    /// Reads the other nodes' clocks, where it can.
    pub fn sample_clocks(&mut self, number: usize) {
        let now = self.now();
        let mono = self.nodes[number].clock.mono_duration(now);
        for other in (0..self.nodes.len()).filter(|&other| other != number) {
            let there = &self.nodes[other];
            if there.up && there.paused_until <= now && self.net.is_joined(number, other) {
                // Half of a round trip is only about the way back.
                let error = self.rng.below(4 * MS);
                let wall = there.clock.wall(self.epoch, now.saturating_sub(error));
                let level = there.build;
                self.nodes[number].samples.insert(other as u64, Sample { wall, mono });
                self.nodes[number].levels.insert(other, level);
            }
        }
        self.sampled(number);
        let at = now + self.nodes[number].clock.lasts(SAMPLE_EVERY);
        self.at_node(at, number, NodeEvent::Sample);
    }

    /// Applies what is committed and written here.
    pub fn apply(&mut self, number: usize) {
        loop {
            let node = &self.nodes[number];
            if node.halted.is_some() {
                return;
            }
            let to = node.member.commit.min(node.applied + BATCH_MAX as u64);
            let mut batch: Vec<(u64, u64, Option<Bytes>)> = Vec::new();
            for index in node.applied + 1..=to {
                let Some(entry) = node.member.log.get(index) else { break };
                batch.push((index, entry.term, entry.payload.clone()));
            }
            let Some(&(last, term, _)) = batch.last() else { return };
            // Entries may share a write; what they come to may not depend on that.
            let together = batch.len() > 1 && self.rng.coin();
            let size = if together { batch.len() } else { 1 };
            for part in batch.chunks(size) {
                if let Err(reason) = self.apply_part(number, part) {
                    self.nodes[number].halted = Some(reason.clone());
                    self.broke(format!("node {number} halted: {reason}"));
                    return self.end_term(number);
                }
            }
            self.nodes[number].applied = last;
            self.after_apply(number, (last, term));
        }
    }

    /// Applies entries in one write.
    ///
    /// # Errors
    ///
    /// Why the state machine does not go on.
    pub fn apply_part(&mut self, number: usize, part: &[(u64, u64, Option<Bytes>)]) -> Result<(), String> {
        let now = self.now();
        let node = &mut self.nodes[number];
        planted::at_node(node.clock.wall(self.epoch, now), number as u64);
        let mut overlay = Overlay::new(&node.store);
        let mut all: Vec<(u64, Applied)> = Vec::new();
        let mut raised = 0;
        for (index, term, payload) in part {
            self.committed.insert(*index, *term);
            let Some(payload) = payload else { continue };
            let level = node.machine.level();
            let applied = node.machine.apply(*index, payload.clone(), &mut overlay).map_err(|halt| halt.to_string())?;
            raised += u64::from(applied.level > level);
            all.push((*index, applied));
        }
        let writes = overlay.into_writes();
        self.coverage.levels_raised += raised;
        if let [(index, _)] = all.as_slice() {
            let digest = digest::of_writes(&writes);
            self.trace.add(digest);
            self.applied.push(replicas::Applied { replica: number as u64, index: *index, digest });
        }
        node.store.write(writes);
        for (index, applied) in all {
            self.met(number, index, &applied);
            self.publish(number, index, applied);
        }
        Ok(())
    }

    fn publish(&mut self, number: usize, index: u64, mut applied: Applied) {
        let replies = std::mem::take(&mut applied.replies);
        let watermark = applied.watermark;
        let fed = self.nodes[number].feed.take_in(applied);
        match self.seat(number) {
            // The replica takes them to whoever proposed the entry.
            Some(seat) => drop(seat.replies.insert(index, (watermark, replies))),
            None => self.answer_submitted(number, index, watermark, replies),
        }
        self.feed_dispatcher(number, fed);
    }

    fn after_apply(&mut self, number: usize, at: (u64, u64)) {
        self.count_slots(number);
        let node = &mut self.nodes[number];
        // A checkpoint may not be ahead of the log it goes on from.
        if at.0 - node.checkpoint.at.0 >= self.swarm.checkpoint_every && at.0 <= node.member.log.synced() {
            // What a compaction drops is judged by the checkpoint before.
            if self.rng.coin()
                && let Ok(marks) = retention::marks(&*node.checkpoint.rows)
            {
                node.store.retain(|key, value| !marks.drops(key, value));
            }
            node.checkpoint = Checkpoint { at, rows: Arc::new(node.store.clone()) };
            node.member.log.purge(at.0.saturating_sub(self.swarm.keep));
            self.coverage.checkpoints += 1;
        }
        self.confirmed(number);
        self.propose_soon(number);
    }

    /// Begins to count the slots of the wheel that are about to be entered.
    pub fn count_slots(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let wheel = node.wheel;
        match node.feed.begin_splits(&node.store) {
            Ok(begun) => {
                for (split, counts) in begun {
                    let at = self.now() + self.rng.below(10 * MS);
                    self.at_node(at, number, NodeEvent::Counted(wheel, split, counts));
                }
            }
            Err(error) => self.broke(format!("node {number} cannot count: {error}")),
        }
    }

    /// A slot has been counted.
    pub fn counted(
        &mut self,
        number: usize,
        wheel: u64,
        split: Split,
        counts: Vec<(scheduler::lane::LaneId, scheduler::time::Timestamp, i64)>,
    ) {
        if wheel != self.nodes[number].wheel {
            self.coverage.stale_counts += 1;
            return;
        }
        self.coverage.splits += 1;
        let drift = self.nodes[number].feed.finish_split((split, counts));
        if !drift.0.is_empty() {
            self.broke(format!("node {number}: the wheel and the rows have come apart in {split:?}: {drift:?}"));
        }
        self.count_slots(number);
        self.propose_soon(number);
    }

    /// A snapshot takes the place of what a replica had.
    pub fn install(&mut self, number: usize, at: (u64, u64), rows: Rows) {
        self.coverage.snapshots += 1;
        let mut store = (*rows).clone();
        if planted::is(Bug::SnapshotForgetsIds) {
            store.retain(|key, _| key.first() != Some(&keys::ID));
        }
        let node = &mut self.nodes[number];
        node.checkpoint = Checkpoint { at, rows: Arc::new(store.clone()) };
        node.store = store;
        node.member.log.reset(at);
        node.member.commit = node.member.commit.max(at.0);
        node.applied = at.0;
        let restored = node.machine.restored(&node.store);
        node.feed = empty_feed(&node.store);
        node.wheel += 1;
        if let Err(error) = restored {
            self.broke(format!("node {number} cannot take the snapshot: {error}"));
        }
        self.count_slots(number);
    }

    /// Counts what an entry shows to have been met.
    fn met(&mut self, number: usize, index: u64, applied: &Applied) {
        let coverage = &mut self.coverage;
        for (place, reply) in applied.replies.iter().enumerate() {
            if let Reply::Decided(Receipt {
                outcome: State::Retrying | State::DeadLettered, generation, attempt, ..
            }) = reply
            {
                let (generation, attempt) = (generation.number(), *attempt);
                self.counted.push(attempts::Counted { index, place, generation, attempt });
            }
            match reply {
                Reply::Scheduled { replayed: true, .. } => coverage.repeated_schedules += 1,
                Reply::Ended(receipt) | Reply::Moved(receipt) if receipt.log_index < index => {
                    coverage.repeated_requests += 1;
                }
                Reply::Refused(Refusal::AlreadyFired(receipt))
                    if receipt.fired.is_some_and(|fired| fired.index == index) =>
                {
                    coverage.cancel_raced_fire += 1;
                }
                Reply::Decided(receipt) if receipt.outcome == State::DeadLettered => {
                    coverage.dead_letters += 1;
                }
                Reply::RunDecided { rejected } => coverage.rejected_in_runs += rejected.len() as u64,
                Reply::Superseded => coverage.superseded += 1,
                _ => {}
            }
        }
        let floors = applied.effects.iter().filter(|effect| matches!(effect, Effect::LaneChanged { .. })).count();
        coverage.lanes_changed += floors as u64;
        if number == 0 {
            coverage.entries += 1;
        }
    }
}

/// The entry of some commands at a moment, written at a feature level.
#[must_use]
pub fn entry(time: scheduler::time::Timestamp, commands: Vec<Kind>, level: u32) -> Bytes {
    let commands = commands.into_iter().map(|kind| scheduler::command::Command { kind: Some(kind) }).collect();
    let entry = Decoded { time: time.as_millis(), commands, level };
    prost::Message::encode_to_vec(&entry).into()
}
