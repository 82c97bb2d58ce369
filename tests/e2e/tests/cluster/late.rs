//! Why triggers are late when a leader dies.

use e2e::{PATIENCE, Scene, in_ms};
use futures::future::join_all;
use harness::cluster::Options;
use harness::worker::Act;
use harness::{caller, record};
use proto::admin::v1::{LateCause, ListLateRequest};

/// Triggers fall due all the time, and the leader is killed: those that were due while nobody led say so, whichever node is
/// asked, and the dead node is named as one that did not answer.
///
/// Turns red when the time without a leader counts as the log's or the queue's, or when only the node that is asked answers.
#[tokio::test]
async fn what_was_due_while_nobody_led_says_so() {
    let options = Options { partitions: 1, ..Options::default() }.with("late.bound", "\"200ms\"");
    let mut scene = Scene::with(options).await.unwrap();
    let _worker = scene.worker("e1", "late", |_| Act::Succeed).await.unwrap();
    let begin = in_ms(1_000);
    let calls = (0..500u32).map(|number| {
        let session = scene.session(number.into());
        async move {
            let request = record::request(format!("late-{number}"), "late", begin + i64::from(number) * 10);
            session.schedule(request).await.unwrap();
        }
    });
    join_all(calls).await;
    scene.until("first completions", PATIENCE, |history| history.completions.len() >= 20).await.unwrap();
    let leader = scene.cluster.busiest_leader().await.unwrap();
    scene.cluster.kill(leader).unwrap();
    scene.finished().await.unwrap();
    for node in scene.cluster.ids().into_iter().filter(|node| *node != leader) {
        let channel = caller::channel(&scene.cluster.node(node).endpoint()).unwrap();
        let request = ListLateRequest { node: 0, limit: 1_000 };
        let answer = caller::cluster(channel).list_late(request).await.unwrap().into_inner();
        assert_eq!(answer.missing, [leader]);
        let due_without = answer.triggers.iter().filter(|late| late.cause() == LateCause::NoLeader).count();
        // Nobody leads for at least 700 ms, and what is due in the first 500 of them is late by more than 200.
        assert!(due_without >= 25, "{due_without} of {:?}", answer.triggers);
        assert!(answer.triggers.iter().all(|late| late.node != leader && late.topic == "late"));
        let moments: Vec<_> = answer.triggers.iter().map(|late| late.until.map(|at| (at.seconds, at.nanos))).collect();
        assert!(moments.is_sorted_by(|newer, older| newer >= older), "newest first");
    }
}
