//! A cluster of real `bosingakd` processes, on loopback or on hosts of their own, to be killed, stopped, continued and started again.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::admin::v1::{PartitionStatus, StatusRequest, StatusResponse};

use crate::caller::{self, Caller};
use crate::ports::Ports;
use crate::proc_stat::{self, Usage};
use crate::process::{Process, Program};
use crate::{Error, Result, binary, wait};

/// How long anything may take that a healthy cluster does at once.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes.
    pub nodes: u64,
    /// How many partitions.
    pub partitions: u32,
    /// Further options of the configuration file, as `("section.key", toml value)`.
    pub settings: Vec<(String, String)>,
    /// Where to make the directory that holds everything; the system's temporary directory when unset.
    pub within: Option<PathBuf>,
    /// Name of the binary the nodes run.
    pub server: String,
    /// Where nodes live, in the order of their numbers; those beyond the list live on loopback.
    pub hosts: Vec<Host>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 3,
            partitions: 4,
            settings: Vec::new(),
            within: None,
            server: "bosingakd".into(),
            hosts: Vec::new(),
        }
    }
}

/// A place for one node that has a network and a disk to itself.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its address; the ports are those of the documentation.
    pub address: IpAddr,
    /// What is put before the command that starts the node, such as `ip netns exec NAME`.
    pub prefix: Vec<OsString>,
    /// Directory of log and state.
    pub data: PathBuf,
    /// Added to the environment.
    pub environment: Vec<(String, String)>,
}

impl Options {
    /// With one more setting; `value` is written as TOML writes it.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }
}

/// One node: its addresses and directory stay, its process comes and goes.
#[derive(Debug)]
pub struct Node {
    /// Number in the cluster.
    pub id: u64,
    /// Where clients call.
    pub client: SocketAddr,
    /// Where peers call.
    pub peers: SocketAddr,
    /// Where metrics are.
    pub admin: SocketAddr,
    /// Its directory, with `config.toml`, `log` and, unless it has a host of its own, `data`.
    pub directory: PathBuf,
    host: Option<Host>,
    process: Option<Process>,
}

impl Node {
    /// URL for clients.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.client)
    }

    /// Directory of log and state.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.host.as_ref().map_or_else(|| self.directory.join("data"), |host| host.data.clone())
    }

    /// Process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// What its process has used.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.pid().map(proc_stat::usage).unwrap_or_default()
    }
}

/// A cluster. Dropping it kills every process and removes the directory.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    options: Options,
    members: String,
    ports: Ports,
    // Last: processes must be gone before their directory.
    root: tempfile::TempDir,
}

impl Cluster {
    /// Starts all nodes and waits until every partition has a leader all nodes agree on.
    ///
    /// # Errors
    ///
    /// When the binary is missing, a node exits, or the cluster is not ready within [`PATIENCE`].
    pub async fn start(options: Options) -> Result<Self> {
        let mut cluster = Self::prepare(options)?;
        for id in cluster.ids() {
            cluster.spawn(id)?;
        }
        cluster.ready().await?;
        Ok(cluster)
    }

    /// Everything but the processes.
    ///
    /// # Errors
    ///
    /// When there is no port or no place for the directory.
    pub fn prepare(options: Options) -> Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("bosingak-");
        let root = match &options.within {
            Some(directory) => builder.tempdir_in(directory)?,
            None => builder.tempdir()?,
        };
        let mut cluster = Self { nodes: Vec::new(), members: String::new(), ports: Ports::reserve()?, root, options };
        for _ in 0..cluster.options.nodes {
            cluster.place()?;
        }
        let members: Vec<String> =
            cluster.nodes.iter().map(|node| format!("\"{}={}/{}\"", node.id, node.client, node.peers)).collect();
        cluster.members = format!("members = [{}]", members.join(", "));
        Ok(cluster)
    }

    fn place(&mut self) -> Result<u64> {
        let id = self.nodes.len() as u64 + 1;
        let directory = self.root.path().join(format!("node-{id}"));
        std::fs::create_dir_all(&directory)?;
        let host = usize::try_from(id - 1).ok().and_then(|at| self.options.hosts.get(at)).cloned();
        let (client, peers, admin) = match &host {
            Some(host) => [7300, 7301, 7302].map(|port| SocketAddr::new(host.address, port)).into(),
            None => (self.ports.take()?, self.ports.take()?, self.ports.take()?),
        };
        self.nodes.push(Node { id, client, peers, admin, directory, host, process: None });
        Ok(id)
    }

    /// Starts one more node, empty and waiting to be added; returns its number.
    ///
    /// # Errors
    ///
    /// When it cannot be started or does not answer.
    pub async fn start_joiner(&mut self) -> Result<u64> {
        let id = self.place()?;
        self.spawn_as(id, "join = true")?;
        self.answering(id).await?;
        Ok(id)
    }

    /// Like [`Self::start_joiner`], with another build of the server.
    ///
    /// # Errors
    ///
    /// When it cannot be started or does not answer.
    pub async fn start_joiner_build(&mut self, server: &str) -> Result<u64> {
        let kept = std::mem::replace(&mut self.options.server, server.to_owned());
        let started = self.start_joiner().await;
        self.options.server = kept;
        started
    }

    /// Starts the process of a node, and does not wait.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn spawn(&mut self, id: u64) -> Result<()> {
        // Members are read only while the directory is empty; whoever joined has its own from then on.
        let membership = if id <= self.options.nodes { self.members.clone() } else { "join = true".into() };
        self.spawn_as(id, &membership)
    }

    /// Like [`Self::spawn`], with further settings of this start of this node.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn spawn_set(&mut self, id: u64, settings: &[(&str, &str)]) -> Result<()> {
        let kept = self.options.settings.len();
        self.options.settings.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let spawned = self.spawn(id);
        self.options.settings.truncate(kept);
        spawned
    }

    /// Like [`Self::spawn`], with another build of the server: the binary of that name.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn spawn_build(&mut self, id: u64, server: &str) -> Result<()> {
        let kept = std::mem::replace(&mut self.options.server, server.to_owned());
        let spawned = self.spawn(id);
        self.options.server = kept;
        spawned
    }

    fn spawn_as(&mut self, id: u64, membership: &str) -> Result<()> {
        let config = self.config(id, membership);
        let program = self.program(id, &config)?;
        self.node_mut(id).process = Some(Process::start(program)?);
        Ok(())
    }

    /// Starts a node with another configuration file, and returns the process to whoever asks what comes of it.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn spawn_with(&self, id: u64, config: &str) -> Result<Process> {
        Process::start(self.program(id, config)?)
    }

    fn program(&self, id: u64, config: &str) -> Result<Program> {
        let node = self.node(id);
        let file = node.directory.join("config.toml");
        std::fs::write(&file, config)?;
        let server = binary::find(&self.options.server)?.into_os_string();
        let mut words = node.host.iter().flat_map(|host| host.prefix.clone()).chain([server]);
        let binary = words.next().map(PathBuf::from).ok_or_else(|| Error::new("no command"))?;
        let arguments = words.chain(["serve".into(), "--config".into(), file.into()]).collect();
        Ok(Program {
            name: format!("node {id}"),
            binary,
            arguments,
            environment: node.host.iter().flat_map(|host| host.environment.clone()).collect(),
            log: node.directory.join("log"),
            piped: false,
        })
    }

    /// The configuration file of a node.
    #[must_use]
    pub fn config(&self, id: u64, membership: &str) -> String {
        let node = self.node(id);
        let mut sections: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut set = |section: &'static str, line: String| sections.entry(section).or_default().push(line);
        set("node", format!("id = {id}"));
        set("node", format!("data = {:?}", node.data()));
        set("cluster", format!("partitions = {}", self.options.partitions));
        set("cluster", membership.to_owned());
        set("listen", format!("client = \"{}\"", node.client));
        set("listen", format!("peers = \"{}\"", node.peers));
        set("listen", format!("admin = \"{}\"", node.admin));
        for (key, value) in &self.options.settings {
            let (section, key) = key.split_once('.').unwrap_or(("node", key));
            sections.entry(section).or_default().push(format!("{key} = {value}"));
        }
        let mut text = String::new();
        for (section, lines) in sections {
            text.push_str(&format!("[{section}]\n{}\n", lines.join("\n")));
        }
        text
    }

    /// The `members = […]` line all first members share.
    #[must_use]
    pub fn members(&self) -> &str {
        &self.members
    }

    /// Waits until every running node knows a leader of every partition, and all name the same ones.
    ///
    /// # Errors
    ///
    /// When a node exits or [`PATIENCE`] is over.
    pub async fn ready(&mut self) -> Result<()> {
        self.ready_within(PATIENCE).await
    }

    /// Like [`Self::ready`], with another deadline.
    ///
    /// # Errors
    ///
    /// When a node exits or the time is over.
    pub async fn ready_within(&mut self, within: Duration) -> Result<()> {
        let deadline = std::time::Instant::now() + within;
        loop {
            self.none_exited()?;
            let seen = match self.agreed().await {
                Ok(_) => return Ok(()),
                Err(seen) => seen,
            };
            if std::time::Instant::now() >= deadline {
                return Err(Error(format!("cluster not ready within {within:?}: {seen}\n{}", self.logs(15))));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Leaders by partition, if all running nodes agree on them.
    ///
    /// # Errors
    ///
    /// What is missing.
    pub async fn agreed(&self) -> Result<BTreeMap<u32, u64>, String> {
        let mut agreed: Option<BTreeMap<u32, (u64, u64)>> = None;
        for node in self.running() {
            let status = self.status(node.id).await.map_err(|error| format!("node {}: {error}", node.id))?;
            let leaders: BTreeMap<u32, (u64, u64)> = status
                .partitions
                .iter()
                .map(|partition| (partition.partition, (partition.leader, partition.term)))
                .collect();
            if leaders.len() != self.options.partitions as usize {
                return Err(format!("node {} knows {} partitions", node.id, leaders.len()));
            }
            if let Some((partition, _)) = leaders.iter().find(|(_, (leader, _))| *leader == 0) {
                return Err(format!("node {} knows no leader of partition {partition}", node.id));
            }
            match &agreed {
                None => agreed = Some(leaders),
                Some(others) if *others == leaders => {}
                Some(others) => {
                    return Err(format!("node {} says {leaders:?}, others {others:?}", node.id));
                }
            }
        }
        let agreed = agreed.ok_or_else(|| "no node runs".to_owned())?;
        Ok(agreed.into_iter().map(|(partition, (leader, _))| (partition, leader)).collect())
    }

    /// Leaders by partition, once all running nodes agree.
    ///
    /// # Errors
    ///
    /// When they do not within [`PATIENCE`].
    pub async fn leaders(&mut self) -> Result<BTreeMap<u32, u64>> {
        self.ready().await?;
        wait::until("agreement on leaders", PATIENCE, || self.agreed()).await
    }

    /// The node that leads most partitions.
    ///
    /// # Errors
    ///
    /// When nodes do not agree.
    pub async fn busiest_leader(&mut self) -> Result<u64> {
        let leaders = self.leaders().await?;
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        for leader in leaders.values() {
            *counts.entry(*leader).or_default() += 1;
        }
        counts
            .into_iter()
            .max_by_key(|(_, count)| *count)
            .map(|(node, _)| node)
            .ok_or_else(|| Error::new("no partitions"))
    }

    /// Waits until a node answers at all.
    ///
    /// # Errors
    ///
    /// When it does not within [`PATIENCE`].
    pub async fn answering(&self, id: u64) -> Result<StatusResponse> {
        wait::until("answer to Status", PATIENCE, || self.status(id)).await
    }

    /// What one node says about the cluster.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn status(&self, id: u64) -> Result<StatusResponse, tonic::Status> {
        let channel = caller::channel(&self.node(id).endpoint())
            .map_err(|error| tonic::Status::invalid_argument(error.to_string()))?;
        let mut client = caller::cluster(channel);
        tokio::time::timeout(Duration::from_secs(2), client.status(StatusRequest {}))
            .await
            .map_err(|_| tonic::Status::deadline_exceeded("no answer to Status"))?
            .map(tonic::Response::into_inner)
    }

    /// Status of every partition, from its leader.
    ///
    /// # Errors
    ///
    /// When nodes do not agree or a leader does not answer.
    pub async fn partitions(&mut self) -> Result<Vec<PartitionStatus>> {
        let leaders = self.leaders().await?;
        let mut all = Vec::new();
        for leader in leaders.values().collect::<BTreeSet<_>>() {
            let status = self.status(*leader).await.map_err(|status| Error(status.to_string()))?;
            all.extend(status.partitions.into_iter().filter(|partition| partition.leader == *leader));
        }
        all.sort_by_key(|partition| partition.partition);
        Ok(all)
    }

    /// A caller to all nodes.
    ///
    /// # Errors
    ///
    /// Never for our own addresses.
    pub fn caller(&self) -> Result<Caller> {
        Caller::new(&self.endpoints())
    }

    /// Client endpoints of all nodes, running or not.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.nodes.iter().map(Node::endpoint).collect()
    }

    /// All nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Numbers of all nodes.
    #[must_use]
    pub fn ids(&self) -> Vec<u64> {
        self.nodes.iter().map(|node| node.id).collect()
    }

    /// The directory that holds everything.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// One node.
    ///
    /// # Panics
    ///
    /// If there is no such node.
    #[must_use]
    pub fn node(&self, id: u64) -> &Node {
        self.nodes.iter().find(|node| node.id == id).unwrap_or_else(|| panic!("no node {id}"))
    }

    fn node_mut(&mut self, id: u64) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.id == id).unwrap_or_else(|| panic!("no node {id}"))
    }

    fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.process.is_some())
    }

    /// SIGKILL; returns when the process is gone.
    ///
    /// # Errors
    ///
    /// When the system does not let us wait.
    pub fn kill(&mut self, id: u64) -> Result<()> {
        match self.node_mut(id).process.take() {
            Some(mut process) => process.kill(),
            None => Ok(()),
        }
    }

    /// SIGKILL to all nodes at once.
    ///
    /// # Errors
    ///
    /// When the system does not let us wait.
    pub fn kill_all(&mut self) -> Result<()> {
        for id in self.ids() {
            self.signal(id, libc::SIGKILL)?;
        }
        self.ids().into_iter().try_for_each(|id| self.kill(id))
    }

    /// SIGTERM; returns when the process has stopped by itself.
    ///
    /// # Errors
    ///
    /// When it has not within 20 s.
    pub fn terminate(&mut self, id: u64) -> Result<()> {
        match self.node_mut(id).process.take() {
            Some(mut process) => process.terminate(Duration::from_secs(20)).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Stops the process where it stands, as a long pause would.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn pause(&mut self, id: u64) -> Result<()> {
        self.signal(id, libc::SIGSTOP)
    }

    /// Lets a stopped process go on.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn resume(&mut self, id: u64) -> Result<()> {
        self.signal(id, libc::SIGCONT)
    }

    fn signal(&mut self, id: u64, signal: i32) -> Result<()> {
        match &mut self.node_mut(id).process {
            Some(process) => process.signal(signal),
            None => Ok(()),
        }
    }

    /// Whether a node's process has ended by itself; it then counts as not running.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    pub fn has_ended(&mut self, id: u64) -> Result<bool> {
        let process = &mut self.node_mut(id).process;
        let ended = match process {
            Some(running) => running.exited()?.is_some(),
            None => false,
        };
        if ended {
            *process = None;
        }
        Ok(ended)
    }

    /// Whether every thread of a node's process stands still, as after SIGSTOP.
    ///
    /// # Errors
    ///
    /// When the node does not run.
    pub fn stands_still(&self, id: u64) -> Result<bool> {
        let pid = self.node(id).pid().ok_or_else(|| Error(format!("node {id} does not run")))?;
        proc_stat::stands_still(pid)
    }

    /// Refuses when a process we did not stop has exited.
    ///
    /// # Errors
    ///
    /// Which one, and the end of its log.
    pub fn none_exited(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            let Some(process) = &mut node.process else {
                continue;
            };
            if let Some(status) = process.exited()? {
                return Err(Error(format!("node {} exited, {status}:\n{}", node.id, process.log_tail(25))));
            }
        }
        Ok(())
    }

    /// What all processes have used: sums, and the largest resident set of one.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.running().map(Node::usage).fold(Usage::default(), |sum, one| Usage {
            rss_bytes_max: sum.rss_bytes_max.max(one.rss_bytes_max),
            rss_bytes: sum.rss_bytes.max(one.rss_bytes),
            cpu_s: sum.cpu_s + one.cpu_s,
        })
    }

    /// The ends of all logs.
    #[must_use]
    pub fn logs(&self, lines: usize) -> String {
        self.nodes
            .iter()
            .map(|node| {
                let tail = crate::process::tail(&node.directory.join("log"), lines);
                format!("--- node {} ---\n{tail}\n", node.id)
            })
            .collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs(40));
        }
        // All at once, then each waited for by its own drop.
        for id in self.ids() {
            drop(self.signal(id, libc::SIGKILL));
        }
        for node in &mut self.nodes {
            node.process = None;
        }
        if std::env::var_os("BOSINGAK_KEEP").is_some() {
            self.root.disable_cleanup(true);
            eprintln!("kept {}", self.root.path().display());
        }
    }
}
