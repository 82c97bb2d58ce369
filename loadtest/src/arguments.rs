//! What the command line says, checked before anything is started.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::plan;

/// Load scenarios for Bosingak, each a whole measurement with an oracle and a verdict.
///
/// Exit code 0: nothing lost, completed twice, early, or both cancelled and fired, and 99 % of what was tried succeeded
/// where nothing was killed; of gifts also: none sent twice or with two codes, 99.9 % succeeded, and the books agree. 1: otherwise. 2: wrong usage, or nothing can be measured. 130, 143: ended by SIGINT,
/// SIGTERM; the processes it had started are ended too.
#[derive(Clone, Debug, Parser)]
#[command(name = "bosingak-loadtest", version)]
pub struct Arguments {
    /// What to run.
    #[arg(value_enum)]
    pub scenario: Scenario,
    /// Starts this many bosingakd processes for the run (default 3, unless endpoints are given).
    #[arg(long, value_name = "N", conflicts_with = "endpoint")]
    pub spawn: Option<u64>,
    /// Client endpoint of a running cluster; may be repeated.
    #[arg(long, value_name = "URL")]
    pub endpoint: Vec<String>,
    /// Partitions of a spawned cluster.
    #[arg(long, default_value_t = 4)]
    pub partitions: u32,
    /// Same seed, same ids, payloads and arrival times.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Writes the report as JSON.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Added to every sync of the log of spawned nodes: whole milliseconds, such as 2ms.
    #[arg(long, value_parser = length, default_value = "0ms")]
    pub sync_delay: Duration,
    /// Where spawned nodes keep their data; a real disk.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
    /// Triggers, where the scenario has a fixed number of them.
    #[arg(long)]
    pub count: Option<u64>,
    /// How long to load, where the scenario is about a rate.
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// The same in minutes.
    #[arg(long, value_name = "M", conflicts_with = "seconds")]
    pub minutes: Option<u64>,
    /// Calls under way at once.
    #[arg(long)]
    pub concurrency: Option<usize>,
    /// Items of a batch call.
    #[arg(long, default_value_t = 100)]
    pub batch: usize,
    /// Bytes of payload.
    #[arg(long, default_value_t = 200)]
    pub payload: usize,
    /// Executor processes.
    #[arg(long)]
    pub executors: Option<usize>,
    /// Triggers already stored, for growth.
    #[arg(long, default_value_t = 1_000_000)]
    pub pending: u64,
    /// Leaders to kill, for failover.
    #[arg(long, default_value_t = 20)]
    pub kills: u64,
    /// Triggers per second, where arrival is open loop; before the peaks of mixed.
    #[arg(long)]
    pub rate: Option<u64>,
    /// Seconds between the start of a preload and the moment it is due.
    #[arg(long)]
    pub lead: Option<u64>,
    /// Times the gifts of an ordinary day, for valentine: 10 in December, 50 on 14 February.
    #[arg(long, default_value_t = 10)]
    pub factor: u64,
    /// Handlers at once in each process of gift executors.
    #[arg(long)]
    pub handlers: Option<usize>,
    /// Sends calls to any node instead of the leader of the id's partition.
    #[arg(long)]
    pub unrouted: bool,
}

/// What to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// A stream of triggers, 100,000 due at one millisecond, a leader killed on the way.
    Demo,
    /// The ceiling: an empty unary call answered by empty servers in the same process layout.
    Echo,
    /// The same load on etcd, which has to be installed: single puts, then transactions.
    Etcd,
    /// Single unary calls.
    Schedule,
    /// One acknowledgement per item on streams.
    ScheduleStream,
    /// Batch calls.
    ScheduleBatch,
    /// Many triggers due at one millisecond.
    Burst,
    /// How late single triggers are when nothing else goes on.
    Lateness,
    /// Bursts whose leader is killed, again and again.
    Failover,
    /// Schedule rate, burst, memory and restart with many pending, beside an empty twin.
    Growth,
    /// Short holds, 95 of 100 cancelled before they run out, the others fire; every answer to a cancel is checked.
    Churn,
    /// A day within the run: 30 % due at 00:00, 15 % at 09:00, 10 % at 20:00; arrivals ten and fifty times the base rate.
    Mixed,
    /// A steady rate of schedules, cancels, reschedules and completions; the first third beside the last.
    Soak,
    /// Gifts that are all due at one midnight, with payments and messages: each is sent once, and the money is where it should be.
    GiftMidnight,
    /// The first seconds of 14 February: gifts are sent while others are reserved, at ten or fifty times the rate of a day.
    Valentine,
}

impl Scenario {
    /// As the command line names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::Echo => "echo",
            Self::Etcd => "etcd",
            Self::Schedule => "schedule",
            Self::ScheduleStream => "schedule-stream",
            Self::ScheduleBatch => "schedule-batch",
            Self::Burst => "burst",
            Self::Lateness => "lateness",
            Self::Failover => "failover",
            Self::Growth => "growth",
            Self::Churn => "churn",
            Self::Mixed => "mixed",
            Self::Soak => "soak",
            Self::GiftMidnight => "gift-midnight",
            Self::Valentine => "valentine",
        }
    }

    /// Kills nodes, or measures them: has to start them itself.
    fn needs_own_nodes(self) -> bool {
        match self {
            Self::Demo | Self::Echo | Self::Etcd | Self::Failover | Self::Growth => true,
            // The clocks of their nodes are moved.
            Self::GiftMidnight | Self::Valentine => true,
            Self::Schedule | Self::ScheduleStream | Self::ScheduleBatch | Self::Burst | Self::Lateness => false,
            Self::Churn | Self::Mixed | Self::Soak => false,
        }
    }
}

impl Arguments {
    /// Parses and checks; the error is one line.
    ///
    /// # Errors
    ///
    /// When an argument is unknown, malformed or impossible.
    pub fn read(arguments: impl Iterator<Item = std::ffi::OsString>) -> Result<Self, Refusal> {
        let mut parsed = Self::try_parse_from(arguments).map_err(|error| match error.kind() {
            clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion => {
                Refusal::Shown(error.to_string())
            }
            _ => Refusal::Wrong(one_line(&error.to_string())),
        })?;
        parsed.check().map_err(Refusal::Wrong)?;
        parsed.seconds = parsed.minutes.map_or(parsed.seconds, |minutes| minutes * 60);
        Ok(parsed)
    }

    fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) {
                Ok(())
            } else {
                Err(format!("--{name} {value}: expected {min} to {max}"))
            }
        };
        within("spawn", self.nodes(), 0, 7)?;
        if self.spawn == Some(0) {
            return Err("--spawn 0: expected 1 to 7".into());
        }
        within("partitions", self.partitions.into(), 1, 256)?;
        within("seconds", self.seconds, 1, 86_400)?;
        within("minutes", self.minutes.unwrap_or(1), 1, 1_440)?;
        within("batch", self.batch as u64, 1, 1_000)?;
        within("payload", self.payload as u64, 0, 64 << 10)?;
        within("executors", self.executors.unwrap_or(1) as u64, 1, 64)?;
        within("concurrency", self.concurrency.unwrap_or(1) as u64, 1, 100_000)?;
        within("count", self.count.unwrap_or(1), 1, 100_000_000)?;
        within("rate", self.rate.unwrap_or(1), 1, 1_000_000)?;
        within("pending", self.pending, 1, 1_000_000_000)?;
        within("kills", self.kills, 1, 10_000)?;
        within("lead", self.lead.unwrap_or(1), 1, 86_400)?;
        within("factor", self.factor, 1, 1_000)?;
        within("handlers", self.handlers.unwrap_or(1) as u64, 1, 4_096)?;
        if matches!(self.scenario, Scenario::GiftMidnight | Scenario::Valentine) {
            // The provider's books hold a million payments.
            within("count", self.count.unwrap_or(1), 1, 500_000)?;
            let seconds = self.minutes.map_or(self.seconds, |minutes| minutes * 60);
            within("seconds", seconds, 1, 3_600)?;
            let arrivals = plan::gifts_within(self.factor, seconds);
            if self.scenario == Scenario::Valentine && arrivals > 400_000 {
                return Err(format!(
                    "--factor {} for {seconds} s: expected at most 400,000 reservations, got {arrivals}",
                    self.factor
                ));
            }
        }
        if self.scenario == Scenario::Mixed {
            within("seconds", self.seconds, plan::DAY_S_MIN, 86_400)?;
            within("rate", self.rate.unwrap_or(1), 1, 1_000_000 / plan::PEAKS_MAX)?;
        }
        let seconds = self.minutes.map_or(self.seconds, |minutes| minutes * 60);
        if self.rate.is_some_and(|rate| rate * seconds > 100_000_000) {
            return Err(format!("--rate for {seconds} s: expected at most 100,000,000 triggers"));
        }
        if !self.endpoint.is_empty() && self.scenario.needs_own_nodes() {
            return Err(format!("{} starts its own nodes: give --spawn, not --endpoint", self.scenario.name()));
        }
        if matches!(self.scenario, Scenario::Demo | Scenario::Failover) && self.nodes() < 3 {
            return Err(format!(
                "--spawn {}: {} kills a node, which takes at least 3",
                self.nodes(),
                self.scenario.name()
            ));
        }
        if !self.dir.is_dir() {
            return Err(format!("--dir {}: no such directory", self.dir.display()));
        }
        Ok(())
    }

    /// How many nodes to start; 0 when endpoints are given.
    #[must_use]
    pub fn nodes(&self) -> u64 {
        if self.endpoint.is_empty() { self.spawn.unwrap_or(3) } else { 0 }
    }
}

/// Why there is nothing to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Help or version was asked for.
    Shown(String),
    /// Wrong usage, in one line.
    Wrong(String),
}

/// The first paragraph of an error of clap, without its label.
fn one_line(error: &str) -> String {
    let paragraph: Vec<&str> = error.lines().take_while(|line| !line.trim().is_empty()).map(str::trim).collect();
    paragraph.join(" ").trim_start_matches("error: ").to_owned()
}

/// "2ms", "1s".
fn length(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| "expected a length such as 2ms or 1s".to_owned())?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        _ => Err("expected a unit: ms or s".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Arguments, Refusal> {
        Arguments::read(std::iter::once("loadtest").chain(text.split_whitespace()).map(Into::into))
    }

    /// Red when a wrong usage is let through, or explained in more than a line.
    #[test]
    fn wrong_usage_is_one_line() {
        for text in [
            "",
            "nothing",
            "burst --count many",
            "burst --count 0",
            "burst --spawn 0",
            "burst --spawn 3 --endpoint http://127.0.0.1:1",
            "demo --endpoint http://127.0.0.1:1",
            "demo --spawn 1",
            "schedule-batch --batch 1001",
            "schedule --payload 65537",
            "schedule --sync-delay 5",
            "schedule --dir /no/such/place",
            "schedule --unknown",
            "soak --minutes 0",
            "gift-midnight --count 500001",
            "gift-midnight --endpoint http://127.0.0.1:1",
            "gift-midnight --handlers 0",
            "valentine --factor 0",
            "valentine --seconds 3601",
            "valentine --factor 50 --seconds 1800",
            "soak --minutes 1 --seconds 5",
            "soak --rate 1000000 --minutes 1440",
            "mixed --seconds 4",
            "mixed --rate 20001",
        ] {
            match read(text) {
                Err(Refusal::Wrong(line)) => {
                    assert!(!line.is_empty() && !line.contains('\n'), "{text}: {line}")
                }
                other => panic!("{text}: {other:?}"),
            }
        }
        assert!(matches!(read("--help"), Err(Refusal::Shown(_))));
    }

    #[test]
    fn right_usage_is_understood() {
        let arguments = read("burst --count 5 --sync-delay 2ms").unwrap();
        assert_eq!((arguments.nodes(), arguments.count), (3, Some(5)));
        assert_eq!(arguments.sync_delay, Duration::from_millis(2));
        assert_eq!(read("schedule --endpoint http://127.0.0.1:1").unwrap().nodes(), 0);
        assert_eq!(read("soak --minutes 2").unwrap().seconds, 120);
    }
}
