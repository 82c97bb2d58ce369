//! What tests and people put into the books, and what they see of them.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

/// Payments that are kept; a further one is refused.
pub(super) const PAYMENTS_MAX: usize = 1_000_000;

/// What a customer does in the browser, and what is unusual about it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NewPayment {
    /// 6..=64 letters, digits, `-` and `_`; once only.
    pub order_id: String,
    /// Won.
    pub amount: u64,
    /// As Toss Payments words it. Default: 카드.
    pub method: Option<String>,
    /// `READY` (the customer has not authenticated it), `IN_PROGRESS` (the default) or `WAITING_FOR_DEPOSIT`.
    pub status: Option<String>,
    /// The card company declines with this error code, such as `REJECT_CARD_PAYMENT`.
    pub decline: Option<String>,
    /// The provider captures this amount whatever it is asked to: a mistake of theirs, to be noticed by the merchant.
    pub captures: Option<u64>,
    /// The session ended before anybody confirmed.
    #[serde(default)]
    pub expired: bool,
}

impl NewPayment {
    /// A payment with nothing unusual about it.
    pub fn new(order_id: &str, amount_won: u64) -> Self {
        NewPayment {
            order_id: order_id.to_owned(),
            amount: amount_won,
            method: None,
            status: None,
            decline: None,
            captures: None,
            expired: false,
        }
    }
}

/// Why a payment was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayError {
    /// The order id is none.
    #[error("6..=64 letters, digits, '-' and '_' expected, not {0:?}")]
    OrderId(String),
    /// There is a payment for this order.
    #[error("there is a payment for order {0:?} already")]
    Used(String),
    /// Too little for a card.
    #[error("at least 100 won expected, not {0}")]
    Amount(u64),
    /// A payment does not begin there.
    #[error("READY, IN_PROGRESS or WAITING_FOR_DEPOSIT expected, not {0:?}")]
    Status(String),
    /// The books are full.
    #[error("the books are full: {PAYMENTS_MAX} payments")]
    Full,
}

impl PayError {
    pub(super) fn field(&self) -> &'static str {
        match self {
            PayError::OrderId(_) | PayError::Used(_) => "orderId",
            PayError::Amount(_) => "amount",
            PayError::Status(_) => "status",
            PayError::Full => "",
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            PayError::OrderId(_) | PayError::Amount(_) | PayError::Status(_) => StatusCode::BAD_REQUEST,
            PayError::Used(_) => StatusCode::CONFLICT,
            PayError::Full => StatusCode::INSUFFICIENT_STORAGE,
        }
    }
}

/// Sums over all payments, and some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    /// Payments that were captured, refunded ones included.
    pub captures: u64,
    /// Won that were captured, refunded ones included.
    pub captured_won: u64,
    /// Refunds, whole and partial.
    pub refunds: u64,
    /// Won that were refunded.
    pub refunded_won: u64,
    /// Payments in all.
    pub payments_total: u64,
    /// The newest first.
    pub payments: Vec<Entry>,
}

/// A payment in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Given by the provider.
    pub payment_key: String,
    /// Given by the merchant.
    pub order_id: String,
    /// As published: `IN_PROGRESS`, `DONE`, `PARTIAL_CANCELED`, `CANCELED`, …
    pub status: String,
    /// Won; 0 before it is captured.
    pub captured_won: u64,
    /// Won.
    pub refunded_won: u64,
}
