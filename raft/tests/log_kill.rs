//! The log of a process that gets SIGKILL: nothing it acknowledged is lost.

mod log_support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use log_support::*;
use openraft::RaftLogReader;
use openraft::storage::RaftLogStorage;
use raft::log::{FileIo, Log, LogConfig};

const DIR: &str = "BOSINGAK_TEST_LOG_DIR";
const GROUPS: u32 = 4;
const ROUNDS: u64 = 12;

fn config() -> LogConfig {
    LogConfig { segments_max: 3, cache_bytes: 100_000, ..small() }
}

/// Not a test by itself: the process that `killed_at_any_moment_nothing_acknowledged_is_lost` starts and kills. Says on
/// standard output what became durable, after it did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_gets_killed() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let log = Log::open(dir, config(), Box::new(FileIo)).expect("opens");
    let tell = |what: String| {
        // One write per line: a kill never leaves half of one, and libtest does not hold it back.
        std::io::stdout().write_all(what.as_bytes()).expect("somebody listens");
        std::io::stdout().flush().expect("somebody listens");
    };
    let writers = (0..GROUPS).map(|gid| {
        let mut group = log.group(gid);
        tokio::spawn(async move {
            let mut state = group.get_log_state().await.expect("reads");
            let term = group.read_vote().await.expect("reads").map_or(1, |vote| vote.leader_id.term + 1);
            group.save_vote(&vote(term)).await.expect("saves");
            tell(format!("vote {gid} {term}\n"));
            loop {
                let next = state.last_log_id.map_or(1, |id| id.index + 1);
                let count = 1 + next % 3;
                fill(&mut group, term, next..next + count, 100 + 700 * (gid as usize)).await;
                tell(format!("entry {gid} {term} {next} {count}\n"));
                // The first group keeps everything small for long, the others let go soon.
                let keep = if gid == 0 { 400 } else { 20 };
                if next % 7 == 0 && next > keep {
                    group.purge(log_id(term, next - keep)).await.expect("purges");
                }
                state = group.get_log_state().await.expect("reads");
            }
        })
    });
    futures::future::join_all(writers).await;
}

#[derive(Default)]
struct Acknowledged {
    term: u64,
    /// Term by index.
    entries: BTreeMap<u64, u64>,
}

/// Red when `Writer::encode` in `log/writer.rs` says that appends need no write before they are told, for example when
/// `tell` is called before `flush`; or when `drop_segment` is called without waiting for what was queued.
#[tokio::test]
async fn killed_at_any_moment_nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut told: BTreeMap<u32, Acknowledged> = (0..GROUPS).map(|gid| (gid, Acknowledged::default())).collect();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "the_process_that_gets_killed", "--nocapture", "--test-threads=1"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map(|l| l.expect("text"));
        // Not round numbers, so that the kill meets the writer in different places.
        let kill_after = 3 + round * round * 7 % 310;
        let mut seen = 0;
        for line in lines.by_ref() {
            seen += u64::from(acknowledge(&mut told, &line));
            if seen == kill_after {
                child.kill().expect("kills");
                break;
            }
        }
        assert_eq!(seen, kill_after, "the child ended by itself");
        // What was on its way when the kill arrived had been acknowledged too.
        for line in lines {
            acknowledge(&mut told, &line);
        }
        child.wait().expect("ends");

        let log = Log::open(dir.path(), config(), Box::new(FileIo)).expect("opens after a kill");
        for (gid, told) in &told {
            let mut group = log.group(*gid);
            let term = group.read_vote().await.expect("reads").map_or(0, |vote| vote.leader_id.term);
            assert!(term >= told.term, "round {round}, group {gid}: vote {term}, acknowledged {}", told.term);
            let state = group.get_log_state().await.expect("reads");
            let purged = state.last_purged_log_id.map_or(0, |id| id.index);
            let contents: BTreeMap<u64, _> = contents(&group).await.into_iter().collect();
            for (index, term) in told.entries.range(purged + 1..) {
                let expected = payload(*gid, *term, *index, 100 + 700 * (*gid as usize));
                assert_eq!(contents.get(index).map(|p| &p[..]), Some(&expected[..]), "round {round}, group {gid}, entry {index}");
            }
        }
    }
    let last = told[&3].entries.keys().last().copied().unwrap_or_default();
    assert!(last > 300, "only {last} entries");
}

/// Notes a line of the child; false when it is not one of ours.
fn acknowledge(told: &mut BTreeMap<u32, Acknowledged>, line: &str) -> bool {
    let mut words = line.split(' ');
    let kind = words.next();
    let numbers: Vec<u64> = words.map_while(|w| w.parse().ok()).collect();
    match (kind, &numbers[..]) {
        (Some("vote"), [gid, term]) => told.get_mut(&(*gid as u32)).expect("a group").term = *term,
        (Some("entry"), [gid, term, first, count]) => {
            let told = told.get_mut(&(*gid as u32)).expect("a group");
            told.entries.extend((*first..first + count).map(|index| (index, *term)));
        }
        _ => return false,
    }
    true
}
