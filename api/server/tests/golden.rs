//! A data directory of format 1, as a build of its time left it behind: today's must find nothing wrong with it, read the same triggers
//! out of it, and go on with it.
//!
//! `tests/golden/directory.1.txt` holds its files, `triggers.1.txt` what is in it. A new format gets files of its own beside them, and a
//! case here; those that are there are never edited. `GOLDEN=write cargo test … golden` writes the files that are missing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use golden::{hex, unhex};
use prost::Message;
use raft::{Checkpoints, Config, Member, Node, Timing};
use scheduler::command::*;
use scheduler::lane::{Class, LaneId, Position, TopicId};
use scheduler::read::{self, ListQuery, TriggerView};
use scheduler::reply::{Outcome, Reply};
use scheduler::run_codec::{self, Success};
use server::feed::Feed;
use server::machine::{Adapter, Answers, Rows};
use server::recount::Recounter;
use server::verify::verify;
use tokio::net::TcpListener;

const PARTITIONS: u32 = 2;
/// Time of the first entry.
const BEGIN: u64 = 1_000_000;
/// No condition takes longer, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(60);
/// Zeros in a row that are not worth keeping.
const GAP: usize = 24;

fn kept_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

async fn open(dir: &Path) -> Node<Adapter> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let peer_endpoint = listener.local_addr().expect("bound").to_string();
    let mut config = Config::new("kept", Member { node: 1, endpoint: "client:1".into(), peer_endpoint }, dir);
    config.partitions = PARTITIONS;
    config.timing = Timing {
        heartbeat: Duration::from_millis(80),
        election_min: Duration::from_millis(500),
        election_max: Duration::from_millis(600),
    };
    config.checkpoints = Checkpoints {
        log_bytes: 48 << 10,
        follower_patience: Duration::ZERO,
        interval: Duration::from_millis(10),
        ..Checkpoints::default()
    };
    config.log.segment_bytes = 64 << 10;
    config.store.memory_bytes = 8 << 20;
    config.store.write_buffer_bytes = 1 << 20;
    let member = config.member.clone();
    let recounter = Recounter::start().expect("a thread");
    let machine = move |partition| Adapter::new(Feed::new(partition, recounter.clone()));
    let node = Node::open(config, listener, machine).await.expect("it opens");
    // Does nothing where there is a cluster already.
    node.init(&[member]).await.expect("it is founded");
    node
}

/// Lets go of the directory too.
async fn close(node: Node<Adapter>) {
    node.shutdown().await;
    drop(node);
}

async fn propose(node: &Node<Adapter>, partition: u32, time: u64, commands: Vec<Kind>) -> Answers {
    let group = node.group(partition).expect("there");
    let mut leadership = group.leadership();
    let led = tokio::time::timeout(LIMIT, leadership.wait_for(|leadership| leadership.we_lead)).await;
    let term = led.expect("in time").expect("the node runs").term;
    let commands = commands.into_iter().map(|kind| Command { kind: Some(kind) }).collect();
    let payload = Bytes::from(Entry { time, commands, level: 1 }.encode_to_vec());
    let answers = group.propose(term, payload).await.expect("it is applied").reply;
    let refused = answers.replies.iter().any(|reply| matches!(reply, Reply::Refused(_)));
    assert!(!refused, "{:?}", answers.replies);
    answers
}

/// A request id that was made at `time`: a UUIDv7.
fn request(time: u64, number: u8) -> Bytes {
    let [.., a, b, c, d, e, f] = time.to_be_bytes();
    Bytes::copy_from_slice(&[a, b, c, d, e, f, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, number])
}

fn schedule(id: &str, topic: &str, at: u64) -> Schedule {
    Schedule {
        namespace: "shop".into(),
        id: id.into(),
        topic: topic.into(),
        when: Some(When::At(at)),
        priority: 1,
        fingerprint: 0x0123_4567_89ab_cdef,
        payload: Bytes::from(format!("payload of {id}")),
        ..Schedule::default()
    }
}

fn settings(rate_milli_per_second: u64, paused: bool) -> TopicSettings {
    TopicSettings { rate_milli_per_second, paused, retention_ms: 86_400_000, ..scheduler::record::default_settings() }
}

/// Everything that happens to triggers, once.
async fn live_a_little(node: &Node<Adapter>, partition: u32) {
    let namespace = || "shop".to_owned();
    let set = |topic: &str, settings| {
        let (topic, settings) = (topic.to_owned(), Some(settings));
        Kind::SetTopic(SetTopic { namespace: namespace(), topic, version: 1, settings })
    };
    let topics =
        vec![set("mail", settings(0, false)), set("slow", settings(500, false)), set("held", settings(0, true))];
    propose(node, partition, BEGIN, topics).await;

    let time = BEGIN + 1_000;
    let (now, later) = (time + 10, time + 86_400_000);
    let local = Some(LocalTime {
        date_time: "1970-01-02T09:16:41".into(),
        zone: "Asia/Seoul".into(),
        policy: 1,
        tzdb: "2026a".into(),
    });
    let retry = Some(RetryPolicy { max_attempts: 3, initial_backoff_ms: 500, ..RetryPolicy::default() });
    let labels = vec![Label { key: "kind".into(), value: "gift".into() }];
    let mut new: Vec<Schedule> =
        ["run-1", "run-2", "run-3", "done", "retried", "given-up", "brought-back", "dropped", "fired"]
            .into_iter()
            .map(|id| schedule(id, "mail", now))
            .collect();
    new.extend(["cancelled", "moved", "hurried"].map(|id| schedule(id, "mail", later)));
    new.extend(["slow-1", "slow-2"].map(|id| schedule(id, "slow", now)));
    new.push(schedule("held", "held", now));
    new.push(Schedule { local, labels, retry, ..schedule("waits", "mail", later) });
    new.push(Schedule { priority: 0, shard_key: "customer-9".into(), ..schedule("high", "mail", later + 1) });
    new.push(Schedule { priority: 2, skip_when_later_ms: 60_000, ..schedule("low", "mail", later + 2) });
    let replies = propose(node, partition, time, new.iter().cloned().map(Kind::Schedule).collect()).await.replies;
    let position = |id: &str| match &replies[new.iter().position(|one| one.id == id).expect("scheduled")] {
        Reply::Scheduled { receipt, .. } => Position { due: receipt.due, generation: receipt.generation },
        other => panic!("{other:?}"),
    };

    let time = time + 1_000;
    let token = Some(Token { epoch: 1, term: 1, counter: 7 });
    let report = |id: &str| {
        Some(Report {
            namespace: namespace(),
            id: id.into(),
            generation: position(id).generation.number(),
            token,
            attempt: 1,
            executor: "e-1".into(),
        })
    };
    let run: Vec<_> = ["run-1", "run-2", "run-3"]
        .map(|id| Success { position: position(id), executor: "e-2".into(), counter: 9 })
        .into();
    let lane = LaneId::new(TopicId(0), Class::Normal);
    let floor = position("done");
    let slow = position("slow-1");
    let fail = |id: &str| Kind::Fail(Fail { report: report(id), error: "never".into() });
    let commands = vec![
        Kind::CompleteRun(run_codec::encode(lane, 1, 1, run.iter())),
        Kind::Complete(Complete { report: report("done"), business: Bytes::new() }),
        Kind::Retry(Retry {
            report: report("retried"),
            error: "busy".into(),
            retry_after_ms: 70_000,
            ..Retry::default()
        }),
        fail("given-up"),
        fail("brought-back"),
        fail("dropped"),
        Kind::Cancel(Cancel {
            namespace: namespace(),
            id: "cancelled".into(),
            request: request(time, 1),
            ..Cancel::default()
        }),
        Kind::Reschedule(Reschedule {
            namespace: namespace(),
            id: "moved".into(),
            request: request(time, 2),
            when: Some(When::After(3_600_000)),
            ..Reschedule::default()
        }),
        Kind::RunNow(RunNow { namespace: namespace(), id: "hurried".into(), ..RunNow::default() }),
        Kind::Requeue(Requeue { namespace: namespace(), id: "brought-back".into(), ..Requeue::default() }),
        Kind::Drop(Drop { namespace: namespace(), id: "dropped".into(), ..Drop::default() }),
        Kind::Release(Release {
            lane: LaneId::new(TopicId(1), Class::Normal).number(),
            due: slow.due.as_millis(),
            generation: slow.generation.number(),
        }),
        Kind::RaiseFloor(RaiseFloor {
            lane: lane.number(),
            due: floor.due.as_millis(),
            generation: floor.generation.number(),
        }),
    ];
    propose(node, partition, time, commands).await;
}

/// Fills the log, so that it is of several segments and its beginning is dropped.
async fn fill(node: &Node<Adapter>, partition: u32) {
    for number in 0..10 {
        let time = BEGIN + 3_000 + number;
        let payload = Bytes::from(vec![0; 12 << 10]);
        let filler = Schedule { payload, ..schedule(&format!("filler-{number}"), "mail", BEGIN + 90_000_000 + number) };
        propose(node, partition, time, vec![Kind::Schedule(filler)]).await;
    }
}

/// Whether a beginning of the log is gone, which takes a checkpoint of every partition.
fn is_cut(dir: &Path) -> bool {
    !dir.join("log/segment-0000000001.log").exists()
}

fn tables(dir: &Path, partition: u32) -> usize {
    let rows = tree(&dir.join("state").join(partition.to_string()));
    rows.keys().filter(|path| path.extension().is_some_and(|extension| extension == "sst")).count()
}

/// Every file with its bytes.
fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(tree(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).expect("a file"));
        }
    }
    files
}

/// The files as text: a line for each, then its bytes by offset, without long runs of zeros, of which segments are full.
fn packed(dir: &Path) -> String {
    let mut text = String::new();
    for (path, bytes) in tree(dir) {
        let path = path.strip_prefix(dir).expect("below it");
        let name = path.file_name().expect("a file").to_string_lossy();
        // RocksDB's diagnostics, which it makes anew.
        if name.starts_with("LOG") || name.starts_with("OPTIONS") {
            continue;
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "file {} {}", path.display(), bytes.len());
        let mut at = 0;
        while let Some(start) = bytes[at..].iter().position(|byte| *byte != 0).map(|zeros| at + zeros) {
            let run = &bytes[start..];
            let length = run.windows(GAP).position(|window| window == [0; GAP]).unwrap_or(run.len());
            let _ = writeln!(text, "{start} {}", hex(&run[..length]).replace('\n', ""));
            at = start + length;
        }
    }
    text
}

fn unpack(text: &str, dir: &Path) {
    let mut files: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    for line in text.lines() {
        if let Some(file) = line.strip_prefix("file ") {
            let (path, length) = file.rsplit_once(' ').expect("a path and a length");
            files.push((dir.join(path), vec![0; length.parse().expect("a length")]));
        } else {
            let (offset, bytes) = line.split_once(' ').expect("an offset and bytes");
            let (offset, bytes) = (offset.parse::<usize>().expect("an offset"), unhex(bytes).expect("bytes"));
            let (_, content) = files.last_mut().expect("a file");
            content[offset..offset + bytes.len()].copy_from_slice(&bytes);
        }
    }
    for (path, content) in files {
        fs::create_dir_all(path.parent().expect("below the directory")).expect("made");
        fs::write(path, content).expect("written");
    }
}

/// A line for every trigger there is to be read, partition by partition.
async fn triggers(node: &Node<Adapter>) -> String {
    let mut text = String::new();
    for partition in 0..PARTITIONS {
        let group = node.group(partition).expect("there");
        let begun = Instant::now();
        // Leadership may be lost and won on a machine that is busy with something else.
        while group.read_barrier().await.is_err() {
            assert!(begun.elapsed() < LIMIT, "nobody leads partition {partition}");
        }
        let store = group.store().expect("there");
        let query = ListQuery { namespace: "shop".into(), ..ListQuery::default() };
        let mut after = None;
        loop {
            let page = read::list(&Rows(&store), &query, after).expect("rows can be read");
            page.items.iter().for_each(|view| line(&mut text, partition, view));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    text
}

fn line(text: &mut String, partition: u32, view: &TriggerView) {
    let TriggerView { topic, id, class, state, due, generation, attempt, receipt, .. } = view;
    let content = view.content.clone().unwrap_or_default();
    let labels: Vec<String> = content.labels.iter().map(|label| format!("{}={}", label.key, label.value)).collect();
    let payload = match std::str::from_utf8(&content.payload) {
        Ok(text) if text.len() < 40 => format!("{text:?}"),
        _ => format!("{} bytes", content.payload.len()),
    };
    let local = content.local.map(|local| format!(" local={}[{}]", local.date_time, local.zone)).unwrap_or_default();
    let (due, number, decided, executor) = (due.as_millis(), generation.number(), receipt.log_index, &receipt.executor);
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{partition} {topic} {id} {class:?} {state:?} due={due} generation={number} attempt={attempt} entry={decided} \
         executor={executor:?} error={:?} shard_key={:?} payload={payload} labels={labels:?}{local}",
        view.last_error, content.shard_key,
    );
}

/// Writes the kept files if they are asked for and not there.
async fn keep(directory: &Path, listed: &Path) {
    if std::env::var_os("GOLDEN").is_none_or(|value| value != "write") || directory.exists() {
        return;
    }
    let dir = tempfile::tempdir().expect("made");
    let node = open(dir.path()).await;
    for partition in 0..PARTITIONS {
        live_a_little(&node, partition).await;
        fill(&node, partition).await;
    }
    let begun = Instant::now();
    while !is_cut(dir.path()) {
        assert!(begun.elapsed() < LIMIT, "the log was not cut");
        tokio::task::yield_now().await;
    }
    for partition in 0..PARTITIONS {
        // Something only the log has.
        let newest = Kind::Schedule(schedule("newest", "mail", BEGIN + 5_000));
        propose(&node, partition, BEGIN + 4_000, vec![newest]).await;
    }
    close(node).await;
    fs::create_dir_all(directory.parent().expect("below the crate")).expect("made");
    fs::write(directory, packed(dir.path())).expect("written");
    let node = open(dir.path()).await;
    fs::write(listed, triggers(&node).await).expect("written");
    close(node).await;
}

/// Red when a file of the log, of RocksDB or of a data directory, or a row in it, is not read any more as it was written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_of_format_1_is_read_and_lived_on() {
    let (directory, listed) = (kept_file("directory.1.txt"), kept_file("triggers.1.txt"));
    keep(&directory, &listed).await;
    let dir = tempfile::tempdir().expect("made");
    unpack(&fs::read_to_string(directory).expect("kept"), dir.path());

    let report = verify(dir.path()).expect("it can be looked through");
    assert!(report.is_fine(), "{}", report.text());
    assert!((0..PARTITIONS).all(|partition| tables(dir.path(), partition) > 0), "tables are part of it");
    assert!(is_cut(dir.path()), "and a log whose beginning is gone");

    let node = open(dir.path()).await;
    assert_eq!(triggers(&node).await, fs::read_to_string(listed).expect("kept"));
    for partition in 0..PARTITIONS {
        // Years later: what waited has fired, what had failed once is due again, and what has ended is forgotten.
        let answers =
            propose(&node, partition, BEGIN + 400 * 86_400_000, vec![Kind::Schedule(schedule("new", "mail", 0))]);
        assert_eq!(answers.await.replies.len(), 1);
        let store = node.group(partition).expect("there").store().expect("there");
        let state = |id: &str| read::get(&Rows(&store), "shop", id).expect("readable").map(|view| view.state);
        for id in ["waits", "high", "low", "moved", "fired", "newest", "new"] {
            assert_eq!(state(id), Some(Outcome::Fired), "{id}");
        }
        assert_eq!((state("retried"), state("given-up")), (Some(Outcome::Retrying), Some(Outcome::DeadLettered)));
        assert_eq!((state("done"), state("cancelled"), state("run-1")), (None, None, None));
    }
    close(node).await;
    let report = verify(dir.path()).expect("it can be looked through");
    assert!(report.is_fine(), "{}", report.text());
}
