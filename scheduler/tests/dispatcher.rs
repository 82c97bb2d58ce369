//! The dispatcher by cases. Each test's doc names the one-line change that turns it red.

mod dispatcher_world;

use dispatcher_world::*;
use scheduler::command::TopicSettings;
use scheduler::dispatcher::{Action, Cause, Config, Located, Row, RowSource, Scanned};
use scheduler::lane::{Class, Generation, LaneId, Position};
use scheduler::store::StoreError;
use scheduler::time::{Delay, Timestamp};

/// A source that cannot read retries.
struct WithoutRetries<'a>(&'a Store);

impl RowSource for WithoutRetries<'_> {
    fn rows(
        &self,
        lane: LaneId,
        from: Position,
        to: Position,
        rows_max: usize,
        bytes_max: usize,
        rows: &mut Vec<Row>,
    ) -> Result<Scanned, StoreError> {
        if lane.class() == Class::Retry {
            return Err(StoreError("broken".into()));
        }
        self.0.rows(lane, from, to, rows_max, bytes_max, rows)
    }

    fn count(&self, _: LaneId, _: Position, _: Position, _: usize) -> Result<Option<(Position, usize)>, StoreError> {
        Ok(None)
    }

    fn locate(&self, _: &str, _: &str, _: Generation) -> Result<Option<Located>, StoreError> {
        Ok(None)
    }
}

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

/// Red when `deliver_namespace` stops at the first topic that takes nothing (`idle >= 1`).
#[test]
fn a_topic_without_executors_delays_no_other() {
    let mut w = world();
    let (dead, busy) = (w.topic("shop", "dead"), w.topic("shop", "busy"));
    let live = w.topic("shop", "live");
    for n in 0..5_000 {
        w.schedule(dead, Class::Normal, 1_500, &format!("d-{n}"), "");
        w.schedule(busy, Class::Normal, 1_500, &format!("b-{n}"), "");
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
    let cause = |topic| status.lanes.iter().find(|l| l.lane == LaneId::new(topic, Class::Normal)).unwrap().cause;
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
    let ahead = w.store.rows.range((lane, Position::MIN)..=(lane, released)).count();
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

/// Red when `deliver_topic` returns a failed read at once: what it had taken to be skipped is in nobody's hands.
#[test]
fn a_read_that_fails_loses_nothing() {
    let mut w = World::new(Config { lookahead_rows_max: 2, ..Config::default() });
    let topic = w.topic("shop", "send");
    for n in 0..6 {
        let skip = if n % 2 == 0 { Delay::from_secs(1) } else { Delay::ZERO };
        w.schedule_with(topic, Class::Normal, 2_000, &n.to_string(), "", skip, 10);
    }
    w.open("a", "shop", &["send"], 10);
    w.advance(2_000);
    w.wait(2_000);
    w.store.failures.set(1);
    let mut actions = Vec::new();
    assert!(w.d.poll(w.now, &w.store, &mut actions).is_err());
    assert_eq!(actions.len(), 1, "its share of shards, and nothing else: {actions:?}");
    // This time rows were read, and then one more read fails.
    let source = WithoutRetries(&w.store);
    assert!(w.d.poll(w.now, &source, &mut actions).is_err());
    let mut delivered = 0;
    for action in actions {
        match action {
            Action::Deliver { deliveries, .. } => delivered += deliveries.len(),
            Action::Propose { ticket, command } => w.proposals.push((ticket, command)),
            _ => {}
        }
    }
    assert_eq!((delivered, w.proposals.len()), (1, 1));
    delivered += w.settle().len();
    assert_eq!((delivered, w.store.dead.len()), (3, 3));
}
