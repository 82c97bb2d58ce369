//! Payments in the public protocol and as they are stored.

use domain::ledger::{DayReport, Report};
use domain::payment::{Outcome, Payment, PaymentState, RefundOutcome, RefundState, Settle, SettleRefund};
use proto::payment::v1;
use scheduler::time::Timestamp;

use crate::convert::moment;

/// As the protocol shows it.
pub(crate) fn shown(payment: Payment) -> v1::Payment {
    let state = match payment.state() {
        PaymentState::Ready => v1::PaymentState::Ready,
        PaymentState::InProgress => v1::PaymentState::InProgress,
        PaymentState::Done => v1::PaymentState::Done,
        PaymentState::Fail => v1::PaymentState::Fail,
        PaymentState::Unknown => v1::PaymentState::Unknown,
    };
    let refund = match payment.refund() {
        RefundState::None => v1::RefundState::Unspecified,
        RefundState::Requested => v1::RefundState::Requested,
        RefundState::Done => v1::RefundState::Done,
        RefundState::Failed => v1::RefundState::Failed,
    };
    v1::Payment {
        state: state.into(),
        refund: refund.into(),
        captured_at: at(payment.captured_at),
        refunded_at: at(payment.refunded_at),
        id: payment.id,
        provider: payment.provider,
        payment_key: payment.payment_key,
        order_id: payment.order_id,
        amount_won: payment.amount_won,
        captured_won: payment.captured_won,
        method: payment.method,
        error: payment.error,
    }
}

fn at(ms: u64) -> Option<prost_types::Timestamp> {
    (ms != 0).then(|| moment(Timestamp::from_millis(ms)))
}

/// What an executor says about a payment.
pub(crate) fn settle(outcome: v1::PaymentOutcome) -> Settle {
    use v1::payment_outcome::Kind;
    let kind = match outcome.kind() {
        Kind::Unspecified => Outcome::Unspecified,
        Kind::Captured => Outcome::Captured,
        Kind::Declined => Outcome::Declined,
        Kind::NotReached => Outcome::NotReached,
        Kind::Unknown => Outcome::Unknown,
    };
    Settle {
        payment: outcome.payment,
        outcome: kind.into(),
        captured_won: outcome.captured_won,
        method: outcome.method,
        error: outcome.error,
    }
}

/// What an executor says about a refund.
pub(crate) fn settle_refund(outcome: v1::RefundOutcome) -> SettleRefund {
    use v1::refund_outcome::Kind;
    let kind = match outcome.kind() {
        Kind::Unspecified => RefundOutcome::Unspecified,
        Kind::Done => RefundOutcome::Done,
        Kind::Refused => RefundOutcome::Refused,
    };
    SettleRefund { payment: outcome.payment, outcome: kind.into(), error: outcome.error }
}

/// A report as the protocol shows it.
pub(crate) fn reconciled(as_of: prost_types::Timestamp, report: Report) -> v1::ReconcileResponse {
    let day = |day: &DayReport| v1::DayBalance {
        date: date(day),
        change: Some(v1::Balance {
            captured_won: day.captured,
            held_won: day.held,
            in_transit_won: day.in_transit,
            delivered_won: day.delivered,
            refunded_won: day.refunded,
        }),
    };
    v1::ReconcileResponse {
        as_of: Some(as_of),
        difference_won: report.difference(),
        total: Some(v1::Balance {
            captured_won: report.captured,
            held_won: report.held,
            in_transit_won: report.in_transit,
            delivered_won: report.delivered,
            refunded_won: report.refunded,
        }),
        days: report.days.iter().map(day).collect(),
    }
}

/// Days of the ledger are counted from 1970-01-01.
fn date(day: &DayReport) -> String {
    let first = jiff::civil::date(1970, 1, 1);
    let date = first.checked_add(jiff::Span::new().try_days(i64::from(day.day.0)).unwrap_or_default());
    date.map_or_else(|_| String::new(), |date| date.to_string())
}
