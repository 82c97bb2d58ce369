//! The books: payments and what became of them. A calculation over moments it is given.

use std::collections::HashMap;

use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::ledger::{Entry, Ledger, NewPayment, PAYMENTS_MAX, PayError};

/// How long the merchant has to confirm what the customer has authenticated, as published: 10 minutes.
const SESSION: SignedDuration = SignedDuration::from_mins(10);
/// Characters of a reason, as published.
const REASON_CHARS_MAX: usize = 200;
/// What a card has to pay at least, as published.
const AMOUNT_WON_MIN: u64 = 100;

/// An answer of the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Answer {
    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        Answer { status, body: json!({"code": code, "message": message}) }
    }

    pub(super) fn invalid_request() -> Self {
        Answer::error(400, "INVALID_REQUEST", "잘못된 요청입니다.")
    }

    fn not_found() -> Self {
        Answer::error(404, "NOT_FOUND_PAYMENT", "존재하지 않는 결제 정보 입니다.")
    }
}

/// What a refund says about money.
#[derive(Clone, Copy, Default)]
pub(super) struct Amounts {
    /// How much; all that is left when absent.
    pub(super) refund: Option<u64>,
    /// What the merchant thinks is left; nothing is given back when that is wrong.
    pub(super) balance: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Ready,
    InProgress,
    WaitingForDeposit,
    Done,
    PartialCanceled,
    Canceled,
    Aborted,
    Expired,
}

impl Status {
    fn text(self) -> &'static str {
        match self {
            Status::Ready => "READY",
            Status::InProgress => "IN_PROGRESS",
            Status::WaitingForDeposit => "WAITING_FOR_DEPOSIT",
            Status::Done => "DONE",
            Status::PartialCanceled => "PARTIAL_CANCELED",
            Status::Canceled => "CANCELED",
            Status::Aborted => "ABORTED",
            Status::Expired => "EXPIRED",
        }
    }
}

struct Refund {
    amount: u64,
    reason: String,
    at: Timestamp,
    left: u64,
}

struct Payment {
    key: String,
    new: NewPayment,
    status: Status,
    requested: Timestamp,
    captured: Option<(u64, Timestamp)>,
    refunds: Vec<Refund>,
    failure: Option<(String, String)>,
}

impl Payment {
    fn captured_won(&self) -> u64 {
        self.captured.map_or(0, |(won, _)| won)
    }

    fn refunded_won(&self) -> u64 {
        self.refunds.iter().map(|refund| refund.amount).sum()
    }

    fn balance_won(&self) -> u64 {
        self.captured_won().saturating_sub(self.refunded_won())
    }

    fn entry(&self) -> Entry {
        Entry {
            payment_key: self.key.clone(),
            order_id: self.new.order_id.clone(),
            status: self.status.text().to_owned(),
            captured_won: self.captured_won(),
            refunded_won: self.refunded_won(),
        }
    }

    /// The published object, as far as it says something here.
    fn object(&self) -> Value {
        let total = self.captured.map_or(self.new.amount, |(won, _)| won);
        let balance = total.saturating_sub(self.refunded_won());
        let vat = (balance + 5) / 11;
        let cancels: Vec<Value> =
            self.refunds.iter().enumerate().map(|(index, refund)| self.cancel(index, refund)).collect();
        let transaction = match self.refunds.len() {
            0 => format!("{}-c", self.key),
            refunds => self.transaction(refunds - 1),
        };
        json!({
            "mId": "fakes",
            "version": "2022-11-16",
            "paymentKey": self.key,
            "type": "NORMAL",
            "orderId": self.new.order_id,
            "orderName": self.new.order_id,
            "currency": "KRW",
            "method": self.new.method.as_deref().unwrap_or("카드"),
            "status": self.status.text(),
            "totalAmount": total,
            "balanceAmount": balance,
            "suppliedAmount": balance - vat,
            "vat": vat,
            "taxFreeAmount": 0,
            "taxExemptionAmount": 0,
            "requestedAt": korean(self.requested),
            "approvedAt": self.captured.map(|(_, at)| korean(at)),
            "lastTransactionKey": self.captured.map(|_| transaction),
            "useEscrow": false,
            "cultureExpense": false,
            "isPartialCancelable": true,
            "cancels": if cancels.is_empty() { Value::Null } else { Value::Array(cancels) },
            "failure": self.failure.as_ref().map(|(code, message)| json!({"code": code, "message": message})),
            "country": "KR",
        })
    }

    fn transaction(&self, refund: usize) -> String {
        format!("{}-r{refund}", self.key)
    }

    fn cancel(&self, index: usize, refund: &Refund) -> Value {
        json!({
            "cancelAmount": refund.amount,
            "cancelReason": refund.reason,
            "canceledAt": korean(refund.at),
            "refundableAmount": refund.left,
            "taxFreeAmount": 0,
            "transactionKey": self.transaction(index),
            "cancelStatus": "DONE",
        })
    }
}

/// Moments are given in Korean time, to the second.
fn korean(moment: Timestamp) -> String {
    let zone = TimeZone::fixed(Offset::constant(9));
    moment.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// All payments.
#[derive(Default)]
pub(super) struct Book {
    payments: Vec<Payment>,
    by_key: HashMap<String, usize>,
    by_order: HashMap<String, usize>,
    totals: Ledger,
}

impl Book {
    pub(super) fn pay(&mut self, new: NewPayment, now: Timestamp) -> Result<String, PayError> {
        if !is_order_id(&new.order_id) {
            return Err(PayError::OrderId(new.order_id));
        }
        if new.amount < AMOUNT_WON_MIN {
            return Err(PayError::Amount(new.amount));
        }
        let status = match new.status.as_deref() {
            None | Some("IN_PROGRESS") => Status::InProgress,
            Some("READY") => Status::Ready,
            Some("WAITING_FOR_DEPOSIT") => Status::WaitingForDeposit,
            Some(other) => return Err(PayError::Status(other.to_owned())),
        };
        if self.by_order.contains_key(&new.order_id) {
            return Err(PayError::Used(new.order_id));
        }
        if self.payments.len() >= PAYMENTS_MAX {
            return Err(PayError::Full);
        }
        let index = self.payments.len();
        let key = format!("fake_payment_{index:08}");
        self.by_key.insert(key.clone(), index);
        self.by_order.insert(new.order_id.clone(), index);
        let requested = if new.expired { now - SESSION - SignedDuration::from_secs(1) } else { now };
        self.payments.push(Payment {
            key: key.clone(),
            new,
            status,
            requested,
            captured: None,
            refunds: Vec::new(),
            failure: None,
        });
        Ok(key)
    }

    pub(super) fn confirm(&mut self, key: &str, order_id: &str, amount: u64, now: Timestamp) -> Answer {
        let Some(payment) = self.payment(key, now) else { return Answer::not_found() };
        match payment.status {
            Status::InProgress => {}
            Status::Ready | Status::WaitingForDeposit => {
                return Answer::error(400, "UNAPPROVED_ORDER_ID", "아직 승인되지 않은 주문번호입니다.");
            }
            Status::Expired => {
                let message = "결제 시간이 만료되어 결제 진행 데이터가 존재하지 않습니다.";
                return Answer::error(404, "NOT_FOUND_PAYMENT_SESSION", message);
            }
            Status::Done | Status::PartialCanceled | Status::Canceled | Status::Aborted => {
                return Answer::error(400, "ALREADY_PROCESSED_PAYMENT", "이미 처리된 결제 입니다.");
            }
        }
        if payment.new.order_id != order_id || payment.new.amount != amount {
            return Answer::invalid_request();
        }
        if let Some(code) = payment.new.decline.clone() {
            let message = "결제 승인이 거절되었습니다.";
            payment.status = Status::Aborted;
            payment.failure = Some((code.clone(), message.to_owned()));
            return Answer::error(403, &code, message);
        }
        let won = payment.new.captures.unwrap_or(amount);
        payment.status = Status::Done;
        payment.captured = Some((won, now));
        let body = payment.object();
        self.totals.captures += 1;
        self.totals.captured_won += won;
        Answer { status: 200, body }
    }

    pub(super) fn cancel(&mut self, key: &str, reason: &str, amounts: Amounts, now: Timestamp) -> Answer {
        let Some(payment) = self.payment(key, now) else { return Answer::not_found() };
        if reason.is_empty() || reason.chars().count() > REASON_CHARS_MAX || amounts.refund == Some(0) {
            return Answer::invalid_request();
        }
        let balance = payment.balance_won();
        match payment.status {
            Status::Done | Status::PartialCanceled => {}
            Status::Canceled if payment.refunds.len() == 1 => {
                return Answer::error(400, "ALREADY_CANCELED_PAYMENT", "이미 취소된 결제 입니다.");
            }
            // Of a payment that was refunded bit by bit, the amount is what it finds wrong.
            Status::Canceled => return not_cancelable_amount(),
            Status::Ready | Status::InProgress | Status::WaitingForDeposit | Status::Aborted | Status::Expired => {
                return Answer::error(403, "NOT_CANCELABLE_PAYMENT", "취소 할 수 없는 결제 입니다.");
            }
        }
        if amounts.balance.is_some_and(|expected| expected != balance) {
            return Answer::error(400, "NOT_MATCHES_REFUNDABLE_AMOUNT", "잔액 결과가 일치하지 않습니다.");
        }
        let amount = amounts.refund.unwrap_or(balance);
        if amount > balance {
            return not_cancelable_amount();
        }
        let left = balance - amount;
        payment.refunds.push(Refund { amount, reason: reason.to_owned(), at: now, left });
        payment.status = if left == 0 { Status::Canceled } else { Status::PartialCanceled };
        let body = payment.object();
        self.totals.refunds += 1;
        self.totals.refunded_won += amount;
        Answer { status: 200, body }
    }

    pub(super) fn by_key(&mut self, key: &str, now: Timestamp) -> Answer {
        match self.payment(key, now) {
            Some(payment) => Answer { status: 200, body: payment.object() },
            None => Answer::not_found(),
        }
    }

    pub(super) fn by_order(&mut self, order_id: &str, now: Timestamp) -> Answer {
        match self.by_order.get(order_id).map(|index| self.payments[*index].key.clone()) {
            Some(key) => self.by_key(&key, now),
            None => Answer::not_found(),
        }
    }

    pub(super) fn ledger(&self, limit: usize) -> Ledger {
        Ledger {
            payments_total: self.payments.len() as u64,
            payments: self.payments.iter().rev().take(limit).map(Payment::entry).collect(),
            ..self.totals.clone()
        }
    }

    /// A payment, expired first if it is.
    fn payment(&mut self, key: &str, now: Timestamp) -> Option<&mut Payment> {
        let payment = &mut self.payments[*self.by_key.get(key)?];
        let waits = matches!(payment.status, Status::Ready | Status::InProgress);
        if waits && now.duration_since(payment.requested) > SESSION {
            payment.status = Status::Expired;
        }
        Some(payment)
    }
}

fn not_cancelable_amount() -> Answer {
    Answer::error(403, "NOT_CANCELABLE_AMOUNT", "취소 할 수 없는 금액 입니다.")
}

fn is_order_id(text: &str) -> bool {
    (6..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Amounts = Amounts { refund: None, balance: None };
    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn book(new: NewPayment) -> (Book, String) {
        let mut book = Book::default();
        let key = book.pay(new, NOW).expect("a payment");
        (book, key)
    }

    fn won(refund: u64) -> Amounts {
        Amounts { refund: Some(refund), balance: None }
    }

    fn code(answer: &Answer) -> (u16, &str) {
        (answer.status, answer.body["code"].as_str().or(answer.body["status"].as_str()).expect("a code or a status"))
    }

    #[test]
    fn money_is_captured_once_and_refunded_bit_by_bit() {
        let (mut book, key) = book(NewPayment::new("order-1", 10_000));
        assert_eq!(code(&book.confirm(&key, "order-1", 9_999, NOW)), (400, "INVALID_REQUEST"));
        assert_eq!(code(&book.confirm(&key, "order-2", 10_000, NOW)), (400, "INVALID_REQUEST"));
        let done = book.confirm(&key, "order-1", 10_000, NOW);
        assert_eq!(code(&done), (200, "DONE"));
        assert_eq!(done.body["approvedAt"], "2027-01-15T17:00:00+09:00");
        assert_eq!(code(&book.confirm(&key, "order-1", 10_000, NOW)), (400, "ALREADY_PROCESSED_PAYMENT"));
        assert_eq!(code(&book.cancel(&key, "하나", won(4_000), NOW)), (200, "PARTIAL_CANCELED"));
        assert_eq!(code(&book.cancel(&key, "too much", won(6_001), NOW)), (403, "NOT_CANCELABLE_AMOUNT"));
        let stale = Amounts { balance: Some(10_000), ..won(4_000) };
        assert_eq!(code(&book.cancel(&key, "하나", stale, NOW)), (400, "NOT_MATCHES_REFUNDABLE_AMOUNT"));
        let all = book.cancel(&key, "둘", ALL, NOW);
        assert_eq!(code(&all), (200, "CANCELED"));
        assert_eq!(all.body["cancels"][1]["cancelAmount"], 6_000);
        assert_eq!(all.body["balanceAmount"], 0);
        assert_eq!(code(&book.cancel(&key, "again", ALL, NOW)), (403, "NOT_CANCELABLE_AMOUNT"));
        let ledger = book.ledger(10);
        assert_eq!((ledger.captures, ledger.captured_won, ledger.refunds, ledger.refunded_won), (1, 10_000, 2, 10_000));
        assert_eq!(ledger.payments[0].refunded_won, 10_000);
    }

    #[test]
    fn a_whole_refund_is_told_apart_from_bits() {
        let (mut book, key) = book(NewPayment::new("order-1", 10_000));
        assert_eq!(code(&book.cancel(&key, "early", ALL, NOW)), (403, "NOT_CANCELABLE_PAYMENT"));
        book.confirm(&key, "order-1", 10_000, NOW);
        assert_eq!(code(&book.cancel(&key, "", ALL, NOW)), (400, "INVALID_REQUEST"));
        assert_eq!(code(&book.cancel(&key, "zero", won(0), NOW)), (400, "INVALID_REQUEST"));
        assert_eq!(code(&book.cancel(&key, "all", ALL, NOW)), (200, "CANCELED"));
        assert_eq!(code(&book.cancel(&key, "again", ALL, NOW)), (400, "ALREADY_CANCELED_PAYMENT"));
        assert_eq!(code(&book.cancel("no such", "x", ALL, NOW)), (404, "NOT_FOUND_PAYMENT"));
    }

    #[test]
    fn sessions_end_after_ten_minutes() {
        let (mut book, key) = book(NewPayment::new("order-1", 10_000));
        let late = NOW + SESSION + SignedDuration::from_millis(1);
        assert_eq!(code(&book.by_order("order-1", NOW + SESSION)), (200, "IN_PROGRESS"));
        assert_eq!(code(&book.confirm(&key, "order-1", 10_000, late)), (404, "NOT_FOUND_PAYMENT_SESSION"));
        assert_eq!(code(&book.by_key(&key, late)), (200, "EXPIRED"));
    }

    #[test]
    fn a_declined_payment_is_over() {
        let new = NewPayment { decline: Some("REJECT_CARD_PAYMENT".into()), ..NewPayment::new("order-1", 10_000) };
        let (mut book, key) = book(new);
        assert_eq!(code(&book.confirm(&key, "order-1", 10_000, NOW)), (403, "REJECT_CARD_PAYMENT"));
        let found = book.by_key(&key, NOW);
        assert_eq!(found.body["failure"]["code"], "REJECT_CARD_PAYMENT");
        assert_eq!(code(&found), (200, "ABORTED"));
        assert_eq!(book.ledger(0).captured_won, 0);
    }

    #[test]
    fn what_is_no_payment_is_refused() {
        let mut book = Book::default();
        book.pay(NewPayment::new("order-1", 10_000), NOW).expect("a payment");
        for (new, field) in [
            (NewPayment::new("short", 10_000), "orderId"),
            (NewPayment::new("주문-번호-하나", 10_000), "orderId"),
            (NewPayment::new("order-1", 10_000), "orderId"),
            (NewPayment::new("order-2", 99), "amount"),
            (NewPayment { status: Some("DONE".into()), ..NewPayment::new("order-3", 10_000) }, "status"),
        ] {
            assert_eq!(book.pay(new.clone(), NOW).expect_err(&new.order_id).field(), field);
        }
    }
}
