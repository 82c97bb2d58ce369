//! From the wish to the end, and what a reservation needs.

use domain::gift::{self, Accept, Redeem, State};
use domain::notification::News;
use domain::payment::Outcome;
use domain::triggers::Purpose;
use domain::{Kind, Reason};
use scheduler::time::Timestamp;

use crate::world::*;

/// Red when any of the money is not moved with the gift.
#[test]
fn reserved_paid_sent_accepted_used() {
    let mut world = World::default();
    let send_at = world.reserved("g1");
    assert_eq!((world.state("g1"), world.money()), (State::PendingPayment, [0; 4]));
    world.provider(Purpose::Pay, Outcome::Captured, PRICE);
    assert_eq!((world.state("g1"), world.money()), (State::Reserved, [PRICE as i64, 0, 0, 0]));
    assert_eq!(world.told(), [News::Reserved]);

    world.pass_to(send_at - 1);
    assert_eq!(world.fired(), []);
    world.pass(1);
    let work = world.work(Purpose::Send);
    let turn = world.begin("g1", work.round());
    assert_eq!((turn.resumed, turn.over, turn.begun_at), (false, false, send_at));
    assert_eq!((world.state("g1"), world.money()), (State::Sending, [0, PRICE as i64, 0, 0]));
    world.done(&work, Some(sent("g1", 1, turn.channel)));
    assert_eq!((world.state("g1"), world.money()), (State::Sent, [0, 0, PRICE as i64, 0]));
    assert_eq!(world.told(), [News::Sent]);

    let (link, code) = (world.link("g1"), world.code("g1"));
    let reply = world.ask(Kind::Accept(Accept { link: link.clone(), request: request(1) })).expect("accepted");
    assert!(reply.gift.is_some_and(|gift| gift.draw.is_some()), "the holder is shown the code");
    assert_eq!((world.state("g1"), world.told()), (State::Accepted, vec![News::Received]));
    world.pass(DAY);
    let redeem = Redeem { code, request: request(2), shop: "gangnam-1".into(), ..Redeem::default() };
    let reply = world.ask(Kind::Redeem(redeem.clone())).expect("used");
    assert!(reply.gift.is_some_and(|gift| gift.draw.is_none() && gift.requests.is_empty()), "a shop is shown no link");
    assert_eq!((world.state("g1"), world.gift("g1").shop.as_str()), (State::Used, "gangnam-1"));
    assert_eq!(world.money(), [0, 0, PRICE as i64, 0]);
    assert_eq!(world.live_ids(), [], "nothing is left to be done");
    assert!(world.ask(Kind::Redeem(redeem)).expect("the same again").replayed);

    let passed: Vec<State> = world.gift("g1").events.iter().map(|event| event.state()).collect();
    use State::{Accepted, PendingPayment, Reserved, Sending, Sent, Used};
    assert_eq!(passed, [PendingPayment, Reserved, Sending, Sent, Accepted, Used]);
}

/// Red when `reserve` schedules outside the step: then a refused one leaves its trigger.
#[test]
fn a_repeated_request_is_answered_as_the_first_and_another_is_refused() {
    let mut world = World::default();
    let command = world.reserve("g1");
    let first = world.ask(Kind::Reserve(command.clone())).expect("reserved");
    world.pass(HOUR);
    let again = world.ask(Kind::Reserve(command.clone())).expect("the same");
    assert!(again.replayed && !first.replayed);
    assert_eq!(again.gift, first.gift);
    let other = gift::Reserve { fingerprint: 8, ..command };
    let refusal = world.ask(Kind::Reserve(other)).expect_err("another content");
    assert_eq!((refusal.reason(), refusal.field.as_str()), (Reason::AlreadyExists, "gift"));
    assert_eq!(world.live().len(), 1);
}

/// Red when `list_of_sender` lists by id, or goes on at the last one it listed.
#[test]
fn lists_of_a_sender_are_the_newest_first_and_go_on() {
    let mut world = World::default();
    for id in ["b", "a", "c"] {
        world.reserved(id);
        world.pass(MINUTE);
    }
    let list = |before, max| gift::list_of_sender(&world.store, SHOP, "kim", before, max).expect("read");
    let ids = |gifts: &[gift::Gift]| gifts.iter().map(|gift| gift.id.clone()).collect::<Vec<_>>();
    let first = list(0, 2);
    assert_eq!(ids(&first), ["c", "a"]);
    assert_eq!(ids(&list(first[1].made, 2)), ["b"]);
    assert_eq!(ids(&gift::list_of_sender(&world.store, SHOP, "ki", 0, 9).expect("read")), [""; 0]);
    assert_eq!(ids(&gift::list_of_sender(&world.store, "other", "kim", 0, 9).expect("read")), [""; 0]);
}

/// Red when the bounds of [`gift::SEND_AHEAD_MIN`] or [`gift::SEND_AHEAD_MAX`] are off by one.
#[test]
fn moments_are_ten_minutes_to_366_days_ahead() {
    let mut world = World::default();
    for (number, (ahead, allowed)) in
        [(10 * MINUTE, true), (10 * MINUTE - 1, false), (366 * DAY, true), (366 * DAY + 1, false), (0, false)]
            .into_iter()
            .enumerate()
    {
        let command = reserve(&format!("g{number}"), world.now + ahead);
        match world.ask(Kind::Reserve(command)) {
            Ok(_) => assert!(allowed, "{ahead}"),
            Err(refusal) => {
                assert!(!allowed, "{ahead}: {refusal}");
                assert_eq!((refusal.reason(), refusal.field.as_str()), (Reason::Invalid, "send_at"));
            }
        }
    }
    // At the end of time nothing overflows.
    for send_at in [0, u64::MAX] {
        world.ask(Kind::Reserve(reserve("g9", send_at))).expect_err("out of range");
    }
}

/// Red when what a payment, a gift or a report was is judged by rows of today.
#[test]
fn a_report_of_a_past_moment_stays_what_it_was() {
    let mut world = World::default();
    world.sent("g1");
    let then = (world.now, world.report());
    world.pass(3 * DAY);
    world.paid("g2");
    world.pass(40 * DAY);
    assert_ne!(world.report().days.len(), then.1.days.len());
    let again = domain::ledger::report(&world.store, SHOP, Timestamp::from_millis(then.0)).expect("read");
    assert_eq!(again, then.1);
    // Before anything, and beyond everything.
    let at = |ms| domain::ledger::report(&world.store, SHOP, Timestamp::from_millis(ms)).expect("read");
    assert_eq!(at(0), domain::ledger::Report::default());
    assert_eq!(at(u64::MAX).captured, world.report().captured);
}
