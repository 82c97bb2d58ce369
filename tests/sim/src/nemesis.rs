//! What breaks, and when it is mended.

use crate::events::{MS, Micros, SECOND};
use crate::openraft::cluster::Happening;
use crate::swarm::{FaultKind, NODES};
use crate::world::{Event, NodeEvent, WorkerEvent, World};

/// What is mended.
#[derive(Clone, Copy, Debug)]
pub enum Relief {
    /// The links from one address to another.
    Link(usize, usize),
    /// A disk is as fast as before.
    Disk(usize),
    /// A node is exchanged for one of a newer build.
    NewBuild(usize),
    /// All machines sleep until this millisecond.
    SleepUntil(u64),
}

impl World {
    /// Sets the next fault.
    pub fn plan_fault(&mut self) {
        if let Some(every) = self.swarm.fault_every {
            let at = self.now() + self.fate.between(every / 4, every * 7 / 4);
            if at < self.swarm.quiet_at {
                self.queue.at(at, Event::Fault);
            }
        }
    }

    /// Something breaks.
    pub fn fault(&mut self) {
        if self.quiet {
            return;
        }
        let total = self.swarm.faults.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut place = self.fate.below(total);
        for (kind, weight) in self.swarm.faults.clone() {
            if place < u64::from(weight) {
                self.trace.add(11 | (kind as u64) << 8);
                self.coverage.faults += 1;
                self.coverage.by_fault[kind as usize] += 1;
                self.strike(kind);
                break;
            }
            place -= u64::from(weight);
        }
        self.plan_fault();
    }

    fn any_node(&mut self) -> usize {
        // Leaders are where it hurts.
        let leader = (0..NODES).find(|&node| self.nodes[node].office.is_some());
        match leader {
            Some(leader) if self.fate.coin() => leader,
            _ => self.fate.below(NODES as u64) as usize,
        }
    }

    fn strike(&mut self, kind: FaultKind) {
        let now = self.now();
        let node = self.any_node();
        let length = self.fate.between(50 * MS, 3 * SECOND);
        match kind {
            FaultKind::Kill => self.crash_for(node, length, false),
            FaultKind::PowerCut => self.crash_for(node, length, true),
            FaultKind::Blackout => {
                for node in 0..NODES {
                    let length = self.fate.between(50 * MS, 2 * SECOND);
                    self.crash_for(node, length, true);
                }
            }
            FaultKind::Pause => {
                let number = node;
                let node = &mut self.nodes[number];
                if node.up {
                    node.paused_until = node.paused_until.max(now + length);
                    let until = node.paused_until;
                    if self.cluster.is_some() {
                        self.at_node(until, number, NodeEvent::Raft(Happening::GoOn));
                    }
                }
            }
            FaultKind::Isolate => {
                for other in (0..NODES).filter(|&other| other != node) {
                    self.cut_for(node, other, length);
                    self.cut_for(other, node, length);
                }
            }
            FaultKind::Unplug => {
                for other in (0..NODES + self.callers.len() + self.workers.len()).filter(|&other| other != node) {
                    self.cut_for(node, other, length);
                    self.cut_for(other, node, length);
                }
            }
            FaultKind::OneWay => {
                let everybody = (NODES + self.callers.len() + self.workers.len()) as u64;
                let other = self.fate.below(everybody) as usize;
                if other != node {
                    let (from, to) = if self.fate.coin() { (node, other) } else { (other, node) };
                    self.cut_for(from, to, length);
                }
            }
            FaultKind::LeaderAlone => {
                let length = length + SECOND;
                if let Some(leader) = (0..NODES).find(|&node| self.nodes[node].office.is_some()) {
                    for other in (0..NODES).filter(|&other| other != leader) {
                        self.cut_for(leader, other, length);
                        self.cut_for(other, leader, length);
                    }
                }
            }
            FaultKind::ClockStep => self.step_clock(node),
            FaultKind::Sleep => self.sleep(),
            FaultKind::WorkerKill => {
                let worker = self.fate.below(self.workers.len() as u64) as usize;
                if self.workers[worker].up {
                    self.crash_worker(worker);
                    let boot = self.workers[worker].boot;
                    self.queue.at(now + length, Event::Worker(worker, boot, WorkerEvent::Start));
                }
            }
            FaultKind::Reset => {
                let open: Vec<u64> =
                    self.streams.iter().filter(|(_, stream)| !stream.broken).map(|(number, _)| *number).collect();
                if let Some(stream) = self.fate.pick(&open).copied() {
                    self.break_stream(stream);
                }
            }
            FaultKind::SlowDisk => {
                self.slow[node] = self.fate.between(5, 200) * MS;
                self.queue.at(now + length, Event::Relief(Relief::Disk(node)));
            }
        }
    }

    /// A node dies and comes back after this.
    pub fn crash_for(&mut self, node: usize, length: Micros, power_lost: bool) {
        if self.nodes[node].up {
            self.crash(node, power_lost);
            let at = self.now() + length;
            self.at_node(at, node, NodeEvent::Start);
        }
    }

    /// Cuts a link for about this long.
    pub fn cut_for(&mut self, from: usize, to: usize, length: Micros) {
        self.net.set_cut(from, to, true);
        // Not everything is mended at once, and not in the order in which it broke.
        let length = length + self.fate.below(length);
        let at = self.now() + length;
        self.queue.at(at, Event::Relief(Relief::Link(from, to)));
    }

    /// One clock may say anything; the others stay within the bounds of the run.
    fn step_clock(&mut self, node: usize) {
        let skew = self.swarm.skew as i64;
        let wrong = (0..NODES).find(|&other| self.nodes[other].clock.offset.abs() > skew);
        let offset = if wrong.is_none_or(|wrong| wrong == node) && self.fate.coin() {
            let far = self.fate.between(1, 3_600) as i64 * SECOND as i64;
            if self.fate.coin() { far } else { -far }
        } else {
            self.fate.below(2 * self.swarm.skew + 1) as i64 - skew
        };
        self.coverage.leader_clock_steps += u64::from(self.nodes[node].office.is_some());
        self.nodes[node].clock.offset = offset;
    }

    /// All machines slept: the time of day goes on, what they count themselves does not.
    fn sleep(&mut self) {
        self.epoch += self.fate.between(10, 5_400) * SECOND;
    }

    /// Something is mended.
    pub fn relieve(&mut self, relief: Relief) {
        match relief {
            Relief::Link(from, to) => self.net.set_cut(from, to, false),
            Relief::Disk(node) => self.slow[node] = 0,
            Relief::NewBuild(node) => self.exchange(node),
            Relief::SleepUntil(moment) => self.sleep_until(moment),
        }
    }

    /// Everything is mended, and nothing breaks any more.
    pub fn heal(&mut self) {
        self.quiet = true;
        self.net.mend();
        self.net.set_weather(crate::net::Weather { loss_ppm: 0, tail_ppm: 0, ..self.swarm.weather });
        self.slow = [0; NODES];
        for node in 0..NODES {
            self.nodes[node].paused_until = 0;
            self.nodes[node].clock.offset = 0;
            if !self.nodes[node].up {
                self.at_node(self.now(), node, NodeEvent::Start);
            }
        }
        for worker in 0..self.workers.len() {
            if !self.workers[worker].up {
                let boot = self.workers[worker].boot;
                self.queue.at(self.now(), Event::Worker(worker, boot, WorkerEvent::Start));
            }
        }
    }
}
