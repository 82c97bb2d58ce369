//! Requests: what is accepted here the core accepts too, and what is refused can be told.

use std::sync::LazyLock;

use bytes::Bytes;
use prost::Message;
use proto::admin::v1 as admin;
use proto::v1;
use scheduler::command::{Command, Entry, Kind, SetTopic};
use scheduler::domain::NoDomain;
use scheduler::forecast::Grid;
use scheduler::machine::Machine;
use scheduler::memory::MemoryStore;
use scheduler::overlay::Overlay;
use scheduler::read::{self, Cursor, ListQuery};
use scheduler::record;
use scheduler::reply::{Refusal, Reply};
use scheduler::time::{Delay, Timestamp};

use super::ZONES;
use crate::convert::{self, Range};
use crate::error::Error;
use crate::routing;
use crate::services::dead_letters::{bytes_of, position_of};
use crate::services::executor::hello_of;
use crate::services::list::{PageToken, query_of};
use crate::services::watch::{cursor_text, parse_cursor};
use crate::validate::Violations;

/// Time of the entry that a command gets into.
const NOW: u64 = 1_800_000_000_000;

const PARTITIONS: u32 = 4;

/// A message that is the same, read again after it was written.
fn message<M: Message + Default + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    let again = M::decode(&message.encode_to_vec()[..]).expect("what was written is read");
    assert!(again == message, "{message:?} was read again as {again:?}");
    Some(message)
}

/// Whether a request was accepted; when not, whoever sent it can be told why.
fn told<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(accepted) => Some(accepted),
        Err(error) => {
            if let Error::Invalid(found) = &error {
                assert!(!found.is_empty() && found.iter().all(|one| !one.field.is_empty()), "a field each");
                assert!(found.iter().all(|one| one.description.len() < 4_096), "in a few words");
            }
            let status = tonic::Status::from(error);
            assert!(
                !matches!(status.code(), tonic::Code::Ok | tonic::Code::Internal | tonic::Code::Unknown),
                "{status}"
            );
            None
        }
    }
}

/// What was accepted here is applied, or refused for what the rows say; never for what it says itself.
fn applied(kind: Kind) -> bool {
    let store = MemoryStore::default();
    let mut machine = Machine::new(NoDomain);
    let entry = Entry { time: NOW, commands: vec![Command { kind: Some(kind) }], level: 1 };
    let mut overlay = Overlay::new(&store);
    let applied =
        machine.apply(1, Bytes::from(entry.encode_to_vec()), &mut overlay).expect("a command that was accepted");
    let refused = matches!(&applied.replies[..], [Reply::Refused(Refusal::Invalid { .. })]);
    assert!(!refused, "accepted here and refused there: {:?}", applied.replies);
    true
}

pub(super) fn writes(input: &[u8]) -> bool {
    let Some((which, bytes)) = input.split_first() else { return false };
    let accepted = match which % 12 {
        0 => message::<v1::ScheduleRequest>(bytes).and_then(|request| {
            assert!(routing::partition(&request.namespace, &request.id, PARTITIONS) < PARTITIONS);
            told(convert::schedule(request, &ZONES, "items[3].")).map(|scheduled| Kind::Schedule(scheduled.command))
        }),
        1 => message(bytes).and_then(|request| told(convert::cancel(request, "")).map(Kind::Cancel)),
        2 => message(bytes).and_then(|request| told(convert::reschedule(request, &ZONES)).map(Kind::Reschedule)),
        3 => message(bytes).and_then(|request| told(convert::run_now(request)).map(Kind::RunNow)),
        4 => message(bytes).and_then(|request| told(convert::requeue(request)).map(Kind::Requeue)),
        5 => message(bytes).and_then(|request| told(convert::drop_letter(request)).map(Kind::Drop)),
        6 => message::<v1::UpdateTopicRequest>(bytes).and_then(topic),
        7 => return message::<v1::CompleteRequest>(bytes).is_some_and(complete),
        8 => return message::<v1::Hello>(bytes).is_some_and(|hello| told(hello_of(hello)).is_some()),
        9 => {
            return message::<v1::HeldLease>(bytes).is_some_and(|lease| {
                let Some(held) = told(convert::held_of(lease, "held[0]")) else { return false };
                let again = convert::held_of(convert::lease(held.clone()), "").expect("what was accepted");
                assert_eq!(again, held);
                true
            });
        }
        10 => {
            let Some(batch) = message::<v1::BatchScheduleRequest>(bytes) else { return false };
            let mut v = Violations::new();
            v.batch("items", batch.items.len());
            let accepted = told(v.finish(())).is_some();
            for (place, item) in batch.items.into_iter().take(8).enumerate() {
                if let Some(one) = told(convert::schedule(item, &ZONES, &format!("items[{place}]."))) {
                    applied(Kind::Schedule(one.command));
                }
            }
            return accepted;
        }
        _ => return message::<v1::WorkRequest>(bytes).is_some_and(|request| request.message.is_some()),
    };
    accepted.is_some_and(applied)
}

fn topic(request: v1::UpdateTopicRequest) -> Option<Kind> {
    let mut v = Violations::new();
    let namespace = v.namespace("namespace", request.namespace);
    v.topic("name", &request.name);
    told(v.finish(()))?;
    let before = record::default_settings();
    let settings = told(convert::topic_settings(&before, &request.limits.unwrap_or_default()))?;
    for partition in 0..PARTITIONS {
        let share = convert::share_of(&settings, partition, PARTITIONS);
        let command =
            SetTopic { namespace: namespace.clone(), topic: request.name.clone(), version: 1, settings: Some(share) };
        applied(Kind::SetTopic(command));
    }
    let settings = Some(convert::share_of(&settings, 0, PARTITIONS));
    Some(Kind::SetTopic(SetTopic { namespace, topic: request.name, version: 1, settings }))
}

fn complete(request: v1::CompleteRequest) -> bool {
    let mut accepted = false;
    for (place, outcome) in request.outcomes.into_iter().take(16).enumerate() {
        accepted |= told(convert::outcome_of(outcome, place as u64)).is_some();
    }
    accepted
}

/// Rows with a few triggers in them.
static ROWS: LazyLock<MemoryStore> = LazyLock::new(|| {
    let mut store = MemoryStore::default();
    let mut machine = Machine::new(NoDomain);
    let schedule = |number: u64| {
        let when = v1::when::When::At(prost_types::Timestamp { seconds: (NOW / 1_000 + number) as i64, nanos: 0 });
        let request = v1::ScheduleRequest {
            id: format!("order-{number}"),
            topic: format!("topic-{}", number % 3),
            when: Some(v1::When { when: Some(when) }),
            labels: [("kind".to_owned(), format!("{}", number % 2))].into(),
            ..Default::default()
        };
        let command = convert::schedule(request, &ZONES, "").expect("allowed").command;
        Command { kind: Some(Kind::Schedule(command)) }
    };
    for (index, time) in [(1, NOW), (2, NOW + 5_000)] {
        let commands = if index == 1 { (0..20).map(schedule).collect() } else { Vec::new() };
        let entry = Entry { time, commands, level: 1 };
        let mut overlay = Overlay::new(&store);
        machine.apply(index, Bytes::from(entry.encode_to_vec()), &mut overlay).expect("allowed");
        let writes = overlay.into_writes();
        store.write(writes);
    }
    store
});

pub(super) fn reads(input: &[u8]) -> bool {
    let Some((which, bytes)) = input.split_first() else { return false };
    match which % 6 {
        0 => message::<v1::ListRequest>(bytes).is_some_and(list),
        1 => message::<v1::ListDeadLettersRequest>(bytes).is_some_and(dead_letters),
        2 => message::<v1::WatchRequest>(bytes).is_some_and(watch),
        3 => message::<v1::ForecastRequest>(bytes).is_some_and(forecast),
        4 => message::<admin::AdvanceClockRequest>(bytes).is_some(),
        _ => {
            let ages = crate::peers::canaries_of(bytes).inspect(|(_, age)| assert!(age.as_millis() <= u32::MAX.into()));
            ages.count() == bytes.len() / 8
        }
    }
}

/// A token that was taken, written and read again, is the same.
fn page<C: Copy + PartialEq + std::fmt::Debug>(
    v: &mut Violations,
    text: &str,
    read: impl Fn(&[u8]) -> Option<C>,
    write: impl FnOnce(C) -> Vec<u8>,
) -> PageToken<C> {
    let token = PageToken::parse(v, "page_token", text, PARTITIONS as usize, &read);
    assert!(token.partition < PARTITIONS);
    let again = PageToken::parse(&mut Violations::new(), "page_token", &token.text(write), PARTITIONS as usize, &read);
    assert_eq!(again, token);
    token
}

fn list(request: v1::ListRequest) -> bool {
    let mut v = Violations::new();
    let namespace = v.namespace("namespace", request.namespace);
    let limit = v.page_size("page_size", request.page_size);
    let query = query_of(&mut v, namespace, request.filter.unwrap_or_default());
    let token = page(&mut v, &request.page_token, Cursor::from_bytes, |cursor| cursor.to_bytes().to_vec());
    if told(v.finish(())).is_none() {
        return false;
    }
    let query = ListQuery { limit, ..query };
    let mut after = token.after;
    for _ in 0..100 {
        let page = read::list(&*ROWS, &query, after).expect("rows can be read");
        assert!(page.items.len() <= limit && page.items.iter().all(|view| query.matches(view)));
        assert!(page.next.is_none_or(|next| Some(next) != after), "a page that goes nowhere");
        after = page.next;
        if after.is_none() {
            return true;
        }
    }
    panic!("20 triggers on more than 100 pages");
}

fn dead_letters(request: v1::ListDeadLettersRequest) -> bool {
    let mut v = Violations::new();
    let namespace = v.namespace("namespace", request.namespace);
    if !request.topic.is_empty() {
        v.topic("topic", &request.topic);
    }
    let limit = v.page_size("page_size", request.page_size);
    let token = page(&mut v, &request.page_token, position_of, bytes_of);
    if told(v.finish(())).is_none() {
        return false;
    }
    let topic = Some(request.topic.as_str()).filter(|topic| !topic.is_empty());
    let found = read::dead_letters(&*ROWS, &namespace, topic, token.after, limit, 1 << 20).expect("rows can be read");
    assert!(found.items.is_empty() && found.next.is_none());
    true
}

fn watch(request: v1::WatchRequest) -> bool {
    let mut v = Violations::new();
    let namespace = v.namespace("namespace", request.namespace);
    let query = query_of(&mut v, namespace, request.filter.unwrap_or_default());
    let places = parse_cursor(&request.cursor);
    v.require(places.is_some(), "cursor", || "expected the cursor of an earlier event".into());
    if let Some(places) = &places {
        assert_eq!(parse_cursor(&cursor_text(places)).as_ref(), Some(places));
    }
    if told(v.finish(())).is_none() {
        return false;
    }
    let page = read::list(&*ROWS, &query, None).expect("rows can be read");
    assert!(page.items.iter().all(|view| query.matches(view)));
    true
}

fn forecast(request: v1::ForecastRequest) -> bool {
    let mut v = Violations::new();
    let any = Range(1, u64::MAX);
    let step = request.step.map(|step| convert::delay_of(&mut v, "step", &step, any));
    let step = step.unwrap_or(Delay::from_millis(60_000));
    let span = request.span.map(|span| convert::delay_of(&mut v, "span", &span, any));
    let span = span.unwrap_or(Delay::from_millis(step.as_millis().saturating_mul(60)));
    if told(v.finish(())).is_none() {
        return false;
    }
    let Ok(grid) = Grid::new(Timestamp::from_millis(NOW), step, span) else { return false };
    assert!(grid.start() <= Timestamp::from_millis(NOW) && grid.end() > grid.start(), "{grid:?}");
    true
}
