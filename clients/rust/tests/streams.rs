//! Many calls on few streams, against nodes that break them.

mod fake;

use std::time::Duration;

use client::StreamOptions;
use fake::{Fault, Net, refusal};
use futures::future::join_all;
use proto::v1::ScheduleRequest;
use tonic::Code;

fn request(n: usize) -> ScheduleRequest {
    ScheduleRequest { id: format!("id-{n:05}"), topic: "t".to_owned(), ..ScheduleRequest::default() }
}

/// Red when `Driver::close` does not tell its window (`window.disconnected`): the items under way would time out.
#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_is_replayed_elsewhere() {
    let net = Net::with(&["a:1", "b:1"]);
    net.truth.lock().unwrap().break_stream_after = Some(137);
    let client = net.client(&["a:1", "b:1"]).connect_lazy().unwrap();
    let stream = client.stream_scheduler(StreamOptions::default()).await;
    let begun = tokio::time::Instant::now();
    let answers = join_all((0..1_000).map(|n| stream.schedule_request(request(n)))).await;
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.unwrap().id, request(n).id);
    }
    assert_eq!(net.ids().len(), 1_000);
    assert_eq!(net.calls("schedule_stream"), ["http://a:1", "http://b:1"]);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn each_partition_has_its_stream_at_its_leader() {
    let net = Net::with(&["a:1", "b:1"]);
    net.truth.lock().unwrap().leaders = vec![(0, "http://a:1".into(), 1), (1, "http://b:1".into(), 1)];
    let client = net.client(&["a:1", "b:1"]).connect_lazy().unwrap();
    let stream = client.stream_scheduler(StreamOptions { window: 8, ..Default::default() }).await;
    let answers = join_all((0..200).map(|n| stream.schedule_request(request(n)))).await;
    assert!(answers.iter().all(Result::is_ok));
    let mut opened = net.calls("schedule_stream");
    opened.sort();
    assert_eq!(opened, ["http://a:1", "http://b:1"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_killed_between_items_loses_none() {
    let net = Net::with(&["a:1", "b:1"]);
    let client = net.client(&["a:1", "b:1"]).connect_lazy().unwrap();
    let stream = client.stream_scheduler(StreamOptions::default()).await;
    for n in 0..50 {
        if n == 20 {
            net.kill("a:1");
        }
        stream.schedule_request(request(n)).await.unwrap();
    }
    assert_eq!(net.ids().len(), 50);
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_is_left() {
    let net = Net::with(&["a:1", "b:1"]);
    net.truth.lock().unwrap().stall_stream = true;
    let client = net.client(&["a:1", "b:1"]).connect_lazy().unwrap();
    let stream = client.stream_scheduler(StreamOptions::default()).await;
    let begun = tokio::time::Instant::now();
    stream.schedule("t", "x").after(Duration::from_secs(9)).send().await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_item_refused_for_a_moment_delays_no_other() {
    let net = Net::with(&["a:1"]);
    net.truth.lock().unwrap().overloaded_once = vec!["id-00000".into()];
    let client = net.client(&["a:1"]).connect_lazy().unwrap();
    let stream = client.stream_scheduler(StreamOptions::default()).await;
    let begun = tokio::time::Instant::now();
    let refused = stream.schedule_request(request(0));
    let fine = stream.schedule_request(request(1));
    let (refused, fine) = tokio::join!(refused, async {
        let answer = fine.await;
        assert!(begun.elapsed() < Duration::from_millis(10));
        answer
    });
    assert_eq!((refused.unwrap().id, fine.unwrap().id), ("id-00000".into(), "id-00001".into()));
    assert!(begun.elapsed() >= Duration::from_millis(25));
}

#[tokio::test(start_paused = true)]
async fn nobody_there_ends_with_an_error_in_time() {
    let net = Net::default();
    let client = net.client(&["a:1"]).timeout(Duration::from_secs(4)).connect_lazy().unwrap();
    let options = StreamOptions { per_partition: false, ..Default::default() };
    let stream = client.stream_scheduler(options).await;
    let begun = tokio::time::Instant::now();
    let error = stream.schedule_request(request(0)).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!((4..6).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stream_refused_by_a_follower_moves_to_the_leader() {
    let net = Net::with(&["a:1", "b:1"]);
    let client = net.client(&["a:1"]).connect_lazy().unwrap();
    let hint = refusal(Code::Unavailable, "NOT_LEADER", &[("leader_endpoint", "b:1")]);
    let options = StreamOptions { per_partition: false, ..Default::default() };
    let stream = client.stream_scheduler(options).await;
    net.fault("a:1", Fault::Refuse(hint));
    stream.schedule_request(request(0)).await.unwrap();
    assert_eq!(net.calls("schedule_stream"), ["http://a:1", "http://b:1"]);
}
