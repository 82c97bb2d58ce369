use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::answers::{self, Next};
use super::*;
use crate::providers::payment::Captured;

const WON: u64 = 10_000;

fn asked() -> Confirm {
    Confirm {
        payment_key: "key-1".into(),
        order_id: "order-1".into(),
        amount_won: WON,
        idempotency_key: "order-1/1".into(),
    }
}

fn asked_back() -> Cancel {
    Cancel {
        payment_key: "key-1".into(),
        reason: "no longer wanted".into(),
        amount_won: 4_000,
        balance_won: None,
        idempotency_key: "order-1/refund/1".into(),
    }
}

fn approved_at() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn captured() -> Captured {
    Captured {
        payment_key: "key-1".into(),
        order_id: "order-1".into(),
        amount_won: WON,
        method: "카드".into(),
        approved_at: approved_at(),
    }
}

/// A captured payment with some fields exchanged.
fn payment(changes: Value) -> Value {
    let mut payment = json!({
        "paymentKey": "key-1",
        "orderId": "order-1",
        "status": "DONE",
        "currency": "KRW",
        "method": "카드",
        "totalAmount": WON,
        "balanceAmount": WON,
        "approvedAt": "2027-01-15T17:00:00+09:00",
        "lastTransactionKey": "t-1",
        "cancels": null,
    });
    for (field, value) in changes.as_object().expect("fields") {
        payment[field] = value.clone();
    }
    payment
}

/// A payment of which 4,000 won were given back, by the refund with these fields exchanged.
fn refunded(changes: Value) -> Value {
    let mut refund = json!({
        "cancelAmount": 4_000,
        "canceledAt": "2027-01-15T17:00:00+09:00",
        "transactionKey": "t-2",
        "cancelStatus": "DONE",
    });
    for (field, value) in changes.as_object().expect("fields") {
        refund[field] = value.clone();
    }
    let fields = json!({
        "status": "PARTIAL_CANCELED",
        "balanceAmount": 6_000,
        "lastTransactionKey": "t-2",
        "cancels": [refund],
    });
    payment(fields)
}

fn answer(status: u16, body: &Value) -> Result<Answer, NoAnswer> {
    Ok(Answer { status, retry_after: None, body: body.to_string().into_bytes() })
}

fn error(status: u16, code: &str) -> Result<Answer, NoAnswer> {
    answer(status, &json!({"code": code, "message": "because"}))
}

/// The kind of what is said, as a word.
fn confirm_word(answer: Result<Answer, NoAnswer>) -> &'static str {
    match answers::confirm(&asked(), answer) {
        Next::Say(ConfirmOutcome::Done(_)) => "done",
        Next::Say(ConfirmOutcome::Mismatch(_)) => "mismatch",
        Next::Say(ConfirmOutcome::Declined { .. }) => "declined",
        Next::Say(ConfirmOutcome::NotReached { .. }) => "not reached",
        Next::Say(ConfirmOutcome::Later { .. }) => "later",
        Next::Say(ConfirmOutcome::Unknown { .. }) => "unknown",
        Next::Query { .. } => "query",
    }
}

fn cancel_word(answer: Result<Answer, NoAnswer>) -> &'static str {
    match answers::cancel(&asked_back(), answer) {
        Next::Say(CancelOutcome::Done { .. }) => "done",
        Next::Say(CancelOutcome::AlreadyDone) => "already",
        Next::Say(CancelOutcome::Refused { .. }) => "refused",
        Next::Say(CancelOutcome::Later { .. }) => "later",
        Next::Say(CancelOutcome::Unknown { .. }) => "unknown",
        Next::Query { .. } => "query",
    }
}

fn query_word(answer: Result<Answer, NoAnswer>) -> &'static str {
    match answers::query(&PaymentRef::Key("key-1".into()), answer) {
        QueryOutcome::Done(_) => "done",
        QueryOutcome::Cancelled { .. } => "cancelled",
        QueryOutcome::Open { .. } => "open",
        QueryOutcome::Ended { .. } => "ended",
        QueryOutcome::NotFound => "not found",
        QueryOutcome::Unknown { .. } => "unknown",
    }
}

#[test]
fn a_confirm_is_judged_by_payment_and_code() {
    for (changes, word) in [
        (json!({}), "done"),
        (json!({"method": null}), "done"),
        (json!({"totalAmount": 9_999}), "mismatch"),
        (json!({"orderId": "order-2"}), "mismatch"),
        (json!({"paymentKey": "key-2"}), "unknown"),
        (json!({"currency": "USD"}), "unknown"),
        (json!({"currency": null}), "unknown"),
        (json!({"totalAmount": "10000"}), "unknown"),
        (json!({"totalAmount": -10_000}), "unknown"),
        (json!({"approvedAt": null}), "unknown"),
        (json!({"approvedAt": "yesterday"}), "unknown"),
        (json!({"status": "WAITING_FOR_DEPOSIT"}), "unknown"),
        (json!({"status": "ABORTED"}), "unknown"),
        (json!({"status": "PARTIAL_CANCELED"}), "unknown"),
    ] {
        assert_eq!(confirm_word(answer(200, &payment(changes.clone()))), word, "{changes}");
    }
    for (status, code, word) in [
        (400, "ALREADY_PROCESSED_PAYMENT", "query"),
        (400, "PROVIDER_ERROR", "unknown"),
        (400, "CARD_PROCESSING_ERROR", "unknown"),
        (409, "IDEMPOTENT_REQUEST_PROCESSING", "unknown"),
        (500, "FAILED_INTERNAL_SYSTEM_PROCESSING", "unknown"),
        (500, "UNKNOWN_PAYMENT_ERROR", "unknown"),
        (403, "REJECT_CARD_PAYMENT", "declined"),
        (404, "NOT_FOUND_PAYMENT_SESSION", "declined"),
        (401, "UNAUTHORIZED_KEY", "declined"),
        (403, "FORBIDDEN_CONSECUTIVE_REQUEST", "later"),
        (400, "NOT_AVAILABLE_BANK", "later"),
        // The code decides, whatever the status.
        (500, "REJECT_CARD_PAYMENT", "declined"),
        (429, "PROVIDER_ERROR", "unknown"),
        // Codes of next year.
        (429, "SLOW_DOWN", "later"),
        (400, "BRAND_NEW", "declined"),
        (503, "BRAND_NEW", "unknown"),
        (302, "BRAND_NEW", "unknown"),
        // No code at all.
        (403, "", "unknown"),
        (403, "<html>", "unknown"),
    ] {
        assert_eq!(confirm_word(error(status, code)), word, "{status} {code}");
    }
    assert_eq!(confirm_word(Err(NoAnswer::NotReached("refused".into()))), "not reached");
    assert_eq!(confirm_word(Err(NoAnswer::Unknown("reset".into()))), "unknown");
    assert_eq!(confirm_word(answer(201, &payment(json!({})))), "unknown");
}

#[test]
fn retry_after_is_handed_on() {
    let busy = Answer { status: 429, retry_after: Some(Duration::from_secs(7)), body: b"slow down".to_vec() };
    let Next::Say(ConfirmOutcome::Later { after, .. }) = answers::confirm(&asked(), Ok(busy.clone())) else {
        panic!("later")
    };
    assert_eq!(after, Some(Duration::from_secs(7)));
    let Next::Say(CancelOutcome::Later { after, .. }) = answers::cancel(&asked_back(), Ok(busy)) else {
        panic!("later")
    };
    assert_eq!(after, Some(Duration::from_secs(7)));
}

#[test]
fn what_was_processed_before_is_done_only_when_it_is_ours() {
    let settle = |found| answers::confirm_processed(&asked(), "ALREADY_PROCESSED_PAYMENT".into(), String::new(), found);
    assert_eq!(settle(QueryOutcome::Done(captured())), ConfirmOutcome::Done(captured()));
    let less = Captured { amount_won: 9_999, ..captured() };
    assert!(matches!(settle(QueryOutcome::Done(less)), ConfirmOutcome::Mismatch(mismatch) if mismatch.is_ours()));
    let other = Captured { order_id: "order-2".into(), ..captured() };
    assert!(matches!(settle(QueryOutcome::Done(other.clone())), ConfirmOutcome::Declined { .. }));
    let cancelled = |captured, remaining_won| QueryOutcome::Cancelled {
        captured,
        refunded_won: WON - remaining_won,
        remaining_won,
    };
    assert!(matches!(settle(cancelled(captured(), 0)), ConfirmOutcome::Declined { .. }));
    assert!(matches!(settle(cancelled(other, 1)), ConfirmOutcome::Declined { .. }));
    let ConfirmOutcome::Mismatch(part) = settle(cancelled(captured(), 1_000)) else { panic!("a part is left") };
    assert_eq!(part.captured.amount_won, 1_000);
    assert!(matches!(settle(QueryOutcome::Ended { status: "ABORTED".into() }), ConfirmOutcome::Declined { .. }));
    for found in [
        QueryOutcome::Open { status: "IN_PROGRESS".into() },
        QueryOutcome::NotFound,
        QueryOutcome::Unknown { error: "reset".into() },
    ] {
        assert!(matches!(settle(found.clone()), ConfirmOutcome::Unknown { .. }), "{found:?}");
    }
}

#[test]
fn a_query_is_judged_by_status_and_sums() {
    for (changes, word) in [
        (json!({}), "done"),
        (json!({"status": "PARTIAL_CANCELED", "balanceAmount": 6_000}), "cancelled"),
        (json!({"status": "CANCELED", "balanceAmount": 0}), "cancelled"),
        (json!({"status": "CANCELED", "approvedAt": null}), "ended"),
        (json!({"status": "READY", "approvedAt": null}), "open"),
        (json!({"status": "IN_PROGRESS", "approvedAt": null}), "open"),
        (json!({"status": "WAITING_FOR_DEPOSIT", "approvedAt": null}), "open"),
        (json!({"status": "ABORTED"}), "ended"),
        (json!({"status": "EXPIRED"}), "ended"),
        // Sums that cannot be.
        (json!({"status": "CANCELED", "balanceAmount": 1}), "unknown"),
        (json!({"status": "PARTIAL_CANCELED", "balanceAmount": 0}), "unknown"),
        (json!({"status": "PARTIAL_CANCELED", "balanceAmount": WON}), "unknown"),
        (json!({"status": "PARTIAL_CANCELED", "balanceAmount": WON + 1}), "unknown"),
        (json!({"status": "BRAND_NEW"}), "unknown"),
        (json!({"paymentKey": "key-2"}), "unknown"),
        (json!({"status": "DONE", "approvedAt": null}), "unknown"),
    ] {
        assert_eq!(query_word(answer(200, &payment(changes.clone()))), word, "{changes}");
    }
    for (status, code, word) in [
        (404, "NOT_FOUND_PAYMENT", "not found"),
        (404, "NOT_FOUND", "not found"),
        // Somebody else's 404 says nothing about payments.
        (404, "NO_SUCH_ROUTE", "unknown"),
        (404, "", "unknown"),
        (401, "UNAUTHORIZED_KEY", "unknown"),
        (429, "SLOW_DOWN", "unknown"),
        (500, "FAILED_PAYMENT_INTERNAL_SYSTEM_PROCESSING", "unknown"),
    ] {
        assert_eq!(query_word(error(status, code)), word, "{status} {code}");
    }
    let by_order = PaymentRef::Order("order-1".into());
    assert_eq!(answers::query(&by_order, answer(200, &payment(json!({})))), QueryOutcome::Done(captured()));
    let other = answers::query(&by_order, answer(200, &payment(json!({"orderId": "order-2"}))));
    assert!(matches!(other, QueryOutcome::Unknown { .. }));
}

#[test]
fn a_cancel_is_judged_by_refund_and_code() {
    for (changes, word) in [
        (json!({}), "done"),
        (json!({"cancelStatus": null}), "done"),
        (json!({"cancelAmount": 4_001}), "unknown"),
        (json!({"cancelStatus": "IN_PROGRESS"}), "unknown"),
        (json!({"canceledAt": "soon"}), "unknown"),
    ] {
        assert_eq!(cancel_word(answer(200, &refunded(changes.clone()))), word, "{changes}");
    }
    assert_eq!(cancel_word(answer(200, &payment(json!({})))), "unknown");
    let other = {
        let mut other = refunded(json!({}));
        other["paymentKey"] = "key-2".into();
        other
    };
    assert_eq!(cancel_word(answer(200, &other)), "unknown");
    for (status, code, word) in [
        (400, "ALREADY_CANCELED_PAYMENT", "already"),
        (400, "ALREADY_REFUND_PAYMENT", "already"),
        (403, "NOT_CANCELABLE_AMOUNT", "query"),
        (403, "NOT_CANCELABLE_PAYMENT", "refused"),
        (400, "REFUND_REJECTED", "refused"),
        (404, "NOT_FOUND_PAYMENT", "refused"),
        (403, "FORBIDDEN_CONSECUTIVE_REQUEST", "later"),
        (401, "UNAUTHORIZED_KEY", "later"),
        (400, "NOT_MATCHES_REFUNDABLE_AMOUNT", "unknown"),
        (400, "PROVIDER_ERROR", "unknown"),
        (500, "FAILED_REFUND_PROCESS", "unknown"),
        (429, "SLOW_DOWN", "later"),
        (400, "BRAND_NEW", "refused"),
        (503, "BRAND_NEW", "unknown"),
        (400, "", "unknown"),
    ] {
        assert_eq!(cancel_word(error(status, code)), word, "{status} {code}");
    }
    assert_eq!(cancel_word(Err(NoAnswer::NotReached("refused".into()))), "later");
    assert_eq!(cancel_word(Err(NoAnswer::Unknown("reset".into()))), "unknown");
}

#[test]
fn the_newest_refund_is_ours() {
    let mut twice = refunded(json!({}));
    let older = json!({"cancelAmount": 1_000, "canceledAt": "2027-01-15T16:00:00+09:00", "transactionKey": "t-0"});
    let newer = twice["cancels"][0].clone();
    for cancels in [json!([older, newer]), json!([newer, older])] {
        twice["cancels"] = cancels;
        let Next::Say(outcome) = answers::cancel(&asked_back(), answer(200, &twice)) else { panic!("it says") };
        assert_eq!(outcome, CancelOutcome::Done { refunded_won: 4_000, at: approved_at() });
    }
    // Without a key to tell them apart, the last one of the list.
    twice["lastTransactionKey"] = Value::Null;
    assert_eq!(cancel_word(answer(200, &twice)), "unknown");
}

#[test]
fn an_amount_too_large_is_told_from_nothing_left() {
    let settle = |found| answers::cancel_of_amount("NOT_CANCELABLE_AMOUNT".into(), String::new(), found);
    let cancelled = |remaining_won| QueryOutcome::Cancelled {
        captured: captured(),
        refunded_won: WON - remaining_won,
        remaining_won,
    };
    assert_eq!(settle(cancelled(0)), CancelOutcome::AlreadyDone);
    assert!(matches!(settle(cancelled(1)), CancelOutcome::Refused { .. }));
    assert!(matches!(settle(QueryOutcome::Done(captured())), CancelOutcome::Refused { .. }));
    assert!(matches!(settle(QueryOutcome::Unknown { error: "reset".into() }), CancelOutcome::Unknown { .. }));
}

#[test]
fn requests_are_checked_field_by_field() {
    assert_eq!(check_confirm(&asked()), Ok(()));
    assert_eq!(check_cancel(&asked_back()), Ok(()));
    let long = "k".repeat(301);
    for (request, field) in [
        (Confirm { payment_key: String::new(), ..asked() }, "payment_key"),
        (Confirm { payment_key: "..".into(), ..asked() }, "payment_key"),
        (Confirm { payment_key: "a/b".into(), ..asked() }, "payment_key"),
        (Confirm { payment_key: "k".repeat(201), ..asked() }, "payment_key"),
        (Confirm { order_id: "short".into(), ..asked() }, "order_id"),
        (Confirm { order_id: "주문번호하나둘".into(), ..asked() }, "order_id"),
        (Confirm { amount_won: 0, ..asked() }, "amount_won"),
        (Confirm { idempotency_key: String::new(), ..asked() }, "idempotency_key"),
        (Confirm { idempotency_key: long, ..asked() }, "idempotency_key"),
        (Confirm { idempotency_key: "a\r\nb".into(), ..asked() }, "idempotency_key"),
    ] {
        let message = check_confirm(&request).expect_err(field);
        assert!(message.starts_with(field), "{message}");
    }
    for (request, field) in [
        (Cancel { reason: String::new(), ..asked_back() }, "reason"),
        (Cancel { reason: "이".repeat(201), ..asked_back() }, "reason"),
        (Cancel { amount_won: 0, ..asked_back() }, "amount_won"),
        (Cancel { balance_won: Some(3_999), ..asked_back() }, "balance_won"),
    ] {
        let message = check_cancel(&request).expect_err(field);
        assert!(message.starts_with(field), "{message}");
    }
}

/// Values a broken or hostile answer may have in a field.
fn anything() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (WON - 1..=WON + 1).prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        ".{0,20}".prop_map(Value::from),
        prop_oneof![Just("DONE"), Just("CANCELED"), Just("key-1"), Just("order-1"), Just("KRW")].prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
    ]
}

/// A payment with up to three fields exchanged for anything.
fn payments() -> impl Strategy<Value = Vec<u8>> {
    let fields =
        ["paymentKey", "orderId", "status", "currency", "totalAmount", "balanceAmount", "approvedAt", "cancels"];
    let change = (proptest::sample::select(fields.to_vec()), anything());
    proptest::collection::vec(change, 0..=3).prop_map(|changes| {
        let mut payment = refunded(json!({}));
        payment["status"] = "DONE".into();
        for (field, value) in changes {
            payment[field] = value;
        }
        payment.to_string().into_bytes()
    })
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let codes =
        ["ALREADY_PROCESSED_PAYMENT", "PROVIDER_ERROR", "REJECT_CARD_PAYMENT", "NOT_FOUND_PAYMENT", "BRAND_NEW"];
    prop_oneof![
        4 => payments(),
        1 => proptest::collection::vec(any::<u8>(), 0..200),
        1 => (proptest::sample::select(codes.to_vec()), anything())
            .prop_map(|(code, message)| json!({"code": code, "message": message}).to_string().into_bytes()),
    ]
}

proptest! {
    // As many as it takes to meet a payment that is right but for its amount: it is one in some hundred.
    #![proptest_config(ProptestConfig::with_cases(8_192))]

    /// Red when `Captured::judge` is left out of `answers::confirm`.
    #[test]
    fn no_answer_panics_or_is_done_without_the_amount(
        status in prop_oneof![4 => Just(200_u16), 1 => 100_u16..=599, 1 => any::<u16>()],
        body in bodies(),
    ) {
        let given = Answer { status, retry_after: None, body: body.clone() };
        let read: Value = serde_json::from_slice(&body).unwrap_or_default();
        let is_asked = status == 200
            && read["status"] == "DONE"
            && read["currency"] == "KRW"
            && read["paymentKey"] == "key-1"
            && read["orderId"] == "order-1"
            && read["totalAmount"] == WON;
        match answers::confirm(&asked(), Ok(given.clone())) {
            Next::Say(ConfirmOutcome::Done(captured)) => {
                prop_assert!(is_asked, "{read}");
                prop_assert_eq!(captured.amount_won, WON);
            }
            Next::Say(ConfirmOutcome::Declined { .. }) => prop_assert_ne!(status, 200),
            _ => {}
        }
        match answers::cancel(&asked_back(), Ok(given.clone())) {
            Next::Say(CancelOutcome::Done { refunded_won, .. }) => prop_assert_eq!(refunded_won, 4_000),
            Next::Say(CancelOutcome::AlreadyDone | CancelOutcome::Refused { .. }) => prop_assert_ne!(status, 200),
            _ => {}
        }
        if let QueryOutcome::Cancelled { captured, refunded_won, remaining_won } =
            answers::query(&PaymentRef::Key("key-1".into()), Ok(given))
        {
            prop_assert_eq!(captured.amount_won, refunded_won + remaining_won);
        }
    }
}
