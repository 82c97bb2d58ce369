//! The dispatcher by cases. Each test's doc names the one-line change that turns it red.

mod dispatcher_world;

use bytes::Bytes;
use dispatcher_world::*;
use scheduler::command::{Kind, TopicSettings};
use scheduler::dispatcher::{Cause, Config, Done, Origin, SessionId, Verdict};
use scheduler::lane::{Class, LaneId};
use scheduler::time::{Delay, Timestamp};

fn world() -> World {
    World::new(Config { grace: Delay::from_millis(500), lease_slack: Delay::ZERO, ..Config::default() })
}

/// Red when `PRIORITIES` in deliver.rs lists normal before high.
#[test]
fn high_priority_scheduled_last_in_a_burst_goes_first() {
    let mut w = world();
    let topic = w.topic("shop", "send");
    for n in 0..500 {
        w.schedule(topic, Class::Normal, 2_000, &format!("n-{n}"), "");
    }
    w.schedule(topic, Class::Low, 1_500, "low", "");
    w.schedule(topic, Class::High, 2_000, "urgent", "");
    let a = w.open("a", "shop", &["send"], 10);
    w.advance(2_000);
    let first = w.poll();
    assert_eq!((first.len(), ids(&first)[0]), (10, "urgent"));
    // And again in the middle of the burst: it waits for credit, not for the burst.
    w.schedule(topic, Class::High, 2_000, "urgent-2", "");
    let delivered = of(&first, a);
    w.complete(a, &delivered[..1]);
    assert_eq!(ids(&w.poll()), ["urgent-2"]);
}

/// Red when `deliver_topic` returns `visit.max` instead of `taken`: a topic with nothing to give uses up the others' turns.
#[test]
fn a_topic_without_executors_delays_no_other() {
    let mut w = world();
    let (dead, busy) = (w.topic("shop", "dead"), w.topic("shop", "busy"));
    let live = w.topic("shop", "live");
    for n in 0..5_000 {
        w.schedule(dead, Class::High, 1_500, &format!("d-{n}"), "");
        w.schedule(busy, Class::High, 1_500, &format!("b-{n}"), "");
        w.schedule(live, Class::Normal, 2_000, &format!("l-{n:04}"), "");
    }
    let none = w.open("none", "shop", &["busy"], 0);
    let a = w.open("a", "shop", &["live"], 10_000);
    w.advance(2_000);
    let delivered = w.poll();
    assert_eq!(of(&delivered, a).len(), 5_000);
    assert_eq!(of(&delivered, none).len(), 0);
    assert!(ids(&delivered).is_sorted(), "in due order");
    let status = w.d.status();
    let cause = |topic| status.lanes.iter().find(|l| l.lane == LaneId::new(topic, Class::High)).unwrap().cause;
    assert_eq!((cause(dead), cause(busy)), (Some(Cause::NoExecutor), Some(Cause::NoCredit)));
    // When one comes, what it is given says what it had waited for.
    w.open("b", "shop", &["dead"], 1);
    assert_eq!(w.poll()[0].1.waited, Some(Cause::NoExecutor));
}

/// Red when `Turn::took` does not move on to the next place.
#[test]
fn two_namespaces_share_a_burst() {
    let mut w = world();
    let mut sessions = Vec::new();
    for (namespace, class) in [("big", Class::High), ("small", Class::Low)] {
        let topic = w.topic(namespace, "send");
        for n in 0..4_000 {
            w.schedule(topic, class, 2_000, &format!("{namespace}-{n}"), "");
        }
        sessions.push(w.open("a", namespace, &["send"], 10_000));
    }
    w.advance(2_000);
    let (delivered, more) = w.poll_once();
    assert!(more);
    for session in sessions {
        let share = of(&delivered, session).len();
        assert!((1_792..=2_304).contains(&share), "{share} of {}", delivered.len());
    }
}

/// Red when `deliver` resets each namespace's `turns`: with little credit, the first topic gets all of it.
#[test]
fn two_topics_share_the_credit_of_one_executor() {
    let mut w = world();
    for topic in ["early", "late"] {
        let due = if topic == "early" { 1_500 } else { 1_900 };
        let id = w.topic("shop", topic);
        for n in 0..2_000 {
            w.schedule(id, Class::Normal, due, &format!("{topic}-{n}"), "");
        }
    }
    let a = w.open("a", "shop", &["early", "late"], 4);
    w.advance(2_000);
    let mut late = 0;
    for _ in 0..100 {
        let delivered = of(&w.poll(), a);
        assert_eq!(delivered.len(), 4);
        late += delivered.iter().filter(|d| &*d.topic.name == "late").count();
        w.complete(a, &delivered);
        w.apply();
    }
    assert!((180..=220).contains(&late), "{late} of 400");
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
    hello.held.extend([foreign, forged, unknown]);
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

/// Red when `FULL_AFTER_MS` is a second: that much is then released though nobody asks for it.
#[test]
fn a_rate_is_kept_and_what_waits_can_still_be_cancelled() {
    let mut w = world();
    let settings = TopicSettings { rate_milli_per_second: 100_000, ..TopicSettings::default() };
    let topic = w.topic_with("shop", "send", settings);
    for n in 0..1_000 {
        w.schedule(topic, Class::Normal, 2_000, &format!("n-{n:04}"), "");
    }
    let a = w.open("a", "shop", &["send"], 10_000);
    w.advance(2_000);
    let mut delivered = w.settle();
    for _ in 0..300 {
        let wake = w.d.next_wake().unwrap();
        assert!(wake.since(w.now) <= Delay::from_millis(10), "{wake} at {}", w.now);
        w.wait(10);
        delivered.extend(w.settle());
    }
    // Three seconds, and at most a tenth of a second's worth at once.
    assert!((300..=311).contains(&delivered.len()), "{} in 3 s", delivered.len());
    assert!(ids(&delivered).is_sorted());
    assert_eq!(delivered[200].1.waited, Some(Cause::RateLimit));
    // Without an executor nothing more is released than one bucket.
    w.d.drain(a);
    for _ in 0..100 {
        w.wait(100);
        w.settle();
    }
    let lane = LaneId::new(topic, Class::Normal);
    let released = w.store.marks[&lane].released.unwrap();
    let ahead = w.store.rows.range((lane, scheduler::lane::Position::MIN)..=(lane, released)).count();
    assert!(ahead <= delivered.len() + 10, "{ahead} released for {}", delivered.len());
}

/// Red when `fired_to` does not look at `released`.
#[test]
fn a_paused_topic_delivers_what_had_fired_and_no_more() {
    let mut w = world();
    let topic = w.topic("shop", "send");
    w.schedule(topic, Class::Normal, 2_000, "before", "");
    w.schedule(topic, Class::Normal, 3_000, "after", "");
    w.open("a", "shop", &["send"], 10);
    w.advance(2_000);
    w.pause(topic, true);
    w.advance(3_000);
    assert_eq!(ids(&w.settle()), ["before"]);
    assert_eq!(w.d.status().lanes[0].cause, Some(Cause::Paused));
    w.pause(topic, false);
    let delivered = w.settle();
    assert_eq!((ids(&delivered)[0], delivered[0].1.waited), ("after", Some(Cause::Paused)));
}

/// Red when `deliver_topic` leaves `concurrency` out of `max`.
#[test]
fn no_more_of_a_topic_is_under_way_than_its_bound() {
    let mut w = world();
    let settings = TopicSettings { concurrency_max: 3, ..TopicSettings::default() };
    let topic = w.topic_with("shop", "send", settings);
    for n in 0..10 {
        w.schedule(topic, Class::Normal, 2_000, &format!("{n}"), "");
    }
    let a = w.open("a", "shop", &["send"], 10);
    let b = w.open("b", "shop", &["send"], 10);
    w.advance(2_000);
    let delivered = w.settle();
    assert!(distinct(&delivered).iter().eq(["0", "1", "2"]));
    assert_eq!(w.d.status().lanes[0].cause, Some(Cause::Concurrency));
    let session = if of(&delivered, a).is_empty() { b } else { a };
    let done = of(&delivered, session);
    w.complete(session, &done);
    assert_eq!(w.poll().len(), done.len());
}

/// Red when `deliver_topic` no longer asks `skip_when_later > Delay::ZERO`: what may be however late is skipped too.
#[test]
fn a_first_delivery_that_comes_too_late_is_skipped() {
    let mut w = world();
    let topic = w.topic("shop", "send");
    let late = w.schedule_with(topic, Class::Normal, 2_000, "late", "", Delay::from_secs(1), 10);
    w.schedule_with(topic, Class::Normal, 2_000, "patient", "", Delay::from_secs(10), 10);
    w.schedule(topic, Class::Normal, 2_000, "whenever", "");
    w.advance(2_000);
    w.wait(1_001);
    w.open("a", "shop", &["send"], 10);
    assert_eq!(ids(&w.settle()), ["patient", "whenever"]);
    assert_eq!(w.store.dead, [late]);
}

/// Red when `share` in lanes.rs does not queue the rows anew.
#[test]
fn shards_move_with_what_is_undelivered() {
    let mut w = world();
    let topic = w.topic("shop", "send");
    for n in 0..400 {
        w.schedule(topic, Class::Normal, 2_000, &format!("n-{n:03}"), &format!("user-{}", n % 40));
    }
    let sessions: Vec<_> = ["a", "b", "c"].iter().map(|name| w.open(name, "shop", &["send"], 20)).collect();
    w.advance(2_000);
    let first = w.poll();
    assert_eq!(first.len(), 60);
    w.d.drain(sessions[0]);
    let mut all = first.clone();
    let mut last = first;
    while !last.is_empty() {
        for &session in &sessions {
            w.complete(session, &of(&last, session));
        }
        last = w.settle();
        assert!(of(&last, sessions[0]).is_empty());
        all.extend(last.clone());
    }
    assert_eq!((all.len(), distinct(&all).len(), w.store.completed.len()), (400, 400, 400));
    let mut by_user = std::collections::BTreeMap::<u16, Vec<&str>>::new();
    all.iter().for_each(|(_, d)| by_user.entry(d.row.shard).or_default().push(&d.row.id));
    assert!(by_user.values().all(|ids| ids.is_sorted()), "order kept per shard, whoever has it");
    assert_eq!(w.assigned.iter().rev().take(2).map(|(_, _, owned)| owned).sum::<u32>(), 1_024);
}

/// Red when `blocked` finds nobody: the look-ahead is full of the rows of the one that hangs, for ever.
#[test]
fn an_executor_that_hangs_holds_up_the_others_for_a_second_at_most() {
    let mut w = World::new(Config { lookahead_rows_max: 64, ..Config::default() });
    let topic = w.topic("shop", "send");
    for n in 0..1_000 {
        w.schedule(topic, Class::Normal, 2_000, &format!("{n}"), "");
    }
    let hung = w.open("hung", "shop", &["send"], 1);
    let live = w.open("live", "shop", &["send"], 2_000);
    w.advance(2_000);
    let mut delivered = w.poll();
    assert!(of(&delivered, live).len() < 200, "{} before the look-ahead was full", of(&delivered, live).len());
    assert_eq!(w.d.next_wake(), Some(Timestamp::from_millis(3_000)));
    w.wait(1_000);
    delivered.extend(w.poll());
    delivered.extend(w.poll());
    assert_eq!((of(&delivered, live).len(), of(&delivered, hung).len()), (999, 1));
    // It shows life: it takes part again.
    w.complete(hung, &of(&delivered, hung));
    for n in 0..100 {
        w.schedule(topic, Class::Normal, 2_000, &format!("more-{n}"), "");
    }
    assert_eq!(of(&w.poll(), hung).len(), 1);
}

/// Red when `set_back` does nothing: a row inserted behind the cursor is forgotten.
#[test]
fn a_row_inserted_behind_what_was_read_is_delivered_once() {
    let mut w = world();
    let topic = w.topic("shop", "send");
    let early = w.schedule(topic, Class::Normal, 1_500, "early", "");
    w.schedule(topic, Class::Normal, 2_000, "x", "");
    let lane = LaneId::new(topic, Class::Normal);
    let (key, live) = w.store.rows.pop_first().unwrap();
    assert_eq!(key.1.generation, early);
    w.open("a", "shop", &["send"], 10);
    w.advance(2_000);
    assert_eq!(ids(&w.poll()), ["x"]);
    w.store.rows.insert(key, live);
    w.d.effects(w.now, &[scheduler::reply::Effect::Inserted { lane, position: key.1 }]);
    assert_eq!(ids(&w.poll()), ["early"]);
}

/// Red when `read` ignores the look-ahead bounds.
#[test]
fn a_burst_of_a_million_stays_bounded_in_memory() {
    let mut w = world();
    let topic = w.topic("shop", "send");
    for n in 0..1_000_000 {
        w.schedule(topic, Class::Normal, 2_000, &n.to_string(), "");
    }
    let sessions: Vec<_> = (0..4).map(|n| w.open(&format!("e-{n}"), "shop", &["send"], 1_000)).collect();
    w.advance(2_000);
    let mut delivered = w.poll();
    let mut done = 0;
    while !delivered.is_empty() {
        let status = w.d.status();
        let lane = &status.lanes[0];
        assert!(lane.ready <= 4_096 && status.held <= 8_000, "{} ready, {} held", lane.ready, status.held);
        for &session in &sessions {
            let delivered = of(&delivered, session);
            done += delivered.len();
            w.complete(session, &delivered);
        }
        delivered = w.poll();
        w.apply();
        delivered.extend(w.poll());
    }
    while !w.proposals.is_empty() {
        w.apply();
        w.poll();
    }
    assert_eq!((done, w.store.completed.len(), w.d.status().held), (1_000_000, 1_000_000, 0));
    assert!(w.store.reads.get() < 5_000, "{} reads", w.store.reads.get());
    let floor = w.store.marks[&LaneId::new(topic, Class::Normal)].floor;
    assert!(floor.generation.index() > 980_000, "the floor follows, now at {floor:?}");
}

/// Red when `read` does not count bytes.
#[test]
fn large_payloads_are_kept_ready_by_bytes() {
    let mut w = World::new(Config { lookahead_bytes_max: 1 << 20, ready_bytes_max: 2 << 20, ..Config::default() });
    let mut total = 0;
    for topic in 0..5 {
        let name = format!("t-{topic}");
        let id = w.topic("shop", &name);
        for n in 0..200 {
            w.schedule_with(id, Class::Normal, 2_000, &format!("{topic}-{n}"), "", Delay::ZERO, 65_536);
            total += 1;
        }
        w.open(&name, "shop", &[&name], 1);
    }
    w.advance(2_000);
    let mut delivered = w.poll();
    let mut all = 0;
    while !delivered.is_empty() {
        let bytes = w.d.status().ready_bytes;
        assert!(bytes <= (2 << 20) + 5 * 16 * 65_536, "{bytes} bytes ready");
        all += delivered.len();
        for (session, delivery) in std::mem::take(&mut delivered) {
            w.complete(session, &[delivery]);
        }
        delivered = w.settle();
    }
    assert_eq!(all, total);
}

/// Red when `report_one` does not count a plain success in `undecided`.
#[test]
fn nothing_is_delivered_while_too_much_is_undecided() {
    let mut w = World::new(Config { undecided_max: 50, ..Config::default() });
    let topic = w.topic("shop", "send");
    for n in 0..200 {
        w.schedule(topic, Class::Normal, 2_000, &n.to_string(), "");
    }
    let a = w.open("a", "shop", &["send"], 40);
    w.advance(2_000);
    let mut total = 0;
    for _ in 0..10 {
        let delivered = of(&w.poll(), a);
        total += delivered.len();
        w.complete(a, &delivered);
    }
    assert_eq!(total, 80, "the bound and what was under way when it was reached");
    assert_eq!(w.d.status().lanes[0].cause, Some(Cause::Undecided));
    w.apply();
    assert_eq!(w.poll().len(), 40);
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
