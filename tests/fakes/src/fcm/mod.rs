//! Firebase Cloud Messaging, HTTP v1, and the token end of Google's OAuth 2, as published, as far as a sender of single messages
//! sees them.
//!
//! | route | |
//! |---|---|
//! | `POST /token` | a signed assertion (RS256) for a token of an hour |
//! | `POST /v1/projects/bosingak-fakes/messages:send` | `{message: {token, notification, data, …}}` |
//! | `GET /fake/fcm/service-account.json` | the account's file, with the token address it was asked at |
//! | `POST /fake/fcm/unregister` | `{token}`: the app is gone from this device |
//! | `POST /fake/fcm/revoke` | tokens of before are good no more |
//!
//! Calls in switches are `token` and `send`. A registration token is taken as it comes, until it is unregistered.

mod token;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::control::{parse, refusal};
use crate::inbox::{Inbox, Link, Message};
use crate::provider::Provider;
use crate::switches::Failure;
use token::Tokens;

/// Its name in switches and on the command line.
pub const NAME: &str = "fcm";
/// The only project.
pub const PROJECT_ID: &str = "bosingak-fakes";
/// Bytes of notification and data, as published.
const PAYLOAD_BYTES_MAX: usize = 4_096;
/// Devices that can be gone at a time.
const UNREGISTERED_MAX: usize = 100_000;

/// FCM, in memory. Clones are the same provider.
#[derive(Clone)]
pub(crate) struct Fcm(Arc<Inner>);

struct Inner {
    state: Mutex<Books>,
    inbox: Inbox,
}

#[derive(Default)]
struct Books {
    tokens: Tokens,
    unregistered: BTreeSet<String>,
    count: u64,
}

impl Fcm {
    pub(crate) fn new(inbox: Inbox) -> Self {
        Fcm(Arc::new(Inner { state: Mutex::default(), inbox }))
    }

    pub(crate) fn provider(&self) -> Provider {
        let api = Router::new()
            .route("/token", post(grant))
            .route("/v1/projects/{project}/{call}", post(send))
            .with_state(self.clone());
        let control = Router::new()
            .route("/fake/fcm/service-account.json", get(service_account))
            .route("/fake/fcm/unregister", post(unregister))
            .route("/fake/fcm/revoke", post(revoke))
            .with_state(self.clone());
        Provider { name: NAME, api, control, call_of, failure }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // A panic in between would be a bug of the fake, and the next answer shows it.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file of the service account, for a token end at this address (`http://host:port/token`).
pub fn service_account_file(token_uri: &str) -> String {
    format!("{:#}\n", token::service_account(token_uri))
}

fn call_of(_: &Method, path: &str) -> &'static str {
    if path == "/token" { "token" } else { "send" }
}

fn failure(failure: &Failure) -> Response {
    failure.response(Json(error_body(failure.status, &failure.code, &failure.message)))
}

/// As Google words an error of FCM: a status of its own for the call, and in the details what FCM means.
fn error_body(status: u16, code: &str, message: &str) -> Value {
    let word = match status {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        _ => "INTERNAL",
    };
    json!({ "error": {
        "code": status,
        "message": message,
        "status": word,
        "details": [{ "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code }],
    }})
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(error_body(status.as_u16(), code, message))).into_response()
}

async fn grant(State(fcm): State<Fcm>, body: Bytes) -> Response {
    let now = Timestamp::now();
    match fcm.books().tokens.grant(&body, now) {
        Ok(answer) => Json(answer).into_response(),
        Err(description) => {
            let body = json!({ "error": "invalid_grant", "error_description": description });
            (StatusCode::BAD_REQUEST, Json(body)).into_response()
        }
    }
}

async fn send(
    State(fcm): State<Fcm>,
    axum::extract::Path((project, call)): axum::extract::Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if call != "messages:send" {
        return error(StatusCode::NOT_FOUND, "UNSPECIFIED_ERROR", "no such call");
    }
    let bearer = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let now = Timestamp::now();
    let mut books = fcm.books();
    if !books.tokens.is_good(bearer.strip_prefix("Bearer ").unwrap_or_default(), now) {
        let body = json!({ "error": {
            "code": 401, "status": "UNAUTHENTICATED",
            "message": "Request had invalid authentication credentials. Expected OAuth 2 access token.",
        }});
        return (StatusCode::UNAUTHORIZED, Json(body)).into_response();
    }
    if project != PROJECT_ID {
        return error(StatusCode::FORBIDDEN, "SENDER_ID_MISMATCH", "no permission for this project");
    }
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let message = &request["message"];
    let (token, shown) = match read(message) {
        Ok(read) => read,
        Err(message) => return error(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", &message),
    };
    if books.unregistered.contains(&token) {
        return error(StatusCode::NOT_FOUND, "UNREGISTERED", "Requested entity was not found.");
    }
    books.count += 1;
    let name = format!("projects/{PROJECT_ID}/messages/{}", books.count);
    let at = fcm.0.inbox.clock().now();
    fcm.0.inbox.deliver(Message { provider_id: name.clone(), to: token, at, ..shown });
    Json(json!({ "name": name })).into_response()
}

/// The device, and what appears on it.
fn read(message: &Value) -> Result<(String, Message), String> {
    let token = message["token"].as_str().filter(|token| !token.is_empty());
    let token = token.ok_or("message.token: the registration token is not a valid FCM registration token")?;
    let notification = &message["notification"];
    let (Some(title), Some(body)) = (notification["title"].as_str(), notification["body"].as_str()) else {
        return Err("message.notification: title and body expected".into());
    };
    let data = message["data"].as_object().cloned().unwrap_or_default();
    if let Some((key, _)) = data.iter().find(|(_, value)| !value.is_string()) {
        return Err(format!("Invalid value at 'message.data[{key}].value' (TYPE_STRING)"));
    }
    if data
        .keys()
        .any(|key| key == "from" || key == "message_type" || key.starts_with("google") || key.starts_with("gcm"))
    {
        return Err("Invalid data payload key".into());
    }
    let of = |key: &str| data.get(key).and_then(Value::as_str).unwrap_or_default();
    let bytes = title.len() + body.len() + data.keys().map(|key| key.len() + of(key).len()).sum::<usize>();
    if bytes > PAYLOAD_BYTES_MAX {
        return Err("Android message is too big".into());
    }
    let link = data.contains_key("link").then(|| Link {
        label: if of("link_label").is_empty() { "열기" } else { of("link_label") }.to_owned(),
        url: of("link").to_owned(),
    });
    let shown = Message {
        provider: NAME,
        channel: "push",
        provider_id: String::new(),
        to: String::new(),
        from: "보신각 앱".to_owned(),
        title: Some(title.to_owned()),
        body: body.to_owned(),
        links: link.into_iter().collect(),
        // By this a notification takes the place of the one before.
        tag: message["android"]["notification"]["tag"].as_str().map(str::to_owned),
        at: Timestamp::UNIX_EPOCH,
    };
    Ok((token.to_owned(), shown))
}

async fn service_account(headers: HeaderMap) -> Response {
    let host = headers.get("host").and_then(|value| value.to_str().ok()).unwrap_or("127.0.0.1");
    service_account_file(&format!("http://{host}/token")).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Gone {
    token: String,
}

async fn unregister(State(fcm): State<Fcm>, body: Bytes) -> Response {
    let Gone { token } = match parse(&body) {
        Ok(gone) => gone,
        Err(response) => return *response,
    };
    let mut books = fcm.books();
    if books.unregistered.len() == UNREGISTERED_MAX {
        return refusal(StatusCode::BAD_REQUEST, "token", "at most 100000 tokens expected");
    }
    books.unregistered.insert(token);
    StatusCode::NO_CONTENT.into_response()
}

async fn revoke(State(fcm): State<Fcm>) -> StatusCode {
    fcm.books().tokens.revoke();
    StatusCode::NO_CONTENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_published() {
        let good = json!({ "token": "t", "notification": { "title": "제목", "body": "글" }, "data": { "link": "https://a.example" },
                           "android": { "notification": { "tag": "x" } } });
        let (token, shown) = read(&good).expect("taken");
        assert_eq!((token.as_str(), shown.tag.as_deref(), shown.links.len()), ("t", Some("x"), 1));
        let with = |path: &str, value: Value| {
            let mut message = good.clone();
            *message.pointer_mut(path).expect("there") = value;
            read(&message).is_err()
        };
        assert!(with("/token", json!("")));
        assert!(with("/notification/title", json!(1)));
        assert!(with("/data/link", json!(1)));
        assert!(with("/data", json!({ "google.a": "b" })));
        assert!(with("/notification/body", json!("가".repeat(1_400))));
    }
}
