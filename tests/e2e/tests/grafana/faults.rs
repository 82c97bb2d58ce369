//! What alerts look at, when there is something to see.

use e2e::{Scene, in_ms};
use harness::record;

use crate::prometheus::Prometheus;
use crate::rules;

/// The expression of an alert, as Prometheus has it.
async fn expression(prometheus: &Prometheus, alert: &str) -> String {
    assert!(rules::alerts().iter().any(|one| one.name == alert), "{alert}");
    let rules = prometheus.rules().await.unwrap();
    let groups = rules["groups"].as_array().unwrap();
    let mut all = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
    let found = all.find(|rule| rule["name"] == alert).unwrap_or_else(|| panic!("{alert} is not loaded"));
    found["query"].as_str().unwrap().to_owned()
}

/// Work for a topic nobody asks for is told as such, though an executor of another topic is there; a node that was
/// killed is told as down; two of three gone, what they led is told to have no leader.
///
/// Turns red when `figures` in api/server/src/node.rs leaves out lanes whose rows were not read.
#[tokio::test]
async fn real_faults_are_what_alerts_look_at() {
    let mut scene = Scene::three().await.unwrap();
    let Some(mut prometheus) = Prometheus::watch(&scene.cluster).await else { return };
    let _worker = scene.worker("e1", "served", |_| harness::worker::Act::Succeed).await.unwrap();
    let nobody = expression(&prometheus, "BosingakNoExecutor").await;
    scene.schedule("served", 8, in_ms(0)).await;
    scene.finished().await.unwrap();
    assert_eq!(prometheus.query(&nobody).await.unwrap(), Vec::<serde_json::Value>::new());

    scene.session(1).schedule(record::request("unserved-0", "unserved", in_ms(0))).await.unwrap();
    let partition = harness::route::partition("default", "unserved-0", 4).to_string();
    let seen = prometheus.until("sight of unserved work", &nobody).await;
    assert_eq!(seen[0]["metric"]["partition"], *partition, "{seen:?}");

    let down = expression(&prometheus, "BosingakMembersDown").await;
    scene.cluster.kill(3).unwrap();
    let seen = prometheus.until("sight of the dead node", &down).await;
    assert_eq!(seen[0]["value"][1], "1", "{seen:?}");

    // The last one leads nothing without a majority.
    let leaderless = expression(&prometheus, "BosingakNoLeader").await;
    scene.cluster.kill(2).unwrap();
    prometheus.until("sight of partitions without leader", &leaderless).await;
}
