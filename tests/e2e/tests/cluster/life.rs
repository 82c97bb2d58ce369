//! Schedule, fire, deliver, complete.

use checkers::Options as Allowed;
use checkers::convert;
use checkers::history::{ReportVerdict, State};
use e2e::{PATIENCE, Scene, in_ms};
use harness::caller::{self, Caller};
use harness::record;
use harness::worker::Act;
use proto::v1;

/// Three processes: whatever is scheduled through any node fires, is delivered once, completes, and every node shows
/// the same receipt.
///
/// Red when `dispatch` starts at the wrong end of a lane (`floor` not below the first row), or when the receipt a
/// completion returns is not the one rows keep.
#[tokio::test]
async fn what_is_scheduled_anywhere_fires_and_completes_once() {
    let scene = Scene::three().await.unwrap();
    // What an executor gets is what was scheduled.
    let act = |delivery: &v1::Delivery| match delivery.payload == vec![7; 200] && delivery.labels["colour"] == "red" {
        true => Act::Succeed,
        false => Act::Fail,
    };
    let _worker = scene.worker("e1", "life", act).await.unwrap();
    let due_ms = in_ms(400);
    for (number, node) in scene.cluster.nodes().iter().cycle().take(30).enumerate() {
        let through = Caller::new(&[node.endpoint()]).unwrap();
        let session = record::Session { caller: &through, recorder: &scene.recorder, client: 1 };
        let request = v1::ScheduleRequest {
            payload: vec![7; 200].into(),
            labels: [("colour".to_owned(), "red".to_owned())].into(),
            ..record::request(format!("life-{number}"), "life", due_ms)
        };
        let answer = session.schedule(request).await.unwrap();
        let receipt = answer.receipt.unwrap();
        assert_eq!(receipt.partition, harness::route::partition("default", &answer.id, 4), "{}", answer.id);
        assert_eq!(convert::millis(answer.due.as_ref()), due_ms);
    }
    scene.finished().await.unwrap();
    let verdict = scene.verdict(&Allowed::default()).await;
    assert_eq!((verdict.checked.completions, verdict.checked.deliveries), (30, 30));

    // Whoever is asked.
    let history = scene.recorder.history();
    for (trigger, read) in &history.final_reads {
        assert_eq!(read.state, State::Completed, "{trigger}");
        for node in scene.cluster.nodes() {
            let through = Caller::new(&[node.endpoint()]).unwrap();
            let again = record::get(&through, &trigger.namespace, &trigger.id).await.unwrap();
            assert_eq!(again.receipt.as_ref().map(convert::facts), read.receipt, "{trigger} from node {}", node.id);
        }
    }
}

/// The same request again is answered like the first, also after the trigger has fired; another content is refused.
///
/// Red when the fingerprint is left out of the comparison, or made of the resolved due time instead of the request as
/// sent.
#[tokio::test]
async fn an_id_is_an_idempotency_key() {
    let scene = Scene::three().await.unwrap();
    let after = |seconds| v1::ScheduleRequest {
        when: Some(v1::When { when: Some(v1::when::When::After(prost_types::Duration { seconds, nanos: 0 })) }),
        ..record::request("again", "again", 0)
    };
    let session = scene.session(1);
    let first = session.schedule(after(1)).await.unwrap();
    let second = session.schedule(after(1)).await.unwrap();
    assert!(!first.replayed && second.replayed);
    assert_eq!((first.generation, &first.due, &first.receipt), (second.generation, &second.due, &second.receipt));
    let refused = session.schedule(after(2)).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (tonic::Code::AlreadyExists, "ALREADY_EXISTS"));

    let _worker = scene.worker("e1", "again", |_| Act::Succeed).await.unwrap();
    scene.finished().await.unwrap();
    let third = session.schedule(after(1)).await.unwrap();
    assert!(third.replayed);
    assert_eq!(third.generation, first.generation);
    scene.verdict(&Allowed::default()).await;
}

/// Due in the past fires at once, and says what was asked for.
///
/// Red when a due time behind the watermark keeps its place there: the lane's cursor has passed it.
#[tokio::test]
async fn due_in_the_past_fires_at_once() {
    let scene = Scene::three().await.unwrap();
    let _worker = scene.worker("e1", "past", |_| Act::Succeed).await.unwrap();
    // Others move the watermark on first.
    scene.schedule("past", 20, in_ms(100)).await;
    scene.finished().await.unwrap();
    let asked_ms = in_ms(-3_600_000);
    for number in 0..8 {
        let request = record::request(format!("late-{number}"), "past", asked_ms);
        scene.session(1).schedule(request).await.unwrap();
    }
    scene.finished().await.unwrap();
    // Nobody works on these, so that all of them can be read.
    for number in 0..8 {
        let id = format!("asked-{number}");
        let request = record::request(&id, "unserved", asked_ms);
        scene.session(1).schedule(request).await.unwrap();
        let trigger = record::get(&scene.caller, "default", &id).await.unwrap();
        assert_eq!(trigger.state(), v1::TriggerState::Fired);
        assert_eq!(convert::millis(trigger.requested_due.as_ref()), asked_ms);
        assert!(convert::millis(trigger.due.as_ref()) > asked_ms);
    }
    let _late = scene.worker("e2", "unserved", |_| Act::Succeed).await.unwrap();
    scene.finished().await.unwrap();
    scene.verdict(&Allowed::default()).await;
}

/// Failures: one that may be retried comes back after its back-off with the next attempt, one for good goes to the
/// dead letters, from where it can be requeued as a new generation, or dropped.
///
/// Red when requeueing keeps the generation: the old attempt's late report would complete it.
#[tokio::test]
async fn failures_are_retried_then_dead_and_can_be_requeued() {
    let scene = Scene::three().await.unwrap();
    let act = |delivery: &v1::Delivery| match (delivery.id.as_str(), delivery.attempt) {
        ("retry", 1 | 2) => Act::Retry(Some(std::time::Duration::from_millis(50))),
        ("dead" | "dropped", _) if delivery.labels.contains_key("hopeless") && delivery.attempt < 9 => Act::Fail,
        _ => Act::Succeed,
    };
    let worker = scene.worker("e1", "failing", act).await.unwrap();
    let session = scene.session(1);
    session.schedule(record::request("retry", "failing", in_ms(0))).await.unwrap();
    for id in ["dead", "dropped"] {
        let hopeless = [("hopeless".to_owned(), String::new())].into();
        let request = v1::ScheduleRequest { labels: hopeless, ..record::request(id, "failing", in_ms(0)) };
        session.schedule(request).await.unwrap();
    }
    scene
        .until("third attempt and two failures", PATIENCE, |history| {
            let accepted = |completion: &&checkers::history::Completion| completion.verdict == ReportVerdict::Accepted;
            history.completions.iter().filter(accepted).count() >= 5
        })
        .await
        .unwrap();
    let retried = record::get(&scene.caller, "default", "retry").await.unwrap();
    assert_eq!(retried.state(), v1::TriggerState::Completed);
    assert_eq!(retried.receipt.unwrap().attempt, 3);

    let listed = dead_letters(&scene).await;
    let mut ids: Vec<&str> = listed.iter().map(|trigger| trigger.id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["dead", "dropped"]);
    assert!(listed.iter().all(|trigger| trigger.last_error == "as the script says"), "{listed:?}");

    drop(worker);
    let before = record::get(&scene.caller, "default", "dead").await.unwrap().generation;
    let requeued = scene
        .caller
        .call(|channel| async move {
            let request =
                v1::RequeueDeadLetterRequest { namespace: "default".into(), id: "dead".into(), ..Default::default() };
            caller::dead_letters(channel).requeue_dead_letter(request).await
        })
        .await
        .unwrap();
    assert!(requeued.generation > before);
    scene
        .caller
        .call(|channel| async move {
            let request =
                v1::DropDeadLetterRequest { namespace: "default".into(), id: "dropped".into(), ..Default::default() };
            caller::dead_letters(channel).drop_dead_letter(request).await
        })
        .await
        .unwrap();
    let _healthy = scene.worker("e2", "failing", |_| Act::Succeed).await.unwrap();
    scene
        .until("completion of what was requeued", PATIENCE, |history| {
            history.completions.iter().any(|completion| {
                completion.generation == requeued.generation && completion.verdict == ReportVerdict::Accepted
            })
        })
        .await
        .unwrap();
    scene.verdict(&Allowed::default()).await;
}

/// All pages of the dead letters; a page may be empty and have a next one.
async fn dead_letters(scene: &Scene) -> Vec<v1::Trigger> {
    let mut all = Vec::new();
    let mut request = v1::ListDeadLettersRequest { namespace: "default".into(), ..Default::default() };
    loop {
        let page = scene
            .caller
            .call(|channel| {
                let request = request.clone();
                async move { caller::dead_letters(channel).list_dead_letters(request).await }
            })
            .await
            .unwrap();
        all.extend(page.triggers);
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}
