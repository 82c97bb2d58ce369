//! Money: confirmed, asked after, given back.

use std::time::Duration;

use executor::business::{ConfirmPayment, QueryPayment, RefundPayment};
use executor::providers::payment::{Cancel, CancelOutcome, PaymentProvider};
use executor::providers::toss::{self, Toss};
use executor::{Handler, Outcome};
use fakes::switches::{Failure, Mode, Reach, Switch};
use fakes::toss::{NAME, NewPayment};
use proto::payment::v1::payment_outcome::Kind;
use proto::payment::v1::{PayWork, PaymentOutcome, RefundOutcome, RefundWork, refund_outcome};

use crate::world::*;

const WON: u64 = 10_000;

impl World {
    fn order(&self, new: NewPayment) -> PayWork {
        let order_id = new.order_id.clone();
        let payment_key = self.fakes.toss().pay_as(new).expect("a payment");
        PayWork {
            payment: "gift-1".into(),
            provider: "toss".into(),
            payment_key,
            amount_won: WON,
            idempotency_key: format!("default/{order_id}/1/confirm"),
            order_id,
        }
    }

    async fn confirm(&self, work: &PayWork, attempt: u32) -> Outcome {
        ConfirmPayment::new(self.services.payments.clone()).handle(delivery("payment.confirm", work, attempt)).await
    }

    async fn query(&self, work: &PayWork, attempt: u32) -> Outcome {
        QueryPayment::new(self.services.payments.clone()).handle(delivery("payment.query", work, attempt)).await
    }

    async fn refund(&self, work: &RefundWork, attempt: u32) -> Outcome {
        RefundPayment::new(self.services.payments.clone()).handle(delivery("payment.refund", work, attempt)).await
    }

    /// A payment that was captured, and the work of giving it back.
    async fn captured(&self, order: &str) -> RefundWork {
        let work = self.order(NewPayment::new(order, WON));
        assert_eq!(kind(&self.confirm(&work, 1).await), Kind::Captured);
        RefundWork {
            payment: work.payment,
            provider: work.provider,
            payment_key: work.payment_key,
            amount_won: WON,
            reason: "the gift was cancelled".into(),
            idempotency_key: format!("default/{order}/1/refund"),
        }
    }

    /// What somebody does in the provider's own pages.
    async fn by_hand(&self, payment_key: &str, amount_won: u64) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), fakes::toss::SECRET_KEY).expect("written");
        let mut config = toss::Config::new(file.path());
        config.endpoint.base_url = self.fakes.url_of(NAME);
        let request = Cancel {
            payment_key: payment_key.into(),
            reason: "by hand".into(),
            amount_won,
            balance_won: None,
            idempotency_key: format!("by-hand-{amount_won}"),
        };
        let toss = Toss::new(&config).expect("settings");
        assert!(matches!(toss.cancel(request).await, CancelOutcome::Done { .. }));
    }

    /// Captures, captured, refunds, refunded.
    fn ledger(&self) -> (u64, u64, u64, u64) {
        let ledger = self.fakes.toss().ledger(0);
        (ledger.captures, ledger.captured_won, ledger.refunds, ledger.refunded_won)
    }
}

fn kind(outcome: &Outcome) -> Kind {
    let outcome: PaymentOutcome = result(outcome);
    assert_eq!(outcome.payment, "gift-1");
    outcome.kind()
}

fn refunded(outcome: &Outcome) -> refund_outcome::Kind {
    result::<RefundOutcome>(outcome).kind()
}

#[tokio::test]
async fn what_is_captured_is_reported_with_its_amount() {
    let world = World::open().await;
    let work = world.order(NewPayment::new("order-1", WON));
    for attempt in [1, 2] {
        let outcome: PaymentOutcome = result(&world.confirm(&work, attempt).await);
        assert_eq!((outcome.kind(), outcome.captured_won, outcome.method.as_str()), (Kind::Captured, WON, "카드"));
    }
    let less = world.order(NewPayment { captures: Some(WON - 1), ..NewPayment::new("order-2", WON) });
    let outcome: PaymentOutcome = result(&world.confirm(&less, 1).await);
    assert_eq!((outcome.kind(), outcome.captured_won), (Kind::Captured, WON - 1));
    assert_eq!(world.ledger(), (2, 2 * WON - 1, 0, 0));
    world.close().await;
}

#[tokio::test]
async fn a_refusal_is_final_and_says_why() {
    let world = World::open().await;
    let new = NewPayment { decline: Some("REJECT_CARD_PAYMENT".into()), ..NewPayment::new("order-1", WON) };
    let outcome: PaymentOutcome = result(&world.confirm(&world.order(new), 1).await);
    assert_eq!(outcome.kind(), Kind::Declined);
    assert!(outcome.error.starts_with("REJECT_CARD_PAYMENT: "), "{}", outcome.error);
    let elsewhere = PayWork { provider: "boss".into(), ..world.order(NewPayment::new("order-2", WON)) };
    let error = failure(world.confirm(&elsewhere, 1).await);
    assert_eq!(error, r#"provider: one of ["toss"] expected, not "boss""#);
    world.close().await;
}

/// Red when a redelivery that finds nobody says that nobody was ever asked: the money of an executor that died is lost.
#[tokio::test]
async fn nobody_there_is_not_reached_only_the_first_time() {
    let world = World::open().await;
    let work = world.order(NewPayment::new("order-1", WON));
    world.switch(Switch::new(NAME, Mode::Refuse)).await;
    assert_eq!(kind(&world.confirm(&work, 1).await), Kind::NotReached);
    assert_eq!(kind(&world.confirm(&work, 2).await), Kind::Unknown);
    // A new leader delivers again what the one before it may have delivered, and its attempt is the first all the same.
    let again = ConfirmPayment::new(world.services.payments.clone());
    let outcome = again.handle(delivery_by("payment.confirm", &work, 1, false)).await;
    assert_eq!(kind(&outcome), Kind::Unknown);
    world.fakes.switches().reset(NAME).await.expect("a switch");
    assert_eq!(kind(&world.confirm(&work, 3).await), Kind::Captured);
    world.close().await;
}

/// Red when the key of an attempt that was told to come later is used again: its answer is "later" for days.
#[tokio::test]
async fn a_busy_provider_is_asked_again_when_it_wants_to_be() {
    let world = World::open().await;
    let work = world.order(NewPayment::new("order-1", WON));
    let busy = Mode::Fail(Failure::new(429, "TOO_MANY_REQUESTS").retry_after(7));
    world.switch(Switch::new(NAME, busy).reach(Reach::Next(1))).await;
    let (after, _) = retry(world.confirm(&work, 1).await);
    assert_eq!(after, Some(Duration::from_secs(7)));
    assert_eq!(kind(&world.confirm(&work, 2).await), Kind::Captured);
    world.close().await;
}

#[tokio::test]
async fn an_answer_that_is_lost_is_unknown_and_then_found() {
    let world = World::open().await;
    let work = world.order(NewPayment::new("order-1", WON));
    world.switch(Switch::new(NAME, Mode::ResetAfterAccept).reach(Reach::Next(1))).await;
    assert_eq!(kind(&world.confirm(&work, 1).await), Kind::Unknown);
    let found: PaymentOutcome = result(&world.query(&work, 1).await);
    assert_eq!((found.kind(), found.captured_won), (Kind::Captured, WON));
    world.close().await;
}

/// The crash window of money: the provider honours keys, and a payment is captured once whatever the key.
#[tokio::test]
async fn an_executor_that_dies_after_the_capture_leaves_one() {
    let world = World::open().await;
    let work = world.order(NewPayment::new("order-1", WON));
    let slow = Mode::Slow { ms: 600_000 };
    world.switch(Switch::new(NAME, slow).call("confirm").reach(Reach::Next(1))).await;
    let confirm = ConfirmPayment::new(world.services.payments.clone());
    let first = working(&confirm, delivery("payment.confirm", &work, 1));
    until("it is captured", || world.ledger().1 == WON).await;
    die(first).await;
    assert_eq!(kind(&world.confirm(&work, 2).await), Kind::Captured);
    assert_eq!(world.ledger(), (1, WON, 0, 0));
    world.close().await;
}

#[tokio::test]
async fn a_query_says_what_became_of_it() {
    let world = World::open().await;
    let open = world.order(NewPayment::new("order-1", WON));
    assert_eq!(kind(&world.query(&open, 1).await), Kind::Unknown);
    let late = world.order(NewPayment { expired: true, ..NewPayment::new("order-2", WON) });
    world.confirm(&late, 1).await;
    assert_eq!(kind(&world.query(&late, 1).await), Kind::Declined);

    // A key nobody has: believed the fourth time.
    let forged = PayWork { payment_key: "pk_forged".into(), ..open.clone() };
    for attempt in 1..4 {
        assert_eq!(retry(world.query(&forged, attempt).await).0, Some(Duration::from_secs(60)));
    }
    assert_eq!(kind(&world.query(&forged, 4).await), Kind::Declined);

    // The payment of another order is not ours, captured or not.
    world.confirm(&open, 1).await;
    let theirs = PayWork { order_id: "order-9".into(), ..open.clone() };
    assert_eq!(kind(&world.query(&theirs, 1).await), Kind::Unknown);

    world.switch(Switch::new(NAME, Mode::Refuse)).await;
    assert_eq!(kind(&world.query(&open, 1).await), Kind::Unknown);
    world.close().await;
}

/// Red when money that was given back by hand is taken for held.
#[tokio::test]
async fn a_query_sees_what_was_given_back_by_hand() {
    let world = World::open().await;
    let work = world.order(NewPayment::new("order-1", WON));
    world.confirm(&work, 1).await;
    world.by_hand(&work.payment_key, 3_000).await;
    let rest: PaymentOutcome = result(&world.query(&work, 1).await);
    assert_eq!((rest.kind(), rest.captured_won), (Kind::Captured, WON - 3_000));
    world.by_hand(&work.payment_key, WON - 3_000).await;
    assert_eq!(kind(&world.query(&work, 1).await), Kind::Declined);
    world.close().await;
}

#[tokio::test]
async fn what_is_given_back_is_given_back_once() {
    let world = World::open().await;
    let work = world.captured("order-1").await;
    for attempt in [1, 1, 2, 3] {
        assert_eq!(refunded(&world.refund(&work, attempt).await), refund_outcome::Kind::Done);
    }
    assert_eq!(world.ledger(), (1, WON, 1, WON));

    let lost = world.captured("order-2").await;
    world.switch(Switch::new(NAME, Mode::ResetAfterAccept).call("cancel").reach(Reach::Next(1))).await;
    assert_eq!(refunded(&world.refund(&lost, 1).await), refund_outcome::Kind::Done);
    assert_eq!(world.ledger(), (2, 2 * WON, 2, 2 * WON));
    world.close().await;
}

#[tokio::test]
async fn an_executor_that_dies_after_the_refund_leaves_one() {
    let world = World::open().await;
    let work = world.captured("order-1").await;
    let slow = Mode::Slow { ms: 600_000 };
    world.switch(Switch::new(NAME, slow).call("cancel").reach(Reach::Next(1))).await;
    let refund = RefundPayment::new(world.services.payments.clone());
    let first = working(&refund, delivery("payment.refund", &work, 1));
    until("it is given back", || world.ledger().3 == WON).await;
    die(first).await;
    assert_eq!(refunded(&world.refund(&work, 2).await), refund_outcome::Kind::Done);
    assert_eq!(world.ledger(), (1, WON, 1, WON));
    world.close().await;
}

#[tokio::test]
async fn a_refund_waits_for_a_provider_that_is_away() {
    let world = World::open().await;
    let work = world.captured("order-1").await;
    world.switch(Switch::new(NAME, Mode::Refuse)).await;
    for attempt in [1, 2] {
        retry(world.refund(&work, attempt).await);
    }
    world.fakes.switches().reset(NAME).await.expect("a switch");
    assert_eq!(refunded(&world.refund(&work, 3).await), refund_outcome::Kind::Done);
    world.close().await;
}

/// Red when the balance is not named: 3,000 won would go back twice.
#[tokio::test]
async fn what_was_given_back_by_hand_counts() {
    let world = World::open().await;
    let work = world.captured("order-1").await;
    world.by_hand(&work.payment_key, 3_000).await;
    // The first attempt is about a balance there is not.
    retry(world.refund(&work, 1).await);
    assert_eq!(world.ledger().3, 3_000);
    assert_eq!(refunded(&world.refund(&work, 2).await), refund_outcome::Kind::Done);
    assert_eq!(world.ledger(), (1, WON, 2, WON));

    // More at the provider than in the books is nobody's to give back without a human.
    let more = RefundWork { amount_won: WON - 1, ..world.captured("order-2").await };
    let outcome: RefundOutcome = result(&world.refund(&more, 2).await);
    assert_eq!(outcome.kind(), refund_outcome::Kind::Refused);
    assert_eq!(outcome.error, "10000 of 10000 won are left at the provider, 9999 in the books");
    assert_eq!(world.ledger().3, WON);
    world.close().await;
}
