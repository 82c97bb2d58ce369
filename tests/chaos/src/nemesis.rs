//! Breaks one thing, holds it broken, and heals it. Each fault says what must go on meanwhile.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use harness::caller::{self, Caller};
use harness::cluster::Cluster;
use harness::{Error, Result, wait};
use proto::admin::v1 as admin;
use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use crate::clocks::NodeClock;
use crate::disks::{self, Disk};
use crate::faults::Fault;
use crate::network::{CALLERS, Network};
use crate::switch::Line;
use crate::workload::Workload;

/// The first members; others come and go.
pub const MEMBERS: [u8; 3] = [1, 2, 3];
/// Calls that must succeed before something is believed to go on.
const PROGRESS: usize = 40;
/// How long that may take while a majority is well; elections and broken connections included.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a healed cluster may take to agree on leaders.
const HEALED_WITHIN: Duration = Duration::from_secs(60);
/// A line so slow that something can be seen on its way.
const SLOW: Line = Line { cut: false, delay: Duration::from_millis(150), jitter: Duration::ZERO, loss_per_mille: 0 };

/// Everything that can be broken.
pub struct World {
    /// Processes.
    pub cluster: Cluster,
    /// Callers and executors.
    pub workload: Workload,
    /// Wires.
    pub network: Network,
    /// One for each node that ever will be.
    pub disks: Vec<Disk>,
    /// One for each of the first members; none where there is no compiler for them.
    pub clocks: Vec<NodeClock>,
    /// Where nodes are told where to die.
    pub orders: PathBuf,
    /// Decides.
    pub dice: StdRng,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It was injected and healed.
    Survived,
    /// It could not be injected; why.
    Skipped(String),
}

impl World {
    /// Injects one fault and heals it.
    ///
    /// # Errors
    ///
    /// What did not go on, or did not come back.
    pub async fn inject(&mut self, fault: Fault) -> Result<Attempt> {
        // What breaks in an idle moment proves nothing.
        self.progress("before anything is broken").await?;
        let attempt = match fault {
            Fault::KillLeader => {
                let leader = self.leader().await?;
                self.kill_and_restart(leader).await?
            }
            Fault::KillFollower => {
                let follower = self.follower().await?;
                self.kill_and_restart(follower).await?
            }
            Fault::KillAll => self.kill_all()?,
            Fault::KillExecutor => self.kill_executor().await?,
            Fault::Pause => self.pause().await?,
            Fault::PowerCut => {
                let node = self.anyone();
                self.cut_power(&[node]).await?;
                self.progress("without the node that lost its power").await?;
                self.restore_power(&[node]).await?
            }
            Fault::PowerCutAll => {
                self.cut_power(&MEMBERS).await?;
                self.restore_power(&MEMBERS).await?
            }
            Fault::TornTail => self.tear_tail().await?,
            Fault::DeafLeader => {
                let leader = self.leader().await?;
                self.cut(leader, &others(leader), &[]);
                self.hold_cut("while the old leader hears nobody").await?
            }
            Fault::CutLeader => {
                let leader = self.leader().await?;
                self.cut(leader, &others(leader), &others(leader));
                self.hold_cut("while the old leader is cut off").await?
            }
            Fault::CutFollower => {
                let follower = self.follower().await?;
                let everybody: Vec<u8> = others(follower).into_iter().chain([CALLERS]).collect();
                self.cut(follower, &everybody, &everybody);
                self.hold_cut("while a follower is cut off").await?
            }
            Fault::BadNetwork => self.bad_network().await?,
            Fault::SlowDisk => self.slow_disk().await?,
            Fault::FullDisk => self.full_disk().await?,
            Fault::ClockStep => self.step_clock().await?,
            Fault::KillDuringAdd => self.change_members(true, false).await?,
            Fault::KillDuringRemove => self.change_members(false, true).await?,
            Fault::KillDuringSnapshot => self.kill_during_snapshot().await?,
        };
        self.healed().await?;
        Ok(attempt)
    }

    /// Waits until all nodes agree on leaders.
    ///
    /// # Errors
    ///
    /// When they do not within a minute, or one of them has exited.
    pub async fn healed(&mut self) -> Result<()> {
        self.cluster.ready_within(HEALED_WITHIN).await
    }

    /// The member that leads most partitions, once the members agree. Whoever joins or has left is not asked.
    pub(crate) async fn leader(&self) -> Result<u8> {
        let counts = wait::until("agreement of the members on leaders", HEALED_WITHIN, || self.leaders()).await?;
        let most = counts.into_iter().max_by_key(|(node, count)| (*count, std::cmp::Reverse(*node)));
        most.map(|(node, _)| node).ok_or_else(|| Error::new("nobody leads anything"))
    }

    /// How many partitions each member leads, if all say the same.
    async fn leaders(&self) -> Result<BTreeMap<u8, usize>, String> {
        let mut agreed: Option<Vec<u64>> = None;
        for node in MEMBERS {
            let status = self.cluster.status(node.into()).await.map_err(|status| format!("node {node}: {status}"))?;
            let leaders: Vec<u64> = status.partitions.iter().map(|partition| partition.leader).collect();
            if leaders.is_empty() || leaders.contains(&0) || agreed.as_ref().is_some_and(|others| *others != leaders) {
                return Err(format!("node {node} says {leaders:?}, others {agreed:?}"));
            }
            agreed = Some(leaders);
        }
        let mut counts: BTreeMap<u8, usize> = MEMBERS.into_iter().map(|node| (node, 0)).collect();
        for leader in agreed.unwrap_or_default() {
            // A joiner that leads is nobody we kill.
            if let Some(count) = u8::try_from(leader).ok().and_then(|leader| counts.get_mut(&leader)) {
                *count += 1;
            }
        }
        Ok(counts)
    }

    pub(crate) async fn follower(&mut self) -> Result<u8> {
        let leader = self.leader().await?;
        let others = others(leader);
        Ok(others[self.dice.random_range(0..others.len())])
    }

    pub(crate) fn anyone(&mut self) -> u8 {
        MEMBERS[self.dice.random_range(0..MEMBERS.len())]
    }

    /// Waits until calls succeed.
    ///
    /// # Errors
    ///
    /// When they do not within half a minute.
    pub async fn progress(&self, when: &str) -> Result<()> {
        let before = self.workload.succeeded();
        let what = format!("{PROGRESS} calls that succeed {when}");
        wait::until(&what, PATIENCE, || async {
            let now = self.workload.succeeded();
            if now >= before + PROGRESS { Ok(()) } else { Err(format!("{} did", now - before)) }
        })
        .await
    }

    pub(crate) async fn hold(&mut self, shortest_ms: u64, longest_ms: u64) {
        let held = self.dice.random_range(shortest_ms..=longest_ms);
        tokio::time::sleep(Duration::from_millis(held)).await;
    }

    async fn kill_and_restart(&mut self, node: u8) -> Result<Attempt> {
        self.cluster.kill(node.into())?;
        self.progress("without the node that was killed").await?;
        self.cluster.spawn(node.into())?;
        Ok(Attempt::Survived)
    }

    fn kill_all(&mut self) -> Result<Attempt> {
        self.cluster.kill_all()?;
        MEMBERS.iter().try_for_each(|node| self.cluster.spawn((*node).into()))?;
        Ok(Attempt::Survived)
    }

    async fn kill_executor(&mut self) -> Result<Attempt> {
        self.workload.kill_executor();
        self.progress("while leases of the dead run out").await?;
        self.workload.start_executor().await?;
        Ok(Attempt::Survived)
    }

    async fn pause(&mut self) -> Result<Attempt> {
        let leader = self.leader().await?;
        self.cluster.pause(leader.into())?;
        self.hold(2_500, 5_000).await;
        let went_on = self.progress("while the old leader stands still").await;
        self.cluster.resume(leader.into())?;
        went_on.map(|()| Attempt::Survived)
    }

    /// The processes stand still before the power goes, so that none tells anybody of a sync that the cut overtook.
    pub(crate) async fn cut_power(&mut self, nodes: &[u8]) -> Result<()> {
        for node in nodes {
            self.cluster.pause((*node).into())?;
        }
        for node in nodes {
            let node = u64::from(*node);
            wait::until("process that stands still", Duration::from_secs(5), || async {
                match self.cluster.stands_still(node) {
                    Ok(true) => Ok(()),
                    Ok(false) => Err("some of its threads run".to_owned()),
                    Err(error) => Err(error.to_string()),
                }
            })
            .await?;
        }
        nodes.iter().try_for_each(|node| Ok(self.disk(*node).cut_power()?))
    }

    pub(crate) async fn restore_power(&mut self, nodes: &[u8]) -> Result<Attempt> {
        nodes.iter().try_for_each(|node| self.cluster.kill((*node).into()))?;
        for node in nodes {
            let disk = self.disk(*node);
            wait::until("unmount", Duration::from_secs(10), || async { disk.restore() }).await?;
        }
        nodes.iter().try_for_each(|node| self.cluster.spawn((*node).into()))?;
        Ok(Attempt::Survived)
    }

    fn disk(&self, node: u8) -> &Disk {
        &self.disks[usize::from(node) - 1]
    }

    async fn tear_tail(&mut self) -> Result<Attempt> {
        let node = self.anyone();
        self.cluster.kill(node.into())?;
        let mut rubbish = vec![0; self.dice.random_range(1..2_000)];
        self.dice.fill_bytes(&mut rubbish);
        disks::tear_tail(&self.disk(node).data(), &rubbish)?;
        self.progress("without the node whose log is torn").await?;
        self.cluster.spawn(node.into())?;
        Ok(Attempt::Survived)
    }

    /// `node` hears none of `unheard`, and is heard by none of `deaf`.
    fn cut(&self, node: u8, unheard: &[u8], deaf: &[u8]) {
        let cut = Line { cut: true, ..Line::default() };
        unheard.iter().for_each(|other| self.network.switch().set(*other, node, cut));
        deaf.iter().for_each(|other| self.network.switch().set(node, *other, cut));
    }

    async fn hold_cut(&mut self, when: &str) -> Result<Attempt> {
        self.hold(2_000, 5_000).await;
        let went_on = self.progress(when).await;
        self.network.switch().heal();
        went_on.map(|()| Attempt::Survived)
    }

    async fn bad_network(&mut self) -> Result<Attempt> {
        let line = Line {
            cut: false,
            delay: Duration::from_millis(self.dice.random_range(1..15)),
            jitter: Duration::from_millis(self.dice.random_range(0..20)),
            loss_per_mille: self.dice.random_range(1..30),
        };
        for from in MEMBERS {
            others(from).into_iter().for_each(|to| self.network.switch().set(from, to, line));
        }
        self.hold(3_000, 6_000).await;
        let went_on = self.progress("over a bad network").await;
        self.network.switch().heal();
        went_on.map(|()| Attempt::Survived)
    }

    async fn slow_disk(&mut self) -> Result<Attempt> {
        let node = self.leader().await?;
        self.cluster.kill(node.into())?;
        let delay = format!("\"{}ms\"", self.dice.random_range(30..150));
        self.cluster.spawn_set(node.into(), &[("raft.sync_delay", &delay)])?;
        self.hold(3_000, 5_000).await;
        self.progress("beside a slow disk").await?;
        self.cluster.kill(node.into())?;
        self.cluster.spawn(node.into())?;
        Ok(Attempt::Survived)
    }

    async fn full_disk(&mut self) -> Result<Attempt> {
        let node = self.follower().await?;
        self.disk(node).fill()?;
        self.hold(3_000, 5_000).await;
        let went_on = self.progress("beside a full disk").await;
        self.disk(node).empty()?;
        // It may have stopped rather than go on with a log it cannot write.
        if self.cluster.has_ended(node.into())? {
            self.cluster.spawn(node.into())?;
        }
        went_on.map(|()| Attempt::Survived)
    }

    async fn step_clock(&mut self) -> Result<Attempt> {
        if self.clocks.is_empty() {
            return Ok(Attempt::Skipped("there is no C compiler for the clocks' library".into()));
        }
        let node = self.leader().await?;
        let clock = self.clocks[usize::from(node) - 1].clone();
        for seconds in [self.dice.random_range(20..90), 0, -self.dice.random_range(20..90), 0] {
            clock.set(seconds)?;
            self.hold(1_500, 3_000).await;
        }
        Ok(Attempt::Survived)
    }

    /// Adds a node and removes it again; the leader dies on the way there or back.
    async fn change_members(&mut self, die_adding: bool, die_removing: bool) -> Result<Attempt> {
        if self.cluster.nodes().len() >= self.disks.len() {
            return Ok(Attempt::Skipped("no host is left for one more node".into()));
        }
        let node = self.cluster.start_joiner().await?;
        let joiner = self.cluster.node(node);
        let add = admin::AddNodeRequest {
            node,
            endpoint: joiner.client.to_string(),
            peer_endpoint: joiner.peers.to_string(),
        };
        self.change(die_adding, |channel| {
            let add = add.clone();
            async move { caller::cluster(channel).add_node(add).await }
        })
        .await?;
        self.leader().await?;
        self.change(die_removing, |channel| async move {
            caller::cluster(channel).remove_node(admin::RemoveNodeRequest { node }).await
        })
        .await?;
        self.cluster.kill(node)?;
        Ok(Attempt::Survived)
    }

    /// Asks for a change until it is made; whoever leads most may die while it is under way.
    async fn change<T, F>(&mut self, die: bool, ask: impl Fn(tonic::transport::Channel) -> F) -> Result<()>
    where
        F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let endpoints: Vec<String> = MEMBERS.map(|node| self.cluster.node(node.into()).endpoint()).into();
        let mut caller = Caller::new(&endpoints)?;
        caller.attempt_within = Duration::from_secs(20);
        caller.call_within = Duration::from_secs(60);
        let leader = self.leader().await?;
        let after = Duration::from_millis(self.dice.random_range(5..250));
        let dies = die && MEMBERS.contains(&leader);
        let (changed, killed) = tokio::join!(caller.call(&ask), async {
            if dies {
                tokio::time::sleep(after).await;
                self.cluster.kill(leader.into())?;
                self.cluster.spawn(leader.into())?;
            }
            Ok::<(), Error>(())
        });
        killed?;
        if changed.is_err() {
            // What was under way when the leader died may have been finished meanwhile, or be in its way for a moment.
            self.leader().await?;
            match caller.call(&ask).await {
                // An earlier try was carried out: there is nobody left to remove.
                Err(problem) if problem.reason == "UNKNOWN_NODE" => {}
                again => drop(again.map_err(|problem| Error(format!("change of members: {problem}")))?),
            }
        }
        Ok(())
    }

    /// A follower misses more log than is kept, comes back over a slow line, and dies with the snapshot half there.
    async fn kill_during_snapshot(&mut self) -> Result<Attempt> {
        let node = self.follower().await?;
        let data = self.disk(node).data();
        let mut seen = Err(Error::new("not tried"));
        // How long it takes until log is cut depends on how much there is to do.
        for longer in 0..3 {
            self.cluster.kill(node.into())?;
            self.hold(9_000 + longer * 6_000, 11_000 + longer * 6_000).await;
            for other in others(node) {
                self.network.switch().set(other, node, SLOW);
            }
            self.cluster.spawn(node.into())?;
            seen = wait::until("a snapshot on its way", Duration::from_secs(10), || async {
                if has_incoming(&data) { Ok(()) } else { Err("none") }
            })
            .await;
            self.cluster.kill(node.into())?;
            self.network.switch().heal();
            if seen.is_ok() {
                break;
            }
        }
        self.cluster.spawn(node.into())?;
        Ok(seen.map_or_else(|error| Attempt::Skipped(error.to_string()), |()| Attempt::Survived))
    }
}

/// The other members.
pub(crate) fn others(node: u8) -> Vec<u8> {
    MEMBERS.into_iter().filter(|other| *other != node).collect()
}

/// Whether a partition has a snapshot that is being received.
fn has_incoming(data: &std::path::Path) -> bool {
    let list = |path: &std::path::Path| -> Vec<std::path::PathBuf> {
        std::fs::read_dir(path)
            .map_or_else(|_| Vec::new(), |all| all.filter_map(|one| Some(one.ok()?.path())).collect())
    };
    let mut level = vec![data.to_owned()];
    // data/…/PARTITION/incoming, wherever the partitions are.
    for _ in 0..4 {
        if level.iter().any(|path| path.file_name().is_some_and(|name| name == "incoming") && !list(path).is_empty()) {
            return true;
        }
        level = level.iter().flat_map(|path| list(path)).collect();
    }
    false
}
