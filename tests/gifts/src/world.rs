//! Everything that a gift business needs, running.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use client::Client;
use fakes::Fakes;
use harness::process::{Process, Program};
use harness::{Cluster, binary, wait};

use crate::clock::ClusterClock;
use crate::nodes::Nodes;
use crate::settings::Providers;
use crate::texts;

/// How long executors may take to be at work.
const AT_WORK_WITHIN: Duration = Duration::from_secs(30);
/// How long they may take to end when asked to.
const END_WITHIN: Duration = Duration::from_secs(30);

/// Which time the cluster lives in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Time {
    /// It stands still until [`ClusterClock::advance_to`] moves it. All nodes are one process.
    #[default]
    Virtual,
    /// That of the machine. A process per node.
    Real,
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes: 1 to 3 on a virtual clock. Default: 3.
    pub nodes: u64,
    /// How many partitions. Default: 4 with real time, what the server takes for its default on a virtual clock.
    pub partitions: Option<u32>,
    /// How many gift executors, called `executor-1` and so on. Default: 2.
    pub executors: usize,
    /// Pieces of work each of them does at a time. Default: 16.
    pub concurrency: usize,
    /// The time. Default: virtual.
    pub time: Time,
    /// Further options of every node: `("section.key", value)`, on real time with the value as TOML writes it.
    pub settings: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Options { nodes: 3, partitions: None, executors: 2, concurrency: 16, time: Time::Virtual, settings: Vec::new() }
    }
}

struct Executor {
    name: String,
    process: Process,
}

/// A running business. Dropping it kills every process and removes what they had on disk.
pub struct World {
    // In this order: nobody works on what is gone.
    executors: Vec<Executor>,
    nodes: Nodes,
    client: Client,
    clock: ClusterClock,
    fakes: Fakes,
    concurrency: usize,
    gift_file: PathBuf,
    directory: tempfile::TempDir,
}

impl World {
    /// Starts everything, and returns when executors are at work.
    ///
    /// # Errors
    ///
    /// When a binary is missing (it says how to build it), a port is not to be had, or something is not ready in time: the ends of
    /// the logs.
    pub async fn start(options: Options) -> Result<World> {
        let fakes = Fakes::start(fakes::Options::default()).await?;
        for approved in &texts::APPROVED {
            let done = fakes.solapi().approve(approved.id, Some(approved.title), approved.content);
            done.map_err(anyhow::Error::msg)?;
        }
        let directory = tempfile::Builder::new().prefix("bosingak-gifts-").tempdir()?;
        let gift_file = Providers::of(&fakes).write(directory.path())?;
        let nodes = Nodes::start(&options, directory.path()).await?;
        let client = Client::builder().endpoints(endpoints(&nodes)).connect().await?;
        let clock = ClusterClock::new(&client, fakes.clock().clone(), options.time == Time::Virtual);
        let concurrency = options.concurrency;
        let mut world = World { executors: Vec::new(), nodes, client, clock, fakes, concurrency, gift_file, directory };
        for number in 1..=options.executors {
            world.start_executor(&format!("executor-{number}"))?;
        }
        world.at_work().await?;
        Ok(world)
    }

    /// The providers' stand-ins, in this process.
    pub fn fakes(&self) -> &Fakes {
        &self.fakes
    }

    /// A client of the cluster.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The time of the cluster.
    pub fn clock(&self) -> &ClusterClock {
        &self.clock
    }

    /// Whether time stands still until it is moved.
    pub fn is_virtual(&self) -> bool {
        self.clock.is_virtual()
    }

    /// Where clients call the nodes, over gRPC and HTTP.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.addresses()
    }

    /// The executors' settings.
    pub fn gift_file(&self) -> &Path {
        &self.gift_file
    }

    /// The cluster of processes; none on a virtual clock.
    pub fn cluster(&mut self) -> Option<&mut Cluster> {
        self.nodes.cluster()
    }

    /// Starts one more executor, and does not wait for it.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start_executor(&mut self, name: &str) -> Result<()> {
        let addresses = endpoints(&self.nodes).join(",");
        let concurrency = self.concurrency.to_string();
        let arguments =
            ["--address", addresses.as_str(), "--name", name, "--concurrency", concurrency.as_str(), "--gift"];
        let process = Process::start(Program {
            name: name.to_owned(),
            binary: binary::find("bosingak-executor")?,
            arguments: arguments.map(Into::into).into_iter().chain([self.gift_file.clone().into()]).collect(),
            environment: Vec::new(),
            log: self.directory.path().join(format!("{name}.log")),
            piped: false,
        })?;
        self.executors.push(Executor { name: name.to_owned(), process });
        Ok(())
    }

    /// SIGKILL to an executor; returns when it is gone.
    ///
    /// What it held stays its own until its leases run out, which on a virtual clock is when time has been moved so far.
    ///
    /// # Errors
    ///
    /// When there is none of this name.
    pub fn kill_executor(&mut self, name: &str) -> Result<()> {
        let at = self.executors.iter().position(|executor| executor.name == name);
        let mut executor = self.executors.remove(at.with_context(|| format!("no executor {name}"))?);
        Ok(executor.process.kill()?)
    }

    /// Waits until every executor that was started takes work of every partition.
    ///
    /// # Errors
    ///
    /// Who does not, and the ends of the logs.
    pub async fn at_work(&self) -> Result<()> {
        wait::until("executors at work", AT_WORK_WITHIN, || self.absent()).await.with_context(|| self.logs(20))
    }

    /// Fails with who does not take work of which partition.
    async fn absent(&self) -> Result<(), String> {
        let mut there: BTreeSet<(String, u32)> = BTreeSet::new();
        let mut partitions = 0;
        for endpoint in endpoints(&self.nodes) {
            // Each knows of the partitions that it leads.
            let status = self.client.cluster_status_of(&endpoint).await;
            // One that was killed on purpose leads none.
            let Ok(status) = status else { continue };
            partitions = partitions.max(status.partitions.len() as u32);
            there.extend(status.executors.into_iter().map(|one| (one.executor, one.partition)));
        }
        let wanted =
            self.executors.iter().flat_map(|one| (0..partitions).map(|partition| (one.name.clone(), partition)));
        let absent: Vec<_> = wanted.filter(|one| !there.contains(one)).collect();
        if partitions > 0 && absent.is_empty() {
            Ok(())
        } else {
            Err(format!("of {partitions} partitions: {absent:?}"))
        }
    }

    /// SIGKILL to all nodes at once.
    ///
    /// # Errors
    ///
    /// When the system does not let us wait for their end.
    pub fn kill_nodes(&mut self) -> Result<()> {
        self.nodes.kill()
    }

    /// Starts the nodes that do not run, with what they have on disk; returns when the cluster serves.
    ///
    /// # Errors
    ///
    /// When it does not in time: the ends of the logs.
    pub async fn restart_nodes(&mut self) -> Result<()> {
        self.nodes.restart().await
    }

    /// SIGKILL to one node.
    ///
    /// # Errors
    ///
    /// On a virtual clock, where all nodes are one process.
    pub fn kill_node(&mut self, id: u64) -> Result<()> {
        Ok(self.nodes.cluster().context("nodes on a virtual clock are one process")?.kill(id)?)
    }

    /// Starts one node again, and does not wait.
    ///
    /// # Errors
    ///
    /// On a virtual clock, or when it cannot be started.
    pub fn start_node(&mut self, id: u64) -> Result<()> {
        self.nodes.spawn(id)
    }

    /// The ends of all logs.
    pub fn logs(&self, lines: usize) -> String {
        let executors = self.executors.iter();
        let executors = executors.map(|one| format!("--- {} ---\n{}\n", one.name, one.process.log_tail(lines)));
        format!("{}\n{}", self.nodes.logs(lines), executors.collect::<String>())
    }

    /// Asks everything to end, executors first, and waits.
    ///
    /// # Errors
    ///
    /// Who had to be killed.
    pub async fn end(mut self) -> Result<()> {
        for executor in &mut self.executors {
            if executor.process.exited()?.is_none() {
                executor.process.terminate(END_WITHIN)?;
            }
        }
        self.nodes.end()?;
        self.fakes.shutdown().await;
        Ok(())
    }
}

fn endpoints(nodes: &Nodes) -> Vec<String> {
    nodes.addresses().iter().map(|address| format!("http://{address}")).collect()
}
