//! A run from its beginning to its verdict.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use harness::cluster::{Cluster, Host, Options};
use harness::{Error, Result, record, wait};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::arguments::Arguments;
use crate::clocks::{NodeClock, Shim};
use crate::crashes::{self, Crash};
use crate::disks::Disk;
use crate::faults::Fault;
use crate::leftovers;
use crate::nemesis::{Attempt, MEMBERS, World};
use crate::network::{self, Network};
use crate::outcome::{Outcome, Tally};
use crate::overlap::Beside;
use crate::workload::Workload;

/// Hosts for nodes that come and go, beside those of the first members.
const SPARE_HOSTS: u8 = 8;
/// How long everything that is due may take to end once all is healed.
const SETTLED_WITHIN: Duration = Duration::from_secs(90);
/// How early the recorder may see a delivery when clocks are stepped. What a leader stamps without a majority gains a tenth of the
/// time it lasts and 50 ms, here 350 ms at most; what a majority confirms is within half a second of theirs (api/server/src/time_rules.rs).
const CLOCK_ERROR_US: i64 = 500_000;

/// A leader may stand still, or be cut off with a delivery in its buffers, for as long as a fault is held: five seconds, and until
/// calls have succeeded without it.
const HELD_BACK_US: i64 = 35_000_000;

/// The machine's part: what must be there before a runtime is.
pub struct Ground {
    network: Network,
    disks: Vec<Disk>,
    // Last: unmounted before it is removed.
    directory: tempfile::TempDir,
}

impl Ground {
    /// Makes namespaces and disks, and moves the calling thread, and all it will start, to the callers' namespace.
    ///
    /// # Errors
    ///
    /// When the platform does not permit it; what was made is gone again.
    pub fn prepare(arguments: &Arguments) -> io::Result<Ground> {
        let directory = tempfile::Builder::new().prefix("bosingak-chaos-").tempdir_in(&arguments.dir)?;
        let hosts = MEMBERS.len() as u8 + SPARE_HOSTS;
        let disks =
            (1..=hosts).map(|node| Disk::make(directory.path(), &format!("disk-{node}"))).collect::<io::Result<_>>()?;
        let network = Network::start(hosts, arguments.seed)?;
        Ok(Ground { network, disks, directory })
    }
}

/// Injects faults until time is up and each was injected once, heals, and asks the checkers.
///
/// # Errors
///
/// When the cluster cannot be started at all.
pub async fn run(arguments: &Arguments, ground: Ground) -> Result<Outcome> {
    let Ground { network, disks, directory } = ground;
    let clocks = clocks_of(directory.path(), arguments.lie_about_syncs)?;
    let server = if arguments.crash_points { crashes::SERVER } else { "bosingakd" };
    let cluster = Cluster::start(Options {
        settings: settings(arguments.crash_points),
        server: server.into(),
        within: Some(directory.path().to_owned()),
        hosts: hosts(&network, &disks, &clocks, directory.path()),
        ..Options::default()
    })
    .await?;
    let endpoints = MEMBERS.map(|node| cluster.node(node.into()).endpoint()).into();
    let workload = Workload::start(endpoints, arguments.seed).await?;
    let dice = StdRng::seed_from_u64(arguments.seed);
    let orders = directory.path().to_owned();
    let mut world = World { cluster, workload, network, disks, clocks, orders, dice };
    let points = if arguments.crash_points { &raft::crash::POINTS[..] } else { &[] };
    let mut outcome = Outcome {
        seed: arguments.seed,
        faults: arguments.listed().into_iter().map(|fault| (fault, Tally::default())).collect(),
        crashes: points.iter().map(|point| (*point, Tally::default())).collect(),
        beside: BTreeMap::new(),
        allowed: arguments.allow_skip.clone(),
        stuck: None,
        damage: Vec::new(),
        verdict: None,
        packets: world.network.switch().counts(),
    };
    let injected = if arguments.crash_points {
        crash_everywhere(&mut world, arguments, &mut outcome.crashes).await
    } else {
        inject_all(&mut world, arguments, &mut outcome).await
    };
    outcome.packets = world.network.switch().counts();
    let settled = match injected {
        Ok(()) => settle(&mut world).await,
        Err(error) => Err(error),
    };
    match settled {
        Ok(()) => {
            let stepped = outcome.faults.contains_key(&Fault::ClockStep) || !outcome.beside.is_empty();
            outcome.verdict = Some(judge(&world, arguments, stepped));
            match leftovers::verify(&mut world.cluster, server) {
                Ok(damage) => outcome.damage = damage,
                Err(error) => outcome.stuck = Some(error.to_string()),
            }
        }
        Err(error) => outcome.stuck = Some(error.to_string()),
    }
    if outcome.last_word() == crate::outcome::LastWord::Broken {
        keep(&world, arguments)?;
    }
    let World { cluster, workload, network, disks, .. } = world;
    // In this order: nobody may use what is taken away.
    drop(workload);
    drop(cluster);
    drop(disks);
    drop(network);
    drop(directory);
    Ok(outcome)
}

/// One deck after the other, each with every fault once, in an order the seed decides. From the second on something else
/// may be wrong meanwhile.
async fn inject_all(world: &mut World, arguments: &Arguments, outcome: &mut Outcome) -> Result<()> {
    let began = Instant::now();
    let until = Duration::from_secs_f64(arguments.minutes * 60.0);
    let mut first = true;
    while first || began.elapsed() < until {
        let mut deck = arguments.listed();
        deck.shuffle(&mut world.dice);
        for fault in deck {
            if !first && began.elapsed() >= until {
                break;
            }
            let beside = if first { None } else { Beside::draw(fault, !world.clocks.is_empty(), &mut world.dice) };
            let named = beside.map_or_else(|| fault.to_string(), |beside| format!("{fault}, {beside}"));
            eprintln!("{:>6.1} s  {named}", began.elapsed().as_secs_f64());
            let wrong = |error: Error| Error(format!("{named}: {error}"));
            if let Some(beside) = beside {
                world.begin(beside).map_err(wrong)?;
                *outcome.beside.entry(beside).or_default() += 1;
            }
            let attempt = world.inject(fault).await.map_err(wrong)?;
            if let Some(beside) = beside {
                world.end(beside).await.map_err(wrong)?;
            }
            outcome.faults.entry(fault).or_default().count(attempt);
        }
        first = false;
    }
    Ok(())
}

/// Walks through all places where nodes can die, in an order the seed decides; the next walk takes the other way to die.
async fn crash_everywhere(
    world: &mut World,
    arguments: &Arguments,
    tallies: &mut BTreeMap<&'static str, Tally>,
) -> Result<()> {
    let began = Instant::now();
    let until = Duration::from_secs_f64(arguments.minutes * 60.0);
    let mut deck = Crash::deck(&mut world.dice);
    let mut first = true;
    while first || began.elapsed() < until {
        deck.shuffle(&mut world.dice);
        for &crash in &deck {
            if !first && began.elapsed() >= until {
                break;
            }
            eprintln!("{:>6.1} s  {crash}", began.elapsed().as_secs_f64());
            let wrong = |error: Error| Error(format!("{crash}: {error}"));
            let mut attempt = world.crash(crash).await.map_err(wrong)?;
            if matches!(attempt, Attempt::Skipped(_)) {
                // On a busy machine a node may take longer to come by.
                attempt = world.crash(crash).await.map_err(wrong)?;
            }
            tallies.entry(crash.point).or_default().count(attempt);
        }
        deck = deck.into_iter().map(Crash::otherwise).collect();
        first = false;
    }
    Ok(())
}

/// Waits until every trigger has ended, and reads them all.
async fn settle(world: &mut World) -> Result<()> {
    world.progress("after the last fault").await?;
    eprintln!("          healed; waiting for everything to end");
    world.workload.quiet().await;
    world.cluster.ready_within(Duration::from_secs(60)).await?;
    let caller = world.cluster.caller()?;
    let recorder = world.workload.recorder();
    wait::until("end of every trigger", SETTLED_WITHIN, || async {
        record::final_reads(&caller, recorder).await.map_err(|problem| problem.to_string())?;
        let left = recorder.look(|history| {
            use checkers::history::State;
            let open = |state: State| state == State::Scheduled || state == State::Fired;
            history.final_reads.values().filter(|read| open(read.state)).count()
        });
        if left == 0 { Ok(()) } else { Err(format!("{left} have not ended")) }
    })
    .await
}

fn judge(world: &World, arguments: &Arguments, clocks_stepped: bool) -> checkers::Verdict {
    let allowed = checkers::Options {
        clock_error_us: if clocks_stepped { CLOCK_ERROR_US } else { 0 },
        held_back_us: HELD_BACK_US,
        ..checkers::Options::default()
    };
    let verdict = checkers::check(&world.workload.recorder().history(), &allowed);
    if !verdict.is_good() {
        let walk = if arguments.crash_points { " --crash-points" } else { "" };
        eprintln!("replay with: bosingak-chaos --minutes {} --seed {}{walk}", arguments.minutes, arguments.seed);
    }
    verdict
}

/// Keeps what somebody will want to look at.
fn keep(world: &World, arguments: &Arguments) -> Result<()> {
    let kept = arguments.dir.join(format!("chaos-{}-{}", arguments.seed, harness::clock::now_ms()));
    std::fs::create_dir_all(&kept)?;
    let history = world.workload.recorder().history();
    history.write(std::fs::File::create(kept.join("history.jsonl"))?).map_err(|error| Error(error.to_string()))?;
    for node in world.cluster.nodes() {
        let log = node.directory.join("log");
        if log.is_file() {
            std::fs::copy(log, kept.join(format!("node-{}.log", node.id)))?;
        }
    }
    eprintln!("history and logs are in {}", kept.display());
    Ok(())
}

/// None where there is no compiler: the fault is then skipped, and the run says so.
fn clocks_of(directory: &Path, lies: bool) -> Result<Vec<NodeClock>> {
    match Shim::compile(directory, lies) {
        Ok(shim) => MEMBERS.into_iter().map(|node| Ok(NodeClock::new(&shim, directory, node)?)).collect(),
        Err(error) if lies => Err(error.into()),
        Err(error) => {
            eprintln!("clocks cannot be stepped: {error}");
            Ok(Vec::new())
        }
    }
}

fn hosts(network: &Network, disks: &[Disk], clocks: &[NodeClock], orders: &Path) -> Vec<Host> {
    (1u8..)
        .zip(disks)
        .map(|(node, disk)| {
            // Only the network: a mount namespace of its own would keep a disk in use after its power is cut.
            let namespace = format!("--net=/run/netns/{}", network.namespace(node));
            let clock = clocks.get(usize::from(node) - 1);
            let mut environment = clock.map(NodeClock::environment).unwrap_or_default();
            let order = crashes::order_file(orders, node);
            environment.push((raft::crash::FILE.to_owned(), order.display().to_string()));
            Host {
                address: network::address(node),
                prefix: vec!["nsenter".into(), namespace.into()],
                data: disk.data(),
                environment,
            }
        })
        .collect()
}

/// Small disks, and so little log kept that whoever was away for ten seconds needs a snapshot. Where nodes are to die among files of the
/// log, these are small too; elsewhere not, because a torn write is made behind the last one, where there must be room.
fn settings(small_files: bool) -> Vec<(String, String)> {
    let log = [("storage.log_segment", "\"1MiB\""), ("proposer.entry_bytes_max", "\"64KiB\"")];
    let log = log.into_iter().filter(|_| small_files);
    let all = [
        ("storage.free_space_min", "\"64MiB\""),
        ("storage.checkpoint_log", "\"32KiB\""),
        ("storage.checkpoint_age", "\"2s\""),
        ("storage.log_max", "\"96KiB\""),
        // The last to stop finds nobody to hand over to.
        ("shutdown.grace", "\"1s\""),
    ];
    all.into_iter().chain(log).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
