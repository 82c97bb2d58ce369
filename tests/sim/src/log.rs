//! The agreed log, without the library that agrees: the rules of Raft with elections decided by an onlooker.
//!
//! Appends, acknowledgements, commits, truncations, leases and snapshots are messages and disks that fail like any other
//! here. Only an election is one step: whoever stands asks everybody it can reach at that moment. What may happen is what
//! may happen to the product: a proposal takes as long as it likes; its outcome is unknown to whoever led, and it is
//! committed by the next leader or never; two nodes believe that they lead, and only one can commit; replicas lag, and
//! are sent a snapshot. What may not happen is that committed entries are lost, reordered or committed twice.

use std::rc::Rc;

use scheduler::planted::{self, Bug};

use crate::disk::{Entry, Log};
use crate::events::{MS, Micros};
use crate::swarm::NODES;
use crate::world::{NodeEvent, Rows, World};

/// Between two heartbeats.
const HEARTBEAT: Micros = 100 * MS;
/// How long a follower is loyal to a leader it has heard.
pub const LOYAL: Micros = 450 * MS;
/// How long a leader trusts that nobody else leads.
const TRUST: Micros = 300 * MS;
/// A follower that is not loyal any more stands for election within this.
pub const ELECTION_MAX: Micros = 900 * MS;
/// Entries in one message.
const ENTRIES_MAX: u64 = 64;
/// A snapshot is not sent again before this.
const SNAPSHOT_PAUSE: Micros = 400 * MS;

/// What nodes tell each other.
#[derive(Clone, Debug)]
pub enum Message {
    /// From a leader: that it is there, and entries.
    Append {
        /// Its term.
        term: u64,
        /// Index and term of the entry before.
        previous: (u64, u64),
        /// In order.
        entries: Vec<Rc<Entry>>,
        /// Committed up to here.
        commit: u64,
        /// The leader's own count of time when it was sent.
        asked: Micros,
    },
    /// The answer.
    Appended {
        /// Term of the answerer.
        term: u64,
        /// Safe here, and the same as at the leader, up to this index; `Err`: try again behind this one.
        matched: Result<u64, u64>,
        /// As it was asked.
        asked: Micros,
    },
    /// From a leader: a checkpoint instead of entries it has no more.
    Snapshot {
        /// Its term.
        term: u64,
        /// Index and term of the last entry in it.
        at: (u64, u64),
        /// What it holds.
        rows: Rows,
        /// As above.
        asked: Micros,
    },
}

/// A node's part in the agreement. Term, log and votes survive a crash.
#[derive(Debug, Default)]
pub struct Member {
    /// The newest term it knows.
    pub term: u64,
    /// Who leads in that term.
    pub leader: Option<usize>,
    /// What it needs while it leads, or believes so.
    pub leads: Option<Leading>,
    /// What it wrote.
    pub log: Log,
    /// Committed, as far as it knows.
    pub commit: u64,
    /// Until then it neither stands nor votes.
    loyal_until: Micros,
    /// It stands then.
    election_at: Micros,
    /// The same as at the leader up to here.
    verified: u64,
    /// The newest question of the leader.
    asked: Micros,
}

/// What a leader knows of the others.
#[derive(Debug)]
pub struct Leading {
    /// Its term.
    pub term: u64,
    /// The entry it began with.
    pub first_index: u64,
    next: [u64; NODES],
    matched: [u64; NODES],
    /// What it said at its last heartbeat had been acknowledged.
    seen: [u64; NODES],
    /// By its own clock: when it asked what was answered last.
    acked: [Option<Micros>; NODES],
    snapshot_at: [Option<Micros>; NODES],
}

impl Leading {
    /// Of a term that is agreed upon elsewhere; what it began with is not known yet.
    #[must_use]
    pub fn observed(term: u64) -> Self {
        Leading {
            term,
            first_index: 0,
            next: [0; NODES],
            matched: [0; NODES],
            seen: [0; NODES],
            acked: [None; NODES],
            snapshot_at: [None; NODES],
        }
    }
}

impl Member {
    /// Everything known of time and of others is gone; for so long it votes for nobody, as it may have promised.
    pub fn restarted(&mut self, now: Micros, patience: Micros, commit: u64) {
        self.leader = None;
        self.leads = None;
        self.commit = commit;
        self.verified = commit;
        self.loyal_until = now + patience;
        self.election_at = now + patience;
    }
}

impl World {
    /// Sets the first alarm of a node's life.
    pub fn begin_elections(&mut self, node: usize) {
        let at = self.nodes[node].member.election_at + self.rng.below(ELECTION_MAX);
        self.nodes[node].member.election_at = at;
        self.at_node(at, node, NodeEvent::Election);
    }

    /// It may be time to stand for election.
    pub fn election_due(&mut self, node: usize) {
        let now = self.now();
        let member = &self.nodes[node].member;
        if member.leads.is_none() && member.election_at <= now {
            self.stand(node);
            let member = &mut self.nodes[node].member;
            member.election_at = member.election_at.max(now + 100 * MS + self.rng.below(ELECTION_MAX));
        }
        let at = if self.nodes[node].member.leads.is_some() {
            now + ELECTION_MAX
        } else {
            self.nodes[node].member.election_at
        };
        self.at_node(at, node, NodeEvent::Election);
    }

    /// Everybody it can reach votes at once.
    fn stand(&mut self, node: usize) {
        let now = self.now();
        let (index, term) = self.nodes[node].member.log.last();
        let votes = |world: &World, voter: usize| {
            let other = &world.nodes[voter];
            let (other_index, other_term) = other.member.log.last();
            let loyal = voter != node && (other.member.loyal_until > now || world.lease_valid(voter, LOYAL));
            let reached = other.up && other.paused_until <= now && world.net.is_joined(node, voter);
            reached && !loyal && other.halted.is_none() && (other_term, other_index) <= (term, index)
        };
        let voters: Vec<usize> = (0..NODES).filter(|&voter| votes(self, voter)).collect();
        if voters.len() <= NODES / 2 || !voters.contains(&node) {
            return;
        }
        let new = voters.iter().map(|&voter| self.nodes[voter].member.term).max().unwrap_or(0) + 1;
        if (0..NODES).any(|other| other != node && self.nodes[other].member.leads.is_some()) {
            self.coverage.two_leaders += 1;
        }
        for voter in voters {
            self.join_term(voter, new);
            self.heard_leader(voter, node);
        }
        self.begin_term(node, new);
    }

    /// A node learns of a newer term: whatever it led is over.
    fn join_term(&mut self, node: usize, term: u64) {
        let member = &mut self.nodes[node].member;
        if term <= member.term {
            return;
        }
        member.term = term;
        member.leader = None;
        if member.leads.take().is_some() {
            self.end_term(node);
        }
    }

    fn heard_leader(&mut self, node: usize, leader: usize) {
        let now = self.now();
        let clock = self.nodes[node].clock;
        let wait = self.rng.below(ELECTION_MAX);
        let member = &mut self.nodes[node].member;
        if member.leader != Some(leader) {
            member.leader = Some(leader);
            member.verified = member.commit;
            member.asked = 0;
        }
        member.loyal_until = now + clock.lasts(LOYAL);
        member.election_at = member.loyal_until + clock.lasts(wait);
        self.leader_known(node);
    }

    fn begin_term(&mut self, node: usize, term: u64) {
        let member = &mut self.nodes[node].member;
        let first_index = member.log.last().0 + 1;
        member.leads = Some(Leading {
            term,
            first_index,
            next: [first_index; NODES],
            matched: [0; NODES],
            seen: [0; NODES],
            acked: [None; NODES],
            snapshot_at: [None; NODES],
        });
        member.log.append(Rc::new(Entry { index: first_index, term, payload: None }));
        self.coverage.terms += 1;
        self.write(node);
        self.broadcast(node);
        let at = self.now() + self.nodes[node].clock.lasts(HEARTBEAT);
        self.at_node(at, node, NodeEvent::Heartbeat(term));
        self.elected(node);
    }

    /// The leader says that it is there, and repeats what was not acknowledged.
    pub fn heartbeat(&mut self, node: usize, term: u64) {
        let Some(leading) = self.nodes[node].member.leads.as_mut().filter(|leading| leading.term == term) else {
            return;
        };
        for peer in 0..NODES {
            if leading.matched[peer] == leading.seen[peer] {
                // Before the first acknowledgement of the term nobody knows where the peer is; it says so when asked.
                let known =
                    leading.matched[peer].max(if leading.seen[peer] == 0 { leading.first_index - 1 } else { 0 });
                leading.next[peer] = leading.next[peer].min(known + 1);
            }
            leading.seen[peer] = leading.matched[peer];
        }
        self.broadcast(node);
        let at = self.now() + self.nodes[node].clock.lasts(HEARTBEAT);
        self.at_node(at, node, NodeEvent::Heartbeat(term));
    }

    /// Says to everybody what they do not know yet.
    pub fn broadcast(&mut self, node: usize) {
        for peer in (0..NODES).filter(|&peer| peer != node) {
            self.append_to(node, peer);
        }
    }

    fn append_to(&mut self, node: usize, peer: usize) {
        let now = self.now();
        let asked = self.nodes[node].clock.mono(now);
        let (checkpoint, rows) = {
            let checkpoint = &self.nodes[node].checkpoint;
            (checkpoint.at, checkpoint.rows.clone())
        };
        let member = &mut self.nodes[node].member;
        let Some(leading) = &mut member.leads else { return };
        let (term, next) = (leading.term, leading.next[peer]);
        let Some(previous) = member.log.term_at(next - 1) else {
            if leading.snapshot_at[peer].is_none_or(|at| at + SNAPSHOT_PAUSE <= now) {
                leading.snapshot_at[peer] = Some(now);
                self.send_peer(node, peer, Message::Snapshot { term, at: checkpoint, rows, asked });
            }
            return;
        };
        let to = member.log.last().0.min(next + ENTRIES_MAX - 1);
        let entries: Vec<Rc<Entry>> = (next..=to).filter_map(|index| member.log.get(index).cloned()).collect();
        leading.next[peer] = to + 1;
        let message = Message::Append { term, previous: (next - 1, previous), entries, commit: member.commit, asked };
        self.send_peer(node, peer, message);
    }

    /// The leader writes an entry; returns its index.
    pub fn append(&mut self, node: usize, payload: bytes::Bytes) -> u64 {
        let member = &mut self.nodes[node].member;
        let index = member.log.last().0 + 1;
        member.log.append(Rc::new(Entry { index, term: member.term, payload: Some(payload) }));
        self.write(node);
        self.broadcast(node);
        index
    }

    /// Sees to it that what was written is synced.
    fn write(&mut self, node: usize) {
        let log = &mut self.nodes[node].member.log;
        if !log.syncing && log.last().0 > log.synced() {
            let name = log.sync_begun();
            let at = self.now() + self.swarm.sync + self.rng.below(self.swarm.sync_jitter + 1) + self.slow[node];
            self.at_node(at, node, NodeEvent::Synced(name));
        }
        if planted::is(Bug::AcknowledgesBeforeSync) {
            self.commit_more(node);
        }
    }

    /// A sync is through.
    pub fn synced(&mut self, node: usize, name: (u64, u64)) {
        self.nodes[node].member.log.sync_done(name);
        self.write(node);
        self.acknowledge(node);
        self.commit_more(node);
    }

    /// What counts as safe on a node.
    fn durable(&self, node: usize) -> u64 {
        let log = &self.nodes[node].member.log;
        if planted::is(Bug::AcknowledgesBeforeSync) { log.last().0 } else { log.synced() }
    }

    fn acknowledge(&mut self, node: usize) {
        let durable = self.durable(node);
        let member = &self.nodes[node].member;
        if let Some(leader) = member.leader.filter(|&leader| leader != node) {
            let matched = Ok(durable.min(member.verified));
            let message = Message::Appended { term: member.term, matched, asked: member.asked };
            self.send_peer(node, leader, message);
        }
    }

    /// A node hears another.
    pub fn heard(&mut self, node: usize, from: usize, message: Message) {
        match message {
            Message::Append { term, previous, entries, commit, asked } => {
                if self.follows(node, from, term, asked) {
                    self.take_entries(node, from, previous, entries, commit, asked);
                }
            }
            Message::Snapshot { term, at, rows, asked } => {
                if self.follows(node, from, term, asked) {
                    self.take_snapshot(node, at, rows);
                }
            }
            Message::Appended { term, matched, asked } => self.acknowledged(node, from, term, matched, asked),
        }
    }

    /// Whether a message is from the leader of the newest term; if not, the sender is told.
    fn follows(&mut self, node: usize, from: usize, term: u64, asked: Micros) -> bool {
        let own = self.nodes[node].member.term;
        if term < own {
            self.send_peer(node, from, Message::Appended { term: own, matched: Err(0), asked });
            return false;
        }
        self.join_term(node, term);
        self.heard_leader(node, from);
        let member = &mut self.nodes[node].member;
        member.asked = member.asked.max(asked);
        true
    }

    fn take_entries(
        &mut self,
        node: usize,
        from: usize,
        previous: (u64, u64),
        entries: Vec<Rc<Entry>>,
        commit: u64,
        asked: Micros,
    ) {
        let member = &mut self.nodes[node].member;
        // What the checkpoint holds was committed, and is the same everywhere.
        let known = previous.0 < member.log.base().0 || member.log.term_at(previous.0) == Some(previous.1);
        if !known {
            let hint = member.log.last().0.min(previous.0.saturating_sub(1));
            let message = Message::Appended { term: member.term, matched: Err(hint), asked };
            return self.send_peer(node, from, message);
        }
        let last = previous.0 + entries.len() as u64;
        let empty = entries.is_empty();
        for entry in entries {
            if entry.index <= member.log.base().0 || member.log.term_at(entry.index) == Some(entry.term) {
                continue;
            }
            member.log.truncate(entry.index);
            member.log.append(entry);
        }
        member.verified = member.verified.max(last);
        member.commit = member.commit.max(commit.min(member.verified));
        let safe = member.log.synced() >= last;
        self.write(node);
        if empty || safe || planted::is(Bug::AcknowledgesBeforeSync) {
            self.acknowledge(node);
        }
        self.apply(node);
    }

    fn take_snapshot(&mut self, node: usize, at: (u64, u64), rows: Rows) {
        if at.0 > self.nodes[node].applied {
            self.install(node, at, rows);
        }
        let member = &mut self.nodes[node].member;
        member.verified = member.verified.max(at.0);
        self.acknowledge(node);
    }

    fn acknowledged(&mut self, node: usize, from: usize, term: u64, matched: Result<u64, u64>, asked: Micros) {
        self.join_term(node, term);
        let Some(leading) = self.nodes[node].member.leads.as_mut().filter(|leading| leading.term == term) else {
            return;
        };
        leading.acked[from] = leading.acked[from].max(Some(asked));
        match matched {
            Ok(index) => {
                leading.matched[from] = leading.matched[from].max(index);
                leading.next[from] = leading.next[from].max(index + 1);
                self.commit_more(node);
            }
            // An answer of long ago, or a disk that lost what it had promised to keep: looked into at the next heartbeat,
            // so that two who will never agree do not talk about nothing else.
            Err(hint) if hint < leading.matched[from] => leading.next[from] = hint + 1,
            Err(hint) => {
                leading.next[from] = hint + 1;
                self.append_to(node, from);
            }
        }
        self.confirmed(node);
    }

    /// Commits what a majority has.
    fn commit_more(&mut self, node: usize) {
        let own = self.durable(node);
        let member = &mut self.nodes[node].member;
        let Some(leading) = &mut member.leads else { return };
        leading.matched[node] = own;
        let mut matched = leading.matched;
        matched.sort_unstable();
        let majority = if planted::is(Bug::CommitsAlone) { own } else { matched[NODES - 1 - NODES / 2] };
        // An entry of an earlier term is committed by one of this term behind it.
        if majority > member.commit && member.log.term_at(majority) == Some(leading.term) {
            member.commit = majority;
            self.apply(node);
        }
        self.confirmed(node);
    }

    /// When a majority last acknowledged this node as the leader, by its own clock; `None` if it does not lead.
    pub fn quorum_at(&self, node: usize) -> Option<Micros> {
        let leading = self.nodes[node].member.leads.as_ref()?;
        leading.acked.iter().flatten().max().copied()
    }

    fn lease_valid(&self, node: usize, length: Micros) -> bool {
        let now = self.nodes[node].clock.mono(self.now());
        self.quorum_at(node).is_some_and(|at| now < at + length)
    }

    /// Whether the node leads and nobody else can.
    pub fn is_trusted(&self, node: usize) -> bool {
        match &self.cluster {
            Some(cluster) => cluster.is_trusted(node),
            None => self.lease_valid(node, TRUST),
        }
    }

    /// Whether the node leads and takes proposals.
    pub fn takes_proposals(&self, node: usize) -> bool {
        self.lease_valid(node, LOYAL)
    }
}
