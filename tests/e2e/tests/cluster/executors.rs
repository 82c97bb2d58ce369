//! Executors that die, and executors without streams.

use std::time::Duration;

use checkers::Options as Allowed;
use e2e::{PATIENCE, Scene, in_ms};
use harness::worker::Act;
use harness::{caller, clock, record, route, wait};
use proto::v1;

/// Short leases, so that deaths are noticed in the time of a test.
pub async fn short_leases(scene: &Scene, topic: &str, max_attempts: u32) {
    let request = v1::UpdateTopicRequest {
        namespace: "default".into(),
        name: topic.into(),
        limits: Some(v1::TopicLimits {
            lease: Some(clock::duration(Duration::from_secs(1))),
            retry: Some(v1::RetryPolicy {
                max_attempts,
                initial_backoff: Some(clock::duration(Duration::from_millis(20))),
                max_backoff: Some(clock::duration(Duration::from_millis(50))),
                ..Default::default()
            }),
            ..Default::default()
        }),
        expected_version: 0,
    };
    scene
        .caller
        .call(|channel| {
            let request = request.clone();
            async move { caller::topics(channel).update_topic(request).await }
        })
        .await
        .unwrap();
}

/// A trigger whose executor dies every time reaches the dead letters, across a failover, and delays nobody else.
///
/// Red when a lease that ran out is not logged as an attempt: the next leader would count from one again.
#[tokio::test]
async fn trigger_whose_executor_dies_every_time_reaches_the_dead_letters_across_a_failover() {
    let mut scene = Scene::three().await.unwrap();
    short_leases(&scene, "poison", 3).await;
    scene.session(1).schedule(record::request("poison-0", "poison", in_ms(0))).await.unwrap();
    for attempt in 1..=3u32 {
        // Started anew for every attempt, and gone as soon as it has the trigger.
        let victim = scene.worker(&format!("victim-{attempt}"), "poison", |_| Act::Hold).await.unwrap();
        scene
            .until("delivery of the next attempt", PATIENCE, |history| {
                history.deliveries.iter().any(|delivery| delivery.attempt == attempt)
            })
            .await
            .unwrap();
        drop(victim);
        if attempt == 2 {
            let leaders = scene.cluster.leaders().await.unwrap();
            let leader = leaders[&route::partition("default", "poison-0", leaders.len() as u32)];
            scene.cluster.kill(leader).unwrap();
            scene.cluster.spawn(leader).unwrap();
            scene.cluster.ready().await.unwrap();
        }
    }
    let dead = wait::until("death of the trigger", PATIENCE, || async {
        let trigger = record::get(&scene.caller, "default", "poison-0").await.map_err(|problem| problem.to_string())?;
        if trigger.state() == v1::TriggerState::DeadLettered { Ok(trigger) } else { Err(format!("{trigger:?}")) }
    })
    .await
    .unwrap();
    assert_eq!(dead.attempt, 3, "{dead:?}");
    assert!(!dead.last_error.is_empty());
    scene.verdict(&Allowed::default()).await;
}

/// An executor without a stream polls and completes by single calls, at any node.
///
/// Red when Poll hands out without a lease: the second poll would get the same triggers.
#[tokio::test]
async fn polling_and_completing_by_single_calls() {
    let scene = Scene::three().await.unwrap();
    scene.schedule("polled", 40, in_ms(0)).await;
    let mut done = std::collections::BTreeSet::new();
    let deadline = std::time::Instant::now() + PATIENCE;
    while done.len() < 40 {
        assert!(std::time::Instant::now() < deadline, "{} of 40 polled", done.len());
        for node in scene.cluster.nodes() {
            let channel = caller::channel(&node.endpoint()).unwrap();
            let request = v1::PollRequest {
                executor: "poller".into(),
                namespace: "default".into(),
                topics: vec!["polled".into()],
                max: 10,
                wait: Some(clock::duration(Duration::from_millis(200))),
            };
            let polled = caller::executor(channel.clone()).poll(request).await.unwrap().into_inner();
            let outcomes: Vec<v1::DeliveryOutcome> = (0..)
                .zip(polled.deliveries)
                .map(|(sequence, delivery)| {
                    assert!(done.insert(delivery.id.clone()), "{} was polled twice", delivery.id);
                    v1::DeliveryOutcome {
                        namespace: delivery.namespace,
                        id: delivery.id,
                        generation: delivery.generation,
                        token: delivery.token,
                        outcome: Some(v1::delivery_outcome::Outcome::Success(v1::Success::default())),
                        sequence,
                        partition: delivery.partition,
                        attempt: delivery.attempt,
                    }
                })
                .collect();
            if outcomes.is_empty() {
                continue;
            }
            let count = outcomes.len();
            let request = v1::CompleteRequest { executor: "poller".into(), outcomes };
            let answer = caller::executor(channel).complete(request).await.unwrap().into_inner();
            assert_eq!(answer.results.len(), count);
            for result in answer.results {
                assert_eq!(result.verdict(), v1::OutcomeVerdict::Accepted, "{result:?}");
            }
        }
    }
    for number in 0..40 {
        let trigger = record::get(&scene.caller, "default", &format!("polled-{number}")).await.unwrap();
        assert_eq!(trigger.state(), v1::TriggerState::Completed);
    }
}
