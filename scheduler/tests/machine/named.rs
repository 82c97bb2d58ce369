//! The cases that must hold by name. Each says which one-line change of the code turns it red.

use bytes::Bytes;
use prost::Message;
use scheduler::command::*;
use scheduler::lane::{Class, Generation, LaneId, Position, TopicId};
use scheduler::machine::Machine;
use scheduler::memory::MemoryStore;
use scheduler::overlay::Overlay;
use scheduler::read;
use scheduler::reply::{Outcome, Refusal, Reply};
use scheduler::retention;
use scheduler::store::Read;
use scheduler::time::Timestamp;

use crate::harness::{NAMESPACE, Replica, at, cancel, complete, entry, receipt, report, retry, run, schedule};
use crate::stock::{COUNTED, GIVEN_UP, Stock};

fn business(body: String) -> Kind {
    Kind::Business(Business { namespace: NAMESPACE.into(), body: body.into() })
}

fn settings(paused: bool, retention_ms: u64) -> TopicSettings {
    let retry = RetryPolicy {
        max_attempts: 5,
        initial_backoff_ms: 1_000,
        max_backoff_ms: 60_000,
        multiplier_percent: 200,
        jitter_percent_plus_one: 1,
    };
    TopicSettings { paused, lease_ms: 30_000, retry: Some(retry), retention_ms, ..TopicSettings::default() }
}

fn set_topic(version: u64, settings: TopicSettings) -> Kind {
    Kind::SetTopic(SetTopic { namespace: NAMESPACE.into(), topic: "mail".into(), version, settings: Some(settings) })
}

fn normal() -> LaneId {
    LaneId::new(TopicId(0), Class::Normal)
}

fn floor(position: Position) -> Kind {
    let (due, generation) = (position.due.as_millis(), position.generation.number());
    Kind::RaiseFloor(RaiseFloor { lane: normal().number(), due, generation })
}

/// Commands of one entry see what those before them wrote.
///
/// Red when `Overlay::get` asks the base first.
#[test]
fn last_item_with_100_buyers_in_one_entry() {
    let mut replica = Replica::default();
    replica.one(1_000, business("stock gift 1".into()));
    let buyers = (0..100).map(|buyer| business(format!("buy gift user-{buyer}"))).collect();
    let replies = replica.at(2_000, buyers);
    assert_eq!(replies[0], Reply::Business(Bytes::from_static(b"sold")));
    let sold_out = Reply::Refused(Refusal::Business(Bytes::from_static(b"sold-out")));
    assert_eq!(replies[1..].iter().filter(|reply| **reply == sold_out).count(), 99);
    // Each refused command had already written that its buyer bought.
    let bought = replica.store.rows().keys().filter(|key| key[0] == 0x81).count();
    assert_eq!(bought, 1);
}

/// A generation that was requeued has another number, and a report about the old one changes nothing.
///
/// Red when `Step::complete` does not compare the generation.
#[test]
fn late_completion_of_occurrence_1_after_the_id_was_rescheduled() {
    let mut replica = Replica::default();
    let first = receipt(&replica.one(1_000, Kind::Schedule(schedule("a", 1_000)))).generation;
    // The first occurrence was delivered, and given up; then the id was brought back as another.
    let fail = Kind::Fail(Fail { report: report("a", first, 1), error: "refused".into() });
    replica.one(2_000, fail);
    let requeue = Kind::Requeue(Requeue { namespace: NAMESPACE.into(), id: "a".into(), ..Requeue::default() });
    let second = receipt(&replica.one(3_000, requeue)).generation;
    assert_ne!(first, second);
    let before = replica.get("a");
    assert_eq!(replica.one(4_000, complete("a", first, 1)), Reply::Superseded);
    assert_eq!(replica.get("a"), before);

    // The same for one that was moved before it fired: its old version never completes.
    let first = receipt(&replica.one(5_000, Kind::Schedule(schedule("b", 9_000)))).generation;
    let moved = Kind::Reschedule(Reschedule {
        namespace: NAMESPACE.into(),
        id: "b".into(),
        when: Some(When::At(6_000)),
        ..Reschedule::default()
    });
    replica.one(5_500, moved);
    assert_eq!(replica.one(9_500, complete("b", first, 1)), Reply::Superseded);
    assert_eq!(replica.get("b").unwrap().state, Outcome::Fired);
}

/// Only the attempt that the record waits for can fail it.
///
/// Red when `Step::awaited` accepts attempts up to the one awaited: `<=` instead of `==`.
#[test]
fn late_retry_beside_a_newer_attempt() {
    let mut replica = Replica::default();
    let generation = receipt(&replica.one(1_000, Kind::Schedule(schedule("a", 1_000)))).generation;
    let mut expired = Retry { report: report("a", generation, 1), lease_expired: true, ..Retry::default() };
    assert!(matches!(replica.one(31_000, Kind::Retry(expired.clone())), Reply::Decided(_)));
    // The second attempt is under way when the first executor reports after all, with its own token.
    let due = replica.get("a").unwrap().retry_at.unwrap().as_millis();
    expired.report.as_mut().unwrap().token.as_mut().unwrap().counter = 99;
    expired.lease_expired = false;
    assert_eq!(replica.one(due + 1, Kind::Retry(expired)), Reply::Superseded);
    assert_eq!(replica.get("a").unwrap().attempt, 1);
    let reply = replica.one(due + 2, retry("a", generation, 2));
    assert_eq!((receipt(&reply).outcome, receipt(&reply).attempt), (Outcome::Retrying, 2));
}

/// A pause freezes what has fired; what falls due later is due but has not fired.
///
/// Red when `Lane::has_fired` ignores `released`.
#[test]
fn paused_topic_due_triggers_can_still_be_cancelled() {
    let mut replica = Replica::default();
    replica.at(1_000, vec![Kind::Schedule(schedule("a", 5_000)), Kind::Schedule(schedule("b", 5_000))]);
    replica.one(2_000, set_topic(1, settings(true, 60_000)));
    replica.one(6_000, cancel("a"));
    assert_eq!(replica.get("a").unwrap().state, Outcome::Cancelled);
    replica.one(7_000, set_topic(2, settings(false, 60_000)));
    let view = replica.get("b").unwrap();
    assert_eq!((view.state, view.receipt.fired.unwrap().time), (Outcome::Fired, Timestamp::from_millis(7_000)));
    assert_eq!(replica.get("a").unwrap().state, Outcome::Cancelled);
}

/// A due time behind the watermark becomes the entry's time, so it stands after everything that was read already.
///
/// Red when `Step::resolve` returns the moment as it was asked for.
#[test]
fn due_behind_the_watermark_fires_at_once_never_skipped() {
    let mut replica = Replica::default();
    replica.one(1_000, Kind::Schedule(schedule("first", 2_000)));
    replica.at(5_000, vec![]);
    let rows = |replica: &Replica, after: Position| {
        read::due_rows(&replica.store, normal(), after, Position::end_of(Timestamp::MAX), 10, 1 << 20).unwrap().rows
    };
    let cursor = rows(&replica, Position::MIN).last().unwrap().position;
    replica.one(6_000, Kind::Schedule(schedule("late", 1_500)));
    let found = rows(&replica, cursor);
    assert_eq!(found.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["late"]);
    assert_eq!(found[0].fired.time, Timestamp::from_millis(6_000));
    assert_eq!(replica.get("late").unwrap().requested_due, Some(Timestamp::from_millis(1_500)));
}

/// The watermark moves before the commands of an entry: at its due millisecond a trigger has fired, one before it has not.
///
/// Red when `Lane::has_fired` compares with `<`.
#[test]
fn cancel_and_fire_in_the_same_millisecond() {
    for (time, fired) in [(4_999, false), (5_000, true), (5_001, true)] {
        let mut replica = Replica::default();
        replica.one(1_000, Kind::Schedule(schedule("a", 5_000)));
        let reply = replica.one(time, cancel("a"));
        assert_eq!(matches!(reply, Reply::Refused(Refusal::AlreadyFired(_))), fired, "at {time}: {reply:?}");
        assert_eq!(receipt(&reply).fired.is_some(), fired);
        // Whatever was answered stays true.
        replica.at(9_000, vec![]);
        let state = replica.get("a").unwrap().state;
        assert_eq!(state, if fired { Outcome::Fired } else { Outcome::Cancelled });
    }
}

/// A replica that compacted and one that did not, and one that crashed after its compaction and lost what was not
/// flushed, all answer the same when an id is used again.
///
/// Red when `retention::marks` takes the floor instead of `forgotten`, or when `live_standing` compares with the floor
/// before it looks for a run.
#[test]
fn id_reused_after_retention_same_answer_on_every_replica() {
    let first = schedule("a", 1_000);
    let again = Schedule { fingerprint: 2, ..schedule("a", 200_000) };
    let log = [
        (1_000, vec![set_topic(1, settings(false, 5_000)), Kind::Schedule(first)]),
        (2_000, vec![run(normal().number(), &[at(1_000, Generation::new(1, 1))])]),
        (3_000, vec![floor(Position::end_of(Timestamp::from_millis(2_500)))]),
        // Visible until 7,000: another content is refused just before, accepted at that moment.
        (6_999, vec![Kind::Schedule(again.clone())]),
        (7_000, vec![Kind::Schedule(again.clone()), cancel("a")]),
        // Swept by now, and taken again after the cancelled one is past its retention too.
        (61_000, vec![]),
        (62_000, vec![Kind::Schedule(Schedule { fingerprint: 3, ..again })]),
    ];
    let everything_droppable = |store: &mut MemoryStore, flushed: &MemoryStore| {
        let drops = retention::filter(retention::marks(flushed).unwrap());
        store.retain(|key, value| !drops(key, value));
    };
    let mut plain = Replica::default();
    let expected: Vec<_> = log.iter().map(|(time, commands)| plain.at(*time, commands.clone())).collect();
    assert!(matches!(expected[3][0], Reply::Refused(Refusal::AlreadyExists(_))));
    assert!(matches!(expected[4][0], Reply::Scheduled { replayed: false, .. }));
    assert!(matches!(expected[6][0], Reply::Scheduled { replayed: false, .. }));

    // Every point of flushing, compacting before each later entry, and crashing before each later entry.
    for flush in 0..log.len() {
        for crash in flush..=log.len() {
            let mut replica = Replica::default();
            let mut flushed = MemoryStore::default();
            let mut number = 0;
            let mut crashed = false;
            while number < log.len() {
                if number == flush && !crashed {
                    flushed = replica.store.clone();
                }
                if number == crash && !crashed {
                    crashed = true;
                    let marks_of = flushed.clone();
                    everything_droppable(&mut flushed, &marks_of);
                    replica = Replica::of(flushed.clone());
                    number = flush;
                }
                everything_droppable(&mut replica.store, &flushed);
                let (time, commands) = &log[number];
                assert_eq!(
                    replica.at(*time, commands.clone()),
                    expected[number],
                    "flush {flush}, crash {crash}, entry {number}"
                );
                number += 1;
            }
            assert_eq!(read::digest(&replica.store).unwrap(), read::digest(&plain.store).unwrap());
        }
    }
}

/// A row that a compaction may drop is there: the case above is not empty.
#[test]
fn a_compaction_drops_ids_behind_the_forgotten_mark() {
    let mut replica = Replica::default();
    replica.at(
        1_000,
        vec![
            set_topic(1, settings(false, 5_000)),
            Kind::Schedule(schedule("a", 1_000)),
            Kind::Schedule(schedule("b", 90_000)),
        ],
    );
    replica.one(2_000, run(normal().number(), &[at(1_000, Generation::new(1, 1))]));
    replica.one(3_000, floor(Position::end_of(Timestamp::from_millis(2_500))));
    let droppable = |replica: &Replica| {
        let marks = retention::marks(&replica.store).unwrap();
        replica.store.rows().iter().filter(|(key, value)| marks.drops(key, value)).count()
    };
    assert_eq!(droppable(&replica), 0);
    replica.at(61_000, vec![]);
    assert_eq!(droppable(&replica), 1);
    assert_eq!(replica.get("a"), None);
    assert!(replica.get("b").is_some());
}

/// A delay is counted once: the id and the fingerprint of the request as it was sent are what is compared.
///
/// Red when `Step::schedule` compares the due time too.
#[test]
fn delay_based_schedule_retried_with_the_same_request() {
    let mut replica = Replica::default();
    let request = Schedule { when: Some(When::After(10_000)), ..schedule("a", 0) };
    let first = replica.one(1_000, Kind::Schedule(request.clone()));
    for time in [1_500, 10_999, 11_000, 50_000] {
        let again = replica.one(time, Kind::Schedule(request.clone()));
        let Reply::Scheduled { receipt: found, replayed: true, .. } = &again else { panic!("{again:?}") };
        assert_eq!(found, receipt(&first));
        assert_eq!(found.due, Timestamp::from_millis(11_000));
    }
}

/// An entry with a command from the future stops the replica; nothing of it is written and nothing is skipped.
///
/// Red when `Machine::apply_entry` goes on to the next command instead of returning the error.
#[test]
fn unknown_command_kind_halts_does_not_skip() {
    let mut replica = Replica::default();
    replica.one(1_000, Kind::Schedule(schedule("a", 5_000)));
    // Field 16 of a command, which no kind has yet, behind a command that is known.
    let mut bytes = entry(2_000, vec![cancel("a")]).to_vec();
    bytes.extend_from_slice(&[0x12, 0x03, 0x82, 0x01, 0x00]);
    assert_eq!(Entry::decode(&bytes[..]).unwrap().commands.len(), 2);
    let before = replica.store.clone();
    let halt = replica.apply_bytes(2, bytes.into()).unwrap_err();
    assert_eq!((halt.index, halt.reason.as_str()), (2, "command 1 is of a kind this build does not know"));
    assert_eq!(replica.store, before);
}

/// Red when `Machine::admit` leaves out the check that the message names.
#[test]
fn entries_that_cannot_be_interpreted_halt() {
    let halts = |index: u64, bytes: Bytes, reason: &str| {
        let mut replica = Replica::default();
        replica.at(5_000, vec![]);
        let halt = replica.apply_bytes(index, bytes).unwrap_err();
        assert!(halt.reason.contains(reason), "{}", halt.reason);
        assert_eq!(halt.index, index);
    };
    halts(2, Bytes::from_static(&[0x08]), "cannot be decoded");
    halts(
        2,
        Entry { time: 6_000, level: 2, ..Entry::default() }.encode_to_vec().into(),
        "needs feature level 2, this build has 1",
    );
    halts(2, entry(4_999, vec![]), "the watermark is at 5000 ms");
    halts(2, entry(u64::MAX, vec![]), "entry has time");
    halts(1, entry(6_000, vec![]), "entry has index 1, after 1");
    halts(1 << 52, entry(6_000, vec![]), "entry has index");
    halts(2, entry(6_000, vec![cancel("a"); 4_097]), "4097 commands");
}

/// Red when rows of a newer level are taken up: what this build does not know would be applied its own way.
#[test]
fn rows_of_a_newer_level_are_not_taken_up() {
    let store = MemoryStore::default();
    let mut newer = Machine::of_build(scheduler::domain::NoDomain, 2);
    let mut overlay = Overlay::new(&store);
    let entry = Entry { time: 6_000, level: 2, ..Entry::default() }.encode_to_vec();
    let applied = newer.apply(1, entry.into(), &mut overlay).unwrap();
    assert_eq!((applied.level, newer.level()), (2, 2));
    let mut store = MemoryStore::default();
    store.write(overlay.into_writes());
    let refused = Machine::open(scheduler::domain::NoDomain, &store).unwrap_err();
    assert!(refused.to_string().contains("the rows need feature level 2, this build has 1"), "{refused}");
    let mut again = Machine::of_build(scheduler::domain::NoDomain, 2);
    again.restored(&store).unwrap();
    // The level stays, also for entries that ask for less.
    let mut overlay = Overlay::new(&store);
    let entry = Entry { time: 7_000, level: 1, ..Entry::default() }.encode_to_vec();
    assert_eq!(again.apply(2, entry.into(), &mut overlay).unwrap().level, 2);
}

/// Business commands halt a replica that has no domains: it cannot know what they mean.
#[test]
fn business_without_a_domain_halts() {
    let mut machine: Machine = Machine::new(scheduler::domain::NoDomain);
    let store = MemoryStore::default();
    let mut overlay = Overlay::new(&store);
    let halt = machine.apply(1, entry(1_000, vec![business("buy".into())]), &mut overlay).unwrap_err();
    assert!(halt.reason.contains("no domain is built in"), "{}", halt.reason);
}

/// A domain that reaches for the scheduler's own rows halts rather than damage them.
#[test]
fn a_domain_keeps_to_its_own_tables() {
    let mut replica = Replica::default();
    let halt = replica.apply_bytes(1, entry(1_000, vec![business("foreign".into())])).unwrap_err();
    assert!(halt.reason.contains("table tag Some(17)"), "{}", halt.reason);
}

/// Damaged rows halt; they are not guessed at.
#[test]
fn a_damaged_row_halts() {
    let mut replica = Replica::default();
    replica.one(1_000, Kind::Schedule(schedule("a", 5_000)));
    let ids: Vec<_> = replica.store.rows().keys().filter(|key| key[0] == scheduler::keys::ID).cloned().collect();
    replica.store.write(vec![scheduler::store::Write::Put { key: ids[0].clone(), value: vec![9, 9] }]);
    let halt = replica.apply_bytes(2, entry(2_000, vec![cancel("a")])).unwrap_err();
    assert!(halt.reason.contains("id row cannot be read"), "{}", halt.reason);
    assert!(read::get(&replica.store, NAMESPACE, "a").is_err());
}

/// Forgetting is spread over entries, and says that it is not through.
///
/// Red when `forget_ids` takes no bound.
#[test]
fn forgetting_does_a_bounded_amount_per_entry() {
    let mut replica = Replica::default();
    replica.one(1_000, set_topic(1, settings(false, 5_000)));
    let ids: Vec<String> = (0..1_000).map(|number| format!("id-{number}")).collect();
    replica.at(2_000, ids.iter().map(|id| Kind::Schedule(schedule(id, 90_000))).collect());
    replica.at(3_000, ids.iter().map(|id| cancel(id)).collect());
    let rows = |replica: &Replica| replica.store.rows().keys().filter(|key| key[0] == scheduler::keys::ID).count();
    let mut left = rows(&replica);
    assert_eq!(left, 1_000);
    let mut entries = 0;
    loop {
        let index = replica.machine.applied() + 1;
        let applied = replica.apply_bytes(index, entry(61_000, vec![])).unwrap();
        entries += 1;
        let now = rows(&replica);
        assert!(left - now <= 256, "{} in one entry", left - now);
        left = now;
        if !applied.owed {
            break;
        }
    }
    assert_eq!((left, entries), (0, 4));
    assert!(
        !replica.store.rows().keys().any(|key| [scheduler::keys::ENDED, scheduler::keys::HISTORY].contains(&key[0]))
    );
}

/// A full entry of runs below the floor is forgotten over several entries too.
#[test]
fn forgetting_runs_goes_on_where_it_stopped() {
    let mut replica = Replica::default();
    replica.one(1_000, set_topic(1, settings(false, 5_000)));
    let mut positions = Vec::new();
    for part in 0..3u64 {
        let commands =
            (0..2_000).map(|number| Kind::Schedule(schedule(&format!("id-{part}-{number}"), 3_000 + number))).collect();
        let replies = replica.at(2_000, commands);
        positions.extend(replies.iter().map(|reply| at(receipt(reply).due.as_millis(), receipt(reply).generation)));
    }
    positions.sort();
    let reply = replica.one(6_000, run(normal().number(), &positions));
    assert_eq!(reply, Reply::RunDecided { rejected: vec![] });
    assert_eq!(replica.one(6_001, floor(Position::end_of(Timestamp::from_millis(6_000)))), Reply::Done);
    let runs = |replica: &Replica| replica.store.rows().keys().filter(|key| key[0] == scheduler::keys::RUN).count();
    assert_eq!(runs(&replica), 6_000);
    let owed = |replica: &mut Replica| {
        let index = replica.machine.applied() + 1;
        replica.apply_bytes(index, entry(61_000, vec![])).unwrap().owed
    };
    assert!(owed(&mut replica));
    assert!((1..6_000).contains(&runs(&replica)));
    assert_eq!(replica.get("id-2-1999"), None);
    assert!(!owed(&mut replica));
    assert_eq!(runs(&replica), 0);
}

/// What is in the retry lane or dead when its topic is first heard of again after a restart is still there.
#[test]
fn a_reopened_machine_goes_on_as_before() {
    let mut replica = Replica::default();
    let generation = receipt(&replica.one(1_000, Kind::Schedule(schedule("a", 1_000)))).generation;
    replica.one(2_000, retry("a", generation, 1));
    replica.one(2_100, set_topic(4, settings(true, 60_000)));
    let mut again = Replica::of(replica.store.clone());
    assert_eq!(again.machine.watermark(), Timestamp::from_millis(2_100));
    assert_eq!(again.machine.applied(), 3);
    let topics = |replica: &Replica| replica.machine.topics().iter().cloned().collect::<Vec<_>>();
    assert_eq!(topics(&again), topics(&replica));
    assert_eq!(topics(&again), read::topics(&again.store).unwrap());
    assert_eq!(again.one(4_000, retry("a", generation, 2)), Reply::Superseded);
    replica.at(4_000, vec![]);
    assert_eq!(again.one(5_000, complete("a", generation, 1)), replica.one(5_000, complete("a", generation, 1)));
}

/// More topics than there is room for are refused, and leave nothing.
#[test]
fn topics_are_bounded() {
    let mut replica = Replica::default();
    let topic = |number: u32| {
        Kind::Schedule(Schedule { topic: format!("t{number}"), ..schedule(&format!("id-{number}"), 90_000) })
    };
    replica.at(1_000, (0..4_096).map(topic).collect());
    let reply = replica.one(2_000, topic(4_096));
    assert_eq!(reply, Reply::Refused(Refusal::TooManyTopics { max: 4_096 }));
    assert_eq!(replica.get("id-4096"), None);
    assert!(matches!(replica.one(3_000, topic(4_095)), Reply::Scheduled { replayed: true, .. }));
}

/// A store that answers many keys at once is asked once per entry, and that changes no answer.
#[test]
fn ids_of_an_entry_are_read_at_once() {
    struct Many(MemoryStore, std::cell::Cell<usize>);
    impl Read for Many {
        fn get(&self, key: &[u8]) -> Result<Option<Bytes>, scheduler::store::StoreError> {
            assert_ne!(key[0], scheduler::keys::ID, "a single read of an id");
            self.0.get(key)
        }
        fn get_many(&self, keys: &[Vec<u8>]) -> Result<Option<Vec<Option<Bytes>>>, scheduler::store::StoreError> {
            self.1.set(self.1.get() + 1);
            keys.iter().map(|key| self.0.get(key)).collect::<Result<_, _>>().map(Some)
        }
        fn scan(
            &self,
            from: &[u8],
            to: &[u8],
            visit: &mut dyn FnMut(&[u8], &[u8]) -> std::ops::ControlFlow<()>,
        ) -> Result<(), scheduler::store::StoreError> {
            self.0.scan(from, to, visit)
        }
    }
    let mut replica = Replica::default();
    replica.at(1_000, vec![Kind::Schedule(schedule("a", 5_000))]);
    let many = Many(replica.store.clone(), std::cell::Cell::new(0));
    let commands = entry(
        2_000,
        vec![
            Kind::Schedule(schedule("a", 5_000)),
            Kind::Schedule(schedule("b", 5_000)),
            Kind::Schedule(schedule("b", 5_000)),
        ],
    );
    let mut machine = Machine::open(Stock, &many).unwrap();
    let mut overlay = Overlay::new(&many);
    let applied = machine.apply(2, commands.clone(), &mut overlay).unwrap();
    assert_eq!(applied, replica.apply_bytes(2, commands).unwrap());
    assert_eq!(many.1.get(), 1);
}

fn given_up(replica: &Replica) -> usize {
    replica.store.rows().keys().filter(|key| key[0] == GIVEN_UP).count()
}

/// A held trigger that has fired.
fn held(user: &str) -> (Replica, Generation) {
    let mut replica = Replica::default();
    replica.one(1_000, business("stock gift 9".into()));
    replica.one(2_000, business(format!("hold gift {user} 1000")));
    replica.at(3_000, vec![]);
    let generation = replica.get(&format!("hold-{user}")).unwrap().generation;
    (replica, generation)
}

/// The domain is told of a dead letter once, in the entry that makes it, whichever way it became one; and of nothing else.
///
/// Red when `given_up` is not called for `Fail`, or is called for every failed attempt.
#[test]
fn a_domain_is_told_of_dead_letters() {
    let (mut replica, generation) = held("a");
    replica.one(4_000, retry("hold-a", generation, 1));
    assert_eq!(given_up(&replica), 0, "one attempt of several");
    replica.at(100_000, vec![]);
    let fail = || Kind::Fail(Fail { report: report("hold-a", generation, 2), error: "never".into() });
    assert_eq!(receipt(&replica.one(100_001, fail())).outcome, Outcome::DeadLettered);
    assert_eq!(given_up(&replica), 1);
    let after = replica.get("after-a").unwrap();
    assert_eq!((after.state, after.due), (Outcome::Scheduled, Timestamp::from_millis(101_001)));
    // Said again, it is decided already, and the domain is not told twice.
    assert!(matches!(replica.one(200_000, fail()), Reply::AlreadyDecided(_)));
    assert_eq!(replica.get("after-a").unwrap().generation, after.generation);

    // One that ends well, and the last of the attempts.
    let (mut replica, generation) = held("b");
    replica.one(4_000, complete("hold-b", generation, 1));
    assert_eq!(given_up(&replica), 0);
    let (mut replica, generation) = held("c");
    let mut time = 4_000;
    for attempt in 1.. {
        let reply = replica.one(time, retry("hold-c", generation, attempt));
        if receipt(&reply).outcome == Outcome::DeadLettered {
            break;
        }
        assert_eq!(given_up(&replica), 0, "attempt {attempt}");
        time = replica.get("hold-c").unwrap().retry_at.unwrap().as_millis();
    }
    assert_eq!(given_up(&replica), 1);
}

/// A domain cannot refuse that a trigger was given up: it halts the replica, and says whose it was.
///
/// Red when the refusal is the answer to the report.
#[test]
fn a_domain_that_refuses_a_dead_letter_halts() {
    let (mut replica, generation) = held("stubborn");
    let fail = Kind::Fail(Fail { report: report("hold-stubborn", generation, 1), error: "never".into() });
    let index = replica.machine.applied() + 1;
    let halt = replica.apply_bytes(index, entry(4_000, vec![fail])).unwrap_err();
    assert!(halt.reason.contains("a domain refused that hold-stubborn is a dead letter"), "{}", halt.reason);
}

/// A domain moves a trigger by the rules of the command: not once it has fired.
///
/// Red when `DomainContext::reschedule` takes no place: two versions of an entry would have one number.
#[test]
fn a_domain_moves_a_trigger_until_it_fires() {
    let mut replica = Replica::default();
    replica.one(1_000, business("stock gift 9".into()));
    replica.one(2_000, business("hold gift a 10000".into()));
    let first = replica.get("hold-a").unwrap().generation;
    let moves = vec![business("move a 20000".into()), business("move a 30000".into())];
    let moved = Reply::Business(Bytes::from_static(b"moved"));
    assert_eq!(replica.at(3_000, moves), [moved.clone(), moved]);
    let view = replica.get("hold-a").unwrap();
    assert_eq!((view.state, view.due), (Outcome::Scheduled, Timestamp::from_millis(33_000)));
    // Each command has a place, and each move one of its own.
    assert_eq!((view.generation.index(), view.generation.place()), (3, 3));
    assert_ne!(view.generation, first);
    let late = replica.one(33_000, business("move a 1000".into()));
    assert_eq!(late, Reply::Refused(Refusal::Business(Bytes::from_static(b"too-late"))));
    assert_eq!(replica.get("hold-a").unwrap().state, Outcome::Fired);
}

/// Counters of a domain are summed over commands and entries, a refused one adds nothing and tells nobody.
///
/// Red when `rollback` keeps effects, or `add` replaces.
#[test]
fn a_domain_counts_and_tells_watchers() {
    let mut replica = Replica::default();
    let count = |delta: i64| business(format!("count tea {delta}"));
    replica.at(1_000, vec![count(5), count(-7)]);
    let index = replica.machine.applied() + 1;
    let applied = replica.apply_bytes(index, entry(2_000, vec![count(1), business("count none 9".into())])).unwrap();
    let told = |id: &str| scheduler::reply::Effect::Changed { namespace: NAMESPACE.into(), id: id.into() };
    assert_eq!(applied.effects, [told("item tea")]);
    let rows: Vec<_> = replica.store.rows().iter().filter(|(key, _)| key[0] == COUNTED).collect();
    assert_eq!(rows.len(), 1);
    assert_eq!(scheduler::overlay::decode_counter(rows[0].1), -1);
}
