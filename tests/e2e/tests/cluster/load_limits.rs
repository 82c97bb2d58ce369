//! Too much load, and too little disk.

use std::time::Duration;

use e2e::{PATIENCE, Scene, in_ms};
use futures::{StreamExt, stream};
use harness::call::Problem;
use harness::cluster::Options;
use harness::worker::Act;
use harness::{caller, record, wait};
use proto::v1;
use tonic::Code;

/// Overload is refused early with RESOURCE_EXHAUSTED and when to come back; nothing acknowledged is lost, and the node
/// serves as before once the load is gone.
///
/// Red when the proposer's queue is not bounded by bytes.
#[tokio::test]
async fn overload_is_refused_with_a_retry_hint() {
    let options = Options { nodes: 1, partitions: 1, ..Options::default() }
        .with("proposer.queue_bytes_max", "\"64KiB\"")
        .with("proposer.entry_bytes_max", "\"16KiB\"")
        .with("raft.sync_delay", "\"20ms\"");
    let scene = Scene::with(options).await.unwrap();
    let channel = caller::channel(&scene.cluster.node(1).endpoint()).unwrap();
    let calls = stream::iter(0..1_500u32).map(|number| {
        let mut client = caller::scheduler(channel.clone());
        async move {
            let request = v1::ScheduleRequest {
                payload: vec![1; 4_096].into(),
                ..record::request(format!("over-{number}"), "over", in_ms(3_600_000))
            };
            (number, client.schedule(request).await)
        }
    });
    let answers: Vec<_> = calls.buffer_unordered(500).collect().await;
    let mut refused = 0;
    let mut accepted = Vec::new();
    for (number, answer) in answers {
        match answer {
            Ok(_) => accepted.push(number),
            Err(status) => {
                let problem = Problem::from(status);
                assert_eq!(
                    (problem.code, problem.reason.as_str()),
                    (Code::ResourceExhausted, "OVERLOADED"),
                    "{problem}"
                );
                assert!(problem.retry_after.is_some_and(|after| after > Duration::ZERO), "{problem:?}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "nothing was refused");
    assert!(!accepted.is_empty(), "nothing was accepted");
    for number in accepted {
        record::get(&scene.caller, "default", &format!("over-{number}")).await.unwrap();
    }
    scene.session(1).schedule(record::request("after", "over", in_ms(3_600_000))).await.unwrap();
}

/// Below the mark of free space writes are refused with DISK_LOW and reads go on; with room again, writes go on.
///
/// Red when the proposer does not ask for the free space.
#[tokio::test]
async fn a_full_disk_refuses_writes_and_serves_reads() {
    let options = Options { nodes: 1, ..Options::default() };
    let mut scene = Scene::with(options).await.unwrap();
    scene.schedule("room", 5, in_ms(3_600_000)).await;
    scene.cluster.kill(1).unwrap();
    // More than the disk of a test machine has.
    let config = scene.cluster.config(1, scene.cluster.members()) + "[storage]\nfree_space_min = \"1024GiB\"\n";
    let too_much = scene.cluster.spawn_with(1, &config).unwrap();
    scene.cluster.answering(1).await.unwrap();
    let read = wait::until("read from a full node", PATIENCE, || record::get(&scene.caller, "default", "room-0"))
        .await
        .unwrap();
    assert_eq!(read.state(), v1::TriggerState::Scheduled);
    let channel = &caller::channel(&scene.cluster.node(1).endpoint()).unwrap();
    let problem = wait::until("refusal for want of room", PATIENCE, || async move {
        let request = record::request("more", "room", in_ms(3_600_000));
        match caller::scheduler(channel.clone()).schedule(request).await {
            // Not elected yet.
            Err(status) if status.code() == Code::Unavailable => Err(status.to_string()),
            answer => Ok(Problem::from(answer.expect_err("a write below the mark"))),
        }
    })
    .await
    .unwrap();
    assert_eq!((problem.code, problem.reason.as_str()), (Code::ResourceExhausted, "DISK_LOW"), "{problem}");
    drop(too_much);
    scene.cluster.spawn(1).unwrap();
    scene.cluster.ready().await.unwrap();
    let _worker = scene.worker("e1", "room", |_| Act::Succeed).await.unwrap();
    scene.session(1).schedule(record::request("more", "room", in_ms(0))).await.unwrap();
    scene.until("completion", PATIENCE, |history| history.completions.len() == 1).await.unwrap();
}
