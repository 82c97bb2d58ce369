//! Any node takes any call over HTTP too.

use serde_json::{Value, json};
use server::config::{Origin, Values};
use server::dev::{Cluster, Options};

use crate::server_support::{until, within};
use crate::support::{Answer, Http, TRIGGERS, in_an_hour};

/// As clients do: again for as long as the answer says that it may be repeated.
async fn retried(mut call: impl AsyncFnMut() -> Answer) -> Answer {
    until(async || {
        let answer = call().await;
        (answer.status != 503).then_some(answer)
    })
    .await
}

/// Turns red when a handler answers without the function that passes calls on to leaders.
#[tokio::test(flavor = "multi_thread")]
async fn calls_are_passed_on_to_leaders_and_so_are_refusals() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options { nodes: 3, virtual_clock: false, data: dir.path().into(), port: 0 };
    let mut values = Values::defaults();
    values.set("storage.free_space_min", "0B".into(), Origin::Flag);
    values.set("cluster.partitions", "3".into(), Origin::Flag);
    let cluster = within(Cluster::start(&options, &values)).await.expect("starts");
    within(cluster.ready()).await;
    let mut nodes = Vec::new();
    for one in cluster.servers() {
        nodes.push(Http::at(&one.addresses().client.to_string()).await);
    }
    let mut partitions = std::collections::BTreeSet::new();
    for i in 0..12 {
        let (first, second) = (&nodes[i % 3], &nodes[(i + 1) % 3]);
        let path = format!("{TRIGGERS}/order-{i}");
        let made = retried(async || first.post(TRIGGERS, in_an_hour(&format!("order-{i}"))).await).await;
        assert!([200, 201].contains(&made.status), "{made:?}");
        partitions.insert(made.json["receipt"]["partition"].as_u64());
        let found = retried(async || second.get(&path).await).await;
        assert_eq!(found.json["generation"], made.json["generation"]);
        // Another node's refusal, with its details.
        let body = json!({ "expectedGeneration": 1 });
        let refused = retried(async || second.post(&format!("{path}/cancel"), body.clone()).await).await;
        assert_eq!(refused.reason(), (409, "VERSION_MISMATCH"));
        assert_eq!(refused.json["metadata"]["found"], made.json["generation"]);
    }
    assert_eq!(partitions.len(), 3, "twelve ids fall into every partition");
    for node in &nodes {
        let topic = retried(async || node.patch("/v1/namespaces/default/topics/t", json!({})).await).await;
        assert_eq!(topic.status, 200, "{topic:?}");
        let (mut ids, mut token) = (Vec::<Value>::new(), String::new());
        loop {
            let page = retried(async || node.get(&format!("{TRIGGERS}?pageSize=5&pageToken={token}")).await).await.json;
            ids.extend(page["triggers"].as_array().expect("a list").iter().map(|one| one["id"].clone()));
            token = page["nextPageToken"].as_str().expect("text").into();
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(ids.len(), 12);
    }
    within(cluster.shutdown()).await;
}
