//! Watching over server-sent events: what is there, what changes, and going on after a broken connection.

use std::time::Duration;

use proto::v1;
use reqwest::Method;
use serde_json::{Value, json};

use crate::server_support::{One, after, until, within};
use crate::support::{Http, TRIGGERS, in_an_hour, proto_json};

const WATCH: &str = "/v1/namespaces/default/watch";

/// A stream of events, read as a browser would.
struct Events {
    response: reqwest::Response,
    text: String,
    comments: usize,
}

/// One of them.
#[derive(Debug)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

impl Events {
    async fn open(http: &Http, query: &str, last: &str) -> Events {
        let mut request = http.request(Method::GET, &format!("{WATCH}?{query}"));
        if !last.is_empty() {
            request = request.header("last-event-id", last);
        }
        let response = within(request.send()).await.expect("answered");
        assert_eq!(response.status(), 200);
        let header = |name: &str| response.headers()[name].to_str().expect("text");
        assert_eq!((header("content-type"), header("cache-control")), ("text/event-stream", "no-store"));
        assert_eq!(header("x-accel-buffering"), "no");
        Events { response, text: String::new(), comments: 0 }
    }

    /// The next block; `None` at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let chunk = within(self.response.chunk()).await.expect("no error")?;
            self.text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            let block = self.block().await?;
            let field = |name: &str| {
                let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                line.map(|value| value.strip_prefix(' ').unwrap_or(value).to_owned())
            };
            let Some(data) = field("data") else {
                assert!(block.starts_with(':'), "{block:?}");
                self.comments += 1;
                continue;
            };
            let data = serde_json::from_str(&data).expect("JSON");
            return Some(Event { name: field("event").expect("a name"), id: field("id").unwrap_or_default(), data });
        }
    }

    async fn expect(&mut self, http: &Http, name: &str, id: Option<&str>) -> Event {
        let event = self.next().await.expect("an event");
        http.check_schema(json!({ "$ref": "#/components/schemas/WatchEvent" }), &event.data, name);
        assert_eq!(event.name, name, "{event:?}");
        assert_eq!(event.data["trigger"].get("id").and_then(Value::as_str), id, "{event:?}");
        assert_eq!(event.data["cursor"], event.id, "{event:?}");
        event
    }
}

/// Turns red when the id of an event is not the cursor after it, or Last-Event-ID is not looked at.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_where_it_was() {
    let one = One::start_with(|config| {
        config.partitions = 1;
        config.canary_interval = None;
    })
    .await;
    let http = Http::of(&one).await;
    assert_eq!(http.post(TRIGGERS, in_an_hour("a")).await.status, 201);
    let mut events = Events::open(&http, "topic=t", "").await;
    let listed = events.expect(&http, "listed", Some("a")).await;
    assert_eq!(listed.id, "", "while listing there is nothing to go on from");
    let synced = events.expect(&http, "synced", None).await;
    assert_eq!(http.post(TRIGGERS, in_an_hour("b")).await.status, 201);
    let first = events.expect(&http, "changed", Some("b")).await;
    let request = v1::GetRequest { id: "b".into(), ..Default::default() };
    let found = one.scheduler().get(request).await.expect("found").into_inner().trigger.expect("a trigger");
    assert_eq!(first.data["trigger"], proto_json("bosingak.v1.Trigger", &found));
    drop(events);

    // What happened meanwhile is told, and not what was there before.
    assert_eq!(http.post(TRIGGERS, in_an_hour("c")).await.status, 201);
    one.scheduler().schedule(after("other", "u", Duration::from_secs(3_600))).await.expect("scheduled");
    let mut events = Events::open(&http, "topic=t", &synced.id).await;
    events.expect(&http, "changed", Some("b")).await;
    events.expect(&http, "changed", Some("c")).await;
    assert_eq!(http.post(&format!("{TRIGGERS}/a/cancel"), json!({})).await.status, 200);
    let changed = events.expect(&http, "changed", Some("a")).await;
    assert_eq!(changed.data["trigger"]["state"], "TRIGGER_STATE_CANCELLED");

    // The same cursor in the query, of one trigger and by state.
    let mut events = Events::open(&http, &format!("id=a&state=cancelled&cursor={}", synced.id), "").await;
    events.expect(&http, "changed", Some("a")).await;
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_stream_says_that_it_is_there_and_why_it_ends() {
    let one = One::start_with(|config| {
        config.canary_interval = None;
        config.event_heartbeat = Duration::from_millis(5);
    })
    .await;
    let http = Http::of(&one).await;
    let mut events = Events::open(&http, "", "").await;
    events.expect(&http, "synced", None).await;
    for _ in 0..3 {
        assert!(events.block().await.expect("a comment").starts_with(':'));
    }
    let stopping = tokio::spawn(one.stop());
    let last = events.next().await.expect("a reason");
    assert_eq!((last.name.as_str(), last.data["reason"].as_str()), ("problem", Some("SHUTTING_DOWN")));
    http.check_schema(json!({ "$ref": "#/components/schemas/Problem" }), &last.data, "problem");
    assert!(events.next().await.is_none());
    within(stopping).await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_is_too_old_or_none_is_refused_before_the_stream_begins() {
    let one = One::start_with(|config| config.canary_interval = None).await;
    let http = Http::of(&one).await;
    // More than is kept, all in one partition.
    for batch in 0..17 {
        let hour = Duration::from_secs(3_600);
        let items = (0..1_000).map(|item| after(&format!("{{same}}-{batch}-{item}"), "seen", hour)).collect();
        one.scheduler().batch_schedule(v1::BatchScheduleRequest { items }).await.expect("scheduled");
    }
    let zero = "0000000000000000";
    let cursor = format!("00000000{zero}{zero}00000001{zero}{zero}");
    let stale = http.send(http.request(Method::GET, WATCH).header("last-event-id", &cursor)).await;
    assert_eq!(stale.reason(), (410, "STALE_CURSOR"));
    for (query, field) in
        [("cursor=xyz", "cursor"), ("topic=a/b", "topic"), ("state=lost", "state[0]"), ("id=a%20b", "id")]
    {
        let refused = http.get(&format!("{WATCH}?{query}")).await;
        assert_eq!((refused.reason(), refused.fields()), ((400, "INVALID_FIELD"), vec![field]), "{query}");
    }
    one.stop().await;
}

/// Turns red when the place of a watch is not given back.
#[tokio::test(flavor = "multi_thread")]
async fn watches_are_bounded_and_leave_nothing_behind() {
    let one = One::start_with(|config| config.canary_interval = None).await;
    let http = Http::of(&one).await;
    // Streams of one connection of HTTP/2, as many connections of HTTP/1.1 would be more than a process may have.
    let mut open = Vec::new();
    for _ in 0..server::http::WATCHES_MAX {
        let mut channel = one.channel.clone();
        let request = tonic::codegen::http::Request::get(WATCH).body(tonic::body::Body::empty()).expect("a request");
        tower::ServiceExt::ready(&mut channel).await.expect("ready");
        let response = within(tower::Service::call(&mut channel, request)).await.expect("answered");
        assert_eq!(response.status(), 200);
        open.push(response);
    }
    let refused = http.get(WATCH).await;
    assert_eq!(refused.reason(), (429, "OVERLOADED"));
    assert_eq!(refused.header("retry-after"), "1");
    drop(open);
    until(async || (http.request(Method::GET, WATCH).send().await.expect("answered").status() == 200).then_some(()))
        .await;
    one.stop().await;
}
