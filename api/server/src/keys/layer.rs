//! Asks every caller for a key, and whether it may.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tonic::Status;

use super::{Keys, http_routes};
use crate::error::Error;
use crate::http;

/// Asked before the process says anything about itself: load balancers have no key.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// Goes around every route when there are keys.
pub(crate) async fn authenticate(State(keys): State<Keys>, request: Request, next: Next) -> Response {
    match check(&keys, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => refuse(&request, error),
    }
}

fn check(keys: &Keys, request: &Request) -> Result<(), Error> {
    let path = request.uri().path();
    if path.starts_with(HEALTH) || http_routes::is_open(path) {
        return Ok(());
    }
    let shown = request.headers().get("authorization").map(|value| value.as_bytes());
    let Some(caller) = keys.caller(shown)? else { return Ok(()) };
    // What is neither in the one table nor in the other is for nobody but operators, who are told that it is not there.
    let method = http_routes::method_of(request.method(), path).unwrap_or(path);
    if caller.role.may_call(method) {
        return Ok(());
    }
    tracing::warn!(key = caller.id, role = caller.role.name(), method, "a call was denied");
    Err(Error::Denied { role: caller.role.name(), method: method.trim_start_matches('/').into() })
}

fn refuse(request: &Request, error: Error) -> Response {
    if http::speaks_grpc(request.headers()) {
        let response: axum::http::Response<tonic::body::Body> = Status::from(error).into_http();
        return response.map(axum::body::Body::new);
    }
    let asks = matches!(error, Error::Unauthenticated { .. });
    let mut response = http::Problem::from(error).into_response();
    let what = format!("{} {}", request.method(), request.uri().path());
    response = http::finish(response, &what, request);
    if asks {
        // RFC 6750, section 3.
        response.headers_mut().insert("www-authenticate", axum::http::HeaderValue::from_static("Bearer"));
    }
    response
}
