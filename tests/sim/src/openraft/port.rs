//! What a replica's tasks and the world around them tell each other.
//!
//! Tasks cannot touch the world that polls them. They leave what they ask for in the port of their process and wait for
//! the answer; the world looks into the port after every poll. A port lives as long as its process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use openraft::RaftMetrics;
use openraft::storage::EntryResponder;
use scheduler::memory::MemoryStore;
use tokio::sync::oneshot;

use super::cluster::leads;
use super::frame::{Body, Frame, Lane};
use super::runtime::Instant;
use super::types::{Mark, SnapshotMeta, TypeConfig};

/// Rows on their way or in a checkpoint.
pub type Rows = Arc<MemoryStore>;

/// Entries to be applied in order, and who waits for it.
pub struct ApplyJob {
    /// With whom to tell what each came to.
    pub entries: Vec<EntryResponder<TypeConfig>>,
    /// Told when the rows are written.
    pub done: oneshot::Sender<()>,
}

/// A snapshot to be taken over.
pub struct InstallJob {
    /// What was announced.
    pub meta: SnapshotMeta,
    /// What came.
    pub rows: Rows,
    /// Told when they are the rows.
    pub done: oneshot::Sender<()>,
}

/// What a proposal came to.
#[derive(Debug)]
pub enum Outcome {
    /// It was applied here as this entry.
    Applied(u64, super::types::Answers),
    /// It never entered the log: another node leads, if it is known which.
    NotLeader(Option<u64>),
    /// It never entered the log: no majority has answered this leader of late.
    NoQuorum,
    /// Nobody knows.
    Unknown,
}

/// What became of a read barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barrier {
    /// Everything up to this entry is applied, and this node led after the question.
    Passed(u64),
    /// Another node leads, if it is known which.
    NotLeader(Option<u64>),
    /// No majority answered in time.
    NoQuorum,
}

/// Who leads, as a replica knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The newest term it has seen.
    pub term: u64,
    /// The leader in that term.
    pub leader: Option<u64>,
    /// It is this replica, and a majority elected it.
    pub we_lead: bool,
}

/// What tasks ask for, or tell.
pub enum Ask {
    /// The log has something to write.
    Write,
    /// Entries are to be applied.
    Apply(ApplyJob),
    /// The rows are to be brought into files.
    Checkpoint(oneshot::Sender<Mark>),
    /// The rows as they are now are to travel.
    Travel(oneshot::Sender<(Rows, Mark)>),
    /// The rows are to be replaced.
    Install(InstallJob),
    /// A frame is to be sent.
    Send(Lane, Frame),
    /// The replica runs, and is to be had where [`Start`](super::replica::Start) says.
    Started,
    /// It cannot run, or runs no more.
    Ended(String),
    /// Somebody else leads than before.
    Leads(Leadership),
    /// A proposal with this number was decided.
    Decided(u64, Outcome),
    /// The read barrier with this number is over.
    Barrier(u64, Barrier),
    /// It voted, or asked for votes as itself: term and candidate.
    Voted(u64, u64),
    /// Something that is counted.
    Met(Met),
    /// A rule of Raft was broken.
    Broke(String),
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Met {
    /// A candidate was refused because the replica had only just started.
    TooEarly,
    /// Entries that were cut off because another leader has others there.
    Truncated(u64),
    /// A question whether one would be elected.
    PreVote,
    /// A snapshot that a replica did not need.
    NeedlessSnapshot,
    /// A transfer of a snapshot that did not arrive.
    BrokenTransfer,
    /// A read barrier that did not pass.
    BarrierFailed,
    /// openraft let a read barrier pass, and no answer to what was sent since had arrived.
    BarrierRepeated,
    /// A proposal that the leader refused for want of a majority.
    NoQuorum,
}

/// A request on its way: to which node, how, and who waits for the answer.
type Asked = (usize, Lane, oneshot::Sender<Result<Body, String>>);

#[derive(Default)]
struct Inner {
    asks: VecDeque<Ask>,
    asked: u64,
    waiting: BTreeMap<u64, Asked>,
    /// How often the connection to a node broke.
    breaks: BTreeMap<(usize, Lane), u64>,
    /// In the newest term in which anybody answered: when what each replica answered last was sent.
    acked: (u64, BTreeMap<u64, Instant>),
    mark: Mark,
    durable: Mark,
    holds: BTreeMap<u64, (u64, Option<Instant>)>,
    installing: bool,
}

/// See the module. Cheap to clone.
#[derive(Clone, Default)]
pub struct Port(Arc<Mutex<Inner>>);

/// Keeps the log from being cut above an index while a snapshot travels, and a little longer.
pub struct Hold {
    number: u64,
    port: Port,
}

/// The log is still held this long after a snapshot was sent: until the leader has learnt how far the receiver is.
const HOLD_AFTER: Duration = Duration::from_secs(10);

impl Drop for Hold {
    fn drop(&mut self) {
        let until = <Instant as openraft_rt::Instant>::now() + HOLD_AFTER;
        if let Some(hold) = self.port.lock().holds.get_mut(&self.number) {
            hold.1 = Some(until);
        }
    }
}

/// A snapshot is being received.
pub struct Turn(Port);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.lock().installing = false;
    }
}

impl Port {
    /// Of a process, in this life of its node, that begins with rows this far, all of them in files.
    #[must_use]
    pub fn new(life: u32, mark: Mark) -> Self {
        // An answer to an earlier life must not be taken for one to this.
        let inner = Inner { asked: u64::from(life) << 32, mark: mark.clone(), durable: mark, ..Inner::default() };
        Port(Arc::new(Mutex::new(inner)))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a request.
    pub fn ask(&self, ask: Ask) {
        self.lock().asks.push_back(ask);
    }

    /// Leaves a request and waits for its answer; `None` when the world has none.
    pub async fn wait<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.ask(ask(answer));
        answered.await.ok()
    }

    /// The oldest request that was not looked at.
    pub fn next(&self) -> Option<Ask> {
        self.lock().asks.pop_front()
    }

    /// Sends a request to another node; its answer arrives in the receiver, or why there is none.
    pub fn converse(&self, lane: Lane, to: usize, mut frame: Frame) -> oneshot::Receiver<Result<Body, String>> {
        let (answer, answered) = oneshot::channel();
        let mut inner = self.lock();
        inner.asked += 1;
        frame.number = inner.asked;
        inner.waiting.insert(frame.number, (to, lane, answer));
        inner.asks.push_back(Ask::Send(lane, frame));
        answered
    }

    /// An answer came.
    pub fn answered(&self, number: u64, body: Body) {
        let waiting = self.lock().waiting.remove(&number);
        if let Some((_, _, answer)) = waiting {
            // Who asked may have lost patience.
            let _ = answer.send(Ok(body));
        }
    }

    /// The connection to a node broke: nobody gets an answer over it.
    pub fn broken(&self, to: usize, lane: Lane) {
        let mut inner = self.lock();
        *inner.breaks.entry((to, lane)).or_default() += 1;
        let gone: Vec<u64> = inner
            .waiting
            .iter()
            .filter(|(_, (at, on, _))| (*at, *on) == (to, lane))
            .map(|(number, _)| *number)
            .collect();
        let gone: Vec<_> = gone.into_iter().filter_map(|number| inner.waiting.remove(&number)).collect();
        drop(inner);
        for (_, _, answer) in gone {
            let _ = answer.send(Err("the connection broke".into()));
        }
    }

    /// A number for a session.
    #[must_use]
    pub fn session(&self) -> u64 {
        let mut inner = self.lock();
        inner.asked += 1;
        inner.asked
    }

    /// Tells the present connection to a node from earlier ones.
    #[must_use]
    pub fn connection(&self, to: usize, lane: Lane) -> u64 {
        self.lock().breaks.get(&(to, lane)).copied().unwrap_or(0)
    }

    /// A replica took this node for the leader in a term, in answer to what was sent at that moment.
    pub fn acknowledged(&self, replica: u64, term: u64, sent: Instant) {
        let mut inner = self.lock();
        if term > inner.acked.0 {
            inner.acked = (term, BTreeMap::new());
        }
        if term == inner.acked.0 {
            let newest = inner.acked.1.entry(replica).or_insert(sent);
            *newest = sent.max(*newest);
        }
    }

    /// Since when, for certain, a majority takes the replica with these figures for the leader of its term; itself does now.
    #[must_use]
    pub fn quorum_of(&self, figures: &RaftMetrics<TypeConfig>, now: Instant) -> Option<Instant> {
        if !leads(figures) {
            return None;
        }
        let config = figures.membership_config.membership().get_joint_config();
        let voters = config.iter().map(|voters| voters.iter().copied().collect::<Vec<u64>>());
        voters.map(|voters| self.quorum_at(figures.id, &voters, figures.vote.leader_id.term, now)).min().flatten()
    }

    fn quorum_at(&self, me: u64, voters: &[u64], term: u64, now: Instant) -> Option<Instant> {
        let inner = self.lock();
        let acked = |voter: &u64| if *voter == me { Some(now) } else { inner.acked.1.get(voter).copied() };
        let mut at: Vec<Option<Instant>> = voters.iter().map(acked).collect();
        at.sort_unstable();
        let weakest = voters.len().checked_sub(voters.len() / 2 + 1)?;
        at[weakest].filter(|_| inner.acked.0 == term || voters == [me])
    }

    /// How far the rows are.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.lock().mark.clone()
    }

    /// The rows are this far now.
    pub fn set_mark(&self, mark: Mark) {
        self.lock().mark = mark;
    }

    /// How far the newest checkpoint is.
    #[must_use]
    pub fn durable(&self) -> Mark {
        self.lock().durable.clone()
    }

    /// A checkpoint was completed; what is durable never steps back.
    pub fn set_durable(&self, mark: Mark) {
        let mut inner = self.lock();
        if mark.index() >= inner.durable.index() {
            inner.durable = mark;
        }
    }

    /// Keeps what is above an index in the log.
    #[must_use]
    pub fn hold(&self, index: u64) -> Hold {
        let mut inner = self.lock();
        inner.asked += 1;
        let number = inner.asked;
        inner.holds.insert(number, (index, None));
        Hold { number, port: self.clone() }
    }

    /// The lowest index held now.
    #[must_use]
    pub fn held(&self, now: Instant) -> Option<u64> {
        let mut inner = self.lock();
        inner.holds.retain(|_, (_, until)| until.is_none_or(|until| until > now));
        inner.holds.values().map(|(index, _)| *index).min()
    }

    /// One snapshot is received at a time.
    #[must_use]
    pub fn take_turn(&self) -> Option<Turn> {
        let busy = std::mem::replace(&mut self.lock().installing, true);
        (!busy).then(|| Turn(self.clone()))
    }
}

/// A proposal on its way to the replica: number, term, entry.
pub type Proposal = (u64, u64, Bytes);
