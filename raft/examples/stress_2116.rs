//! The load of openraft issue 2116, over the log of this crate.
//!
//! Three replicas in one process on two worker threads, an in-process network, a counter as state machine, a log each on
//! disk. Clients write entries at a fixed rate while snapshots are built, logs are purged and, with `--faults`, followers
//! are cut off until they need a snapshot. The run fails when the core of a replica stops, when replicas end up
//! different, or when an acknowledged write is missing.
//!
//! ```text
//! cargo run --release -p raft --example stress_2116 -- --seconds 600 --rate 16000
//! cargo run --release -p raft --example stress_2116 -- --seconds 300 --rate 4000 --faults --install-ms 400 --snapshot-timeout-ms 100
//! ```

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use openraft::alias::{EntryOf, LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf};
use openraft::errors::{Fatal, RPCError, RaftError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::async_runtime::WatchReceiver;
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, VoteRequest, VoteResponse,
};
use openraft::storage::{ApplyResponder, RaftStateMachine, Snapshot};
use openraft::{
    Config, EntryPayload, OptionalSend, RPCTypes, Raft, RaftSnapshotBuilder, SnapshotMeta, SnapshotPolicy,
};
use raft::log::{FileIo, Log, LogConfig, SlowSync};
use raft::types::{AnyReply, Member, Payload, TypeConfig};

const REPLICAS: std::ops::RangeInclusive<u64> = 1..=3;
const KEPT_ENTRIES: u64 = 1000;

type Core = Raft<TypeConfig, Counter>;
type RpcError = RPCError<TypeConfig>;

static PANICS: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Debug)]
struct Options {
    seconds: u64,
    rate: u64,
    payload_bytes: usize,
    clients: u64,
    snapshot_entries: u64,
    faults: bool,
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
            faults: false,
            install_ms: 0,
            snapshot_timeout_ms: 600_000,
            sync_delay_us: 0,
            dir: std::env::temp_dir().join("bosingak-stress-2116"),
        };
        let mut args = std::env::args().skip(1);
        while let Some(name) = args.next() {
            if name == "--faults" {
                options.faults = true;
                continue;
            }
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            if name == "--dir" {
                options.dir = value.into();
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

/// How much was applied, and a checksum of it in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Image {
    applied: Option<LogIdOf<TypeConfig>>,
    membership: StoredMembershipOf<TypeConfig>,
    entries: u64,
    checksum: u32,
}

/// A state machine that counts.
struct Counter {
    image: Arc<Mutex<Image>>,
    snapshot: Arc<Mutex<Option<Arc<Image>>>>,
    installs: Arc<AtomicU64>,
    install_time: Duration,
}

struct Builder {
    image: Image,
    snapshot: Arc<Mutex<Option<Arc<Image>>>>,
}

fn meta(image: &Image) -> SnapshotMetaOf<TypeConfig> {
    SnapshotMeta { last_log_id: image.applied, last_membership: image.membership.clone() }
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = Arc<Image>;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, Arc<Image>>> {
        let image = Arc::new(self.image.clone());
        let mut newest = self.snapshot.lock().expect("a snapshot");
        if newest.as_ref().is_none_or(|known| known.applied < image.applied) {
            *newest = Some(image.clone());
        }
        Ok(Snapshot { meta: meta(&image), snapshot: image })
    }
}

impl RaftStateMachine<TypeConfig> for Counter {
    type SnapshotData = Arc<Image>;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogIdOf<TypeConfig>>, StoredMembershipOf<TypeConfig>)> {
        let image = self.image.lock().expect("an image");
        Ok((image.applied, image.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<(EntryOf<TypeConfig>, Option<ApplyResponder<TypeConfig>>)>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let mut image = self.image.lock().expect("an image");
            let expected = image.applied.map_or(0, |id| id.index + 1);
            if entry.log_id.index != expected {
                return Err(io::Error::other(format!("entry {} after {expected}", entry.log_id.index)));
            }
            image.applied = Some(entry.log_id);
            image.entries += 1;
            match entry.payload {
                EntryPayload::Normal(payload) => {
                    let mut checksum = crc32fast::Hasher::new_with_initial(image.checksum);
                    checksum.update(&payload.0);
                    image.checksum = checksum.finalize();
                }
                EntryPayload::Membership(members) => {
                    image.membership = StoredMembershipOf::<TypeConfig>::new(Some(entry.log_id), members);
                }
                EntryPayload::Blank => {}
            }
            drop(image);
            if let Some(responder) = responder {
                responder.send(AnyReply(None));
            }
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Builder> {
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { image: self.image.lock().expect("an image").clone(), snapshot: self.snapshot.clone() }
    }

    async fn install_snapshot(&mut self, _meta: &SnapshotMetaOf<TypeConfig>, image: Arc<Image>) -> io::Result<()> {
        tokio::time::sleep(self.install_time).await;
        self.installs.fetch_add(1, Ordering::Relaxed);
        *self.image.lock().expect("an image") = Image::clone(&image);
        *self.snapshot.lock().expect("a snapshot") = Some(image);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<TypeConfig, Arc<Image>>>> {
        let newest = self.snapshot.lock().expect("a snapshot").clone();
        Ok(newest.map(|image| Snapshot { meta: meta(&image), snapshot: image }))
    }
}

/// Calls between the replicas of this process.
#[derive(Default)]
struct Network {
    cores: OnceLock<BTreeMap<u64, Core>>,
    cut_off: [AtomicBool; 4],
    snapshot_timeout: Duration,
}

#[derive(Clone)]
struct Link {
    from: u64,
    to: u64,
    network: Arc<Network>,
}

impl RaftNetworkFactory<TypeConfig> for Link {
    type Network = Link;

    async fn new_client(&mut self, target: u64, _node: &Member) -> Link {
        Link { to: target, ..self.clone() }
    }
}

impl Link {
    fn is_cut(&self) -> bool {
        [self.from, self.to].iter().any(|id| self.network.cut_off[*id as usize].load(Ordering::Relaxed))
    }

    fn core(&self) -> Result<Core, Unreachable<TypeConfig>> {
        let cores = self.network.cores.get().ok_or_else(|| Unreachable::from_string("starting"))?;
        if self.is_cut() { Err(Unreachable::from_string("cut off")) } else { Ok(cores[&self.to].clone()) }
    }

    async fn call<T>(&self, kind: RPCTypes, limit: Duration, call: impl Future<Output = Result<T, String>>) -> Result<T, RpcError> {
        let late = |_| RPCError::Timeout(Timeout { action: kind, id: self.from, target: self.to, timeout: limit });
        let answer = tokio::time::timeout(limit, call).await.map_err(late)?;
        if self.is_cut() {
            return Err(Unreachable::from_string("cut off").into());
        }
        answer.map_err(|what| Unreachable::from_string(what).into())
    }
}

fn text<E: std::error::Error>(error: RaftError<TypeConfig, E>) -> String {
    error.to_string()
}

impl RaftNetworkV2<TypeConfig> for Link {
    type SnapshotData = Arc<Image>;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RpcError> {
        let core = self.core()?;
        self.call(RPCTypes::AppendEntries, option.hard_ttl(), core.append_entries(rpc).map(|r| r.map_err(text))).await
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> futures::future::BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RpcError>>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        async move {
            let core = self.core()?;
            let link = self.clone();
            let answers = core.stream_append(input).map(move |answer| {
                if link.is_cut() {
                    return Err(Unreachable::from_string("cut off").into());
                }
                answer.map_err(|fatal| Unreachable::from_string(fatal).into())
            });
            let link = self.clone();
            Ok(answers.take_while(move |_| futures::future::ready(!link.is_cut())).boxed())
        }
        .boxed()
    }

    async fn vote(&mut self, rpc: VoteRequest<TypeConfig>, option: RPCOption) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let core = self.core()?;
        self.call(RPCTypes::Vote, option.hard_ttl(), core.vote(rpc).map(|r| r.map_err(text))).await
    }

    async fn pre_vote(&mut self, rpc: VoteRequest<TypeConfig>, option: RPCOption) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let core = self.core()?;
        self.call(RPCTypes::Vote, option.hard_ttl(), core.pre_vote(rpc).map(|r| r.map_err(text))).await
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<TypeConfig>,
        snapshot: SnapshotOf<TypeConfig, Arc<Image>>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let core = self.core()?;
        let limit = self.network.snapshot_timeout;
        let late = Timeout { action: RPCTypes::InstallSnapshot, id: self.from, target: self.to, timeout: limit };
        tokio::select! {
            closed = cancel => Err(closed.into()),
            () = tokio::time::sleep(limit) => Err(late.into()),
            answer = core.install_full_snapshot(vote, snapshot) => {
                answer.map_err(|fatal| Unreachable::from_string(fatal).into())
            }
        }
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

/// Snapshots and purges on every replica every two seconds; cuts off one replica after the other if asked to.
async fn disturb(options: Options, network: Arc<Network>) {
    let cores = network.cores.get().expect("started");
    for turn in 0u64.. {
        let victim = 1 + turn % 3;
        if options.faults {
            network.cut_off[victim as usize].store(true, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        for core in cores.values() {
            let _ = core.trigger().snapshot().await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        for core in cores.values() {
            let upto = core.metrics().borrow_watched().snapshot.map_or(0, |id| id.index.saturating_sub(KEPT_ENTRIES / 2));
            let _ = core.trigger().purge_log(upto).await;
        }
        network.cut_off[victim as usize].store(false, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(500)).await;
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
    let network =
        Arc::new(Network { snapshot_timeout: Duration::from_millis(options.snapshot_timeout_ms), ..Network::default() });
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
    network.cut_off.iter().for_each(|cut| cut.store(false, Ordering::Relaxed));
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
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).with_writer(io::stderr).init();
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
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let result = runtime.block_on(run(options));
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
