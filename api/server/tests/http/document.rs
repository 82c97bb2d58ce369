//! The OpenAPI document says all there is, and its browser needs nobody else.

use reqwest::Method;
use serde_json::Value;

use crate::server_support::{One, within};
use crate::support::Http;

/// Every call there is, as documented; whoever adds one adds it here.
const CALLS: &[&str] = &[
    "GET /problems",
    "GET /problems/{reason}",
    "GET /v1/cluster",
    "GET /v1/cluster/late",
    "GET /v1/forecast",
    "GET /v1/namespaces/{namespace}/attention",
    "GET /v1/namespaces/{namespace}/dead-letters",
    "GET /v1/namespaces/{namespace}/gifts",
    "GET /v1/namespaces/{namespace}/gifts/{id}",
    "GET /v1/namespaces/{namespace}/gifts/{id}/notifications",
    "GET /v1/namespaces/{namespace}/gifts/{id}/watch",
    "GET /v1/namespaces/{namespace}/notifications/{id}",
    "GET /v1/namespaces/{namespace}/payments/{id}",
    "GET /v1/namespaces/{namespace}/products",
    "GET /v1/namespaces/{namespace}/products/{id}",
    "GET /v1/namespaces/{namespace}/reconciliation",
    "GET /v1/namespaces/{namespace}/shops",
    "GET /v1/namespaces/{namespace}/shops/{id}",
    "GET /v1/namespaces/{namespace}/topics",
    "GET /v1/namespaces/{namespace}/topics/{name}",
    "GET /v1/namespaces/{namespace}/triggers",
    "GET /v1/namespaces/{namespace}/triggers/{id}",
    "GET /v1/namespaces/{namespace}/watch",
    "PATCH /v1/namespaces/{namespace}/gifts/{id}",
    "PATCH /v1/namespaces/{namespace}/topics/{name}",
    "POST /v1/namespaces/{namespace}/dead-letters/{id}/drop",
    "POST /v1/namespaces/{namespace}/dead-letters/{id}/requeue",
    "POST /v1/namespaces/{namespace}/gifts",
    "POST /v1/namespaces/{namespace}/gifts/{id}/cancel",
    "POST /v1/namespaces/{namespace}/gifts/{id}/resolve",
    "POST /v1/namespaces/{namespace}/links/accept",
    "POST /v1/namespaces/{namespace}/links/open",
    "POST /v1/namespaces/{namespace}/links/transfer",
    "POST /v1/namespaces/{namespace}/notifications/{id}/retry",
    "POST /v1/namespaces/{namespace}/redeem",
    "POST /v1/namespaces/{namespace}/shops/{id}/terminals",
    "POST /v1/namespaces/{namespace}/shops/{id}/terminals/{terminal}/revoke",
    "POST /v1/namespaces/{namespace}/shops/{id}/terminals/{terminal}/unlock",
    "POST /v1/namespaces/{namespace}/topics/{name}/pause",
    "POST /v1/namespaces/{namespace}/topics/{name}/resume",
    "POST /v1/namespaces/{namespace}/triggers",
    "POST /v1/namespaces/{namespace}/triggers/{id}/cancel",
    "POST /v1/namespaces/{namespace}/triggers/{id}/reschedule",
    "POST /v1/namespaces/{namespace}/triggers/{id}/run-now",
    "PUT /v1/namespaces/{namespace}/products/{id}",
    "PUT /v1/namespaces/{namespace}/shops/{id}",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_documented() {
    let one = One::start_with(|config| config.canary_interval = None).await;
    let http = Http::of(&one).await;
    assert_eq!(http.document["openapi"], "3.1.0");
    let mut found = Vec::new();
    let mut operations = std::collections::BTreeSet::new();
    for (path, item) in http.document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("an item") {
            found.push(format!("{} {path}", method.to_uppercase()));
            let name = operation["operationId"].as_str().expect("a name").to_owned();
            assert!(operations.insert(name), "{operation}");
            assert!(operation["tags"].as_array().is_some_and(|tags| tags.len() == 1), "{operation}");
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{operation}");
            // Every name in the path is a parameter.
            let names = path.split(['{', '}']).skip(1).step_by(2);
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            for name in names {
                let described = |one: &Value| one["name"] == name && one["in"] == "path" && one["required"] == true;
                assert!(parameters.iter().any(described), "{name} in {path}");
            }
            // And the route is there: it refuses for a reason of its own, or answers.
            let concrete = path.replace(['{', '}'], "");
            let request =
                http.request(Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method"), &concrete);
            let response =
                within(request.header("content-type", "application/json").body("{}").send()).await.expect("answered");
            assert!(response.status() != 405, "{method} {path}");
            if response.status() == 404 {
                let problem: Value = serde_json::from_slice(&response.bytes().await.expect("whole")).expect("JSON");
                assert!(
                    problem["reason"] == "NOT_FOUND" || path.starts_with("/problems/"),
                    "{method} {path}: {problem}"
                );
            }
        }
    }
    found.sort();
    assert_eq!(found, CALLS);
    // Everything that is referred to is there.
    for reference in references(&http.document) {
        let pointer = reference.strip_prefix('#').expect("within the document");
        assert!(http.document.pointer(pointer).is_some(), "{reference}");
    }
    one.stop().await;
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(object) => object
            .iter()
            .flat_map(|(key, value)| match (key.as_str(), value) {
                ("$ref", Value::String(reference)) => vec![reference.clone()],
                _ => references(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// The closed list of reasons is what gRPC has.
#[tokio::test(flavor = "multi_thread")]
async fn the_reasons_are_listed() {
    let one = One::start_with(|config| config.canary_interval = None).await;
    let http = Http::of(&one).await;
    let found = http.get("/problems").await.json;
    let found: Vec<&str> =
        found["problems"].as_array().expect("a list").iter().map(|one| one["reason"].as_str().expect("text")).collect();
    let expected: Vec<&str> = server::status::REASONS.iter().map(|(_, text, ..)| *text).collect();
    assert_eq!(found, expected);
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_browser_of_the_document_needs_no_other_server() {
    let one = One::start_with(|config| config.canary_interval = None).await;
    let http = Http::of(&one).await;
    let text = async |path: &str| {
        let response = within(http.request(Method::GET, path).send()).await.expect("answered");
        assert_eq!(response.status(), 200, "{path}");
        within(response.text()).await.expect("whole")
    };
    let index = text("/docs/").await;
    let mut sources = 0;
    for part in index.split(['"', '\'']).filter(|part| part.ends_with(".js") || part.ends_with(".css")) {
        assert!(!part.contains("//"), "{part} is elsewhere");
        assert!(!text(&format!("/docs/{}", part.trim_start_matches("./"))).await.is_empty());
        sources += 1;
    }
    assert!(sources >= 3, "{index}");
    assert!(text("/docs/swagger-initializer.js").await.contains("/openapi.json"));
    one.stop().await;
}
