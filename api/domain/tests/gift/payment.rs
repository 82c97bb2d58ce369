//! What becomes of the money before a gift waits.

use domain::gift::State;
use domain::notification::News;
use domain::payment::{Outcome, PaymentState, RefundOutcome, RefundState};
use domain::triggers::Purpose;
use domain::{Kind, Reason};
use scheduler::reply::{Outcome as Ended, Reply as Answer};

use crate::world::*;

#[test]
fn declined_is_failed_and_nothing_was_taken() {
    let mut world = World::default();
    world.reserved("g1");
    world.provider(Purpose::Pay, Outcome::Declined, 0);
    assert_eq!((world.state("g1"), world.payment("g1").state()), (State::Failed, PaymentState::Fail));
    assert_eq!(world.gift("g1").trouble, "not paid: said the provider");
    assert_eq!((world.money(), world.live_ids()), ([0; 4], vec![]));
}

/// Red when `withdraw` leaves a row, or a trigger's id does not differ from that of the gift before.
#[test]
fn a_provider_that_was_not_reached_leaves_nothing_and_the_id_is_free_at_once() {
    let mut world = World::default();
    world.reserved("g1");
    let work = world.work(Purpose::Pay);
    // Reserved again in the same entry, while the id of the old trigger is kept for its retention.
    let again = business(Kind::Reserve(world.reserve("g1")));
    let completed = scheduler::command::Complete {
        report: Some(scheduler::command::Report {
            namespace: SHOP.into(),
            id: work.id.clone(),
            generation: work.generation,
            token: None,
            attempt: 1,
            executor: "e".into(),
        }),
        business: encoded(settle("g1", Outcome::NotReached, 0)),
    };
    let answers = world.entry(vec![scheduler::command::Kind::Complete(completed), again]);
    assert!(matches!(answers[..], [Answer::Decided(_), Answer::Business(_)]), "{answers:?}");
    assert_ne!(world.work(Purpose::Pay).id, work.id);
    world.provider(Purpose::Pay, Outcome::NotReached, 0);
    let rows = world.store.rows().keys().filter(|key| key[0] >= 0x80).count();
    assert_eq!((rows, world.live_ids()), (0, vec![]), "nothing is left");

    // Asked twice: nothing to be done. But money is never passed over.
    assert!(world.ask(settle("g1", Outcome::NotReached, 0)).expect("a repetition").replayed);
    let refusal = world.ask(settle("g1", Outcome::Captured, PRICE)).expect_err("money without a gift");
    assert_eq!((refusal.reason(), refusal.field.as_str()), (Reason::NotFound, "payment"));
    world.paid("g1");
}

/// Red when a pause does not grow, or the thirty-third question is asked.
#[test]
fn unknown_is_asked_about_with_growing_pauses_then_a_human_is() {
    let mut world = World::default();
    world.reserved("g1");
    world.provider(Purpose::Pay, Outcome::Unknown, 0);
    let mut pauses = Vec::new();
    while !world.gift("g1").attention {
        let asked = world.now;
        world.provider(Purpose::Query, Outcome::Unknown, 0);
        pauses.push((world.now - asked) / SECOND);
    }
    assert_eq!(pauses[..11], [5, 10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600]);
    assert_eq!((pauses.len(), pauses.iter().sum::<u64>() / 3_600), (32, 23));
    assert_eq!((world.told(), world.live_ids()), (vec![News::Attention], vec![]));
    assert_eq!(domain::gift::list_attention(&world.store, SHOP, "", 9).expect("read").len(), 1);
    // The human finds out; by now its moment has not passed by more than an hour.
    world.ask(settle("g1", Outcome::Captured, PRICE)).expect("settled");
    assert_eq!((world.state("g1"), world.gift("g1").attention), (State::Reserved, false));
}

#[test]
fn unknown_is_found_captured_or_declined() {
    for (outcome, won, state) in [(Outcome::Captured, PRICE, State::Reserved), (Outcome::Declined, 0, State::Failed)] {
        let mut world = World::default();
        world.reserved("g1");
        world.provider(Purpose::Pay, Outcome::Unknown, 0);
        // A provider that is not reached when it is asked what became of it says nothing about that.
        world.provider(Purpose::Query, Outcome::NotReached, 0);
        assert_eq!(world.payment("g1").state(), PaymentState::Unknown);
        world.provider(Purpose::Query, outcome, won);
        assert_eq!((world.state("g1"), world.money()), (state, [won as i64, 0, 0, 0]));
    }
}

/// Red when reports that are repeated each begin a chain of questions of their own.
#[test]
fn repeated_reports_make_one_chain_of_questions() {
    let mut world = World::default();
    world.reserved("g1");
    for _ in 0..5 {
        world.ask(settle("g1", Outcome::Unknown, 0)).expect("noted");
    }
    let queries = world.live_ids().iter().filter(|(id, _)| id.contains(".query.")).count();
    assert_eq!((queries, world.payment("g1").queries), (1, 5));
    world.ask(settle("g1", Outcome::Captured, PRICE)).expect("settled");
    assert!(!world.live_ids().iter().any(|(id, _)| id.contains(".query.")), "{:?}", world.live_ids());
    // The executor that asked first comes back with the same.
    let work = world.work(Purpose::Pay);
    assert!(matches!(world.done(&work, Some(settle("g1", Outcome::Captured, PRICE))), Answer::Decided(_)));
    assert_eq!(world.money(), [PRICE as i64, 0, 0, 0]);
}

#[test]
fn another_amount_than_the_price_goes_back() {
    for won in [1, PRICE - 1, PRICE + 1, 100_000_000] {
        let mut world = World::default();
        world.reserved("g1");
        world.provider(Purpose::Pay, Outcome::Captured, won);
        assert_eq!((world.state("g1"), world.money()), (State::Failed, [0, won as i64, 0, 0]));
        world.refund("g1", RefundOutcome::Done);
        assert_eq!((world.state("g1"), world.money()), (State::Refunded, [0, 0, 0, won as i64]));
    }
}

/// Red when an amount of nothing counts as captured: the next report would be refunded twice.
#[test]
fn amounts_that_cannot_be_are_refused() {
    let mut world = World::default();
    world.reserved("g1");
    for won in [0, 100_000_001, u64::MAX] {
        let refusal = world.ask(settle("g1", Outcome::Captured, won)).expect_err("no amount");
        assert_eq!((refusal.reason(), refusal.field.as_str()), (Reason::Invalid, "captured_won"));
    }
    assert_eq!(world.payment("g1").state(), PaymentState::InProgress);
}

#[test]
fn captured_after_it_had_failed_goes_back_once() {
    let mut world = World::default();
    world.reserved("g1");
    world.provider(Purpose::Pay, Outcome::Declined, 0);
    for _ in 0..2 {
        world.ask(settle("g1", Outcome::Captured, PRICE)).expect("noted");
        assert_eq!((world.state("g1"), world.money()), (State::Failed, [0, PRICE as i64, 0, 0]));
    }
    world.refund("g1", RefundOutcome::Done);
    assert_eq!((world.state("g1"), world.money()), (State::Refunded, [0, 0, 0, PRICE as i64]));
    assert!(world.ask(settle("g1", Outcome::Captured, PRICE)).expect("a repetition").replayed);
}

/// Red when `paid` schedules a sending however late, or answers the payment as it was before it went back.
#[test]
fn paid_too_late_goes_back_and_paid_a_little_late_is_sent_at_once() {
    for (late, state) in [(HOUR, State::Reserved), (HOUR + 1, State::Failed)] {
        let mut world = World::default();
        let send_at = world.reserved("g1");
        world.pass_to(send_at + late);
        let reply = world.ask(settle("g1", Outcome::Captured, PRICE)).expect("settled");
        assert_eq!(world.state("g1"), state);
        assert_eq!(reply.payment, Some(world.payment("g1")));
        match state {
            State::Reserved => assert_eq!(world.work(Purpose::Send).round(), 1),
            _ => {
                assert_eq!((world.told(), world.payment("g1").refund()), (vec![News::Failed], RefundState::Requested));
                world.refund("g1", RefundOutcome::Done);
                assert_eq!(world.state("g1"), State::Refunded);
            }
        }
    }
}

/// Executors died over the question: nobody knows whether it was asked, so the provider is.
///
/// Red when `dead_lettered` does nothing.
#[test]
fn executors_that_die_over_a_payment_make_it_unknown() {
    let mut world = World::default();
    world.reserved("g1");
    world.all_die(Purpose::Pay);
    assert_eq!(world.payment("g1").state(), PaymentState::Unknown);
    // Those that ask what became of it die too: a human is told.
    world.all_die(Purpose::Query);
    assert_eq!((world.gift("g1").attention, world.told()), (true, vec![News::Attention]));
}

/// Red when `dead_lettered` does not ask whether the gift still waits for that trigger.
#[test]
fn a_dead_letter_of_an_earlier_time_changes_nothing() {
    let mut world = World::default();
    world.reserved("g1");
    let old = world.work(Purpose::Pay);
    world.ask(settle("g1", Outcome::NotReached, 0)).expect("withdrawn");
    world.reserved("g1");
    assert!(matches!(world.failed(&old), Answer::Decided(receipt) if receipt.outcome == Ended::DeadLettered));
    assert_eq!(world.payment("g1").state(), PaymentState::InProgress, "the payment of the gift that is there now");
}

#[test]
fn a_refund_that_is_refused_waits_for_a_human_and_is_done_later() {
    let mut world = World::default();
    world.reserved("g1");
    world.provider(Purpose::Pay, Outcome::Captured, PRICE + 1);
    world.told();
    world.refund("g1", RefundOutcome::Refused);
    let gift = world.gift("g1");
    assert_eq!(
        (gift.state(), gift.attention, world.payment("g1").refund()),
        (State::Failed, true, RefundState::Failed)
    );
    assert_eq!((world.told(), world.money()), (vec![News::Attention], [0, PRICE as i64 + 1, 0, 0]));
    world.ask(settle_refund("g1", RefundOutcome::Done)).expect("done by hand");
    let gift = world.gift("g1");
    assert_eq!((gift.state(), gift.attention, world.told()), (State::Refunded, false, vec![News::Refunded]));
    assert!(world.ask(settle_refund("g1", RefundOutcome::Refused)).expect("nothing to do").replayed);
}

#[test]
fn executors_that_die_over_a_refund_leave_it_to_a_human() {
    let mut world = World::default();
    world.reserved("g1");
    world.provider(Purpose::Pay, Outcome::Captured, 1);
    world.all_die(Purpose::Refund);
    assert_eq!((world.gift("g1").attention, world.payment("g1").refund()), (true, RefundState::Requested));
    world.ask(settle_refund("g1", RefundOutcome::Done)).expect("done by hand");
    assert_eq!(world.state("g1"), State::Refunded);
}
