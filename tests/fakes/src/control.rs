//! The routes that belong to no provider.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::switches::{Setting, Switches};

pub(crate) fn router(switches: Switches) -> Router {
    Router::new()
        .route("/fake/health", get(|| async { "ok" }))
        .route("/fake/switches", get(list).post(set))
        .with_state(switches)
}

/// For every path nobody serves.
pub(crate) async fn unknown(uri: Uri) -> Response {
    refusal(StatusCode::NOT_FOUND, "path", &format!("nothing is at {}", uri.path()))
}

/// What is wrong with a request to `/fake/…`.
pub(crate) fn refusal(status: StatusCode, field: &str, message: &str) -> Response {
    (status, Json(json!({"error": {"field": field, "message": message}}))).into_response()
}

/// A body of a request to `/fake/…`.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(body: &Bytes) -> Result<T, Box<Response>> {
    serde_json::from_slice(body).map_err(|error| {
        Box::new(refusal(StatusCode::BAD_REQUEST, "body", &format!("no JSON of this request: {error}")))
    })
}

async fn list(State(switches): State<Switches>) -> Json<Value> {
    Json(json!({"switches": switches.list()}))
}

async fn set(State(switches): State<Switches>, body: Bytes) -> Response {
    let setting: Setting = match parse(&body) {
        Ok(setting) => setting,
        Err(response) => return *response,
    };
    let result = match setting.into_switch() {
        Ok(switch) => switches.set(switch).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => list(State(switches)).await.into_response(),
        Err(error) => refusal(StatusCode::BAD_REQUEST, error.field, &error.message),
    }
}
