//! Calls about triggers.

use futures::Stream;
use proto::v1::scheduler_service_client::SchedulerServiceClient;
use proto::v1::{
    CancelRequest, CancelResponse, ForecastRequest, ForecastResponse, GetRequest, ListRequest, ListResponse,
    RescheduleRequest, RescheduleResponse, RunNowRequest, RunNowResponse, ScheduleRequest, ScheduleResponse, Trigger,
    WatchRequest,
};

use crate::call::{Client, How, MESSAGE_BYTES_MAX};
use crate::connection::Connection;
use crate::error::Error;
use crate::schedule::Schedule;
use crate::watch::Watch;

pub(crate) fn service(channel: Connection) -> SchedulerServiceClient<Connection> {
    SchedulerServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

impl Client {
    /// Begins to describe a trigger of `topic`; `id` is its idempotency key, an empty one is made.
    pub fn schedule(&self, topic: impl Into<String>, id: impl Into<String>) -> Schedule<'_> {
        Schedule::new(self.into(), topic.into(), id.into())
    }

    /// Schedules one trigger; durable when answered. An empty id is made here, so that repeats are safe.
    pub async fn schedule_request(&self, mut request: ScheduleRequest) -> Result<ScheduleResponse, Error> {
        self.fill(&mut request.namespace, &mut request.id);
        let how = self.about(&request.namespace, &request.id);
        self.call(how, request, |channel, request| async move { service(channel).schedule(request).await }).await
    }

    /// Cancels a trigger that has not fired. ALREADY_FIRED comes with the receipt of what happened instead.
    pub async fn cancel(&self, mut request: CancelRequest) -> Result<CancelResponse, Error> {
        self.fill(&mut request.namespace, &mut request.request_id);
        let how = self.about(&request.namespace, &request.id);
        self.call(how, request, |channel, request| async move { service(channel).cancel(request).await }).await
    }

    /// Moves a trigger that has not fired, as a new generation.
    pub async fn reschedule(&self, mut request: RescheduleRequest) -> Result<RescheduleResponse, Error> {
        self.fill(&mut request.namespace, &mut request.request_id);
        let how = self.about(&request.namespace, &request.id);
        self.call(how, request, |channel, request| async move { service(channel).reschedule(request).await }).await
    }

    /// Fires a scheduled trigger now, as a new generation.
    pub async fn run_now(&self, mut request: RunNowRequest) -> Result<RunNowResponse, Error> {
        self.fill(&mut request.namespace, &mut request.request_id);
        let how = self.about(&request.namespace, &request.id);
        self.call(how, request, |channel, request| async move { service(channel).run_now(request).await }).await
    }

    /// A linearizable read of one trigger; NOT_FOUND when no visible trigger has the id.
    pub async fn get(&self, mut request: GetRequest) -> Result<Trigger, Error> {
        self.fill_namespace(&mut request.namespace);
        let how = self.about(&request.namespace, &request.id);
        let answer =
            self.call(how, request, |channel, request| async move { service(channel).get(request).await }).await?;
        Ok(answer.trigger.unwrap_or_default())
    }

    /// One page of triggers; see [`Client::list_all`].
    pub async fn list(&self, mut request: ListRequest) -> Result<ListResponse, Error> {
        self.fill_namespace(&mut request.namespace);
        self.call(How::repeatable(), request, |channel, request| async move { service(channel).list(request).await })
            .await
    }

    /// All triggers that match, page by page as they are consumed. Ends after the first error.
    pub fn list_all(&self, request: ListRequest) -> impl Stream<Item = Result<Trigger, Error>> {
        let client = self.clone();
        crate::pages::items(request, move |request| {
            let client = client.clone();
            async move {
                let page = client.list(request.clone()).await?;
                let next = ListRequest { page_token: page.next_page_token.clone(), ..request };
                Ok((page.triggers, (!page.next_page_token.is_empty()).then_some(next)))
            }
        })
    }

    /// The matching triggers as they are, then every change; continues by itself when a node fails.
    pub fn watch(&self, mut request: WatchRequest) -> Watch {
        self.fill_namespace(&mut request.namespace);
        Watch::new(self.clone(), request)
    }

    /// How many triggers are due when.
    pub async fn forecast(&self, request: ForecastRequest) -> Result<ForecastResponse, Error> {
        self.call(
            How::repeatable(),
            request,
            |channel, request| async move { service(channel).forecast(request).await },
        )
        .await
    }
}
