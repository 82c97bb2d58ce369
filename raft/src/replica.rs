//! One replica of a group from its start to its stop: core, apply thread and rows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use openraft::raft::{VoteRequest, VoteResponse};
use openraft::storage::{RaftLogReader, RaftLogStorage};
use openraft::{Config as RaftConfig, Raft, RaftMetrics};
use openraft_rt::WatchReceiver;
use tokio::sync::watch;

use crate::acks::Acks;
use crate::adapter::{Adapter, FilterSlot, Rows};
use crate::apply::{Applier, Failure, Machine};
use crate::barrier::Barrier;
use crate::error::Error;
use crate::log::Log;
use crate::machine::Halt;
use crate::net::client::Network;
use crate::progress::{Progress, lock};
use crate::rhythm::Rhythm;
use crate::store::{Current, Place, Shared, Store};
use crate::types::{LogId, TypeConfig, Vote};

/// Partitions that a number of a log group has room for, and so the most there can be.
pub(crate) const PARTITIONS_MAX: u32 = 1024;

/// The group in the shared log that belongs to one replica: replicas that followed each other in one place never share one.
pub(crate) fn log_group(partition: u32, incarnation: u32) -> u32 {
    debug_assert!(partition < PARTITIONS_MAX);
    partition | incarnation << 10
}

/// How a replica starts.
pub(crate) struct Start<'a> {
    pub(crate) partition: u32,
    pub(crate) machine: Box<dyn Machine>,
    pub(crate) raft_config: Arc<RaftConfig>,
    pub(crate) network: Network,
    pub(crate) log: &'a Log,
    pub(crate) applied: watch::Sender<u64>,
    /// Until when a replica that may have promised something before grants no vote.
    pub(crate) votes_from: Instant,
    pub(crate) rhythm: Rhythm,
}

/// See the module.
pub(crate) struct Replica {
    pub(crate) id: u64,
    pub(crate) raft: Raft<TypeConfig, Adapter>,
    pub(crate) rows: Arc<Rows>,
    pub(crate) barrier: Barrier,
    pub(crate) acks: Arc<Acks>,
    apply_thread: Mutex<Option<JoinHandle<()>>>,
    votes_from: Instant,
    willing: AtomicBool,
}

/// Opens the rows of a replica; blocks.
pub(crate) fn open_rows(
    partition: u32,
    place: Place,
    current: Current,
    shared: &Shared,
    machine: &dyn Machine,
) -> Result<Arc<Rows>, Error> {
    let filter = FilterSlot::default();
    filter.set(machine.compaction_filter());
    let store = Store::open(&place.rows(&current), shared, filter.get())?;
    // Whatever a store that was just opened shows comes from its files: without a log of its own it has nothing else.
    let progress = Arc::new(Progress::opened(store.mark()?));
    let shared = shared.clone();
    Ok(Arc::new(Rows::new(partition, place, current, store, shared, filter, progress)))
}

impl Replica {
    /// Starts the replica on its rows.
    pub(crate) async fn start(rows: Arc<Rows>, start: Start<'_>) -> Result<Replica, Error> {
        rows.filter.set(start.machine.compaction_filter());
        let store = rows.slot.get();
        let (applier, thread) =
            Applier::spawn(start.partition, start.machine, store.clone(), rows.progress.clone(), start.applied)
                .map_err(|e| Error::io("start an apply thread", e))?;
        applier.restored(store).await.map_err(|failure| {
            rows.progress.fail(&failure);
            Error::from(failure)
        })?;
        applier.publish(rows.slot.get().mark()?.applied.map_or(0, |id| id.index));
        let current = lock(&rows.current).clone();
        let mut log = start.log.group(log_group(start.partition, current.incarnation));
        let promised = {
            let vote = log.get_log_reader().await.read_vote().await;
            vote.map_err(|e| Error::io("read the vote", e))?.is_some()
        };
        let state = log.get_log_state().await.map_err(|e| Error::io("read the log", e))?;
        let applied = rows.slot.get().mark()?.applied;
        if let Some(halt) = out_of_reach(applied, state.last_purged_log_id) {
            rows.progress.fail(&Failure::Halt(halt.clone()));
            return Err(Error::Halt(halt));
        }
        let adapter = Adapter::new(rows.clone(), applier);
        let acks = start.network.acks.clone();
        let raft =
            Raft::build(current.replica, start.raft_config, start.network, log, adapter).await.map_err(|fatal| {
                match rows.progress.failure() {
                    Some(failure) => Error::from(failure.clone()),
                    None => Error::Raft(fatal.to_string()),
                }
            })?;
        let alone = rows.progress.durable_mark().membership.voter_ids().eq([current.replica]);
        let votes_from = if promised && !alone { start.votes_from } else { Instant::now() };
        if votes_from > Instant::now() {
            // Its own vote is a vote too.
            raft.runtime_config().elect(false);
        }
        start.rhythm.within(|| raft.run());
        let replica = Replica {
            id: current.replica,
            raft,
            rows,
            barrier: Barrier::default(),
            acks,
            apply_thread: Mutex::new(Some(thread)),
            votes_from,
            willing: AtomicBool::new(true),
        };
        Ok(replica)
    }

    /// Whether the replica may become leader by itself; a node that is being drained does not want to.
    pub(crate) fn stand_for_election(&self, willing: bool) {
        self.willing.store(willing, Ordering::Relaxed);
        self.raft.runtime_config().elect(self.may_be_elected());
    }

    /// Whether the replica would lead now.
    pub(crate) fn may_be_elected(&self) -> bool {
        self.willing.load(Ordering::Relaxed) && Instant::now() >= self.votes_from
    }

    /// Returns when the promises of an earlier life are over, and the replica stands for election again.
    pub(crate) async fn serve_probation(&self) {
        if self.votes_from > Instant::now() {
            tokio::time::sleep_until(self.votes_from.into()).await;
            self.raft.runtime_config().elect(self.may_be_elected());
        }
    }

    /// Stops the core and waits until the last apply is done.
    pub(crate) async fn stop(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(partition = self.rows.partition, %error, "the core ended badly");
        }
        let thread = lock(&self.apply_thread).take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join());
            // The thread ends when openraft's worker lets go of it, which follows the core's end.
            if tokio::time::timeout(Duration::from_secs(30), joined).await.is_err() {
                tracing::error!(partition = self.rows.partition, "an apply does not end");
            }
        }
    }

    /// openraft's figures, cloned at once: a reader that lingers would hold up the core.
    pub(crate) fn figures(&self) -> RaftMetrics<TypeConfig> {
        self.raft.metrics().borrow_watched().clone()
    }

    /// The vote in force.
    pub(crate) fn current_vote(&self) -> Vote {
        self.raft.server_metrics().borrow_watched().vote
    }

    /// Whether everything up to `last` is on disk here under this leader's vote.
    ///
    /// A leader that gets no answers in time takes a follower for one that lags and sends it a snapshot of what it has. Installing those
    /// one after the other is what kills the core in openraft's issue 2116.
    pub(crate) fn holds(&self, vote: &Vote, last: &LogId) -> bool {
        let Some(flushed) = self.raft.watch_log_progress().get() else {
            return false;
        };
        // Of one leader's entries, whoever has a later one has the earlier ones too.
        flushed.vote == *vote
            && flushed.last_log_id.is_some_and(|id| id.leader_id == last.leader_id && id.index >= last.index)
    }

    /// A leader may rely on its lease for as long as a majority keeps it, and a replica that restarts has forgotten to whom it gave one.
    /// So it votes for nobody until any such lease is over, except where the leader itself asks for it.
    fn too_early(&self, request: &VoteRequest<TypeConfig>) -> Option<VoteResponse<TypeConfig>> {
        if request.leadership_transfer || Instant::now() >= self.votes_from {
            return None;
        }
        let last = self.raft.data_metrics().borrow_watched().last_log;
        Some(VoteResponse::new(self.current_vote(), last, false))
    }

    /// Answers a candidate.
    pub(crate) async fn vote(&self, request: VoteRequest<TypeConfig>) -> Result<VoteResponse<TypeConfig>, String> {
        match self.too_early(&request) {
            Some(refused) => Ok(refused),
            None => self.raft.vote(request).await.map_err(|e| e.to_string()),
        }
    }

    /// Answers who would like to be a candidate.
    pub(crate) async fn pre_vote(&self, request: VoteRequest<TypeConfig>) -> Result<VoteResponse<TypeConfig>, String> {
        match self.too_early(&request) {
            Some(refused) => Ok(refused),
            None => self.raft.pre_vote(request).await.map_err(|e| e.to_string()),
        }
    }
}

/// Rows are brought forward by the log, which keeps what they lack: it is purged only below what is in files. When it does not, files of the
/// rows were lost or exchanged, and the replica would answer from the past.
fn out_of_reach(applied: Option<LogId>, purged: Option<LogId>) -> Option<Halt> {
    let (applied, purged) = (applied.map_or(0, |id| id.index), purged?.index);
    (applied < purged).then(|| Halt {
        index: purged,
        reason: format!("the rows are as of entry {applied}, and the log begins behind entry {purged}"),
    })
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Halt(halt) => Error::Halt(halt),
            Failure::Store(error) => Error::Store(error),
        }
    }
}
