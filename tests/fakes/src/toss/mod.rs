//! Toss Payments as published at <https://docs.tosspayments.com/reference> (version 2022-11-16), as far as a merchant's server
//! sees it: confirm, query by payment key and by order, cancel; Basic authentication, idempotency keys, error codes.
//!
//! | route | |
//! |---|---|
//! | `POST /v1/payments/confirm` | `{paymentKey, orderId, amount}` |
//! | `GET /v1/payments/{paymentKey}`, `GET /v1/payments/orders/{orderId}` | |
//! | `POST /v1/payments/{paymentKey}/cancel` | `{cancelReason, cancelAmount?, refundableAmount?}` |
//! | `POST /fake/toss/payments` | [`NewPayment`]: what the customer does in the browser; answers `{paymentKey}` |
//! | `GET /fake/toss/ledger?limit=` | [`Ledger`], with the newest `limit` payments (1,000 unless said) |
//!
//! Calls in switches are `confirm`, `query` and `cancel`. Errors of a switch come from before the provider: they are not
//! what an idempotency key is answered with later. With `slow`, a key counts as under way until the first answer left.

mod book;
mod ledger;
mod replies;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

pub use ledger::{Entry, Ledger, NewPayment, PayError};

use crate::control::{parse, refusal};
use crate::provider::Provider;
use crate::switches::{Failure, Pause};
use book::{Amounts, Answer, Book};
use replies::Replies;

/// Its name in switches and on the command line.
pub const NAME: &str = "toss";
/// The key it knows its merchant by unless told another.
pub const SECRET_KEY: &str = "test_sk_of_the_fakes";
/// Characters of an idempotency key, as published.
const IDEMPOTENCY_KEY_CHARS_MAX: usize = 300;
/// Payments in one answer of the ledger unless said otherwise.
const LEDGER_LIMIT: usize = 1_000;

/// Toss Payments, its books in memory. Clones are the same provider.
#[derive(Clone)]
pub struct Toss(Arc<Inner>);

struct Inner {
    authorization: String,
    state: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    book: Book,
    replies: Replies,
}

impl Toss {
    pub(crate) fn new(secret_key: &str) -> Self {
        let authorization = format!("Basic {}", BASE64_STANDARD.encode(format!("{secret_key}:")));
        Toss(Arc::new(Inner { authorization, state: Mutex::default() }))
    }

    /// A customer pays in the browser: the payment waits for the merchant to confirm it. Returns its key.
    ///
    /// # Errors
    ///
    /// When the order id is not one of 6..=64 letters, digits, `-` and `_`, has been used, or the books are full.
    pub fn pay(&self, order_id: &str, amount_won: u64) -> Result<String, PayError> {
        self.pay_as(NewPayment::new(order_id, amount_won))
    }

    /// The same with whatever is unusual about the payment.
    ///
    /// # Errors
    ///
    /// As [`Toss::pay`].
    pub fn pay_as(&self, new: NewPayment) -> Result<String, PayError> {
        self.books().book.pay(new, Timestamp::now())
    }

    /// What was captured and refunded, with the newest payments, at most `limit`.
    pub fn ledger(&self, limit: usize) -> Ledger {
        self.books().book.ledger(limit)
    }

    pub(crate) fn provider(&self) -> Provider {
        let api = Router::new()
            .route("/v1/payments/confirm", post(confirm))
            .route("/v1/payments/{payment_key}", get(by_key))
            .route("/v1/payments/orders/{order_id}", get(by_order))
            .route("/v1/payments/{payment_key}/cancel", post(cancel))
            .route_layer(middleware::from_fn_with_state(self.clone(), authorized))
            .with_state(self.clone());
        let control = Router::new()
            .route("/fake/toss/payments", post(pay))
            .route("/fake/toss/ledger", get(ledger))
            .with_state(self.clone());
        Provider { name: NAME, api, control, call_of, failure }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // A panic in between would be a bug of the fake, and the next answer shows it.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a POST: the first of an idempotency key by `act`, every later one like the first.
    fn once(
        &self,
        path: &str,
        headers: &HeaderMap,
        pause: Option<Extension<Pause>>,
        act: impl FnOnce(&mut Book, Timestamp) -> Answer,
    ) -> Response {
        let mut books = self.books();
        let Some(key) = headers.get("idempotency-key") else {
            return respond(act(&mut books.book, Timestamp::now()));
        };
        let key = String::from_utf8_lossy(key.as_bytes());
        if key.chars().count() > IDEMPOTENCY_KEY_CHARS_MAX {
            return respond(Answer::error(400, "INVALID_IDEMPOTENCY_KEY", "멱등키는 300자 이하여야 합니다."));
        }
        let (now, call) = (Instant::now(), format!("{path} {key}"));
        if let Some(answer) = books.replies.of(&call, now) {
            return respond(answer);
        }
        let answer = act(&mut books.book, Timestamp::now());
        let pause = pause.map_or(Duration::ZERO, |Extension(Pause(pause))| pause);
        books.replies.keep(call, &answer, now, now + pause);
        respond(answer)
    }
}

fn call_of(method: &Method, path: &str) -> &'static str {
    match (method, path) {
        (&Method::GET, _) => "query",
        (_, "/v1/payments/confirm") => "confirm",
        _ => "cancel",
    }
}

fn failure(error: &Failure) -> Response {
    error.response(Json(json!({"code": error.code, "message": error.message})))
}

fn respond(answer: Answer) -> Response {
    (StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(answer.body))
        .into_response()
}

async fn authorized(State(toss): State<Toss>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let decoded = given
        .and_then(|text| text.strip_prefix("Basic "))
        .and_then(|text| BASE64_STANDARD.decode(text).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok());
    match decoded {
        Some(text) if text.ends_with(':') => {}
        _ => {
            let message = "잘못된 요청입니다. ':' 를 포함해 인코딩해주세요.";
            return respond(Answer::error(403, "INCORRECT_BASIC_AUTH_FORMAT", message));
        }
    }
    if given != Some(toss.0.authorization.as_str()) {
        let message = "인증되지 않은 시크릿 키 혹은 클라이언트 키 입니다.";
        return respond(Answer::error(401, "UNAUTHORIZED_KEY", message));
    }
    next.run(request).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfirmBody {
    payment_key: String,
    order_id: String,
    amount: u64,
}

async fn confirm(
    State(toss): State<Toss>,
    headers: HeaderMap,
    pause: Option<Extension<Pause>>,
    body: Bytes,
) -> Response {
    toss.once("confirm", &headers, pause, |book, now| match serde_json::from_slice::<ConfirmBody>(&body) {
        Ok(body) => book.confirm(&body.payment_key, &body.order_id, body.amount, now),
        Err(_) => Answer::invalid_request(),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CancelBody {
    cancel_reason: String,
    cancel_amount: Option<u64>,
    refundable_amount: Option<u64>,
}

async fn cancel(
    State(toss): State<Toss>,
    Path(payment_key): Path<String>,
    headers: HeaderMap,
    pause: Option<Extension<Pause>>,
    body: Bytes,
) -> Response {
    let path = format!("cancel {payment_key}");
    toss.once(&path, &headers, pause, |book, now| match serde_json::from_slice::<CancelBody>(&body) {
        Ok(body) => {
            let amounts = Amounts { refund: body.cancel_amount, balance: body.refundable_amount };
            book.cancel(&payment_key, &body.cancel_reason, amounts, now)
        }
        Err(_) => Answer::invalid_request(),
    })
}

async fn by_key(State(toss): State<Toss>, Path(payment_key): Path<String>) -> Response {
    respond(toss.books().book.by_key(&payment_key, Timestamp::now()))
}

async fn by_order(State(toss): State<Toss>, Path(order_id): Path<String>) -> Response {
    respond(toss.books().book.by_order(&order_id, Timestamp::now()))
}

async fn pay(State(toss): State<Toss>, body: Bytes) -> Response {
    let new: NewPayment = match parse(&body) {
        Ok(new) => new,
        Err(response) => return *response,
    };
    match toss.pay_as(new) {
        Ok(payment_key) => (StatusCode::CREATED, Json(json!({"paymentKey": payment_key}))).into_response(),
        Err(error) => refusal(error.status(), error.field(), &error.to_string()),
    }
}

#[derive(Deserialize)]
struct LedgerQuery {
    limit: Option<usize>,
}

async fn ledger(State(toss): State<Toss>, Query(query): Query<LedgerQuery>) -> Json<Value> {
    Json(json!(toss.ledger(query.limit.unwrap_or(LEDGER_LIMIT))))
}
