//! What breaks for replicas beside what breaks for everybody: at the moments at which Raft relies on what it promised.

use openraft_rt::{AsyncRuntime, WatchReceiver};

use super::cluster::leads;
use super::runtime::{self, Runtime};
use super::types::{node_of, replica_id};
use crate::events::{MS, SECOND};
use crate::swarm::NODES;
use crate::world::{Event, World};

/// A follower that lacks no more than this many entries may be handed leadership.
const LAG_MAX: u64 = 16;

/// What breaks.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    /// One of the others, when its time has come.
    Any,
    /// A node dies and is back very soon.
    Restart(usize),
    /// A node that has just voted loses its power.
    PowerCut(usize),
}

impl World {
    /// Sets the next of them.
    pub fn plan_trouble(&mut self) {
        let every = self.cluster.as_ref().and_then(|cluster| cluster.setting.trouble_every);
        if let Some(every) = every {
            let at = self.now() + self.fate.between(every / 4, every * 7 / 4);
            self.queue.at(at, Event::Trouble(Trouble::Any));
        }
    }

    /// Something breaks.
    pub fn trouble(&mut self, trouble: Trouble) {
        if self.quiet {
            return;
        }
        match trouble {
            Trouble::Restart(node) => {
                let length = self.fate.between(20 * MS, 150 * MS);
                self.crash_for(node, length, false);
            }
            Trouble::PowerCut(node) => {
                let length = self.fate.between(20 * MS, 300 * MS);
                self.crash_for(node, length, true);
            }
            Trouble::Any => {
                if self.fate.chance(600_000) {
                    self.forget_lease();
                } else {
                    self.hand_over();
                }
                self.plan_trouble();
            }
        }
    }

    /// One follower loses sight of the leader, and when it wants to be elected the other one has just started, not knowing
    /// to whom it gave a lease.
    fn forget_lease(&mut self) {
        let Some(leader) = (0..NODES).find(|&node| self.nodes[node].office.is_some()) else { return };
        let (mut blind, mut forgetful) = ((leader + 1) % NODES, (leader + 2) % NODES);
        if self.fate.coin() {
            std::mem::swap(&mut blind, &mut forgetful);
        }
        self.coverage.leases_forgotten += 1;
        let length = self.fate.between(1, 3) * SECOND;
        self.cut_for(leader, blind, length);
        self.cut_for(blind, leader, length);
        let at = self.now() + self.fate.between(500 * MS, 1_300 * MS);
        self.queue.at(at, Event::Trouble(Trouble::Restart(forgetful)));
    }

    /// The leader hands over to a follower that is ready.
    fn hand_over(&mut self) {
        let Some(leader) = (0..NODES).find(|&node| self.nodes[node].office.is_some()) else { return };
        let to = (leader + 1 + self.fate.below(NODES as u64 - 1) as usize) % NODES;
        let Some(raft) = self.seat(leader).and_then(|seat| seat.raft.clone()) else { return };
        let figures = raft.metrics().borrow_watched().clone();
        let target = replica_id(to, 1);
        let matched = figures.replication.as_ref().and_then(|all| *all.get(&target)?);
        let lacks = figures.last_log_index.unwrap_or(0).saturating_sub(matched.map_or(0, |id| id.index));
        if leads(&figures) && lacks <= LAG_MAX {
            self.coverage.handed_over += 1;
            if let Some(seat) = self.seat(leader) {
                seat.handing_over = figures.vote.leader_id.term;
            }
            runtime::within(leader, || {
                // Fails when the core is gone, which its follower tells.
                Runtime::spawn(async move { drop(raft.trigger().transfer_leader(target).await) })
            });
        }
    }

    /// A replica votes. If it is unlucky it loses its power before the vote is safe, and nobody else hears of the candidate.
    pub fn voted(&mut self, voter: usize, candidate: u64) {
        let candidate = node_of(candidate);
        let chance = self.cluster.as_ref().map_or(0, |cluster| cluster.setting.voter_cut_ppm);
        if voter == candidate || self.quiet || chance == 0 || !self.fate.chance(chance) {
            return;
        }
        self.coverage.voters_cut += 1;
        let at = self.now() + 1 + self.fate.below(100);
        self.queue.at(at, Event::Trouble(Trouble::PowerCut(voter)));
        let length = self.fate.between(1, 3) * SECOND;
        for other in (0..NODES).filter(|&other| other != candidate) {
            self.cut_for(candidate, other, length);
            self.cut_for(other, candidate, length);
        }
    }

    /// While a leader is sure that nobody else can lead, nobody else is elected.
    pub fn judge_lease(&mut self, elected: usize) {
        let sure = (0..NODES).filter(|&node| node != elected && self.nodes[node].up);
        let sure = sure.into_iter().find(|&node| self.is_trusted(node));
        if let Some(sure) = sure {
            self.broke(format!("node {elected} is elected while node {sure} is sure to lead"));
        }
    }
}
