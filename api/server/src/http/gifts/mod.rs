//! `/v1/namespaces/{namespace}/gifts` and what is done with links and codes: reserve, look, change, cancel, watch, accept, pass
//! on, use.
//!
//! Links and codes are secrets, so they are in bodies and never in paths, which end up in logs.

mod manage;
mod receive;
mod reserve;
mod views;
mod watch;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(reserve::reserve, manage::list))
        .routes(routes!(manage::get, reserve::edit))
        .routes(routes!(manage::cancel))
        .routes(routes!(watch::watch))
        .routes(routes!(manage::attention))
        .routes(routes!(manage::resolve))
        .routes(routes!(receive::open))
        .routes(routes!(receive::accept))
        .routes(routes!(receive::transfer))
        .routes(routes!(receive::redeem))
}
