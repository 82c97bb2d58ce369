//! `verify` on directories that a real node wrote: it changes nothing, refuses one in use, and whatever is damaged it either says so
//! or a node that starts on it has the same rows.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use proto::v1;
use proto::v1::scheduler_service_client::SchedulerServiceClient;
use raft::{Checkpoints, Config, Health, Member, Node, Timing};
use scheduler::command::*;
use scheduler::lane::{Class, LaneId, Position, TopicId};
use scheduler::read;
use scheduler::reply::Reply;
use scheduler::run_codec::{self, Success};
use server::clock::Clock;
use server::feed::Feed;
use server::machine::{Adapter, Answers, Rows};
use server::node::{Listeners, Server};
use server::recount::Recounter;
use server::verify::{Error, verify};
use tempfile::TempDir;
use tokio::net::TcpListener;

const PARTITIONS: u32 = 2;
/// How often everything happens to triggers.
const ROUNDS: u64 = 30;
/// Time of the last entry.
const END: u64 = 1_030_000;
/// No condition takes longer, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(60);

fn config(dir: &Path, port: u16) -> Config {
    let peer_endpoint = format!("127.0.0.1:{port}");
    let mut config = Config::new("test", Member { node: 1, endpoint: "client:1".into(), peer_endpoint }, dir);
    config.partitions = PARTITIONS;
    config.timing = Timing {
        heartbeat: Duration::from_millis(80),
        election_min: Duration::from_millis(500),
        election_max: Duration::from_millis(600),
    };
    config.checkpoints = Checkpoints {
        log_bytes: 100 << 10,
        follower_patience: Duration::ZERO,
        interval: Duration::from_millis(10),
        ..Checkpoints::default()
    };
    config.log.segment_bytes = 64 << 10;
    config.log.segments_max = 4;
    config.store.memory_bytes = 8 << 20;
    config.store.write_buffer_bytes = 1 << 20;
    config
}

async fn open(dir: &Path) -> Result<Node<Adapter>, raft::Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let config = config(dir, listener.local_addr().expect("bound").port());
    let member = config.member.clone();
    let recounter = Recounter::start().expect("a thread");
    let machine = move |partition| Adapter::new(Feed::new(partition, recounter.clone()));
    let node = Node::open(config, listener, machine).await?;
    // Does nothing where there is a cluster already.
    if let Err(error) = node.init(&[member]).await {
        node.shutdown().await;
        return Err(error);
    }
    Ok(node)
}

/// The term in which this node leads a partition.
async fn leads(node: &Node<Adapter>, partition: u32) -> Option<u64> {
    let mut leadership = node.group(partition)?.leadership();
    let led = tokio::time::timeout(LIMIT / 4, leadership.wait_for(|leadership| leadership.we_lead)).await;
    Some(led.ok()?.ok()?.term)
}

async fn propose(node: &Node<Adapter>, partition: u32, time: u64, commands: Vec<Kind>) -> Result<Answers, String> {
    let term = leads(node, partition).await.ok_or("nobody leads")?;
    let commands = commands.into_iter().map(|kind| Command { kind: Some(kind) }).collect();
    let payload = Bytes::from(Entry { time, commands, level: 1 }.encode_to_vec());
    let proposed = node.group(partition).ok_or("no such group")?.propose(term, payload).await;
    proposed.map(|proposed| proposed.reply).map_err(|error| error.to_string())
}

fn schedule(id: String, at: u64) -> Kind {
    Kind::Schedule(Schedule {
        namespace: "shop".into(),
        id,
        topic: "mail".into(),
        when: Some(When::At(at)),
        priority: 1,
        fingerprint: 1,
        // Incompressible enough that tables have more than a few blocks.
        payload: Bytes::from(
            (0..400u64).map(|n| (n.wrapping_mul(at | 1).wrapping_mul(0x9e37_79b9) >> 13) as u8).collect::<Vec<_>>(),
        ),
        ..Schedule::default()
    })
}

fn cancel(id: String) -> Kind {
    Kind::Cancel(Cancel { namespace: "shop".into(), id, ..Cancel::default() })
}

/// Fills a partition with everything that happens to triggers.
async fn live_a_little(node: &Node<Adapter>, partition: u32) {
    let lane = LaneId::new(TopicId(0), Class::Normal);
    let mut time = END - ROUNDS * 1_000;
    for round in 0..ROUNDS {
        let due = |place: u64| time + if place.is_multiple_of(2) { place } else { 60_000 * (1 + place) };
        let new = (0..16).map(|place| schedule(format!("{round}-{place}"), due(place))).collect();
        let replies = propose(node, partition, time, new).await.unwrap().replies;
        time += 1_000;
        let scheduled = |place: usize| match &replies[place] {
            Reply::Scheduled { receipt, .. } => Position { due: receipt.due, generation: receipt.generation },
            other => panic!("{other:?}"),
        };
        let report = |place: usize| Report {
            namespace: "shop".into(),
            id: format!("{round}-{place}"),
            generation: scheduled(place).generation.number(),
            token: Some(Token { epoch: 1, term: 1, counter: 1 }),
            attempt: 1,
            executor: "e".into(),
        };
        let successes: Vec<_> = [0, 2, 4, 6, 8]
            .map(|place| Success { position: scheduled(place), executor: "e".into(), counter: place as u64 })
            .into();
        let mut commands = vec![
            Kind::CompleteRun(run_codec::encode(lane, 1, 1, successes.iter())),
            Kind::Complete(Complete { report: Some(report(10)), business: Bytes::new() }),
            Kind::Retry(Retry { report: Some(report(12)), retry_after_ms: 70_000, ..Retry::default() }),
            Kind::Fail(Fail { report: Some(report(14)), error: "no".into() }),
            cancel(format!("{round}-1")),
        ];
        if round % 3 != 2 {
            let floor = scheduled(6);
            let (due, generation) = (floor.due.as_millis(), floor.generation.number());
            commands.push(Kind::RaiseFloor(RaiseFloor { lane: lane.number(), due, generation }));
        }
        let replies = propose(node, partition, time, commands).await.unwrap().replies;
        assert!(!replies.iter().any(|reply| matches!(reply, Reply::Refused(_))), "{replies:?}");
    }
}

/// A directory with tables, a log of several segments whose beginning was purged, and rows that only the log has.
async fn directory() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path()).await.unwrap();
    for partition in 0..PARTITIONS {
        live_a_little(&node, partition).await;
    }
    node.shutdown().await;
    dir
}

/// What a node that starts on the directory answers from; `None` when it does not start or stops.
async fn digests(dir: &Path) -> Option<Vec<[u8; 32]>> {
    let node = open(dir).await.ok()?;
    let mut digests = Vec::new();
    for partition in 0..PARTITIONS {
        let group = node.group(partition)?;
        let begun = Instant::now();
        // Leadership may be lost and won on a machine that is busy with something else.
        while leads(&node, partition).await.is_none() || group.read_barrier().await.is_err() {
            if matches!(group.status().health, Health::Halted(_)) || begun.elapsed() > LIMIT {
                return None;
            }
        }
        digests.push(read::digest(&Rows(&group.store()?)).ok()?);
    }
    node.shutdown().await;
    Some(digests)
}

/// Every file with its bytes.
fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(tree(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

fn copy(from: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    for (path, bytes) in tree(from) {
        let path = to.path().join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    to
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ bits >> 31) % end as u64) as usize
    }
}

/// Damages one file and says how.
fn damage(dir: &Path, random: &mut Random) -> String {
    let files: Vec<_> = tree(dir).into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect();
    let (path, mut bytes) = files[random.below(files.len())].clone();
    // Segments are mostly zeros that nothing is written to yet.
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
    let at = random.below(used);
    let what = match random.below(10) {
        0 => {
            bytes.truncate(at);
            format!("cut to {at} bytes")
        }
        1 => {
            let page = at / 4_096 * 4_096..bytes.len().min(at / 4_096 * 4_096 + 4_096);
            bytes[page.clone()].fill(0);
            format!("zeros in {page:?}")
        }
        2 => {
            let range = at..bytes.len().min(at + 20);
            bytes[range.clone()].fill(0);
            format!("zeros in {range:?}")
        }
        _ => {
            let bit = random.below(8);
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at}")
        }
    };
    fs::write(&path, bytes).unwrap();
    format!("{}: {what}", path.strip_prefix(dir).unwrap().display())
}

/// Red when checksums of tables, of the log or of the small files are not compared: rows get lost and nobody says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_reported_or_harmless() {
    let whole = directory().await;
    let report = verify(whole.path()).unwrap();
    assert!(report.is_fine(), "{}", report.text());
    let expected = digests(copy(whole.path()).path()).await.expect("a copy starts");

    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let flips = std::env::var("FLIPS").ok().and_then(|flips| flips.parse().ok()).unwrap_or(80u64);
    let (mut reported, mut harmless) = (0, 0);
    for flip in 0..flips {
        let dir = copy(whole.path());
        let what = damage(dir.path(), &mut Random(seed << 32 | flip));
        let what = format!("seed {seed}, flip {flip}, {what}");
        let before = tree(dir.path());
        let report = verify(dir.path()).unwrap();
        assert!(tree(dir.path()) == before, "{what}: verify changed something");
        if report.is_fine() {
            let found = digests(dir.path()).await;
            assert_eq!(found.as_ref(), Some(&expected), "{what}: not reported, and not harmless\n{}", report.text());
            harmless += 1;
        } else {
            reported += 1;
        }
    }
    println!("{reported} reported, {harmless} harmless");
    assert!(reported > flips / 4 && harmless > 0, "{reported} reported, {harmless} harmless");
}

/// Red when opening the rows to be read writes a LOG.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_changed_and_a_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(verify(dir.path()), Err(Error::Directory(raft::verify::Error::Foreign(_)))));
    assert!(matches!(verify(&dir.path().join("none")), Err(Error::Directory(raft::verify::Error::Io { .. }))));
    let node = open(dir.path()).await.unwrap();
    for partition in 0..PARTITIONS {
        live_a_little(&node, partition).await;
    }
    assert!(matches!(verify(dir.path()), Err(Error::Directory(raft::verify::Error::InUse(_)))));
    let code = |arguments: &[&str]| {
        let run = Process::new(env!("CARGO_BIN_EXE_bosingakd")).args(arguments).output().unwrap();
        (run.status.code(), String::from_utf8(run.stdout).unwrap(), String::from_utf8(run.stderr).unwrap())
    };
    let data = dir.path().to_str().unwrap();
    let (in_use, _, error) = code(&["verify", "--data", data]);
    assert_eq!(in_use, Some(2), "{error}");
    assert!(error.contains("in use"), "{error}");
    assert_eq!(code(&["verify"]).0, Some(2));
    node.shutdown().await;
    drop(node);

    let before = tree(dir.path());
    let (fine, text, _) = code(&["verify", "--data", data]);
    assert!(fine == Some(0) && text.ends_with("\nfine\n"), "{text}");
    assert!(text.contains("node 1 of cluster \"test\", 2 partitions"), "{text}");
    let (_, text, _) = code(&["verify", "--json", "--data", data]);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&json["fine"], json["partitions"].as_array().unwrap().len()), (&true.into(), 2));
    assert!(json["partitions"][0]["triggers"].as_u64() > Some(100), "{json}");
    assert!(json["tables"]["files"].as_u64() > Some(0), "there are tables to be damaged: {json}");
    assert!(tree(dir.path()) == before, "verify changed something");

    let node_file = dir.path().join("NODE");
    fs::write(&node_file, fs::read_to_string(&node_file).unwrap().replace("cluster test", "cluster rest")).unwrap();
    let (damaged, text, _) = code(&["verify", "--data", data]);
    assert!(damaged == Some(1) && text.contains("DAMAGE: NODE: "), "{text}");
}

/// Damages the block in the middle of every table, so that the node opens and meets it later.
fn damage_tables(dir: &Path) {
    for (path, mut bytes) in tree(dir) {
        if path.extension().is_some_and(|extension| extension == "sst") {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).unwrap();
        }
    }
}

/// A replica that reads a wrong checksum answers with an error, and halts when that was to apply an entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_row_is_never_answered() {
    let dir = directory().await;
    let truth = copy(dir.path());
    damage_tables(dir.path());
    let report = verify(dir.path()).unwrap();
    assert!(report.text().contains("checksum mismatch"), "{}", report.text());

    let sound = open(truth.path()).await.unwrap();
    leads(&sound, 0).await.unwrap();
    sound.group(0).unwrap().read_barrier().await.unwrap();
    let sound_store = sound.group(0).unwrap().store().unwrap();
    let ids: Vec<String> = (0..ROUNDS).flat_map(|round| (0..16).map(move |place| format!("{round}-{place}"))).collect();

    let Ok(node) = open(dir.path()).await else {
        // A node that refuses to start has answered nothing either.
        return sound.shutdown().await;
    };
    let group = node.group(0).unwrap();
    let halted = || matches!(group.status().health, Health::Halted(_));
    let begun = Instant::now();
    let mut compared = false;
    while !halted() {
        assert!(begun.elapsed() < LIMIT, "no command met a damaged row");
        if leads(&node, 0).await.is_none() || group.read_barrier().await.is_err() {
            continue;
        }
        let Some(store) = group.store() else { continue };
        for id in ids.iter().filter(|_| !compared) {
            match read::get(&Rows(&store), "shop", id) {
                Ok(view) => assert_eq!(view, read::get(&Rows(&sound_store), "shop", id).unwrap()),
                Err(error) => assert!(error.to_string().contains("checksum"), "{error}"),
            }
        }
        compared = true;
        // Moves what has not fired, which takes reading its row.
        for id in &ids {
            let (namespace, id) = ("shop".to_owned(), id.clone());
            let command = Kind::RunNow(RunNow { namespace, id, ..RunNow::default() });
            if halted() || propose(&node, 0, END, vec![command]).await.is_err() {
                break;
            }
        }
    }
    assert!(group.store().is_none() && group.read_barrier().await.is_err());
    node.shutdown().await;
    sound.shutdown().await;
}

/// The whole server: a row that cannot be read is an error to whoever asks, and the replica stops, so that another leads and delivers.
/// Red when `Partition::read_local` and the dispatcher only pass the error on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_reads_a_damaged_row_stops_the_replica() {
    let dir = directory().await;
    damage_tables(dir.path());
    let mut config = server::config::Config::for_tests(dir.path().to_owned());
    (config.cluster, config.node, config.partitions, config.canary_interval) = ("test".into(), 1, PARTITIONS, None);
    let listeners = Listeners::bind(&config).await.unwrap();
    let Ok(server) = Server::start(config, listeners, Clock::real()).await else {
        // One that refuses to start answers nothing either.
        return;
    };
    let address = format!("http://{}", server.addresses().client);
    let channel = tonic::transport::Channel::from_shared(address).unwrap().connect_lazy();
    let mut scheduler = SchedulerServiceClient::new(channel);
    let halted = |partition| {
        let group = server.node().raft().group(partition).unwrap();
        matches!(group.status().health, Health::Halted(_))
    };
    let begun = Instant::now();
    let mut answered = 0;
    while !(0..PARTITIONS).all(halted) {
        assert!(begun.elapsed() < LIMIT, "{answered} answers, and a replica still serves");
        for (round, place) in (0..ROUNDS).flat_map(|round| (0..16u64).map(move |place| (round, place))) {
            let request = v1::GetRequest { namespace: "shop".into(), id: format!("{round}-{place}") };
            if let Ok(reply) = scheduler.get(request).await {
                answered += 1;
                let content = reply.into_inner().trigger.unwrap();
                assert_eq!(content.id, format!("{round}-{place}"));
            }
        }
    }
    server.stop().await;
}
