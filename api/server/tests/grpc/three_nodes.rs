//! Three nodes in one process: any node takes any call, leaders move, time can be moved.

use std::time::Duration;

use crate::support::{Work, after, channel, reason, success, until, within};
use proto::admin::v1 as admin;
use proto::admin::v1::cluster_service_client::ClusterServiceClient;
use proto::v1;
use proto::v1::executor_service_client::ExecutorServiceClient;
use proto::v1::scheduler_service_client::SchedulerServiceClient;
use proto::v1::topic_service_client::TopicServiceClient;
use server::config::{Origin, Values};
use server::dev::{Cluster, Options};
use tonic::Code;
use tonic::transport::Channel;

const HOUR: Duration = Duration::from_secs(3_600);

struct Three {
    cluster: Cluster,
    channels: Vec<Channel>,
    _dir: tempfile::TempDir,
}

impl Three {
    async fn start(virtual_clock: bool) -> Three {
        let dir = tempfile::tempdir().expect("a directory");
        let options = Options { nodes: 3, virtual_clock, data: dir.path().into(), port: 0 };
        let mut values = Values::defaults();
        values.set("storage.free_space_min", "0B".into(), Origin::Flag);
        values.set("cluster.partitions", "3".into(), Origin::Flag);
        let cluster = within(Cluster::start(&options, &values)).await.expect("starts");
        within(cluster.ready()).await;
        let channels = cluster.servers().iter().map(|one| channel(&one.addresses().client.to_string())).collect();
        Three { cluster, channels, _dir: dir }
    }

    fn scheduler(&self, node: usize) -> SchedulerServiceClient<Channel> {
        SchedulerServiceClient::new(self.channels[node].clone())
    }

    fn admin(&self, node: usize) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.channels[node].clone())
    }

    /// The place of the node that leads a partition.
    async fn leader(&self, partition: u32) -> usize {
        until(async || {
            self.cluster
                .servers()
                .iter()
                .position(|one| one.node().partitions()[partition as usize].dispatcher().is_some())
        })
        .await
    }

    async fn work(&self, executor: &str, topic: &str, partition: u32) -> Work {
        let leader = self.leader(partition).await;
        let client = ExecutorServiceClient::new(self.channels[leader].clone());
        Work::open(client, executor, topic, partition, Vec::new()).await
    }
}

/// Repeats a call for as long as it says that it may be repeated, as clients do.
async fn retried<T>(mut call: impl AsyncFnMut() -> Result<T, tonic::Status>) -> T {
    until(async || match call().await {
        Ok(answer) => Some(answer),
        Err(status) if status.code() == Code::Unavailable => {
            eprintln!("repeated after: {}", status.message());
            None
        }
        Err(status) => panic!("{status:?}"),
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn any_node_takes_any_call() {
    let three = Three::start(false).await;
    let mut partitions = std::collections::BTreeSet::new();
    for i in 0..12 {
        let id = format!("order-{i}");
        let mut client = three.scheduler(i % 3);
        let request = after(&id, "t", HOUR);
        let answer = retried(async || client.schedule(request.clone()).await).await.into_inner();
        partitions.insert(answer.receipt.expect("a receipt").partition);
        let mut client = three.scheduler((i + 1) % 3);
        let request = v1::GetRequest { id: id.clone(), ..Default::default() };
        let found = retried(async || client.get(request.clone()).await).await.into_inner();
        assert_eq!(found.trigger.expect("a trigger").generation, answer.generation);
    }
    assert_eq!(partitions.len(), 3, "twelve ids fall into every partition");

    // A batch over all partitions, from each node; results in order.
    for node in 0..3 {
        let items: Vec<_> = (0..20).map(|i| after(&format!("batch-{node}-{i}"), "t", HOUR)).collect();
        let batch = v1::BatchScheduleRequest { items: items.clone() };
        let results = three.scheduler(node).batch_schedule(batch).await.expect("answered").into_inner().results;
        for (item, result) in items.iter().zip(&results) {
            match &result.result {
                Some(v1::batch_schedule_result::Result::Ok(ok)) => assert_eq!(ok.id, item.id),
                other => panic!("{other:?}"),
            }
        }
    }
    // Every trigger is listed once, whichever node is asked.
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListRequest { page_token, page_size: 10, ..Default::default() };
        let page = three.scheduler(2).list(request).await.expect("listed").into_inner();
        assert!(page.triggers.len() <= 10);
        found.extend(page.triggers.into_iter().map(|trigger| trigger.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 72);
    // The forecast knows all of them too, once the asked node's replicas have applied them.
    until(async || {
        let request = v1::ForecastRequest {
            step: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
            span: Some(prost_types::Duration { seconds: 7_200, nanos: 0 }),
            ..Default::default()
        };
        let forecast = three.scheduler(1).forecast(request).await.expect("answered").into_inner();
        let count = forecast.cells.iter().map(|cell| cell.count).sum::<u64>();
        eprintln!("{count} in cells, {} beyond, as of {:?}", forecast.beyond, forecast.as_of);
        (count == 72).then_some(())
    })
    .await;
    three.cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_paused_in_every_partition_and_can_still_be_cancelled() {
    let three = Three::start(false).await;
    let mut topics = TopicServiceClient::new(three.channels[1].clone());
    let pause = v1::PauseTopicRequest { name: "t".into(), ..Default::default() };
    let topic = retried(async || topics.pause_topic(pause.clone()).await).await.into_inner().topic.expect("a topic");
    assert!(topic.paused);
    let mut scheduled = Vec::new();
    for i in 0..6 {
        let mut client = three.scheduler(i % 3);
        let request = after(&format!("held-{i}"), "t", Duration::ZERO);
        let answer = retried(async || client.schedule(request.clone()).await).await.into_inner();
        scheduled.push((answer.id, answer.receipt.expect("a receipt").partition));
    }
    let cancel = v1::CancelRequest { id: "held-0".into(), ..Default::default() };
    let cancelled = three.scheduler(0).cancel(cancel).await.expect("due, held, and cancelled").into_inner();
    assert_eq!(cancelled.receipt.expect("a receipt").outcome(), v1::Outcome::Cancelled);

    let resume = v1::ResumeTopicRequest { name: "t".into(), ..Default::default() };
    assert!(!topics.resume_topic(resume).await.expect("resumed").into_inner().topic.expect("a topic").paused);
    for partition in 0..3 {
        let expected = scheduled.iter().skip(1).filter(|(_, own)| *own == partition).count();
        let mut work = three.work("worker", "t", partition).await;
        let mut got = 0;
        while got < expected {
            let deliveries = work.deliveries().await;
            got += deliveries.len();
            work.report(deliveries.iter().map(success).collect()).await;
        }
    }
    let stale = v1::UpdateTopicRequest { name: "t".into(), expected_version: 1, ..Default::default() };
    assert_eq!(reason(topics.update_topic(stale).await), (Code::Aborted, "VERSION_MISMATCH".into()));
    three.cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_moves_and_streams_are_told() {
    let three = Three::start(false).await;
    let leader = three.leader(0).await;
    let mut work = three.work("worker", "t", 0).await;
    let to = (leader + 1) % 3 + 1;
    let mut admin = three.admin((leader + 2) % 3);
    let transfer = admin::TransferLeaderRequest { partition: 0, to: to as u64 };
    let moved = retried(async || admin.transfer_leader(transfer).await).await.into_inner();
    assert_eq!(moved.leader, to as u64);
    let go_away = within(async {
        loop {
            if let v1::work_response::Message::GoAway(go_away) = work.next().await {
                return go_away;
            }
        }
    });
    let endpoint = three.cluster.servers()[to - 1].addresses().client.to_string();
    assert_eq!(go_away.await.leader, endpoint);
    let unknown = admin::TransferLeaderRequest { partition: 0, to: 77 };
    let refused = until(async || match admin.transfer_leader(unknown).await {
        // The node that is asked may not know the new leader yet.
        Err(status) if status.code() == Code::Unavailable => None,
        refused => Some(refused),
    });
    assert_eq!(reason(refused.await), (Code::NotFound, "UNKNOWN_NODE".into()));
    let status = admin.status(admin::StatusRequest {}).await.expect("answered").into_inner();
    assert_eq!((status.nodes.len(), status.partitions.len()), (3, 3));
    three.cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn days_pass_on_the_virtual_clock() {
    let three = Three::start(true).await;
    let day = 24 * HOUR;
    let mut expected = Vec::new();
    let mut streams = Vec::new();
    for partition in 0..3 {
        streams.push(three.work("worker", "t", partition).await);
    }
    for number in 1..=6 {
        let id = format!("day-{number}");
        let mut client = three.scheduler(number % 3);
        let request = after(&id, "t", number as u32 * day);
        retried(async || client.schedule(request.clone()).await).await;
        expected.push(id);
    }
    let workers: Vec<_> = streams
        .into_iter()
        .map(|mut work| {
            tokio::spawn(async move {
                let mut done = Vec::new();
                loop {
                    match work.next().await {
                        v1::work_response::Message::Deliveries(found) => {
                            done.extend(found.deliveries.iter().map(|one| one.id.clone()));
                            work.report(found.deliveries.iter().map(success).collect()).await;
                        }
                        v1::work_response::Message::GoAway(_) => return done,
                        _ => {}
                    }
                }
            })
        })
        .collect();
    let far = prost_types::Duration { seconds: 40 * 366 * 86_400, nanos: 0 };
    let far = admin::AdvanceClockRequest { target: Some(admin::advance_clock_request::Target::By(far)) };
    assert_eq!(
        reason(three.admin(0).advance_clock(far).await),
        (Code::InvalidArgument, "INVALID_FIELD".into()),
        "past the last moment that can be written"
    );
    // Less than the seven days for which what has ended is kept.
    let by = prost_types::Duration { seconds: 6 * day.as_secs() as i64, nanos: 0 };
    let advance = admin::AdvanceClockRequest { target: Some(admin::advance_clock_request::Target::By(by)) };
    let answer = within(three.admin(0).advance_clock(advance)).await.expect("advanced").into_inner();
    assert_eq!(answer.fired, 6);
    for id in &expected {
        let mut client = three.scheduler(0);
        let request = v1::GetRequest { id: id.clone(), ..Default::default() };
        let found = client.get(request).await.expect("found").into_inner().trigger.expect("a trigger");
        assert_eq!(found.state(), v1::TriggerState::Completed, "{id}");
        assert_eq!(found.receipt.expect("a receipt").attempt, 1, "{id}");
    }
    three.cluster.shutdown().await;
    let mut done = Vec::new();
    for worker in workers {
        done.extend(within(worker).await.expect("no panic"));
    }
    done.sort();
    assert_eq!(done, expected, "each was delivered once");
}
