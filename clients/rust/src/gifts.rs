//! Calls about gifts: of who gives, who gets, and who sells.

use std::time::Duration;

use futures::Stream;
use proto::gift::v1::gift_service_client::GiftServiceClient;
use proto::gift::v1::{
    AcceptGiftRequest, AcceptGiftResponse, CancelGiftRequest, CancelGiftResponse, EditGiftRequest, EditGiftResponse,
    GetGiftRequest, Gift, ListAttentionRequest, ListAttentionResponse, ListGiftsRequest, ListGiftsResponse,
    OpenGiftRequest, OpenGiftResponse, RedeemGiftRequest, RedeemGiftResponse, ReserveRequest, ReserveResponse,
    ResolveGiftRequest, TransferGiftRequest, WatchGiftRequest, WatchGiftResponse,
};

use crate::call::{Client, How, MESSAGE_BYTES_MAX};
use crate::connection::Connection;
use crate::error::Error;
use crate::retry::{Attempts, Next};

fn service(channel: Connection) -> GiftServiceClient<Connection> {
    GiftServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

impl Client {
    /// Reserves a gift and takes the money; durable when answered. The gift's id makes a repeat the same call. The server waits for
    /// the payment about as long as an attempt may take and answers PENDING_PAYMENT when it takes longer: watch the gift.
    pub async fn reserve_gift(&self, mut request: ReserveRequest) -> Result<ReserveResponse, Error> {
        self.fill_namespace(&mut request.namespace);
        let how = self.about(&request.namespace, &request.gift_id);
        self.call(how, request, |channel, request| async move { service(channel).reserve(request).await }).await
    }

    /// One gift.
    pub async fn get_gift(&self, mut request: GetGiftRequest) -> Result<Gift, Error> {
        self.fill_namespace(&mut request.namespace);
        let how = self.about(&request.namespace, &request.gift_id);
        let answer =
            self.call(how, request, |channel, request| async move { service(channel).get_gift(request).await });
        Ok(answer.await?.gift.unwrap_or_default())
    }

    /// One page of a sender's gifts; see [`Client::list_all_gifts`].
    pub async fn list_gifts(&self, mut request: ListGiftsRequest) -> Result<ListGiftsResponse, Error> {
        self.fill_namespace(&mut request.namespace);
        self.call(
            How::repeatable(),
            request,
            |channel, request| async move { service(channel).list_gifts(request).await },
        )
        .await
    }

    /// All gifts of a sender, page by page as they are consumed. Ends after the first error.
    pub fn list_all_gifts(&self, request: ListGiftsRequest) -> impl Stream<Item = Result<Gift, Error>> {
        let client = self.clone();
        crate::pages::items(request, move |request| {
            let client = client.clone();
            async move {
                let page = client.list_gifts(request.clone()).await?;
                let token = page.next_page_token;
                let next = ListGiftsRequest { page_token: token.clone(), ..request };
                Ok((page.gifts, (!token.is_empty()).then_some(next)))
            }
        })
    }

    /// Changes recipient, message or time; durable when answered.
    pub async fn edit_gift(&self, mut request: EditGiftRequest) -> Result<EditGiftResponse, Error> {
        self.fill(&mut request.namespace, &mut request.request_id);
        let how = self.about(&request.namespace, &request.gift_id);
        self.call(how, request, |channel, request| async move { service(channel).edit_gift(request).await }).await
    }

    /// Takes a gift back; durable when answered.
    pub async fn cancel_gift(&self, mut request: CancelGiftRequest) -> Result<CancelGiftResponse, Error> {
        self.fill(&mut request.namespace, &mut request.request_id);
        let how = self.about(&request.namespace, &request.gift_id);
        self.call(how, request, |channel, request| async move { service(channel).cancel_gift(request).await }).await
    }

    /// The gift as it is, then after every change, until it has ended.
    pub fn watch_gift(&self, mut request: WatchGiftRequest) -> GiftWatch {
        self.fill_namespace(&mut request.namespace);
        GiftWatch { client: self.clone(), request, open: None, named: None, attempts: None, seen: 0, over: false }
    }

    /// What the page behind a link shows. Changes nothing.
    pub async fn open_gift(&self, mut request: OpenGiftRequest) -> Result<OpenGiftResponse, Error> {
        self.fill_namespace(&mut request.namespace);
        self.call(
            How::repeatable(),
            request,
            |channel, request| async move { service(channel).open_gift(request).await },
        )
        .await
    }

    /// The recipient takes the gift; durable when answered. A repeat is answered like the first.
    pub async fn accept_gift(&self, mut request: AcceptGiftRequest) -> Result<AcceptGiftResponse, Error> {
        self.fill_namespace(&mut request.namespace);
        self.call(
            How::repeatable(),
            request,
            |channel, request| async move { service(channel).accept_gift(request).await },
        )
        .await
    }

    /// The recipient passes the gift on; durable when answered. Not repeated when its outcome is unknown: the link is another
    /// one by then.
    pub async fn transfer_gift(&self, mut request: TransferGiftRequest) -> Result<Gift, Error> {
        self.fill_namespace(&mut request.namespace);
        let answer =
            self.call(
                How::once(),
                request,
                |channel, request| async move { service(channel).transfer_gift(request).await },
            );
        Ok(answer.await?.gift.unwrap_or_default())
    }

    /// A shop takes the code; durable when answered.
    pub async fn redeem_gift(&self, mut request: RedeemGiftRequest) -> Result<RedeemGiftResponse, Error> {
        self.fill(&mut request.namespace, &mut request.request_id);
        self.call(
            How::repeatable(),
            request,
            |channel, request| async move { service(channel).redeem_gift(request).await },
        )
        .await
    }

    /// One page of the gifts that wait for a human; see [`Client::list_all_attention`].
    pub async fn list_attention(&self, mut request: ListAttentionRequest) -> Result<ListAttentionResponse, Error> {
        self.fill_namespace(&mut request.namespace);
        self.call(How::repeatable(), request, |channel, request| async move {
            service(channel).list_attention(request).await
        })
        .await
    }

    /// All gifts that wait for a human, page by page as they are consumed. Ends after the first error.
    pub fn list_all_attention(&self, request: ListAttentionRequest) -> impl Stream<Item = Result<Gift, Error>> {
        let client = self.clone();
        crate::pages::items(request, move |request| {
            let client = client.clone();
            async move {
                let page = client.list_attention(request.clone()).await?;
                let token = page.next_page_token;
                let next = ListAttentionRequest { page_token: token.clone(), ..request };
                Ok((page.gifts, (!token.is_empty()).then_some(next)))
            }
        })
    }

    /// An operator has found out whether a gift was sent; durable when answered. Not repeated when its outcome is unknown, as the
    /// repeat would be refused: read the gift.
    pub async fn resolve_gift(&self, mut request: ResolveGiftRequest) -> Result<Gift, Error> {
        self.fill_namespace(&mut request.namespace);
        let how = How { repeatable: false, ..self.about(&request.namespace, &request.gift_id) };
        let answer =
            self.call(how, request, |channel, request| async move { service(channel).resolve_gift(request).await });
        Ok(answer.await?.gift.unwrap_or_default())
    }
}

/// The changes of one gift. Outlives the node it was opened at.
pub struct GiftWatch {
    client: Client,
    request: WatchGiftRequest,
    open: Option<(String, tonic::Streaming<WatchGiftResponse>)>,
    /// Where the next opening must go, when the last answer named the leader.
    named: Option<String>,
    /// Tries since it was last open.
    attempts: Option<Attempts>,
    /// Version that was told last: another node begins with the gift as it is, or as it was before.
    seen: u64,
    over: bool,
}

impl GiftWatch {
    /// The gift as it is the first time, then as it is after a change; `None` when it has ended. Waits for as long as nothing
    /// changes. An error means that the watch could not be continued for the whole time-out of a call, or never can be; calling
    /// again goes on trying.
    pub async fn next(&mut self) -> Result<Option<Gift>, Error> {
        while !self.over {
            let (endpoint, failure) = match self.change().await {
                Ok(Some(gift)) if gift.version > self.seen => {
                    self.seen = gift.version;
                    return Ok(Some(gift));
                }
                Ok(Some(_)) => continue,
                // The server ends the stream after the last state, and never before it without saying why.
                Ok(None) => {
                    self.over = true;
                    continue;
                }
                Err(failed) => failed,
            };
            self.open = None;
            let (policy, now) = (self.client.policy, self.client.now());
            let attempts = self.attempts.get_or_insert_with(|| Attempts::new(policy, now, true));
            match attempts.failed(now, &failure, rand::random()) {
                Next::GiveUp => {
                    self.attempts = None;
                    return Err(failure);
                }
                Next::Again { after, target } => {
                    self.named = self.client.follow(None, &endpoint, target);
                    tokio::time::sleep(after).await;
                }
            }
        }
        Ok(None)
    }

    /// The next message of the open stream, opened first when there is none. Fails with the endpoint it failed at.
    async fn change(&mut self) -> Result<Option<Gift>, (String, Error)> {
        let (endpoint, stream) = match self.open.take() {
            Some(open) => open,
            None => {
                let endpoint = self.next_endpoint();
                let stream = self.open_at(&endpoint).await.map_err(|error| (endpoint.clone(), error))?;
                self.attempts = None;
                (endpoint, stream)
            }
        };
        // Put back at once: the caller may drop the future of `next` at the await.
        let stream = &mut self.open.insert((endpoint.clone(), stream)).1;
        match stream.message().await {
            Ok(message) => Ok(message.map(|message| message.gift.unwrap_or_default())),
            Err(status) => {
                let error = Error::from_status(&status, &endpoint, Duration::ZERO);
                Err((endpoint, error))
            }
        }
    }

    fn next_endpoint(&mut self) -> String {
        let how = self.client.about(&self.request.namespace, &self.request.gift_id);
        let picked = || self.client.inner.pick(self.client.now(), how.partition);
        self.named.take().unwrap_or_else(picked)
    }

    async fn open_at(&mut self, endpoint: &str) -> Result<tonic::Streaming<WatchGiftResponse>, Error> {
        let (policy, now) = (self.client.policy, self.client.now());
        let attempts = self.attempts.get_or_insert_with(|| Attempts::new(policy, now, true));
        let Some(timeout) = attempts.begin(now) else {
            return Err(Error::TimedOut { after: policy.total });
        };
        let mut service = service(self.client.inner.channel(endpoint)?);
        match tokio::time::timeout(timeout, service.watch_gift(self.request.clone())).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(Error::from_status(&status, endpoint, timeout)),
            Err(_) => Err(Error::TimedOut { after: timeout }),
        }
    }
}
