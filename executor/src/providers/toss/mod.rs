//! Toss Payments: <https://docs.tosspayments.com/reference>, version 2022-11-16.
//!
//! | call | |
//! |---|---|
//! | confirm | `POST /v1/payments/confirm` `{paymentKey, orderId, amount}` |
//! | query | `GET /v1/payments/{paymentKey}`, `GET /v1/payments/orders/{orderId}` |
//! | cancel | `POST /v1/payments/{paymentKey}/cancel` `{cancelReason, cancelAmount, refundableAmount}` |
//!
//! Authentication is Basic, with the secret key for a user and nothing for a password. An `Idempotency-Key` has at most 300 characters
//! and is answered alike for 15 days; it counts per secret key, method and path, so the same key for two payments is answered about the
//! first one, which this adapter notices ([`Captured::judge`](super::payment::Captured::judge)).
//!
//! Errors are judged by their code (`codes.rs` lists them), never by status alone. Two codes say too little, and are followed by a query:
//! `ALREADY_PROCESSED_PAYMENT` (it may be ours, whose answer was lost) and `NOT_CANCELABLE_AMOUNT` (too much, or nothing left).

mod answers;
mod codes;

use std::fmt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::future::BoxFuture;
use reqwest::RequestBuilder;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};

use self::answers::Next;
pub use self::codes::is_configuration;
use crate::providers::endpoint::{Answer, Endpoint, NoAnswer};
use crate::providers::payment::{
    Cancel, CancelOutcome, Confirm, ConfirmOutcome, INVALID_ARGUMENT, PaymentProvider, PaymentRef, QueryOutcome,
};
use crate::providers::{EndpointConfig, Error, Secret};

/// Where Toss Payments is.
pub const BASE_URL: &str = "https://api.tosspayments.com";

const IDEMPOTENCY_KEY_CHARS_MAX: usize = 300;
const PAYMENT_KEY_CHARS_MAX: usize = 200;
const REASON_CHARS_MAX: usize = 200;

/// Settings of the adapter.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it is. Default: [`BASE_URL`], 10 s.
    pub endpoint: EndpointConfig,
    /// A file with the secret key, `live_sk_…` or `test_sk_…`, and nothing else.
    pub secret_key_file: PathBuf,
}

impl Config {
    /// The real Toss Payments with the key in this file.
    pub fn new(secret_key_file: impl Into<PathBuf>) -> Self {
        Config { endpoint: EndpointConfig::new(BASE_URL), secret_key_file: secret_key_file.into() }
    }
}

/// Toss Payments. Clones share their connections.
#[derive(Clone)]
pub struct Toss {
    endpoint: Endpoint,
    authorization: HeaderValue,
}

impl Toss {
    /// Reads the secret key. Calls nobody.
    ///
    /// # Errors
    ///
    /// Which setting is wrong, and what was expected.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let secret = Secret::from_file("secret_key_file", &config.secret_key_file)?;
        let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{}:", secret.expose())));
        let mut authorization = HeaderValue::try_from(basic)
            .map_err(|_| Error::new("secret_key_file", "a key that fits into a header expected"))?;
        authorization.set_sensitive(true);
        Ok(Toss { endpoint: Endpoint::new(&config.endpoint)?, authorization })
    }

    async fn confirm(self, asked: Confirm) -> ConfirmOutcome {
        if let Err(message) = check_confirm(&asked) {
            return ConfirmOutcome::Declined { code: INVALID_ARGUMENT.to_owned(), message };
        }
        let body = json!({"paymentKey": asked.payment_key, "orderId": asked.order_id, "amount": asked.amount_won});
        let answer = self.post(&["v1", "payments", "confirm"], &asked.idempotency_key, &body).await;
        match answers::confirm(&asked, answer) {
            Next::Say(outcome) => outcome,
            Next::Query { code, message } => {
                let found = self.query(PaymentRef::Key(asked.payment_key.clone())).await;
                answers::confirm_processed(&asked, code, message, found)
            }
        }
    }

    async fn query(self, payment: PaymentRef) -> QueryOutcome {
        let path = match &payment {
            PaymentRef::Key(key) => check_payment_key(key).map(|()| vec!["v1", "payments", key]),
            PaymentRef::Order(order) => check_order_id(order).map(|()| vec!["v1", "payments", "orders", order]),
        };
        match path {
            Ok(path) => {
                let answer = self.send(self.endpoint.get(&path)).await;
                answers::query(&payment, answer)
            }
            Err(error) => QueryOutcome::Unknown { error },
        }
    }

    async fn cancel(self, asked: Cancel) -> CancelOutcome {
        if let Err(message) = check_cancel(&asked) {
            return CancelOutcome::Refused { code: INVALID_ARGUMENT.to_owned(), message };
        }
        let mut body = json!({"cancelReason": asked.reason, "cancelAmount": asked.amount_won});
        if let Some(balance_won) = asked.balance_won {
            body["refundableAmount"] = balance_won.into();
        }
        let path = ["v1", "payments", &asked.payment_key, "cancel"];
        match answers::cancel(&asked, self.post(&path, &asked.idempotency_key, &body).await) {
            Next::Say(outcome) => outcome,
            Next::Query { code, message } => {
                let found = self.query(PaymentRef::Key(asked.payment_key)).await;
                answers::cancel_of_amount(code, message, found)
            }
        }
    }

    async fn post(&self, path: &[&str], idempotency_key: &str, body: &Value) -> Result<Answer, NoAnswer> {
        let request = self
            .endpoint
            .post(path)
            .header("idempotency-key", idempotency_key)
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_string());
        self.send(request).await
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, NoAnswer> {
        self.endpoint.send(request.header(AUTHORIZATION, self.authorization.clone())).await
    }
}

impl PaymentProvider for Toss {
    fn name(&self) -> &'static str {
        "toss"
    }

    fn confirm(&self, request: Confirm) -> BoxFuture<'static, ConfirmOutcome> {
        Box::pin(self.clone().confirm(request))
    }

    fn query(&self, payment: PaymentRef) -> BoxFuture<'static, QueryOutcome> {
        Box::pin(self.clone().query(payment))
    }

    fn cancel(&self, request: Cancel) -> BoxFuture<'static, CancelOutcome> {
        Box::pin(self.clone().cancel(request))
    }
}

impl fmt::Debug for Toss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Toss").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

fn check_confirm(asked: &Confirm) -> Result<(), String> {
    check_payment_key(&asked.payment_key)?;
    check_order_id(&asked.order_id)?;
    check_amount("amount_won", asked.amount_won)?;
    check_idempotency_key(&asked.idempotency_key)
}

fn check_cancel(asked: &Cancel) -> Result<(), String> {
    check_payment_key(&asked.payment_key)?;
    if !(1..=REASON_CHARS_MAX).contains(&asked.reason.chars().count()) {
        return Err(format!("reason: 1..={REASON_CHARS_MAX} characters expected"));
    }
    check_amount("amount_won", asked.amount_won)?;
    match asked.balance_won {
        Some(balance_won) if balance_won < asked.amount_won => Err(format!(
            "balance_won: at least the {} won to be given back expected, not {balance_won}",
            asked.amount_won
        )),
        _ => check_idempotency_key(&asked.idempotency_key),
    }
}

fn check_payment_key(key: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=~".contains(&byte);
    if (1..=PAYMENT_KEY_CHARS_MAX).contains(&key.len()) && key.bytes().all(is_plain) {
        return Ok(());
    }
    Err(format!("payment_key: 1..={PAYMENT_KEY_CHARS_MAX} letters, digits, '-', '_', '=' and '~' expected"))
}

/// As published for `orderId`.
fn check_order_id(id: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte);
    if (6..=64).contains(&id.len()) && id.bytes().all(is_plain) {
        return Ok(());
    }
    Err(format!("order_id: 6..=64 letters, digits, '-', '_' and '=' expected, not {:?}", super::cut(id)))
}

fn check_amount(field: &str, won: u64) -> Result<(), String> {
    if won > 0 { Ok(()) } else { Err(format!("{field}: at least 1 won expected")) }
}

fn check_idempotency_key(key: &str) -> Result<(), String> {
    if (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(format!("idempotency_key: 1..={IDEMPOTENCY_KEY_CHARS_MAX} visible ASCII characters expected"))
}

#[cfg(test)]
mod tests;
