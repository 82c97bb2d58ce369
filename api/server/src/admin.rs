//! The admin port: metrics and health over plain HTTP.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::node::{Node, canary_alarm};

#[derive(Clone)]
struct Admin {
    node: Node,
    metrics: PrometheusHandle,
}

/// Serves until `closing`.
///
/// `/metrics` is for Prometheus. `/healthz` says that the process lives. `/readyz` says that every partition is up here
/// and has a leader, and otherwise with 503 what is wrong. `/canaryz` says that triggers come through in every partition as
/// far as this node knows, and otherwise with 503 in which they may not: for monitors, not for orchestrators, since
/// neither a restart nor other nodes are a remedy.
pub async fn serve(node: Node, listener: TcpListener, metrics: PrometheusHandle, closing: CancellationToken) {
    let upkeep = {
        let metrics = metrics.clone();
        async move {
            loop {
                tokio::time::sleep(std::time::Duration::from_secs(5)).await;
                metrics.run_upkeep();
            }
        }
    };
    let router = Router::new()
        .route("/metrics", get(metrics_page))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready_page))
        .route("/canaryz", get(canary_page))
        .with_state(Admin { node, metrics });
    tokio::select! {
        result = async { axum::serve(listener, router).await } => {
            if let Err(error) = result {
                tracing::error!(%error, "the admin port failed");
            }
        }
        () = upkeep => {}
        () = closing.cancelled() => {}
    }
}

async fn metrics_page(State(admin): State<Admin>) -> Response {
    metrics_process::Collector::default().collect();
    let mut page = admin.metrics.render();
    page.push_str(&crate::scrape::page(&admin.node).await);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page).into_response()
}

async fn canary_page(State(admin): State<Admin>) -> Response {
    if admin.node.config().canary_interval.is_none() {
        return "off\n".into_response();
    }
    let overdue = admin.node.overdue_canaries();
    if overdue.is_empty() {
        return "ok\n".into_response();
    }
    let text: String =
        overdue.into_iter().map(|(partition, age)| format!("{}\n", canary_alarm(partition, age))).collect();
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

async fn ready_page(State(admin): State<Admin>) -> Response {
    if admin.node.is_ready() {
        return "ready\n".into_response();
    }
    let mut text = admin.node.alarms().join("\n");
    text.push_str("\nnot ready\n");
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}
