//! SOLAPI as published at <https://docs.solapi.com>, as far as a sender of single messages sees it: signatures, AlimTalk, SMS
//! and LMS, the list, and reports.
//!
//! | route | |
//! |---|---|
//! | `POST /messages/v4/send` | `{message: {to, from, type, text, subject, kakaoOptions, customFields}}` |
//! | `GET /messages/v4/list?to=&messageId=&startDate=&limit=&startKey=` | newest first |
//! | `POST /fake/solapi/templates` | `{templateId, content, title?}`: an approved text; `#{name}` in it is a gap |
//! | `POST /fake/solapi/results` | `{to, type?, statusCode, atOnce?}`: how messages to this number end from now on; 4000 unless said |
//! | `POST /fake/solapi/reports` | `{url, copies}`: where reports are posted, each this many times (1..=10); `{url: null}` ends that |
//!
//! A template that was not given is taken too and shown as a list of what goes into it, so that a demo needs no console; of one that
//! was given, every gap has to be filled (1043). Calls in switches are `send` and `list`. Messages arrive at once, and not at all
//! where a result other than 4000 was asked for.
//!
//! How SOLAPI itself answers to what fails after the request was understood is not published for single messages; here it is
//! 200 with the `statusCode`, as in its list. A result is seen in the list alone, or, with `atOnce`, in the answer.

mod check;
mod report;
mod sign;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Query, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::control::{parse, refusal};
use crate::inbox::{self, Inbox};
use crate::provider::Provider;
use crate::switches::Failure;
use check::{Accepted, Template};
use report::Reporter;
use sign::Signatures;

/// Its name in switches and on the command line.
pub const NAME: &str = "solapi";
/// The API key it knows.
pub const API_KEY: &str = "FAKEAPIKEY";
/// The API secret that belongs to it.
pub const API_SECRET: &str = "secret_of_the_fakes";
/// The only number that is registered to send from.
pub const SENDER: &str = "0212345678";
/// The only Kakao channel.
pub const PF_ID: &str = "KA01PF_fakes";

/// Messages that are listed; older ones are forgotten.
const LISTED_MAX: usize = 100_000;
/// Messages in one answer of the list.
const LIMIT_MAX: usize = 500;

/// SOLAPI, its messages in memory. Clones are the same provider.
#[derive(Clone)]
pub struct Solapi(Arc<Inner>);

struct Inner {
    state: Mutex<Books>,
    inbox: Inbox,
    reporter: Reporter,
}

#[derive(Default)]
struct Books {
    signatures: Signatures,
    messages: VecDeque<Stored>,
    count: u64,
    templates: BTreeMap<String, Template>,
    /// By number and type; the empty type is all of them.
    results: BTreeMap<(String, String), Ending>,
}

/// How a message ends.
#[derive(Clone, Debug)]
struct Ending {
    status_code: String,
    /// The answer says so, and nothing is listed.
    at_once: bool,
}

/// A message as the list shows it.
struct Stored {
    id: String,
    to: String,
    created: Timestamp,
    json: Value,
}

impl Solapi {
    /// Reports are posted by a task of the current runtime, which ends with the last clone.
    pub(crate) fn new(inbox: Inbox) -> Self {
        Solapi(Arc::new(Inner { state: Mutex::default(), inbox, reporter: Reporter::start() }))
    }

    pub(crate) fn provider(&self) -> Provider {
        let api = Router::new()
            .route("/messages/v4/send", post(send))
            .route("/messages/v4/list", get(list))
            .route_layer(middleware::from_fn_with_state(self.clone(), signed))
            .with_state(self.clone());
        let control = Router::new()
            .route("/fake/solapi/templates", post(template))
            .route("/fake/solapi/results", post(result))
            .route("/fake/solapi/reports", post(reports))
            .with_state(self.clone());
        Provider { name: NAME, api, control, call_of, failure }
    }

    /// Approves a text: `#{name}` in it is a gap.
    ///
    /// # Errors
    ///
    /// When there are too many: how many there may be.
    pub fn approve(&self, template_id: &str, title: Option<&str>, content: &str) -> Result<(), String> {
        let (title, content) = (title.map(str::to_owned), content.to_owned());
        self.keep_template(Template { template_id: template_id.to_owned(), content, title })
    }

    /// Says how messages of a type (`ATA`, `SMS`, `LMS`; empty: all) to this number end from now on: with a status code of four
    /// digits, in the list or, `at_once`, in the answer.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what was expected.
    pub fn end_with(&self, to: &str, kind: &str, status_code: &str, at_once: bool) -> Result<(), String> {
        self.keep_result(NumberResult {
            to: to.to_owned(),
            kind: kind.to_owned(),
            status_code: status_code.to_owned(),
            at_once,
        })
        .map_err(|(field, message)| format!("{field}: {message}"))
    }

    fn keep_template(&self, template: Template) -> Result<(), String> {
        let mut books = self.books();
        if books.templates.len() >= 1_000 {
            return Err("at most 1000 templates expected".to_owned());
        }
        books.templates.insert(template.template_id.clone(), template);
        Ok(())
    }

    fn keep_result(&self, result: NumberResult) -> Result<(), (&'static str, &'static str)> {
        let NumberResult { to, kind, status_code, at_once } = result;
        if status_code.len() != 4 || !status_code.bytes().all(|b| b.is_ascii_digit()) {
            return Err(("statusCode", "four digits expected"));
        }
        let mut books = self.books();
        if books.results.len() >= 100_000 {
            return Err(("to", "at most 100000 numbers expected"));
        }
        books.results.insert((inbox::normal(&to), kind), Ending { status_code, at_once });
        Ok(())
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // A panic in between would be a bug of the fake, and the next answer shows it.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn call_of(_: &Method, path: &str) -> &'static str {
    if path.ends_with("/list") { "list" } else { "send" }
}

fn failure(failure: &Failure) -> Response {
    failure.response(Json(json!({ "errorCode": failure.code, "errorMessage": failure.message })))
}

fn error(status: u16, code: &str, message: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(json!({ "errorCode": code, "errorMessage": message }))).into_response()
}

async fn signed(State(solapi): State<Solapi>, request: Request, next: Next) -> Response {
    let header = request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let checked = solapi.books().signatures.check(header, Timestamp::now());
    match checked {
        Ok(()) => next.run(request).await,
        Err((code, message)) => error(403, code, message),
    }
}

async fn send(State(solapi): State<Solapi>, body: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<Value>(&body) else {
        return error(400, "ValidationError", "JSON expected");
    };
    let now = solapi.0.inbox.clock().now();
    let mut books = solapi.books();
    let accepted = match check::check(&request["message"], &books.templates) {
        Ok(accepted) => accepted,
        Err(check::Refusal::Invalid(message)) => return error(400, "ValidationError", &message),
        Err(check::Refusal::Code(code, text)) => return Json(refused(&request["message"], code, text)).into_response(),
    };
    let result =
        [accepted.kind, ""].iter().find_map(|kind| books.results.get(&(accepted.to.clone(), (*kind).to_owned())));
    let status = match result {
        Some(Ending { status_code, at_once: true }) => {
            return Json(refused(&request["message"], status_code, "발송 실패")).into_response();
        }
        Some(Ending { status_code, at_once: false }) => status_code.clone(),
        None => "4000".to_owned(),
    };
    books.count += 1;
    let (id, group) = (format!("M4V{:029}", books.count), format!("G4V{:029}", books.count));
    let stored = stored(&accepted, &id, &group, &status, now);
    if books.messages.len() == LISTED_MAX {
        books.messages.pop_back();
    }
    books.messages.push_front(Stored { id: id.clone(), to: accepted.to.clone(), created: now, json: stored.clone() });
    drop(books);
    solapi.0.reporter.report(stored);
    let answer = json!({
        "groupId": group,
        "messageId": id,
        "accountId": "12925149",
        "statusMessage": "정상 접수(이통사로 접수 예정) ",
        "statusCode": "2000",
        "to": accepted.to,
        "from": SENDER,
        "type": accepted.kind,
        "country": "82",
    });
    if status == "4000" {
        solapi.0.inbox.deliver(delivered(accepted, id, now));
    }
    Json(answer).into_response()
}

fn refused(message: &Value, code: &str, text: &str) -> Value {
    json!({
        "groupId": "G4V0",
        "messageId": "M4V0",
        "accountId": "12925149",
        "statusMessage": text,
        "statusCode": code,
        "to": message["to"],
        "from": message["from"],
        "type": message["type"],
        "country": "82",
    })
}

fn stored(accepted: &Accepted, id: &str, group: &str, status_code: &str, now: Timestamp) -> Value {
    let date = format!("{now:.3}");
    json!({
        "_id": id,
        "messageId": id,
        "groupId": group,
        "accountId": "12925149",
        "type": accepted.kind,
        "country": "82",
        "subject": accepted.subject,
        "text": accepted.text,
        "to": accepted.to,
        "from": SENDER,
        "customFields": accepted.custom_fields,
        "status": "COMPLETE",
        "statusCode": status_code,
        "replacement": false,
        "dateCreated": date,
        "dateUpdated": date,
        "dateReported": date,
    })
}

fn delivered(accepted: Accepted, id: String, at: Timestamp) -> inbox::Message {
    let is_kakao = accepted.kind == "ATA";
    inbox::Message {
        provider: NAME,
        channel: if is_kakao { "kakao" } else { "sms" },
        provider_id: id,
        to: inbox::normal(&accepted.to),
        from: if is_kakao { "보신각 선물".to_owned() } else { SENDER.to_owned() },
        title: accepted.subject,
        body: accepted.text,
        links: accepted.links,
        tag: accepted.custom_fields.get("bosingakTag").cloned(),
        at,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListQuery {
    to: Option<String>,
    message_id: Option<String>,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
    limit: Option<usize>,
    start_key: Option<String>,
}

async fn list(State(solapi): State<Solapi>, Query(query): Query<ListQuery>) -> Json<Value> {
    let limit = query.limit.unwrap_or(20).clamp(1, LIMIT_MAX);
    let books = solapi.books();
    let fits = |stored: &&Stored| {
        query.to.as_ref().is_none_or(|to| stored.to == *to)
            && query.message_id.as_ref().is_none_or(|id| stored.id == *id)
            && query.start_date.is_none_or(|start| stored.created >= start)
            && query.end_date.is_none_or(|end| stored.created < end)
            // Ids grow, and the newest come first.
            && query.start_key.as_ref().is_none_or(|key| stored.id <= *key)
    };
    let mut found = books.messages.iter().filter(fits);
    let page: serde_json::Map<_, _> =
        found.by_ref().take(limit).map(|stored| (stored.id.clone(), stored.json.clone())).collect();
    let next = found.next().map(|stored| stored.id.clone());
    Json(json!({ "startKey": query.start_key, "nextKey": next, "limit": limit, "messageList": page }))
}

async fn template(State(solapi): State<Solapi>, body: Bytes) -> Response {
    let template: Template = match parse(&body) {
        Ok(template) => template,
        Err(response) => return *response,
    };
    match solapi.keep_template(template) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(message) => refusal(StatusCode::BAD_REQUEST, "templateId", &message),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NumberResult {
    to: String,
    #[serde(rename = "type", default)]
    kind: String,
    status_code: String,
    #[serde(default)]
    at_once: bool,
}

async fn result(State(solapi): State<Solapi>, body: Bytes) -> Response {
    let result: NumberResult = match parse(&body) {
        Ok(result) => result,
        Err(response) => return *response,
    };
    match solapi.keep_result(result) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err((field, message)) => refusal(StatusCode::BAD_REQUEST, field, message),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReportSetting {
    url: Option<String>,
    copies: Option<usize>,
}

async fn reports(State(solapi): State<Solapi>, body: Bytes) -> Response {
    let ReportSetting { url, copies } = match parse(&body) {
        Ok(setting) => setting,
        Err(response) => return *response,
    };
    match solapi.0.reporter.set(url.as_deref(), copies.unwrap_or(1)) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err((field, message)) => refusal(StatusCode::BAD_REQUEST, field, message),
    }
}
