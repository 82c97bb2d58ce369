//! Everything a run is about: nodes, providers, executors, and what is known of the gifts.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::proc_stat;
use proto::product::v1::PutProductRequest;
use proto::product::v1::product_service_client::ProductServiceClient;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::clock::Clock;
use super::executors::Executors;
use super::oracle::Gifts;
use super::providers::Providers;
use super::{SharedGifts, wish};
use crate::arguments::Arguments;
use crate::report::Report;
use crate::target::{self, Target};

/// Processes of executors for messages, unless told.
const MESSAGE_EXECUTORS: usize = 2;
/// Handlers at once in each process of executors, unless told.
const HANDLERS: usize = 128;
/// Gifts whose links are opened at the end.
const SAMPLE: u64 = 200;
/// Counts what leaders have put into the log.
const COMMANDS: &str = "bosingak_commands_total";

/// Nodes, providers and executors of a run. All end with this value.
#[derive(Debug)]
pub struct World {
    /// The cluster.
    pub target: Target,
    /// What is known of the gifts.
    pub gifts: SharedGifts,
    /// The cluster's time.
    pub clock: Clock,
    executors: Executors,
    providers: Providers,
    prefix: String,
    // Last: processes must be gone before their directory.
    _place: tempfile::TempDir,
}

/// What was used at a moment, to be compared with a later one.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    at: Instant,
    nodes_s: f64,
    executors_s: f64,
    providers_s: f64,
    generator_s: f64,
    machine_s: f64,
    commands: u64,
}

impl World {
    /// Starts everything, and puts what can be given on sale.
    ///
    /// # Errors
    ///
    /// When something is missing, or does not come up.
    pub async fn start(arguments: &Arguments, expected: u64) -> anyhow::Result<Self> {
        target::provide(&["bosingakd", "bosingak-executor"]).await?;
        let place = tempfile::Builder::new().prefix("bosingak-gifts-").tempdir_in(&arguments.dir)?;
        let place_path = place.path().canonicalize()?;
        let key_file = place_path.join("gift.key");
        std::fs::write(&key_file, format!("{:064x}", arguments.seed))?;
        let clock = Clock::now();
        let settings =
            [("gift.key_file", format!("{:?}", key_file.display().to_string())), ("clock.behind", clock.setting())];
        let target = Target::start_with(arguments, &settings).await?;
        let gifts: SharedGifts = Arc::new(Mutex::new(Gifts::new(expected, SAMPLE)));
        let providers = Providers::start(&place_path, &gifts).await?;
        let executors = Executors::start(
            arguments.executors.unwrap_or(MESSAGE_EXECUTORS),
            arguments.handlers.unwrap_or(HANDLERS),
            &target.endpoints,
            &place_path,
            &providers,
        )?;
        let world = Self {
            prefix: format!("night-{}", arguments.seed),
            target,
            gifts,
            clock,
            executors,
            providers,
            _place: place,
        };
        world.put_products().await?;
        Ok(world)
    }

    /// The id of a gift.
    #[must_use]
    pub fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.prefix)
    }

    /// The number of a gift of ours.
    #[must_use]
    pub fn number(&self, id: &str) -> Option<u64> {
        wish::number(&self.prefix, id)
    }

    /// The providers outside.
    #[must_use]
    pub fn providers(&self) -> &Providers {
        &self.providers
    }

    /// Calls any node until something definite is said.
    ///
    /// # Errors
    ///
    /// When an endpoint is no URL.
    pub fn caller(&self) -> anyhow::Result<harness::caller::Caller> {
        Ok(harness::caller::Caller::new(&self.target.endpoints)?)
    }

    /// Refuses when an executor or the providers have exited.
    ///
    /// # Errors
    ///
    /// Which one, and the end of its log.
    pub fn none_exited(&mut self) -> anyhow::Result<()> {
        self.executors.none_exited()?;
        self.providers.none_exited()?;
        if let Some(cluster) = &mut self.target.cluster {
            cluster.none_exited()?;
        }
        Ok(())
    }

    /// What executors warned of last.
    #[must_use]
    pub fn warnings(&self) -> String {
        self.executors.warnings()
    }

    /// Adds what the processes beside the nodes used.
    pub fn account(&self, report: &mut Report) {
        self.target.account(report);
        report.add("memory_bytes_of_an_executor", self.executors.usage().rss_bytes_max);
        report.add("memory_bytes_of_the_providers", self.providers.usage().rss_bytes_max);
    }

    /// What was used so far.
    ///
    /// # Errors
    ///
    /// When a node does not answer.
    pub async fn spent(&self) -> anyhow::Result<Spent> {
        let mut commands = 0;
        for node in self.target.cluster.iter().flat_map(|cluster| cluster.nodes()) {
            commands += counter(&node.admin.to_string(), COMMANDS).await?;
        }
        Ok(Spent {
            at: Instant::now(),
            nodes_s: self.target.cluster.as_ref().map_or(0.0, |cluster| cluster.usage().cpu_s),
            executors_s: self.executors.usage().cpu_s,
            providers_s: self.providers.usage().cpu_s,
            generator_s: proc_stat::usage(std::process::id()).cpu_s,
            machine_s: proc_stat::machine_cpu_s(),
            commands,
        })
    }

    async fn put_products(&self) -> anyhow::Result<()> {
        let caller = self.caller()?;
        for product in wish::PRODUCTS {
            let request = PutProductRequest { product: Some(wish::product(product)), ..Default::default() };
            caller
                .call(|channel| {
                    let request = request.clone();
                    async move { ProductServiceClient::new(channel).put_product(request).await }
                })
                .await?;
        }
        Ok(())
    }
}

impl Spent {
    /// Seconds that have passed since `before`.
    #[must_use]
    pub fn seconds_since(&self, before: &Self) -> f64 {
        (self.at - before.at).max(Duration::from_millis(1)).as_secs_f64()
    }

    /// Commands put into the log since `before`.
    #[must_use]
    pub fn commands_since(&self, before: &Self) -> u64 {
        self.commands.saturating_sub(before.commands)
    }

    /// Processors kept busy since `before`, by whom.
    #[must_use]
    pub fn processors_since(&self, before: &Self) -> Value {
        let seconds = self.seconds_since(before);
        let busy = |now: f64, then: f64| ((now - then).max(0.0) / seconds * 100.0).round() / 100.0;
        json!({
            "nodes": busy(self.nodes_s, before.nodes_s),
            "executors": busy(self.executors_s, before.executors_s),
            "providers": busy(self.providers_s, before.providers_s),
            "generator": busy(self.generator_s, before.generator_s),
            "machine": busy(self.machine_s, before.machine_s),
            "there_are": std::thread::available_parallelism().map_or(0, usize::from),
        })
    }

    /// What most likely kept it from being faster since `before`, by the figures there are.
    #[must_use]
    pub fn limit_since(&self, before: &Self, sync_p50: Duration) -> String {
        let seconds = self.seconds_since(before);
        let (ours, machine) = (
            [
                ("nodes", self.nodes_s - before.nodes_s),
                ("executors", self.executors_s - before.executors_s),
                ("providers", self.providers_s - before.providers_s),
                ("generator", self.generator_s - before.generator_s),
            ],
            (self.machine_s - before.machine_s) / seconds,
        );
        #[expect(clippy::cast_precision_loss, reason = "a handful of processors")]
        let there_are = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let most = ours.iter().max_by(|left, right| left.1.total_cmp(&right.1)).map_or("nobody", |(name, _)| name);
        let sum: f64 = ours.iter().map(|(_, spent)| spent / seconds).sum();
        if machine < 0.85 * there_are {
            return format!(
                "not the processors ({machine:.1} of {there_are:.0} busy): waiting, for syncs of {:.1} ms and for handlers",
                sync_p50.as_secs_f64() * 1_000.0
            );
        }
        if sum < 0.7 * machine {
            return format!("the processors, {:.1} of {there_are:.0} taken by others on this machine", machine - sum);
        }
        format!("the processors, {sum:.1} of {there_are:.0} ours; most of it the {most}")
    }
}

/// The sum of a counter of a node.
async fn counter(admin: &str, name: &str) -> anyhow::Result<u64> {
    let mut stream = tokio::net::TcpStream::connect(admin).await?;
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.context("/metrics")?;
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
    });
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts far below 2^53")]
    Ok(values.sum::<f64>() as u64)
}
