//! Leaders that die or are stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use checkers::Options as Allowed;
use e2e::{PATIENCE, Scene, in_ms};
use futures::future::join_all;
use harness::cluster::Options;
use harness::worker::Act;
use harness::{record, wait};
use proto::v1;

/// The leader is killed in the middle of a burst: nothing is lost, nothing completes twice.
///
/// Red when completions are answered before their entry is committed, or when a new leader starts its cursors at the
/// watermark instead of the floor.
#[tokio::test]
async fn leader_killed_in_the_middle_of_a_burst() {
    let mut scene = Scene::three().await.unwrap();
    let killed = Arc::new(AtomicBool::new(false));
    // One in forty waits for the kill, so that the burst cannot be over before it.
    let act = |killed: Arc<AtomicBool>| {
        move |delivery: &v1::Delivery| {
            let waits = delivery.id.ends_with("00") || delivery.id.ends_with("40") || delivery.id.ends_with("80");
            if waits && !killed.load(Ordering::SeqCst) { Act::Hold } else { Act::Succeed }
        }
    };
    let one = scene.worker("e1", "burst", act(killed.clone())).await.unwrap();
    let two = scene.worker("e2", "burst", act(killed.clone())).await.unwrap();
    scene.schedule("burst", 4_000, in_ms(2_500)).await;
    let leader = scene.cluster.busiest_leader().await.unwrap();
    scene.until("first completions", PATIENCE, |history| history.completions.len() >= 50).await.unwrap();
    scene.cluster.kill(leader).unwrap();
    killed.store(true, Ordering::SeqCst);
    let held = scene.recorder.look(record::unfinished);
    for number in (0..4_000).step_by(20) {
        one.finish(&format!("burst-{number}"), Act::Succeed);
        two.finish(&format!("burst-{number}"), Act::Succeed);
    }
    scene.finished().await.unwrap();
    scene.cluster.spawn(leader).unwrap();
    scene.cluster.ready().await.unwrap();
    let verdict = scene.verdict(&Allowed::default()).await;
    assert!(held > 0, "the burst was over before the kill");
    assert!(verdict.checked.deliveries >= 4_000);
}

/// Nodes are killed at random, one at a time, while callers schedule, move, cancel and read; everything they were told
/// still fits.
///
/// Red when an append is acknowledged before its sync.
#[tokio::test]
async fn random_nodes_killed_under_load() {
    const KILLS: u64 = 6;
    let mut scene = Scene::three().await.unwrap();
    let _worker = scene.worker("e1", "chaos", |_| Act::Succeed).await.unwrap();
    let (caller, recorder) = (scene.cluster.caller().unwrap(), scene.recorder.clone());
    let stop = AtomicBool::new(false);
    let load = join_all((0..8u64).map(|client| {
        let session = record::Session { caller: &caller, recorder: &recorder, client };
        let stop = &stop;
        async move {
            let mut turn = 0u64;
            while !stop.load(Ordering::Relaxed) {
                let id = format!("chaos-{client}-{turn}");
                let due_ms = in_ms(i64::try_from(turn * 37 % 900).unwrap());
                if session.schedule(record::request(&id, "chaos", due_ms)).await.is_ok() {
                    match turn % 5 {
                        0 => drop(session.cancel("default", &id).await),
                        1 => drop(session.reschedule("default", &id, due_ms + 300, 0).await),
                        2 => drop(session.get("default", &id).await),
                        _ => {}
                    }
                }
                turn += 1;
            }
            turn
        }
    }));
    let kills = async {
        for kill in 0..KILLS {
            // Leaders and followers, at whatever they are doing.
            let node = 1 + (kill * 7 + 3) % 3;
            let before = recorder.look(|history| history.operations.len());
            scene.cluster.kill(node).unwrap();
            // The other two go on.
            wait::until("operations without the node", PATIENCE, || async {
                let now = recorder.look(|history| history.operations.len());
                if now > before + 60 { Ok(()) } else { Err(now) }
            })
            .await
            .unwrap();
            scene.cluster.spawn(node).unwrap();
            scene.cluster.ready().await.unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    };
    let (turns, ()) = futures::future::join(load, kills).await;
    assert!(turns.iter().sum::<u64>() > 300, "too little load: {turns:?}");
    let settled = |history: &checkers::History| {
        use checkers::history::State;
        history.final_reads.values().all(|read| read.state != State::Scheduled && read.state != State::Fired)
    };
    wait::until("end of every trigger", PATIENCE, || async {
        record::final_reads(&scene.caller, &scene.recorder).await.map_err(|problem| problem.to_string())?;
        if scene.recorder.look(settled) { Ok(()) } else { Err("not all ended".to_owned()) }
    })
    .await
    .unwrap();
    scene.verdict(&Allowed::default()).await;
}

/// An old leader that was stopped and goes on delivers nothing: others have taken over meanwhile.
///
/// Red when the dispatcher sends without asking whether its lease is still acknowledged by a majority.
#[tokio::test]
async fn old_leader_after_sigstop_delivers_nothing() {
    let mut scene = Scene::with(Options { partitions: 1, ..Options::default() }).await.unwrap();
    let _worker = scene.worker("e1", "fenced", |_| Act::Succeed).await.unwrap();
    scene.schedule("fenced", 300, in_ms(2_000)).await;
    let old = scene.cluster.busiest_leader().await.unwrap();
    let old_term = scene.cluster.status(old).await.unwrap().partitions[0].term;
    // It knows what is due, and has a stream to hand it out on.
    scene.cluster.pause(old).unwrap();
    scene.finished().await.unwrap();
    let resumed_us = harness::clock::now_us();
    scene.cluster.resume(old).unwrap();
    // It works with the others again: by then it has had its chance.
    scene.schedule("fenced-after", 1, in_ms(60_000)).await;
    let cluster = &scene.cluster;
    wait::until("old leader that follows", PATIENCE, || async move {
        let status = cluster.status(old).await.map_err(|status| status.to_string())?;
        let partition = &status.partitions[0];
        let fresh = partition.term > old_term && partition.applied_index == partition.last_log_index;
        if fresh { Ok(()) } else { Err(format!("{partition:?}")) }
    })
    .await
    .unwrap();
    scene.recorder.look(|history| {
        let stale: Vec<_> = history
            .deliveries
            .iter()
            .filter(|delivery| delivery.received_us > resumed_us && delivery.token.term <= old_term)
            .collect();
        assert!(stale.is_empty(), "the old leader delivered {stale:?}");
        assert!(history.deliveries.iter().all(|delivery| delivery.token.term > old_term), "delivered before the stop");
    });
    scene.verdict(&Allowed::default()).await;
}

/// A new leader adopts the leases executors still hold: what is being worked on is not delivered again, what was in
/// the hands of an executor that is gone is.
///
/// Red when the hello's `held` is ignored by the dispatcher.
#[tokio::test]
async fn hello_adopts_leases_no_redelivery_of_what_is_still_being_worked_on() {
    let mut scene = Scene::three().await.unwrap();
    let mine = scene.worker("e1", "slow", |_| Act::Hold).await.unwrap();
    let lost = scene.worker("e2", "slow", |_| Act::Hold).await.unwrap();
    scene.schedule("slow", 60, in_ms(300)).await;
    scene.until("delivery of everything", PATIENCE, |history| history.deliveries.len() == 60).await.unwrap();
    let held_by = |name: &str| -> Vec<String> {
        scene.recorder.look(|history| {
            let of = history.deliveries.iter().filter(|delivery| delivery.executor == name);
            of.map(|delivery| delivery.trigger.id.clone()).collect()
        })
    };
    let (kept, orphaned) = (held_by("e1"), held_by("e2"));
    assert!(!kept.is_empty() && !orphaned.is_empty(), "one executor got everything");

    let leader = scene.cluster.busiest_leader().await.unwrap();
    let ours: Vec<u32> = scene
        .cluster
        .leaders()
        .await
        .unwrap()
        .into_iter()
        .filter(|(_, node)| *node == leader)
        .map(|(partition, _)| partition)
        .collect();
    let moved = |id: &String| ours.contains(&harness::route::partition("default", id, 4));
    drop(lost);
    scene.cluster.kill(leader).unwrap();
    // Whatever the dead executor held at the dead leader comes again; by then so would the rest.
    let expected: Vec<String> = orphaned.iter().filter(|id| moved(id)).cloned().collect();
    scene
        .until("redelivery of what the dead executor held", Duration::from_secs(60), |history| {
            expected
                .iter()
                .all(|id| history.deliveries.iter().filter(|delivery| delivery.trigger.id == *id).count() == 2)
        })
        .await
        .unwrap();
    scene.recorder.look(|history| {
        for id in kept.iter().filter(|id| moved(id)) {
            let count = history.deliveries.iter().filter(|delivery| delivery.trigger.id == *id).count();
            assert_eq!(count, 1, "{id} was delivered again though it was being worked on");
        }
    });
    for id in kept.iter().chain(&orphaned) {
        mine.finish(id, Act::Succeed);
    }
    let finish = || {
        // What comes only now, after its lease at a living leader ran out, is finished as well.
        orphaned.iter().for_each(|id| mine.finish(id, Act::Succeed));
    };
    wait::until("completion of everything", Duration::from_secs(60), || async {
        finish();
        match scene.recorder.look(record::unfinished) {
            0 => Ok(()),
            left => Err(left),
        }
    })
    .await
    .unwrap();
    scene.cluster.spawn(leader).unwrap();
    scene.cluster.ready().await.unwrap();
    scene.verdict(&Allowed::default()).await;
}
