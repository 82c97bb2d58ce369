//! An idle cluster writes nothing but canaries, which these tests leave out.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use e2e::{PATIENCE, Scene, in_ms};
use harness::cluster::Options;
use harness::worker::Act;

/// With triggers waiting and nothing due, no log is written: no entry, no byte.
///
/// Red when the leader proposes on every beat instead of at the next due time.
#[tokio::test]
async fn an_idle_cluster_writes_no_log() {
    let mut scene = Scene::with(Options::default().with("canary.interval", "\"0ms\"")).await.unwrap();
    let _worker = scene.worker("e1", "idle", |_| Act::Succeed).await.unwrap();
    scene.schedule("idle", 50, in_ms(100)).await;
    scene.finished().await.unwrap();
    scene.schedule("waiting", 50, in_ms(3_600_000)).await;
    // Everything said is applied everywhere, and marks behind it have been written.
    let first = wait_until_quiet(&mut scene).await;
    // The only test that waits for time: what must not happen has no other sign.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let second = written(&mut scene).await;
    assert_eq!(first, second, "an idle cluster wrote to its log");
}

/// Last index by partition, and log bytes by node.
type Written = (BTreeMap<u32, u64>, BTreeMap<u64, u64>);

async fn written(scene: &mut Scene) -> Written {
    let indices = scene
        .cluster
        .partitions()
        .await
        .unwrap()
        .into_iter()
        .map(|partition| (partition.partition, partition.last_log_index))
        .collect();
    let bytes = scene.cluster.nodes().iter().map(|node| (node.id, size(&node.data().join("log")))).collect();
    (indices, bytes)
}

async fn wait_until_quiet(scene: &mut Scene) -> Written {
    let deadline = Instant::now() + PATIENCE;
    let mut before = written(scene).await;
    loop {
        tokio::time::sleep(Duration::from_millis(800)).await;
        let now = written(scene).await;
        if now == before {
            return now;
        }
        assert!(Instant::now() < deadline, "never quiet: {before:?} then {now:?}");
        before = now;
    }
}

fn size(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}
