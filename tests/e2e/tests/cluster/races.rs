//! Callers racing with each other and with the firing.

use std::time::Duration;

use checkers::Options as Allowed;
use checkers::history::State;
use e2e::{PATIENCE, Scene, in_ms};
use futures::future::join_all;
use harness::worker::Act;
use harness::{record, wait};

/// Cancel, reschedule and get race with each other and with the due time; what every caller was told fits one order
/// per trigger, and nothing is both cancelled and delivered.
///
/// Red when cancel looks at the clock of the node instead of the watermark of its entry, or reads outside the overlay.
#[tokio::test]
async fn cancel_and_reschedule_race_with_the_due_time() {
    let scene = Scene::three().await.unwrap();
    let _worker = scene.worker("e1", "race", |_| Act::Succeed).await.unwrap();
    let scene = &scene;
    let one = |number: u64| async move {
        let id = format!("race-{number}");
        let due_ms = in_ms(500 + i64::try_from(number % 7).unwrap());
        let session = scene.session(number * 4);
        session.schedule(record::request(&id, "race", due_ms)).await.unwrap();
        let rush = |client: u64| {
            let id = id.clone();
            async move {
                let session = scene.session(number * 4 + client);
                // Around the due time, some before, some after, in every order.
                let offset_ms = i64::try_from((number * 7 + client * 13) % 40).unwrap() - 25;
                let left_ms = due_ms + offset_ms - in_ms(0);
                tokio::time::sleep(Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))).await;
                match client {
                    1 => drop(session.cancel("default", &id).await),
                    2 => drop(session.reschedule("default", &id, due_ms + 20, 0).await),
                    _ => drop(session.get("default", &id).await),
                }
                drop(session.get("default", &id).await);
            }
        };
        join_all((1..4).map(rush)).await;
    };
    join_all((0..120).map(one)).await;
    let settled = |history: &checkers::History| {
        history.final_reads.len() == 120
            && history.final_reads.values().all(|read| read.state != State::Scheduled && read.state != State::Fired)
    };
    wait::until("end of every trigger", PATIENCE, || async {
        record::final_reads(&scene.caller, &scene.recorder).await.map_err(|problem| problem.to_string())?;
        if scene.recorder.look(settled) { Ok(()) } else { Err("not all ended".to_owned()) }
    })
    .await
    .unwrap();
    let verdict = scene.verdict(&Allowed::default()).await;
    assert_eq!(verdict.checked.searched, 120);
    // A race that only one side ever wins is none.
    let count =
        |state| scene.recorder.look(|history| history.final_reads.values().filter(|read| read.state == state).count());
    assert!(count(State::Cancelled) > 0 && count(State::Completed) > 0, "all races went one way");
}
