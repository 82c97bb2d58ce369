//! `/v1/namespaces/{namespace}/watch`: triggers as they are and then every change, as server-sent events.

use std::convert::Infallible;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use proto::v1;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::json::{Path, Query};
use super::scalars::{Moment, names};
use super::triggers::{filter_of, of_query};
use super::views::{Trigger, TriggerState};
use super::{Api, Problem};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(watch))
}

/// What to watch: conditions that must all hold.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct Watched {
    /// Only this trigger.
    id: Option<String>,
    /// Only of this topic.
    topic: Option<String>,
    /// Only in this state; may be given more than once.
    state: Vec<TriggerState>,
    /// Only due at or after this moment.
    #[param(value_type = Option<String>, format = DateTime)]
    due_from: Option<Moment>,
    /// Only due before this moment.
    #[param(value_type = Option<String>, format = DateTime)]
    due_to: Option<Moment>,
    /// Only with this label, as `KEY=VALUE`; may be given more than once.
    label: Vec<String>,
    /// Continue after this event, where Last-Event-ID cannot be sent.
    cursor: Option<String>,
}

names! {
    /// What an event tells.
    EventKind = v1::WatchEventKind {
        /// Not known to this node.
        Unspecified = "WATCH_EVENT_KIND_UNSPECIFIED",
        /// As it was when the watch began.
        Listed = "WATCH_EVENT_KIND_LISTED",
        /// Everything that matched at the start has been told.
        Synced = "WATCH_EVENT_KIND_SYNCED",
        /// It changed.
        Changed = "WATCH_EVENT_KIND_CHANGED",
    }
}

/// The data of an event.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WatchEvent {
    /// What it tells.
    kind: EventKind,
    /// As it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    trigger: Option<Trigger>,
    /// The same as the event's id: where to continue. Empty while listing, which begins anew.
    cursor: String,
}

/// Watches triggers.
///
/// Events are called `listed`, `synced` and `changed`, with a WatchEvent as data and the cursor as id: a browser that lost the
/// connection continues where it was. Whatever ends the stream from this side is told by an event `problem`, with a Problem as
/// data. A comment comes when nothing else has for a while (`limits.event_heartbeat`). A cursor that is too old is STALE_CURSOR,
/// 410: begin anew, without it.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{namespace}/watch",
    tag = "triggers",
    operation_id = "watch_triggers",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("Last-Event-ID" = Option<String>, Header, description = "Continue after this event."),
        Watched,
    ),
    responses(
        (status = 200, description = "Events.", body = WatchEvent, content_type = "text/event-stream"),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn watch(
    State(api): State<Api>,
    Path(namespace): Path<String>,
    Query(query): Query<Watched>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let resumed = headers.get("last-event-id").map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let filter = filter_of(query.topic, &query.state, (query.due_from, query.due_to), query.label)?;
    let message = v1::WatchRequest {
        namespace,
        id: query.id.unwrap_or_default(),
        filter: Some(filter),
        cursor: resumed.filter(|id| !id.is_empty()).or(query.cursor).unwrap_or_default(),
    };
    let place = api.place_to_watch()?;
    let begun = api.services.begin_watch(message).map_err(|error| Problem::from(error).with_fields(of_query))?;
    begun.check_cursor()?;
    let path = format!("/v1/namespaces/{}/watch", begun.namespace());
    let events = begun.stream().map(move |event| {
        // It lives as long as the stream does.
        let _ = &place;
        Ok::<Event, Infallible>(match event {
            Ok(event) => told(event),
            Err(status) => failed(Problem::from(status).about(&path, "")),
        })
    });
    let heartbeat = KeepAlive::new().interval(api.services.node.config().event_heartbeat).text("");
    let headers = [("cache-control", "no-store"), ("x-accel-buffering", "no")];
    Ok((headers, Sse::new(events).keep_alive(heartbeat)).into_response())
}

fn told(event: v1::WatchResponse) -> Event {
    let kind = EventKind::of(event.kind);
    let name = match kind {
        EventKind::Listed => "listed",
        EventKind::Synced => "synced",
        EventKind::Changed => "changed",
        EventKind::Unspecified => "unspecified",
    };
    let (id, trigger) = (event.cursor.clone(), event.trigger.map(Trigger::from));
    let data = WatchEvent { kind, trigger, cursor: event.cursor };
    let event = with_json(Event::default().event(name), &data);
    if id.is_empty() { event } else { event.id(id) }
}

/// Why a stream ends.
pub(super) fn failed(problem: Problem) -> Event {
    with_json(Event::default().event("problem"), &problem)
}

/// Nothing here fails to be JSON; if it did, an event without data would not even be told.
pub(super) fn with_json(event: Event, data: &impl Serialize) -> Event {
    event.data(serde_json::to_string(data).unwrap_or_default())
}
