//! Paused topics, and topics nobody works on.

use checkers::Options as Allowed;
use e2e::{Scene, in_ms};
use harness::worker::Act;
use harness::{caller, record};
use proto::v1;

async fn pause(scene: &Scene, topic: &str) -> v1::Topic {
    let request = v1::PauseTopicRequest { namespace: "default".into(), name: topic.into() };
    let answer = scene
        .caller
        .call(|channel| {
            let request = request.clone();
            async move { caller::topics(channel).pause_topic(request).await }
        })
        .await
        .unwrap();
    answer.topic.unwrap()
}

async fn resume(scene: &Scene, topic: &str) -> v1::Topic {
    let request = v1::ResumeTopicRequest { namespace: "default".into(), name: topic.into() };
    let answer = scene
        .caller
        .call(|channel| {
            let request = request.clone();
            async move { caller::topics(channel).resume_topic(request).await }
        })
        .await
        .unwrap();
    answer.topic.unwrap()
}

/// Paused topic: what falls due stays SCHEDULED and can be cancelled; the rest fires when the topic is resumed.
///
/// Red when `released` is not consulted by cancel (fired would mean `due <= watermark` alone), or by the dispatcher.
#[tokio::test]
async fn paused_topic_due_triggers_can_still_be_cancelled() {
    let scene = Scene::three().await.unwrap();
    let _worker = scene.worker("e1", "held", |_| Act::Succeed).await.unwrap();
    let _other = scene.worker("e2", "free", |_| Act::Succeed).await.unwrap();
    // The topic exists once something was scheduled.
    scene.schedule("held", 20, in_ms(800)).await;
    assert!(pause(&scene, "held").await.paused);
    // Later due, same partitions: when these are done, the held ones would have been.
    scene.schedule("free", 20, in_ms(1_000)).await;
    scene
        .until("completion of the other topic", e2e::PATIENCE, |history| {
            history.completions.iter().filter(|one| one.trigger.id.starts_with("free-")).count() == 20
        })
        .await
        .unwrap();
    assert_eq!(
        scene.recorder.look(|history| history
            .deliveries
            .iter()
            .filter(|one| one.trigger.id.starts_with("held-"))
            .count()),
        0
    );
    for number in 0..10 {
        let id = format!("held-{number}");
        assert_eq!(scene.session(1).get("default", &id).await.unwrap().state(), v1::TriggerState::Scheduled);
        scene.session(1).cancel("default", &id).await.unwrap();
    }
    assert!(!resume(&scene, "held").await.paused);
    scene
        .until("completion of the rest", e2e::PATIENCE, |history| {
            history.completions.iter().filter(|one| one.trigger.id.starts_with("held-")).count() == 10
        })
        .await
        .unwrap();
    scene.verdict(&Allowed::default()).await;
}

/// A topic without executors delays no other.
///
/// Red when the dispatcher takes lanes in due order without looking for credit.
#[tokio::test]
async fn a_topic_without_executors_delays_no_other() {
    let scene = Scene::three().await.unwrap();
    let _worker = scene.worker("e1", "served", |_| Act::Succeed).await.unwrap();
    scene.schedule("nobody", 200, in_ms(300)).await;
    scene.schedule("served", 50, in_ms(400)).await;
    scene
        .until("completion of the served topic", e2e::PATIENCE, |history| history.completions.len() == 50)
        .await
        .unwrap();
    let waiting = record::get(&scene.caller, "default", "nobody-0").await.unwrap();
    assert_eq!((waiting.state(), waiting.delivered), (v1::TriggerState::Fired, false));
    // And is served as soon as somebody comes.
    let _late = scene.worker("e2", "nobody", |_| Act::Succeed).await.unwrap();
    scene.finished().await.unwrap();
    scene.verdict(&Allowed::default()).await;
}
