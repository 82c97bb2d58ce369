//! The client port: every gRPC service, health and reflection, and HTTP/JSON beside them.

use std::time::Duration;

use client::gathered::Gathered;
use futures::StreamExt;
use proto::admin::v1::cluster_service_server::ClusterServiceServer;
use proto::gift::v1::gift_delivery_service_server::GiftDeliveryServiceServer;
use proto::gift::v1::gift_service_server::GiftServiceServer;
use proto::notification::v1::notification_service_server::NotificationServiceServer;
use proto::payment::v1::payment_service_server::PaymentServiceServer;
use proto::product::v1::product_service_server::ProductServiceServer;
use proto::shop::v1::shop_service_server::ShopServiceServer;
use proto::v1::dead_letter_service_server::DeadLetterServiceServer;
use proto::v1::executor_service_server::ExecutorServiceServer;
use proto::v1::scheduler_service_server::SchedulerServiceServer;
use proto::v1::topic_service_server::TopicServiceServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::{Routes, RoutesBuilder};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;

use crate::node::Node;
use crate::services::Services;
use crate::{canary, http};

/// How often health is looked at.
const HEALTH_EVERY: Duration = Duration::from_millis(500);

/// Serves clients until `closing`, then finishes the calls under way.
pub async fn serve(node: Node, listener: TcpListener, closing: CancellationToken) {
    let size = node.config().message_bytes_max;
    let (reporter, health) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1();
    let reflection = match reflection {
        Ok(reflection) => Some(reflection),
        Err(error) => {
            tracing::error!(%error, "reflection is off");
            None
        }
    };
    let services = Services::new(node.clone());
    let mut server = Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        // Hundreds of callers share one connection; the defaults of 64 KiB make them wait for each other.
        .initial_stream_window_size(Some(1 << 20))
        .initial_connection_window_size(Some(16 << 20))
        .max_concurrent_streams(Some(16_384))
        // Those who speak HTTP/1.1 are told apart by the first bytes of a connection.
        .accept_http1(true);
    if let Some(age) = node.config().connection_age_max {
        server = server.max_connection_age(age).max_connection_age_grace(Duration::from_secs(30));
    }
    let mut routes = RoutesBuilder::default();
    routes
        .add_service(health)
        .add_service(SchedulerServiceServer::new(services.clone()).max_decoding_message_size(size))
        .add_service(ExecutorServiceServer::new(services.clone()).max_decoding_message_size(size))
        .add_service(TopicServiceServer::new(services.clone()))
        .add_service(DeadLetterServiceServer::new(services.clone()))
        .add_service(ProductServiceServer::new(services.clone()))
        .add_service(GiftServiceServer::new(services.clone()))
        .add_service(GiftDeliveryServiceServer::new(services.clone()))
        .add_service(PaymentServiceServer::new(services.clone()))
        .add_service(NotificationServiceServer::new(services.clone()))
        .add_service(ShopServiceServer::new(services.clone()))
        .add_service(ClusterServiceServer::new(services.clone()));
    if let Some(reflection) = reflection {
        routes.add_service(reflection);
    }
    let merged = routes.routes().into_axum_router().merge(http::router(services)).fallback(http::fallback);
    let merged = if node.keys().are_asked_for() {
        merged.layer(axum::middleware::from_fn_with_state(node.keys().clone(), crate::keys::authenticate))
    } else {
        merged
    };
    let router = server.add_routes(Routes::from(merged));
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    // Answers that are ready together leave together.
    let incoming = incoming.map(|accepted| accepted.map(Gathered::new));
    let serving = router.serve_with_incoming_shutdown(incoming, closing.clone().cancelled_owned());
    tokio::select! {
        result = serving => {
            if let Err(error) = result {
                tracing::error!(%error, "the client port failed");
            }
        }
        () = report_health(node.clone(), reporter) => {}
        () = node.keys().keep_reading() => {}
    }
}

/// The process as a whole serves; scheduling needs a leader of every partition, executing at least one known leader.
///
/// Canaries have names of their own: one that is overdue is a reason to wake somebody, not to restart a process or to send
/// clients elsewhere, who would be no better off there.
async fn report_health(node: Node, reporter: tonic_health::server::HealthReporter) {
    let canaries = node.config().canary_interval.is_some();
    let mut told: Vec<Option<bool>> = vec![None; node.partitions().len()];
    let of = |serves: bool| if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
    loop {
        let ready = node.is_ready();
        let some = node.partitions().iter().any(|partition| partition.has_leader());
        reporter.set_service_status("", ServingStatus::Serving).await;
        reporter.set_service_status("bosingak.v1.SchedulerService", of(ready)).await;
        reporter.set_service_status("bosingak.v1.TopicService", of(ready)).await;
        reporter.set_service_status("bosingak.v1.DeadLetterService", of(ready)).await;
        reporter.set_service_status("bosingak.v1.ExecutorService", of(some)).await;
        reporter.set_service_status("bosingak.admin.v1.ClusterService", ServingStatus::Serving).await;
        if canaries {
            let overdue = node.overdue_canaries();
            reporter.set_service_status(canary::TOPIC, of(overdue.is_empty())).await;
            for (partition, told) in told.iter_mut().enumerate() {
                let well = !overdue.iter().any(|(number, _)| *number as usize == partition);
                if told.replace(well) != Some(well) {
                    reporter.set_service_status(format!("{}.{partition}", canary::TOPIC), of(well)).await;
                }
            }
        }
        tokio::time::sleep(HEALTH_EVERY).await;
    }
}
