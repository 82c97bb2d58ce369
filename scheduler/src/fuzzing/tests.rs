//! Short sweeps, the same every time.

use std::path::Path;

use bytes::Bytes;
use fuzz::allocations::Counted;
use prost::Message;

use super::machine::Log;
use super::*;
use crate::command::*;
use crate::lane::{Class, Generation, LaneId, Position};
use crate::time::Timestamp;

#[global_allocator]
static COUNTED: Counted = Counted;

/// Kept bytes whose names begin so, or do not.
fn golden(wanted: impl Fn(&str) -> bool) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    golden::all(&dir).into_iter().filter(|(name, _)| wanted(name)).map(|(_, bytes)| bytes).collect()
}

/// Red when a decoder of rows indexes instead of asking, or reads more than it writes.
#[test]
fn any_value_is_read_or_refused() {
    fuzz::sweep(
        &VALUES,
        &golden(|name| !name.starts_with("key-") && !name.starts_with("entry-") && name != "counter.1.hex"),
    );
}

#[test]
fn any_key_is_read_or_refused() {
    let has_fields = |name: &str| {
        ["due", "release", "history", "run", "fired", "count", "ended"]
            .iter()
            .any(|of| name == format!("key-{of}.1.hex"))
    };
    fuzz::sweep(&KEYS, &golden(has_fields));
}

#[test]
fn any_entry_is_read_or_refused() {
    fuzz::sweep(&ENTRIES, &golden(|name| name.starts_with("entry-")));
}

fn entry(time: u64, kinds: Vec<Kind>) -> Bytes {
    let commands = kinds.into_iter().map(|kind| Command { kind: Some(kind) }).collect();
    Bytes::from(Entry { time, commands, level: 1 }.encode_to_vec())
}

fn report(id: &str, generation: u64, attempt: u32) -> Option<Report> {
    let token = Some(Token { epoch: 1, term: 1, counter: 7 });
    Some(Report { namespace: "shop".into(), id: id.into(), generation, token, attempt, executor: "e-1".into() })
}

/// A log in which everything happens once, in a topic with these settings.
fn log(rate_milli_per_second: u64, paused: bool) -> Vec<u8> {
    let namespace = || "shop".to_owned();
    let settings = TopicSettings { rate_milli_per_second, paused, retention_ms: 60_000, ..default_settings() };
    let set = |version, settings| {
        Kind::SetTopic(SetTopic { namespace: namespace(), topic: "mail".into(), version, settings: Some(settings) })
    };
    let new = |id: &str, at| {
        Kind::Schedule(Schedule {
            namespace: namespace(),
            id: id.into(),
            topic: "mail".into(),
            when: Some(When::At(at)),
            priority: 1,
            fingerprint: 1,
            ..Schedule::default()
        })
    };
    let (now, later) = (2_000, 90_000);
    let lane = LaneId::new(TopicId(0), Class::Normal);
    let at = |place| Position { due: Timestamp::from_millis(now), generation: Generation::new(2, place) };
    let generation = |place| at(place).generation.number();
    let success = |place| Success { position: at(place), executor: "e".into(), counter: place as u64 };
    let run = run_codec::encode(lane, 1, 1, [success(0), success(1)].iter());
    let request = Bytes::from_static(&[0, 0, 0, 0, 0x0f, 0xa0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 1]);
    let (due, generation_7) = (now, generation(7));
    let release = Release { lane: lane.number(), due, generation: generation_7 };
    let entries = vec![
        entry(1_000, vec![set(1, settings.clone())]),
        entry(
            1_000,
            (0..8).map(|n| new(&format!("a{n}"), now)).chain((8..12).map(|n| new(&format!("a{n}"), later))).collect(),
        ),
        entry(3_000, vec![Kind::Release(release)]),
        entry(
            4_000,
            vec![
                Kind::CompleteRun(run),
                Kind::Complete(Complete { report: report("a2", generation(2), 1), business: Bytes::new() }),
                Kind::Retry(Retry { report: report("a3", generation(3), 1), error: "no".into(), ..Retry::default() }),
                Kind::Fail(Fail { report: report("a4", generation(4), 1), error: "no".into() }),
                Kind::Fail(Fail { report: report("a5", generation(5), 1), error: "no".into() }),
                Kind::SkipLate(SkipLate { namespace: namespace(), id: "a6".into(), generation: generation(6) }),
                Kind::Cancel(Cancel {
                    namespace: namespace(),
                    id: "a8".into(),
                    request: request.clone(),
                    ..Cancel::default()
                }),
                Kind::Reschedule(Reschedule {
                    namespace: namespace(),
                    id: "a9".into(),
                    when: Some(When::After(60_000)),
                    request,
                    ..Reschedule::default()
                }),
                Kind::RunNow(RunNow { namespace: namespace(), id: "a10".into(), ..RunNow::default() }),
                Kind::Requeue(Requeue { namespace: namespace(), id: "a4".into(), ..Requeue::default() }),
                Kind::Drop(Drop { namespace: namespace(), id: "a5".into(), ..Drop::default() }),
                Kind::RaiseFloor(RaiseFloor { lane: lane.number(), due: now, generation: generation(2) }),
            ],
        ),
        entry(5_000, vec![set(2, TopicSettings { paused: !paused, ..settings.clone() }), new("a0", 6_000)]),
        entry(
            80_000,
            vec![Kind::Complete(Complete { report: report("a3", generation(3), 2), business: Bytes::new() })],
        ),
        entry(200_000, vec![set(3, settings), new("a1", 0)]),
        entry(1_000_000, vec![]),
    ];
    Log { entries }.encode_to_vec()
}

/// Red when apply panics instead of refusing or halting, or leaves rows that do not agree: a counter, an id, a mark of a lane.
#[test]
fn any_log_is_applied_or_halts() {
    fuzz::sweep(&MACHINE, &[log(0, false), log(0, true), log(1_000, false)]);
}
