//! What comes in: bodies, queries and paths, each refused with the path of the field and what was expected.

use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// Largest body in bytes: a payload of 64 KiB, every character of it escaped, and some room.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// A body in JSON. Fields that are not known are refused. An empty body is `{}`.
///
/// The media type has to be JSON, with a body or without: the pages of other sites cannot make a browser send that, and so
/// cannot change anything here.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            let expected = "expected application/json, also where there is no body";
            return Err(Problem::transport(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Type", expected));
        }
        let body = Bytes::from_request(request, state).await.map_err(|rejection| {
            let status = rejection.status();
            let expected = match status {
                StatusCode::PAYLOAD_TOO_LARGE => format!("expected at most {BODY_BYTES_MAX} bytes"),
                _ => format!("expected a whole body: {rejection}"),
            };
            Problem::transport(status, "body", expected)
        })?;
        let body: &[u8] = if body.trim_ascii().is_empty() { b"{}" } else { &body };
        // A list would be taken for the fields in their order.
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err(Problem::field("body", "expected an object in JSON"));
        }
        let mut reader = serde_json::Deserializer::from_slice(body);
        let value = serde_path_to_error::deserialize(&mut reader)
            .map_err(|error| wrong("body", error.path(), &error.inner().to_string()))?;
        reader.end().map_err(|error| Problem::field("body", error.to_string()))?;
        Ok(Json(value))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// The part of the address after `?`. Names that are not known are refused; one may be given more than once where the field is
/// a list.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let reader = serde_html_form::Deserializer::from_bytes(query.as_bytes());
        let value = serde_path_to_error::deserialize(reader)
            .map_err(|error| wrong("query", error.path(), &error.inner().to_string()))?;
        Ok(Query(value))
    }
}

/// The names in the path.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let found = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        found.map(|axum::extract::Path(names)| Path(names)).map_err(|rejection: PathRejection| {
            Problem::field("path", format!("expected percent-encoded UTF-8: {}", rejection.body_text()))
        })
    }
}

/// What serde found wrong, where. `whole` is the name of the thing itself, for what is wrong with no field of it.
fn wrong(whole: &str, path: &serde_path_to_error::Path, message: &str) -> Problem {
    let path = path.to_string();
    // What the standard library says of a number in text says not what was expected.
    let is_number = message.contains("invalid digit")
        || message.contains("integer from empty")
        || message.contains("to fit in target");
    let message = if is_number { "expected a whole number" } else { message };
    Problem::field(if path == "." || path == "?" { whole.to_owned() } else { path }, message)
}
