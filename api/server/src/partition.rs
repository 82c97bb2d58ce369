//! One partition on this node: its group, its queue, what it applied, and its terms of leadership.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proto::v1;
use scheduler::forecast::{Grid, Part};
use scheduler::lane::{LaneId, Position, TopicId};
use scheduler::read::{self, TriggerView};
use scheduler::record::Topic;
use scheduler::reply::Outcome;
use scheduler::store::Read;
use scheduler::time::Timestamp;
use tokio::sync::{oneshot, watch};

use crate::canary::{self, Canary};
use crate::clock::Clock;
use crate::config::Config;
use crate::convert;
use crate::disk::DiskGuard;
use crate::dispatch;
use crate::error::Error;
use crate::feed::Feed;
use crate::internal;
use crate::late::LateTriggers;
use crate::leader_clock::LeaderClock;
use crate::levels::CommonLevel;
use crate::machine::{Adapter, SnapshotRows};
use crate::proposer::{Proposer, Term};
use crate::time_rules::Sample;

/// How long sessions of a lost term wait to be told who leads.
const LEADER_KNOWN_WITHIN: Duration = Duration::from_millis(500);

/// How long a leader that cannot go on waits for its term to end before it tries again to end it.
const TERM_ENDS_WITHIN: Duration = Duration::from_secs(1);

/// How long a term waits at its start for clocks that agree.
const AGREE_WITHIN: Duration = Duration::from_secs(1);

/// One partition on this node; cheap to clone.
#[derive(Clone)]
pub struct Partition(Arc<Shared>);

struct Shared {
    node: u64,
    number: u32,
    group: raft::Group<Adapter>,
    feed: Arc<Feed>,
    proposer: Proposer,
    clock: Clock,
    /// Who leads, as far as the queue has been told: a leader is one only once it takes commands.
    leadership: watch::Sender<raft::Leadership>,
    /// Present while this node leads and is ready.
    dispatcher: watch::Sender<Option<dispatch::Handle>>,
    leader_clock: Mutex<Option<Arc<LeaderClock>>>,
    canary: Canary,
    /// Partitions of the cluster.
    partitions: u32,
    late_bound: Duration,
    late: LateTriggers,
    /// The newest reading of each other node's clock.
    samples: Mutex<BTreeMap<u64, Sample>>,
    /// The feature level all members know, as far as they have said.
    common_level: CommonLevel,
}

impl Partition {
    /// Of this group on this node, which tells what it applied to `feed` and what was late to `late`.
    pub fn new(
        node: u64,
        group: raft::Group<Adapter>,
        feed: Arc<Feed>,
        config: &Config,
        disk: DiskGuard,
        late: LateTriggers,
        clock: Clock,
    ) -> Partition {
        let number = group.partition();
        Partition(Arc::new(Shared {
            node,
            number,
            proposer: Proposer::new(number, config.proposer, disk),
            canary: Canary::new(config.canary_interval, clock.clone()),
            partitions: config.partitions,
            late_bound: config.late_bound,
            late,
            group,
            feed,
            clock,
            leadership: watch::Sender::default(),
            dispatcher: watch::Sender::new(None),
            leader_clock: Mutex::new(None),
            samples: Mutex::default(),
            common_level: CommonLevel::default(),
        }))
    }

    /// Its number.
    pub fn number(&self) -> u32 {
        self.0.number
    }

    /// Its group.
    pub fn group(&self) -> &raft::Group<Adapter> {
        &self.0.group
    }

    /// What it applied.
    pub fn feed(&self) -> &Arc<Feed> {
        &self.0.feed
    }

    /// Its queue.
    pub fn proposer(&self) -> &Proposer {
        &self.0.proposer
    }

    /// Client address of the node that leads, when another one does.
    pub fn leader_endpoint(&self) -> Option<String> {
        self.elsewhere(&self.0.group.leadership().borrow())
    }

    /// Where another node leads. Between standing for election and being elected a node shows itself as the leader, which
    /// is of no use to anybody who looks for one.
    fn elsewhere(&self, leadership: &raft::Leadership) -> Option<String> {
        leadership.leader.as_ref().filter(|leader| leader.node != self.0.node).map(|leader| leader.endpoint.clone())
    }

    /// Whether somebody leads for certain.
    pub fn has_leader(&self) -> bool {
        is_led(self.0.node, &self.0.leadership.borrow())
    }

    /// Waits until the partition is up here and has a leader; false when the node stops before.
    pub async fn led(&self) -> bool {
        let mut leadership = self.0.leadership.subscribe();
        if leadership.wait_for(|now| is_led(self.0.node, now)).await.is_err() {
            return false;
        }
        let mut progress = self.0.feed.progress();
        while self.0.group.store().is_none() {
            if progress.changed().await.is_err() {
                return false;
            }
        }
        true
    }

    /// That this node does not lead, and who does.
    pub fn not_leader(&self) -> Error {
        Error::NotLeader { partition: self.0.number, leader: self.leader_endpoint() }
    }

    /// The dispatcher, while this node leads and is ready.
    pub fn dispatcher(&self) -> Option<dispatch::Handle> {
        self.0.dispatcher.borrow().clone()
    }

    /// Waits for the dispatcher while this node leads.
    ///
    /// # Errors
    ///
    /// This node does not lead.
    pub async fn ready(&self) -> Result<dispatch::Handle, Error> {
        let mut handle = self.0.dispatcher.subscribe();
        let mut leadership = self.0.group.leadership();
        loop {
            if let Some(handle) = handle.borrow_and_update().clone() {
                return Ok(handle);
            }
            if self.elsewhere(&leadership.borrow_and_update()).is_some() {
                return Err(self.not_leader());
            }
            tokio::select! {
                _ = handle.changed() => {}
                _ = leadership.changed() => {}
            }
        }
    }

    /// Why time is held, when it is.
    pub fn clock_hold(&self) -> Option<String> {
        self.leader_clock().and_then(|clock| clock.alarm())
    }

    /// How long ago the newest canary that came through was due, or this node began to look, if that is later. Of a
    /// partition led elsewhere, as its leader told last; `None` where there are none, or nobody tells.
    pub fn canary_age(&self) -> Option<Duration> {
        // Nodes on a virtual clock ask nobody for the time, and with it for canaries.
        let told = !self.0.clock.is_virtual() && self.0.group.store().is_some();
        if told || self.leads() { self.0.canary.age() } else { None }
    }

    /// Its age, when it is so great that triggers may not be firing.
    pub fn canary_overdue(&self) -> Option<Duration> {
        self.canary_age().filter(|age| self.0.canary.age_max().is_some_and(|age_max| *age > age_max))
    }

    /// From what age on a canary is overdue; `None` where there are none.
    pub fn canary_age_max(&self) -> Option<Duration> {
        self.0.canary.age_max()
    }

    /// Another node, which leads, told the age of its canary at this moment of the monotonic clock.
    pub fn told_canary(&self, age: Duration, at: Duration) {
        if !self.leads() {
            self.0.canary.told(age, at);
        }
    }

    /// Whether this node leads it.
    pub fn leads(&self) -> bool {
        self.0.proposer.is_leading()
    }

    /// Accepts this node's clock.
    ///
    /// # Errors
    ///
    /// This node does not lead.
    pub fn accept_clock(&self) -> Result<Timestamp, Error> {
        self.leader_clock().map(|clock| clock.accept()).ok_or_else(|| self.not_leader())
    }

    /// Another node's clock was read; and the voters may have changed.
    pub fn sample(&self, node: u64, sample: Sample) {
        // Kept for the next term too: it begins with a question that the newest samples answer.
        self.samples().insert(node, sample);
        if let Some(clock) = self.leader_clock() {
            clock.set_voters(voters(&self.0.group));
            clock.sample(node, sample);
            clock.now();
            self.0.proposer.set_hold(clock.hold());
        }
    }

    /// All members know this feature level: the leader of that term may write at it.
    pub fn set_common_level(&self, term: u64, level: u32) {
        self.0.common_level.set(term, level);
    }

    /// Reads rows after a barrier, so that everything acknowledged before is seen.
    ///
    /// # Errors
    ///
    /// This node does not lead, or no majority can be reached, or the rows cannot be read.
    pub async fn read<T>(
        &self,
        read: impl FnOnce(&dyn Read) -> Result<T, scheduler::store::StoreError>,
    ) -> Result<T, Error> {
        self.0.group.read_barrier().await.map_err(|error| read_error(self.0.number, error))?;
        self.read_local(read)
    }

    /// Reads rows as applied here, all of them as they were at one moment. Rows that cannot be read halt the replica.
    ///
    /// # Errors
    ///
    /// The partition is not open here, or the rows cannot be read.
    pub fn read_local<T>(
        &self,
        read: impl FnOnce(&dyn Read) -> Result<T, scheduler::store::StoreError>,
    ) -> Result<T, Error> {
        let store = self.0.group.store().ok_or_else(|| self.not_open())?;
        let rows = store.snapshot();
        // Rows may come from disk; meanwhile somebody else runs the tasks of this thread.
        blocking(|| read(&SnapshotRows(&rows))).map_err(|error| {
            // Whoever asks again is to reach a replica whose rows can be read.
            let (group, reason) = (self.0.group.clone(), error.to_string());
            tokio::spawn(async move { group.halt(&reason).await });
            Error::Internal(error.to_string())
        })
    }

    /// Triggers as clients see them, `delivered` with what the dispatcher knows; without one, nothing is handed out.
    pub async fn shown(&self, views: Vec<TriggerView>) -> Vec<v1::Trigger> {
        let may_be_held = |view: &TriggerView| matches!(view.state, Outcome::Fired | Outcome::Retrying);
        let rows: Vec<_> =
            views.iter().filter(|view| may_be_held(view)).map(|view| (view.lane, view.position)).collect();
        let fired: Vec<bool> = views.iter().map(may_be_held).collect();
        let mut held = self.held(rows).await.into_iter();
        let triggers = views.into_iter().map(|view| convert::trigger(self.0.number, view));
        triggers
            .zip(fired)
            .map(|(trigger, fired)| v1::Trigger { delivered: fired && held.next().unwrap_or(false), ..trigger })
            .collect()
    }

    async fn held(&self, rows: Vec<(LaneId, Position)>) -> Vec<bool> {
        let Some(dispatcher) = self.dispatcher().filter(|_| !rows.is_empty()) else { return Vec::new() };
        let (reply, held) = oneshot::channel();
        match dispatcher.tell(self.0.number, dispatch::Event::Holds { rows, reply }).await {
            Ok(()) => held.await.unwrap_or_default(),
            // The term is over: nobody is sure to hold anything.
            Err(_) => Vec::new(),
        }
    }

    /// This partition's share of a forecast, the topics by their numbers here, and the rows it was taken from.
    ///
    /// # Errors
    ///
    /// The partition is not open here.
    pub async fn forecast(
        &self,
        grid: Grid,
        topic: Option<TopicId>,
    ) -> Result<(Part, Arc<Vec<Topic>>, raft::Snapshot), Error> {
        let mut progress = self.0.feed.progress();
        loop {
            progress.mark_unchanged();
            let store = self.0.group.store().ok_or_else(|| self.not_open())?;
            if let Some(found) = self.0.feed.forecast(&store, grid, topic) {
                return Ok(found);
            }
            // Entries are being applied; their publication is close.
            let _ = tokio::time::timeout(Duration::from_millis(50), progress.changed()).await;
        }
    }

    fn not_open(&self) -> Error {
        Error::NoQuorum { partition: self.0.number, reason: "it is not open on this node".into() }
    }

    /// Takes part for as long as the node runs: leads whenever elected.
    pub async fn run(self) {
        let mut leadership = self.0.group.leadership();
        loop {
            let now = leadership.borrow_and_update().clone();
            crate::metrics::leader_changed();
            if now.we_lead {
                tracing::info!(partition = self.0.number, term = now.term, "leads");
                self.0.proposer.lead();
                self.0.leadership.send_replace(now.clone());
                let ended = async {
                    // A change that keeps term and leader is no end of the term.
                    while leadership.changed().await.is_ok() {
                        let new = leadership.borrow_and_update();
                        if !new.we_lead || new.term != now.term {
                            return;
                        }
                    }
                };
                let mut running = None;
                tokio::select! {
                    () = self.lead(now.term, &mut running) => {}
                    () = ended => {}
                }
                self.0.dispatcher.send_replace(None);
                *self.leader_clock_slot() = None;
                self.0.proposer.follow(self.leader_endpoint());
                self.0.leadership.send_replace(raft::Leadership::default());
                if let Some(running) = running {
                    tokio::spawn(self.clone().part(running));
                }
                tracing::info!(partition = self.0.number, term = now.term, "leads no more");
            } else {
                self.0.proposer.follow(self.elsewhere(&now));
                self.0.leadership.send_replace(now);
                if leadership.changed().await.is_err() {
                    return;
                }
            }
        }
    }

    /// Ends the sessions of a term that is over. They are told who leads now, which takes an election to know; until then
    /// they stay open and get nothing, since deliveries need the term.
    async fn part(self, running: dispatch::Running) {
        let mut leadership = self.0.group.leadership();
        let known = leadership.wait_for(|now| is_led(self.0.node, now));
        let _ = tokio::time::timeout(LEADER_KNOWN_WITHIN, known).await;
        running.stop(self.leader_endpoint());
    }

    /// One term, until dropped.
    async fn lead(&self, term: u64, running: &mut Option<dispatch::Running>) {
        // What earlier terms left must be applied first: the first stamp has to be at or after the newest one in the log.
        let first_index = loop {
            match self.0.group.read_barrier().await {
                Ok(index) => break index + 1,
                Err(error) => {
                    tracing::debug!(partition = self.0.number, term, %error, "waits to have applied earlier terms");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        };
        let status = match self.read_local(|rows| read::status(rows)) {
            Ok(status) => status,
            Err(error) => {
                tracing::error!(partition = self.0.number, term, %error, "cannot lead");
                return self.give_up(term).await;
            }
        };
        let voters = voters(&self.0.group);
        let clock = Arc::new(LeaderClock::new(self.0.number, self.0.clock.clone(), status.watermark(), voters));
        for (node, sample) in self.samples().iter() {
            clock.sample(*node, *sample);
        }
        *self.leader_clock_slot() = Some(clock.clone());
        self.agree(&clock).await;
        let propose = self.0.proposer.run(Term {
            term,
            group: &self.0.group,
            feed: &self.0.feed,
            clock: &clock,
            level: &self.0.common_level,
        });
        let dispatch = async {
            let context = dispatch::Context {
                partition: self.0.number,
                term: scheduler::dispatcher::Term {
                    epoch: status.epoch,
                    term,
                    first_index,
                    watermark: status.watermark(),
                },
                group: self.0.group.clone(),
                feed: self.0.feed.clone(),
                clock: clock.clone(),
                proposer: self.0.proposer.clone(),
                late_bound: self.0.late_bound,
                late: self.0.late.clone(),
            };
            match dispatch::Running::start(context) {
                Ok(started) => {
                    self.0.dispatcher.send_replace(Some(started.handle()));
                    running.insert(started).ended().await;
                    self.0.dispatcher.send_replace(None);
                }
                Err(error) => tracing::error!(partition = self.0.number, %error, "no thread for the dispatcher"),
            }
            // A second one in this term would count its tokens from the start again.
            self.give_up(term).await
        };
        let canary = canary::Term {
            partition: (self.0.number, self.0.partitions),
            canary: &self.0.canary,
            proposer: &self.0.proposer,
            feed: &self.0.feed,
            clock: &clock,
            dispatcher: self.0.dispatcher.subscribe(),
        };
        let internal = internal::run(self.0.number, &self.0.feed, self.0.dispatcher.subscribe());
        tokio::join!(propose, dispatch, canary.run(), internal);
    }

    /// Somebody else shall lead, or this node in a new term; until dropped.
    async fn give_up(&self, term: u64) {
        loop {
            if !self.resign().await
                && let Err(error) = self.0.group.end_term(term).await
            {
                tracing::warn!(partition = self.0.number, term, %error, "cannot end the term");
            }
            tokio::time::sleep(TERM_ENDS_WITHIN).await;
        }
    }

    /// Waits a moment for clocks that agree, so that a term does not begin at the time at which the last one ended.
    async fn agree(&self, clock: &LeaderClock) {
        let give_up = tokio::time::Instant::now() + AGREE_WITHIN;
        let mut now = clock.now();
        while clock.hold().is_some() && tokio::time::Instant::now() < give_up {
            tokio::time::sleep(Duration::from_millis(10)).await;
            now = clock.now();
        }
        let fresh = self.0.feed.progress().borrow().watermark == Timestamp::MIN;
        if clock.hold().is_some() && fresh {
            // Nothing is pending that a wrong clock could fire, and a time near 1970 is of no use to anybody.
            now = clock.accept();
            tracing::warn!(partition = self.0.number, %now, "begins at this node's clock; no majority of clocks agreed");
        }
        self.0.proposer.set_hold(clock.hold());
        tracing::debug!(partition = self.0.number, %now, "time of the term begins");
    }

    fn samples(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Sample>> {
        self.0.samples.lock().expect("never held over a panic")
    }

    /// Hands leadership to any other voter that takes it; whether one did.
    pub async fn resign(&self) -> bool {
        let status = self.0.group.status();
        for replica in status.replicas.iter().filter(|replica| replica.voter && replica.node != self.0.node) {
            if self.0.group.transfer(replica.node).await.is_ok() {
                return true;
            }
        }
        false
    }

    fn leader_clock(&self) -> Option<Arc<LeaderClock>> {
        self.leader_clock_slot().clone()
    }

    fn leader_clock_slot(&self) -> std::sync::MutexGuard<'_, Option<Arc<LeaderClock>>> {
        self.0.leader_clock.lock().expect("never held over a panic")
    }
}

/// Runs what may wait for the disk. On a runtime of a single thread, as tests have, everybody waits with it.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

fn is_led(node: u64, leadership: &raft::Leadership) -> bool {
    leadership.we_lead || leadership.leader.as_ref().is_some_and(|leader| leader.node != node)
}

/// How a read failed, for a client.
pub fn read_error(partition: u32, error: raft::ReadError) -> Error {
    use raft::ReadError;
    match error {
        ReadError::NotLeader { leader } => Error::NotLeader { partition, leader: leader.map(|leader| leader.endpoint) },
        ReadError::NoQuorum => Error::NoQuorum { partition, reason: "no majority of replicas can be reached".into() },
        ReadError::Unavailable { reason } => Error::NoQuorum { partition, reason },
        ReadError::ShuttingDown => Error::ShuttingDown,
    }
}

fn voters(group: &raft::Group<Adapter>) -> usize {
    group.status().replicas.iter().filter(|replica| replica.voter).count().max(1)
}
