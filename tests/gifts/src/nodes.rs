//! The nodes: on a virtual clock all in one process, which is what can share one; on real time a process each.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use harness::ports::Ports;
use harness::process::{Process, Program};
use harness::{Cluster, binary, wait};

use crate::world::{Options, Time};

/// How long nodes may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long they may take to end when asked to.
const END_WITHIN: Duration = Duration::from_secs(30);

/// A virtual clock's nodes or real time's.
pub enum Nodes {
    /// `bosingakd dev --clock virtual`.
    Together(Together),
    /// `bosingakd serve`, once per node.
    Apart(Box<Apart>),
}

/// All nodes in one process.
pub struct Together {
    nodes: u64,
    settings: Vec<(String, String)>,
    directory: PathBuf,
    first: SocketAddr,
    addresses: Vec<SocketAddr>,
    process: Option<Process>,
    // Held as long as the ports are in use.
    _ports: Ports,
}

/// A process per node.
pub struct Apart {
    cluster: Cluster,
    link_base: String,
    key_file: PathBuf,
}

impl Nodes {
    pub async fn start(options: &Options, directory: &Path) -> Result<Self> {
        match options.time {
            Time::Virtual => Ok(Nodes::Together(Together::start(options, directory).await?)),
            Time::Real => Ok(Nodes::Apart(Box::new(Apart::start(options, directory).await?))),
        }
    }

    /// Where clients call.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        match self {
            Nodes::Together(nodes) => nodes.addresses.clone(),
            Nodes::Apart(nodes) => nodes.cluster.nodes().iter().map(|node| node.client).collect(),
        }
    }

    /// The cluster of processes; none on a virtual clock.
    pub fn cluster(&mut self) -> Option<&mut Cluster> {
        match self {
            Nodes::Together(_) => None,
            Nodes::Apart(nodes) => Some(&mut nodes.cluster),
        }
    }

    /// SIGKILL to all of them.
    pub fn kill(&mut self) -> Result<()> {
        match self {
            Nodes::Together(nodes) => match nodes.process.take() {
                Some(mut process) => Ok(process.kill()?),
                None => Ok(()),
            },
            Nodes::Apart(nodes) => Ok(nodes.cluster.kill_all()?),
        }
    }

    /// Starts those that do not run, with what they have on disk, and waits until they serve.
    pub async fn restart(&mut self) -> Result<()> {
        match self {
            Nodes::Together(nodes) if nodes.process.is_none() => nodes.spawn().await,
            Nodes::Together(_) => Ok(()),
            Nodes::Apart(nodes) => {
                for id in nodes.cluster.ids() {
                    if nodes.cluster.node(id).pid().is_none() {
                        nodes.spawn(id)?;
                    }
                }
                Ok(nodes.cluster.ready().await?)
            }
        }
    }

    /// Starts one node of a cluster of processes again, and does not wait.
    pub fn spawn(&mut self, id: u64) -> Result<()> {
        match self {
            Nodes::Together(_) => bail!("nodes on a virtual clock are one process: start all of them"),
            Nodes::Apart(nodes) => nodes.spawn(id),
        }
    }

    /// The ends of their logs.
    pub fn logs(&self, lines: usize) -> String {
        match self {
            Nodes::Together(nodes) => harness::process::tail(&nodes.log(), lines),
            Nodes::Apart(nodes) => nodes.cluster.logs(lines),
        }
    }

    /// Asks them to end, and waits.
    pub fn end(mut self) -> Result<()> {
        match &mut self {
            Nodes::Together(nodes) => match nodes.process.take() {
                Some(mut process) => process.terminate(END_WITHIN).map(drop).map_err(Into::into),
                None => Ok(()),
            },
            Nodes::Apart(nodes) => {
                for id in nodes.cluster.ids() {
                    nodes.cluster.terminate(id)?;
                }
                Ok(())
            }
        }
    }
}

impl Together {
    async fn start(options: &Options, directory: &Path) -> Result<Self> {
        // Chosen here and not by the system: what the nodes know of each other must be true after a restart. They take ports in steps
        // of ten from the first one on, three each.
        let mut ports = Ports::reserve()?;
        let first = ports.take()?;
        anyhow::ensure!(options.nodes <= 3, "at most 3 nodes on a virtual clock expected, not {}", options.nodes);
        let mut settings = options.settings.clone();
        settings.push(("gift.link_base".to_owned(), format!("http://{first}/g/")));
        if let Some(partitions) = options.partitions {
            settings.push(("cluster.partitions".to_owned(), partitions.to_string()));
        }
        let mut nodes = Together {
            nodes: options.nodes,
            settings,
            directory: directory.to_owned(),
            first,
            addresses: Vec::new(),
            process: None,
            _ports: ports,
        };
        nodes.spawn().await?;
        Ok(nodes)
    }

    fn log(&self) -> PathBuf {
        self.directory.join("nodes.log")
    }

    async fn spawn(&mut self) -> Result<()> {
        let ready = self.directory.join("ready");
        if ready.exists() {
            std::fs::remove_file(&ready).context("of the start before")?;
        }
        let mut arguments: Vec<OsString> = ["dev", "--clock", "virtual"].map(OsString::from).to_vec();
        arguments.extend(["--nodes".into(), self.nodes.to_string().into()]);
        arguments.extend(["--port".into(), self.first.port().to_string().into()]);
        arguments.extend(["--data".into(), self.directory.join("data").into()]);
        arguments.extend(["--ready-file".into(), ready.clone().into()]);
        for (key, value) in &self.settings {
            arguments.extend(["--set".into(), format!("{key}={value}").into()]);
        }
        let process = Process::start(Program {
            name: "bosingakd dev".into(),
            binary: binary::find("bosingakd")?,
            arguments,
            environment: Vec::new(),
            log: self.log(),
            piped: false,
        })?;
        let process = self.process.insert(process);
        let log = self.directory.join("nodes.log");
        let lines = wait::until("nodes that serve", READY_WITHIN, || {
            let seen = match process.exited() {
                Ok(None) => std::fs::read_to_string(&ready).map_err(|error| error.to_string()),
                Ok(Some(status)) => Ok(format!("exited, {status}")),
                Err(error) => Err(error.to_string()),
            };
            std::future::ready(seen)
        })
        .await
        .with_context(|| harness::process::tail(&log, 20))?;
        self.addresses = lines
            .lines()
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
                Ok(line["client"].as_str().context("no client address")?.parse()?)
            })
            .collect::<Result<_>>()
            .with_context(|| harness::process::tail(&log, 20))?;
        Ok(())
    }
}

impl Apart {
    async fn start(options: &Options, directory: &Path) -> Result<Self> {
        let key_file = directory.join("gift.key");
        let key: String = rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::write(&key_file, key)?;
        let mut cluster = Cluster::prepare(harness::cluster::Options {
            nodes: options.nodes,
            partitions: options.partitions.unwrap_or(4),
            settings: options.settings.clone(),
            ..Default::default()
        })?;
        let link_base = format!("http://{}/g/", cluster.node(1).client);
        let ids = cluster.ids();
        cluster.none_exited()?;
        let mut nodes = Apart { cluster, link_base, key_file };
        for id in ids {
            nodes.spawn(id)?;
        }
        nodes.cluster.ready().await?;
        Ok(nodes)
    }

    fn spawn(&mut self, id: u64) -> Result<()> {
        let (link_base, key_file) = (format!("{:?}", self.link_base), format!("{:?}", self.key_file));
        let settings = [("gift.link_base", link_base.as_str()), ("gift.key_file", key_file.as_str())];
        Ok(self.cluster.spawn_set(id, &settings)?)
    }
}
