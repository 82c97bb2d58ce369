//! Whatever does the work.

use std::future::Future;

use futures::future::BoxFuture;

use crate::delivery::Delivery;
use crate::outcome::Outcome;

/// Does the work of one topic. Async closures from [`Delivery`] to anything that becomes an [`Outcome`] are handlers.
///
/// The future is dropped when the lease ends, at its next await; work that blocks a thread belongs in
/// `tokio::task::spawn_blocking`. A panic is reported as a failure to be retried.
pub trait Handler: Send + Sync + 'static {
    /// Works on one delivery.
    fn handle(&self, delivery: Delivery) -> BoxFuture<'static, Outcome>;
}

impl<F, Fut> Handler for F
where
    F: Fn(Delivery) -> Fut + Send + Sync + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: Into<Outcome>,
{
    fn handle(&self, delivery: Delivery) -> BoxFuture<'static, Outcome> {
        let work = self(delivery);
        Box::pin(async move { work.await.into() })
    }
}
