//! Processes killed all at once, and logs with a torn end.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use checkers::Options as Allowed;
use e2e::{PATIENCE, Scene, in_ms};
use harness::worker::Act;

/// All three nodes are killed at once in the middle of a burst and started again: everything acknowledged is there and
/// completes.
///
/// Red when the log is not synced before an append is reported durable, or when state is not rebuilt from the log
/// above the last flush.
#[tokio::test]
async fn all_three_killed_at_once_and_restarted() {
    let mut scene = Scene::three().await.unwrap();
    let worker = scene.worker("e1", "all", |_| Act::Succeed).await.unwrap();
    scene.schedule("all", 3_000, in_ms(2_000)).await;
    scene.schedule("later", 500, in_ms(3_600_000)).await;
    scene.until("first completions", PATIENCE, |history| history.completions.len() >= 50).await.unwrap();
    scene.cluster.kill_all().unwrap();
    for id in scene.cluster.ids() {
        scene.cluster.spawn(id).unwrap();
    }
    scene.cluster.ready().await.unwrap();
    scene
        .until("completion of the burst", PATIENCE, |history| {
            let mut done: Vec<&str> = history.completions.iter().map(|one| one.trigger.id.as_str()).collect();
            done.sort_unstable();
            done.dedup();
            done.len() == 3_000
        })
        .await
        .unwrap();
    drop(worker);
    scene.verdict(&Allowed::default()).await;
}

/// One node after the other is killed and has the end of its newest log record zeroed, as a torn write would leave it;
/// it starts again and catches up, and nothing a majority acknowledged is lost.
///
/// Red when replay stops the node at a record cut short, instead of cutting it off.
#[tokio::test]
async fn torn_last_log_record() {
    let mut scene = Scene::three().await.unwrap();
    let _worker = scene.worker("e1", "torn", |_| Act::Succeed).await.unwrap();
    for (node, torn_bytes) in [(1, 1), (2, 7), (3, 40)] {
        let topic = format!("torn-{node}");
        scene.schedule(&topic, 200, in_ms(3_600_000)).await;
        scene.cluster.kill(node).unwrap();
        // The other two acknowledge these, and with them everything before.
        scene.schedule(&format!("{topic}-without"), 40, in_ms(3_600_000)).await;
        tear(&scene.cluster.node(node).data(), torn_bytes);
        scene.cluster.spawn(node).unwrap();
        scene.cluster.ready().await.unwrap();
    }
    scene.schedule("torn", 50, in_ms(100)).await;
    scene.until("completion of what came last", PATIENCE, |history| history.completions.len() >= 50).await.unwrap();
    scene.verdict(&Allowed::default()).await;
}

/// Zeroes the last `torn_bytes` bytes that were written to the newest log file.
fn tear(data: &Path, torn_bytes: usize) {
    let newest = newest_log_file(data).expect("a log file");
    let bytes = std::fs::read(&newest).unwrap();
    let end = written(&bytes);
    assert!(end > torn_bytes, "{} holds {end} bytes", newest.display());
    let mut file = std::fs::File::options().write(true).open(&newest).unwrap();
    file.seek(SeekFrom::Start((end - torn_bytes) as u64)).unwrap();
    file.write_all(&vec![0; torn_bytes]).unwrap();
}

/// Length without the zeros that were allocated ahead.
fn written(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1)
}

/// The segment of the log that was written last; segments are numbered.
fn newest_log_file(data: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(data.join("log")).ok()?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "log"))
        .max()
}
