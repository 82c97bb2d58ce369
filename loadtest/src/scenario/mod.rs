//! The scenarios, one file each, and what they share.

mod burst;
mod churn;
mod demo;
mod echo;
mod etcd;
mod failover;
mod gift_midnight;
mod gifts;
mod growth;
mod lateness;
mod mixed;
mod schedule;
mod soak;
mod valentine;
mod verify;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::arguments::{Arguments, Scenario};
use crate::executors::{SharedOracle, lock};
use crate::load::Load;
use crate::progress::Progress;
use crate::report::Report;

/// Runs the scenario of the arguments.
///
/// # Errors
///
/// When it cannot be measured; a bad verdict is no error but in the report.
pub async fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    let run = Run { arguments: arguments.clone(), progress: Progress::default() };
    match arguments.scenario {
        Scenario::Demo => demo::run(&run).await,
        Scenario::Etcd => etcd::run(&run).await,
        Scenario::Echo => echo::run(&run).await,
        Scenario::Schedule | Scenario::ScheduleStream | Scenario::ScheduleBatch => schedule::run(&run).await,
        Scenario::Burst => burst::run(&run).await,
        Scenario::Lateness => lateness::run(&run).await,
        Scenario::Failover => failover::run(&run).await,
        Scenario::Growth => growth::run(&run).await,
        Scenario::Churn => churn::run(&run).await,
        Scenario::Mixed => mixed::run(&run).await,
        Scenario::Soak => soak::run(&run).await,
        Scenario::GiftMidnight => gift_midnight::run(&run).await,
        Scenario::Valentine => valentine::run(&run).await,
    }
}

/// What every scenario has.
#[derive(Debug)]
struct Run {
    arguments: Arguments,
    progress: Progress,
}

impl Run {
    fn load(&self, topic: &str, partitions: u32) -> Arc<Load> {
        Arc::new(Load::new(topic, self.arguments.seed, partitions, self.arguments.payload))
    }
}

/// Before the run is measured: connections are made, memory is touched.
const WARM_UP: Duration = Duration::from_secs(1);

/// Waits until nothing is outstanding; gives up when nothing has moved for `patience`.
async fn drained(oracle: &SharedOracle, patience: Duration) -> bool {
    let mut least = u64::MAX;
    let mut moved = Instant::now();
    loop {
        let outstanding = lock(oracle).outstanding();
        if outstanding == 0 {
            return true;
        }
        if outstanding < least {
            least = outstanding;
            moved = Instant::now();
        }
        if moved.elapsed() > patience {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Sleeps until a moment of the machine's clock.
async fn until_ms(at_ms: i64) {
    while harness::clock::now_ms() < at_ms {
        let left = u64::try_from(at_ms - harness::clock::now_ms()).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(left.min(50))).await;
    }
}

/// Takes over what the oracle of `load` knows, for all triggers that were to fire by now.
fn take(report: &mut Report, load: &Load) {
    let oracle = lock(&load.oracle);
    report.take(&oracle.tally(harness::clock::now_ms()));
    report.errors = oracle.errors().clone();
    let (single, burst) = oracle.lateness();
    let mut lateness = single.clone();
    lateness.merge(burst);
    report.lateness_ms = lateness.percentiles();
    if !oracle.retries().is_empty() {
        report.add("retried_attempts", serde_json::json!(oracle.retries()));
    }
}
