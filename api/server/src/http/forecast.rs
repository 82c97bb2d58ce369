//! `/v1/forecast`: how many triggers are due when.

use axum::Json as Answer;
use axum::extract::State;
use proto::v1;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::exchange::Deadline;
use super::json::Query;
use super::scalars::{Length, Moment, Number};
use super::{Api, Problem};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(forecast))
}

/// Of what, how fine, how far.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Only of this topic, in whatever namespace.
    topic: Option<String>,
    /// Width of a cell: 1 s up to an hour ahead, 1 min up to a day, 1 h beyond. Default 1 min.
    #[param(value_type = Option<String>, example = "60s")]
    step: Option<Length>,
    /// How far to look; 60 steps when left out. At most 1,440 cells.
    #[param(value_type = Option<String>, example = "3600s")]
    span: Option<Length>,
}

/// How many of a topic.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ForecastTopicCount {
    /// Its name.
    topic: String,
    /// How many.
    count: Number,
}

/// A stretch of time with anything due in it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ForecastCell {
    /// Its beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<Moment>,
    /// Its length.
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<Length>,
    /// How many triggers are due in it.
    count: Number,
    /// By topic, in name order.
    topics: Vec<ForecastTopicCount>,
}

/// How many triggers are due when.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Forecast {
    /// Those with anything in them, in order.
    cells: Vec<ForecastCell>,
    /// Triggers due after the last cell.
    beyond: Number,
    /// Replicated time the counts were taken at: the oldest over partitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<Moment>,
}

impl From<v1::ForecastResponse> for Forecast {
    fn from(answer: v1::ForecastResponse) -> Self {
        let count = |one: v1::ForecastTopicCount| ForecastTopicCount { topic: one.topic, count: Number(one.count) };
        let cell = |cell: v1::ForecastCell| ForecastCell {
            start: cell.start.map(Moment),
            width: cell.width.map(Length),
            count: Number(cell.count),
            topics: cell.topics.into_iter().map(count).collect(),
        };
        Forecast {
            cells: answer.cells.into_iter().map(cell).collect(),
            beyond: Number(answer.beyond),
            as_of: answer.as_of.map(Moment),
        }
    }
}

/// Says how many triggers are due when. Exact; answered by any node from its own replicas.
#[utoipa::path(
    get,
    path = "/v1/forecast",
    tag = "forecast",
    params(Asked),
    responses(
        (status = 200, description = "The counts.", body = Forecast),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn forecast(
    State(api): State<Api>,
    deadline: Deadline,
    Query(query): Query<Asked>,
) -> Result<Answer<Forecast>, Problem> {
    let message = v1::ForecastRequest {
        topic: query.topic.unwrap_or_default(),
        step: query.step.map(|Length(length)| length),
        span: query.span.map(|Length(length)| length),
    };
    let answer = api.call("Forecast", deadline, message, async |m, _| api.services.forecast_all(m).await).await?;
    Ok(Answer(Forecast::from(answer)))
}
