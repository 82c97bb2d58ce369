//! Calls about dead letters.

use futures::Stream;
use proto::v1::dead_letter_service_client::DeadLetterServiceClient;
use proto::v1::{
    DropDeadLetterRequest, DropDeadLetterResponse, ListDeadLettersRequest, ListDeadLettersResponse,
    RequeueDeadLetterRequest, RequeueDeadLetterResponse, Trigger,
};

use crate::call::{Client, How, MESSAGE_BYTES_MAX};
use crate::connection::Connection;
use crate::error::Error;

fn service(channel: Connection) -> DeadLetterServiceClient<Connection> {
    DeadLetterServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

impl Client {
    /// One page of dead letters; see [`Client::list_all_dead_letters`].
    pub async fn list_dead_letters(
        &self,
        mut request: ListDeadLettersRequest,
    ) -> Result<ListDeadLettersResponse, Error> {
        self.fill_namespace(&mut request.namespace);
        self.call(How::repeatable(), request, |channel, request| async move {
            service(channel).list_dead_letters(request).await
        })
        .await
    }

    /// All dead letters, page by page as they are consumed. Ends after the first error.
    pub fn list_all_dead_letters(&self, request: ListDeadLettersRequest) -> impl Stream<Item = Result<Trigger, Error>> {
        let client = self.clone();
        crate::pages::items(request, move |request| {
            let client = client.clone();
            async move {
                let page = client.list_dead_letters(request.clone()).await?;
                let token = page.next_page_token;
                let next = ListDeadLettersRequest { page_token: token.clone(), ..request };
                Ok((page.triggers, (!token.is_empty()).then_some(next)))
            }
        })
    }

    /// Back to delivery as a new generation, attempts counted afresh.
    pub async fn requeue_dead_letter(
        &self,
        mut request: RequeueDeadLetterRequest,
    ) -> Result<RequeueDeadLetterResponse, Error> {
        self.fill(&mut request.namespace, &mut request.request_id);
        let how = self.about(&request.namespace, &request.id);
        self.call(how, request, |channel, request| async move { service(channel).requeue_dead_letter(request).await })
            .await
    }

    /// Gives up for good.
    pub async fn drop_dead_letter(&self, mut request: DropDeadLetterRequest) -> Result<DropDeadLetterResponse, Error> {
        self.fill(&mut request.namespace, &mut request.request_id);
        let how = self.about(&request.namespace, &request.id);
        self.call(how, request, |channel, request| async move { service(channel).drop_dead_letter(request).await })
            .await
    }
}
