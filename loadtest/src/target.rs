//! What is measured: a cluster of our own, or one that is running.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use harness::cluster::{Cluster, Options};
use harness::proc_stat::{self, Usage};
use tokio::process::Command;

use crate::arguments::Arguments;
use crate::report::Report;
use crate::router::Router;

/// A cluster under load.
#[derive(Debug)]
pub struct Target {
    /// Ours to kill, when it is.
    pub cluster: Option<Cluster>,
    /// Client endpoints.
    pub endpoints: Vec<String>,
    /// Calls to them.
    pub router: Arc<Router>,
    before: Usage,
    written_before: u64,
    file_system: String,
    sync_p50: Duration,
    sync_delay: Duration,
}

impl Target {
    /// Starts the nodes, or finds those that run.
    ///
    /// # Errors
    ///
    /// When there is no server binary, the nodes do not come up, or an endpoint does not answer.
    pub async fn start(arguments: &Arguments) -> anyhow::Result<Self> {
        Self::start_with(arguments, &[]).await
    }

    /// Like [`Self::start`], with further settings of nodes of our own, as TOML writes their values.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub async fn start_with(arguments: &Arguments, settings: &[(&str, String)]) -> anyhow::Result<Self> {
        let cluster = match arguments.nodes() {
            0 => None,
            nodes => {
                provide(&["bosingakd"]).await?;
                let mut options = Options {
                    nodes,
                    partitions: arguments.partitions,
                    within: Some(arguments.dir.clone()),
                    ..Options::default()
                }
                .with("raft.sync_delay", &format!("\"{}ms\"", arguments.sync_delay.as_millis()));
                for (key, value) in settings {
                    options = options.with(key, value);
                }
                Some(Cluster::start(options).await?)
            }
        };
        let endpoints = cluster.as_ref().map_or_else(|| arguments.endpoint.clone(), Cluster::endpoints);
        let router = Arc::new(Router::new(&endpoints, arguments.unrouted).await?);
        let (file_system, sync_p50) = match &cluster {
            Some(cluster) => disk(cluster.root())?,
            None => ("not ours".into(), Duration::ZERO),
        };
        Ok(Self {
            written_before: cluster.as_ref().map_or(0, |cluster| proc_stat::disk_written_bytes(cluster.root())),
            before: cluster.as_ref().map(Cluster::usage).unwrap_or_default(),
            cluster,
            endpoints,
            router,
            file_system,
            sync_p50,
            sync_delay: arguments.sync_delay,
        })
    }

    /// A report that says what it was measured on.
    #[must_use]
    pub fn report(&self, scenario: &str) -> Report {
        let mut report = Report::new(scenario, self.endpoints.len() as u64, self.router.partitions());
        describe_disk(&mut report, &self.file_system, self.sync_p50);
        report.add("sync_delay_ms", self.sync_delay.as_secs_f64() * 1_000.0);
        report
    }

    /// The median sync of the disk the nodes are on.
    #[must_use]
    pub fn sync_p50(&self) -> Duration {
        self.sync_p50
    }

    /// Adds what the nodes used since the start.
    pub fn account(&self, report: &mut Report) {
        let Some(cluster) = &self.cluster else { return };
        let usage = cluster.usage();
        report.rss_bytes_max = usage.rss_bytes_max;
        // A node that was killed takes its share with it.
        report.cpu_s = (usage.cpu_s - self.before.cpu_s).max(0.0);
        let written = proc_stat::disk_written_bytes(cluster.root()).saturating_sub(self.written_before);
        let shares = report.count * report.nodes;
        #[expect(clippy::cast_precision_loss, reason = "a mean for people")]
        if shares > 0 {
            report.bytes_written_per_trigger = written as f64 / shares as f64;
        }
    }

    /// The cluster, when it is ours.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub fn own(&mut self) -> anyhow::Result<&mut Cluster> {
        self.cluster.as_mut().context("this takes a cluster of our own: --spawn")
    }
}

/// Names the file system and the median sync; on tmpfs a report is worth nothing.
///
/// # Errors
///
/// When the directory cannot be written, or lies in memory.
pub fn disk(directory: &Path) -> anyhow::Result<(String, Duration)> {
    let file_system = proc_stat::file_system(directory);
    if file_system == "tmpfs" || file_system == "ramfs" {
        bail!("{} lies on {file_system}, where syncs cost nothing: give --dir on a disk", directory.display());
    }
    Ok((file_system, proc_stat::sync_p50(directory)?))
}

/// Adds file system and median sync to a report.
pub fn describe_disk(report: &mut Report, file_system: &str, sync_p50: Duration) {
    report.add("file_system", file_system);
    report.add("sync_p50_ms", sync_p50.as_secs_f64() * 1_000.0);
}

/// What can be built, of which package, out of what.
const BUILT: [(&str, &str, &[&str]); 2] = [
    ("bosingakd", "bosingak-server", &["scheduler", "raft", "api"]),
    ("bosingak-executor", "executor", &["executor", "clients/rust", "api/proto"]),
];

/// Builds the binaries that are absent or older than their sources, unless told where they are.
///
/// # Errors
///
/// When one is not there and does not build.
pub async fn provide(binaries: &[&str]) -> anyhow::Result<()> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    // Installed without the sources, what is there has to do.
    let told = std::env::var_os(harness::binary::BINARIES).is_some() || !workspace.join("Cargo.toml").is_file();
    for name in binaries {
        if told {
            harness::binary::find(name)?;
        } else if let Some((name, package, sources)) = BUILT.iter().find(|(built, ..)| built == name) {
            build(workspace, name, package, sources).await?;
        }
    }
    Ok(())
}

async fn build(workspace: &Path, name: &str, package: &str, sources: &[&str]) -> anyhow::Result<()> {
    let directory = harness::binary::directory()?;
    let built = modified(&directory.join(name));
    if built.is_some_and(|built| built >= newest_source(workspace, sources)) {
        return Ok(());
    }
    let target = directory.parent().unwrap_or(&directory);
    eprintln!("building {name}, which is absent or older than its sources (the first time takes 15 minutes)");
    let status = Command::new("cargo")
        .args(["build", "--release", "--package", package, "--bin", name])
        .current_dir(workspace)
        .env("CARGO_TARGET_DIR", target)
        // A run that is interrupted does not leave a build behind.
        .kill_on_drop(true)
        .status()
        .await
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("{name} does not build");
    }
    // Cargo leaves the file alone when nothing it looks at changed; then it is as new as it can be.
    if let Ok(file) = std::fs::File::options().append(true).open(directory.join(name)) {
        drop(file.set_modified(SystemTime::now()));
    }
    Ok(())
}

fn newest_source(workspace: &Path, sources: &[&str]) -> SystemTime {
    let mut newest = SystemTime::UNIX_EPOCH;
    let mut places: Vec<PathBuf> = sources.iter().map(|place| workspace.join(place)).collect();
    while let Some(place) = places.pop() {
        let entries = std::fs::read_dir(&place).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            let is_source =
                path.extension().is_some_and(|ending| ["rs", "proto", "toml"].iter().any(|of| ending == *of));
            if path.is_dir() {
                places.push(path);
            } else if is_source {
                newest = newest.max(modified(&path).unwrap_or(SystemTime::UNIX_EPOCH));
            }
        }
    }
    newest
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|metadata| metadata.modified()).ok()
}
