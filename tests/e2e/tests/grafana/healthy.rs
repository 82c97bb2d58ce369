//! Every expression against a healthy cluster that works.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use e2e::{Scene, in_ms};
use harness::worker::Act;
use harness::{caller, record, wait};
use proto::v1;
use serde_json::Value;

use crate::dashboards::{self, string, substitute};
use crate::prometheus::Prometheus;
use crate::selectors;

/// What rightly has no series on a healthy cluster that has just been started, and why.
const EMPTY: &[(&str, &str)] = &[
    ("bosingak_wheel_recount_seconds", "a coarse slot is counted when its time comes near, hours ahead"),
    ("bosingak_raft_checkpoint_seconds", "a checkpoint is made after five minutes or many bytes"),
];

/// How long until a range of a minute has been scraped often enough.
const PATIENCE: Duration = Duration::from_secs(120);

fn asks(list: &[&str], expression: &str) -> bool {
    selectors::of(expression).iter().any(|selector| list.contains(&name(selector)))
}

/// The metric of a selector; a histogram's, if it selects a part of one.
fn name(selector: &str) -> &str {
    let name = selector.split('{').next().unwrap_or(selector);
    ["_bucket", "_count", "_sum"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name)
}

/// Expressions of panels and rules return series on a real cluster with an executor and triggers, alerts have something
/// to look at and are silent.
///
/// Turns red when a metric or a label is renamed in a `metrics.rs` and not in a panel or rule that draws it.
#[tokio::test]
async fn every_expression_returns_a_series_and_no_alert_is_raised() {
    let scene = Scene::three().await.unwrap();
    let Some(prometheus) = Prometheus::watch(&scene.cluster).await else { return };
    // One fails for good, one is tried again, all others succeed.
    let act = |delivery: &v1::Delivery| match (delivery.id.as_str(), delivery.attempt) {
        (id, 1) if id.ends_with("-again") => Act::Retry(Some(Duration::from_millis(10))),
        (id, _) if id.ends_with("-dead") => Act::Fail,
        _ => Act::Succeed,
    };
    let _worker = scene.worker("e1", "panels", act).await.unwrap();

    let wanted = wanted(&prometheus).await;
    let deadline = Instant::now() + PATIENCE;
    for round in 0.. {
        work(&scene, round).await;
        let missing = missing(&prometheus, &wanted).await;
        if missing.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "return no series:\n{}", missing.join("\n"));
    }
    is_silent(&prometheus).await;
}

/// Does a bit of everything, through every node.
async fn work(scene: &Scene, round: u32) {
    let session = scene.session(1);
    for (node, kind) in (0..).zip(["a", "b", "c", "again", "dead"]) {
        let id = format!("{round}-{node}-{kind}");
        session.schedule(record::request(id, "panels", in_ms(20))).await.unwrap();
    }
    session.schedule(record::request(format!("{round}-pending"), "panels", in_ms(7_200_000))).await.unwrap();
    for node in scene.cluster.nodes() {
        // Through every node, so that some calls are passed on; and one that is answered NOT_FOUND.
        let through = caller::Caller::new(&[node.endpoint()]).unwrap();
        record::get(&through, "default", &format!("{round}-pending")).await.unwrap();
        record::get(&through, "default", "unknown").await.unwrap_err();
    }
}

/// Everything that must return a series, with where it stands.
async fn wanted(prometheus: &Prometheus) -> Vec<(String, String)> {
    let mut wanted = Vec::new();
    for dashboard in dashboards::all() {
        for (place, expression) in dashboard.expressions() {
            wanted.push((place, substitute(&expression)));
        }
    }
    let rules = prometheus.rules().await.unwrap();
    for rule in of_groups(&rules) {
        let (place, expression) = (string(&rule["name"]).to_owned(), string(&rule["query"]));
        // An alert that is silent returns nothing; what it looks at has to be there.
        if rule["type"] == "alerting" {
            let selectors = selectors::of(expression).into_iter();
            wanted.extend(selectors.map(|selector| (place.clone(), selector)));
        } else {
            wanted.push((place, expression.to_owned()));
        }
    }
    for dashboard in dashboards::all() {
        for (variable, label, selector) in dashboard.variables() {
            let values = prometheus.label_values(&label, &substitute(&selector)).await.unwrap();
            assert!(!values.is_empty(), "{}: variable {variable} has no values", dashboard.name);
        }
    }
    assert!(wanted.len() > 100, "{}", wanted.len());
    wanted
}

fn of_groups(rules: &Value) -> impl Iterator<Item = &Value> {
    let groups = rules["groups"].as_array().expect("groups of rules");
    groups.iter().flat_map(|group| group["rules"].as_array().expect("rules"))
}

async fn missing(prometheus: &Prometheus, wanted: &[(String, String)]) -> Vec<String> {
    let empty: Vec<&str> = EMPTY.iter().map(|(metric, _)| *metric).collect();
    let mut answers: BTreeMap<&str, bool> = BTreeMap::new();
    let mut missing = Vec::new();
    for (place, expression) in wanted {
        let may_be_empty = asks(&empty, expression);
        let answered = match answers.get(expression.as_str()) {
            Some(answered) => *answered,
            None => {
                // That it parses is asked of all.
                let series = prometheus.query(expression).await;
                let answered = !series.unwrap_or_else(|error| panic!("{place}: {expression}: {error}")).is_empty();
                answers.insert(expression, answered);
                answered
            }
        };
        if !answered && !may_be_empty {
            missing.push(format!("{place}: {expression}"));
        }
    }
    missing
}

/// Every rule was evaluated, and no alert is raised, not even one that waits for its `for`. A leader that moves may raise
/// one for a moment; it has to go.
async fn is_silent(prometheus: &Prometheus) {
    let raised = async || {
        let rules = prometheus.rules().await?;
        let raised: Vec<String> = of_groups(&rules)
            .filter(|rule| rule["health"] != "ok" || rule.get("state").is_some_and(|state| state != "inactive"))
            .map(Value::to_string)
            .collect();
        if raised.is_empty() { Ok(()) } else { Err(raised.join("\n")) }
    };
    wait::until("silence of a healthy cluster's alerts", e2e::PATIENCE, raised).await.unwrap();
}
