//! Hand-made histories: a good life that every checker accepts, to be broken one way per test.

use crate::history::{
    Answer, Completion, Decided, Delivery, Event, Facts, FinalRead, History, Key, Operation, Outcome, Report,
    ReportVerdict, Request, State, Token,
};

/// The trigger of [`life`].
pub const ID: &str = "gift-1";
/// Its due time.
pub const DUE_MS: i64 = 1_000_000;
/// Its generation: place 0 of entry 10.
pub const GENERATION: u64 = 10 << 12;

pub fn key(id: &str) -> Key {
    Key::new("default", id)
}

pub fn decided(index: u64) -> Decided {
    Decided { partition: 0, index }
}

/// An operation on `id` from `invoked_ms` to `returned_ms`.
pub fn operation(id: &str, invoked_ms: i64, returned_ms: i64, request: Request, answer: Answer) -> Operation {
    Operation {
        client: 1,
        trigger: key(id),
        request,
        invoked_us: invoked_ms * 1_000,
        returned_us: Some(returned_ms * 1_000),
        outcome: Outcome::Ok(answer),
    }
}

pub fn schedule(id: &str, invoked_ms: i64, returned_ms: i64, due_ms: i64, index: u64) -> Operation {
    operation(
        id,
        invoked_ms,
        returned_ms,
        Request::Schedule { due_ms: Some(due_ms) },
        Answer::Scheduled { generation: index << 12, due_ms, decided: decided(index), replayed: false },
    )
}

pub fn reschedule(id: &str, invoked_ms: i64, returned_ms: i64, due_ms: i64, index: u64) -> Operation {
    operation(
        id,
        invoked_ms,
        returned_ms,
        Request::Reschedule { due_ms: Some(due_ms), expected_generation: 0 },
        Answer::Rescheduled { generation: index << 12, due_ms, decided: decided(index) },
    )
}

pub fn cancel(id: &str, invoked_ms: i64, returned_ms: i64, generation: u64, index: u64) -> Operation {
    operation(
        id,
        invoked_ms,
        returned_ms,
        Request::Cancel { expected_generation: 0 },
        Answer::Cancelled { generation, decided: decided(index) },
    )
}

pub fn get(id: &str, invoked_ms: i64, returned_ms: i64, state: State, generation: u64, due_ms: i64) -> Operation {
    operation(id, invoked_ms, returned_ms, Request::Get, Answer::Read { state, generation, due_ms })
}

pub fn facts(generation: u64, due_ms: i64) -> Facts {
    Facts {
        decided: decided(30),
        generation,
        due_ms,
        fired: Some((due_ms, 20)),
        outcome: State::Completed,
        executor: "e1".into(),
        attempt: 1,
    }
}

pub fn delivery(id: &str, generation: u64, due_ms: i64) -> Delivery {
    Delivery {
        executor: "e1".into(),
        trigger: key(id),
        generation,
        attempt: 1,
        token: Token { epoch: 1, term: 1, counter: 1 },
        partition: 0,
        due_ms,
        fired_ms: due_ms,
        received_us: due_ms * 1_000 + 700,
    }
}

pub fn completion(id: &str, generation: u64, due_ms: i64) -> Completion {
    Completion {
        executor: "e1".into(),
        trigger: key(id),
        generation,
        attempt: 1,
        token: Token { epoch: 1, term: 1, counter: 1 },
        report: Report::Success,
        verdict: ReportVerdict::Accepted,
        receipt: Some(facts(generation, due_ms)),
        answered_us: due_ms * 1_000 + 2_000,
    }
}

pub fn final_read(id: &str, state: State, generation: u64, due_ms: i64) -> FinalRead {
    FinalRead {
        trigger: key(id),
        state,
        topic: "mail".into(),
        generation,
        due_ms,
        attempt: 0,
        leased: false,
        retry_at_ms: None,
        receipt: (state == State::Completed).then(|| facts(generation, due_ms)),
        read_us: (due_ms + 60_000) * 1_000,
    }
}

/// One trigger that is scheduled, fired, delivered, completed and read.
pub fn life() -> History {
    let mut history = History::default();
    history.push(Event::Operation(schedule(ID, 100, 105, DUE_MS, 10)));
    history.push(Event::Delivery(delivery(ID, GENERATION, DUE_MS)));
    history.push(Event::Completion(completion(ID, GENERATION, DUE_MS)));
    history.push(Event::FinalRead(final_read(ID, State::Completed, GENERATION, DUE_MS)));
    history
}

/// One trigger that is scheduled, moved, cancelled and read.
pub fn cancelled() -> History {
    let mut history = History::default();
    history.push(Event::Operation(schedule(ID, 100, 105, DUE_MS, 10)));
    history.push(Event::Operation(reschedule(ID, 110, 115, 2 * DUE_MS, 11)));
    history.push(Event::Operation(cancel(ID, 120, 125, 11 << 12, 12)));
    history.push(Event::FinalRead(final_read(ID, State::Cancelled, 11 << 12, 2 * DUE_MS)));
    history
}
