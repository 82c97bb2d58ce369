//! Processes killed all at once, and logs with a torn end.

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
    scene
        .until("first completions", PATIENCE, |history| {
            history.completions.len() >= 50
        })
        .await
        .unwrap();
    scene.cluster.kill_all().unwrap();
    for id in scene.cluster.ids() {
        scene.cluster.spawn(id).unwrap();
    }
    scene.cluster.ready().await.unwrap();
    scene
        .until("completion of the burst", PATIENCE, |history| {
            let mut done: Vec<&str> = history
                .completions
                .iter()
                .map(|one| one.trigger.id.as_str())
                .collect();
            done.sort_unstable();
            done.dedup();
            done.len() == 3_000
        })
        .await
        .unwrap();
    drop(worker);
    scene.verdict(&Allowed::default()).await;
}

/// One node after the other is killed and loses the end of its newest log file, as a torn write would leave it; it
/// starts again and catches up, and nothing a majority acknowledged is lost.
///
/// Red when replay stops the node at a record cut short, instead of cutting it off.
#[tokio::test]
async fn torn_last_log_record() {
    let mut scene = Scene::three().await.unwrap();
    let _worker = scene.worker("e1", "torn", |_| Act::Succeed).await.unwrap();
    for (round, torn_bytes) in [(1, 1), (2, 7), (3, 40)] {
        let topic = format!("torn-{round}");
        scene.schedule(&topic, 200, in_ms(3_600_000)).await;
        scene.cluster.kill(round).unwrap();
        let newest = newest_log_file(&scene.cluster.node(round).data()).expect("a log file");
        let file = std::fs::File::options().write(true).open(&newest).unwrap();
        let length = written(&newest);
        assert!(
            length > torn_bytes,
            "{} holds {length} bytes",
            newest.display()
        );
        file.set_len(length - torn_bytes).unwrap();
        drop(file);
        scene.cluster.spawn(round).unwrap();
        scene.cluster.ready().await.unwrap();
    }
    scene.schedule("torn", 50, in_ms(100)).await;
    scene
        .until("completion of what came last", PATIENCE, |history| {
            history.completions.len() >= 50
        })
        .await
        .unwrap();
    scene.verdict(&Allowed::default()).await;
}

/// Length without zeros that were allocated ahead.
fn written(file: &Path) -> u64 {
    let bytes = std::fs::read(file).unwrap();
    bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at as u64 + 1)
}

/// The file of the log that was written last.
fn newest_log_file(data: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(data.join("log")).ok()?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file() && written(path) > 64)
        .max_by_key(|path| {
            path.metadata()
                .and_then(|metadata| metadata.modified())
                .ok()
        })
}
