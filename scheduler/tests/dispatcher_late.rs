//! Late triggers and their causes, as a dispatcher notes them.

mod dispatcher_world;

use dispatcher_world::*;
use scheduler::command::TopicSettings;
use scheduler::dispatcher::{Config, Late, LateCause, Noted};
use scheduler::lane::Class;
use scheduler::time::{Delay, Timestamp};

fn config() -> Config {
    Config { grace: Delay::from_millis(500), lease_slack: Delay::ZERO, ..Config::default() }
}

/// The first moments of its term are over.
fn world() -> World {
    let mut world = World::new(config());
    world.advance(2_000);
    world
}

fn noted(w: &mut World) -> Noted {
    w.d.take_noted().unwrap_or_default()
}

fn seen(late: &Late) -> (&str, LateCause, &'static str, u64) {
    (&late.id, late.cause, late.detail, late.until.since(late.due).as_millis())
}

/// Turns red when `is_late` compares with `>=`, or anything is noted of what is in time.
#[test]
fn what_is_in_time_is_not_noted() {
    let mut w = world();
    let topic = w.topic("shop", "send");
    w.schedule(topic, Class::Normal, 3_000, "a", "");
    let a = w.open("a", "shop", &["send"], 10);
    w.advance(3_000);
    w.wait(1_000);
    let delivered = w.settle();
    w.complete(a, &of(&delivered, a));
    w.settle();
    assert_eq!(w.d.take_noted(), None);
}

/// Turns red when `newly_due` no longer notes that there is nobody, when a delivery forgets to look at the bound, or when what was
/// handed out late is noted again for being completed late.
#[test]
fn nobody_there_nobody_free_and_not_its_turn() {
    let mut w = world();
    let topic = w.topic("shop", "send");
    for id in ["a", "b"] {
        w.schedule(topic, Class::Normal, 3_000, id, "");
    }
    w.advance(3_000);
    w.settle();
    w.wait(1_500);
    let one = w.open("one", "shop", &["send"], 1);
    let first = w.settle();
    w.wait(1_500);
    w.complete(one, &of(&first, one));
    let second = w.settle();
    w.advance(9_000);
    w.complete(one, &of(&second, one));
    w.settle();
    let noted = noted(&mut w);
    let late: Vec<_> = noted.late.iter().map(seen).collect();
    let expected = [("a", LateCause::NoCredit, "no executor", 1_500), ("b", LateCause::NoCredit, "busy", 3_000)];
    assert_eq!(late, expected);
    assert_eq!((noted.late_counts, &*noted.late[0].topic.name), ([0, 0, 0, 0, 2, 0], "send"));
    assert_eq!(w.d.take_noted(), None, "told once");
}

/// Turns red when the term does not say when it began.
#[test]
fn due_while_nobody_led() {
    let mut w = world();
    let topic = w.topic("shop", "send");
    w.schedule(topic, Class::Normal, 3_000, "a", "");
    w.wait(3_000);
    w.new_term();
    w.open("a", "shop", &["send"], 10);
    w.advance(5_010);
    w.settle();
    let noted = noted(&mut w);
    assert_eq!(noted.late.iter().map(seen).collect::<Vec<_>>(), [("a", LateCause::NoLeader, "no leader", 2_010)]);
}

/// Turns red when `entry_decided` is not asked when an entry was known.
#[test]
fn decided_long_after_it_was_stamped() {
    let mut w = world();
    let topic = w.topic("shop", "send");
    w.schedule(topic, Class::Normal, 3_000, "a", "");
    w.open("a", "shop", &["send"], 10);
    w.advance(3_000);
    w.wait(1_200);
    w.d.entry_decided(w.now, w.store.index, Timestamp::from_millis(3_000));
    w.wait(100);
    w.settle();
    let noted = noted(&mut w);
    assert_eq!(noted.late.iter().map(seen).collect::<Vec<_>>(), [("a", LateCause::Consensus, "decided late", 1_300)]);
}

/// Turns red when a lane forgets what it was behind for once it goes on.
#[test]
fn held_back_by_its_topic() {
    let mut w = world();
    let paused = w.topic("shop", "paused");
    let full =
        w.topic_with("shop", "full", TopicSettings { concurrency_max: 1, lease_ms: 30_000, ..Default::default() });
    w.schedule(paused, Class::Normal, 3_000, "p", "");
    w.schedule(full, Class::Normal, 3_000, "f-1", "");
    w.schedule(full, Class::Normal, 3_000, "f-2", "");
    let a = w.open("a", "shop", &["paused", "full"], 10);
    w.pause(paused, true);
    w.advance(3_000);
    let first = w.settle();
    assert_eq!(ids(&first), ["f-1"]);
    w.advance(6_000);
    w.complete(a, &of(&first, a));
    w.pause(paused, false);
    w.settle();
    let noted = noted(&mut w);
    let mut late: Vec<_> = noted.late.iter().map(seen).collect();
    late.sort_unstable();
    let expected = [
        ("f-1", LateCause::Executor, "slow", 3_000),
        ("f-2", LateCause::RateLimit, "concurrency", 3_000),
        ("p", LateCause::RateLimit, "paused", 3_000),
    ];
    assert_eq!(late, expected);
}

/// Turns red when a rate's lane is not asked what it was behind for.
#[test]
fn at_its_rate() {
    let mut w = world();
    let settings = TopicSettings { rate_milli_per_second: 500, lease_ms: 30_000, ..TopicSettings::default() };
    let topic = w.topic_with("shop", "slow", settings);
    w.open("a", "shop", &["slow"], 10);
    for id in ["a", "b"] {
        w.schedule(topic, Class::Normal, 3_000, id, "");
    }
    w.advance(3_000);
    assert_eq!(ids(&w.settle()), ["a"]);
    w.advance(5_100);
    assert_eq!(ids(&w.settle()), ["b"]);
    let noted = noted(&mut w);
    assert_eq!(noted.late.iter().map(seen).collect::<Vec<_>>(), [("b", LateCause::RateLimit, "rate", 2_100)]);
}

/// Turns red when a retry forgets that a lease had run out, or a completion is compared with when it was to be tried again.
#[test]
fn completed_late_though_handed_out_in_time() {
    let mut w = world();
    let topic = w.topic_with("shop", "send", TopicSettings { lease_ms: 1_000, ..TopicSettings::default() });
    for id in ["expired", "failed", "slow"] {
        w.schedule(topic, Class::Normal, 3_000, id, "");
    }
    let a = w.open("a", "shop", &["send"], 10);
    w.advance(3_000);
    let first = of(&w.settle(), a);
    let of_id = |id: &str| first.iter().filter(|delivery| *delivery.row.id == *id).cloned().collect::<Vec<_>>();
    w.report(a, &of_id("failed"), retry());
    w.settle();
    w.d.extend(w.now, of_id("slow").iter().map(held).collect());
    w.advance(3_900);
    w.d.extend(w.now, of_id("slow").iter().map(held).collect());
    let again = of(&w.settle(), a);
    assert_eq!(again.iter().map(|delivery| &*delivery.row.id).collect::<Vec<_>>(), ["failed"]);
    w.advance(4_800);
    w.settle();
    w.complete(a, &of_id("slow"));
    w.complete(a, &again);
    w.settle();
    w.advance(4_901);
    let last = of(&w.settle(), a);
    w.complete(a, &last);
    w.settle();
    let noted = noted(&mut w);
    let mut late: Vec<_> = noted.late.iter().map(seen).collect();
    late.sort_unstable();
    let expected = [
        ("expired", LateCause::Executor, "lease expired", 1_901),
        ("failed", LateCause::Executor, "retried", 1_800),
        ("slow", LateCause::Executor, "slow", 1_800),
    ];
    assert_eq!((late, noted.leases_expired), (expected.to_vec(), 1));
}

/// Turns red when `late_except` is not looked at.
#[test]
fn a_namespace_can_be_left_out() {
    let mut w = World::new(Config { late_except: Some("own".into()), ..config() });
    w.advance(2_000);
    for namespace in ["own", "shop"] {
        let topic = w.topic(namespace, "send");
        w.schedule(topic, Class::Normal, 3_000, namespace, "");
    }
    w.advance(3_000);
    w.wait(2_000);
    for namespace in ["own", "shop"] {
        w.open("a", namespace, &["send"], 10);
    }
    w.settle();
    assert_eq!(noted(&mut w).late.iter().map(|late| &*late.id).collect::<Vec<_>>(), ["shop"]);
}

/// A hundred thousand due at one moment and delivered in time leave nothing to be told.
///
/// Turns red when anything is remembered per trigger beside what is held anyway.
#[test]
fn a_burst_in_time_costs_no_memory() {
    let mut w = world();
    let topic = w.topic("shop", "send");
    for number in 0..20_000 {
        w.schedule(topic, Class::Normal, 3_000, &number.to_string(), "");
    }
    let a = w.open("a", "shop", &["send"], 65_536);
    w.advance(3_000);
    let delivered = of(&w.settle(), a);
    w.complete(a, &delivered);
    w.settle();
    assert_eq!((delivered.len(), w.d.take_noted()), (20_000, None));
}
