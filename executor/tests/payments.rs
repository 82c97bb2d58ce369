//! The adapter for Toss Payments against a Toss Payments that is right, slow, wrong or gone, over real sockets.

mod provider;

use std::time::Duration;

use executor::providers::payment::{
    Cancel, CancelOutcome, Captured, Confirm, ConfirmOutcome, INVALID_ARGUMENT, PaymentProvider, PaymentRef,
    QueryOutcome,
};
use executor::providers::toss;
use fakes::switches::{Failure, Mode, Reach, Switch};
use fakes::toss::{NAME, NewPayment};
use provider::{Shop, WON, key_file};

fn done(outcome: ConfirmOutcome) -> Captured {
    match outcome {
        ConfirmOutcome::Done(captured) => captured,
        other => panic!("not captured: {other:?}"),
    }
}

fn declined(outcome: ConfirmOutcome) -> String {
    match outcome {
        ConfirmOutcome::Declined { code, .. } => code,
        other => panic!("not declined: {other:?}"),
    }
}

fn unknown(outcome: ConfirmOutcome) -> String {
    match outcome {
        ConfirmOutcome::Unknown { error } => error,
        other => panic!("not unknown: {other:?}"),
    }
}

fn open(outcome: QueryOutcome) -> String {
    match outcome {
        QueryOutcome::Open { status } => status,
        other => panic!("not open: {other:?}"),
    }
}

#[tokio::test]
async fn a_payment_is_captured_found_and_captured_once() {
    let shop = Shop::open().await;
    let confirm = shop.order("order-1");
    assert_eq!(open(shop.query(&confirm).await), "IN_PROGRESS");
    let captured = done(shop.confirm(&confirm).await);
    assert_eq!((captured.amount_won, captured.method.as_str()), (WON, "카드"));
    // Of the same attempt, repeated, and of another one: both are told of the one capture there is.
    assert_eq!(done(shop.confirm(&confirm).await), captured);
    let again = Confirm { idempotency_key: "order-1/2".into(), ..confirm.clone() };
    assert_eq!(done(shop.confirm(&again).await), captured);
    assert_eq!(shop.query(&confirm).await, QueryOutcome::Done(captured.clone()));
    let by_order = shop.toss.query(PaymentRef::Order("order-1".into())).await;
    assert_eq!(by_order, QueryOutcome::Done(captured));
    assert_eq!(shop.toss.query(PaymentRef::Order("order-2".into())).await, QueryOutcome::NotFound);
    assert_eq!(shop.captured(), (1, WON));
    shop.close().await;
}

#[tokio::test]
async fn a_refusal_is_told_with_its_code() {
    let shop = Shop::open().await;
    let new = NewPayment { decline: Some("REJECT_CARD_PAYMENT".into()), ..NewPayment::new("order-1", WON) };
    let confirm = shop.order_of(new);
    assert_eq!(declined(shop.confirm(&confirm).await), "REJECT_CARD_PAYMENT");
    assert_eq!(shop.query(&confirm).await, QueryOutcome::Ended { status: "ABORTED".into() });
    // Another attempt with a new key is told that it is over, not that nobody knows.
    let again = Confirm { idempotency_key: "order-1/2".into(), ..confirm };
    assert_eq!(declined(shop.confirm(&again).await), "ABORTED");

    let late = shop.order_of(NewPayment { expired: true, ..NewPayment::new("order-2", WON) });
    assert_eq!(declined(shop.confirm(&late).await), "NOT_FOUND_PAYMENT_SESSION");
    assert_eq!(shop.query(&late).await, QueryOutcome::Ended { status: "EXPIRED".into() });

    let more = shop.order("order-3");
    let more = Confirm { amount_won: WON + 1, ..more };
    assert_eq!(declined(shop.confirm(&more).await), "INVALID_REQUEST");
    assert_eq!(shop.captured(), (0, 0));
    shop.close().await;
}

#[tokio::test]
async fn another_amount_is_never_done() {
    let shop = Shop::open().await;
    let confirm = shop.order_of(NewPayment { captures: Some(WON - 1), ..NewPayment::new("order-1", WON) });
    for key in ["order-1/1", "order-1/2"] {
        let confirm = Confirm { idempotency_key: key.into(), ..confirm.clone() };
        let ConfirmOutcome::Mismatch(mismatch) = shop.confirm(&confirm).await else { panic!("a mismatch") };
        assert!(mismatch.is_ours());
        assert_eq!((mismatch.captured.amount_won, mismatch.asked_amount_won), (WON - 1, WON));
    }
    shop.close().await;
}

/// Red when a payment that was processed before is taken for ours without looking at its order.
#[tokio::test]
async fn the_payment_of_another_order_pays_for_nothing() {
    let shop = Shop::open().await;
    let theirs = shop.order("order-1");
    done(shop.confirm(&theirs).await);
    let ours = Confirm { order_id: "order-2".into(), idempotency_key: "order-2/1".into(), ..theirs };
    assert_eq!(declined(shop.confirm(&ours).await), "ALREADY_PROCESSED_PAYMENT");
    // A key used for another payment is answered about that one.
    let mine = Confirm { idempotency_key: "order-1/1".into(), ..shop.order("order-3") };
    assert!(unknown(shop.confirm(&mine).await).contains("another payment"));
    assert_eq!(shop.captured(), (1, WON));
    shop.close().await;
}

#[tokio::test]
async fn what_is_too_slow_is_unknown_and_then_found() {
    let shop = Shop::open().await;
    let confirm = shop.order("order-1");
    shop.switch(Switch::new(NAME, Mode::Slow { ms: 600_000 }).call("confirm").reach(Reach::Next(1))).await;
    assert_eq!(unknown(shop.confirm(&confirm).await), "no answer within 2s");
    shop.until_captured(WON).await;
    // The first request is under way still, so its key is answered by nobody.
    assert!(unknown(shop.confirm(&confirm).await).contains("IDEMPOTENT_REQUEST_PROCESSING"));
    let QueryOutcome::Done(captured) = shop.query(&confirm).await else { panic!("captured") };
    assert_eq!(done(captured.judge(&confirm)).amount_won, WON);
    shop.close().await;
}

#[tokio::test]
async fn what_is_never_answered_is_unknown_and_then_open() {
    let shop = Shop::open().await;
    let confirm = shop.order("order-1");
    shop.switch(Switch::new(NAME, Mode::Timeout).reach(Reach::Next(1))).await;
    assert_eq!(unknown(shop.confirm(&confirm).await), "no answer within 2s");
    assert_eq!(open(shop.query(&confirm).await), "IN_PROGRESS");
    done(shop.confirm(&Confirm { idempotency_key: "order-1/2".into(), ..confirm }).await);
    assert_eq!(shop.captured(), (1, WON));
    shop.close().await;
}

/// Red when an error after the request was sent is taken for one before.
#[tokio::test]
async fn a_reset_is_unknown_and_then_found() {
    let shop = Shop::open().await;
    let confirm = shop.order("order-1");
    shop.switch(Switch::new(NAME, Mode::ResetAfterAccept).reach(Reach::Next(1))).await;
    unknown(shop.confirm(&confirm).await);
    assert!(matches!(shop.query(&confirm).await, QueryOutcome::Done(_)));
    assert_eq!(done(shop.confirm(&confirm).await).amount_won, WON);

    shop.switch(Switch::new(NAME, Mode::ResetAfterAccept).reach(Reach::Next(1))).await;
    let cancel = shop.refund(&confirm, WON, "refund/1");
    assert!(matches!(shop.cancel(&cancel).await, CancelOutcome::Unknown { .. }));
    let QueryOutcome::Cancelled { refunded_won, remaining_won, .. } = shop.query(&confirm).await else {
        panic!("given back")
    };
    assert_eq!((refunded_won, remaining_won), (WON, 0));
    assert!(matches!(shop.cancel(&cancel).await, CancelOutcome::Done { refunded_won: WON, .. }));
    assert_eq!((shop.captured(), shop.refunded()), ((1, WON), (1, WON)));
    shop.close().await;
}

#[tokio::test]
async fn a_closed_port_was_certainly_not_reached() {
    let shop = Shop::open().await;
    let confirm = shop.order("order-1");
    shop.switch(Switch::new(NAME, Mode::Refuse)).await;
    assert!(matches!(shop.confirm(&confirm).await, ConfirmOutcome::NotReached { .. }));
    assert!(matches!(shop.query(&confirm).await, QueryOutcome::Unknown { .. }));
    let cancel = shop.refund(&confirm, WON, "refund/1");
    assert!(matches!(shop.cancel(&cancel).await, CancelOutcome::Later { after: None, .. }));
    shop.switch(Switch::new(NAME, Mode::Ok)).await;
    done(shop.confirm(&confirm).await);
    shop.close().await;
}

#[tokio::test]
async fn errors_on_the_way_are_unknown_and_the_busy_say_when() {
    let shop = Shop::open().await;
    let confirm = shop.order("order-1");
    let fail = |failure| Switch::new(NAME, Mode::Fail(failure)).reach(Reach::Next(1));
    shop.switch(fail(Failure::new(400, "PROVIDER_ERROR"))).await;
    assert!(unknown(shop.confirm(&confirm).await).starts_with("HTTP 400 PROVIDER_ERROR"));
    shop.switch(fail(Failure::new(503, "BRAND_NEW"))).await;
    unknown(shop.confirm(&confirm).await);
    shop.switch(fail(Failure::new(400, "BRAND_NEW"))).await;
    assert_eq!(declined(shop.confirm(&confirm).await), "BRAND_NEW");
    shop.switch(fail(Failure::new(429, "TOO_MANY_REQUESTS").retry_after(7))).await;
    let ConfirmOutcome::Later { after, .. } = shop.confirm(&confirm).await else { panic!("later") };
    assert_eq!(after, Some(Duration::from_secs(7)));
    shop.switch(fail(Failure::new(403, "FORBIDDEN_CONSECUTIVE_REQUEST"))).await;
    assert!(matches!(shop.confirm(&confirm).await, ConfirmOutcome::Later { after: None, .. }));
    done(shop.confirm(&confirm).await);
    shop.switch(fail(Failure::new(429, "TOO_MANY_REQUESTS").retry_after(7))).await;
    let cancel = shop.refund(&confirm, WON, "refund/1");
    assert!(matches!(shop.cancel(&cancel).await, CancelOutcome::Later { after: Some(_), .. }));
    shop.close().await;
}

#[tokio::test]
async fn money_is_given_back_once() {
    let shop = Shop::open().await;
    let confirm = shop.order("order-1");
    let early = shop.refund(&confirm, WON, "refund/0");
    assert!(
        matches!(shop.cancel(&early).await, CancelOutcome::Refused { code, .. } if code == "NOT_CANCELABLE_PAYMENT")
    );
    done(shop.confirm(&confirm).await);
    let cancel = shop.refund(&confirm, WON, "refund/1");
    let first = shop.cancel(&cancel).await;
    assert!(matches!(first, CancelOutcome::Done { refunded_won: WON, .. }), "{first:?}");
    assert_eq!(shop.cancel(&cancel).await, first);
    assert_eq!(shop.cancel(&shop.refund(&confirm, WON, "refund/2")).await, CancelOutcome::AlreadyDone);
    // What was given back is not captured again by whoever confirms once more.
    let again = Confirm { idempotency_key: "order-1/2".into(), ..confirm };
    assert_eq!(declined(shop.confirm(&again).await), "ALREADY_PROCESSED_PAYMENT");
    assert_eq!(shop.refunded(), (1, WON));
    shop.close().await;
}

#[tokio::test]
async fn parts_are_given_back_until_nothing_is_left() {
    let shop = Shop::open().await;
    let confirm = shop.order("order-1");
    done(shop.confirm(&confirm).await);
    let part = |won, key| shop.refund(&confirm, won, key);
    assert!(matches!(shop.cancel(&part(4_000, "refund/1")).await, CancelOutcome::Done { refunded_won: 4_000, .. }));
    let QueryOutcome::Cancelled { refunded_won, remaining_won, .. } = shop.query(&confirm).await else {
        panic!("a part")
    };
    assert_eq!((refunded_won, remaining_won), (4_000, 6_000));
    // Too much is refused; the same part again, with a new key, is noticed by the balance it says.
    let more = shop.cancel(&part(6_001, "refund/2")).await;
    assert!(matches!(more, CancelOutcome::Refused { code, .. } if code == "NOT_CANCELABLE_AMOUNT"));
    let twice = Cancel { balance_won: Some(WON), ..part(4_000, "refund/3") };
    assert!(matches!(shop.cancel(&twice).await, CancelOutcome::Unknown { .. }));
    assert_eq!(shop.refunded(), (1, 4_000));
    let rest = Cancel { balance_won: Some(6_000), ..part(6_000, "refund/4") };
    assert!(matches!(shop.cancel(&rest).await, CancelOutcome::Done { refunded_won: 6_000, .. }));
    assert_eq!(shop.cancel(&part(1, "refund/5")).await, CancelOutcome::AlreadyDone);
    assert_eq!(shop.refunded(), (2, WON));
    shop.close().await;
}

#[tokio::test]
async fn a_wrong_key_is_a_setting_and_is_told_to_nobody() {
    let shop = Shop::open().await;
    let confirm = shop.order("order-1");
    let (_file, config) = shop.config("test_sk_of_somebody_else");
    let stranger = toss::Toss::new(&config).expect("settings are right");
    let outcome = stranger.confirm(confirm.clone()).await;
    assert!(!format!("{outcome:?} {stranger:?} {config:?}").contains("somebody_else"));
    let code = declined(outcome);
    assert_eq!(code, "UNAUTHORIZED_KEY");
    assert!(toss::is_configuration(&code));
    // What is owed to a customer is not given up for it.
    let outcome = stranger.cancel(shop.refund(&confirm, WON, "refund/1")).await;
    assert!(matches!(outcome, CancelOutcome::Later { .. }), "{outcome:?}");
    shop.close().await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_not_sent() {
    let shop = Shop::open().await;
    let confirm = Confirm { payment_key: "../orders".into(), ..shop.order("order-1") };
    assert_eq!(declined(shop.confirm(&confirm).await), INVALID_ARGUMENT);
    assert!(matches!(shop.query(&confirm).await, QueryOutcome::Unknown { error } if error.starts_with("payment_key")));
    let cancel = shop.refund(&confirm, WON, "refund/1");
    assert!(matches!(shop.cancel(&cancel).await, CancelOutcome::Refused { code, .. } if code == INVALID_ARGUMENT));
    assert_eq!(shop.fakes.switches().list()[0].seen, 0);
    shop.close().await;
}

#[tokio::test]
async fn nonsense_is_unknown() {
    let payment = r#"{"paymentKey":"key-1","orderId":"order-1","status":"DONE","currency":"KRW","totalAmount":10000"#;
    let answers = [
        "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n<html>hi</html>".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 403 Forbidden\r\ncontent-length: 9\r\n\r\nforbidden".to_owned(),
        "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 2\r\n\r\n{}".to_owned(),
        // Breaks off in the middle, at either layer.
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{payment}", payment.len()),
        format!("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{payment}"),
        "HTTP/1.1 200 OK\r\ncontent-le".to_owned(),
        // More than anybody would read.
        format!("HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n{}", "x".repeat(2_000_000)),
        "220 mail.example ESMTP\r\n".to_owned(),
        String::new(),
    ];
    for answer in answers {
        let beginning: String = answer.chars().take(60).collect();
        let (toss, serving) = provider::says(answer).await;
        let confirm = provider::confirm("key-1", "order-1");
        let outcome = toss.confirm(confirm.clone()).await;
        assert!(matches!(outcome, ConfirmOutcome::Unknown { .. }), "{beginning:?}: {outcome:?}");
        let outcome = toss.query(PaymentRef::Key("key-1".into())).await;
        assert!(matches!(outcome, QueryOutcome::Unknown { .. }), "{beginning:?}: {outcome:?}");
        let outcome = toss.cancel(provider::refund(&confirm, WON, "refund/1")).await;
        assert!(matches!(outcome, CancelOutcome::Unknown { .. }), "{beginning:?}: {outcome:?}");
        serving.abort();
    }
}

#[tokio::test]
async fn only_certificates_that_are_trusted_are_spoken_to() {
    let shop = Shop::open().await;
    let confirm = shop.order("order-1");
    let front = provider::TlsFront::before(shop.fakes.addr_of(NAME)).await;
    let (_file, mut config) = shop.config(fakes::toss::SECRET_KEY);
    config.endpoint.base_url = front.url();
    // By the system's list, and by one that names somebody else.
    let other = provider::TlsFront::before(shop.fakes.addr_of(NAME)).await;
    for ca_file in [None, Some(other.ca_file())] {
        config.endpoint.ca_file = ca_file;
        let stranger = toss::Toss::new(&config).expect("settings are right");
        let outcome = stranger.confirm(confirm.clone()).await;
        assert!(matches!(outcome, ConfirmOutcome::NotReached { .. }), "{outcome:?}");
    }
    assert_eq!(shop.captured(), (0, 0));
    config.endpoint.ca_file = Some(front.ca_file());
    let friend = toss::Toss::new(&config).expect("settings are right");
    done(friend.confirm(confirm).await);
    assert_eq!(shop.captured(), (1, WON));
    shop.close().await;
}

#[tokio::test]
async fn settings_are_refused_by_field() {
    let file = key_file("test_sk_1");
    let config = toss::Config::new(file.path());
    toss::Toss::new(&config).expect("the defaults are right");
    let mut missing = config.clone();
    missing.secret_key_file = "/no/such/file".into();
    assert_eq!(toss::Toss::new(&missing).expect_err("no file").field, "secret_key_file");
    let mut plain = config.clone();
    plain.endpoint.base_url = "http://api.tosspayments.com".into();
    assert_eq!(toss::Toss::new(&plain).expect_err("in the open").field, "base_url");
    let mut strangers = config;
    strangers.endpoint.ca_file = Some(file.path().into());
    assert_eq!(toss::Toss::new(&strangers).expect_err("no certificate").field, "ca_file");
}
