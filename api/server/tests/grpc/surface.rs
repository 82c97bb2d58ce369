//! The calls beside the main road: batches, streams, polling, watching, forecast, health, metrics.

use std::collections::BTreeSet;
use std::time::Duration;

use proto::admin::v1 as admin;
use proto::v1;
use proto::v1::topic_service_client::TopicServiceClient;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::support::{One, Work, after, outcome, page, reason, success, until, within};

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test(flavor = "multi_thread")]
async fn every_item_of_a_stream_is_answered() {
    let one = One::start().await;
    let (items, outgoing) = tokio::sync::mpsc::channel(16);
    let mut answers =
        within(one.scheduler().schedule_stream(ReceiverStream::new(outgoing))).await.expect("a stream").into_inner();
    tokio::spawn(async move {
        for sequence in 0..500u64 {
            // Every tenth is wrong, and one has no item at all.
            let id = if sequence % 10 == 9 { "with space".into() } else { format!("item-{sequence}") };
            let item = (sequence != 0).then(|| after(&id, "t", HOUR));
            items.send(v1::ScheduleStreamRequest { sequence, item }).await.expect("open");
        }
    });
    let (mut accepted, mut refused) = (BTreeSet::new(), BTreeSet::new());
    while let Some(answer) = within(answers.message()).await.expect("no error") {
        match answer.result.expect("a result") {
            v1::schedule_stream_response::Result::Ok(ok) => {
                assert_eq!(ok.id, format!("item-{}", answer.sequence));
                assert!(accepted.insert(answer.sequence));
            }
            v1::schedule_stream_response::Result::Error(error) => {
                assert_eq!(server::status::reason_in(&error).as_deref(), Some("INVALID_FIELD"));
                assert!(refused.insert(answer.sequence));
            }
        }
    }
    assert_eq!((accepted.len(), refused.len()), (449, 51));
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn items_of_a_batch_have_their_own_results() {
    let one = One::start().await;
    let mut client = one.scheduler();
    let items = vec![after("a", "t", HOUR), after("b c", "t", HOUR), after("d", "t", HOUR)];
    let results = client.batch_schedule(v1::BatchScheduleRequest { items }).await.expect("answered").into_inner();
    use v1::batch_schedule_result::Result as Item;
    let [Some(Item::Ok(_)), Some(Item::Error(error)), Some(Item::Ok(_))] =
        [0, 1, 2].map(|place| results.results[place].result.clone())
    else {
        panic!("{results:?}");
    };
    assert_eq!(server::status::reason_in(&error).as_deref(), Some("INVALID_FIELD"));
    assert!(error.message.contains("items[1].id"), "{}", error.message);

    let cancel = |id: &str| v1::CancelRequest { id: id.into(), ..Default::default() };
    let items = vec![cancel("a"), cancel("missing"), cancel("")];
    let results = client.batch_cancel(v1::BatchCancelRequest { items }).await.expect("answered").into_inner();
    let reasons = results.results.iter().map(|item| match &item.result {
        Some(v1::batch_cancel_result::Result::Ok(_)) => "ok".to_string(),
        Some(v1::batch_cancel_result::Result::Error(error)) => server::status::reason_in(error).expect("a reason"),
        None => "none".into(),
    });
    assert_eq!(reasons.collect::<Vec<_>>(), ["ok", "NOT_FOUND", "INVALID_FIELD"]);
    let empty = client.batch_schedule(v1::BatchScheduleRequest { items: Vec::new() }).await;
    assert_eq!(reason(empty), (Code::InvalidArgument, "INVALID_FIELD".into()));
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn executors_without_streams_poll_and_complete() {
    let one = One::start().await;
    let mut client = one.executor();
    for i in 0..10 {
        one.scheduler().schedule(after(&format!("polled-{i}"), "poll", Duration::ZERO)).await.expect("scheduled");
    }
    let poll = v1::PollRequest {
        executor: "poller".into(),
        topics: vec!["poll".into()],
        max: 4,
        wait: Some(prost_types::Duration { seconds: 10, nanos: 0 }),
        ..Default::default()
    };
    let mut done = BTreeSet::new();
    while done.len() < 10 {
        let deliveries = within(client.poll(poll.clone())).await.expect("answered").into_inner().deliveries;
        assert!((1..=4).contains(&deliveries.len()), "{}", deliveries.len());
        let outcomes = deliveries.iter().map(success).collect();
        let complete = v1::CompleteRequest { executor: "poller".into(), outcomes };
        let results = within(client.complete(complete)).await.expect("answered").into_inner().results;
        for (delivery, result) in deliveries.iter().zip(&results) {
            assert_eq!(result.verdict(), v1::OutcomeVerdict::Accepted, "{result:?}");
            assert_eq!(result.sequence, delivery.generation);
            assert!(done.insert(delivery.id.clone()), "{} came twice", delivery.id);
        }
    }
    let nothing = v1::PollRequest { wait: None, ..poll.clone() };
    assert!(within(client.poll(nothing)).await.expect("answered").into_inner().deliveries.is_empty());
    let wrong = v1::PollRequest { max: 0, ..poll };
    assert_eq!(reason(client.poll(wrong).await), (Code::InvalidArgument, "INVALID_FIELD".into()));
    one.stop().await;
}

/// Turns red when a service is served and its description is not.
#[tokio::test(flavor = "multi_thread")]
async fn reflection_names_every_service() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, ServiceResponse};
    let one = One::start().await;
    let list = MessageRequest::ListServices(String::new());
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let mut client = ServerReflectionClient::new(one.channel.clone());
    let answers = within(client.server_reflection_info(tokio_stream::iter([request]))).await.expect("a stream");
    let answer = within(answers.into_inner().message()).await.expect("no error").expect("an answer");
    let Some(MessageResponse::ListServicesResponse(found)) = answer.message_response else { panic!("{answer:?}") };
    let names: BTreeSet<String> = found.service.into_iter().map(|ServiceResponse { name }| name).collect();
    for name in [
        "bosingak.v1.SchedulerService",
        "bosingak.v1.ExecutorService",
        "bosingak.v1.TopicService",
        "bosingak.v1.DeadLetterService",
        "bosingak.admin.v1.ClusterService",
        "grpc.health.v1.Health",
    ] {
        assert!(names.contains(name), "{name} is missing in {names:?}");
    }
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_lists_then_tells_changes_and_resumes() {
    let one = One::start().await;
    let mut client = one.scheduler();
    client.schedule(after("before", "seen", HOUR)).await.expect("scheduled");
    client.schedule(after("other", "unseen", HOUR)).await.expect("scheduled");
    let filter = v1::TriggerFilter { topic: "seen".into(), ..Default::default() };
    let watch = v1::WatchRequest { filter: Some(filter), ..Default::default() };
    let mut events = within(client.watch(watch.clone())).await.expect("a stream").into_inner();
    let mut next = async || within(events.message()).await.expect("no error").expect("not ended");
    let listed = next().await;
    assert_eq!(listed.kind(), v1::WatchEventKind::Listed);
    assert_eq!(listed.trigger.expect("a trigger").id, "before");
    let synced = next().await;
    assert_eq!(synced.kind(), v1::WatchEventKind::Synced);

    client.schedule(after("during", "seen", Duration::from_millis(30))).await.expect("scheduled");
    client.schedule(after("other-2", "unseen", HOUR)).await.expect("scheduled");
    let mut states = Vec::new();
    while states.last() != Some(&v1::TriggerState::Fired) {
        let event = next().await;
        assert_eq!(event.kind(), v1::WatchEventKind::Changed);
        let trigger = event.trigger.expect("a trigger");
        assert_eq!(trigger.id, "during");
        states.push(trigger.state());
    }
    states.dedup();
    assert_eq!(states, [v1::TriggerState::Scheduled, v1::TriggerState::Fired]);

    // From where the list ended: the same changes again, what changed while nobody watched, and nothing of the list.
    drop(events);
    client.schedule(after("unwatched", "seen", HOUR)).await.expect("scheduled");
    let resumed = v1::WatchRequest { cursor: synced.cursor, ..watch.clone() };
    let mut events = within(client.watch(resumed)).await.expect("a stream").into_inner();
    let mut missing: BTreeSet<&str> = ["during", "unwatched"].into();
    while !missing.is_empty() {
        let event = within(events.message()).await.expect("no error").expect("not ended");
        let trigger = event.trigger.as_ref().expect("a trigger");
        assert_eq!(event.kind(), v1::WatchEventKind::Changed);
        assert_ne!(trigger.id, "before");
        missing.remove(trigger.id.as_str());
    }
    let wrong = v1::WatchRequest { cursor: "zz".into(), ..watch };
    assert_eq!(reason(client.watch(wrong).await), (Code::InvalidArgument, "INVALID_FIELD".into()));
    one.stop().await;
}

/// Turns red when a watch looks only at what fell due since the last time.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_what_fires_when_its_topic_is_resumed() {
    let one = One::start().await;
    let (mut client, mut topics) = (one.scheduler(), TopicServiceClient::new(one.channel.clone()));
    client.schedule(after("first", "held", HOUR)).await.expect("scheduled");
    let pause = v1::PauseTopicRequest { name: "held".into(), ..Default::default() };
    topics.pause_topic(pause).await.expect("paused");
    client.schedule(after("late", "held", Duration::ZERO)).await.expect("scheduled");
    let mut events = within(client.watch(v1::WatchRequest::default())).await.expect("a stream").into_inner();
    let mut next = async || within(events.message()).await.expect("no error").expect("not ended");
    while next().await.kind() != v1::WatchEventKind::Synced {}
    // Time goes past the due time of what is held.
    client.schedule(after("{late}-2", "held", Duration::ZERO)).await.expect("scheduled");
    let resume = v1::ResumeTopicRequest { name: "held".into(), ..Default::default() };
    topics.resume_topic(resume).await.expect("resumed");
    let mut fired = BTreeSet::new();
    while fired.len() < 2 {
        let trigger = next().await.trigger.expect("a trigger");
        if trigger.state() == v1::TriggerState::Fired {
            fired.insert(trigger.id);
        }
    }
    assert_eq!(fired, ["late".into(), "{late}-2".into()].into());
    one.stop().await;
}

/// Turns red when the session of a poll whose caller hung up stays open.
#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_is_given_up_leaves_nothing_behind() {
    let one = One::start().await;
    one.scheduler().schedule(after("later", "poll", HOUR)).await.expect("scheduled");
    let request = v1::PollRequest {
        executor: "gone".into(),
        topics: vec!["poll".into()],
        max: 4,
        wait: Some(prost_types::Duration { seconds: 50, nanos: 0 }),
        ..Default::default()
    };
    let mut client = one.executor();
    let poll = tokio::spawn(async move { client.poll(request).await });
    let executors = async || {
        let status = one.admin().status(admin::StatusRequest::default()).await.expect("a status").into_inner();
        status.executors.len()
    };
    until(async || (executors().await == 2).then_some(())).await;
    poll.abort();
    until(async || (executors().await == 0).then_some(())).await;
    one.stop().await;
}

/// Turns red when a poll asks only as many partitions as it takes triggers.
#[tokio::test(flavor = "multi_thread")]
async fn a_poll_for_one_trigger_looks_into_every_partition() {
    let one = One::start().await;
    // Eight ids, four in each of the two partitions: to ask the right one every time by chance is unlikely.
    let (mut ids, mut found) = ([Vec::new(), Vec::new()], BTreeSet::new());
    for number in 0.. {
        let id = format!("one-{number}");
        let kept = &mut ids[one.server.node().partition_of("default", &id).number() as usize];
        if kept.len() < 4 {
            kept.push(id);
        }
        if ids.iter().all(|kept| kept.len() == 4) {
            break;
        }
    }
    let mut client = one.executor();
    for id in ids.into_iter().flatten() {
        one.scheduler().schedule(after(&id, "poll", Duration::ZERO)).await.expect("scheduled");
        let request = v1::PollRequest {
            executor: "poller".into(),
            topics: vec!["poll".into()],
            max: 1,
            wait: Some(prost_types::Duration { seconds: 50, nanos: 0 }),
            ..Default::default()
        };
        let deliveries = within(client.poll(request)).await.expect("answered").into_inner().deliveries;
        assert_eq!(deliveries.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), [id.as_str()]);
        found.insert(id);
    }
    assert_eq!(found.len(), 8);
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_is_too_old_is_refused() {
    let one = One::start().await;
    let mut client = one.scheduler();
    // More than is kept, all in one partition.
    for batch in 0..17 {
        let items = (0..1_000).map(|item| after(&format!("{{same}}-{batch}-{item}"), "seen", HOUR)).collect();
        client.batch_schedule(v1::BatchScheduleRequest { items }).await.expect("scheduled");
    }
    let cursor =
        ["00000000", "0000000000000000", "0000000000000000", "00000001", "0000000000000000", "0000000000000000"];
    let watch = v1::WatchRequest { cursor: cursor.concat(), ..Default::default() };
    let mut events = within(client.watch(watch)).await.expect("a stream").into_inner();
    let refused = within(events.message()).await;
    assert_eq!(reason(refused), (Code::OutOfRange, "STALE_CURSOR".into()));
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_forecast_counts_exactly_by_topic() {
    let one = One::start().await;
    for i in 0..30 {
        let topic = if i % 3 == 0 { "b" } else { "a" };
        let delay = Duration::from_secs(600 + 60 * (i % 2));
        one.scheduler().schedule(after(&format!("f-{i}"), topic, delay)).await.expect("scheduled");
    }
    let ask = |topic: &str, step: i64, span: i64| v1::ForecastRequest {
        topic: topic.into(),
        step: Some(prost_types::Duration { seconds: step, nanos: 0 }),
        span: Some(prost_types::Duration { seconds: span, nanos: 0 }),
    };
    let forecast = one.scheduler().forecast(ask("", 60, 3_600)).await.expect("answered").into_inner();
    assert_eq!(forecast.cells.iter().map(|cell| cell.count).sum::<u64>(), 30);
    let of = |topic: &str| {
        let counts = forecast.cells.iter().flat_map(|cell| &cell.topics).filter(|one| one.topic == topic);
        counts.map(|one| one.count).sum::<u64>()
    };
    assert_eq!((of("a"), of("b")), (20, 10));
    let only = one.scheduler().forecast(ask("b", 60, 3_600)).await.expect("answered").into_inner();
    assert_eq!(only.cells.iter().map(|cell| cell.count).sum::<u64>(), 10);
    let short = one.scheduler().forecast(ask("", 1, 60)).await.expect("answered").into_inner();
    assert_eq!((short.cells.len(), short.beyond), (0, 30));
    let wrong = one.scheduler().forecast(ask("", 1, 7_200)).await;
    assert_eq!(reason(wrong), (Code::InvalidArgument, "INVALID_FIELD".into()));
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_repeated_with_its_id_is_answered_like_the_first() {
    let one = One::start().await;
    let mut client = one.scheduler();
    client.schedule(after("a", "t", HOUR)).await.expect("scheduled");
    let cancel =
        v1::CancelRequest { id: "a".into(), request_id: uuid::Uuid::now_v7().to_string(), ..Default::default() };
    let first = client.cancel(cancel.clone()).await.expect("cancelled").into_inner();
    assert_eq!(client.cancel(cancel).await.expect("the same").into_inner(), first);
    let wrong = v1::CancelRequest { id: "a".into(), request_id: "abc".into(), ..Default::default() };
    assert_eq!(reason(client.cancel(wrong).await), (Code::InvalidArgument, "INVALID_FIELD".into()));
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_served_and_metrics_have_no_summaries() {
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;
    let one = One::start().await;
    let mut streams = one.work("worker", "m").await;
    let scheduled = one.scheduler().schedule(after("m-1", "m", Duration::ZERO)).await.expect("scheduled").into_inner();
    let work = &mut streams[scheduled.receipt.expect("a receipt").partition as usize];
    let deliveries = work.deliveries().await;
    work.report(deliveries.iter().map(success).collect()).await;
    work.results().await;

    let mut health = HealthClient::new(one.channel.clone());
    for service in ["", "bosingak.v1.SchedulerService", "bosingak.v1.ExecutorService"] {
        let request = tonic_health::pb::HealthCheckRequest { service: service.into() };
        until(async || {
            let answer = health.check(request.clone()).await.ok()?.into_inner();
            (answer.status() == ServingStatus::Serving).then_some(())
        })
        .await;
    }
    let admin = one.server.addresses().admin;
    let metrics = page(admin, "/metrics").await;
    assert!(!metrics.contains(" summary\n"), "a summary cannot be added up over nodes");
    for name in
        ["bosingak_trigger_lateness_seconds_bucket", "bosingak_raft_proposal_seconds_bucket", "bosingak_calls_total"]
    {
        assert!(metrics.contains(name), "{name} is missing");
    }
    for stage in ["dispatched", "acked"] {
        assert!(metrics.contains(&format!("stage=\"{stage}\"")), "{stage}");
    }
    assert!(page(admin, "/readyz").await.ends_with("ready\n"));
    assert!(page(admin, "/healthz").await.ends_with("ok\n"));
    one.stop().await;
}

/// Red when the dispatcher is told an empty list of held leases.
#[tokio::test(flavor = "multi_thread")]
async fn hello_adopts_leases_no_redelivery_of_what_is_still_being_worked_on() {
    let one = One::start().await;
    let mut streams = one.work("worker", "slow").await;
    let scheduled = one.scheduler().schedule(after("s-1", "slow", Duration::ZERO)).await.expect("scheduled");
    let partition = scheduled.into_inner().receipt.expect("a receipt").partition;
    let mut work = streams.swap_remove(partition as usize);
    let delivery = work.deliveries().await.remove(0);
    assert_eq!((work.partition, work.welcome.adopted.len()), (partition, 0));
    drop(work);
    let held = v1::HeldLease {
        namespace: delivery.namespace.clone(),
        id: delivery.id.clone(),
        generation: delivery.generation,
        token: delivery.token,
        attempt: delivery.attempt,
    };
    let mut work = Work::open(one.executor(), "worker", "slow", partition, vec![held.clone()]).await;
    assert_eq!(work.welcome.adopted, [held]);
    work.report(vec![success(&delivery)]).await;
    // `results` would refuse a delivery that came first.
    assert_eq!(work.results().await[0].verdict(), v1::OutcomeVerdict::Accepted);
    one.stop().await;
}

/// Turns red when a status does not count what is overdue, what was handed out how late, or what has completed; or when
/// a second attempt counts as a first.
#[tokio::test(flavor = "multi_thread")]
async fn a_status_tells_how_it_goes() {
    let one = One::start().await;
    let scheduled = one.scheduler().schedule(after("overdue", "t", Duration::ZERO)).await.expect("scheduled");
    let partition = scheduled.into_inner().receipt.expect("a receipt").partition as usize;
    let status = async || {
        let status = one.admin().status(admin::StatusRequest::default()).await.expect("a status").into_inner();
        status.partitions[partition].clone()
    };
    let handed_out = |status: &admin::PartitionStatus| {
        let lateness = status.lateness.as_ref().expect("from the leader");
        assert_eq!(lateness.counts.len(), lateness.bounds_ms.len() + 1);
        lateness.counts.iter().sum::<u64>()
    };
    // Somebody has to want it, or the dispatcher does not look.
    let mut work = Work::open(one.executor(), "worker", "t", partition as u32, Vec::new()).await;
    let delivery = work.deliveries().await.remove(0);
    let overdue = until(async || Some(status().await).filter(|status| status.in_flight == 1)).await;
    assert!(overdue.oldest_overdue.is_some(), "{overdue:?}");
    assert_eq!((overdue.fired, overdue.completed_total, handed_out(&overdue)), (1, 0, 1));
    assert_eq!(overdue.health(), admin::ReplicaHealth::Running);

    let failure =
        v1::Failure { retry_after: Some(prost_types::Duration { seconds: 0, nanos: 1_000_000 }), ..Default::default() };
    work.report(vec![outcome(&delivery, v1::delivery_outcome::Outcome::Retry(failure))]).await;
    work.results().await;
    let again = work.deliveries().await.remove(0);
    assert_eq!(again.attempt, 2);
    assert_eq!(handed_out(&status().await), 1, "a second attempt is late on purpose");
    work.report(vec![success(&again)]).await;
    work.results().await;
    let done = until(async || Some(status().await).filter(|status| status.in_flight == 0)).await;
    assert_eq!((done.fired, done.completed_total, done.oldest_overdue), (0, 1, None));
    one.stop().await;
}
