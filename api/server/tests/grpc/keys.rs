//! Who may call, when there is a file of keys.

use std::path::Path;

use client::{Client, Error, Reason};
use proto::v1;
use server::config::{Origin, Values};
use server::dev::{Cluster, Options};
use sha2::{Digest, Sha256};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{after, channel, until, within};

const NODE_SECRET: &str = "of-the-nodes-0123456789abcdef-0123456789";

/// A file with a key for each role, whose secret is the role with an exclamation mark.
fn write_keys(path: &Path, roles: &[&str]) {
    let mut text = format!("node_secrets = [\"{NODE_SECRET}\"]\n");
    for role in roles {
        let hash: String = Sha256::digest(format!("{role}!")).iter().map(|byte| format!("{byte:02x}")).collect();
        text += &format!("[[keys]]\nid = \"{role}\"\nsha256 = \"{hash}\"\nrole = \"{role}\"\n");
    }
    std::fs::write(path, text).expect("written");
}

/// Sends everything to one node, which passes on what others lead.
fn client(node: &str, key: Option<&str>) -> Client {
    let builder = Client::builder().endpoints([node]).routing(false);
    let builder = match key {
        Some(role) => builder.api_key(format!("{role}.{role}!")),
        None => builder,
    };
    builder.connect_lazy().expect("an address")
}

async fn schedule(client: &Client, id: &str) -> Result<(), Error> {
    client.schedule_request(after(id, "t", std::time::Duration::from_secs(3_600))).await.map(drop)
}

fn reason(result: Result<(), Error>) -> Reason {
    result.expect_err("refused").reason().expect("by the server").clone()
}

/// Red when anything but what describes the server is answered without a key, when a role may do another's work, when nodes cannot
/// pass calls on to each other, or when a key that was taken out of the file is still good.
#[tokio::test(flavor = "multi_thread")]
async fn callers_show_keys_and_may_do_what_their_role_may() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("keys.toml");
    write_keys(&file, &["operator", "service", "executor", "reader"]);
    let options = Options { nodes: 3, virtual_clock: false, data: dir.path().join("data"), port: 0 };
    let mut values = Values::defaults();
    values.set("storage.free_space_min", "0B".into(), Origin::Flag);
    values.set("cluster.partitions", "3".into(), Origin::Flag);
    values.set("api.keys_file", file.display().to_string(), Origin::Flag);
    let cluster = within(Cluster::start(&options, &values)).await.expect("starts");
    within(cluster.ready()).await;
    let nodes: Vec<String> = cluster.servers().iter().map(|one| one.addresses().client.to_string()).collect();

    let nobody = client(&nodes[0], None);
    assert_eq!(reason(schedule(&nobody, "a").await), Reason::Unauthenticated);
    assert_eq!(reason(nobody.leaders().await.map(drop)), Reason::Unauthenticated);
    let mut health = HealthClient::new(channel(&nodes[0]));
    within(health.check(HealthCheckRequest::default())).await.expect("who watches over the process has no key");

    // Every node takes calls about every partition: two of three are passed on.
    let service: Vec<Client> = nodes.iter().map(|node| client(node, Some("service"))).collect();
    for number in 0..18 {
        schedule(&service[number % 3], &format!("order-{number}")).await.expect("scheduled");
    }
    let got = service[0].get(v1::GetRequest { id: "order-7".into(), ..Default::default() }).await;
    assert!(got.is_ok(), "{got:?}");

    let reader = client(&nodes[1], Some("reader"));
    assert_eq!(reason(schedule(&reader, "a").await), Reason::PermissionDenied);
    reader.leaders().await.expect("anybody with a key may know whom to ask");
    let executor = client(&nodes[1], Some("executor"));
    assert_eq!(reason(schedule(&executor, "a").await), Reason::PermissionDenied);
    let stranger = Client::builder().endpoints([&nodes[0]]).api_key("service.service?").connect_lazy().expect("a key");
    assert_eq!(reason(schedule(&stranger, "a").await), Reason::Unauthenticated);

    // Without it a client panics, one that only speaks http:// too. Somebody else may have installed it before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::new();
    let get = |path: &str, role: Option<&str>| {
        let request = http.get(format!("http://{}{path}", nodes[2]));
        match role {
            Some(role) => request.header("authorization", format!("Bearer {role}.{role}!")),
            None => request,
        }
    };
    let refused = within(get("/v1/cluster", None).send()).await.expect("answered");
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["www-authenticate"]),
        (401, &"Bearer".parse().expect("text"))
    );
    let problem: serde_json::Value = serde_json::from_slice(&refused.bytes().await.expect("whole")).expect("JSON");
    assert_eq!(
        (problem["reason"].as_str(), problem["instance"].as_str()),
        (Some("UNAUTHENTICATED"), Some("/v1/cluster"))
    );
    for (path, role, status) in [
        ("/openapi.json", None, 200),
        ("/problems/UNAUTHENTICATED", None, 200),
        ("/v1/cluster", Some("reader"), 200),
        ("/v1/namespaces/default/triggers/order-7", Some("reader"), 403),
        ("/v1/namespaces/default/triggers/order-7", Some("service"), 200),
        ("/no/such/page", Some("service"), 403),
        ("/no/such/page", Some("operator"), 404),
        ("/no/such/page", None, 401),
    ] {
        let answer = within(get(path, role).send()).await.expect("answered");
        assert_eq!(answer.status().as_u16(), status, "{path} as {role:?}");
    }

    // A file with a mistake changes nothing; the next one without the key does.
    std::fs::write(&file, "node_secrets = 1").expect("written");
    schedule(&service[0], "order-still").await.expect("the keys of before stay");
    write_keys(&file, &["operator", "executor"]);
    until(async || {
        schedule(&service[0], "order-late").await.err().filter(|error| error.reason() == Some(&Reason::Unauthenticated))
    })
    .await;
    cluster.shutdown().await;
}
