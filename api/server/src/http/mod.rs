//! HTTP/JSON on the client port, beside gRPC: the same functions of [`Services`], the same reasons, the same JSON as the command
//! line prints. `docs/http.md` is its page for users.
//!
//! A service is a file: its bodies and answers, its handlers, and `routes()`, which is merged in [`router`] and by that documented.
//! A handler takes apart what came (`json`, `idempotency`, `exchange::Deadline`), makes the protocol's message of it, and gives
//! that to `Api::call` with the function that answers it. Whatever goes wrong is a [`Problem`]. Bodies and answers need names that
//! no other file has, and operations an `operation_id`: in the document both are global.

mod cluster;
mod dead_letters;
mod exchange;
mod forecast;
mod gifts;
mod idempotency;
mod json;
mod notifications;
mod page;
mod payments;
mod problem;
mod products;
mod scalars;
mod shops;
mod topics;
mod triggers;
mod views;
mod watch;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::{Json, Router};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

pub use json::BODY_BYTES_MAX;
pub use problem::{FieldError, Problem};

use crate::error::Error;
use crate::services::{Call, Services};
use exchange::Deadline;

/// Most watches over HTTP at once on a node; more are refused with OVERLOADED. Each holds a task and some events.
pub const WATCHES_MAX: usize = 1_000;

/// What handlers share; cheap to clone.
#[derive(Clone)]
struct Api {
    services: Services,
    watches: Arc<Semaphore>,
}

impl Api {
    /// Answers a call: counted under the name of the gRPC method, bounded in time, passed on to the leader where `handle` does so.
    async fn call<T, R>(
        &self,
        method: &'static str,
        deadline: Deadline,
        message: T,
        handle: impl AsyncFnOnce(T, Call) -> Result<R, Error>,
    ) -> Result<R, Problem> {
        let call = Call::within(deadline.or(self.services.node.config().call_timeout));
        self.services.answer_call(method, message, call, handle).await.map_err(Problem::from)
    }

    /// One of the [`WATCHES_MAX`] places, given back when dropped.
    fn place_to_watch(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.watches.clone().try_acquire_owned().map_err(|_| {
            let retry_after = std::time::Duration::from_secs(1);
            tracing::warn!(max = WATCHES_MAX, "a watch over HTTP was refused");
            Error::Overloaded { what: "the number of watches over HTTP", retry_after }.into()
        })
    }
}

/// What the document says of itself.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Bosingak",
        description = "Schedules triggers and answers for them, and gifts on top of that, over HTTP/JSON. Any node takes any call. Fields are called as in the \
                       protocol's JSON: camelCase, 64-bit numbers as text, money as numbers, moments in RFC 3339, lengths of time as `90s`. What goes \
                       wrong is `application/problem+json` with a reason of a closed list. A call that was not answered, or with \
                       OUTCOME_UNKNOWN, may have had its effect: repeat it with the same id or Idempotency-Key."
    ),
    tags(
        (name = "triggers", description = "Pieces of work with a due time."),
        (name = "topics", description = "Handlers that triggers are for, and their limits."),
        (name = "dead letters", description = "Triggers that were given up."),
        (name = "notifications", description = "What was told about gifts."),
        (name = "shops", description = "Where gifts are used, and the terminals there."),
        (name = "forecast", description = "What is due when."),
        (name = "gifts", description = "Reserved, paid, sent at their moment, accepted, used; or given back."),
        (name = "products", description = "What can be given."),
        (name = "payments", description = "What was paid, and where the money is."),
        (name = "cluster", description = "How the cluster is. Read-only."),
        (name = "problems", description = "What can go wrong."),
    )
)]
struct Document;

/// Every call there is, and what describes it.
fn calls() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(triggers::routes())
        .merge(watch::routes())
        .merge(topics::routes())
        .merge(dead_letters::routes())
        .merge(forecast::routes())
        .merge(gifts::routes())
        .merge(products::routes())
        .merge(payments::routes())
        .merge(notifications::routes())
        .merge(shops::routes())
        .merge(cluster::routes())
        .routes(routes!(list_problems))
        .routes(routes!(get_problem))
}

/// The OpenAPI document of all of it.
#[cfg(test)]
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    calls().into_openapi()
}

/// Everything over HTTP, without a fallback: what programs call, and the pages of gifts. The middleware of each is around its own
/// routes alone.
pub fn router(services: Services) -> Router {
    let pages = page::router(services.clone());
    let api = Api { services, watches: Arc::new(Semaphore::new(WATCHES_MAX)) };
    let (router, document) = calls().with_state(api).split_for_parts();
    let browser: Router = SwaggerUi::new("/docs").url("/openapi.json", document).into();
    router
        .merge(browser)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(axum::middleware::from_fn(exchange::exchange))
        .merge(pages)
}

/// A response that did not come through [`router`], as one that did.
pub(crate) fn finish(response: axum::response::Response, what: &str, request: &Request) -> axum::response::Response {
    exchange::finish(response, what, request.uri().path(), exchange::request_id(request.headers()))
}

/// What no route is for: gRPC is told that there is no such method, everything else that there is no such page.
///
/// Without it the fallback of either would answer for both: tonic's is 200 with an empty body to those who do not speak gRPC.
pub async fn fallback(request: Request) -> axum::response::Response {
    let path = request.uri().path();
    if speaks_grpc(request.headers()) {
        let error = Error::NoSuchCall { what: format!("method {path}") };
        let response: Response<tonic::body::Body> = Status::from(error).into_http();
        return response.map(axum::body::Body::new);
    }
    let what = format!("{} {path}", request.method());
    let response = axum::response::IntoResponse::into_response(StatusCode::NOT_FOUND);
    exchange::finish(response, &what, path, exchange::request_id(request.headers()))
}

/// Whether the caller speaks gRPC.
pub(crate) fn speaks_grpc(headers: &HeaderMap) -> bool {
    headers.get("content-type").is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Lists the kinds of problems.
#[utoipa::path(
    get,
    path = "/problems",
    tag = "problems",
    responses((status = 200, description = "The closed list of reasons.", body = problem::ProblemKinds))
)]
async fn list_problems() -> Json<problem::ProblemKinds> {
    Json(problem::kinds())
}

/// Says what a kind of problem means: where the `type` of a problem points.
#[utoipa::path(
    get,
    path = "/problems/{reason}",
    tag = "problems",
    params(("reason" = String, Path, description = "A reason.", example = "ALREADY_FIRED")),
    responses(
        (status = 200, description = "Its meaning.", body = problem::ProblemKind),
        (status = "default", description = "There is no such reason.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get_problem(json::Path(reason): json::Path<String>) -> Result<Json<problem::ProblemKind>, Problem> {
    problem::kind_of(&reason).map(Json).ok_or_else(|| Error::NoSuchCall { what: format!("problem {reason}") }.into())
}
