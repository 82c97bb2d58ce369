//! What goes around every call: its request id, its time, and how a problem is written.

use std::time::Duration;

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::problem::Problem;
use super::scalars::Length;

/// Names a request in answers and logs.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How long the caller waits.
const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("request-timeout");

/// Longest request id that is taken from a caller, in characters; instead of another one is made.
const REQUEST_ID_CHARS_MAX: usize = 128;

/// Goes around every handler.
pub async fn exchange(request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    finish(response, &format!("{method} {path}"), &path, id)
}

/// Adds the request id; a handler's problem, or a status without any, becomes a body.
pub(super) fn finish(mut response: Response, what: &str, path: &str, id: HeaderValue) -> Response {
    let status = response.status();
    let mut problem = response.extensions_mut().remove::<Problem>();
    if problem.is_none() && (status.is_client_error() || status.is_server_error()) {
        problem = Some(Problem::of_status(status, what));
    }
    if let Some(problem) = problem {
        let problem = problem.about(path, id.to_str().unwrap_or_default());
        if problem.is_internal() {
            tracing::error!(request_id = ?id, what, detail = problem.detail(), "a call over HTTP failed");
        }
        let allow = response.headers_mut().remove("allow").filter(|_| status == StatusCode::METHOD_NOT_ALLOWED);
        response = problem.write();
        if let Some(allow) = allow {
            response.headers_mut().insert("allow", allow);
        }
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The caller's, or a new one.
pub(super) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let fits = |value: &&HeaderValue| {
        (1..=REQUEST_ID_CHARS_MAX).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    match headers.get(REQUEST_ID).filter(fits) {
        Some(given) => given.clone(),
        None => {
            let made = uuid::Uuid::now_v7().to_string();
            HeaderValue::from_str(&made).unwrap_or(HeaderValue::from_static("unknown"))
        }
    }
}

/// How long the caller waits, by `Request-Timeout`, such as `5s` or `250ms`; `limits.call_timeout` when that is shorter or nothing
/// is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadline(Option<Duration>);

impl Deadline {
    /// The time a call has.
    pub(super) fn or(self, cap: Duration) -> Duration {
        self.0.map_or(cap, |given| given.min(cap))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Deadline {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(REQUEST_TIMEOUT) else { return Ok(Deadline(None)) };
        let length = value.to_str().ok().and_then(|text| text.parse::<Length>().ok());
        match length.and_then(|Length(length)| Duration::try_from(length).ok()).filter(|length| !length.is_zero()) {
            Some(length) => Ok(Deadline(Some(length))),
            None => Err(Problem::field("Request-Timeout", "expected a length of time above 0 such as 5s or 250ms")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_taken_when_it_is_short_and_printable() {
        let id = |given: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(given.as_bytes()).expect("a value"));
            request_id(&headers).to_str().expect("text").to_owned()
        };
        assert_eq!(id("r-1"), "r-1");
        assert_eq!(id(&"x".repeat(128)).len(), 128);
        for given in ["", "two words", &"x".repeat(129), "주문"] {
            assert_eq!(id(given).len(), 36, "{given}");
        }
    }

    #[test]
    fn the_shorter_time_counts() {
        let cap = Duration::from_secs(10);
        assert_eq!(Deadline(None).or(cap), cap);
        assert_eq!(Deadline(Some(cap * 2)).or(cap), cap);
        assert_eq!(Deadline(Some(cap / 2)).or(cap), cap / 2);
    }
}
