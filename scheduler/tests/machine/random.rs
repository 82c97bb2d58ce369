//! Random commands against the model, and the same log on replicas that batch, crash and compact differently.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use scheduler::command::*;
use scheduler::lane::{Class, Generation, LaneId, Position, TopicId};
use scheduler::memory::MemoryStore;
use scheduler::overlay::Overlay;
use scheduler::read::{self, ListQuery};
use scheduler::reply::{Effect, Outcome, Reply};
use scheduler::retention;
use scheduler::time::{Delay, Timestamp};
use scheduler::verify;

use crate::harness::{NAMESPACE, Replica, cancel, complete, entry, retry, run, schedule, token};
use crate::model::{Model, State, plain};

/// A command before its numbers are looked up: what is picked depends on what is there by then.
#[derive(Clone, Debug)]
enum Op {
    Schedule { id: u8, topic: u8, class: u32, when: When, fingerprint: u64, skip: bool },
    Cancel(u8, bool),
    Reschedule(u8, When),
    RunNow(u8),
    Complete(u8, u32, bool),
    Retry(u8, u32),
    Fail(u8, u32),
    SkipLate(u8),
    Run { topic: u8, class: u32, pick: u64 },
    Floor { topic: u8, class: u8, pick: u64 },
    Release { topic: u8, class: u8, pick: u64 },
    SetTopic { topic: u8, paused: bool, rate: bool, long: bool, version: u64 },
    Requeue(u8),
    Drop(u8),
}

fn when() -> impl Strategy<Value = When> {
    prop_oneof![
        (0u64..200_000).prop_map(When::At),
        (0u64..3).prop_map(When::After),
        (0u64..20_000).prop_map(When::After),
        Just(When::After(70_000)),
        Just(When::After(u64::MAX)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let id = || 0u8..7;
    let topic = || 0u8..2;
    prop_oneof![
        8 => (id(), topic(), 0u32..3, when(), 1u64..3, any::<bool>()).prop_map(|(id, topic, class, when, fingerprint, skip)| Op::Schedule { id, topic, class, when, fingerprint, skip }),
        3 => (id(), any::<bool>()).prop_map(|(id, expect)| Op::Cancel(id, expect)),
        3 => (id(), when()).prop_map(|(id, when)| Op::Reschedule(id, when)),
        1 => id().prop_map(Op::RunNow),
        2 => (id(), 1u32..3, any::<bool>()).prop_map(|(id, attempt, stale)| Op::Complete(id, attempt, stale)),
        3 => (id(), 1u32..4).prop_map(|(id, attempt)| Op::Retry(id, attempt)),
        1 => (id(), 1u32..3).prop_map(|(id, attempt)| Op::Fail(id, attempt)),
        1 => id().prop_map(Op::SkipLate),
        6 => (topic(), 0u32..4, any::<u64>()).prop_map(|(topic, class, pick)| Op::Run { topic, class, pick }),
        4 => (topic(), 0u8..5, any::<u64>()).prop_map(|(topic, class, pick)| Op::Floor { topic, class, pick }),
        2 => (topic(), 0u8..5, any::<u64>()).prop_map(|(topic, class, pick)| Op::Release { topic, class, pick }),
        2 => (topic(), any::<bool>(), any::<bool>(), any::<bool>(), 0u64..3).prop_map(|(topic, paused, rate, long, version)| Op::SetTopic { topic, paused, rate, long, version }),
        1 => id().prop_map(Op::Requeue),
        1 => id().prop_map(Op::Drop),
    ]
}

fn log() -> impl Strategy<Value = Vec<(u64, Vec<Op>)>> {
    let step = prop_oneof![Just(0u64), Just(1), 0u64..2_000, 0u64..9_000, Just(61_000)];
    proptest::collection::vec((step, proptest::collection::vec(op(), 0..6)), 1..40)
}

fn name(topic: u8) -> String {
    format!("topic-{topic}")
}

/// More cases than the default; `PROPTEST_CASES` can ask for more still.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases.max(400), ..config }
}

/// Looks the numbers of a command up.
fn resolve(op: &Op, model: &Model, time: u64) -> Kind {
    let id = |number: &u8| format!("id-{number}");
    let generation =
        |number: &u8| model.ids.get(&id(number)).map_or(Generation::new(1, 0), |trigger| trigger.generation);
    let namespace = || NAMESPACE.to_owned();
    let lane = |topic: u8, class: u32| {
        let number = model.topics.iter().position(|(own, _)| *own == name(topic)).unwrap_or(9);
        (number, LaneId::new(TopicId(number as u32), Class::ALL[class as usize]))
    };
    // Rows of the lane, and everything that ever was in it.
    let positions = |number: usize, lane: LaneId| -> Vec<Position> {
        let own = model.ids.values().filter(|trigger| trigger.topic == number && trigger.place.0 == lane.class());
        let mut positions: Vec<_> = own.map(|trigger| trigger.place.1).collect();
        positions.sort();
        positions
    };
    let pick_one = |number: usize, lane: LaneId, pick: u64| -> Position {
        let mut all: Vec<Position> =
            positions(number, lane).into_iter().flat_map(|position| [position, position.next()]).collect();
        all.push(Position { due: Timestamp::from_millis(time), generation: Generation::new(0, 0) });
        all.push(Position::end_of(Timestamp::from_millis(time.saturating_sub(1))));
        all[(pick % all.len() as u64) as usize]
    };
    match op {
        Op::Schedule { id: number, topic, class, when, fingerprint, skip } => Kind::Schedule(Schedule {
            topic: name(*topic),
            priority: *class,
            when: Some(*when),
            fingerprint: *fingerprint,
            skip_when_later_ms: if *skip { 1_000 } else { 0 },
            ..schedule(&id(number), 0)
        }),
        Op::Cancel(number, expect) => {
            let expected_generation = if *expect { generation(number).number() } else { 0 };
            match cancel(&id(number)) {
                Kind::Cancel(command) => Kind::Cancel(Cancel { expected_generation, ..command }),
                other => other,
            }
        }
        Op::Reschedule(number, when) => Kind::Reschedule(Reschedule {
            namespace: namespace(),
            id: id(number),
            when: Some(*when),
            ..Reschedule::default()
        }),
        Op::RunNow(number) => Kind::RunNow(RunNow { namespace: namespace(), id: id(number), ..RunNow::default() }),
        Op::Complete(number, attempt, stale) => {
            let generation = if *stale { Generation::new(1, 0) } else { generation(number) };
            complete(&id(number), generation, *attempt)
        }
        Op::Retry(number, attempt) => retry(&id(number), generation(number), *attempt),
        Op::Fail(number, attempt) => match retry(&id(number), generation(number), *attempt) {
            Kind::Retry(command) => Kind::Fail(Fail { report: command.report, error: command.error }),
            other => other,
        },
        Op::SkipLate(number) => {
            Kind::SkipLate(SkipLate { namespace: namespace(), id: id(number), generation: generation(number).number() })
        }
        Op::Run { topic, class, pick } => {
            let (number, lane) = lane(*topic, *class);
            let all = positions(number, lane);
            let picked: Vec<_> = all
                .into_iter()
                .enumerate()
                .filter(|(item, _)| pick >> (item % 60) & 3 != 0)
                .map(|(_, position)| position)
                .collect();
            run(lane.number(), &picked)
        }
        Op::Floor { topic, class, pick } => {
            let (number, lane) = lane(*topic, (*class).into());
            let position = pick_one(number, lane, *pick);
            Kind::RaiseFloor(RaiseFloor {
                lane: lane.number(),
                due: position.due.as_millis(),
                generation: position.generation.number(),
            })
        }
        Op::Release { topic, class, pick } => {
            let (number, lane) = lane(*topic, (*class).into());
            let position = pick_one(number, lane, *pick);
            Kind::Release(Release {
                lane: lane.number(),
                due: position.due.as_millis(),
                generation: position.generation.number(),
            })
        }
        Op::SetTopic { topic, paused, rate, long, version } => {
            let found = model.topics.iter().find(|(own, _)| *own == name(*topic)).map_or(0, |(_, topic)| topic.version);
            let retry = RetryPolicy {
                max_attempts: 3,
                initial_backoff_ms: 500,
                max_backoff_ms: 60_000,
                multiplier_percent: 200,
                jitter_percent_plus_one: 51,
            };
            let settings = TopicSettings {
                paused: *paused,
                lease_ms: 30_000,
                retry: Some(retry),
                rate_milli_per_second: if *rate { 1_000 } else { 0 },
                concurrency_max: 0,
                rate_per_second_total: 0,
                concurrency_total: 0,
                retention_ms: if *long { 100_000 } else { 2_000 },
            };
            let version = (found + version).saturating_sub(1).max(1);
            Kind::SetTopic(SetTopic { namespace: namespace(), topic: name(*topic), version, settings: Some(settings) })
        }
        Op::Requeue(number) => Kind::Requeue(Requeue { namespace: namespace(), id: id(number), ..Requeue::default() }),
        Op::Drop(number) => Kind::Drop(Drop { namespace: namespace(), id: id(number), ..Drop::default() }),
    }
}

/// A log with numbers, and what the model answered.
fn written(log: &[(u64, Vec<Op>)]) -> Vec<(Bytes, Vec<Reply>, Model)> {
    let mut model = Model::default();
    let mut time = 1_000;
    let mut entries = Vec::new();
    for (step, ops) in log {
        time += step;
        let commands: Vec<Kind> = ops.iter().map(|op| resolve(op, &model, time)).collect();
        let replies = model.entry(time, &commands);
        entries.push((entry(time, commands), replies, model.clone()));
    }
    entries
}

/// Everything that can be read is what the model says, and the rows agree with each other.
fn same_as(model: &Model, store: &MemoryStore) -> Result<(), TestCaseError> {
    let mut problems = Vec::new();
    let summary = verify::rows(store, &mut |problem| problems.push(problem)).unwrap();
    prop_assert_eq!(&problems, &[]);
    prop_assert_eq!(summary.rows, store.rows().len() as u64);
    for number in 0..7 {
        let id = format!("id-{number}");
        let view = read::get(store, NAMESPACE, &id).unwrap();
        let expected = model.get(&id);
        let receipt = view.as_ref().map(|view| view.receipt.clone());
        prop_assert_eq!(receipt, expected.map(|trigger| trigger.receipt()));
        if let (Some(view), Some(trigger)) = (view, expected) {
            prop_assert_eq!(
                (view.lane.class(), view.position, view.class),
                (trigger.place.0, trigger.place.1, trigger.class)
            );
            prop_assert_eq!(view.created, trigger.first.decided);
            prop_assert_eq!(view.content.is_none(), matches!(trigger.state, State::Ended { .. }));
        }
    }
    let mut listed: Vec<_> = model
        .ids
        .iter()
        .filter(|(id, _)| model.get(id).is_some())
        .map(|(id, trigger)| ((trigger.topic, trigger.place), id.clone()))
        .collect();
    listed.sort();
    let listed: Vec<_> = listed.into_iter().map(|(_, id)| id).collect();
    let mut ids = Vec::new();
    let mut after = None;
    loop {
        let query = ListQuery { namespace: NAMESPACE.into(), limit: 2, ..ListQuery::default() };
        let page = read::list(store, &query, after).unwrap();
        ids.extend(page.items.into_iter().map(|view| view.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    prop_assert_eq!(&ids, &listed);
    let dead = |id: &&String| matches!(model.ids[*id].state, State::Dead { .. });
    let listed: BTreeSet<String> = listed.iter().filter(dead).cloned().collect();
    // By number, and by size: one row is always more than one byte.
    for (limit, bytes) in [(2, usize::MAX), (100, 1)] {
        let (mut found, mut last, mut after) = (BTreeSet::new(), None, None);
        loop {
            let page = read::dead_letters(store, NAMESPACE, None, after, limit, bytes).unwrap();
            let most = if bytes == 1 { 1 } else { limit };
            prop_assert!(page.items.len() <= most);
            for view in page.items {
                prop_assert!(last < Some(view.position), "in order");
                last = Some(view.position);
                found.insert(view.id);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        prop_assert_eq!(&found, &listed);
    }
    for topic in 0..model.topics.len() {
        let counts = read::topic_counts(store, TopicId(topic as u32)).unwrap();
        let count = |wanted: fn(&State) -> bool| {
            model.ids.values().filter(|trigger| trigger.topic == topic && wanted(&trigger.state)).count() as u64
        };
        prop_assert_eq!(counts.scheduled, count(|state| *state == State::Scheduled));
        prop_assert_eq!(counts.fired, count(|state| matches!(state, State::Fired(_))));
        prop_assert_eq!(counts.retrying, count(|state| matches!(state, State::Retrying { .. })));
        prop_assert_eq!(counts.dead_lettered, count(|state| matches!(state, State::Dead { .. })));
        prop_assert_eq!(counts.completed_total, model.completed.get(&topic).copied().unwrap_or(0));
        for class in Class::ALL {
            let lane = LaneId::new(TopicId(topic as u32), class);
            let rows =
                read::due_rows(store, lane, Position::MIN, Position::end_of(Timestamp::MAX), 100, 1 << 20).unwrap();
            prop_assert_eq!(rows.next, None);
            let ready =
                |id: &String| matches!(model.ids[id].state, State::Fired(_) | State::Retrying { ready: true, .. });
            let expected: Vec<_> = model.rows(topic, class).into_iter().filter(|(_, id)| ready(id)).collect();
            if class != Class::Dead {
                let found: Vec<_> = rows.rows.iter().map(|row| (row.position, row.id.clone())).collect();
                prop_assert_eq!(found, expected);
                for row in rows.rows {
                    let receipt = model.ids[&row.id].receipt();
                    prop_assert_eq!(
                        (Some(row.fired), row.due, row.attempt),
                        (receipt.fired, receipt.due, receipt.attempt)
                    );
                }
            }
        }
    }
    // Minutes to come are counted exactly.
    let mut minutes: BTreeMap<(u64, LaneId), u64> = BTreeMap::new();
    for trigger in model.ids.values() {
        let (class, position) = trigger.place;
        let waits = position.due.as_millis() > model.now
            && class != Class::Dead
            && !matches!(trigger.state, State::Ended { .. });
        let minute = position.due.as_millis() / 60_000;
        if waits && minute > model.now / 60_000 {
            *minutes.entry((minute * 60_000, LaneId::new(TopicId(trigger.topic as u32), class))).or_default() += 1;
        }
    }
    let counted = read::minute_counts(store).unwrap().into_iter();
    let counted: BTreeMap<_, _> = counted
        .filter(|count| count.minute.as_millis() > model.now)
        .map(|count| ((count.minute.as_millis(), count.lane), count.count))
        .collect();
    prop_assert_eq!(counted, minutes);
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    /// Red when `FiredFacts::at` does not raise the index to that of the version, when `Lane::has_fired` compares with
    /// `<` instead of `<=`, or when `remove_row` always takes from the counters.
    #[test]
    fn does_what_the_model_does(log in log()) {
        let mut replica = Replica::default();
        let mut wheel: BTreeMap<(Timestamp, LaneId), i64> = BTreeMap::new();
        for (number, (entry, expected, model)) in written(&log).into_iter().enumerate() {
            let applied = replica.apply_bytes(number as u64 + 1, entry).unwrap();
            let replies: Vec<_> = applied.replies.into_iter().map(plain).collect();
            prop_assert_eq!(replies, expected);
            same_as(&model, &replica.store)?;
            // Effects alone keep the wheel's counts right.
            let now = applied.watermark;
            for effect in applied.effects {
                let (lane, position, change) = match effect {
                    Effect::Inserted { lane, position } => (lane, position, 1),
                    Effect::Removed { lane, position } => (lane, position, -1),
                    _ => continue,
                };
                if position.due > now && lane.class() != Class::Dead {
                    *wheel.entry((position.due, lane)).or_default() += change;
                }
            }
            wheel.retain(|(due, _), count| *due > now && *count != 0);
            let dues = read::count_dues(&replica.store, now.after(Delay::from_millis(1)), Timestamp::MAX).unwrap();
            let counted: BTreeMap<_, _> = dues.into_iter().map(|(due, lane, count)| ((due, lane), count as i64)).collect();
            prop_assert_eq!(&counted, &wheel);
        }
    }

    /// Red when `Overlay::into_writes` puts removals of ranges last.
    #[test]
    fn one_overlay_for_many_entries_writes_the_same_bytes(log in log(), batch in 1usize..9) {
        let entries = written(&log);
        let mut single = Replica::default();
        let mut batched = Replica::default();
        let mut index = 0;
        for batch in entries.chunks(batch) {
            let mut overlay = Overlay::new(&batched.store);
            for (entry, _, _) in batch {
                index += 1;
                let one = single.apply_bytes(index, entry.clone()).unwrap();
                let other = batched.machine.apply(index, entry.clone(), &mut overlay).unwrap();
                prop_assert_eq!(one, other);
            }
            let writes = overlay.into_writes();
            batched.store.write(writes);
            prop_assert_eq!(single.store.rows(), batched.store.rows());
        }
        prop_assert_eq!(single.store.digest(), batched.store.digest());
    }

    /// A replica whose process starts anew before every entry has the same rows: what is in memory is in the rows.
    #[test]
    fn two_replicas_have_the_same_digest(log in log()) {
        let mut one = Replica::default();
        let mut other = Replica::default();
        for (number, (entry, _, _)) in written(&log).into_iter().enumerate() {
            let index = number as u64 + 1;
            one.apply_bytes(index, entry.clone()).unwrap();
            other = Replica::of(other.store);
            other.apply_bytes(index, entry).unwrap();
            prop_assert_eq!(one.store.digest(), other.store.digest());
        }
    }

    /// Compactions drop what the marks of the last flush allow, some rows and not others; a crash loses everything since
    /// that flush. Whatever was dropped, replies and reads are the same.
    ///
    /// Red when `retention::marks` takes the floor instead of `forgotten`.
    #[test]
    fn a_crash_and_any_compaction_change_no_answer(
        log in log(),
        moves in proptest::collection::vec((0u8..8, any::<u64>()), 40),
    ) {
        let entries = written(&log);
        let mut whole = Replica::default();
        let mut replica = Replica::default();
        let mut flushed = MemoryStore::default();
        for (number, (entry, expected, model)) in entries.iter().enumerate() {
            let index = number as u64 + 1;
            whole.apply_bytes(index, entry.clone()).unwrap();
            // After a crash everything since the flush is applied again.
            for again in replica.machine.applied() + 1..=index {
                let (entry, expected, _) = &entries[again as usize - 1];
                let replies: Vec<_> = replica.apply_bytes(again, entry.clone()).unwrap().replies.into_iter().map(plain).collect();
                prop_assert_eq!(&replies, expected);
            }
            prop_assert_eq!(entry, &entries[number].0);
            prop_assert_eq!(expected.len(), entries[number].1.len());
            same_as(model, &replica.store)?;
            prop_assert_eq!(read::digest(&replica.store).unwrap(), read::digest(&whole.store).unwrap());
            let (kind, seed) = moves[number % moves.len()];
            let drops = retention::filter(retention::marks(&flushed).unwrap());
            let mut bits = seed;
            let mut compact = |store: &mut MemoryStore| store.retain(|key, value| {
                bits = bits.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed;
                !(bits & 1 == 0 && drops(key, value))
            });
            match kind {
                0 | 1 => flushed = replica.store.clone(),
                2 | 3 => {
                    compact(&mut replica.store);
                    compact(&mut flushed);
                }
                4 => {
                    compact(&mut flushed);
                    replica = Replica::of(flushed.clone());
                }
                _ => {}
            }
        }
    }

    /// Red when an arithmetic operation on a number from a command is left unchecked.
    #[test]
    fn no_bytes_make_it_panic(before in log(), bytes in proptest::collection::vec(any::<u8>(), 0..120), wild in wild_entry()) {
        let mut replica = Replica::default();
        for (number, (entry, _, _)) in written(&before).into_iter().take(5).enumerate() {
            replica.apply_bytes(number as u64 + 1, entry).unwrap();
        }
        let index = replica.machine.applied() + 1;
        let store = replica.store.clone();
        if replica.apply_bytes(index, bytes.into()).is_err() {
            prop_assert_eq!(&replica.store, &store);
            replica = Replica::of(store);
        }
        let index = replica.machine.applied() + 1;
        if let Ok(applied) = replica.apply_bytes(index, wild) {
            let _ = replica.apply_bytes(index + 1, entry(applied.watermark.as_millis() + 61_000, Vec::new()));
        }
        for lane in 0..40 {
            if let Some(lane) = LaneId::from_number(lane) {
                read::due_rows(&replica.store, lane, Position::MIN, Position::end_of(Timestamp::MAX), 10, 100).unwrap();
            }
        }
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(NAMESPACE.to_owned()),
        Just("topic-0".to_owned()),
        (0u8..7).prop_map(|id| format!("id-{id}")),
        ".{0,12}"
    ]
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0u64..10,
        Just(1_000),
        (0u64..100).prop_map(|number| number << 12),
        Just(u64::MAX),
        Just(i64::MAX as u64),
        any::<u64>()
    ]
}

/// Commands of every kind with any numbers in them.
fn wild_command() -> impl Strategy<Value = Kind> {
    let report = (text(), text(), number(), any::<u32>(), any::<bool>())
        .prop_map(|(namespace, id, generation, attempt, has)| {
            let token = if has { token(generation) } else { None };
            has.then_some(Report { namespace, id, generation, token, attempt, executor: "e".into() })
        })
        .boxed();
    let request = || {
        prop_oneof![
            Just(Bytes::new()),
            proptest::collection::vec(any::<u8>(), 0..17).prop_map(Bytes::from),
            Just(Bytes::from_static(&[0x70; 16]))
        ]
    };
    let when = || proptest::option::of(prop_oneof![number().prop_map(When::At), number().prop_map(When::After)]);
    let position = || (0u32..50, number(), number());
    let policy = || {
        proptest::option::of((any::<u32>(), number(), number(), any::<u32>(), 0u32..200).prop_map(
            |(max_attempts, initial_backoff_ms, max_backoff_ms, multiplier_percent, jitter_percent_plus_one)| {
                RetryPolicy {
                    max_attempts,
                    initial_backoff_ms,
                    max_backoff_ms,
                    multiplier_percent,
                    jitter_percent_plus_one,
                }
            },
        ))
    };
    prop_oneof![
        (text(), text(), text(), when(), 0u32..6, policy(), number()).prop_map(
            |(namespace, id, topic, when, priority, retry, skip_when_later_ms)| Kind::Schedule(Schedule {
                namespace,
                id,
                topic,
                when,
                priority,
                retry,
                skip_when_later_ms,
                ..Schedule::default()
            })
        ),
        (text(), text(), number(), request()).prop_map(|(namespace, id, expected_generation, request)| Kind::Cancel(
            Cancel { namespace, id, expected_generation, request }
        )),
        (text(), text(), number(), request(), when()).prop_map(
            |(namespace, id, expected_generation, request, when)| Kind::Reschedule(Reschedule {
                namespace,
                id,
                expected_generation,
                request,
                when,
                local: None
            })
        ),
        (text(), text(), number(), request()).prop_map(|(namespace, id, expected_generation, request)| Kind::RunNow(
            RunNow { namespace, id, expected_generation, request }
        )),
        report.clone().prop_map(|report| Kind::Complete(Complete { report, business: Bytes::new() })),
        (report.clone(), number(), any::<bool>()).prop_map(|(report, retry_after_ms, lease_expired)| Kind::Retry(
            Retry { report, error: "é".repeat(2_000), retry_after_ms, lease_expired }
        )),
        report.prop_map(|report| Kind::Fail(Fail { report, error: String::new() })),
        (
            0u32..50,
            proptest::collection::vec((number(), any::<i64>(), any::<i64>(), any::<u32>()), 0..5),
            any::<bool>()
        )
            .prop_map(|(lane, items, has)| Kind::CompleteRun(CompleteRun {
                lane,
                due_deltas: items.iter().map(|item| item.0).collect(),
                generation_deltas: items.iter().map(|item| item.1).collect(),
                executors: items.iter().map(|_| "e".to_owned()).collect(),
                executor_counts: items.iter().map(|item| if has { 1 } else { item.3 }).collect(),
                token: token(u64::MAX),
                counter_deltas: items.iter().skip(1).map(|item| item.2).collect(),
            })),
        position().prop_map(|(lane, due, generation)| Kind::Release(Release { lane, due, generation })),
        position().prop_map(|(lane, due, generation)| Kind::RaiseFloor(RaiseFloor { lane, due, generation })),
        (text(), text(), number()).prop_map(|(namespace, id, generation)| Kind::SkipLate(SkipLate {
            namespace,
            id,
            generation
        })),
        (text(), text(), number(), policy(), number(), number()).prop_map(
            |(namespace, topic, version, retry, lease_ms, retention_ms)| Kind::SetTopic(SetTopic {
                namespace,
                topic,
                version,
                settings: Some(TopicSettings { lease_ms, retry, retention_ms, ..TopicSettings::default() })
            })
        ),
        (text(), text(), number(), request()).prop_map(|(namespace, id, expected_generation, request)| Kind::Requeue(
            Requeue { namespace, id, expected_generation, request }
        )),
        (text(), text(), number(), request()).prop_map(|(namespace, id, expected_generation, request)| Kind::Drop(
            Drop { namespace, id, expected_generation, request }
        )),
        (text(), text()).prop_map(|(namespace, body)| Kind::Business(Business { namespace, body: body.into() })),
    ]
}

fn wild_entry() -> impl Strategy<Value = Bytes> {
    let time = prop_oneof![Just(100_000_000u64), number()];
    (time, proptest::collection::vec(wild_command(), 0..12)).prop_map(|(time, commands)| entry(time, commands))
}

#[test]
fn the_model_fires_and_ends() {
    let mut model = Model::default();
    model.entry(1_000, &[Kind::Schedule(schedule("id-1", 2_000))]);
    model.entry(2_000, &[]);
    assert_eq!(model.get("id-1").map(|trigger| trigger.receipt().outcome), Some(Outcome::Fired));
}
