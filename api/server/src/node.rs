//! One running node: everything composed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backlog::{self, Backlog};
use crate::clock::Clock;
use crate::config::{Config, MemberAddress};
use crate::disk::DiskGuard;
use crate::error::Error;
use crate::feed::Feed;
use crate::forward::Forwarder;
use crate::gift::{Directory, Setting};
use crate::keys::Keys;
use crate::late::LateTriggers;
use crate::levels::{self, Levels};
use crate::local_time::Zones;
use crate::machine::Adapter;
use crate::partition::Partition;
use crate::recount::Recounter;
use crate::vault::Vault;
use crate::{admin, canary, grpc, peers, routing, services};

/// How often figures that nobody pushes are collected.
const FIGURES_EVERY: Duration = Duration::from_secs(2);

/// The ports of a node, bound before anything else so that port 0 becomes a number that others can be told.
pub struct Listeners {
    /// For clients and executors.
    pub client: TcpListener,
    /// For the other nodes.
    pub peers: TcpListener,
    /// For metrics and health.
    pub admin: TcpListener,
}

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// For clients and executors.
    pub client: SocketAddr,
    /// For the other nodes.
    pub peers: SocketAddr,
    /// For metrics and health.
    pub admin: SocketAddr,
}

impl Listeners {
    /// Binds the ports of a configuration.
    ///
    /// # Errors
    ///
    /// A port is taken or an address is not ours; the message names the option.
    pub async fn bind(config: &Config) -> anyhow::Result<Listeners> {
        let bind = async |key: &str, address: SocketAddr| {
            TcpListener::bind(address).await.map_err(|error| anyhow::anyhow!("{key} = {address}: {error}"))
        };
        Ok(Listeners {
            client: bind("listen.client", config.listen_client).await?,
            peers: bind("listen.peers", config.listen_peers).await?,
            admin: bind("listen.admin", config.listen_admin).await?,
        })
    }

    /// Where they are bound.
    ///
    /// # Errors
    ///
    /// The system does not say.
    pub fn addresses(&self) -> std::io::Result<Addresses> {
        Ok(Addresses {
            client: self.client.local_addr()?,
            peers: self.peers.local_addr()?,
            admin: self.admin.local_addr()?,
        })
    }
}

/// What every service shares; cheap to clone.
#[derive(Clone)]
pub struct Node(Arc<Shared>);

struct Shared {
    config: Config,
    clock: Clock,
    zones: Zones,
    raft: raft::Node<Adapter>,
    partitions: Vec<Partition>,
    forwarder: Forwarder,
    keys: Keys,
    disk: DiskGuard,
    late: LateTriggers,
    levels: Levels,
    gifts: Option<Setting>,
    draining: AtomicBool,
    stopping: CancellationToken,
    /// Nodes of the same process, this one among them: they share a virtual clock.
    companions: OnceLock<Vec<Weak<Shared>>>,
}

impl Node {
    /// Its configuration.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Its clocks.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Its time zones.
    pub fn zones(&self) -> &Zones {
        &self.0.zones
    }

    /// Its groups.
    pub fn raft(&self) -> &raft::Node<Adapter> {
        &self.0.raft
    }

    /// Its partitions, by number.
    pub fn partitions(&self) -> &[Partition] {
        &self.0.partitions
    }

    /// What the builds of the other nodes know.
    pub fn levels(&self) -> &Levels {
        &self.0.levels
    }

    /// Who may call.
    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// Connections to other nodes.
    pub fn forwarder(&self) -> &Forwarder {
        &self.0.forwarder
    }

    /// Whether the disk has room.
    pub fn disk(&self) -> &DiskGuard {
        &self.0.disk
    }

    /// What was late most recently in the partitions led here.
    pub fn late(&self) -> &LateTriggers {
        &self.0.late
    }

    /// The partition a trigger lives in.
    pub fn partition_of(&self, namespace: &str, id: &str) -> &Partition {
        let number = routing::partition(namespace, id, self.0.config.partitions);
        &self.0.partitions[number as usize]
    }

    /// The partition of a slot.
    ///
    /// # Panics
    ///
    /// Never: whatever the slot, the partition is one of them.
    pub fn partition_of_slot(&self, slot: u16) -> &Partition {
        &self.0.partitions[usize::from(slot) % self.0.partitions.len()]
    }

    /// What gifts need; `None` when this node was not told.
    pub fn gifts(&self) -> Option<&Setting> {
        self.0.gifts.as_ref()
    }

    /// A partition by its number.
    ///
    /// # Errors
    ///
    /// There is no such partition.
    pub fn partition(&self, number: u32) -> Result<&Partition, Error> {
        self.0.partitions.get(number as usize).ok_or_else(|| {
            let count = self.0.partitions.len();
            Error::invalid("partition", format!("expected 0 to {}, got {number}", count - 1))
        })
    }

    /// Introduces the nodes of one process to each other. Only the first time counts.
    pub fn introduce(nodes: &[Node]) {
        for node in nodes {
            let companions = nodes.iter().map(|one| Arc::downgrade(&one.0)).collect();
            let _ = node.0.companions.set(companions);
        }
    }

    /// The nodes of this process, this one among them.
    pub fn companions(&self) -> Vec<Node> {
        match self.0.companions.get() {
            Some(companions) => companions.iter().filter_map(Weak::upgrade).map(Node).collect(),
            None => vec![self.clone()],
        }
    }

    /// Ends when the node is about to stop.
    pub async fn stopping(&self) {
        self.0.stopping.cancelled().await;
    }

    /// Whether an operator took leadership off this node.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Remembers that an operator did, or undid it.
    pub fn set_draining(&self, draining: bool) {
        self.0.draining.store(draining, Ordering::Relaxed);
    }

    /// Whether every partition is up here and has a leader.
    pub fn is_ready(&self) -> bool {
        self.partitions().iter().all(|partition| partition.group().store().is_some() && partition.has_leader())
    }

    /// Waits until every partition is up here and has a leader.
    pub async fn ready(&self) {
        for partition in self.partitions() {
            partition.led().await;
        }
    }

    /// Partitions whose canary is overdue, and since when the newest one that came through was due.
    pub fn overdue_canaries(&self) -> Vec<(u32, Duration)> {
        let overdue = |partition: &Partition| Some((partition.number(), partition.canary_overdue()?));
        self.partitions().iter().filter_map(overdue).collect()
    }

    /// Problems in plain words, worst first.
    pub fn alarms(&self) -> Vec<String> {
        let mut alarms: Vec<String> =
            self.overdue_canaries().into_iter().map(|(partition, age)| canary_alarm(partition, age)).collect();
        for status in self.0.raft.status() {
            let partition = status.partition;
            if let raft::Health::Halted(reason) = &status.health {
                alarms.push(format!("partition {partition} halted on this node: {reason}"));
            }
            if status.leadership.leader.is_none() && status.health != raft::Health::Vacant {
                alarms.push(format!("partition {partition} has no leader"));
            }
            if status.health == raft::Health::Rebuilding {
                alarms.push(format!("partition {partition} is being rebuilt on this node"));
            }
            for replica in &status.replicas {
                if let Some(silent) = replica.silent.filter(|silent| *silent > Duration::from_secs(5)) {
                    let seconds = silent.as_secs();
                    alarms.push(format!("node {} is silent for {seconds} s in partition {partition}", replica.node));
                }
            }
        }
        if let Err(error) = self.0.disk.check() {
            alarms.push(format!("writes are refused: {error}"));
        }
        for partition in &self.0.partitions {
            if let Some(hold) = partition.clock_hold() {
                alarms.push(format!("clock of partition {}: {hold}", partition.number()));
            }
        }
        alarms
    }
}

/// What is said of a canary that is overdue.
pub fn canary_alarm(partition: u32, age: Duration) -> String {
    format!("partition {partition} may not be firing: no canary came through for {} s", age.as_secs())
}

/// A node that serves.
pub struct Server {
    node: Node,
    addresses: Addresses,
    /// The ports, and what ends them.
    serving: (TaskTracker, CancellationToken),
    /// Everything that answers calls, and what ends it; after the ports.
    working: (TaskTracker, CancellationToken),
}

impl Server {
    /// Opens the data directory and serves.
    ///
    /// Returns when the ports answer; [`Node::is_ready`] says when every partition has a leader.
    ///
    /// # Errors
    ///
    /// The data directory is another's or damaged, a port does not work, or the founding members cannot be reached.
    pub async fn start(config: Config, listeners: Listeners, clock: Clock) -> anyhow::Result<Server> {
        let metrics = crate::metrics::install(&config.cluster, config.node).map_err(anyhow::Error::msg)?;
        let addresses = listeners.addresses()?;
        let me = raft::Member {
            node: config.node,
            endpoint: config.advertise_client.clone().unwrap_or_else(|| addresses.client.to_string()),
            peer_endpoint: config.advertise_peers.clone().unwrap_or_else(|| addresses.peers.to_string()),
        };
        let recounter = Recounter::start()?;
        let feeds: Vec<Arc<Feed>> = (0..config.partitions).map(|p| Feed::new(p, recounter.clone())).collect();
        let raft = raft::Node::open(raft_config(&config, me.clone()), listeners.peers, {
            let feeds = feeds.clone();
            move |partition| Adapter::new(feeds[partition as usize].clone())
        })
        .await?;
        let disk = DiskGuard::new(config.free_space_min_bytes);
        disk.measure(&config.data);
        let late = LateTriggers::default();
        let partitions: Vec<Partition> = raft
            .groups()
            .iter()
            .zip(feeds)
            .map(|(group, feed)| {
                let (disk, late, clock) = (disk.clone(), late.clone(), clock.clone());
                Partition::new(me.node, group.clone(), feed, &config, disk, late, clock)
            })
            .collect();
        raft.set_call_handler(peers::Answerer::new(clock.clone(), partitions.clone()));
        let keys = Keys::open(config.api_keys_file.as_deref())?;
        let gifts = match &config.gift_key_file {
            Some(key_file) => Some(Setting {
                vault: Vault::open(key_file, config.members.len() <= 1)?,
                link_base: config.gift_link_base.clone(),
                directory: Directory::open(config.gift_kakao_directory.as_deref())?,
            }),
            None => None,
        };
        let node = Node(Arc::new(Shared {
            zones: Zones::system(),
            forwarder: Forwarder::new(keys.clone()),
            keys,
            draining: AtomicBool::new(false),
            stopping: CancellationToken::new(),
            companions: OnceLock::new(),
            config,
            clock,
            raft,
            partitions,
            disk,
            late,
            levels: Levels::default(),
            gifts,
        }));

        let serving = (TaskTracker::new(), CancellationToken::new());
        let working = (TaskTracker::new(), CancellationToken::new());
        let until_closing = |task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
            let closing = working.1.clone();
            working.0.spawn(async move {
                tokio::select! {
                    () = task => {}
                    () = closing.cancelled() => {}
                }
            });
        };
        for partition in node.partitions() {
            until_closing(Box::pin(partition.clone().run()));
        }
        let (raft, clock) = (node.raft().clone(), node.clock().clone());
        until_closing(Box::pin(peers::read_clocks(raft, clock, node.partitions().to_vec())));
        let (raft, levels) = (node.raft().clone(), node.levels().clone());
        until_closing(Box::pin(levels::ask(raft, levels, node.partitions().to_vec())));
        until_closing(Box::pin(figures(node.clone())));
        until_closing(Box::pin(guard_disk(node.clone())));
        until_closing(Box::pin(services::topics::reconcile(node.clone())));
        serving.0.spawn(grpc::serve(node.clone(), listeners.client, serving.1.clone()));
        serving.0.spawn(admin::serve(node.clone(), listeners.admin, metrics, serving.1.clone()));

        let server = Server { node: node.clone(), addresses, serving, working };
        if !node.config().join {
            server.found(me).await?;
        }
        Ok(server)
    }

    /// Founds the cluster, unless the data directory was founded before.
    async fn found(&self, me: raft::Member) -> anyhow::Result<()> {
        let member = |one: &MemberAddress| raft::Member {
            node: one.node,
            endpoint: one.endpoint.clone(),
            peer_endpoint: one.peer_endpoint.clone(),
        };
        let config = self.node.config();
        let members = match config.members.is_empty() {
            true => vec![me],
            false => config.members.iter().map(member).collect(),
        };
        Ok(self.node.raft().init(&members).await?)
    }

    /// What the services share.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Waits until the node cannot go on; says why. The process must end then: a log that could not be synced has
    /// promised what it may not keep.
    pub async fn fatal(&self) -> String {
        let mut fatal = self.node.raft().fatal();
        loop {
            if let Some(reason) = fatal.borrow_and_update().clone() {
                return reason;
            }
            if fatal.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Stops: hands leadership over, refuses new commands, finishes calls, closes the log. Takes at most
    /// `shutdown.grace` for each of the first and the last.
    pub async fn shutdown(self) {
        let grace = self.node.config().shutdown_grace;
        tracing::info!("stops: hands leadership over");
        let alone = self.node.raft().members().len() <= 1;
        if !alone && !grace.is_zero() {
            match tokio::time::timeout(grace, self.node.raft().drain()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "leadership could not be handed over"),
                Err(_) => tracing::warn!("leadership was not handed over in time"),
            }
        }
        self.stop().await;
    }

    /// Stops without handing leadership over.
    pub async fn stop(self) {
        let grace = self.node.config().shutdown_grace;
        for partition in self.node.partitions() {
            partition.proposer().stop();
        }
        self.node.0.stopping.cancel();
        // Streams end by themselves now; calls under way get a moment to be answered.
        for (what, (tasks, closing)) in [("calls", &self.serving), ("tasks", &self.working)] {
            tasks.close();
            closing.cancel();
            if tokio::time::timeout(grace.min(Duration::from_secs(2)), tasks.wait()).await.is_err() {
                tracing::info!("{what} were still under way");
            }
        }
        self.node.raft().shutdown().await;
        tracing::info!("stopped");
    }
}

fn raft_config(config: &Config, member: raft::Member) -> raft::Config {
    raft::Config {
        partitions: config.partitions,
        timing: raft::Timing {
            heartbeat: config.heartbeat,
            election_min: config.election_min,
            election_max: config.election_max,
        },
        checkpoints: raft::Checkpoints {
            log_bytes: config.checkpoint_log_bytes,
            age: config.checkpoint_age,
            log_bytes_max: config.log_max_bytes,
            ..Default::default()
        },
        log: raft::LogConfig { segment_bytes: config.log_segment_bytes, ..Default::default() },
        sync_delay: config.sync_delay,
        store: raft::StoreConfig {
            memory_bytes: usize::try_from(config.cache_bytes + config.write_buffer_bytes).unwrap_or(usize::MAX),
            write_buffer_bytes: usize::try_from(config.write_buffer_bytes).unwrap_or(usize::MAX),
            ..Default::default()
        },
        ..raft::Config::new(config.cluster.clone(), member, config.data.clone())
    }
}

/// Looks at the disk now and then; waits for nothing else, so that writes are refused and taken again in time.
async fn guard_disk(node: Node) {
    let mut turn = tokio::time::interval(FIGURES_EVERY);
    turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        turn.tick().await;
        node.disk().measure(&node.config().data);
    }
}

/// Collects figures that nobody pushes.
async fn figures(node: Node) {
    use crate::metrics as m;
    let mut turn = tokio::time::interval(FIGURES_EVERY);
    turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        turn.tick().await;
        m::of_process(node.disk().free_bytes(), node.zones().version());
        for status in node.raft().status() {
            let partition = status.partition;
            m::of_partition(m::HAS_LEADER, partition, f64::from(u8::from(status.leadership.leader.is_some())));
        }
        for partition in node.partitions() {
            let number = partition.number();
            m::of_partition(m::PENDING, number, partition.feed().pending() as f64);
            m::of_partition(m::CLOCK_HELD, number, f64::from(u8::from(partition.clock_hold().is_some())));
            let (mut executors, mut found) = (0, Backlog::default());
            // One that does not answer in time has no figures; the other partitions have theirs.
            if let Some(standing) = backlog::standing(partition).await {
                let sessions = &standing.status.sessions;
                executors = sessions.iter().filter(|session| !canary::is_session(session)).count();
                found = Backlog::of_partition(partition, &standing.status, node.clock().wall());
            }
            let seconds =
                |delay: Option<scheduler::time::Delay>| delay.map_or(0.0, |delay| delay.as_millis() as f64 / 1_000.0);
            m::of_partition(m::EXECUTORS, number, executors as f64);
            m::of_partition(m::IN_FLIGHT, number, found.held as f64);
            m::of_partition(m::OVERDUE, number, (found.ready + found.held) as f64);
            m::waiting(number, &found.waiting);
            m::of_partition(m::OLDEST_OVERDUE, number, seconds(found.oldest));
            m::of_partition(m::OLDEST_WAITING, number, seconds(found.oldest_waiting));
        }
    }
}
