//! Single calls against nodes that are late, wrong or gone.

mod fake;

use std::time::Duration;

use client::Error;
use fake::{Fault, Net, refusal};
use futures::TryStreamExt;
use proto::admin::v1::AdvanceClockRequest;
use proto::v1::{CancelRequest, ListRequest, ScheduleRequest, WatchEventKind, WatchRequest, WatchResponse};
use tonic::Code;

fn request(id: &str) -> ScheduleRequest {
    ScheduleRequest { id: id.to_owned(), topic: "t".to_owned(), ..ScheduleRequest::default() }
}

/// Red when `Client::follow` does not remember the leader it was told (`leaders.hinted`).
#[tokio::test(start_paused = true)]
async fn a_leader_hint_is_followed_and_remembered() {
    let net = Net::with(&["a:1", "b:1"]);
    // One partition whose leader is not known yet.
    net.truth.lock().unwrap().leaders = vec![(0, String::new(), 0)];
    let client = net.client(&["a:1", "b:1"]).connect().await.unwrap();
    let hint = refusal(Code::Unavailable, "NOT_LEADER", &[("leader_endpoint", "http://b:1")]);
    net.fault("a:1", Fault::Refuse(hint));
    client.schedule_request(request("one")).await.unwrap();
    client.schedule_request(request("two")).await.unwrap();
    assert_eq!(net.calls("schedule"), ["http://a:1", "http://b:1", "http://b:1"]);
}

#[tokio::test(start_paused = true)]
async fn calls_go_straight_to_the_leader_of_their_id() {
    let net = Net::with(&["a:1", "b:1"]);
    net.truth.lock().unwrap().leaders = vec![(0, "http://a:1".into(), 1), (1, "http://b:1".into(), 1)];
    let client = net.client(&["a:1", "b:1"]).connect().await.unwrap();
    assert_eq!(client.partitions(), 2);
    // Slots 0x2a2 and 0x34f: an even and an odd one.
    client.schedule_request(request("order-1")).await.unwrap();
    client.schedule_request(request("order-3")).await.unwrap();
    assert_eq!(net.calls("schedule"), ["http://a:1", "http://b:1"]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_node_costs_nothing_noticeable() {
    let net = Net::with(&["b:1"]);
    let client = net.client(&["a:1", "b:1"]).connect_lazy().unwrap();
    let begun = tokio::time::Instant::now();
    client.schedule_request(request("one")).await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(20), "{:?}", begun.elapsed());
}

/// Red when the id is made per try instead of per call (`fill` moved into the loop).
#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_repeated_with_the_id_it_had() {
    let net = Net::with(&["a:1"]);
    let client = net.client(&["a:1"]).connect_lazy().unwrap();
    net.fault("a:1", Fault::LoseAnswer);
    let answer = client.schedule("t", "").after(Duration::from_secs(1)).send().await.unwrap();
    assert!(answer.replayed);
    assert_eq!(net.ids(), [answer.id]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_is_left_after_one_try() {
    let net = Net::with(&["a:1", "b:1"]);
    let client = net.client(&["a:1", "b:1"]).connect_lazy().unwrap();
    net.fault("a:1", Fault::Hang);
    let begun = tokio::time::Instant::now();
    client.cancel(CancelRequest { id: "x".into(), ..Default::default() }).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 3);
    assert_eq!(net.calls("cancel"), ["http://a:1", "http://b:1"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_id_is_not_repeated_when_its_outcome_is_unknown() {
    let net = Net::with(&["a:1", "b:1"]);
    let client = net.client(&["a:1", "b:1"]).connect_lazy().unwrap();
    net.fault("a:1", Fault::LoseAnswer);
    let error = client.advance_clock(AdvanceClockRequest::default()).await.unwrap_err();
    assert!(error.is_retryable());
    assert_eq!(net.calls("advance_clock").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_total_time_is_kept_and_the_last_reason_told() {
    let net = Net::with(&["a:1"]);
    let client = net.client(&["a:1"]).timeout(Duration::from_secs(5)).connect_lazy().unwrap();
    for _ in 0..100 {
        net.fault("a:1", Fault::Refuse(refusal(Code::Unavailable, "NO_QUORUM", &[])));
    }
    let begun = tokio::time::Instant::now();
    let error = client.schedule_request(request("one")).await.unwrap_err();
    assert_eq!(error.reason(), Some(&client::Reason::NoQuorum));
    assert!(begun.elapsed() <= Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(net.calls("schedule").len() > 5);
}

#[tokio::test(start_paused = true)]
async fn nobody_there_is_an_error_that_names_the_node() {
    let net = Net::default();
    let error = net.client(&["a:1"]).connect().await.err().expect("nobody is there");
    assert!(matches!(&error, Error::Disconnected { endpoint, .. } if endpoint == "http://a:1"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn items_of_a_batch_are_repeated_alone() {
    let net = Net::with(&["a:1"]);
    let client = net.client(&["a:1"]).connect_lazy().unwrap();
    net.truth.lock().unwrap().overloaded_once = vec!["b".into()];
    let items = ["a", "b", "c"].map(request).to_vec();
    let results = client.batch_schedule(items).await.unwrap();
    let ids: Vec<String> = results.into_iter().map(|r| r.unwrap().id).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    assert_eq!(net.calls("batch_schedule").len(), 2);
    assert_eq!(net.ids(), ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn pages_are_read_to_the_end() {
    let net = Net::with(&["a:1"]);
    let client = net.client(&["a:1"]).connect_lazy().unwrap();
    for id in ["a", "b", "c", "d", "e"] {
        client.schedule_request(request(id)).await.unwrap();
    }
    let all: Vec<_> = client.list_all(ListRequest::default()).try_collect().await.unwrap();
    assert_eq!(all.iter().map(|t| t.id.as_str()).collect::<String>(), "abcde");
}

/// Red when `Watch::next` does not keep the cursor of the event it hands out.
#[tokio::test(start_paused = true)]
async fn a_watch_continues_where_it_was_when_its_node_goes() {
    let net = Net::with(&["a:1", "b:1"]);
    net.truth.lock().unwrap().events = (1..=5)
        .map(|n| WatchResponse { kind: WatchEventKind::Changed.into(), trigger: None, cursor: format!("c{n}") })
        .collect();
    let client = net.client(&["a:1", "b:1"]).connect_lazy().unwrap();
    let mut watch = client.watch(WatchRequest::default());
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push(watch.next().await.unwrap().cursor);
    }
    assert_eq!(seen, ["c1", "c2", "c3", "c4", "c5"]);
    // It waits for as long as nothing happens.
    let waited = tokio::time::timeout(Duration::from_secs(3_600), watch.next()).await;
    assert!(waited.is_err());

    let stale = refusal(Code::OutOfRange, "STALE_CURSOR", &[]);
    let mut watch = client.watch(WatchRequest { cursor: "old".into(), ..Default::default() });
    net.fault("a:1", Fault::Refuse(stale.clone()));
    net.fault("b:1", Fault::Refuse(stale));
    let error = watch.next().await.unwrap_err();
    assert_eq!(error.reason(), Some(&client::Reason::StaleCursor));
}
