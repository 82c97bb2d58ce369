//! What apply costs without a store below: the share of the machine in the price of a schedule and of a completion.
//!
//! `cargo bench --bench machine`; each figure is for an entry of 1,000 triggers with payloads of 200 bytes.

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;
use scheduler::command::{Command, Entry, Kind, Schedule, Token, When};
use scheduler::domain::NoDomain;
use scheduler::lane::{Class, Generation, LaneId, Position, TopicId};
use scheduler::machine::Machine;
use scheduler::memory::MemoryStore;
use scheduler::overlay::Overlay;
use scheduler::run_codec::{self, Success};
use scheduler::time::Timestamp;

const TRIGGERS: usize = 1_000;

fn entry(time: u64, kinds: impl Iterator<Item = Kind>) -> Bytes {
    let commands = kinds.map(|kind| Command { kind: Some(kind) }).collect();
    Entry { time, commands, level: 1 }.encode_to_vec().into()
}

/// Schedules for one millisecond, or for one each.
fn schedules(apart: u64) -> Bytes {
    let one = |number: usize| {
        Kind::Schedule(Schedule {
            namespace: "default".into(),
            id: format!("order-2027-02-14-{number:08}"),
            topic: "mail".into(),
            when: Some(When::At(10_000 + apart * number as u64)),
            payload: vec![7; 200].into(),
            priority: 1,
            fingerprint: number as u64,
            ..Schedule::default()
        })
    };
    entry(1_000, (0..TRIGGERS).map(one))
}

fn run(apart: u64) -> Bytes {
    let success = |number: usize| Success {
        position: Position {
            due: Timestamp::from_millis(10_000 + apart * number as u64),
            generation: Generation::new(1, number),
        },
        executor: "executor-1".into(),
        counter: number as u64,
    };
    let successes: Vec<_> = (0..TRIGGERS).map(success).collect();
    let lane = LaneId::new(TopicId(0), Class::Normal);
    let run = run_codec::encode(lane, Token::default().epoch, 1, successes.iter());
    entry(20_000, std::iter::once(Kind::CompleteRun(run)))
}

fn apply(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("apply");
    group.throughput(Throughput::Elements(TRIGGERS as u64));
    for (name, apart) in [("one-millisecond", 0), ("a-millisecond-each", 1)] {
        let (schedules, run) = (schedules(apart), run(apart));
        let empty = MemoryStore::default();
        group.bench_function(format!("schedule/{name}"), |bencher| {
            bencher.iter_batched(
                || Machine::new(NoDomain),
                |mut machine| {
                    let mut overlay = Overlay::new(&empty);
                    let applied = machine.apply(1, schedules.clone(), &mut overlay);
                    (applied, overlay.into_writes())
                },
                BatchSize::SmallInput,
            );
        });
        let mut machine = Machine::new(NoDomain);
        let mut overlay = Overlay::new(&empty);
        assert!(machine.apply(1, schedules, &mut overlay).is_ok());
        let writes = overlay.into_writes();
        let mut scheduled = MemoryStore::default();
        scheduled.write(writes);
        group.bench_function(format!("complete/{name}"), |bencher| {
            bencher.iter_batched(
                || Machine::open(NoDomain, &scheduled),
                |machine| {
                    let mut overlay = Overlay::new(&scheduled);
                    let applied = machine.map(|mut machine| machine.apply(2, run.clone(), &mut overlay));
                    (applied, overlay.into_writes())
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, apply);
criterion_main!(benches);
