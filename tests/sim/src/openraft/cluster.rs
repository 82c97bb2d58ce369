//! The replicas of a run, and what the world does for them.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};

use openraft::storage::ApplyResponder;
use openraft::{EntryPayload, RaftMetrics};
use scheduler::memory::MemoryStore;
use scheduler::reply::Reply;
use scheduler::time::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::disk::{Disk, Waiting};
use super::frame::{Frame, Lane};
use super::laws::Laws;
use super::lines::Lines;
use super::log::{Log, Shared, lock};
use super::port::{ApplyJob, Ask, InstallJob, Met, Port, Proposal, Rows};
use super::replica::{Core, Start, live};
use super::runtime::{self, Instant, Runtime};
use super::server::Served;
use super::setting::{self, Setting};
use super::types::{Answers, Mark, StoredMembership, TypeConfig, node_of, replica_id};
use crate::events::Micros;
use crate::rng::Rng;
use crate::swarm::NODES;
use crate::world::{Call, NodeEvent, World};
use openraft_rt::AsyncRuntime;

/// What happens to a replica by itself.
#[derive(Clone, Copy, Debug)]
pub enum Happening {
    /// A wait of one of its tasks is over.
    Timer(u64),
    /// A sync is through.
    Synced,
    /// The oldest entries that wait are applied.
    Apply,
    /// A checkpoint is complete.
    Checkpointed,
    /// A snapshot is taken over.
    Install,
    /// Checkpoints and the log are looked after.
    LookAfterLog,
    /// A leader tries again to have applied what earlier terms left.
    WaitToLead(u64),
    /// A process that was stopped goes on.
    GoOn,
}

/// The replica of one node, and what of it survives.
pub struct Seat {
    /// Its id.
    pub id: u64,
    /// Survives.
    pub disk: Shared,
    /// Rows in files, and how far they are. They survive.
    pub flushed: (Rows, Mark),
    /// Of the present process.
    pub port: Port,
    /// Where the core comes from,
    starting: Option<oneshot::Receiver<(Core, Instant)>>,
    /// once it runs.
    pub raft: Option<Core>,
    /// It grants no vote before this.
    pub votes_from: Option<Instant>,
    /// What is proposed.
    pub proposals: mpsc::UnboundedSender<Proposal>,
    /// Number of the newest proposal.
    pub proposals_made: u64,
    /// Contents of proposals under way.
    pub contents: BTreeMap<u64, u64>,
    /// Sessions of appends: the sender and its number for it.
    pub sessions: BTreeMap<(u64, u64), mpsc::UnboundedSender<Frame>>,
    /// Reads, and the confirmation each waits for.
    pub reads: Vec<(u64, Call)>,
    /// The confirmation a new leader waits for, and its term.
    pub entering: Option<(u64, u64)>,
    /// A confirmation is under way,
    pub confirming: bool,
    /// and this is its number.
    pub barriers: u64,
    /// The newest term in which it was told to hand over.
    pub handing_over: u64,
    /// Since when it leads in a term.
    pub led: Option<(u64, Micros)>,
    /// Former checkpoints: index and when.
    pub checkpoints: VecDeque<(u64, Micros)>,
    jobs: VecDeque<ApplyJob>,
    checkpointing: VecDeque<(oneshot::Sender<Mark>, Rows, Mark)>,
    installs: VecDeque<InstallJob>,
    /// What entries came to that are being applied.
    pub replies: BTreeMap<u64, (Timestamp, Vec<Reply>)>,
}

/// See the module.
pub struct Cluster {
    /// Of the run.
    pub setting: Setting,
    /// Of every node.
    pub seats: Vec<Seat>,
    /// Connections.
    pub lines: Lines,
    /// What was seen of Raft's rules.
    pub laws: Laws,
    /// Contents of proposals whose leader never learned what became of them.
    pub unknown: Vec<u64>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("setting", &self.setting).finish_non_exhaustive()
    }
}

/// Whether these are the figures of a leader that a majority elected.
#[must_use]
pub fn leads(figures: &RaftMetrics<TypeConfig>) -> bool {
    figures.state.is_leader() && figures.current_leader == Some(figures.id) && figures.vote.committed
}

impl Seat {
    fn new(node: usize) -> Self {
        let (proposals, _) = mpsc::unbounded_channel();
        Seat {
            id: replica_id(node, 1),
            disk: Arc::new(Mutex::new(Disk::default())),
            flushed: (Arc::new(MemoryStore::default()), Mark::default()),
            port: Port::default(),
            starting: None,
            raft: None,
            votes_from: None,
            proposals,
            proposals_made: 0,
            contents: BTreeMap::new(),
            sessions: BTreeMap::new(),
            reads: Vec::new(),
            entering: None,
            confirming: false,
            barriers: 0,
            handing_over: 0,
            led: None,
            checkpoints: VecDeque::new(),
            jobs: VecDeque::new(),
            checkpointing: VecDeque::new(),
            installs: VecDeque::new(),
            replies: BTreeMap::new(),
        }
    }
}

impl Cluster {
    /// Replicas that were never started.
    #[must_use]
    pub fn new(setting: Setting) -> Self {
        let seats = (0..NODES).map(Seat::new).collect();
        Cluster { setting, seats, lines: Lines::new(), laws: Laws::default(), unknown: Vec::new() }
    }
}

impl World {
    /// The replica of a node; `None` in a world without any.
    pub fn seat(&mut self, number: usize) -> Option<&mut Seat> {
        self.cluster.as_mut().map(|cluster| &mut cluster.seats[number])
    }

    /// The processes begin to count time. To be called before any of them is started.
    pub fn begin_processes(&mut self, rng: &mut Rng) {
        let Some(cluster) = &self.cluster else { return };
        let timing = cluster.setting.timing.clone();
        runtime::begin(self.nodes.iter().map(|node| (node.clock, rng.fork())));
        for node in 0..NODES {
            runtime::set_beat(node, setting::beat(&timing), setting::phase(&timing, node));
        }
    }

    /// The rows that a node finds in its files when it starts.
    pub fn rows_in_files(&mut self, number: usize) -> Option<(Rows, u64)> {
        self.seat(number).map(|seat| (seat.flushed.0.clone(), seat.flushed.1.index()))
    }

    /// Starts the replica of a node whose process has begun.
    pub fn start_replica(&mut self, number: usize) {
        let life = self.nodes[number].boot;
        let now = self.now();
        let members: Vec<u64> = (0..NODES).map(|node| replica_id(node, 1)).collect();
        let every = self.nodes[number].clock;
        let Some(cluster) = &mut self.cluster else { return };
        let setting = &cluster.setting;
        let keep_every = every.lasts(setting.keep_every);
        let seat = &mut cluster.seats[number];
        let mark = seat.flushed.1.clone();
        let (proposals, inbox) = mpsc::unbounded_channel();
        seat.port = Port::new(life, mark.clone());
        seat.proposals = proposals;
        seat.checkpoints = [(mark.index(), now)].into();
        if mark.index() > lock(&seat.disk).live().last().map_or(0, |id| id.index) {
            self.coverage.rows_ahead_of_log += 1;
        }
        let (runs, starting) = oneshot::channel();
        seat.starting = Some(starting);
        let start = Start {
            id: seat.id,
            port: seat.port.clone(),
            log: Log::new(seat.disk.clone(), seat.port.clone()),
            config: setting.config.clone(),
            probation: setting.timing.lease(),
            founds: (number == 0).then_some(members),
            runs,
            proposals: inbox,
        };
        runtime::advance(now);
        runtime::within(number, || Runtime::spawn(live(start)));
        self.at_node(now + keep_every, number, NodeEvent::Raft(Happening::LookAfterLog));
    }

    /// The process of a node is gone, and its replica with it.
    pub fn kill_replica(&mut self, number: usize, power_lost: bool) {
        self.forget_proposals(number);
        runtime::kill(number);
        let Some(cluster) = &mut self.cluster else { return };
        let seat = &mut cluster.seats[number];
        let crashed = lock(&seat.disk).crash(&mut self.fate, power_lost);
        self.coverage.unsynced_lost += crashed.lost;
        self.coverage.torn_tails += u64::from(crashed.torn);
        let (proposals, _) = mpsc::unbounded_channel();
        *seat = Seat {
            disk: seat.disk.clone(),
            flushed: seat.flushed.clone(),
            proposals,
            proposals_made: seat.proposals_made,
            barriers: seat.barriers,
            ..Seat::new(number)
        };
        self.break_lines_of(number);
    }

    /// Lets the tasks of all nodes do what they can do now.
    pub fn settle(&mut self) {
        if self.cluster.is_none() {
            return;
        }
        let now = self.now();
        runtime::advance(now);
        for node in 0..NODES {
            runtime::stop(node, self.nodes[node].paused_until > now);
        }
        let mut polls = 0;
        loop {
            let polled = runtime::poll_one();
            if let Some((node, task)) = polled {
                polls += 1;
                assert!(polls < 1_000_000, "the tasks of node {node} do not come to rest");
                self.trace.add(12 | (node as u64) << 8 | task << 16);
            }
            self.coverage.polls += u64::from(polled.is_some());
            let mut answered = false;
            for node in 0..NODES {
                while let Some(ask) = self.seat(node).and_then(|seat| seat.port.next()) {
                    answered = true;
                    self.asked(node, ask);
                }
            }
            for alarm in runtime::alarms() {
                self.at_node(alarm.at, alarm.node, NodeEvent::Raft(Happening::Timer(alarm.timer)));
            }
            if polled.is_none() && !answered {
                return;
            }
        }
    }

    /// Something happens to a replica.
    pub fn happens(&mut self, number: usize, what: Happening) {
        match what {
            Happening::Timer(timer) => runtime::ring(number, timer),
            Happening::Synced => self.disk_synced(number),
            Happening::Apply => self.apply_job(number),
            Happening::Checkpointed => self.checkpointed(number),
            Happening::Install => self.install_snapshot(number),
            Happening::LookAfterLog => self.look_after_log(number),
            Happening::WaitToLead(term) => self.wait_to_lead(number, term),
            Happening::GoOn => {}
        }
    }

    fn asked(&mut self, number: usize, ask: Ask) {
        let now = self.now();
        match ask {
            Ask::Write => self.write_disk(number),
            Ask::Apply(job) => {
                let longest = self.cluster.as_ref().map_or(0, |cluster| cluster.setting.apply);
                let at = now + self.rng.below(longest);
                if let Some(seat) = self.seat(number) {
                    seat.jobs.push_back(job);
                }
                self.at_node(at, number, NodeEvent::Raft(Happening::Apply));
            }
            Ask::Checkpoint(done) => {
                let rows: Rows = Arc::new(self.nodes[number].store.clone());
                let at = now + self.rng.below(20_000);
                if let Some(seat) = self.seat(number) {
                    let mark = seat.port.mark();
                    seat.checkpointing.push_back((done, rows, mark));
                }
                self.at_node(at, number, NodeEvent::Raft(Happening::Checkpointed));
            }
            Ask::Travel(done) => {
                let rows: Rows = Arc::new(self.nodes[number].store.clone());
                if let Some(seat) = self.seat(number) {
                    // Whoever asked may have been told to stop.
                    let _ = done.send((rows, seat.port.mark()));
                }
            }
            Ask::Install(job) => {
                let longest = self.cluster.as_ref().map_or(0, |cluster| cluster.setting.snapshot);
                let at = now + self.rng.below(longest);
                if let Some(seat) = self.seat(number) {
                    seat.installs.push_back(job);
                }
                self.at_node(at, number, NodeEvent::Raft(Happening::Install));
            }
            Ask::Send(lane, frame) => self.send_frame(number, lane, frame),
            Ask::Started => {
                let Some(seat) = self.seat(number) else { return };
                if let Some((raft, votes_from)) = seat.starting.take().and_then(|mut runs| runs.try_recv().ok()) {
                    seat.raft = Some(raft);
                    seat.votes_from = Some(votes_from);
                }
            }
            Ask::Ended(reason) => self.broke(format!("the core of node {number} ended: {reason}")),
            Ask::Leads(now) => {
                let id = replica_id(number, 1);
                let broken =
                    self.cluster.as_mut().filter(|_| now.we_lead).map(|cluster| cluster.laws.leads(now.term, id));
                self.law(broken);
                if now.we_lead && self.nodes[number].member.leads.is_none() {
                    self.judge_lease(number);
                }
                self.led_by(number, now);
            }
            Ask::Decided(proposal, outcome) => self.proposal_decided(number, proposal, outcome),
            Ask::Barrier(barrier, outcome) => self.confirmed_by_majority(number, barrier, outcome),
            Ask::Voted(term, candidate) => {
                let id = replica_id(number, 1);
                let broken = self.cluster.as_mut().map(|cluster| cluster.laws.votes(id, term, candidate));
                self.law(broken);
                self.voted(number, candidate);
            }
            Ask::Met(met) => self.count(met),
            Ask::Broke(what) => self.broke(format!("node {number}: {what}")),
        }
    }

    fn law(&mut self, judged: Option<Result<(), String>>) {
        if let Some(Err(what)) = judged {
            self.broke(what);
        }
    }

    fn count(&mut self, met: Met) {
        let coverage = &mut self.coverage;
        match met {
            Met::TooEarly => coverage.votes_too_early += 1,
            Met::Truncated(entries) => coverage.truncated += entries,
            Met::PreVote => coverage.pre_votes += 1,
            Met::NeedlessSnapshot => coverage.needless_snapshots += 1,
            Met::BrokenTransfer => coverage.transfers_broken += 1,
            Met::BarrierFailed => coverage.barriers_failed += 1,
            Met::BarrierRepeated => coverage.barriers_repeated += 1,
            Met::NoQuorum => {}
        }
    }

    fn write_disk(&mut self, number: usize) {
        let at = self.now() + self.swarm.sync + self.slow[number];
        let jitter = self.swarm.sync_jitter;
        let begins = self.seat(number).is_some_and(|seat| lock(&seat.disk).write());
        if begins {
            let at = at + self.rng.below(jitter + 1);
            self.at_node(at, number, NodeEvent::Raft(Happening::Synced));
        }
    }

    fn disk_synced(&mut self, number: usize) {
        let told = self.seat(number).map(|seat| lock(&seat.disk).synced()).unwrap_or_default();
        for waiting in told {
            match waiting {
                Waiting::Entries(done) => done.io_completed(Ok(())),
                // A core that is gone does not wait.
                Waiting::Vote(done) => drop(done.send(())),
            }
        }
        self.write_disk(number);
    }

    /// A frame for a replica whose process runs.
    pub fn deliver(&mut self, number: usize, lane: Lane, frame: Frame) {
        let Some(seat) = self.seat(number) else { return };
        if frame.body.is_answer() {
            return seat.port.answered(frame.number, frame.body);
        }
        let served = match (&seat.raft, seat.votes_from) {
            (Some(raft), Some(votes_from)) if frame.to == seat.id => {
                Served { raft: raft.clone(), port: seat.port.clone(), votes_from }
            }
            _ => {
                let refusal = frame.answer(super::frame::Body::Refusal("no replica serves here".into()));
                return self.send_frame(number, lane, refusal);
            }
        };
        let key = (frame.from, frame.session);
        if lane != Lane::Log {
            let body = frame.body.clone();
            runtime::within(number, || {
                Runtime::spawn(async move {
                    let port = served.port.clone();
                    let body = served.handle(body).await;
                    port.ask(Ask::Send(lane, frame.answer(body)));
                })
            });
        } else if matches!(frame.body, super::frame::Body::End) {
            seat.sessions.remove(&key);
        } else {
            let session = seat.sessions.entry(key).or_insert_with(|| runtime::within(number, || served.session()));
            if let Err(late) = session.send(frame) {
                seat.sessions.remove(&key);
                let refusal = late.0.answer(super::frame::Body::Refusal("the session is over".into()));
                self.send_frame(number, lane, refusal);
            }
        }
    }

    fn apply_job(&mut self, number: usize) {
        let Some(job) = self.seat(number).and_then(|seat| seat.jobs.pop_front()) else { return };
        let ApplyJob { entries, done } = job;
        let mut mark = self.seat(number).map(|seat| seat.port.mark()).unwrap_or_default();
        let mut batch = Vec::new();
        let mut responders: Vec<(u64, Option<ApplyResponder<TypeConfig>>)> = Vec::new();
        for (entry, responder) in entries {
            self.judge_entry(number, &entry, &mark);
            mark.applied = Some(entry.log_id);
            let (index, term) = (entry.log_id.index, entry.log_id.leader_id.term);
            responders.push((index, responder));
            match entry.payload {
                EntryPayload::Normal(payload) => batch.push((index, term, Some(payload.0))),
                EntryPayload::Blank => batch.push((index, term, None)),
                EntryPayload::Membership(members) => {
                    mark.membership = StoredMembership::new(Some(entry.log_id), members);
                    batch.push((index, term, None));
                }
            }
        }
        // Entries may share a write; what they come to may not depend on that.
        let size = if self.rng.coin() { batch.len().max(1) } else { 1 };
        for part in batch.chunks(size) {
            if let Err(reason) = self.apply_part(number, part) {
                self.nodes[number].halted = Some(reason.clone());
                self.broke(format!("node {number} halted: {reason}"));
                return self.end_term(number);
            }
        }
        self.nodes[number].applied = mark.index();
        let flush = self.cluster.as_ref().map_or(0, |cluster| cluster.setting.flush_ppm);
        // A follower may apply what its own disk does not have yet; rows that are further than the log are the rarer state.
        let ahead = self.seat(number).is_some_and(|seat| mark.applied > lock(&seat.disk).durable().last());
        let flush = self.rng.chance(if ahead { flush.saturating_mul(20) } else { flush });
        let rows: Option<Rows> = flush.then(|| Arc::new(self.nodes[number].store.clone()));
        let Some(seat) = self.seat(number) else { return };
        seat.port.set_mark(mark.clone());
        if let Some(rows) = rows {
            seat.flushed = (rows, mark);
        }
        let mut replies = std::mem::take(&mut seat.replies);
        for (index, responder) in responders {
            if let Some(responder) = responder {
                responder.send(Answers(replies.remove(&index)));
            }
        }
        // A core that is gone does not wait.
        let _ = done.send(());
        self.count_slots(number);
        self.propose_soon(number);
    }

    /// Looks whether a replica may apply an entry: nobody has applied another one there, and a majority of those whose log
    /// it is has it on disk.
    fn judge_entry(&mut self, number: usize, entry: &super::types::Entry, mark: &Mark) {
        let id = replica_id(number, 1);
        let Some(cluster) = &mut self.cluster else { return };
        let judged = match cluster.laws.applies(id, entry) {
            Err(what) => Err(what),
            Ok(false) => Ok(()),
            Ok(true) => {
                let has = |replica: &u64| {
                    let seat = &cluster.seats[node_of(*replica)];
                    seat.id == *replica
                        && (lock(&seat.disk).durable().holds(entry.log_id)
                            || seat.flushed.1.index() >= entry.log_id.index)
                };
                let config = mark.membership.membership().get_joint_config();
                let lacking =
                    config.iter().find(|voters| voters.iter().filter(|id| has(id)).count() * 2 <= voters.len());
                lacking.map_or(Ok(()), |voters| {
                    Err(format!("{id:#x} applies {}, which no majority of {voters:x?} has on disk", entry.log_id))
                })
            }
        };
        self.law(Some(judged));
    }

    fn checkpointed(&mut self, number: usize) {
        let now = self.now();
        let Some(seat) = self.seat(number) else { return };
        let Some((done, rows, mark)) = seat.checkpointing.pop_front() else { return };
        if mark.index() >= seat.flushed.1.index() {
            seat.flushed = (rows, mark.clone());
        }
        seat.port.set_durable(mark.clone());
        seat.checkpoints.push_back((mark.index(), now));
        // A core that is gone does not wait.
        let _ = done.send(mark);
        self.coverage.checkpoints += 1;
    }

    fn install_snapshot(&mut self, number: usize) {
        let now = self.now();
        let Some(InstallJob { meta, rows, done }) = self.seat(number).and_then(|seat| seat.installs.pop_front()) else {
            return;
        };
        let mark = Mark { applied: meta.last_log_id, membership: meta.last_membership };
        let term = mark.applied.map_or(0, |id| id.leader_id.term);
        self.install(number, (mark.index(), term), rows);
        let kept: Rows = Arc::new(self.nodes[number].store.clone());
        let Some(seat) = self.seat(number) else { return };
        seat.flushed = (kept, mark.clone());
        seat.port.set_mark(mark.clone());
        seat.port.set_durable(mark.clone());
        seat.checkpoints.push_back((mark.index(), now));
        // A core that is gone does not wait.
        let _ = done.send(());
    }
}
