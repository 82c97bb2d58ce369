//! The load of openraft issue 2116, over the log of this crate.
//!
//! Three replicas in one process on two worker threads, an in-process network, a counter as state machine, a log each on
//! disk. Clients write entries at a fixed rate while snapshots are built and logs are purged. With `--faults cut` replicas
//! are cut off until they need a snapshot; with `--faults answers` a follower's answers get lost, so that it is sent
//! snapshots of entries it already has, one after the other; `--faults replay` plays the interleaving behind the issue
//! to a single follower. The run fails when the core of a replica stops, when replicas end up
//! different, or when an acknowledged write is missing.
//!
//! ```text
//! cargo run --release -p raft --example stress_2116 -- --seconds 600 --rate 16000
//! cargo run --release -p raft --example stress_2116 -- --seconds 300 --rate 4000 --faults cut --install-ms 400
//! cargo run --release -p raft --example stress_2116 -- --seconds 60 --rate 4000 --faults answers --install-ms 400 --snapshot-timeout-ms 100
//! ```

mod machine;
mod network;
mod replay;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::Fatal;
use openraft::{Config, Raft, SnapshotPolicy};
use raft::log::{FileIo, Log, LogConfig, SlowSync};
use raft::types::{Member, Payload, TypeConfig};

use machine::{Counter, Image};
use network::{Core, Link, Network};

const REPLICAS: std::ops::RangeInclusive<u64> = 1..=3;
const KEPT_ENTRIES: u64 = 1000;

static PANICS: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Faults {
    None,
    Cut,
    Answers,
    Replay,
}

#[derive(Clone, Debug)]
struct Options {
    seconds: u64,
    rate: u64,
    payload_bytes: usize,
    clients: u64,
    snapshot_entries: u64,
    faults: Faults,
    install_ms: u64,
    snapshot_timeout_ms: u64,
    sync_delay_us: u64,
    dir: PathBuf,
}

impl Options {
    fn from_args() -> Result<Options, String> {
        let mut options = Options {
            seconds: 60,
            rate: 16_000,
            payload_bytes: 1024,
            clients: 256,
            snapshot_entries: 50_000,
            faults: Faults::None,
            install_ms: 0,
            snapshot_timeout_ms: 600_000,
            sync_delay_us: 0,
            dir: std::env::temp_dir().join("bosingak-stress-2116"),
        };
        let mut args = std::env::args().skip(1);
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            if name == "--dir" {
                options.dir = value.into();
                continue;
            }
            if name == "--faults" {
                options.faults = match value.as_str() {
                    "none" => Faults::None,
                    "cut" => Faults::Cut,
                    "answers" => Faults::Answers,
                    "replay" => Faults::Replay,
                    _ => return Err(format!("--faults {value}: none, cut, answers or replay")),
                };
                continue;
            }
            let number: u64 = value.parse().map_err(|e| format!("{name} {value}: {e}"))?;
            match name.as_str() {
                "--seconds" => options.seconds = number,
                "--rate" => options.rate = number.max(1),
                "--payload-bytes" => options.payload_bytes = number as usize,
                "--clients" => options.clients = number.max(1),
                "--snapshot-entries" => options.snapshot_entries = number,
                "--install-ms" => options.install_ms = number,
                "--snapshot-timeout-ms" => options.snapshot_timeout_ms = number,
                "--sync-delay-us" => options.sync_delay_us = number,
                _ => return Err(format!("unknown option {name}")),
            }
        }
        Ok(options)
    }
}

/// What the clients saw.
#[derive(Default)]
struct Seen {
    acknowledged: AtomicU64,
    refused: AtomicU64,
    micros: Mutex<Vec<u32>>,
}

async fn client(number: u64, options: Options, network: Arc<Network>, seen: Arc<Seen>, began: Instant) {
    let cores = network.cores.get().expect("started").clone();
    let payload = Payload(Bytes::from(vec![number as u8; options.payload_bytes]));
    let mut leader = 1;
    let mut micros = Vec::new();
    for turn in 0.. {
        // Open loop: the next write is due at its time, however long the ones before took.
        let due = began + Duration::from_nanos((turn * options.clients + number) * 1_000_000_000 / options.rate);
        if due.duration_since(began).as_secs() >= options.seconds {
            break;
        }
        tokio::time::sleep_until(due.into()).await;
        let sent = Instant::now();
        match cores[&leader].client_write(payload.clone()).await {
            Ok(_) => {
                seen.acknowledged.fetch_add(1, Ordering::Relaxed);
                micros.push(sent.elapsed().as_micros() as u32);
            }
            Err(_) => {
                seen.refused.fetch_add(1, Ordering::Relaxed);
                leader = cores[&leader].current_leader().await.unwrap_or(leader % 3 + 1);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    seen.micros.lock().expect("latencies").extend(micros);
}

/// Asks every replica for a snapshot, and a moment later to purge what it covers but `kept` entries.
async fn snapshot_and_purge(cores: &BTreeMap<u64, Core>, wait: Duration, kept: u64) {
    for core in cores.values() {
        let _ = core.trigger().snapshot().await;
    }
    tokio::time::sleep(wait).await;
    for core in cores.values() {
        let upto = core.metrics().borrow_watched().snapshot.map_or(0, |id| id.index.saturating_sub(kept));
        let _ = core.trigger().purge_log(upto).await;
    }
}

/// Snapshots and purges on every replica, and the faults that were asked for.
async fn disturb(options: Options, network: Arc<Network>) {
    let cores = network.cores.get().expect("started");
    let ms = Duration::from_millis;
    for turn in 0u64.. {
        let victim = (1 + turn % 3) as usize;
        match options.faults {
            Faults::None | Faults::Replay => {
                tokio::time::sleep(ms(1500)).await;
                snapshot_and_purge(cores, ms(500), KEPT_ENTRIES / 2).await;
            }
            Faults::Cut => {
                network.cut_off[victim].store(true, Ordering::Relaxed);
                tokio::time::sleep(ms(1000)).await;
                snapshot_and_purge(cores, ms(500), KEPT_ENTRIES / 2).await;
                network.cut_off[victim].store(false, Ordering::Relaxed);
                tokio::time::sleep(ms(500)).await;
            }
            Faults::Answers => {
                network.answers_lost[victim].store(true, Ordering::Relaxed);
                tokio::time::sleep(ms(20 + turn * 37 % 200)).await;
                snapshot_and_purge(cores, ms(20), 0).await;
                network.answers_lost[victim].store(false, Ordering::Relaxed);
                for _ in 0..12 {
                    snapshot_and_purge(cores, ms(50), 0).await;
                }
                tokio::time::sleep(ms(500)).await;
            }
        }
    }
}

/// Why cores stopped, if any did.
fn stopped(network: &Network) -> Vec<(u64, Fatal<TypeConfig>)> {
    let cores = network.cores.get().expect("started");
    let state = |core: &Core| core.metrics().borrow_watched().running_state.clone();
    cores.iter().filter_map(|(id, core)| state(core).err().map(|fatal| (*id, fatal))).collect()
}

async fn run(options: Options) -> Result<(), String> {
    let config = Config {
        heartbeat_interval: 150,
        election_timeout_min: 600,
        election_timeout_max: 900,
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(options.snapshot_entries),
        max_in_snapshot_log_to_keep: KEPT_ENTRIES,
        install_snapshot_timeout: options.snapshot_timeout_ms,
        backoff: "50ms 100ms 200ms ..2s".into(),
        ..Config::default()
    };
    let config = Arc::new(config.validate().map_err(|e| e.to_string())?);
    let network = Arc::new(Network {
        snapshot_timeout: Duration::from_millis(options.snapshot_timeout_ms),
        ..Network::default()
    });
    let (mut logs, mut cores, mut images) = (Vec::new(), BTreeMap::new(), Vec::new());
    let installs = Arc::new(AtomicU64::new(0));
    for id in REPLICAS {
        let dir = options.dir.join(format!("node-{id}"));
        let io = SlowSync::new(FileIo, Duration::from_micros(options.sync_delay_us));
        let log = Log::open(&dir, LogConfig::default(), Box::new(io)).map_err(|e| e.to_string())?;
        let machine = Counter {
            image: Arc::default(),
            snapshot: Arc::default(),
            installs: installs.clone(),
            install_time: Duration::from_millis(options.install_ms),
        };
        images.push(machine.image.clone());
        let link = Link { from: id, to: 0, network: network.clone() };
        let core = Raft::new(id, config.clone(), link, log.group(1), machine).await.map_err(|e| e.to_string())?;
        cores.insert(id, core);
        logs.push(log);
    }
    let members = |id| (id, Member { node: id, ..Member::default() });
    network.cores.set(cores.clone()).map_err(|_| "started twice".to_owned())?;
    cores[&1].initialize(REPLICAS.map(members).collect::<BTreeMap<_, _>>()).await.map_err(|e| e.to_string())?;
    cores[&1].wait(Some(Duration::from_secs(10))).current_leader(1, "a leader").await.map_err(|e| e.to_string())?;

    let (seen, began) = (Arc::new(Seen::default()), Instant::now());
    let clients = (0..options.clients)
        .map(|number| tokio::spawn(client(number, options.clone(), network.clone(), seen.clone(), began)))
        .collect::<Vec<_>>();
    let disturbance = tokio::spawn(disturb(options.clone(), network.clone()));
    let mut last = 0;
    while began.elapsed().as_secs() < options.seconds && stopped(&network).is_empty() {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let done = seen.acknowledged.load(Ordering::Relaxed);
        let refused = seen.refused.load(Ordering::Relaxed);
        let stats = logs[0].stats();
        println!(
            "{:4} s: {:6} writes/s, {refused} refused, {} installs, log of node 1: {} segments, {} MiB cached",
            began.elapsed().as_secs(),
            (done - last) / 5,
            installs.load(Ordering::Relaxed),
            stats.segments,
            stats.cached_bytes >> 20,
        );
        last = done;
    }
    let dead = stopped(&network);
    if !dead.is_empty() {
        return Err(format!("cores stopped after {} s: {dead:?}", began.elapsed().as_secs()));
    }
    for client in clients {
        client.await.map_err(|e| e.to_string())?;
    }
    disturbance.abort();
    for fault in network.cut_off.iter().chain(&network.answers_lost) {
        fault.store(false, Ordering::Relaxed);
    }
    finish(&network, &seen, &images).await
}

/// Waits until the replicas agree and compares.
async fn finish(network: &Network, seen: &Seen, images: &[Arc<Mutex<Image>>]) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let image = |at: usize| images[at].lock().expect("an image").clone();
    while (1..3).any(|at| image(at) != image(0)) {
        if Instant::now() > deadline || !stopped(network).is_empty() {
            let all: Vec<_> = (0..3).map(image).map(|i| (i.applied, i.entries, i.checksum)).collect();
            return Err(format!("replicas differ: {all:?}, stopped: {:?}", stopped(network)));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (applied, acknowledged) = (image(0).entries, seen.acknowledged.load(Ordering::Relaxed));
    if applied < acknowledged {
        return Err(format!("{acknowledged} writes acknowledged, {applied} applied"));
    }
    let mut micros = std::mem::take(&mut *seen.micros.lock().expect("latencies"));
    micros.sort_unstable();
    let at = |q: f64| micros.get((micros.len() as f64 * q) as usize).map_or(0.0, |us| f64::from(*us) / 1000.0);
    println!(
        "{acknowledged} writes acknowledged, {} refused, {applied} entries applied on all three, p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms",
        seen.refused.load(Ordering::Relaxed),
        at(0.5),
        at(0.99),
        at(0.999),
    );
    Ok(())
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(io::stderr)
        .init();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        hook(info);
    }));
    let options = match Options::from_args() {
        Ok(options) => options,
        Err(what) => {
            eprintln!("{what}");
            return ExitCode::from(2);
        }
    };
    println!("{options:?}");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let result = match options.faults {
        Faults::Replay => runtime.block_on(replay::run(&options.dir)),
        _ => runtime.block_on(run(options)),
    };
    let panics = PANICS.load(Ordering::Relaxed);
    match result {
        Ok(()) if panics == 0 => {
            println!("ok: no panic, replicas agree");
            ExitCode::SUCCESS
        }
        Ok(()) => {
            println!("FAILED: {panics} panics");
            ExitCode::FAILURE
        }
        Err(what) => {
            println!("FAILED: {what} ({panics} panics)");
            ExitCode::FAILURE
        }
    }
}
