//! Calls of executors: the raw ones. The runtime that makes an executor of them is the crate `executor`.

use futures::Stream;
use proto::v1::executor_service_client::ExecutorServiceClient;
use proto::v1::{CompleteRequest, CompleteResponse, PollRequest, PollResponse, WorkRequest, WorkResponse};

use crate::call::{Client, How, MESSAGE_BYTES_MAX};
use crate::connection::Connection;
use crate::error::Error;

fn service(channel: Connection) -> ExecutorServiceClient<Connection> {
    ExecutorServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

/// The answers on a work stream.
pub struct WorkStream {
    endpoint: String,
    inner: tonic::Streaming<WorkResponse>,
}

impl WorkStream {
    /// The next message; `None` when the server has ended the stream.
    pub async fn message(&mut self) -> Result<Option<WorkResponse>, Error> {
        let next = self.inner.message().await;
        next.map_err(|status| Error::from_status(&status, &self.endpoint, Default::default()))
    }
}

impl Client {
    /// Opens a work stream at `endpoint`, once: the first of `requests` must be the hello. No retry; whoever opens work
    /// streams decides where to go next.
    pub async fn work(
        &self,
        endpoint: &str,
        requests: impl Stream<Item = WorkRequest> + Send + 'static,
    ) -> Result<WorkStream, Error> {
        let channel = self.inner.channel(endpoint)?;
        let timeout = self.policy.attempt;
        let mut service = service(channel);
        let opening = service.work(requests);
        match tokio::time::timeout(timeout, opening).await {
            Ok(Ok(answer)) => Ok(WorkStream { endpoint: endpoint.to_owned(), inner: answer.into_inner() }),
            Ok(Err(status)) => Err(Error::from_status(&status, endpoint, timeout)),
            Err(_) => Err(Error::TimedOut { after: timeout }),
        }
    }

    /// Long poll: deliveries of any partition the asked node leads. An answer that is lost on the way takes its
    /// deliveries with it until their leases end, so it is not repeated after an unknown outcome.
    pub async fn poll(&self, mut request: PollRequest) -> Result<PollResponse, Error> {
        self.fill_namespace(&mut request.namespace);
        let patience = request.wait.and_then(|wait| wait.try_into().ok()).unwrap_or_default();
        let how = How { patience, ..How::once() };
        self.call(how, request, |channel, request| async move { service(channel).poll(request).await }).await
    }

    /// Reports outcomes; results are in their order. A repeat is answered ALREADY_DECIDED by the first.
    pub async fn complete(&self, request: CompleteRequest) -> Result<CompleteResponse, Error> {
        self.call(
            How::repeatable(),
            request,
            |channel, request| async move { service(channel).complete(request).await },
        )
        .await
    }
}
