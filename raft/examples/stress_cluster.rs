//! The load of openraft issue 2116 on the real parts: three nodes in one process over loopback, each with its log and its rows on disk,
//! checkpoints, purges and snapshots under way, and, if asked, leaders and followers that are stopped on the way.
//!
//! The run fails when a core died, when replicas end up different, or when an acknowledged entry is missing.
//!
//! ```text
//! cargo run --release -p raft --example stress_cluster -- --seconds 600 --rate 16000 --bytes 1024
//! cargo run --release -p raft --example stress_cluster -- --seconds 120 --rate 4000 --restart-every 10
//! ```

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use raft::{Batch, Checkpoints, Committed, Config, Halt, Member, Node, ProposeError, Snapshot, StateMachine, Store};
use tokio::net::TcpListener;

struct Options {
    seconds: u64,
    rate: u64,
    bytes: usize,
    callers: u64,
    partitions: u32,
    restart_every: u64,
    dir: PathBuf,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        seconds: 60,
        rate: 16_000,
        bytes: 1024,
        callers: 256,
        partitions: 1,
        restart_every: 0,
        dir: std::env::temp_dir().join(format!("stress-cluster-{}", std::process::id())),
    };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|e| format!("{name} {value}: {e}"));
        match name.as_str() {
            "--seconds" => options.seconds = number()?,
            "--rate" => options.rate = number()?.max(1),
            "--bytes" => options.bytes = usize::try_from(number()?).unwrap_or(1024).max(16),
            "--callers" => options.callers = number()?.max(1),
            "--partitions" => options.partitions = u32::try_from(number()?).unwrap_or(1),
            "--restart-every" => options.restart_every = number()?,
            "--dir" => options.dir = value.into(),
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok(options)
}

/// Keeps how many entries there were and a digest of them; overwrites one of 100,000 rows with each.
#[derive(Default)]
struct Ring {
    count: u64,
    digest: u64,
}

const SUMS: &[u8] = b"sums";

fn sums(store: &Store) -> (u64, u64) {
    let row = store.get(SUMS).ok().flatten().unwrap_or_default();
    let number = |at: usize| row.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_be_bytes);
    (number(0), number(8))
}

impl StateMachine for Ring {
    type Reply = u64;

    fn apply(&mut self, _: &Store, entries: &[Committed], batch: &mut Batch) -> Result<Vec<u64>, Halt> {
        let mut replies = Vec::with_capacity(entries.len());
        for entry in entries {
            self.count += 1;
            let sum =
                entry.payload.iter().fold(entry.index, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
            self.digest = self.digest.rotate_left(5) ^ sum;
            batch.put(format!("row/{}", entry.index % 100_000).as_bytes(), &entry.payload);
            replies.push(self.count);
        }
        let row = [self.count.to_be_bytes(), self.digest.to_be_bytes()].concat();
        batch.put(SUMS, &row);
        Ok(replies)
    }

    fn applied(&mut self, _: &Store) {}

    fn restored(&mut self, store: &Store) -> Result<(), Halt> {
        (self.count, self.digest) = sums(store);
        Ok(())
    }

    fn flushed(&mut self, _: &Snapshot) {}
}

type Nodes = Vec<tokio::sync::RwLock<Option<Node<Ring>>>>;

async fn open(options: &Options, member: &Member, listener: TcpListener) -> Result<Node<Ring>, raft::Error> {
    let mut config = Config::new("stress", member.clone(), options.dir.join(member.node.to_string()));
    config.partitions = options.partitions;
    config.log.segment_bytes = 16 << 20;
    config.checkpoints = Checkpoints {
        log_bytes: 8 << 20,
        log_bytes_max: 64 << 20,
        follower_patience: Duration::from_secs(1),
        interval: Duration::from_millis(500),
        ..Checkpoints::default()
    };
    Node::open(config, listener, |_| Ring::default()).await
}

#[derive(Default)]
struct Tally {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    unknown: AtomicU64,
    refused: AtomicU64,
    micros: AtomicU64,
    slowest_micros: AtomicU64,
}

/// Proposes at its share of the rate to whoever leads.
async fn call(nodes: Arc<Nodes>, tally: Arc<Tally>, options: Arc<Options>, number: u64) {
    let partition = u32::try_from(number).unwrap_or(0) % options.partitions;
    let mut beat = tokio::time::interval(Duration::from_secs_f64(options.callers as f64 / options.rate as f64));
    let payload = Bytes::from(vec![number as u8; options.bytes]);
    while !tally.stop.load(Ordering::Relaxed) {
        beat.tick().await;
        let mut leader = None;
        for node in nodes.iter() {
            let node = node.read().await;
            let Some(group) = node.as_ref().and_then(|node| node.group(partition)) else { continue };
            let leadership = group.leadership().borrow().clone();
            if leadership.we_lead {
                leader = Some((group.clone(), leadership.term));
            }
        }
        let Some((group, term)) = leader else { continue };
        let begun = Instant::now();
        match group.propose(term, payload.clone()).await {
            Ok(_) => {
                let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                tally.acknowledged.fetch_add(1, Ordering::Relaxed);
                tally.micros.fetch_add(micros, Ordering::Relaxed);
                tally.slowest_micros.fetch_max(micros, Ordering::Relaxed);
            }
            Err(ProposeError::OutcomeUnknown) => _ = tally.unknown.fetch_add(1, Ordering::Relaxed),
            Err(_) => _ = tally.refused.fetch_add(1, Ordering::Relaxed),
        }
    }
}

async fn run(options: Arc<Options>) -> Result<bool, Box<dyn std::error::Error>> {
    let mut members = Vec::new();
    let mut listeners = Vec::new();
    for node in 1..=3 {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let peer_endpoint = listener.local_addr()?.to_string();
        members.push(Member { node, endpoint: String::new(), peer_endpoint });
        listeners.push(listener);
    }
    let mut nodes = Nodes::new();
    for (member, listener) in members.iter().zip(listeners) {
        nodes.push(Some(open(&options, member, listener).await?).into());
    }
    let nodes = Arc::new(nodes);
    let founding =
        nodes.iter().map(|node| async { node.read().await.clone().expect("just opened").init(&members).await });
    futures::future::try_join_all(founding).await?;

    let tally = Arc::new(Tally::default());
    let callers: Vec<_> =
        (0..options.callers).map(|n| tokio::spawn(call(nodes.clone(), tally.clone(), options.clone(), n))).collect();
    let begun = Instant::now();
    let mut rebuilds = 0;
    let (mut last, mut last_at) = (0, begun);
    for second in 1..=options.seconds {
        tokio::time::sleep_until((begun + Duration::from_secs(second)).into()).await;
        if options.restart_every > 0 && second % options.restart_every == 0 {
            let at = (second / options.restart_every) as usize % nodes.len();
            let node = nodes[at].write().await.take();
            if let Some(node) = node {
                rebuilds += node.status().iter().map(|g| g.rebuilds).sum::<u64>();
                node.shutdown().await;
            }
            let away = Duration::from_secs((options.restart_every / 2).max(1));
            tokio::time::sleep(away).await;
            let listener = TcpListener::bind(&members[at].peer_endpoint).await?;
            *nodes[at].write().await = Some(open(&options, &members[at], listener).await?);
        }
        if second % 5 == 0 {
            let acknowledged = tally.acknowledged.load(Ordering::Relaxed);
            let mut marks = String::new();
            for node in nodes.iter() {
                if let Some(node) = node.read().await.as_ref() {
                    let group = &node.status()[0];
                    marks += &format!(
                        "  {}: applied {} checkpoint {} purged {}",
                        node.id(),
                        group.applied_index,
                        group.checkpoint_index,
                        group.purged_index
                    );
                }
            }
            // A restart takes a while, so that beats come late.
            let rate = (acknowledged - last) as f64 / last_at.elapsed().as_secs_f64();
            println!("{:>4} s  {rate:>7.0}/s{marks}", begun.elapsed().as_secs());
            (last, last_at) = (acknowledged, Instant::now());
        }
    }
    tally.stop.store(true, Ordering::Relaxed);
    futures::future::join_all(callers).await;

    // Everything that is anywhere must be everywhere.
    let mut same = true;
    let mut found = 0;
    for partition in 0..options.partitions {
        let mut index = None;
        while index.is_none() {
            for node in nodes.iter() {
                if let Some(group) = node.read().await.as_ref().and_then(|n| n.group(partition)) {
                    index = index.or(group.read_barrier().await.ok());
                }
            }
        }
        let mut all = Vec::new();
        for node in nodes.iter() {
            let node = node.read().await.clone().ok_or("a node is down")?;
            let group = node.group(partition).ok_or("no group")?;
            let mut applied = group.applied();
            let reached = applied.wait_for(|applied| Some(*applied) >= index);
            tokio::time::timeout(Duration::from_secs(60), reached).await??;
            all.push(sums(&group.store().ok_or("no store")?));
        }
        found += all[0].0;
        if all.iter().any(|sums| *sums != all[0]) {
            println!("partition {partition}: replicas differ: {all:?}");
            same = false;
        }
    }
    for node in nodes.iter() {
        if let Some(node) = node.read().await.as_ref() {
            rebuilds += node.status().iter().map(|g| g.rebuilds).sum::<u64>();
            node.shutdown().await;
        }
    }
    let (acknowledged, unknown) = (tally.acknowledged.load(Ordering::Relaxed), tally.unknown.load(Ordering::Relaxed));
    println!(
        "{} acknowledged/s, mean {} µs, slowest {} µs; {unknown} unknown, {} refused; {found} applied; {rebuilds} cores died",
        acknowledged / options.seconds.max(1),
        tally.micros.load(Ordering::Relaxed) / acknowledged.max(1),
        tally.slowest_micros.load(Ordering::Relaxed),
        tally.refused.load(Ordering::Relaxed),
    );
    let all_there = (acknowledged..=acknowledged + unknown).contains(&found);
    if !all_there {
        println!("acknowledged {acknowledged} and up to {unknown} more, but {found} are there");
    }
    Ok(same && all_there && rebuilds == 0)
}

fn main() -> ExitCode {
    let filter = std::env::var("STRESS_LOG").ok().and_then(|level| level.parse().ok());
    tracing_subscriber::fmt().with_max_level(filter.unwrap_or(tracing::Level::WARN)).init();
    let options = match options() {
        Ok(options) => Arc::new(options),
        Err(e) => {
            eprintln!("{e}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run(options.clone())));
    let _ = std::fs::remove_dir_all(&options.dir);
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}
