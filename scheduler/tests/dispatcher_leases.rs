//! The dispatcher's leases and outcomes by cases. Each test's doc names the one-line change that turns it red.

mod dispatcher_world;

use bytes::Bytes;
use dispatcher_world::*;
use scheduler::command::Kind;
use scheduler::dispatcher::{Config, Done, Origin, SessionId, Verdict};
use scheduler::lane::{Class, LaneId};
use scheduler::time::{Delay, Timestamp};

fn world() -> World {
    World::new(Config { grace: Delay::from_millis(500), lease_slack: Delay::ZERO, ..Config::default() })
}

/// Red when `adopt` does not `hold` the position: the row is read and handed out again.
#[test]
fn hello_adopts_leases_no_redelivery_of_what_is_still_being_worked_on() {
    let mut w = world();
    let topic = w.topic("shop", "send");
    for n in 0..20 {
        w.schedule(topic, Class::Normal, 2_000, &format!("n-{n:02}"), "");
    }
    w.open("a", "shop", &["send"], 8);
    w.advance(2_000);
    let working: Vec<_> = w.poll().into_iter().map(|(_, delivery)| delivery).collect();
    assert_eq!(working.len(), 8);

    w.new_term();
    w.wait(10);
    let mut hello = w.hello("a", "shop", &["send"], 12);
    hello.held = working[..6].iter().map(held).collect();
    // Of another tenant, made up, or of a cluster that was restored: not its own.
    let mut foreign = held(&working[6]);
    foreign.namespace = "other".into();
    let mut forged = held(&working[6]);
    forged.token.epoch += 1;
    let mut unknown = held(&working[6]);
    unknown.id = "nothing".into();
    // The last is listed twice, and held once.
    hello.held.extend([foreign, forged, unknown, held(&working[5])]);
    let welcome = w.open_with(hello);
    assert_eq!(welcome.adopted, working[..6].iter().map(held).collect::<Vec<_>>());
    let a = welcome.session;
    // Within the grace nothing that the old leader may have delivered.
    assert_eq!(ids(&w.settle()), [""; 0]);
    w.wait(489);
    assert_eq!(ids(&w.settle()), [""; 0]);
    assert_eq!(w.d.next_wake(), Some(Timestamp::from_millis(2_500)));
    // After it the rest, within the credit that the adopted leave.
    w.wait(1);
    let rest = w.settle();
    assert_eq!(ids(&rest), ["n-06", "n-07", "n-08", "n-09", "n-10", "n-11"]);
    assert!(rest.iter().all(|(_, d)| d.token.term == 2 && d.row.attempt == 1));
    // What was adopted is done under the old token, and counts.
    w.complete(a, &working[..6]);
    let done = w.settle();
    assert_eq!(ids(&done), ["n-12", "n-13", "n-14", "n-15", "n-16", "n-17"]);
    assert!(w.results.iter().all(|(_, r)| r.verdict == Verdict::Accepted), "{:?}", w.results);
    assert_eq!(w.store.completed.len(), 6);
}

/// Red when `push_head` asks the grace of every row instead of those fired before `first_index`.
#[test]
fn what_fires_in_the_term_itself_waits_for_no_grace() {
    let mut w = world();
    let (old, new) = (w.topic("shop", "old"), w.topic("shop", "new"));
    w.schedule(old, Class::Normal, 2_000, "old", "");
    w.schedule(new, Class::Normal, 3_000, "new", "");
    w.advance(2_000);
    w.new_term();
    w.open("a", "shop", &["old", "new"], 10);
    w.advance(3_000);
    w.now = Timestamp::from_millis(2_100);
    assert_eq!(ids(&w.poll()), ["new"]);
    w.wait(400);
    assert_eq!(ids(&w.poll()), ["old"]);
}

/// Red when `give_up` reports attempt 1 instead of the attempt of the lease, or `expire` only takes the row back.
#[test]
fn a_trigger_whose_executor_dies_every_time_reaches_the_dead_letters() {
    let mut w = world();
    let topic = w.topic("shop", "send");
    let poison = w.schedule(topic, Class::Normal, 2_000, "poison", "");
    w.advance(2_000);
    let mut attempts = Vec::new();
    // First the executor is killed and its lease runs out.
    let a = w.open("a-1", "shop", &["send"], 10);
    attempts.extend(w.settle().iter().map(|(_, d)| d.row.attempt));
    w.d.close(a);
    w.open("a-2", "shop", &["send"], 10);
    assert!(w.settle().is_empty(), "the lease runs on: the executor may only have lost its stream");
    w.wait(29_999);
    assert!(w.settle().is_empty());
    assert_eq!(w.d.next_wake(), Some(Timestamp::from_millis(32_000)));
    w.wait(1);
    w.settle();
    w.advance(33_000);
    let second = w.settle();
    attempts.extend(second.iter().map(|(_, d)| d.row.attempt));
    // Then the leader goes too, and the executor comes back without it: the new leader delivers the same attempt.
    w.new_term();
    w.open("a-2", "shop", &["send"], 10);
    w.wait(500);
    let again = w.settle();
    assert_eq!(again.iter().map(|(_, d)| d.row.attempt).collect::<Vec<_>>(), [2]);
    // Then it dies and starts again at once: it says that it holds nothing, which ends the lease.
    w.open("a-2", "shop", &["send"], 10);
    w.settle();
    w.advance(34_000);
    attempts.extend(w.settle().iter().map(|(_, d)| d.row.attempt));
    w.open("a-2", "shop", &["send"], 10);
    w.settle();
    w.advance(35_000);
    assert!(w.settle().is_empty());
    assert_eq!(attempts, [1, 2, 3]);
    assert_eq!(w.store.dead, [poison]);
}

/// Red when `report_one` proposes a failure under an older token instead of answering it.
#[test]
fn a_late_failure_beside_a_newer_attempt_changes_nothing() {
    let mut w = world();
    let topic = w.topic("shop", "send");
    w.schedule(topic, Class::Normal, 2_000, "x", "");
    let a = w.open("a", "shop", &["send"], 10);
    w.advance(2_000);
    let first = of(&w.settle(), a);
    w.wait(30_000);
    w.settle();
    w.advance(40_000);
    let second = of(&w.settle(), a);
    assert_eq!((second.len(), second[0].row.attempt), (1, 2));
    assert!(second[0].token > first[0].token);
    w.report(a, &first, retry());
    assert_eq!(w.poll().len(), 0);
    assert_eq!(w.proposals, []);
    assert_eq!(w.results.pop().unwrap().1.verdict, Verdict::Superseded);
    // A late success is a success: the work is done, whoever did it.
    w.report(a, &first, success());
    w.settle();
    let (_, result) = w.results.pop().unwrap();
    assert_eq!((result.verdict, w.store.completed.len()), (Verdict::Accepted, 1));
    w.report(a, &second, success());
    w.settle();
    assert_eq!(w.results.pop().unwrap().1.verdict, Verdict::AlreadyDecided);
    assert_eq!(w.d.status().held, 0);
}

/// Red when `merge` proposes while a run of the lane is undecided: then every poll makes a run.
#[test]
fn successes_are_merged_while_a_run_is_undecided() {
    let mut w = world();
    let topic = w.topic("shop", "send");
    for n in 0..100 {
        w.schedule(topic, Class::Normal, 2_000, &format!("{n}"), "");
    }
    let a = w.open("a", "shop", &["send"], 100);
    w.advance(2_000);
    let delivered = of(&w.poll(), a);
    let mut runs = Vec::new();
    for delivery in delivered.iter().rev() {
        w.report(a, std::slice::from_ref(delivery), success());
        w.poll();
        if w.proposals.len() == 1 && runs.is_empty() {
            runs.push(w.proposals.clone());
        }
    }
    assert_eq!(w.proposals.len(), 1);
    assert!(w.results.is_empty(), "nothing is said before it is durable");
    w.apply();
    w.poll();
    assert_eq!(w.proposals.len(), 1);
    assert!(matches!(&w.proposals[0].1, Kind::CompleteRun(run) if run.due_deltas.len() == 99));
    w.settle();
    assert_eq!(w.store.completed.len(), 100);
    assert_eq!(w.results.len(), 100);
    for (to, result) in &w.results {
        let receipt = result.receipt.as_ref().unwrap();
        assert_eq!((*to, &result.verdict, &*receipt.executor), (Origin::Session(a), &Verdict::Accepted, "by-1"));
        assert_eq!(receipt.token.unwrap().counter, result.sequence);
    }
}

/// Red when `report_one` treats a success with a business command as plain.
#[test]
fn a_success_with_a_business_command_is_a_command_of_its_own() {
    let mut w = world();
    let topic = w.topic("shop", "send");
    w.schedule(topic, Class::Normal, 2_000, "x", "");
    let a = w.open("a", "shop", &["send"], 1);
    w.advance(2_000);
    let delivered = of(&w.poll(), a);
    let business = Bytes::from_static(b"paid");
    w.report(a, &delivered, Done::Success { business: business.clone() });
    w.poll();
    assert!(matches!(&w.proposals[0].1, Kind::Complete(complete) if complete.business == business));
}

/// Red when `again` drops what could not be proposed, or `merge` does not wait.
#[test]
fn what_could_not_be_proposed_is_proposed_again_after_a_while() {
    let mut w = world();
    let topic = w.topic("shop", "send");
    w.schedule(topic, Class::Normal, 2_000, "x", "");
    w.schedule(topic, Class::Normal, 2_000, "y", "");
    let a = w.open("a", "shop", &["send"], 2);
    w.advance(2_000);
    let delivered = of(&w.poll(), a);
    w.report(a, &delivered[..1], success());
    w.report(a, &delivered[1..], retry());
    w.poll();
    assert_eq!(w.proposals.len(), 2);
    w.refuse();
    w.poll();
    assert_eq!(w.proposals, []);
    assert_eq!(w.d.next_wake(), Some(Timestamp::from_millis(2_100)));
    w.wait(100);
    w.settle();
    assert_eq!(w.results.len(), 2);
    assert!(w.results.iter().all(|(_, result)| result.verdict == Verdict::Accepted));
}

/// Red when `extend` renews whatever the token: the old delivery then keeps the new one alive.
#[test]
fn leases_are_extended_by_their_token() {
    let mut w = world();
    let topic = w.topic("shop", "send");
    w.schedule(topic, Class::Normal, 2_000, "x", "");
    let a = w.open("a", "shop", &["send"], 10);
    w.advance(2_000);
    let first = of(&w.settle(), a);
    w.wait(20_000);
    let leases = vec![held(&first[0])];
    assert_eq!(w.d.extend(w.now, leases.clone()).extended, leases);
    w.wait(29_999);
    assert!(w.settle().is_empty() && w.store.rows.values().all(|live| live.attempt == 0));
    w.wait(1);
    w.settle();
    w.advance(60_000);
    assert_eq!(of(&w.settle(), a)[0].row.attempt, 2);
    assert_eq!(w.d.extend(w.now, leases.clone()).lost, leases);
}

/// Red when `open` does not look for a stream of the same name.
#[test]
fn a_stream_replaces_an_older_one_of_the_same_executor() {
    let mut w = world();
    let topic = w.topic("shop", "send");
    for n in 0..4 {
        w.schedule(topic, Class::Normal, 2_000, &format!("{n}"), "");
    }
    let old = w.open("a", "shop", &["send"], 2);
    w.advance(2_000);
    let working = of(&w.settle(), old);
    let mut hello = w.hello("a", "shop", &["send"], 3);
    hello.held = working.iter().map(held).collect();
    let welcome = w.open_with(hello);
    assert_eq!((welcome.replaced, welcome.adopted.len()), (Some(old), 2));
    assert_eq!(ids(&w.settle()), ["2"]);
    w.complete(welcome.session, &working);
    w.settle();
    assert_eq!(w.store.completed.len(), 2);
}

/// Red when `close` gives leases up: a poll's work outlives it.
#[test]
fn polls_hand_out_work_that_is_reported_by_calls() {
    let mut w = world();
    let topic = w.topic("shop", "send");
    for n in 0..4 {
        w.schedule(topic, Class::Normal, 2_000, &format!("{n}"), "");
    }
    w.advance(2_000);
    let mut got = Vec::new();
    for _ in 0..2 {
        let mut hello = w.hello("a", "shop", &["send"], 2);
        hello.poll = true;
        let session = w.open_with(hello).session;
        got.extend(w.settle());
        w.d.close(session);
    }
    assert_eq!(ids(&got), ["0", "1", "2", "3"]);
    w.settle();
    assert!(w.store.rows.values().all(|live| live.attempt == 0), "no attempt is over");
    let outcomes = got.iter().map(|(_, delivery)| outcome(delivery, success())).collect();
    w.d.report(w.now, Origin::Call(9), &"a".into(), outcomes);
    w.settle();
    let to: Vec<_> = w.results.iter().map(|(to, result)| (*to, result.verdict.clone())).collect();
    assert_eq!(to, vec![(Origin::Call(9), Verdict::Accepted); 4]);
}

/// Red when `ended_before` forgets rows that are ready: apply would be asked to drop a row nobody did.
#[test]
fn the_floor_stops_at_what_is_not_done() {
    let mut w = world();
    let topic = w.topic("shop", "send");
    let generations: Vec<_> = (0..10).map(|n| w.schedule(topic, Class::Normal, 2_000, &format!("{n}"), "")).collect();
    let a = w.open("a", "shop", &["send"], 5);
    w.advance(2_000);
    let delivered = of(&w.settle(), a);
    let floor = |w: &mut World| {
        w.d.raise_floors();
        w.settle();
        w.store.marks[&LaneId::new(topic, Class::Normal)].floor.generation
    };
    w.report(a, &delivered[1..], success());
    w.settle();
    assert_eq!(floor(&mut w), generations[0]);
    w.report(a, &delivered[..1], success());
    w.settle();
    assert_eq!(floor(&mut w), generations[5]);
}

/// Reports about what never was, or is another's, change nothing and panic nowhere.
/// Red when `report_one` trusts the generation alone.
#[test]
fn made_up_reports_are_answered_by_the_log() {
    let mut w = world();
    let topic = w.topic("shop", "send");
    w.schedule(topic, Class::Normal, 2_000, "x", "");
    let a = w.open("a", "shop", &["send"], 1);
    w.advance(2_000);
    let delivered = of(&w.settle(), a);
    let mut other = outcome(&delivered[0], success());
    other.lease.id = "y".into();
    let mut tenant = outcome(&delivered[0], success());
    tenant.lease.namespace = "other".into();
    w.d.report(w.now, Origin::Session(a), &"a".into(), vec![other, tenant]);
    w.settle();
    assert!(w.results.iter().all(|(_, result)| result.verdict == Verdict::NotFound), "{:?}", w.results);
    assert_eq!((w.results.len(), w.d.status().held, w.store.completed.len()), (2, 1, 0));
    w.d.credit(w.now, SessionId(99), 5);
    w.d.close(SessionId(99));
    w.d.drain(SessionId(99));
}

/// Red when `decided` looks at the row again instead of resuming: the same success is then refused without end.
#[test]
fn a_success_whose_business_command_is_refused_stays_with_its_executor() {
    let mut w = world();
    let topic = w.topic("shop", "send");
    w.schedule(topic, Class::Normal, 2_000, "x", "");
    let a = w.open("a", "shop", &["send"], 2);
    w.advance(2_000);
    let delivered = of(&w.settle(), a);
    w.wait(10_000);
    w.report(a, &delivered, Done::Success { business: Bytes::from_static(REFUSED) });
    assert!(w.settle().is_empty());
    assert!(matches!(w.results.pop().unwrap().1.verdict, Verdict::Refused(_)));
    let session = w.d.status().sessions.remove(0);
    assert_eq!((session.in_flight, w.d.next_wake()), (1, Some(Timestamp::from_millis(42_000))));
    w.report(a, &delivered, Done::Fail { error: "no such order".into() });
    w.settle();
    assert_eq!((w.results.pop().unwrap().1.verdict, w.store.dead.len()), (Verdict::Accepted, 1));
    assert_eq!(w.d.status().sessions.remove(0).in_flight, 0);
}

/// Red when `look_again` does not set the cursor back.
#[test]
fn what_the_log_left_alive_is_delivered_again() {
    let mut w = world();
    let topic = w.topic("shop", "send");
    w.schedule(topic, Class::Normal, 2_000, "x", "");
    w.schedule(topic, Class::Normal, 2_000, "y", "");
    let a = w.open("a", "shop", &["send"], 10);
    w.advance(2_000);
    let first = of(&w.settle(), a);
    let error = String::from_utf8(REFUSED.to_vec()).unwrap();
    w.report(a, &first[..1], Done::Retry { error, after: Delay::ZERO });
    let again = of(&w.settle(), a);
    assert_eq!((again.len(), &*again[0].row.id, again[0].row.attempt), (1, "x", 1));
    assert!(again[0].token > first[1].token);
}
