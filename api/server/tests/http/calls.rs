//! Every route once, as it is meant: with the answers gRPC gives, in the protocol's own JSON.

use std::time::Duration;

use proto::admin::v1 as admin;
use proto::v1;
use proto::v1::dead_letter_service_client::DeadLetterServiceClient;
use proto::v1::topic_service_client::TopicServiceClient;
use serde_json::{Value, json};

use crate::server_support::{One, Work, outcome, until};
use crate::support::{Http, TRIGGERS, in_an_hour, proto_json};

async fn get(one: &One, id: &str) -> Value {
    let request = v1::GetRequest { id: id.into(), ..Default::default() };
    let found = one.scheduler().get(request).await.expect("found").into_inner();
    proto_json("bosingak.v1.Trigger", &found.trigger.expect("a trigger"))
}

/// Turns red when a field of a request is not passed on, or one of an answer is called or written otherwise than in the protocol.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_scheduled_over_http_is_the_same_request_over_grpc() {
    let one = One::start_with(|config| config.canary_interval = None).await;
    let http = Http::of(&one).await;
    let body = json!({
        "id": "seat-{concert-7}/A12", "topic": "send",
        "when": { "local": { "dateTime": "2030-02-14T00:00", "timeZone": "asia/seoul", "policy": "reject" } },
        "shardKey": "concert-7", "payloadText": "보신각", "labels": { "customer": "42" }, "priority": "high",
        "retry": { "maxAttempts": 3, "initialBackoff": "250ms", "maxBackoff": "1m30s", "multiplierPercent": 150, "jitterPercent": 10 },
        "late": { "skipWhenLaterThan": "1h" },
    });
    let answer = http.post(TRIGGERS, body.clone()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.json["due"], "2030-02-13T15:00:00Z");
    assert_eq!(answer.json["localTime"]["timeZone"], "Asia/Seoul");

    let length = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
    let request = v1::ScheduleRequest {
        namespace: "default".into(),
        id: "seat-{concert-7}/A12".into(),
        topic: "send".into(),
        when: Some(v1::When {
            when: Some(v1::when::When::Local(v1::LocalTime {
                date_time: "2030-02-14T00:00".into(),
                time_zone: "asia/seoul".into(),
                policy: v1::LocalTimePolicy::Reject.into(),
                tzdb_version: String::new(),
            })),
        }),
        shard_key: "concert-7".into(),
        payload: "보신각".into(),
        labels: [("customer".to_owned(), "42".to_owned())].into(),
        priority: v1::Priority::High.into(),
        retry: Some(v1::RetryPolicy {
            max_attempts: 3,
            initial_backoff: length(0, 250_000_000),
            max_backoff: length(90, 0),
            multiplier_percent: 150,
            jitter_percent: 10,
        }),
        late: Some(v1::LatePolicy { skip_when_later_than: length(3_600, 0) }),
    };
    let again = one.scheduler().schedule(request).await.expect("the same request").into_inner();
    assert!(again.replayed);
    let mut expected = proto_json("bosingak.v1.ScheduleResponse", &again);
    expected["replayed"] = false.into();
    assert_eq!(answer.json, expected);
    let repeated = http.post(TRIGGERS, body).await;
    assert_eq!((repeated.status, repeated.header("idempotency-replayed")), (200, "true"));

    // The id has braces and a slash; the answer says where it is.
    let location = answer.header("location");
    assert_eq!(location, "/v1/namespaces/default/triggers/seat-%7Bconcert-7%7D%2FA12");
    let found = http.get(location).await;
    assert_eq!((found.status, &found.json), (200, &get(&one, "seat-{concert-7}/A12").await));
    assert_eq!(found.json["payloadText"], "보신각");
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moments_lengths_and_payloads_have_other_forms_too() {
    let one = One::start_with(|config| config.canary_interval = None).await;
    let http = Http::of(&one).await;
    let at = json!({ "id": "at", "topic": "t", "when": { "at": "2030-02-14T00:00:00.5+09:00" }, "payload": "/w==" });
    assert_eq!(http.post(TRIGGERS, at).await.json["due"], "2030-02-13T15:00:00.500Z");
    let found = http.get(&format!("{TRIGGERS}/at")).await.json;
    assert_eq!((found["payload"].as_str(), found.get("payloadText")), (Some("/w=="), None));
    let object =
        json!({ "id": "object", "topic": "t", "when": { "after": "30d" }, "payloadJson": { "b": 1, "a": [true] } });
    assert_eq!(http.post(TRIGGERS, object).await.status, 201);
    let found = http.get(&format!("{TRIGGERS}/object")).await.json;
    assert_eq!(found["payloadText"], r#"{"a":[true],"b":1}"#);
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_a_repeat_the_same_request() {
    let one = One::start_with(|config| config.canary_interval = None).await;
    let http = Http::of(&one).await;
    // Where something is created it stands for the id.
    let body = || json!({ "topic": "t", "when": { "after": "1h" } });
    let create = async |key: &str| http.send(http.posting(TRIGGERS, body()).header("idempotency-key", key)).await;
    let (first, second, other) = (create("k-1").await, create("\"k-1\"").await, create("k-2").await);
    assert_eq!((first.status, second.status, other.status), (201, 200, 201));
    assert_eq!(first.json["id"], "k-1");
    assert_eq!(first.json["receipt"], second.json["receipt"]);
    // Without either an id is made, and a repeat is another.
    let (third, fourth) = (http.post(TRIGGERS, body()).await, http.post(TRIGGERS, body()).await);
    assert_ne!(third.json["id"], fourth.json["id"]);

    // Where something is changed it is the request id, also of a repeat over gRPC.
    let id = uuid::Uuid::now_v7().to_string();
    let cancel = async || {
        let request = http.posting(&format!("{TRIGGERS}/k-1/cancel"), json!({})).header("idempotency-key", &id);
        http.send(request).await
    };
    let (first, second) = (cancel().await, cancel().await);
    assert_eq!((first.status, &first.json), (200, &second.json));
    let request = v1::CancelRequest {
        namespace: "default".into(),
        id: "k-1".into(),
        request_id: id.clone(),
        ..Default::default()
    };
    let third = one.scheduler().cancel(request).await.expect("the first answer").into_inner();
    assert_eq!(first.json, proto_json("bosingak.v1.CancelResponse", &third));
    // Another request comes too late.
    assert_eq!(http.post(&format!("{TRIGGERS}/k-1/cancel"), json!({})).await.reason(), (409, "ALREADY_ENDED"));
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_are_moved_run_and_listed() {
    let one = One::start_with(|config| config.canary_interval = None).await;
    let http = Http::of(&one).await;
    for i in 0..5 {
        let mut body = in_an_hour(&format!("l-{i}"));
        body["labels"] = json!({ "odd": (i % 2).to_string(), "k=v": "=" });
        assert_eq!(http.post(TRIGGERS, body).await.status, 201);
    }
    let generation = http.get(&format!("{TRIGGERS}/l-0")).await.json["generation"].clone();
    let body = json!({ "when": { "at": "2030-01-01T00:00:00Z" }, "expectedGeneration": generation });
    let moved = http.post(&format!("{TRIGGERS}/l-0/reschedule"), body.clone()).await;
    assert_eq!((moved.status, moved.json["due"].as_str()), (200, Some("2030-01-01T00:00:00Z")), "{moved:?}");
    let stale = http.post(&format!("{TRIGGERS}/l-0/reschedule"), body).await;
    assert_eq!(stale.reason(), (409, "VERSION_MISMATCH"));
    assert_eq!(stale.json["metadata"]["found"], moved.json["generation"]);
    let run = http.post(&format!("{TRIGGERS}/l-1/run-now"), json!({})).await;
    assert_eq!(run.status, 200, "{run:?}");
    until(async || (get(&one, "l-1").await["state"] == "TRIGGER_STATE_FIRED").then_some(())).await;

    let ids = async |query: &str| {
        let page = http.get(&format!("{TRIGGERS}?{query}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        let ids = page.json["triggers"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| one["id"].as_str().expect("text").to_owned());
        let mut ids: Vec<String> = ids.collect();
        ids.sort();
        ids
    };
    assert_eq!(ids("state=fired").await, ["l-1"]);
    assert_eq!(ids("state=FIRED&state=TRIGGER_STATE_SCHEDULED&label=odd%3D1").await, ["l-1", "l-3"]);
    assert_eq!(ids("dueFrom=2030-01-01T00:00:00Z&dueTo=2031-01-01T00:00:00Z&topic=t").await, ["l-0"]);
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let page = http.get(&format!("{TRIGGERS}?pageSize=2&pageToken={token}")).await.json;
        let request = v1::ListRequest { page_size: 2, page_token: token, ..Default::default() };
        let same = one.scheduler().list(request).await.expect("listed").into_inner();
        assert_eq!(page, proto_json("bosingak.v1.ListResponse", &same));
        found.extend(page["triggers"].as_array().expect("a list").iter().map(|one| one["id"].clone()));
        token = page["nextPageToken"].as_str().expect("text").into();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(found.len(), 5);
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_bounded_paused_and_resumed() {
    let one = One::start_with(|config| config.canary_interval = None).await;
    let http = Http::of(&one).await;
    let mut client = TopicServiceClient::new(one.channel.clone());
    let topic = "/v1/namespaces/default/topics/t";
    assert_eq!(http.get(topic).await.reason(), (404, "NOT_FOUND"));
    let limits = json!({ "lease": "90s", "ratePerSecond": 10, "retry": { "maxAttempts": 2 } });
    let updated = http.patch(topic, json!({ "limits": limits })).await;
    assert_eq!(updated.json["limits"]["lease"], "90s");
    let more = http
        .patch(topic, json!({ "limits": { "maxConcurrency": 3 }, "expectedVersion": updated.json["version"] }))
        .await;
    assert_eq!((more.status, more.json["limits"]["ratePerSecond"].as_u64()), (200, Some(10)), "{more:?}");
    let stale = http.patch(topic, json!({ "expectedVersion": updated.json["version"] })).await;
    assert_eq!(stale.reason(), (409, "VERSION_MISMATCH"));
    assert_eq!(http.post(&format!("{topic}/pause"), json!({})).await.json["paused"], true);
    let resumed = http.post(&format!("{topic}/resume"), json!({})).await;
    assert_eq!(resumed.json["paused"], false);

    let request = v1::GetTopicRequest { name: "t".into(), ..Default::default() };
    let same = client.get_topic(request).await.expect("found").into_inner().topic.expect("a topic");
    assert_eq!(http.get(topic).await.json, proto_json("bosingak.v1.Topic", &same));
    let same = client.list_topics(v1::ListTopicsRequest::default()).await.expect("listed").into_inner();
    assert_eq!(
        http.get("/v1/namespaces/default/topics").await.json,
        proto_json("bosingak.v1.ListTopicsResponse", &same)
    );
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_requeued_and_dropped() {
    let one = One::start_with(|config| {
        config.partitions = 1;
        config.canary_interval = None;
    })
    .await;
    let http = Http::of(&one).await;
    let dead = "/v1/namespaces/default/dead-letters";
    let mut work = Work::open(one.executor(), "worker", "t", 0, Vec::new()).await;
    let fail = async |work: &mut Work| {
        let delivery = work.deliveries().await.remove(0);
        let failure = v1::Failure { error: "no luck".into(), ..Default::default() };
        work.report(vec![outcome(&delivery, v1::delivery_outcome::Outcome::Fail(failure))]).await;
        work.results().await;
    };
    let body = json!({ "id": "d", "topic": "t", "when": { "after": "0s" } });
    assert_eq!(http.post(TRIGGERS, body).await.status, 201);
    fail(&mut work).await;
    let page = http.get(&format!("{dead}?topic=t&pageSize=10")).await;
    let same = DeadLetterServiceClient::new(one.channel.clone())
        .list_dead_letters(v1::ListDeadLettersRequest { topic: "t".into(), page_size: 10, ..Default::default() })
        .await
        .expect("listed")
        .into_inner();
    assert_eq!(page.json, proto_json("bosingak.v1.ListDeadLettersResponse", &same));
    assert_eq!(page.json["triggers"][0]["lastError"], "no luck");
    let late = http.get(&format!("{TRIGGERS}/d/cancel")).await;
    assert_eq!(late.reason(), (405, "NO_SUCH_CALL"));

    let requeued = http.post(&format!("{dead}/d/requeue"), json!({})).await;
    assert_eq!(requeued.status, 200, "{requeued:?}");
    assert_eq!(http.post(&format!("{dead}/d/requeue"), json!({})).await.reason(), (409, "NOT_DEAD_LETTERED"));
    fail(&mut work).await;
    let body = json!({ "expectedGeneration": requeued.json["generation"] });
    let dropped = http.post(&format!("{dead}/d/drop"), body).await;
    assert_eq!(dropped.json["receipt"]["outcome"], "OUTCOME_DEAD_LETTERED", "{dropped:?}");
    assert_eq!(http.get(dead).await.json["triggers"], json!([]));
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_forecast_and_the_cluster_say_what_grpc_says() {
    let one = One::start_with(|config| {
        config.canary_interval = None;
        config.late_bound = Duration::from_millis(10);
    })
    .await;
    let http = Http::of(&one).await;
    for id in ["f-1", "f-2"] {
        assert_eq!(http.post(TRIGGERS, in_an_hour(id)).await.status, 201);
    }
    let forecast = http.get("/v1/forecast?topic=t&step=60s&span=2h").await;
    let counts =
        forecast.json["cells"].as_array().expect("a list").iter().map(|cell| cell["count"].as_str().expect("text"));
    assert_eq!(counts.map(|count| count.parse::<u64>().expect("a number")).sum::<u64>(), 2, "{forecast:?}");
    let request = v1::ForecastRequest {
        topic: "t".into(),
        step: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        span: Some(prost_types::Duration { seconds: 7_200, nanos: 0 }),
    };
    // The grid moves with the clock, and so do the figures of a node.
    until(async || {
        let ours = http.get("/v1/forecast?topic=t&step=60s&span=2h").await.json;
        let theirs = one.scheduler().forecast(request.clone()).await.expect("answered").into_inner();
        (ours == proto_json("bosingak.v1.ForecastResponse", &theirs)).then_some(())
    })
    .await;
    until(async || {
        let ours = http.get("/v1/cluster").await.json;
        let theirs = one.admin().status(admin::StatusRequest {}).await.expect("answered").into_inner();
        (ours == proto_json("bosingak.admin.v1.StatusResponse", &theirs)).then_some(())
    })
    .await;

    let due = json!({ "id": "late", "topic": "slow", "when": { "after": "0s" } });
    let scheduled = http.post(TRIGGERS, due).await;
    let partition = scheduled.json["receipt"]["partition"].as_u64().expect("a number") as u32;
    // Nobody asked for it for a while.
    let status = async || one.admin().status(admin::StatusRequest {}).await.expect("answered").into_inner();
    until(async || (status().await.partitions[partition as usize].fired == 1).then_some(())).await;
    let since = std::time::Instant::now();
    until(async || (since.elapsed() > Duration::from_millis(50)).then_some(())).await;
    let mut work = Work::open(one.executor(), "worker", "slow", partition, Vec::new()).await;
    work.deliveries().await;
    let late = until(async || {
        let late = http.get("/v1/cluster/late?limit=10").await.json;
        (late["triggers"].as_array().is_some_and(|found| !found.is_empty())).then_some(late)
    })
    .await;
    let theirs =
        one.admin().list_late(admin::ListLateRequest { limit: 10, node: 0 }).await.expect("answered").into_inner();
    assert_eq!(late, proto_json("bosingak.admin.v1.ListLateResponse", &theirs));
    assert_eq!(late["triggers"][0]["id"], "late");
    one.stop().await;
}
