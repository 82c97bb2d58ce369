//! A data directory belongs to one node of one cluster.

use e2e::PATIENCE;
use harness::cluster::{Cluster, Options};
use harness::wait;

/// A data directory of another cluster, of another node, made for another number of partitions, or by a newer version is
/// refused with one clear message, and left as it was.
///
/// Red when the identity file is not compared at start.
#[tokio::test]
async fn a_data_directory_of_somebody_else_is_refused() {
    let options = Options { nodes: 1, ..Options::default() };
    let mut cluster = Cluster::start(options).await.unwrap();
    cluster.kill(1).unwrap();
    let right = cluster.config(1, cluster.members());
    let named = "[cluster]\nname = \"another\"\n";
    let other_node = right.replace("id = 1\n", "id = 2\n").replace("[\"1=", "[\"2=");
    let cases = [
        ("another cluster", right.replace("[cluster]\n", named)),
        ("another node", other_node),
        ("another number of partitions", right.replace("partitions = 4", "partitions = 8")),
    ];
    let identity = cluster.node(1).data().join("NODE");
    let written = std::fs::read_to_string(&identity).unwrap();
    let newer = written.replace("format 1\n", "format 2\n");
    assert_ne!(written, newer);
    for (what, config) in cases {
        assert_ne!(config, right, "{what}");
        is_refused(&cluster, what, &config).await;
    }
    std::fs::write(&identity, newer).unwrap();
    is_refused(&cluster, "a newer format", &right).await;
    std::fs::write(&identity, written).unwrap();
    cluster.spawn(1).unwrap();
    cluster.ready().await.unwrap();
}

async fn is_refused(cluster: &Cluster, what: &str, config: &str) {
    let log = cluster.node(1).directory.join("log");
    std::fs::write(&log, "").unwrap();
    let process = std::sync::Mutex::new(cluster.spawn_with(1, config).unwrap());
    let status = wait::until("refusal", PATIENCE, || async {
        process.lock().unwrap().exited().ok().flatten().ok_or("still running")
    })
    .await
    .unwrap();
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(!status.success(), "{what}: {said}");
    assert!(!said.contains("panicked"), "{what}: {said}");
    let data = cluster.node(1).data();
    assert!(said.contains(&*data.to_string_lossy()), "{what}: the directory is not named: {said}");
}
