//! `/v1/namespaces/{namespace}/dead-letters`: what was given up, and what becomes of it.

use axum::Json as Answer;
use axum::extract::State;
use proto::v1;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::exchange::Deadline;
use super::idempotency::IdempotencyKey;
use super::json::{Json, Path, Query};
use super::scalars::Number;
use super::views::{Ended, Expected, Moved, Receipt, TriggerPage};
use super::{Api, Problem};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(requeue)).routes(routes!(give_up))
}

/// Which dead letters.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Only of this topic.
    topic: Option<String>,
    /// 1 to 1,000; 100 when left out.
    page_size: Option<u32>,
    /// From the previous page.
    page_token: Option<String>,
}

/// Lists dead letters, in the order they died, per partition.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{namespace}/dead-letters",
    tag = "dead letters",
    operation_id = "list_dead_letters",
    params(("namespace" = String, Path, description = "Tenant.", example = "default"), Which),
    responses(
        (status = 200, description = "A page.", body = TriggerPage),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list(
    State(api): State<Api>,
    deadline: Deadline,
    Path(namespace): Path<String>,
    Query(query): Query<Which>,
) -> Result<Answer<TriggerPage>, Problem> {
    let message = v1::ListDeadLettersRequest {
        namespace,
        topic: query.topic.unwrap_or_default(),
        page_size: query.page_size.unwrap_or_default(),
        page_token: query.page_token.unwrap_or_default(),
    };
    let call = async |message, call| api.services.list_dead(message, call).await;
    let page = api.call("ListDeadLetters", deadline, message, call).await?;
    Ok(Answer(TriggerPage::of(page.triggers, page.next_page_token)))
}

/// Brings a dead letter back to delivery as a new generation, attempts counted afresh.
#[utoipa::path(
    post,
    path = "/v1/namespaces/{namespace}/dead-letters/{id}/requeue",
    tag = "dead letters",
    operation_id = "requeue_dead_letter",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("id" = String, Path, description = "Which; percent-encoded.", example = "order-1"),
        ("Idempotency-Key" = Option<String>, Header, description = "A UUID of version 7: a repeat gets the first answer."),
    ),
    request_body = Expected,
    responses(
        (status = 200, description = "It will be delivered again.", body = Moved),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn requeue(
    State(api): State<Api>,
    deadline: Deadline,
    Path((namespace, id)): Path<(String, String)>,
    key: IdempotencyKey,
    Json(body): Json<Expected>,
) -> Result<Answer<Moved>, Problem> {
    let (expected_generation, request_id) = (body.expected_generation.0, key.request_id()?);
    let message = v1::RequeueDeadLetterRequest { namespace, id, expected_generation, request_id };
    let call = async |message, call| api.services.requeue_one(message, call).await;
    let answer = api.call("RequeueDeadLetter", deadline, message, call).await?;
    Ok(Answer(Moved { generation: Number(answer.generation), receipt: answer.receipt.map(Receipt::from) }))
}

/// Gives a dead letter up for good: it leaves the list and can no longer be requeued.
#[utoipa::path(
    post,
    path = "/v1/namespaces/{namespace}/dead-letters/{id}/drop",
    tag = "dead letters",
    operation_id = "drop_dead_letter",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("id" = String, Path, description = "Which; percent-encoded.", example = "order-1"),
        ("Idempotency-Key" = Option<String>, Header, description = "A UUID of version 7: a repeat gets the first answer."),
    ),
    request_body = Expected,
    responses(
        (status = 200, description = "It is gone from the list.", body = Ended),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn give_up(
    State(api): State<Api>,
    deadline: Deadline,
    Path((namespace, id)): Path<(String, String)>,
    key: IdempotencyKey,
    Json(body): Json<Expected>,
) -> Result<Answer<Ended>, Problem> {
    let (expected_generation, request_id) = (body.expected_generation.0, key.request_id()?);
    let message = v1::DropDeadLetterRequest { namespace, id, expected_generation, request_id };
    let call = async |message, call| api.services.drop_one(message, call).await;
    let answer = api.call("DropDeadLetter", deadline, message, call).await?;
    Ok(Answer(Ended::of(answer.receipt)))
}
