//! One port for both protocols: neither gets in the other's way, and neither answers for the other.

use std::time::Duration;

use proto::v1;
use reqwest::Method;
use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use crate::server_support::{One, after, page, within};
use crate::support::{Http, TRIGGERS, in_an_hour};

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test(flavor = "multi_thread")]
async fn both_protocols_are_spoken_at_once() {
    let one = One::start_with(|config| config.canary_interval = None).await;
    let http = Http::of(&one).await;
    let over_http = futures::future::join_all((0..100).map(|i| {
        let http = &http;
        async move { http.post(TRIGGERS, in_an_hour(&format!("h-{i}"))).await.status }
    }));
    let over_grpc = futures::future::join_all((0..100).map(|i| {
        let mut client = one.scheduler();
        async move { client.schedule(after(&format!("g-{i}"), "t", HOUR)).await.is_ok() }
    }));
    let (over_http, over_grpc) = within(async { tokio::join!(over_http, over_grpc) }).await;
    assert!(over_http.iter().all(|status| *status == 201), "{over_http:?}");
    assert!(over_grpc.iter().all(|ok| *ok));
    let page = http.get(&format!("{TRIGGERS}?pageSize=1000")).await.json;
    assert_eq!(page["triggers"].as_array().map(Vec::len), Some(200));
    one.stop().await;
}

/// Turns red when the routes over HTTP are merged without a fallback of their own: gRPC's answers 200 with nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_neither_is_told_in_the_callers_own_protocol() {
    let one = One::start_with(|config| config.canary_interval = None).await;
    let http = Http::of(&one).await;
    let request = http.request(Method::POST, "/bosingak.v1.SchedulerService/NoSuchCall");
    let response = within(request.header("content-type", "application/grpc").send()).await.expect("answered");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["grpc-status"], "12");
    assert_eq!(http.get("/bosingak.v9.Nobody/Nothing").await.reason(), (404, "NO_SUCH_CALL"));

    // A whole client of gRPC is told the reason too.
    let mut client = tonic::client::Grpc::new(one.channel.clone());
    client.ready().await.expect("ready");
    let codec = tonic_prost::ProstCodec::<v1::GetRequest, v1::GetResponse>::default();
    let path = "/bosingak.v9.Nobody/Nothing".parse().expect("a path");
    let refused = client.unary(tonic::Request::new(v1::GetRequest::default()), path, codec).await;
    assert_eq!(crate::server_support::reason(refused), (Code::Unimplemented, "NO_SUCH_CALL".into()));
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_are_still_there() {
    let one = One::start_with(|config| config.canary_interval = None).await;
    let request = tonic_health::pb::HealthCheckRequest { service: String::new() };
    HealthClient::new(one.channel.clone()).check(request).await.expect("answered");
    let request = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let requests = tokio_stream::iter([request]);
    let mut client = ServerReflectionClient::new(one.channel.clone());
    let mut answers = client.server_reflection_info(requests).await.expect("a stream").into_inner();
    let answer: ServerReflectionResponse = within(answers.next()).await.expect("an answer").expect("no error");
    let Some(MessageResponse::ListServicesResponse(found)) = answer.message_response else { panic!("{answer:?}") };
    let names: Vec<String> = found.service.into_iter().map(|service| service.name).collect();
    for name in ["bosingak.v1.SchedulerService", "bosingak.v1.TopicService", "bosingak.admin.v1.ClusterService"] {
        assert!(names.iter().any(|one| one == name), "{name} is not in {names:?}");
    }
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_echoed_and_a_call_is_counted_under_its_name() {
    let one = One::start_with(|config| config.canary_interval = None).await;
    let http = Http::of(&one).await;
    let get = |path: &str| http.request(Method::GET, path).header("x-request-id", "r-1");
    assert_eq!(http.send(get("/v1/cluster")).await.header("x-request-id"), "r-1");
    assert_eq!(http.send(get("/nowhere")).await.json["requestId"], "r-1");
    let made = http.get("/v1/cluster").await;
    assert_eq!(made.header("x-request-id").len(), 36, "{made:?}");
    assert_eq!(http.get(&format!("{TRIGGERS}/nobody")).await.status, 404);
    let metrics = page(one.server.addresses().admin, "/metrics").await;
    let line = |label: &str| metrics.lines().any(|line| line.contains("method=\"Get\"") && line.contains(label));
    assert!(line("NOT_FOUND") || line("not_found"), "{metrics}");
    one.stop().await;
}

/// A call has the time its caller gives it.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_kept() {
    let one = One::start_with(|config| {
        config.canary_interval = None;
        // No write is durable within the time given.
        config.sync_delay = Duration::from_millis(200);
    })
    .await;
    let http = Http::of(&one).await;
    let schedule = |id: &str, timeout: &str| http.posting(TRIGGERS, in_an_hour(id)).header("request-timeout", timeout);
    let refused = http.send(schedule("x", "5ms")).await;
    assert_eq!(refused.reason(), (503, "OUTCOME_UNKNOWN"));
    assert_eq!(refused.header("retry-after"), "1");
    assert!(refused.json["detail"].as_str().expect("text").contains("not answered within 5ms"), "{refused:?}");
    // It may have had its effect, and the repeat is the same request.
    let repeated = http.send(schedule("x", "10s")).await;
    assert!([200, 201].contains(&repeated.status), "{repeated:?}");
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_without_grpc_is_fine_as_well() {
    let one = One::start_with(|config| config.canary_interval = None).await;
    // The channel of a gRPC client is HTTP/2 with prior knowledge.
    let mut channel = one.channel.clone();
    let request =
        tonic::codegen::http::Request::get("/v1/cluster").body(tonic::body::Body::empty()).expect("a request");
    tower::ServiceExt::ready(&mut channel).await.expect("ready");
    let response = within(tower::Service::call(&mut channel, request)).await.expect("answered");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    one.stop().await;
}
