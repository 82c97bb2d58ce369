//! `/v1/namespaces/{namespace}/gifts/{id}/watch`: a gift as it is and then every change, as server-sent events.

use std::convert::Infallible;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use futures::stream;
use proto::gift::v1;

use super::super::json::{Path, Query};
use super::super::watch::{failed, with_json};
use super::super::{Api, Problem};
use super::manage::{AsSender, of_path};
use super::views::Gift;
use crate::error::Error;

/// Watches a gift.
///
/// An event `gift` tells it as it is, and one every change, until it has ended; changes may be folded into the next one. The data is a
/// Gift, the id its version. A browser that lost the connection is told of the gift again only when it has changed, and with 204, after
/// which it asks no more, that it has ended. Whatever else ends the stream from this side is told by an event `problem`, with a Problem
/// as data. A comment comes when nothing else has for a while (`limits.event_heartbeat`).
#[utoipa::path(
    get,
    path = "/v1/namespaces/{namespace}/gifts/{id}/watch",
    tag = "gifts",
    operation_id = "watch_gift",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("id" = String, Path, description = "Which.", example = "gift-1"),
        ("Last-Event-ID" = Option<String>, Header, description = "The newest version that was seen."),
        AsSender,
    ),
    responses(
        (status = 200, description = "Events.", body = Gift, content_type = "text/event-stream"),
        (status = 204, description = "It has ended, and that was seen."),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn watch(
    State(api): State<Api>,
    Path((namespace, gift_id)): Path<(String, String)>,
    Query(query): Query<AsSender>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let place = api.place_to_watch()?;
    let seen = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let path = format!("/v1/namespaces/{namespace}/gifts/{gift_id}/watch");
    let message = v1::WatchGiftRequest { namespace, gift_id, sender_id: query.sender_id.unwrap_or_default() };
    let told = api.services.watch_gift(message).map_err(|error| Problem::from(error).with_fields(of_path))?;
    let mut told = Box::pin(told);
    // What is wrong from the beginning is an answer of its own.
    let first = match told.next().await {
        None => None,
        Some(Err(error)) => return Err(error.into()),
        Some(Ok(first)) => first.gift,
    };
    let is_seen = first.as_ref().is_some_and(|gift| seen == Some(gift.version));
    if is_seen && first.as_ref().is_some_and(has_ended) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let first = first.filter(|_| !is_seen).map(|gift| Ok(v1::WatchGiftResponse { gift: Some(gift) }));
    let events = stream::iter(first).chain(told).map(move |answer: Result<_, Error>| {
        // It lives as long as the stream does.
        let _ = &place;
        Ok::<Event, Infallible>(match answer {
            Ok(answer) => event(answer),
            Err(error) => failed(Problem::from(error).about(&path, "")),
        })
    });
    let heartbeat = KeepAlive::new().interval(api.services.node.config().event_heartbeat).text("");
    let headers = [("cache-control", "no-store"), ("x-accel-buffering", "no")];
    Ok((headers, Sse::new(events).keep_alive(heartbeat)).into_response())
}

/// Whether nothing more becomes of it. A FAILED one that was paid for is not over until the money is back; one that was not paid
/// stays so.
fn has_ended(gift: &v1::Gift) -> bool {
    matches!(gift.state(), v1::GiftState::Used | v1::GiftState::Refunded)
}

fn event(answer: v1::WatchGiftResponse) -> Event {
    let gift = Gift::of(answer.gift);
    with_json(Event::default().event("gift").id(gift.version.0.to_string()), &gift)
}
