//! What `verify` says of data directories in states that no flipped bit leads to.

mod cluster_support;

use std::fs;
use std::path::{Path, PathBuf};

use cluster_support::*;
use raft::Health;
use raft::verify::{self, Damage, Finding};

/// A node that has purged part of its log, and its rows as they were before that.
async fn stopped() -> (Cluster, PathBuf, tempfile::TempDir) {
    let mut cluster = Cluster::with(1, 1, false, eager()).await;
    cluster.propose(0, "add a 1").await;
    let dir = cluster.dir(0);
    cluster.stop(0).await;
    let early = tempfile::tempdir().expect("a directory");
    copy(&rows(&dir), early.path());
    cluster.start(0).await;
    for number in 0..200 {
        cluster.propose(0, &format!("add b{number} 1")).await;
    }
    until("entries are purged", || (cluster.node(0).status().remove(0).purged_index > 100).then_some(())).await;
    cluster.stop(0).await;
    (cluster, dir, early)
}

fn rows(dir: &Path) -> PathBuf {
    dir.join("state/0/rows-1")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("readable") {
        let path = entry.expect("readable").path();
        fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("copies");
    }
}

fn look(dir: &Path) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut partitions = 0;
    verify::directory(dir, &mut |finding| found.push(finding), &mut |_| partitions += 1).expect("can be looked at");
    let rows_damaged = found.iter().any(|f| matches!(f.damage, Some(Damage::Rows | Damage::Identity)));
    assert_eq!(partitions, usize::from(!rows_damaged), "{found:?}");
    found
}

fn only(dir: &Path, damage: Option<Damage>, words: &str) {
    let found = look(dir);
    let told = found.iter().any(|finding| finding.damage == damage && finding.what.contains(words));
    assert!(told && found.iter().all(|finding| finding.damage == damage), "{words:?}: {found:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_and_log_must_meet() {
    let (mut cluster, dir, early) = stopped().await;
    assert_eq!(look(&dir), []);

    let whole = tempfile::tempdir().expect("a directory");
    copy(&rows(&dir), whole.path());
    let swap = |with: &Path| {
        fs::remove_dir_all(rows(&dir)).expect("removed");
        copy(with, &rows(&dir));
    };
    swap(early.path());
    only(&dir, Some(Damage::Behind), "the log begins behind entry");
    // A node that starts on it anyway says the same and does not answer from the past.
    cluster.start(0).await;
    match cluster.node(0).status().remove(0).health {
        Health::Halted(reason) => assert!(reason.contains("the log begins behind entry"), "{reason}"),
        other => panic!("{other:?}"),
    }
    cluster.stop(0).await;
    swap(early.path());
    fs::remove_file(rows(&dir).join("CURRENT")).expect("removed");
    only(&dir, Some(Damage::Rows), "there are no rows");
    swap(whole.path());
    assert_eq!(look(&dir), []);

    fs::create_dir_all(dir.join("state/0/rows-7")).expect("made");
    fs::create_dir_all(dir.join("state/0/incoming")).expect("made");
    fs::write(dir.join("HEARD"), "12\n3").expect("written");
    fs::write(dir.join("notes.txt"), "mine").expect("written");
    let found = look(&dir);
    assert!(found.len() == 4 && found.iter().all(|finding| finding.damage.is_none()), "{found:#?}");

    let current = dir.join("state/0/CURRENT");
    let said = fs::read(&current).expect("read");
    fs::remove_file(&current).expect("removed");
    let found = look(&dir);
    assert!(found.iter().any(|finding| finding.damage == Some(Damage::Identity)), "{found:#?}");
    fs::write(&current, said).expect("written");

    for entry in fs::read_dir(dir.join("log")).expect("readable") {
        fs::remove_file(entry.expect("readable").path()).expect("removed");
    }
    let found = look(&dir);
    assert!(found.iter().any(|finding| finding.what.contains("its votes are lost")), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_end_is_harmless_and_damage_before_it_is_not() {
    let (_cluster, dir, _) = stopped().await;
    let mut segments: Vec<_> = fs::read_dir(dir.join("log"))
        .expect("readable")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    segments.sort();
    let last = segments.pop().expect("there is one");
    let mut bytes = fs::read(&last).expect("read");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("not empty") + 1;
    bytes[end + 30..end + 90].fill(7);
    fs::write(&last, &bytes).expect("written");
    only(&dir, None, "the last write is torn");
    bytes[100] ^= 1;
    fs::write(&last, &bytes).expect("written");
    let found = look(&dir);
    let damaged = found.iter().find(|finding| finding.damage == Some(Damage::Log)).expect("told");
    assert_eq!(damaged.path, last.strip_prefix(&dir).expect("inside"));
    assert!(damaged.offset.is_some_and(|offset| (64..=100).contains(&offset)), "{damaged:?}");
}
