//! Kept bytes of everything this crate stores: keys, values, log entries. Rows and logs that exist must stay readable, and what is written
//! today must be the same, to the byte, or replicas of two versions differ. How bytes are kept and how a new format is added is said in
//! `tests/golden/src/lib.rs`.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use golden::Golden;
use prost::Message;

use crate::command::*;
use crate::keys::{self, IdHash};
use crate::lane::{Class, Generation, LaneId, Position, TopicId};
use crate::overlay::{decode_counter, encode_counter};
use crate::record::*;
use crate::reply::Fired;
use crate::time::Timestamp;

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn lane() -> LaneId {
    LaneId::new(TopicId(0x0102), Class::Low)
}

fn position() -> Position {
    Position { due: Timestamp::from_millis(0x0001_8f00_1234_5678), generation: Generation::new(0x0a_bcde, 0x123) }
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn token() -> Option<Token> {
    Some(Token { epoch: 3, term: 7, counter: 1_234 })
}

fn local() -> Option<LocalTime> {
    let (date_time, zone, tzdb) = ("2027-02-14T00:00:00".into(), "Asia/Seoul".into(), "2026a".into());
    Some(LocalTime { date_time, zone, policy: 2, tzdb })
}

fn policy() -> Option<RetryPolicy> {
    Some(RetryPolicy {
        max_attempts: 5,
        initial_backoff_ms: 1_000,
        max_backoff_ms: 60_000,
        multiplier_percent: 250,
        jitter_percent_plus_one: 21,
    })
}

fn settings() -> TopicSettings {
    TopicSettings {
        paused: true,
        lease_ms: 30_000,
        retry: policy(),
        rate_milli_per_second: 1_500,
        concurrency_max: 8,
        retention_ms: 86_400_000,
        rate_per_second_total: 11,
        concurrency_total: 12,
    }
}

fn receipt(outcome: u32) -> StoredReceipt {
    StoredReceipt {
        log_index: 99,
        generation: position().generation.number(),
        due: 5_000,
        fired_index: 98,
        fired_time: 5_001,
        outcome,
        decided: 6_000,
        executor: "e-1".into(),
        attempt: 2,
        token: token(),
    }
}

fn keys_of_every_table(golden: &mut Golden) {
    let hash = IdHash::of("shop", "order-1");
    let all: [(&str, Vec<u8>); 14] = [
        ("meta", keys::meta().to_vec()),
        ("topic-name", keys::topic_name("shop", "mail")),
        ("topic", keys::topic(TopicId(0x0102)).to_vec()),
        ("lane", keys::lane(lane()).to_vec()),
        ("due", keys::due(lane(), position()).to_vec()),
        ("id", keys::id(hash).to_vec()),
        ("run", keys::run(lane(), position().due, 0x0a_bcde, 0x0a_bcdf).to_vec()),
        ("fired", keys::fired(position().due).to_vec()),
        ("release", keys::released(lane(), position()).to_vec()),
        ("count", keys::count(keys::minute_of(position().due), lane()).to_vec()),
        ("live", keys::live(lane()).to_vec()),
        ("ended", keys::ended(position().due, hash).to_vec()),
        ("history", keys::history(lane(), position()).to_vec()),
        ("done", keys::done(lane()).to_vec()),
    ];
    for (name, today) in all {
        let kept = golden.bytes(&format!("key-{name}"), &today);
        match name {
            "due" | "release" | "history" => {
                assert_eq!((keys::lane_of(&kept), keys::position_of(&kept)), (Some(lane()), Some(position())));
            }
            "run" => assert_eq!(keys::run_fields(&kept), Some((position().due, 0x0a_bcde, 0x0a_bcdf))),
            "fired" => assert_eq!(keys::fired_time(&kept), Some(position().due)),
            "count" => assert_eq!(keys::count_fields(&kept), Some((keys::minute_of(position().due), lane()))),
            "ended" => assert_eq!(keys::ended_fields(&kept), Some((position().due, hash))),
            "lane" | "live" | "done" => assert_eq!(keys::lane_of(&kept), Some(lane())),
            _ => {}
        }
    }
}

fn values_of_every_table(golden: &mut Golden) {
    let sweep = Some(Sweep { lane: 9, oldest_due_ms: 4_000 });
    let meta = Meta { watermark_ms: 5_000, applied: 99, feature_level: 1, epoch: 2, sweep };
    golden.value("meta", meta, Meta::to_value, |kept| Meta::from_value(&kept).unwrap());
    golden.value("topic-name", TopicId(7), |id| encode_topic_number(*id), |kept| decode_topic_number(&kept).unwrap());
    let lanes = [Lane::default(); 5];
    let (id, namespace, name) = (TopicId(7), "shop".to_owned(), "mail".to_owned());
    let topic = Topic { id, namespace, name, settings: settings(), version: 4, lanes };
    golden.value("topic", topic, Topic::encode, |kept| Topic::decode(TopicId(7), &kept).unwrap());
    let marks = Lane { floor: position(), forgotten: Position { due: at(3), ..position() }, released: None };
    golden.value("lane", marks, Lane::encode, |kept| Lane::decode(&kept).unwrap());
    let held = Lane { released: Some(Position { due: at(9), ..position() }), ..marks };
    golden.value("lane-held", held, Lane::encode, |kept| Lane::decode(&kept).unwrap());

    let progress = Progress {
        class: 2,
        due: 5_000,
        fired_time: 5_001,
        fired_index: 98,
        attempt: 3,
        error: "no answer".into(),
        executor: "e-1".into(),
        token: token(),
        decided: 6_000,
        log_index: 99,
    };
    let trigger = Trigger {
        shard_key: "customer-9".into(),
        payload: Bytes::from_static(b"\x00\xffhello"),
        labels: vec![Label { key: "kind".into(), value: "gift".into() }],
        retry: policy(),
        skip_when_later_ms: 700,
        local: local(),
        requested_due_plus_one: 4_001,
        created: 1_000,
        moved_plus_one: 2_001,
        progress: Some(progress),
    };
    let encode = |row: &(String, Trigger)| encode_trigger(&row.0, &row.1);
    golden.value("trigger", ("order-1".to_owned(), trigger), encode, |kept| decode_trigger(&kept).unwrap());
    golden.value(
        "history",
        "order-1".to_owned(),
        |id| encode_history(id),
        |kept| trigger_id(&kept).unwrap().to_owned(),
    );

    let remembered = Remembered { request: Bytes::from_static(&[7; 16]), kind: 3, receipt: Some(receipt(0)) };
    let tail = Tail {
        origin: Some(Origin { generation: 4_096, due: 4_000 }),
        local: local(),
        ended: Some(receipt(3)),
        requests: vec![remembered],
        forgotten_before_ms: 17,
    };
    let stages = [
        (Stage::Live, Class::Low),
        (Stage::Retry, Class::Retry),
        (Stage::Dead, Class::Dead),
        (Stage::Ended, Class::High),
    ];
    for (stage, class) in stages {
        let record = IdRecord {
            stage,
            lane: LaneId::new(TopicId(7), class),
            position: position(),
            fingerprint: 0x0123_4567_89ab_cdef,
            created: at(1_000),
            visible_until: if stage == Stage::Ended { at(9_000) } else { Timestamp::MIN },
            tail: if stage == Stage::Live { Tail::default() } else { tail.clone() },
        };
        let name = format!("id-{stage:?}").to_lowercase();
        golden.value(&name, record, IdRecord::encode, |kept| IdRecord::decode(&kept).unwrap());
    }

    let mut group = RunGroup { fired_time: 5_001, fired_index: 98, epoch: 3, term: 7, ..RunGroup::default() };
    group.push(Generation::new(5, 2), "a", "e-1", 40, 0);
    group.push(Generation::new(5, 4), "b", "e-1", 39, 40);
    group.push(Generation::new(5, 5), "c", "e-2", 500, 39);
    let run = Run { visible_until: at(9_000), decided: at(6_000), groups: vec![group.clone(), group] };
    golden.value("run", run, Run::encode, |kept| Run::decode(&kept).unwrap());

    golden.value("fired", 0x0a_bcde, |index| encode_fired(*index), |kept| decode_fired(&kept).unwrap());
    let release = (position(), Fired { time: at(5_001), index: 98 });
    golden.value("release", release, |row| encode_release(row.0, row.1), |kept| decode_release(&kept).unwrap());
    golden.value("counter", -5, |count| encode_counter(*count), |kept| decode_counter(&kept));
}

fn commands_of_every_kind(golden: &mut Golden) {
    let (namespace, id, request) = ("shop".to_owned(), "order-1".to_owned(), Bytes::from_static(&[7; 16]));
    let report = Some(Report {
        namespace: namespace.clone(),
        id: id.clone(),
        generation: 4_097,
        token: token(),
        attempt: 2,
        executor: "e-1".into(),
    });
    let expected_generation = 4_097;
    let schedule = Schedule {
        namespace: namespace.clone(),
        id: id.clone(),
        topic: "mail".into(),
        when: Some(When::At(5_000)),
        shard_key: "customer-9".into(),
        payload: Bytes::from_static(b"\x00\xffhello"),
        labels: vec![Label { key: "kind".into(), value: "gift".into() }],
        priority: 2,
        retry: policy(),
        skip_when_later_ms: 700,
        fingerprint: 0x0123_4567_89ab_cdef,
        local: local(),
    };
    let kinds = [
        ("schedule", Kind::Schedule(schedule)),
        (
            "cancel",
            Kind::Cancel(Cancel {
                namespace: namespace.clone(),
                id: id.clone(),
                expected_generation,
                request: request.clone(),
            }),
        ),
        (
            "reschedule",
            Kind::Reschedule(Reschedule {
                namespace: namespace.clone(),
                id: id.clone(),
                expected_generation,
                request: request.clone(),
                when: Some(When::After(9)),
                local: local(),
            }),
        ),
        (
            "run-now",
            Kind::RunNow(RunNow {
                namespace: namespace.clone(),
                id: id.clone(),
                expected_generation,
                request: request.clone(),
            }),
        ),
        ("complete", Kind::Complete(Complete { report: report.clone(), business: Bytes::from_static(b"sold") })),
        (
            "retry",
            Kind::Retry(Retry { report: report.clone(), error: "no".into(), retry_after_ms: 8, lease_expired: true }),
        ),
        ("fail", Kind::Fail(Fail { report, error: "never".into() })),
        (
            "complete-run",
            Kind::CompleteRun(CompleteRun {
                lane: 58,
                due_deltas: vec![5_000, 0, 3],
                generation_deltas: vec![4_096, 1, -2],
                executors: vec!["e-1".into(), "e-2".into()],
                executor_counts: vec![2, 1],
                token: token(),
                counter_deltas: vec![1, -9],
            }),
        ),
        ("release", Kind::Release(Release { lane: 58, due: 5_000, generation: 4_097 })),
        ("skip-late", Kind::SkipLate(SkipLate { namespace: namespace.clone(), id: id.clone(), generation: 4_097 })),
        (
            "set-topic",
            Kind::SetTopic(SetTopic {
                namespace: namespace.clone(),
                topic: "mail".into(),
                version: 4,
                settings: Some(settings()),
            }),
        ),
        (
            "requeue",
            Kind::Requeue(Requeue {
                namespace: namespace.clone(),
                id: id.clone(),
                expected_generation,
                request: request.clone(),
            }),
        ),
        ("drop", Kind::Drop(Drop { namespace: namespace.clone(), id, expected_generation, request })),
        ("raise-floor", Kind::RaiseFloor(RaiseFloor { lane: 58, due: 5_000, generation: 4_097 })),
        ("business", Kind::Business(Business { namespace, body: Bytes::from_static(b"buy") })),
    ];
    let decode = |kept: Bytes| Entry::decode(kept).unwrap();
    for (name, kind) in kinds {
        let entry = Entry { time: 5_000, commands: vec![Command { kind: Some(kind) }], level: 1 };
        golden.value(&format!("entry-{name}"), entry, Entry::encode_to_vec, decode);
    }
    let bare = Entry { time: 5_000, commands: Vec::new(), level: 1 };
    golden.value("entry-bare", bare, Entry::encode_to_vec, decode);
}

/// Red when any field of any record, key or command changes its place, number or width.
#[test]
fn what_was_written_is_read_and_written_the_same() {
    let mut golden = Golden::of(dir());
    keys_of_every_table(&mut golden);
    values_of_every_table(&mut golden);
    commands_of_every_kind(&mut golden);
    golden.done();
}
