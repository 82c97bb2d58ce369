//! The canary: it goes the whole way, it tells when triggers do not, and nobody else notices it.

use std::time::Duration;

use proto::admin::v1 as admin;
use proto::v1;
use proto::v1::topic_service_client::TopicServiceClient;
use scheduler::command::{Kind, SetTopic};
use scheduler::read::{self, ListQuery};
use server::canary::{NAMESPACE, TOPIC};
use server::clock::Clock;
use server::feed::Changed;
use server::partition::Partition;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{One, Work, after, page, success, until, within};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

async fn every_second() -> One {
    One::start_with(|config| config.canary_interval = Some(SECOND)).await
}

/// Waits until one more canary came through in a partition.
async fn comes_through(partition: &Partition) {
    let mut before = Duration::ZERO;
    until(async || {
        let age = partition.canary_age().expect("led here");
        let younger = age < before;
        before = age;
        younger.then_some(())
    })
    .await;
}

/// Stops the canaries of a partition, and with them nothing else, or lets them go on.
async fn pause(partition: &Partition, paused: bool) {
    let topics = partition.feed().topics();
    let topic = topics.iter().find(|topic| topic.name == TOPIC).expect("a canary came through");
    let settings = scheduler::command::TopicSettings { paused, ..topic.settings.clone() };
    let command = SetTopic {
        namespace: NAMESPACE.into(),
        topic: TOPIC.into(),
        version: topic.version + 1,
        settings: Some(settings),
    };
    let awaited = partition.proposer().propose_internal(Kind::SetTopic(command)).expect("it leads");
    within(awaited.answer()).await.expect("applied");
}

async fn health(one: &One, service: &str) -> ServingStatus {
    let request = tonic_health::pb::HealthCheckRequest { service: service.into() };
    let answer = HealthClient::new(one.channel.clone()).check(request).await;
    answer.expect("answered").into_inner().status()
}

/// The value of a metric of a partition.
async fn metric(one: &One, name: &str, partition: u32) -> Option<f64> {
    let metrics = page(one.server.addresses().admin, "/metrics").await;
    let label = format!("partition=\"{partition}\"");
    let line = metrics.lines().find(|line| line.starts_with(name) && line.contains(&label))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

/// Turns red when canaries count as come through once they are scheduled, when `report_health` leaves out the canaries, or
/// when `canary_page` answers 200 all the same.
#[tokio::test(flavor = "multi_thread")]
async fn the_age_rises_when_dispatch_stops_health_tells_and_recovers() {
    let one = every_second().await;
    // Settings of partition 0 are brought to the others in time; those of another one stay there.
    let [well, stuck] = one.server.node().partitions() else { panic!("two partitions") };
    comes_through(stuck).await;
    comes_through(well).await;
    until(async || (health(&one, TOPIC).await == ServingStatus::Serving).then_some(())).await;
    let addresses = one.server.addresses().clone();
    assert!(page(addresses.admin, "/canaryz").await.ends_with("ok\n"));
    let young = metric(&one, "bosingak_canary_age_seconds", 1).await.expect("led here");
    assert!(young < 8.0, "{young} s");

    pause(stuck, true).await;
    until(async || stuck.canary_overdue()).await;
    assert_eq!(well.canary_overdue(), None, "each partition has its own");
    let old = metric(&one, "bosingak_canary_age_seconds", 1).await.expect("led here");
    assert!(old > 8.0, "{old} s after three intervals and 5 s");
    until(async || (health(&one, "bosingak.canary.1").await == ServingStatus::NotServing).then_some(())).await;
    assert_eq!(health(&one, TOPIC).await, ServingStatus::NotServing);
    assert_eq!(health(&one, "bosingak.canary.0").await, ServingStatus::Serving);
    // No reason to restart the process, or to send callers elsewhere.
    for service in ["", "bosingak.v1.SchedulerService", "bosingak.v1.ExecutorService"] {
        assert_eq!(health(&one, service).await, ServingStatus::Serving, "{service}");
    }
    let told = page(addresses.admin, "/canaryz").await;
    assert!(told.starts_with("HTTP/1.1 503") && told.contains("partition 1 may not be firing"), "{told}");
    assert!(!told.contains("partition 0"), "{told}");
    for path in ["/healthz", "/readyz"] {
        assert!(page(addresses.admin, path).await.starts_with("HTTP/1.1 200"), "{path}");
    }
    let status = one.admin().status(admin::StatusRequest {}).await.expect("answered").into_inner();
    assert!(status.alarms[0].contains("partition 1 may not be firing"), "{:?}", status.alarms);
    assert!(status.partitions[1].canary_overdue && !status.partitions[0].canary_overdue);
    assert!(status.partitions[1].canary_age.expect("known").seconds >= 8);

    pause(stuck, false).await;
    until(async || stuck.canary_overdue().is_none().then_some(())).await;
    until(async || (health(&one, TOPIC).await == ServingStatus::Serving).then_some(())).await;
    assert!(page(addresses.admin, "/canaryz").await.ends_with("ok\n"));
    comes_through(stuck).await;
    one.stop().await;
}

/// Turns red when canaries are made under new ids, kept for the default retention, or scheduled again as soon as they are
/// through.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_node_writes_canaries_and_nothing_else_and_does_not_grow() {
    let one = every_second().await;
    one.scheduler().schedule(after("waiting", "t", HOUR)).await.expect("scheduled");
    for partition in one.server.node().partitions() {
        comes_through(partition).await;
    }
    let started: Vec<_> =
        one.server.node().partitions().iter().map(|partition| *partition.feed().progress().borrow()).collect();
    for (partition, started) in one.server.node().partitions().iter().zip(started) {
        for _ in 0..5 {
            comes_through(partition).await;
        }
        let index = partition.feed().progress().borrow().index;
        let changes = partition.feed().changes_after(started.index).expect("kept");
        let mut told = 0;
        for change in &changes {
            match &change.what {
                Changed::Trigger { namespace, id } => {
                    assert!(namespace == NAMESPACE && id.starts_with(TOPIC), "{namespace}/{id}");
                    told += u64::from(change.index <= index);
                }
                Changed::Released { .. } => panic!("{change:?}"),
            }
        }
        // Each is scheduled and completed, in an entry each; one fires it, and one may raise the floor behind it.
        let (entries, canaries) = (index - started.index, told.div_ceil(2));
        assert!(canaries >= 5 && entries <= 4 * canaries + 4, "{entries} entries for {canaries} canaries");
        let query = ListQuery { namespace: NAMESPACE.into(), ..ListQuery::default() };
        let listed = partition.read_local(|rows| read::list(rows, &query, None)).expect("read").items;
        assert!((1..=5).contains(&listed.len()), "{} canaries are kept", listed.len());
    }
    one.stop().await;
}

/// Turns red when canaries are due ahead of a virtual clock, which then stops at each of them, or when their rows are not
/// swept.
#[tokio::test(flavor = "multi_thread")]
async fn canaries_follow_a_virtual_clock_and_leave_nothing_behind() {
    let clock = Clock::standing_now();
    let one = One::open(tempfile::tempdir().expect("a directory"), clock.clone(), |_| {}).await;
    let advance = async |seconds: i64| {
        let by = prost_types::Duration { seconds, nanos: 0 };
        let request = admin::AdvanceClockRequest { target: Some(admin::advance_clock_request::Target::By(by)) };
        within(one.admin().advance_clock(request)).await.expect("advanced");
        let now = clock.wall();
        for partition in one.server.node().partitions() {
            // The newest is due now, and nothing is under way.
            let query = ListQuery {
                namespace: NAMESPACE.into(),
                states: vec![scheduler::reply::Outcome::Completed],
                due_from: Some(now),
                ..ListQuery::default()
            };
            until(async || {
                let found = partition.read_local(|rows| read::list(rows, &query, None)).expect("read");
                (!found.items.is_empty()).then_some(())
            })
            .await;
            assert_eq!(partition.canary_overdue(), None);
        }
    };
    let rows = |partition: &Partition| {
        let mut rows = 0;
        let store = partition.group().store().expect("open");
        let count = &mut |_: &[u8], _: &[u8]| {
            rows += 1;
            std::ops::ControlFlow::Continue(())
        };
        store.scan(&[], &[], count).expect("scanned");
        rows
    };
    let mut before = Vec::new();
    for step in 0..30 {
        advance(61).await;
        if step == 10 {
            before = one.server.node().partitions().iter().map(rows).collect();
        }
    }
    // Floors are raised now and then by the machine's own clock, and what is below them is swept in the next minute.
    for (partition, before) in one.server.node().partitions().iter().zip(before) {
        until(async || {
            advance(61).await;
            (rows(partition) <= before + 20).then_some(())
        })
        .await;
    }
    advance(10 * 365 * 86_400).await;
    one.stop().await;
}

/// Turns red when one of the lists forgets whose the canaries are.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_canaries_who_does_not_ask_for_them() {
    let one = every_second().await;
    let mut streams = one.work("worker", "t").await;
    let scheduled = one.scheduler().schedule(after("mine", "t", Duration::ZERO)).await.expect("scheduled").into_inner();
    let work = &mut streams[scheduled.receipt.expect("a receipt").partition as usize];
    let deliveries = work.deliveries().await;
    work.report(deliveries.iter().map(success).collect()).await;
    work.results().await;
    for partition in one.server.node().partitions() {
        comes_through(partition).await;
    }
    let mut client = one.scheduler();
    let list = |topic: &str| v1::ListRequest {
        filter: Some(v1::TriggerFilter { topic: topic.into(), ..Default::default() }),
        ..Default::default()
    };
    let all = client.list(list("")).await.expect("listed").into_inner().triggers;
    assert_eq!(all.iter().map(|trigger| trigger.id.as_str()).collect::<Vec<_>>(), ["mine"]);
    let asked = client.list(list(TOPIC)).await.expect("listed").into_inner().triggers;
    assert!(!asked.is_empty() && asked.iter().all(|trigger| trigger.topic == TOPIC), "{asked:?}");
    let watch = |topic: &str| v1::WatchRequest { filter: list(topic).filter, ..Default::default() };
    let mut events = within(client.watch(watch(TOPIC))).await.expect("a stream").into_inner();
    while within(events.message()).await.expect("no error").expect("goes on").kind() != v1::WatchEventKind::Changed {}
    let mut events = within(client.watch(watch(""))).await.expect("a stream").into_inner();
    for partition in one.server.node().partitions() {
        comes_through(partition).await;
    }
    client.schedule(after("last", "t", HOUR)).await.expect("scheduled");
    loop {
        let event = within(events.message()).await.expect("no error").expect("goes on");
        let Some(trigger) = event.trigger else { continue };
        assert_eq!(trigger.topic, "t", "{trigger:?}");
        if trigger.id == "last" {
            break;
        }
    }

    // A forecast of all there is at a moment at which a canary waits.
    let ask = |topic: &str| v1::ForecastRequest {
        topic: topic.into(),
        step: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        span: Some(prost_types::Duration { seconds: 7_200, nanos: 0 }),
    };
    let topics = |forecast: v1::ForecastResponse| {
        let cells = forecast.cells.into_iter();
        cells.flat_map(|cell| cell.topics).map(|topic| topic.topic).collect::<Vec<_>>()
    };
    until(async || {
        let waiting = client.forecast(ask(TOPIC)).await.expect("answered").into_inner();
        let all = client.forecast(ask("")).await.expect("answered").into_inner();
        assert_eq!(topics(all), ["t"]);
        (!topics(waiting).is_empty()).then_some(())
    })
    .await;
    assert_eq!(one.server.node().partitions().iter().map(|it| it.feed().pending()).sum::<u64>(), 1);

    let status = one.admin().status(admin::StatusRequest {}).await.expect("answered").into_inner();
    assert!(status.executors.iter().all(|executor| executor.executor == "worker"), "{:?}", status.executors);
    assert_eq!(status.partitions.iter().map(|partition| partition.scheduled).sum::<u64>(), 1);
    let mut client = TopicServiceClient::new(one.channel.clone());
    let topics = client.list_topics(v1::ListTopicsRequest::default()).await.expect("listed").into_inner().topics;
    assert_eq!(topics.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>(), ["t"]);
    one.stop().await;
}

/// Turns red when a call forgets `not_reserved`.
#[tokio::test(flavor = "multi_thread")]
async fn the_servers_own_names_are_refused() {
    use tonic_types::StatusExt;
    let one = every_second().await;
    let refused = |status: tonic::Status, field: &str| {
        assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status:?}");
        let fields = status.get_details_bad_request().expect(field).field_violations;
        assert!(fields.iter().any(|one| one.field == field && one.description.contains("bosingak.")), "{fields:?}");
    };
    let mut client = one.scheduler();
    refused(client.schedule(after("x", "bosingak.mine", HOUR)).await.expect_err("topic"), "topic");
    refused(client.schedule(after("bosingak.mine", "t", HOUR)).await.expect_err("id"), "id");
    let id = || "bosingak.canary.{0-0}.1".to_owned();
    let namespace = || NAMESPACE.to_owned();
    let cancel = v1::CancelRequest { namespace: namespace(), id: id(), ..Default::default() };
    refused(client.cancel(cancel).await.expect_err("cancel"), "id");
    let run = v1::RunNowRequest { namespace: namespace(), id: id(), ..Default::default() };
    refused(client.run_now(run).await.expect_err("run"), "id");

    let mut client = one.executor();
    let poll = |executor: &str, topic: &str| v1::PollRequest {
        executor: executor.into(),
        topics: vec![topic.into()],
        max: 1,
        ..Default::default()
    };
    refused(client.poll(poll("mine", TOPIC)).await.expect_err("poll"), "topics[0]");
    refused(client.poll(poll(TOPIC, "t")).await.expect_err("poll"), "executor");
    let complete = v1::CompleteRequest { executor: TOPIC.into(), outcomes: vec![v1::DeliveryOutcome::default()] };
    refused(client.complete(complete).await.expect_err("complete"), "executor");
    let hello =
        v1::Hello { executor: "mine".into(), topics: vec![TOPIC.into()], max_in_flight: 1, ..Default::default() };
    let hello = crate::support::request(v1::work_request::Message::Hello(hello));
    refused(client.work(tokio_stream::once(hello)).await.expect_err("work"), "hello.topics[0]");

    let mut client = TopicServiceClient::new(one.channel.clone());
    let name = || TOPIC.to_owned();
    let pause = v1::PauseTopicRequest { namespace: namespace(), name: name() };
    refused(client.pause_topic(pause).await.expect_err("pause"), "name");
    let update = v1::UpdateTopicRequest { namespace: namespace(), name: name(), ..Default::default() };
    refused(client.update_topic(update).await.expect_err("update"), "name");
    one.stop().await;
}

/// Turns red when `canary.interval` of 0 schedules all the same, or an age is told of what does not exist.
#[tokio::test(flavor = "multi_thread")]
async fn without_canaries_nothing_is_written_and_nothing_told() {
    let one = One::start_with(|config| config.canary_interval = None).await;
    // What would have scheduled a canary first delivers this.
    for partition in 0..2 {
        drop(Work::open(one.executor(), "worker", "t", partition, Vec::new()).await);
    }
    for partition in one.server.node().partitions() {
        assert!(partition.canary_age().is_none() && partition.feed().topics().is_empty());
    }
    assert!(page(one.server.addresses().admin, "/canaryz").await.ends_with("off\n"));
    assert_eq!(metric(&one, "bosingak_canary_age_seconds", 0).await, None);
    let query = v1::ListRequest::default();
    assert!(one.scheduler().list(query).await.expect("listed").into_inner().triggers.is_empty());
    one.stop().await;
}
