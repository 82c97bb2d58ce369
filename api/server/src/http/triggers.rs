//! `/v1/namespaces/{namespace}/triggers`: schedule, get, list, cancel, reschedule, run now.

use std::collections::BTreeMap;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proto::v1;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::exchange::Deadline;
use super::idempotency::{IdempotencyKey, REPLAYED};
use super::json::{Json, Path, Query};
use super::scalars::{Length, Moment, Number};
use super::views::{
    Ended, Expected, LatePolicy, LocalTime, Moved, Priority, Receipt, RetryPolicy, Trigger, TriggerPage, TriggerState,
};
use super::{Api, Problem};
use crate::validate::Violations;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(schedule, list))
        .routes(routes!(get))
        .routes(routes!(cancel))
        .routes(routes!(reschedule))
        .routes(routes!(run_now))
}

/// When a trigger is due: one of the three. At most ten years ahead.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct When {
    /// A moment. One in the past fires at once.
    at: Option<Moment>,
    /// So long after the call is taken; a repeated request keeps its first answer.
    after: Option<Length>,
    /// A wall-clock time in a zone.
    local: Option<LocalTime>,
}

impl When {
    fn into_proto(self) -> Result<v1::When, Problem> {
        use v1::when::When as Given;
        let mut given = [
            self.at.map(|Moment(at)| Given::At(at)),
            self.after.map(|Length(after)| Given::After(after)),
            self.local.map(|local| Given::Local(local.into())),
        ]
        .into_iter()
        .flatten();
        match (given.next(), given.next()) {
            // None at all is what the service looks for.
            (when, None) => Ok(v1::When { when }),
            _ => Err(Problem::field("when", "expected one of at, after, local, got more")),
        }
    }
}

/// A trigger to schedule. Same fields and ranges as ScheduleRequest of the protocol.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ScheduleTrigger {
    /// What a repeat is known by: 1 to 128 printable ASCII characters without spaces. The Idempotency-Key when left out; made when
    /// there is none either, and then a repeated request makes a second trigger.
    #[schema(example = "order-1", max_length = 128)]
    id: String,
    /// Name of the handler it is for: 1 to 64 characters of [A-Za-z0-9._-]. Required.
    #[schema(example = "send-gift", max_length = 64, required)]
    topic: String,
    /// Required.
    #[schema(required)]
    when: Option<When>,
    /// Decides which executor gets it; the id when left out. At most 128 bytes.
    shard_key: String,
    /// What the executor gets, in base64. At most 64 KiB; one of the three payloads at most.
    payload: Option<String>,
    /// What the executor gets, as text in UTF-8.
    #[schema(example = "안녕")]
    payload_text: Option<String>,
    /// What the executor gets, as JSON: written without spaces, keys in order.
    payload_json: Option<serde_json::Value>,
    /// At most 16, keys of 1 to 63 and values of up to 255 characters.
    labels: BTreeMap<String, String>,
    /// Class within the topic.
    priority: Option<Priority>,
    /// After a failure.
    retry: Option<RetryPolicy>,
    /// When it is late.
    late: Option<LatePolicy>,
}

impl ScheduleTrigger {
    fn into_proto(self, namespace: String, key: IdempotencyKey) -> Result<v1::ScheduleRequest, Problem> {
        let payloads = [
            self.payload.map(|text| {
                let bytes = BASE64_STANDARD.decode(&text);
                bytes.map_err(|error| Problem::field("payload", format!("expected base64: {error}")))
            }),
            self.payload_text.map(|text| Ok(text.into_bytes())),
            self.payload_json.map(|value| Ok(value.to_string().into_bytes())),
        ];
        let mut payloads = payloads.into_iter().flatten();
        let payload = payloads.next().unwrap_or_else(|| Ok(Vec::new()))?;
        if payloads.next().is_some() {
            return Err(Problem::field("payload", "expected one of payload, payloadText, payloadJson, got more"));
        }
        Ok(v1::ScheduleRequest {
            namespace,
            id: key.or_id(self.id)?,
            topic: self.topic,
            when: self.when.map(When::into_proto).transpose()?,
            shard_key: self.shard_key,
            payload: payload.into(),
            labels: self.labels,
            priority: self.priority.map_or(0, Priority::number),
            retry: self.retry.map(v1::RetryPolicy::from),
            late: self.late.map(|late| v1::LatePolicy {
                skip_when_later_than: late.skip_when_later_than.map(|Length(length)| length),
            }),
        })
    }
}

/// A trigger was scheduled.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ScheduledTrigger {
    /// Of the trigger.
    namespace: String,
    /// Of the trigger.
    id: String,
    /// The resolved moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<Moment>,
    /// The version that cancel and reschedule may expect.
    generation: Number,
    /// What the log decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
    /// True when this answers a repeated request.
    replayed: bool,
    /// There when a local time was given: what it was resolved with.
    #[serde(skip_serializing_if = "Option::is_none")]
    local_time: Option<LocalTime>,
}

impl From<v1::ScheduleResponse> for ScheduledTrigger {
    fn from(answer: v1::ScheduleResponse) -> Self {
        ScheduledTrigger {
            namespace: answer.namespace,
            id: answer.id,
            due: answer.due.map(Moment),
            generation: Number(answer.generation),
            receipt: answer.receipt.map(Receipt::from),
            replayed: answer.replayed,
            local_time: answer.local_time.map(LocalTime::from),
        }
    }
}

/// Schedules a trigger.
///
/// Answered when it is durable on a majority. The id is what a repeat is known by: the same request again is answered like the
/// first, with 200; the same id with another content is ALREADY_EXISTS.
#[utoipa::path(
    post,
    path = "/v1/namespaces/{namespace}/triggers",
    tag = "triggers",
    operation_id = "schedule_trigger",
    params(
        ("namespace" = String, Path, description = "Tenant: 1 to 64 characters of [a-z0-9-].", example = "default"),
        ("Idempotency-Key" = Option<String>, Header, description = "Stands for an id that is left out; else equal to it."),
        ("Request-Timeout" = Option<String>, Header, description = "How long the caller waits, such as 5s."),
    ),
    request_body = ScheduleTrigger,
    responses(
        (status = 201, description = "Scheduled.", body = ScheduledTrigger, headers(("Location" = String, description = "The trigger."))),
        (status = 200, description = "It had been scheduled before, by the same request.", body = ScheduledTrigger,
            headers(("Idempotency-Replayed" = String, description = "true"))),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn schedule(
    State(api): State<Api>,
    deadline: Deadline,
    Path(namespace): Path<String>,
    key: IdempotencyKey,
    Json(body): Json<ScheduleTrigger>,
) -> Result<(StatusCode, HeaderMap, Answer<ScheduledTrigger>), Problem> {
    let message = body.into_proto(namespace, key)?;
    let call = async |message, call| api.services.schedule_one(message, call, "").await;
    let answer = ScheduledTrigger::from(api.call("Schedule", deadline, message, call).await?);
    let mut headers = HeaderMap::new();
    if answer.replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
        return Ok((StatusCode::OK, headers, Answer(answer)));
    }
    let location = format!("/v1/namespaces/{}/triggers/{}", answer.namespace, path_segment(&answer.id));
    // What a segment is encoded to is ASCII.
    if let Ok(location) = HeaderValue::from_str(&location) {
        headers.insert(LOCATION, location);
    }
    Ok((StatusCode::CREATED, headers, Answer(answer)))
}

/// Any text as one segment of a path: everything but what RFC 3986 calls unreserved is encoded.
fn path_segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Reads a trigger. Linearizable.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{namespace}/triggers/{id}",
    tag = "triggers",
    operation_id = "get_trigger",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("id" = String, Path, description = "Which; percent-encoded.", example = "order-1"),
    ),
    responses(
        (status = 200, description = "The trigger.", body = Trigger),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get(
    State(api): State<Api>,
    deadline: Deadline,
    Path((namespace, id)): Path<(String, String)>,
) -> Result<Answer<Trigger>, Problem> {
    let message = v1::GetRequest { namespace, id };
    let answer = api.call("Get", deadline, message, async |m, call| api.services.get_one(m, call).await).await?;
    Ok(Answer(Trigger::from(answer.trigger.unwrap_or_default())))
}

/// Which triggers: conditions that must all hold.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct Filter {
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
    /// 1 to 1,000; 100 when left out.
    page_size: Option<u32>,
    /// From the previous page.
    page_token: Option<String>,
}

/// A filter of the protocol, out of a query.
pub(super) fn filter_of(
    topic: Option<String>,
    states: &[TriggerState],
    due: (Option<Moment>, Option<Moment>),
    labels: Vec<String>,
) -> Result<v1::TriggerFilter, Problem> {
    let mut v = Violations::new();
    let mut found = BTreeMap::new();
    for label in labels {
        match label.split_once('=') {
            Some((key, value)) if !key.is_empty() => drop(found.insert(key.to_owned(), value.to_owned())),
            _ => v.push("label", format!("expected KEY=VALUE, got {label:?}")),
        }
    }
    v.finish(v1::TriggerFilter {
        topic: topic.unwrap_or_default(),
        states: states.iter().map(|state| state.number()).collect(),
        due_from: due.0.map(|Moment(at)| at),
        due_to: due.1.map(|Moment(at)| at),
        labels: found,
    })
    .map_err(Problem::from)
}

/// Fields of a filter as they are called in a query.
pub(super) fn of_query(field: &str) -> String {
    let field = field.strip_prefix("filter.").unwrap_or(field);
    match field.split('[').next().unwrap_or_default() {
        "labels" => field.replacen("labels", "label", 1),
        "states" => field.replacen("states", "state", 1),
        _ => field.to_owned(),
    }
}

/// Lists triggers.
///
/// In order of partition, topic, priority, due. What a page says of one partition was so at one moment; the next page may be of a
/// later one.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{namespace}/triggers",
    tag = "triggers",
    operation_id = "list_triggers",
    params(("namespace" = String, Path, description = "Tenant.", example = "default"), Filter),
    responses(
        (status = 200, description = "A page.", body = TriggerPage),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list(
    State(api): State<Api>,
    deadline: Deadline,
    Path(namespace): Path<String>,
    Query(query): Query<Filter>,
) -> Result<Answer<TriggerPage>, Problem> {
    let filter = filter_of(query.topic, &query.state, (query.due_from, query.due_to), query.label)?;
    let message = v1::ListRequest {
        namespace,
        filter: Some(filter),
        page_size: query.page_size.unwrap_or_default(),
        page_token: query.page_token.unwrap_or_default(),
    };
    let call = async |message, call| api.services.list_page(message, call).await;
    let page = api.call("List", deadline, message, call).await.map_err(|problem| problem.with_fields(of_query))?;
    Ok(Answer(TriggerPage::of(page.triggers, page.next_page_token)))
}

/// Cancels a trigger that has not fired.
///
/// ALREADY_FIRED says that it was too late, with the receipt.
#[utoipa::path(
    post,
    path = "/v1/namespaces/{namespace}/triggers/{id}/cancel",
    tag = "triggers",
    operation_id = "cancel_trigger",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("id" = String, Path, description = "Which; percent-encoded.", example = "order-1"),
        ("Idempotency-Key" = Option<String>, Header, description = "A UUID of version 7: a repeat gets the first answer."),
    ),
    request_body = Expected,
    responses(
        (status = 200, description = "It will never fire.", body = Ended),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn cancel(
    State(api): State<Api>,
    deadline: Deadline,
    Path((namespace, id)): Path<(String, String)>,
    key: IdempotencyKey,
    Json(body): Json<Expected>,
) -> Result<Answer<Ended>, Problem> {
    let (expected_generation, request_id) = (body.expected_generation.0, key.request_id()?);
    let message = v1::CancelRequest { namespace, id, expected_generation, request_id };
    let answer = api.call("Cancel", deadline, message, async |m, call| api.services.cancel_one(m, call).await).await?;
    Ok(Answer(Ended::of(answer.receipt)))
}

/// When a trigger is to be due instead.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RescheduleTrigger {
    /// Required.
    #[schema(required)]
    when: Option<When>,
    /// Only if this is still the generation: VERSION_MISMATCH otherwise. Left out, or 0: whichever.
    expected_generation: Number,
}

/// A trigger is due at another time.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RescheduledTrigger {
    /// The resolved moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<Moment>,
    /// The new one.
    generation: Number,
    /// What the log decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
    /// There when a local time was given: what it was resolved with.
    #[serde(skip_serializing_if = "Option::is_none")]
    local_time: Option<LocalTime>,
}

/// Moves a trigger that has not fired to another due time, as a new generation.
#[utoipa::path(
    post,
    path = "/v1/namespaces/{namespace}/triggers/{id}/reschedule",
    tag = "triggers",
    operation_id = "reschedule_trigger",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("id" = String, Path, description = "Which; percent-encoded.", example = "order-1"),
        ("Idempotency-Key" = Option<String>, Header, description = "A UUID of version 7: a repeat gets the first answer."),
    ),
    request_body = RescheduleTrigger,
    responses(
        (status = 200, description = "It is due then.", body = RescheduledTrigger),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn reschedule(
    State(api): State<Api>,
    deadline: Deadline,
    Path((namespace, id)): Path<(String, String)>,
    key: IdempotencyKey,
    Json(body): Json<RescheduleTrigger>,
) -> Result<Answer<RescheduledTrigger>, Problem> {
    let message = v1::RescheduleRequest {
        namespace,
        id,
        when: body.when.map(When::into_proto).transpose()?,
        expected_generation: body.expected_generation.0,
        request_id: key.request_id()?,
    };
    let call = async |message, call| api.services.reschedule_one(message, call).await;
    let answer = api.call("Reschedule", deadline, message, call).await?;
    Ok(Answer(RescheduledTrigger {
        due: answer.due.map(Moment),
        generation: Number(answer.generation),
        receipt: answer.receipt.map(Receipt::from),
        local_time: answer.local_time.map(LocalTime::from),
    }))
}

/// Fires a scheduled trigger now, as a new generation.
#[utoipa::path(
    post,
    path = "/v1/namespaces/{namespace}/triggers/{id}/run-now",
    tag = "triggers",
    operation_id = "run_trigger_now",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("id" = String, Path, description = "Which; percent-encoded.", example = "order-1"),
        ("Idempotency-Key" = Option<String>, Header, description = "A UUID of version 7: a repeat gets the first answer."),
    ),
    request_body = Expected,
    responses(
        (status = 200, description = "It fires.", body = Moved),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn run_now(
    State(api): State<Api>,
    deadline: Deadline,
    Path((namespace, id)): Path<(String, String)>,
    key: IdempotencyKey,
    Json(body): Json<Expected>,
) -> Result<Answer<Moved>, Problem> {
    let (expected_generation, request_id) = (body.expected_generation.0, key.request_id()?);
    let message = v1::RunNowRequest { namespace, id, expected_generation, request_id };
    let answer = api.call("RunNow", deadline, message, async |m, call| api.services.run_one_now(m, call).await).await?;
    Ok(Answer(Moved { generation: Number(answer.generation), receipt: answer.receipt.map(Receipt::from) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_segment() {
        assert_eq!(path_segment("seat-{concert-7}/A12"), "seat-%7Bconcert-7%7D%2FA12");
    }

    #[test]
    fn fields_are_called_as_in_the_query() {
        assert_eq!(of_query("filter.dueFrom"), "dueFrom");
        assert_eq!(of_query("filter.labels[\"k\"]"), "label[\"k\"]");
        assert_eq!(of_query("pageSize"), "pageSize");
    }
}
