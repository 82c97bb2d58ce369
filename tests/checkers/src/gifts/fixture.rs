//! Hand-made records: good lives that every checker accepts, to be broken one way per test.

use super::Options;
use super::history::{Answer, Books, Call, Capture, FinalGift, Gifts, Kind, Message, Outcome, Refund, Request, State};
use crate::history::Key;

pub const WON: u64 = 4_500;
pub const SEND_AT_MS: i64 = 1_000_000;
pub const LINK: u64 = 71;
pub const CODE: u64 = 81;

pub fn options() -> Options {
    Options { end_ms: 2 * SEND_AT_MS, clock_error_us: 0 }
}

pub fn key(id: &str) -> Key {
    Key::new("default", id)
}

pub fn call(id: &str, at_ms: i64, request: Request, outcome: Outcome) -> Call {
    Call {
        client: 1,
        gift: key(id),
        request,
        invoked_us: at_ms * 1_000,
        returned_us: Some(at_ms * 1_000 + 900),
        outcome,
    }
}

pub fn done(state: State, log_index: u64) -> Outcome {
    Outcome::Done(Answer { state, log_index, replayed: false, code: None })
}

pub fn accepted(log_index: u64, code: u64) -> Outcome {
    Outcome::Done(Answer { state: State::Accepted, log_index, replayed: false, code: Some(code) })
}

pub fn too_late() -> Outcome {
    Outcome::Refused { reason: "TOO_LATE".into(), state: Some(State::Reserved) }
}

pub fn unknown() -> Outcome {
    Outcome::Unknown { reason: "timed out".into() }
}

pub fn message(id: &str, kind: Kind, link: u64, at_ms: i64) -> Message {
    Message {
        gift: key(id),
        kind,
        channel: "KAKAO".into(),
        link: Some(link),
        key: format!("default/{id}/1/send/KAKAO/1"),
        delivered: true,
        at_us: at_ms * 1_000,
    }
}

pub fn end(id: &str, state: State) -> FinalGift {
    FinalGift {
        gift: key(id),
        state,
        captured_won: WON,
        send_at_ms: SEND_AT_MS,
        transferred: false,
        expired: false,
        attention: false,
        by_sender: false,
        shop: String::new(),
    }
}

fn reserved(id: &str) -> Gifts {
    let request = Request::Reserve { won: WON, send_at_ms: SEND_AT_MS };
    Gifts {
        calls: vec![call(id, 100, request, done(State::PendingPayment, 10))],
        captures: vec![Capture { gift: key(id), won: WON }],
        ..Gifts::default()
    }
}

/// One gift that is reserved, sent, accepted and used.
pub fn used() -> Gifts {
    let mut gifts = reserved("g");
    gifts.messages.push(message("g", Kind::Gift, LINK, SEND_AT_MS + 5));
    gifts.calls.push(call("g", SEND_AT_MS + 10, Request::Accept { link: LINK }, accepted(20, CODE)));
    let redeem = Request::Redeem { code: CODE, shop: "s-1".into() };
    gifts.calls.push(call("g", SEND_AT_MS + 20, redeem, done(State::Used, 30)));
    gifts.at_end.push(FinalGift { shop: "s-1".into(), ..end("g", State::Used) });
    gifts.books = Books { captured: WON as i64, delivered: WON as i64, ..Books::default() };
    gifts
}

/// One that is taken back in time.
pub fn cancelled() -> Gifts {
    let mut gifts = reserved("c");
    gifts.calls.push(call("c", 200, Request::Cancel, done(State::Cancelled, 15)));
    gifts.refunds.push(Refund { gift: key("c"), won: WON });
    gifts.at_end.push(end("c", State::Refunded));
    gifts.books = Books { captured: WON as i64, refunded: WON as i64, ..Books::default() };
    gifts
}

/// One that was accepted and passed on; the new holder uses it.
pub fn passed_on() -> Gifts {
    let mut gifts = reserved("p");
    gifts.messages.push(message("p", Kind::Gift, LINK, SEND_AT_MS + 5));
    gifts.calls.push(call("p", SEND_AT_MS + 10, Request::Accept { link: LINK }, accepted(20, CODE)));
    gifts.calls.push(call("p", SEND_AT_MS + 20, Request::Transfer { link: LINK }, done(State::Accepted, 25)));
    gifts.messages.push(message("p", Kind::News, LINK + 1, SEND_AT_MS + 25));
    gifts.calls.push(call("p", SEND_AT_MS + 30, Request::Accept { link: LINK + 1 }, accepted(27, CODE + 1)));
    let redeem = Request::Redeem { code: CODE + 1, shop: "s-1".into() };
    gifts.calls.push(call("p", SEND_AT_MS + 40, redeem, done(State::Used, 30)));
    gifts.at_end.push(FinalGift { transferred: true, shop: "s-1".into(), ..end("p", State::Used) });
    gifts.books = Books { captured: WON as i64, delivered: WON as i64, ..Books::default() };
    gifts
}

pub fn good() -> [Gifts; 3] {
    [used(), cancelled(), passed_on()]
}
