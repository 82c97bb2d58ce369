//! Every kind of row, damaged in every way that a checksum would not notice.

use bytes::Bytes;
use prost::Message;

use super::*;
use crate::command::*;
use crate::domain::NoDomain;
use crate::keys::IdHash;
use crate::lane::{Generation, Position, TopicId};
use crate::machine::Machine;
use crate::memory::MemoryStore;
use crate::overlay::{Overlay, encode_counter};
use crate::record::{IdRecord, Run, Stage, encode_fired, encode_history, encode_release, encode_trigger};
use crate::reply::Fired;
use crate::store::Write;

const MINUTE: u64 = 60_000;

/// Topic 0.
fn mail(class: Class) -> LaneId {
    LaneId::new(TopicId(0), class)
}

/// Topic 1, rate-limited.
fn slow() -> LaneId {
    LaneId::new(TopicId(1), Class::Normal)
}

fn at(due: u64, index: u64, place: usize) -> Position {
    Position { due: Timestamp::from_millis(due), generation: Generation::new(index, place) }
}

fn schedule(id: &str, topic: &str, due: u64) -> Kind {
    Kind::Schedule(Schedule {
        namespace: "shop".into(),
        id: id.into(),
        topic: topic.into(),
        when: Some(When::At(due)),
        priority: 1,
        fingerprint: 1,
        payload: Bytes::from_static(b"hello"),
        ..Schedule::default()
    })
}

fn report(id: &str, position: Position) -> Option<Report> {
    Some(Report {
        namespace: "shop".into(),
        id: id.into(),
        generation: position.generation.number(),
        token: Some(Token { epoch: 1, term: 1, counter: 9 }),
        attempt: 1,
        executor: "e1".into(),
    })
}

fn run(lane: LaneId, positions: &[Position]) -> Kind {
    let successes: Vec<_> = positions
        .iter()
        .map(|&position| crate::run_codec::Success { position, executor: "e1".into(), counter: 1 })
        .collect();
    Kind::CompleteRun(crate::run_codec::encode(lane, 1, 1, successes.iter()))
}

/// A partition with rows of every kind:
///
/// - `a` completed in a run behind the floor, `c` in one above it, `b` fired between them;
/// - `far` and `later` to come; `gone` cancelled, `alone` completed by a report of its own;
/// - `again` in the retry lane, `dead` among the dead letters;
/// - `s0` released in a rate-limited lane, `s1` held back there.
fn partition() -> MemoryStore {
    let limited = TopicSettings { rate_milli_per_second: 1_000, ..crate::record::default_settings() };
    let limits = SetTopic { namespace: "shop".into(), topic: "slow".into(), version: 1, settings: Some(limited) };
    let mut first: Vec<Kind> = ["a", "b", "c", "gone", "alone", "again", "dead"]
        .into_iter()
        .map(|id| schedule(id, "mail", if id == "gone" { 5 * MINUTE } else { 1_000 }))
        .collect();
    first.extend([schedule("far", "mail", 9 * MINUTE), schedule("later", "mail", 9 * MINUTE + 5)]);
    first.extend([Kind::SetTopic(limits), schedule("s0", "slow", 1_500), schedule("s1", "slow", 1_600)]);
    let failed = |id, place| Retry { report: report(id, at(1_000, 1, place)), ..Retry::default() };
    let cancel = Cancel { namespace: "shop".into(), id: "gone".into(), ..Cancel::default() };
    let mark = |position: Position| (position.due.as_millis(), position.generation.number());
    let (floor, released) = (mark(at(1_000, 1, 1)), mark(at(1_500, 1, 10)));
    let log = [
        (1_000, first),
        (
            2_000,
            vec![
                run(mail(Class::Normal), &[at(1_000, 1, 0), at(1_000, 1, 2)]),
                Kind::Cancel(cancel),
                Kind::Complete(Complete { report: report("alone", at(1_000, 1, 4)), business: Bytes::new() }),
                Kind::Retry(Retry { retry_after_ms: 3 * MINUTE, ..failed("again", 5) }),
                Kind::Fail(Fail { report: report("dead", at(1_000, 1, 6)), error: "no".into() }),
                Kind::Release(Release { lane: slow().number(), due: released.0, generation: released.1 }),
            ],
        ),
        (
            3_000,
            vec![Kind::RaiseFloor(RaiseFloor {
                lane: mail(Class::Normal).number(),
                due: floor.0,
                generation: floor.1,
            })],
        ),
    ];
    let mut store = MemoryStore::default();
    let mut machine = Machine::new(NoDomain);
    for (number, (time, commands)) in log.into_iter().enumerate() {
        let commands = commands.into_iter().map(|kind| Command { kind: Some(kind) }).collect();
        let entry = Entry { time, commands, level: 1 }.encode_to_vec().into();
        let mut overlay = Overlay::new(&store);
        let applied = machine.apply(number as u64 + 1, entry, &mut overlay).unwrap();
        let refused = |reply: &crate::reply::Reply| matches!(reply, crate::reply::Reply::Refused(_));
        assert!(!applied.replies.iter().any(refused), "{:?}", applied.replies);
        let writes = overlay.into_writes();
        store.write(writes);
    }
    store
}

fn problems(store: &MemoryStore) -> Vec<Problem> {
    let mut problems = Vec::new();
    let summary = rows(store, &mut |problem| problems.push(problem)).unwrap();
    assert_eq!(summary.problems, problems.len() as u64);
    problems
}

fn put(key: &[u8], value: impl Into<Vec<u8>>) -> Write {
    Write::Put { key: key.to_vec(), value: value.into() }
}

fn id_key(id: &str) -> Vec<u8> {
    keys::id(IdHash::of("shop", id)).to_vec()
}

fn id_row(store: &MemoryStore, id: &str, change: impl FnOnce(&mut IdRecord)) -> Write {
    let mut record = IdRecord::decode(&store.rows()[&id_key(id)]).unwrap();
    change(&mut record);
    put(&id_key(id), record.encode())
}

#[test]
fn a_partition_with_rows_of_every_kind_has_no_problem() {
    let store = partition();
    assert_eq!(problems(&store), []);
    let tags: std::collections::BTreeSet<u8> = store.rows().keys().map(|key| key[0]).collect();
    let all = [
        keys::META,
        keys::TOPIC_NAME,
        keys::TOPIC,
        keys::LANE,
        keys::DUE,
        keys::ID,
        keys::RUN,
        keys::FIRED,
        keys::REL,
        keys::COUNT,
        keys::LIVE,
        keys::ENDED,
        keys::HISTORY,
        keys::DONE,
    ];
    assert_eq!(tags, all.into(), "the test means every kind");
    let summary = rows(&store, &mut |_| ()).unwrap();
    assert_eq!((summary.triggers, summary.completed_in_runs, summary.ended, summary.topics), (8, 2, 2, 2));
    assert_eq!(summary.rows, store.rows().len() as u64);
}

/// Red when any of the checks of what is missing is left out.
#[test]
fn a_row_that_is_missing_is_missed() {
    let whole = partition();
    for (key, value) in whole.rows() {
        let mut store = whole.clone();
        store.write(vec![Write::Delete { key: key.clone() }]);
        let row = name::of(key, &[]);
        // Derived from nothing else: what fired long ago, in which entry, and what has fired in the minute of the watermark.
        let now = keys::fired(Timestamp::from_millis(3_000));
        let lost_for_good = match key[0] {
            keys::REL => true,
            keys::FIRED => key[..] != now,
            keys::COUNT => keys::count_fields(key).is_some_and(|(minute, _)| minute == Timestamp::MIN),
            _ => false,
        };
        // Marks at their beginning, and a counter that is zero, are what their absence means.
        let says_nothing = (key[0] == keys::LANE && value.len() == 33 && value[1..].iter().all(|&byte| byte == 0))
            || value[..] == encode_counter(0);
        if !lost_for_good && !says_nothing {
            assert!(!problems(&store).is_empty(), "without {row}");
        }
    }
}

#[test]
fn a_row_that_cannot_be_read_is_told_of() {
    let whole = partition();
    for key in whole.rows().keys() {
        for value in [&b""[..], b"\x07", b"\x01", b"\x01\xff\xff"] {
            let mut store = whole.clone();
            store.write(vec![put(key, value)]);
            // The names of a topic and of a lane are not there when its own row is not.
            assert!(!problems(&store).is_empty(), "{} is {value:?}", name::of(key, &[]));
        }
    }
}

/// Every case must be told of with these words.
#[test]
fn what_disagrees_is_told_of() {
    let whole = partition();
    let normal = mail(Class::Normal);
    let trigger = |id: &str| encode_trigger(id, &crate::record::Trigger::default());
    let run_key = keys::run(normal, Timestamp::from_millis(1_000), 1, 2);
    let changed_run = |change: &dyn Fn(&mut Run)| {
        let mut run = Run::decode(&whole.rows()[&run_key[..]]).unwrap();
        change(&mut run);
        put(&run_key, run.encode())
    };
    let marks = |lane: LaneId, change: &dyn Fn(&mut Lane)| {
        let key = keys::lane(lane);
        let mut marks = whole.rows().get(&key[..]).map_or_else(Lane::default, |value| Lane::decode(value).unwrap());
        change(&mut marks);
        put(&key, marks.encode())
    };
    let meta = |change: &dyn Fn(&mut Meta)| {
        let mut meta = Meta::from_value(&whole.rows()[&keys::meta()[..]]).unwrap();
        change(&mut meta);
        put(&keys::meta(), meta.to_value())
    };
    let counter = |key: &[u8], count: i64| put(key, encode_counter(count).to_vec());
    let minute = |minutes: u64| Timestamp::from_millis(minutes * MINUTE);
    let far = minute(9);
    let cases: Vec<(Write, &str)> = vec![
        (meta(&|meta| meta.watermark_ms = 2_000), "after the newest"),
        (meta(&|meta| meta.applied = 2), "after the newest"),
        (meta(&|meta| meta.epoch = 0), "neither can be"),
        (put(&[keys::META, 7], ""), "longer than one byte"),
        (put(&[0x07, 1], ""), "unknown tag 0x07"),
        (put(&[0x1a, 1], ""), "unknown tag 0x1a"),
        (put(&keys::topic_name("shop", "other"), crate::record::encode_topic_number(TopicId(0))), "has another name"),
        (
            put(&keys::topic(TopicId(7)), whole.rows()[&keys::topic(TopicId(1))[..]].to_vec()),
            "topic number 2 is expected",
        ),
        (marks(normal, &|marks| marks.floor = at(4_000, 3, 0)), "after the watermark"),
        (marks(normal, &|marks| marks.floor = at(1_000, 1, 2)), "lies before the floor"),
        (marks(normal, &|marks| marks.forgotten = at(2_000, 1, 0)), "beyond the floor"),
        (marks(normal, &|marks| marks.floor = at(500, 1, 0)), "has no row"),
        (marks(normal, &|marks| marks.released = Some(at(1_000, 1, 0))), "nothing holds the lane back"),
        (marks(slow(), &|marks| marks.released = None), "paused or rate-limited"),
        (marks(slow(), &|marks| marks.released = Some(at(9_000, 1, 0))), "released more than was due"),
        (marks(mail(Class::Dead), &|marks| marks.floor = at(1, 0, 0)), "dead letters never get"),
        (marks(mail(Class::Retry), &|marks| marks.forgotten = at(1, 0, 0)), "only first attempts"),
        (put(&keys::lane(LaneId::new(TopicId(5), Class::High)), Lane::default().encode()), "no topic has"),
        (put(&keys::fired(Timestamp::from_millis(2_500)), encode_fired(1)), "the moment before"),
        (put(&keys::fired(Timestamp::from_millis(4_000)), encode_fired(4)), "after the newest"),
        (
            put(
                &keys::released(slow(), at(1_500, 1, 10)),
                encode_release(at(1_600, 1, 0), Fired { time: minute(0), index: 2 }),
            ),
            "where it ends",
        ),
        (
            put(
                &keys::released(mail(Class::Retry), at(1_500, 1, 10)),
                encode_release(Position::MIN, Fired { time: minute(0), index: 2 }),
            ),
            "keeps no releases",
        ),
        (put(&keys::due(normal, at(1_000, 1, 1)), trigger("x")), "\"x\", which has no row"),
        (put(&keys::due(normal, at(1_000, 1, 1)), trigger("far")), "whose row says Live"),
        (put(&keys::due(normal, at(1_000, 1, 2)), trigger("b")), "the run that has it the id \"c\""),
        (put(&keys::due(normal, at(8 * MINUTE, 1, 20)), trigger("y")), "\"y\", which has no row"),
        (put(&keys::due(normal, at(8 * MINUTE, 9, 0)), trigger("z")), "was made after the newest entry"),
        (put(&keys::due(LaneId::new(TopicId(4), Class::High), at(1, 1, 0)), trigger("z")), "no topic has"),
        (put(&keys::due(mail(Class::Dead), at(2_000, 1, 6)), trigger("dead")), "no failed attempt"),
        (put(&[keys::DUE, 0, 0, 0, 1, 9], trigger("z")), "is not a position"),
        (id_row(&whole, "b", |record| record.position = at(1_000, 1, 20)), "names a trigger that is not there"),
        (id_row(&whole, "b", |record| record.position = at(1_000, 1, 2)), "names the trigger of another id"),
        (
            id_row(&whole, "far", |record| record.position = at(1_000, 1, 0)),
            "names a trigger that no run has completed",
        ),
        (id_row(&whole, "a", |record| record.position = at(999, 1, 0)), "names a trigger that no run has completed"),
        (id_row(&whole, "a", |record| record.position = at(999, 1, 0)), "the row of that id says something else"),
        (id_row(&whole, "b", |record| record.created = far), "after the newest entry"),
        (id_row(&whole, "b", |record| record.lane = LaneId::new(TopicId(3), Class::Normal)), "which is not there"),
        (id_row(&whole, "gone", |record| record.visible_until = far), "do not say so"),
        (id_row(&whole, "gone", |record| record.tail.ended = None), "how it ended"),
        (id_row(&whole, "gone", |record| record.position = at(5 * MINUTE, 1, 4)), "has the receipt of"),
        (id_row(&whole, "dead", |record| (record.stage, record.lane) = (Stage::Live, normal)), "whose row says Live"),
        (changed_run(&|run| run.groups[0].ids[1] = "b".into()), "has another id"),
        (changed_run(&|run| run.groups[0].ids[0] = "b".into()), "says something else"),
        (changed_run(&|run| run.groups[0].ids[0] = "x".into()), "is missing"),
        (changed_run(&|run| run.groups[0].places[0] = 2), "a second time"),
        (changed_run(&|run| run.groups[0].places[0] = 5_000), "which no entry has"),
        (changed_run(&|run| run.groups[0].places[1] = 30), "has no row"),
        (changed_run(&|run| run.groups[0].fired_index = 3), "after it was completed"),
        (changed_run(&|run| run.groups[0].executor_counts[0] = 1), "names executors of 1"),
        (changed_run(&|run| run.decided = far), "does not fit the newest entry"),
        (changed_run(&|run| run.visible_until = minute(0)), "visible until"),
        (put(&keys::run(normal, far, 1, 2), whole.rows()[&run_key[..]].to_vec()), "has not fired"),
        (put(&keys::history(normal, at(77, 1, 3)), encode_history("nobody")), "named by no end"),
        (put(&keys::history(normal, at(5 * MINUTE, 1, 3)), encode_history("b")), "which is another id"),
        (
            put(&keys::ended(far, IdHash::of("shop", "b")), keys::history(normal, at(5 * MINUTE, 1, 3)).to_vec()),
            "another id",
        ),
        (
            put(&keys::ended(far, IdHash::of("shop", "x")), keys::history(normal, at(1, 1, 3)).to_vec()),
            "a row that is missing",
        ),
        (put(&keys::ended(far, IdHash::of("shop", "x")), "what"), "no row of the history"),
        (counter(&keys::live(normal), 4), "is 4, and the lane has 4 rows of which 1 are completed: 3"),
        (counter(&keys::live(mail(Class::Retry)), 0), "is 0, and the lane has 1 rows"),
        (counter(&keys::done(normal), 2), "is 2, and 3 completions are still kept"),
        (put(&keys::done(normal), "short"), "has 5 bytes"),
        (counter(&keys::count(far, normal), 1), "is 1, and 2 triggers are due in it"),
        (counter(&keys::count(minute(11), normal), 1), "no trigger is due in it"),
        (counter(&keys::count(minute(11), normal), -1), "is -1"),
        (counter(&keys::count(minute(11), mail(Class::Dead)), 1), "a lane that is delivered"),
        (counter(&keys::count(Timestamp::from_millis(61_000), normal), 1), "is not of a minute"),
    ];
    for (number, (write, words)) in cases.into_iter().enumerate() {
        let mut store = whole.clone();
        store.write(vec![write.clone()]);
        let told = problems(&store);
        assert!(
            told.iter().any(|problem| problem.wrong.contains(words)),
            "case {number}, {words:?}: {write:?}: {told:#?}"
        );
    }
}

#[test]
fn keys_are_told_in_words() {
    let mut store = partition();
    store.write(vec![put(&keys::due(mail(Class::Normal), at(1_000, 1, 1)), encode_trigger("x", &Default::default()))]);
    let row = "trigger of shop/mail, normal, due 1000 ms, generation 4097 (entry 1, place 1)";
    assert!(problems(&store).iter().any(|problem| problem.row == row), "{:#?}", problems(&store));
    // Any bytes.
    for tag in 0..=0xffu8 {
        for length in 0..40 {
            let key: Vec<u8> = std::iter::once(tag).chain((0..length).map(|byte| byte ^ tag)).collect();
            assert!(!name::of(&key, &[]).is_empty());
        }
    }
}

#[test]
fn a_store_that_cannot_be_read_is_an_error() {
    struct Broken(MemoryStore);
    impl Read for Broken {
        fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
            if key.first() == Some(&keys::ID) { Err(StoreError("checksum".into())) } else { self.0.get(key) }
        }
        fn scan(
            &self,
            from: &[u8],
            to: &[u8],
            visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
        ) -> Result<(), StoreError> {
            self.0.scan(from, to, visit)
        }
    }
    assert!(rows(&Broken(partition()), &mut |_| ()).is_err());
}

/// Red when rows of a newer build are judged by this one: what it would find are its own mistakes.
#[test]
fn rows_of_a_newer_level_are_not_judged() {
    let mut store = MemoryStore::default();
    let meta = Meta { feature_level: FEATURE_LEVEL + 1, ..Meta::first() };
    store.write(vec![Write::Put { key: keys::meta().to_vec(), value: meta.to_value() }]);
    let mut problems = 0;
    let refused = rows(&store, &mut |_| problems += 1).unwrap_err();
    assert!(refused.to_string().contains("use the newer one"), "{refused}");
    assert_eq!(problems, 0);
}
