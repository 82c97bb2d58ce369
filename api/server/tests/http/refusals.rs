//! Whatever is wrong is refused with what was expected, and for the reason gRPC gives.

use proto::v1;
use proto::v1::topic_service_client::TopicServiceClient;
use reqwest::Method;
use serde_json::{Value, json};

use crate::server_support::{One, after, reason};
use crate::support::{Http, TRIGGERS, in_an_hour, with_json};

/// The same mistake over both: what is sent here and there, and what field is to blame over HTTP.
///
/// Turns red when `status::http_status` or `Problem::from` takes a code or a detail for another.
#[tokio::test(flavor = "multi_thread")]
async fn both_say_the_same_reason_for_the_same_mistake() {
    let one = One::start_with(|config| config.canary_interval = None).await;
    let http = Http::of(&one).await;
    let hour = std::time::Duration::from_secs(3_600);
    let mut grpc = one.scheduler();
    grpc.schedule(after("taken", "t", hour)).await.expect("scheduled");
    let local = |zone: &str| v1::ScheduleRequest {
        when: Some(v1::When {
            when: Some(v1::when::When::Local(v1::LocalTime {
                date_time: "2030-02-14T00:00".into(),
                time_zone: zone.into(),
                ..Default::default()
            })),
        }),
        ..after("x", "t", hour)
    };
    let in_zone = |zone: &str| json!({ "id": "x", "topic": "t", "when": { "local": { "dateTime": "2030-02-14T00:00", "timeZone": zone } } });
    let at = v1::when::When::At(prost_types::Timestamp { seconds: 2_524_608_000, nanos: 0 });
    let far = crate::server_support::schedule("x", "t", at);
    let schedules: Vec<(Value, v1::ScheduleRequest, u16, &[&str])> = vec![
        (in_zone("KST"), local("KST"), 400, &["when.local.timeZone"]),
        (
            json!({ "id": "a b", "topic": "t" }),
            v1::ScheduleRequest { when: None, ..after("a b", "t", hour) },
            400,
            &["id", "when"],
        ),
        (json!({ "id": "x", "topic": "a/b", "when": { "after": "1h" } }), after("x", "a/b", hour), 400, &["topic"]),
        (
            json!({ "id": "x", "topic": "bosingak.x", "when": { "after": "1h" } }),
            after("x", "bosingak.x", hour),
            400,
            &["topic"],
        ),
        (json!({ "id": "x", "topic": "t", "when": { "at": "2050-01-01T00:00:00Z" } }), far, 400, &["when"]),
        (
            json!({ "id": "taken", "topic": "other", "when": { "after": "1h" } }),
            after("taken", "other", hour),
            409,
            &[],
        ),
        (
            json!({ "id": "x", "topic": "t", "when": { "after": "1h" }, "retry": { "maxAttempts": 101 } }),
            v1::ScheduleRequest {
                retry: Some(v1::RetryPolicy { max_attempts: 101, ..Default::default() }),
                ..after("x", "t", hour)
            },
            400,
            &["retry.maxAttempts"],
        ),
        (
            json!({ "id": "x", "topic": "t", "when": { "after": "1h" }, "labels": { "": "v" } }),
            v1::ScheduleRequest { labels: [(String::new(), "v".into())].into(), ..after("x", "t", hour) },
            400,
            &["labels"],
        ),
    ];
    for (body, request, status, fields) in schedules {
        let ours = http.post(TRIGGERS, body.clone()).await;
        let (_, theirs) = reason(grpc.schedule(request).await);
        assert_eq!(ours.reason(), (status, theirs.as_str()), "{body}: {ours:?}");
        assert_eq!(ours.fields(), fields, "{body}");
        // In words too the fields are called as in JSON.
        let detail = ours.json["detail"].as_str().expect("text");
        assert!(!detail.contains("time_zone") && !detail.contains("max_attempts"), "{detail}");
    }
    let nobody = v1::CancelRequest { id: "nobody".into(), ..Default::default() };
    let ours = http.post(&format!("{TRIGGERS}/nobody/cancel"), json!({})).await;
    assert_eq!(ours.reason(), (404, reason(grpc.cancel(nobody).await).1.as_str()));
    let get = v1::GetRequest { namespace: "NO".into(), id: "x".into() };
    let ours = http.get("/v1/namespaces/NO/triggers/x").await;
    assert_eq!(ours.reason(), (400, reason(grpc.get(get).await).1.as_str()));
    assert_eq!(ours.fields(), ["namespace"]);
    let moved = v1::RescheduleRequest {
        id: "taken".into(),
        expected_generation: 1,
        when: after("", "", hour).when,
        ..Default::default()
    };
    let ours = http
        .post(&format!("{TRIGGERS}/taken/reschedule"), json!({ "when": { "after": "1h" }, "expectedGeneration": 1 }))
        .await;
    assert_eq!(ours.reason(), (409, reason(grpc.reschedule(moved).await).1.as_str()));
    let none = v1::RescheduleRequest { id: "taken".into(), ..Default::default() };
    let ours = http.post(&format!("{TRIGGERS}/taken/reschedule"), json!({})).await;
    assert_eq!(ours.reason(), (400, reason(grpc.reschedule(none).await).1.as_str()));
    assert_eq!(ours.fields(), ["when"]);
    let run = v1::RunNowRequest { id: "taken".into(), expected_generation: 1, ..Default::default() };
    let ours = http.post(&format!("{TRIGGERS}/taken/run-now"), json!({ "expectedGeneration": "1" })).await;
    assert_eq!(ours.reason(), (409, reason(grpc.run_now(run).await).1.as_str()));

    let filter = v1::TriggerFilter { topic: "a/b".into(), ..Default::default() };
    let list = v1::ListRequest { filter: Some(filter), page_size: 1_001, page_token: "x".into(), ..Default::default() };
    let ours = http.get(&format!("{TRIGGERS}?topic=a/b&pageSize=1001&pageToken=x")).await;
    assert_eq!(ours.reason(), (400, reason(grpc.list(list).await).1.as_str()));
    assert_eq!(ours.fields(), ["pageSize", "topic", "pageToken"]);
    let step = Some(prost_types::Duration { seconds: 0, nanos: 1_000_000 });
    let forecast = v1::ForecastRequest { step, ..Default::default() };
    let ours = http.get("/v1/forecast?step=1ms").await;
    assert_eq!(ours.reason(), (400, reason(grpc.forecast(forecast).await).1.as_str()));
    assert_eq!(ours.fields(), ["step"]);

    let mut topics = TopicServiceClient::new(one.channel.clone());
    let lease = Some(prost_types::Duration { seconds: 0, nanos: 1_000_000 });
    let limits = v1::TopicLimits { lease, ..Default::default() };
    let update = v1::UpdateTopicRequest { name: "t".into(), limits: Some(limits), ..Default::default() };
    let ours = http.patch("/v1/namespaces/default/topics/t", json!({ "limits": { "lease": "1ms" } })).await;
    assert_eq!(ours.reason(), (400, reason(topics.update_topic(update).await).1.as_str()));
    assert_eq!(ours.fields(), ["limits.lease"]);
    let late = proto::admin::v1::ListLateRequest { node: 77, limit: 1 };
    let ours = http.get("/v1/cluster/late?node=77&limit=1").await;
    assert_eq!(ours.reason(), (404, reason(one.admin().list_late(late).await).1.as_str()));
    assert_eq!(ours.json["metadata"]["node"], "77");
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_late_comes_with_the_receipt() {
    let one = One::start_with(|config| config.canary_interval = None).await;
    let http = Http::of(&one).await;
    let body = json!({ "id": "gone", "topic": "t", "when": { "after": "0s" } });
    let scheduled = http.post(TRIGGERS, body).await;
    crate::server_support::until(async || {
        let found = http.get(&format!("{TRIGGERS}/gone")).await;
        (found.json["state"] == "TRIGGER_STATE_FIRED").then_some(())
    })
    .await;
    let late = http.post(&format!("{TRIGGERS}/gone/cancel"), json!({})).await;
    assert_eq!(late.reason(), (409, "ALREADY_FIRED"));
    assert_eq!(late.json["receipt"]["generation"], scheduled.json["generation"]);
    assert_eq!(late.json["receipt"]["outcome"], "OUTCOME_FIRED");
    // Its type says where to read on.
    let kind = late.json["type"].as_str().expect("text").to_owned();
    let described = http.get(&kind).await;
    assert_eq!((described.status, &described.json["meaning"]), (200, &late.json["title"]));
    one.stop().await;
}

/// What is no request of ours at all.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_with_the_path_of_the_field() {
    let one = One::start_with(|config| config.canary_interval = None).await;
    let http = Http::of(&one).await;
    let post = async |body: &str| {
        http.send(http.request(Method::POST, TRIGGERS).header("content-type", "application/json").body(body.to_owned()))
            .await
    };
    for (body, field, said) in [
        (r#"{"topik":"t"}"#, "topik", "unknown field"),
        (r#"{"when":{"att":"x"}}"#, "when.att", "unknown field"),
        (r#"{"topic":7}"#, "topic", "expected a string"),
        (r#"{"when":{"at":"tomorrow"}}"#, "when.at", "2027-02-13T15:00:00Z"),
        (r#"{"when":{"after":"soon"}}"#, "when.after", "1h30m"),
        (r#"{"when":{"after":"1s","at":"2030-01-01T00:00:00Z"}}"#, "when", "expected one of at, after, local"),
        (r#"{"when":{"local":{"dateTime":"2030-01-01T00:00"}}}"#, "when.local", "timeZone"),
        (
            r#"{"when":{"local":{"dateTime":"x","timeZone":"y","policy":"maybe"}}}"#,
            "when.local.policy",
            "LOCAL_TIME_POLICY_EARLIER",
        ),
        (r#"{"priority":"urgent"}"#, "priority", "PRIORITY_HIGH"),
        (r#"{"labels":{"a":1}}"#, "labels.a", "expected a string"),
        (r#"{"retry":{"maxAttempts":-1}}"#, "retry.maxAttempts", "expected u32"),
        (r#"{"payload":"not base64!"}"#, "payload", "expected base64"),
        (r#"{"payload":"","payloadText":""}"#, "payload", "expected one of"),
        ("{", "body", "EOF"),
        ("[]", "body", "expected an object"),
        ("{} {}", "body", "trailing"),
        ("\u{0}", "body", "expected an object"),
    ] {
        let refused = post(body).await;
        assert_eq!(refused.reason(), (400, "INVALID_FIELD"), "{body}: {refused:?}");
        assert_eq!(refused.fields(), [field], "{body}: {refused:?}");
        assert!(refused.json["errors"][0]["expected"].as_str().expect("text").contains(said), "{body}: {refused:?}");
    }
    let big = format!(r#"{{"payloadText":"{}"}}"#, "x".repeat(server::http::BODY_BYTES_MAX));
    let refused = post(&big).await;
    assert_eq!((refused.reason(), refused.fields()), ((413, "INVALID_FIELD"), vec!["body"]));
    // Every character escaped, the largest payload still fits.
    let fits = format!(
        r#"{{"id":"fits","topic":"t","when":{{"after":"1h"}},"payloadText":"{}"}}"#,
        r"\u0001".repeat(64 << 10)
    );
    assert_eq!(post(&fits).await.status, 201);
    let refused = post(&fits.replace(r#""id":"fits""#, r#""id":"more""#).replacen(r"\u0001", r"\u0001\u0001", 1)).await;
    assert_eq!((refused.reason(), refused.fields()), ((400, "INVALID_FIELD"), vec!["payload"]));

    for (query, field) in [
        ("colour=red", "colour"),
        ("pageSize=many", "pageSize"),
        ("state=lost", "state[0]"),
        ("label=k", "label"),
        ("dueFrom=x", "dueFrom"),
    ] {
        let refused = http.get(&format!("{TRIGGERS}?{query}")).await;
        assert_eq!(refused.reason(), (400, "INVALID_FIELD"), "{query}");
        assert_eq!(refused.fields(), [field], "{query}: {refused:?}");
    }
    let refused = http.get(&format!("{TRIGGERS}/%FF")).await;
    assert_eq!((refused.reason(), refused.fields()), ((400, "INVALID_FIELD"), vec!["path"]));

    let form =
        http.request(Method::POST, TRIGGERS).header("content-type", "application/x-www-form-urlencoded").body("a=b");
    let refused = http.send(form).await;
    assert_eq!((refused.reason(), refused.fields()), ((415, "INVALID_FIELD"), vec!["Content-Type"]));
    // Not even without a body: a form of another site could send that.
    let pause = "/v1/namespaces/default/topics/t/pause";
    assert_eq!(http.send(http.request(Method::POST, pause)).await.reason(), (415, "INVALID_FIELD"));
    let empty = http.request(Method::POST, pause).header("content-type", "application/json; charset=utf-8");
    assert_eq!(http.send(empty).await.status, 200);
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_checked_too() {
    let one = One::start_with(|config| config.canary_interval = None).await;
    let http = Http::of(&one).await;
    assert_eq!(http.post(TRIGGERS, in_an_hour("x")).await.status, 201);
    let cancel = format!("{TRIGGERS}/x/cancel");
    for (path, name, value) in [
        (cancel.as_str(), "Idempotency-Key", "not-a-uuid"),
        (&cancel, "Idempotency-Key", "550e8400-e29b-41d4-a716-446655440000"),
        (&cancel, "Idempotency-Key", "two words"),
        (&cancel, "Request-Timeout", "soon"),
        (&cancel, "Request-Timeout", "0s"),
        (TRIGGERS, "Idempotency-Key", "another"),
    ] {
        let body = if path == TRIGGERS { in_an_hour("y") } else { json!({}) };
        let refused = http.send(http.posting(path, body).header(name, value)).await;
        assert_eq!((refused.reason(), refused.fields()), ((400, "INVALID_FIELD"), vec![name]), "{value}");
    }
    let found = http.get(&format!("{TRIGGERS}/x")).await;
    assert_eq!(found.json["state"], "TRIGGER_STATE_SCHEDULED", "none of those did anything");
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_other_page_and_no_other_verb() {
    let one = One::start_with(|config| config.canary_interval = None).await;
    let http = Http::of(&one).await;
    for path in ["/", "/v1", "/v2/cluster", "/v1/namespaces/default", "/problems/NOBODY"] {
        let refused = http.get(path).await;
        assert_eq!(refused.reason(), (404, "NO_SUCH_CALL"), "{path}");
    }
    let refused = http.send(http.request(Method::DELETE, TRIGGERS)).await;
    assert_eq!(refused.reason(), (405, "NO_SUCH_CALL"));
    let mut allowed: Vec<&str> = refused.header("allow").split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
    let refused = http.send(with_json(http.request(Method::PUT, "/v1/cluster"), json!({}))).await;
    assert_eq!(refused.reason(), (405, "NO_SUCH_CALL"));
    one.stop().await;
}
