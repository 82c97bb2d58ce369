//! `/v1/namespaces/{namespace}/topics`: handlers that triggers are for, and their limits.

use axum::Json as Answer;
use axum::extract::State;
use proto::v1;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::exchange::Deadline;
use super::json::{Json, Path};
use super::scalars::{Length, Number};
use super::views::RetryPolicy;
use super::{Api, Problem};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get, update))
        .routes(routes!(pause))
        .routes(routes!(resume))
}

/// What bounds the triggers of a topic. In a change, what is left out keeps its value.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct TopicLimits {
    /// How long an executor may work on a delivery: 1 s to 12 h. Default 30 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<Length>,
    /// After a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<RetryPolicy>,
    /// Triggers released per second over all partitions; 0 is unlimited. At most 1,000,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_per_second: Option<u32>,
    /// Deliveries in flight over all partitions; 0 is unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_concurrency: Option<u32>,
    /// How long an ended trigger can be read and its id is taken: 1 s to 400 d. Default 7 d.
    #[serde(skip_serializing_if = "Option::is_none")]
    retention: Option<Length>,
}

/// Triggers by state, over all partitions.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TopicCounts {
    /// Wait for their due time.
    scheduled: Number,
    /// Released, and not ended.
    fired: Number,
    /// Failed, and will be tried again.
    retrying: Number,
    /// Given up.
    dead_lettered: Number,
    /// Done, since the topic began.
    completed_total: Number,
}

/// A handler that triggers are for.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Topic {
    /// Tenant.
    namespace: String,
    /// 1 to 64 characters of [A-Za-z0-9._-].
    name: String,
    /// Those in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<TopicLimits>,
    /// Nothing fires while it is: what falls due waits and can be cancelled.
    paused: bool,
    /// Of the settings; 0 while nobody has set any.
    version: Number,
    /// Of its triggers.
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<TopicCounts>,
}

impl From<v1::Topic> for Topic {
    fn from(topic: v1::Topic) -> Self {
        let limits = |limits: v1::TopicLimits| TopicLimits {
            lease: limits.lease.map(Length),
            retry: limits.retry.map(RetryPolicy::from),
            rate_per_second: limits.rate_per_second,
            max_concurrency: limits.max_concurrency,
            retention: limits.retention.map(Length),
        };
        let counts = |counts: v1::TopicCounts| TopicCounts {
            scheduled: Number(counts.scheduled),
            fired: Number(counts.fired),
            retrying: Number(counts.retrying),
            dead_lettered: Number(counts.dead_lettered),
            completed_total: Number(counts.completed_total),
        };
        Topic {
            namespace: topic.namespace,
            name: topic.name,
            limits: topic.limits.map(limits),
            paused: topic.paused,
            version: Number(topic.version),
            counts: topic.counts.map(counts),
        }
    }
}

/// The topics of a namespace.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Topics {
    /// In order of name.
    topics: Vec<Topic>,
}

/// Lists the topics of a namespace.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{namespace}/topics",
    tag = "topics",
    operation_id = "list_topics",
    params(("namespace" = String, Path, description = "Tenant.", example = "default")),
    responses(
        (status = 200, description = "All of them.", body = Topics),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list(
    State(api): State<Api>,
    deadline: Deadline,
    Path(namespace): Path<String>,
) -> Result<Answer<Topics>, Problem> {
    let message = v1::ListTopicsRequest { namespace };
    let answer = api.call("ListTopics", deadline, message, async |m, call| api.services.topics(m, call).await).await?;
    Ok(Answer(Topics { topics: answer.topics.into_iter().map(Topic::from).collect() }))
}

/// Reads a topic. One that nobody has set and no trigger is for is NOT_FOUND.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{namespace}/topics/{name}",
    tag = "topics",
    operation_id = "get_topic",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("name" = String, Path, description = "Which.", example = "send-gift"),
    ),
    responses(
        (status = 200, description = "The topic.", body = Topic),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get(
    State(api): State<Api>,
    deadline: Deadline,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Answer<Topic>, Problem> {
    let message = v1::GetTopicRequest { namespace, name };
    let answer = api.call("GetTopic", deadline, message, async |m, call| api.services.topic(m, call).await).await?;
    Ok(Answer(Topic::from(answer.topic.unwrap_or_default())))
}

/// A change of a topic.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct UpdateTopic {
    /// What is left out keeps its value.
    limits: TopicLimits,
    /// Only if this is still the version: VERSION_MISMATCH otherwise. Left out, or 0: whichever.
    expected_version: Number,
}

/// Creates or changes a topic. Answered when every partition has applied it; the same again changes nothing but the version.
#[utoipa::path(
    patch,
    path = "/v1/namespaces/{namespace}/topics/{name}",
    tag = "topics",
    operation_id = "update_topic",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("name" = String, Path, description = "Which.", example = "send-gift"),
    ),
    request_body = UpdateTopic,
    responses(
        (status = 200, description = "The topic as it is now.", body = Topic),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn update(
    State(api): State<Api>,
    deadline: Deadline,
    Path((namespace, name)): Path<(String, String)>,
    Json(body): Json<UpdateTopic>,
) -> Result<Answer<Topic>, Problem> {
    let limits = v1::TopicLimits {
        lease: body.limits.lease.map(|Length(length)| length),
        retry: body.limits.retry.map(v1::RetryPolicy::from),
        rate_per_second: body.limits.rate_per_second,
        max_concurrency: body.limits.max_concurrency,
        retention: body.limits.retention.map(|Length(length)| length),
    };
    let expected_version = body.expected_version.0;
    let message = v1::UpdateTopicRequest { namespace, name, limits: Some(limits), expected_version };
    let call = async |message, call| api.services.update_one_topic(message, call).await;
    let answer = api.call("UpdateTopic", deadline, message, call).await?;
    Ok(Answer(Topic::from(answer.topic.unwrap_or_default())))
}

/// Nothing to say.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Stops firing at this point of every partition's log. What is due stays scheduled and can be cancelled.
#[utoipa::path(
    post,
    path = "/v1/namespaces/{namespace}/topics/{name}/pause",
    tag = "topics",
    operation_id = "pause_topic",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("name" = String, Path, description = "Which.", example = "send-gift"),
    ),
    request_body = Nothing,
    responses(
        (status = 200, description = "The topic as it is now.", body = Topic),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn pause(
    State(api): State<Api>,
    deadline: Deadline,
    Path((namespace, name)): Path<(String, String)>,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Answer<Topic>, Problem> {
    let message = v1::PauseTopicRequest { namespace, name };
    let call = async |message, call| api.services.pause_one_topic(message, call).await;
    let answer = api.call("PauseTopic", deadline, message, call).await?;
    Ok(Answer(Topic::from(answer.topic.unwrap_or_default())))
}

/// Fires again, what fell due meanwhile first, in due order.
#[utoipa::path(
    post,
    path = "/v1/namespaces/{namespace}/topics/{name}/resume",
    tag = "topics",
    operation_id = "resume_topic",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("name" = String, Path, description = "Which.", example = "send-gift"),
    ),
    request_body = Nothing,
    responses(
        (status = 200, description = "The topic as it is now.", body = Topic),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn resume(
    State(api): State<Api>,
    deadline: Deadline,
    Path((namespace, name)): Path<(String, String)>,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Answer<Topic>, Problem> {
    let message = v1::ResumeTopicRequest { namespace, name };
    let call = async |message, call| api.services.resume_one_topic(message, call).await;
    let answer = api.call("ResumeTopic", deadline, message, call).await?;
    Ok(Answer(Topic::from(answer.topic.unwrap_or_default())))
}
