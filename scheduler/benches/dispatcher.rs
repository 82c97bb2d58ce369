//! What the dispatcher costs by itself: a burst of 100,000 rows due at one millisecond, handed out to four executors
//! and completed, with a source and a log that cost next to nothing.

use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use scheduler::command::{Kind, TopicSettings};
use scheduler::dispatcher::{
    Action, Config, Decision, Dispatcher, Done, HeldLease, Hello, Located, Marks, Origin, Outcome, Row, RowSource,
    Scanned, SessionId, Term, Topic, shard_of,
};
use scheduler::lane::{Class, Generation, LaneId, Position, TopicId};
use scheduler::reply::{Fired, Reply};
use scheduler::store::StoreError;
use scheduler::time::Timestamp;

const ROWS: u64 = 100_000;
const EXECUTORS: usize = 4;
const TOPIC: TopicId = TopicId(0);
const DUE: Timestamp = Timestamp::from_millis(2_000);
const FIRED: Fired = Fired { time: DUE, index: 1_000 };

/// One lane of rows in memory, as a sequential read would give them.
struct Source {
    rows: Vec<Row>,
}

impl Source {
    fn new() -> Self {
        let value = Bytes::from(vec![7; 220]);
        let row = |n: u64| {
            let id: Arc<str> = format!("gift-{n:08}").into();
            Row {
                position: Position { due: DUE, generation: Generation::new(10 + n / 100, (n % 100) as usize) },
                shard: shard_of(id.as_bytes()),
                id,
                attempt: 1,
                fired: FIRED,
                skip_when_later: Default::default(),
                value: value.clone(),
            }
        };
        Source { rows: (0..ROWS).map(row).collect() }
    }
}

impl RowSource for Source {
    fn rows(
        &self,
        lane: LaneId,
        from: Position,
        to: Position,
        rows_max: usize,
        _: usize,
        rows: &mut Vec<Row>,
    ) -> Result<Scanned, StoreError> {
        if lane.class() != Class::Normal {
            return Ok(Scanned { last: None, more: false });
        }
        let start = self.rows.partition_point(|row| row.position < from);
        let end = self.rows.partition_point(|row| row.position <= to).min(start + rows_max);
        rows.extend(self.rows[start..end].iter().map(|row| Row { id: Arc::from(&*row.id), ..row.clone() }));
        Ok(Scanned { last: rows.last().map(|row| row.position), more: end < self.rows.len() })
    }

    fn count(&self, _: LaneId, _: Position, _: Position, _: usize) -> Result<Option<(Position, usize)>, StoreError> {
        Ok(None)
    }

    fn locate(&self, _: &str, _: &str, _: Generation) -> Result<Option<Located>, StoreError> {
        Ok(None)
    }
}

fn dispatcher(source: &Source, in_flight_max: u32) -> Dispatcher {
    let now = Timestamp::from_millis(1_000);
    let mut d = Dispatcher::new(Config::default(), Term { epoch: 1, term: 1, first_index: 5, watermark: now }, now);
    let settings = TopicSettings { lease_ms: 30_000, ..TopicSettings::default() };
    d.set_topic(now, Topic { id: TOPIC, namespace: "shop".into(), name: "send".into(), settings });
    d.set_lane(LaneId::new(TOPIC, Class::Normal), Marks { floor: Position::MIN, released: None });
    for n in 0..EXECUTORS {
        let hello = Hello {
            executor: format!("executor-{n}").into(),
            namespace: "shop".into(),
            topics: vec!["send".into()],
            in_flight_max,
            held: Vec::new(),
            poll: false,
        };
        d.open(now, hello, source).expect("a source that never fails");
    }
    d.advance(DUE, [LaneId::new(TOPIC, Class::Normal)]);
    d
}

/// Delivers; with `complete`, executors succeed at once and the log decides each run one poll later.
fn burst(d: &mut Dispatcher, source: &Source, complete: bool) -> u64 {
    let names: Vec<Arc<str>> = (0..EXECUTORS).map(|n| format!("executor-{n}").into()).collect();
    let (mut actions, mut proposals, mut delivered, mut answered) = (Vec::new(), Vec::new(), 0, 0);
    let mut index = 2_000;
    loop {
        d.poll(DUE, source, &mut actions).expect("a source that never fails");
        if actions.is_empty() && proposals.is_empty() {
            return if complete { answered } else { delivered };
        }
        for ticket in std::mem::take(&mut proposals) {
            index += 1;
            let reply = Reply::RunDecided { rejected: Vec::new() };
            d.decided(DUE, ticket, Decision::Applied { index, time: DUE, reply });
        }
        for action in actions.drain(..) {
            match action {
                Action::Deliver { session: SessionId(session), deliveries } => {
                    delivered += deliveries.len() as u64;
                    if !complete {
                        continue;
                    }
                    let credit = deliveries.len() as u32;
                    let outcomes = deliveries.into_iter().map(|delivery| Outcome {
                        sequence: delivery.token.counter,
                        lease: HeldLease {
                            namespace: delivery.topic.namespace.clone(),
                            id: delivery.row.id,
                            generation: delivery.row.position.generation,
                            token: delivery.token,
                            attempt: delivery.row.attempt,
                        },
                        result: Done::Success { business: Bytes::new() },
                    });
                    let outcomes = outcomes.collect();
                    d.report(DUE, Origin::Session(SessionId(session)), &names[session as usize - 1], outcomes);
                    d.credit(DUE, SessionId(session), credit);
                }
                Action::Propose { ticket, command: Kind::CompleteRun(_) } => proposals.push(ticket),
                Action::Propose { ticket, .. } => {
                    d.decided(DUE, ticket, Decision::Applied { index, time: DUE, reply: Reply::Done });
                }
                Action::Results { results, .. } => answered += results.len() as u64,
                Action::Assigned { .. } => {}
            }
        }
    }
}

fn bench(c: &mut Criterion) {
    let source = Source::new();
    let mut group = c.benchmark_group("dispatcher");
    group.throughput(Throughput::Elements(ROWS)).sample_size(20);
    for (name, in_flight_max, complete) in
        [("deliver 100k", 65_536, false), ("deliver and complete 100k, credit 4 x 1,000", 1_000, true)]
    {
        group.bench_function(name, |b| {
            b.iter_batched(
                || dispatcher(&source, in_flight_max),
                |mut d| {
                    assert_eq!(burst(&mut d, &source, complete), ROWS);
                    d
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
