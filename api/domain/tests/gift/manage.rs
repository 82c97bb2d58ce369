//! What a sender changes, and takes back.

use bytes::Bytes;
use domain::gift::{Cancel, Edit, Party, State};
use domain::notification::News;
use domain::payment::RefundOutcome;
use domain::triggers::Purpose;
use domain::{Kind, Reason};
use scheduler::command::LocalTime;
use scheduler::reply::Reply as Answer;

use crate::world::*;

fn cancel(number: u8) -> Kind {
    Kind::Cancel(Cancel { gift: "g1".into(), request: request(number), expected_version: 0, sender: "kim".into() })
}

#[test]
fn taken_back_in_time() {
    let mut world = World::default();
    let send_at = world.paid("g1");
    world.told();
    world.pass_to(send_at - 1);
    let first = world.ask(cancel(1)).expect("in time");
    assert_eq!((world.state("g1"), world.money()), (State::Cancelled, [0, PRICE as i64, 0, 0]));
    assert!(world.live_ids().iter().all(|(id, _)| id.contains(".refund.")), "{:?}", world.live_ids());
    world.refund("g1", RefundOutcome::Done);
    assert_eq!((world.state("g1"), world.told()), (State::Refunded, vec![News::Refunded]));
    assert_eq!(world.money(), [0, 0, 0, PRICE as i64]);
    // Asked again, whatever happened since: the receipt of the first time.
    let again = world.ask(cancel(1)).expect("the same");
    assert_eq!((again.replayed, again.log_index, again.time), (true, first.log_index, first.time));
}

/// Whether it fired or was cancelled is decided by the log: at its millisecond it has fired.
///
/// Red when `cancel` looks at the state of the gift alone.
#[test]
fn too_late_from_the_millisecond_it_is_sent() {
    let mut world = World::default();
    let send_at = world.paid("g1");
    world.now = send_at;
    let refusal = world.ask(cancel(1)).expect_err("too late");
    assert_eq!(
        (refusal.reason(), refusal.state(), refusal.wanted()),
        (Reason::TooLate, State::Reserved, State::Cancelled)
    );
    let work = world.work(Purpose::Send);
    world.begin("g1", work.round());
    let refusal = world.ask(cancel(1)).expect_err("being sent");
    assert_eq!(
        (refusal.reason(), refusal.state(), refusal.wanted()),
        (Reason::WrongState, State::Sending, State::Cancelled)
    );
}

/// Two commands of one entry, either one first: the order of the log decides.
#[test]
fn of_a_change_and_a_cancel_in_one_entry_the_first_counts() {
    let edit = || Kind::Edit(Edit { gift: "g1".into(), message: Some("!".into()), ..Edit::default() });
    for cancel_first in [true, false] {
        let mut world = World::default();
        world.paid("g1");
        let mut commands = vec![business(edit()), business(cancel(1))];
        if cancel_first {
            commands.reverse();
        }
        let answers = world.entry(commands);
        let refused = matches!(answers[1], Answer::Refused(_));
        assert_eq!((refused, world.state("g1")), (cancel_first, State::Cancelled), "{answers:?}");
    }
}

#[test]
fn changed_until_an_hour_before() {
    let mut world = World::default();
    let send_at = world.paid("g1");
    let edit = |message: &str, send_at| Edit {
        gift: "g1".into(),
        message: Some(message.into()),
        send_at,
        recipient: Some(Party { phone: "+821099999999".into(), ..Party::default() }),
        ..Edit::default()
    };
    world.pass_to(send_at - HOUR);
    world.ask(Kind::Edit(edit("다시", 0))).expect("an hour before");
    world.pass(1);
    let refusal = world.ask(Kind::Edit(edit("!", 0))).expect_err("later than that");
    assert_eq!((refusal.reason(), refusal.state()), (Reason::TooLate, State::Reserved));
    let gift = world.gift("g1");
    assert_eq!((gift.message.as_str(), gift.recipient().phone.as_str()), ("다시", "+821099999999"));
    assert_eq!(gift.send_at, send_at);
}

/// Red when the trigger is not moved with the gift.
#[test]
fn a_new_moment_moves_the_trigger() {
    let mut world = World::default();
    let send_at = world.paid("g1");
    let local = Some(LocalTime {
        date_time: "2027-02-14T00:00:00".into(),
        zone: "America/New_York".into(),
        ..LocalTime::default()
    });
    for (moment, allowed) in [
        (world.now + 10 * MINUTE, true),
        (world.now + 366 * DAY, true),
        (world.now + 366 * DAY + 1, false),
        (world.now + 10 * MINUTE - 1, false),
        (send_at + DAY, true),
    ] {
        world.pass_to(world.now);
        let edit = Edit { gift: "g1".into(), send_at: moment, local: local.clone(), ..Edit::default() };
        let answer = world.ask(Kind::Edit(edit));
        // Ten minutes ahead is allowed, and then it cannot be changed any more; so that comes on a gift of its own.
        if moment == world.now + 10 * MINUTE {
            answer.expect("allowed");
            world = World::default();
            world.paid("g1");
            continue;
        }
        assert_eq!(answer.is_ok(), allowed, "{moment}: {answer:?}");
    }
    world.pass_to(send_at + DAY - 1);
    assert_eq!(world.fired(), []);
    world.pass(1);
    assert_eq!(world.work(Purpose::Send).round(), 1);
}

#[test]
fn versions_and_repeated_requests() {
    let mut world = World::default();
    world.paid("g1");
    let version = world.gift("g1").version;
    let edit = |number, expected_version, message: &str| {
        let (message, request) = (Some(message.into()), request(number));
        Kind::Edit(Edit { gift: "g1".into(), request, expected_version, message, ..Edit::default() })
    };
    world.ask(edit(1, version, "one")).expect("changed");
    let refusal = world.ask(edit(2, version, "two")).expect_err("an old version");
    assert_eq!((refusal.reason(), refusal.version), (Reason::VersionMismatch, world.gift("g1").version));
    assert!(world.ask(edit(1, version, "one")).expect("the same again").replayed);
    assert_eq!(world.gift("g1").message, "one");
    // The answer to a change is none to a cancel.
    let refusal = world.ask(cancel(1)).expect_err("an id that was used");
    assert_eq!((refusal.reason(), refusal.field.as_str()), (Reason::Invalid, "request_id"));
    let short = Edit { gift: "g1".into(), request: Bytes::from_static(b"short"), ..Edit::default() };
    let refusal = world.ask(Kind::Edit(short)).expect_err("no request id");
    assert_eq!((refusal.field.as_str(), refusal.expected.as_str()), ("request_id", "16 bytes"));
    for number in 0..100 {
        world.ask(edit(number + 10, 0, "more")).expect("changed");
    }
    assert_eq!((world.gift("g1").requests.len(), world.gift("g1").events.len()), (8, 48));
    assert_eq!(world.gift("g1").events[0].state(), State::PendingPayment, "the first event is kept");
}

#[test]
fn gifts_of_others_are_not_there() {
    let mut world = World::default();
    world.paid("g1");
    let theirs = Cancel { gift: "g1".into(), sender: "lee".into(), ..Cancel::default() };
    let refusal = world.ask(Kind::Cancel(theirs)).expect_err("not theirs");
    assert_eq!((refusal.reason(), refusal.field.as_str()), (Reason::NotFound, "gift"));
    let theirs = Edit { gift: "g1".into(), sender: "lee".into(), ..Edit::default() };
    assert_eq!(world.ask(Kind::Edit(theirs)).expect_err("not theirs").reason(), Reason::NotFound);
}
