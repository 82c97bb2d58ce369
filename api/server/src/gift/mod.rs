//! GiftService and GiftDeliveryService: gifts from the wish to the shop.

mod calendar;
mod convert;
mod deliver;
mod link;
mod manage;
mod people;
mod receive;
mod reserve;
mod results;

use futures::Stream;
use proto::gift::v1;
use proto::gift::v1::gift_delivery_service_server::GiftDeliveryService;
use proto::gift::v1::gift_service_server::GiftService;
use tonic::{Request, Response, Status};

pub(crate) use convert::shown_channel;
pub(crate) use link::{code_hash, take_apart};
pub use people::Directory;
pub(crate) use people::{Contact, contact};
pub(crate) use results::{business_of, needs_result};

use crate::error::Error;
use crate::services::{Answers, Services};
use crate::vault::Vault;

/// What gifts need beside the cluster: its key, where links lead, who has which Kakao id.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Seals codes and links.
    pub vault: Vault,
    /// What links begin with, such as `https://gift.example.com/g/`.
    pub link_base: String,
    /// Resolves Kakao ids.
    pub directory: Directory,
}

#[tonic::async_trait]
impl GiftService for Services {
    async fn reserve(&self, request: Request<v1::ReserveRequest>) -> Result<Response<v1::ReserveResponse>, Status> {
        self.answer("Reserve", request, async |message, call| self.reserve_gift(message, call).await).await
    }

    async fn get_gift(&self, request: Request<v1::GetGiftRequest>) -> Result<Response<v1::GetGiftResponse>, Status> {
        self.answer("GetGift", request, async |message, call| self.get_gift(message, call).await).await
    }

    async fn list_gifts(
        &self,
        request: Request<v1::ListGiftsRequest>,
    ) -> Result<Response<v1::ListGiftsResponse>, Status> {
        self.answer("ListGifts", request, async |message, _| self.list_gifts(message)).await
    }

    async fn edit_gift(&self, request: Request<v1::EditGiftRequest>) -> Result<Response<v1::EditGiftResponse>, Status> {
        self.answer("EditGift", request, async |message, call| self.edit_gift(message, call).await).await
    }

    async fn cancel_gift(
        &self,
        request: Request<v1::CancelGiftRequest>,
    ) -> Result<Response<v1::CancelGiftResponse>, Status> {
        self.answer("CancelGift", request, async |message, call| self.cancel_gift(message, call).await).await
    }

    type WatchGiftStream = Answers<v1::WatchGiftResponse>;

    async fn watch_gift(
        &self,
        request: Request<v1::WatchGiftRequest>,
    ) -> Result<Response<Self::WatchGiftStream>, Status> {
        let gifts = self.watch_gift(request.into_inner()).map_err(Status::from)?;
        Ok(Response::new(answers(gifts)))
    }

    async fn open_gift(&self, request: Request<v1::OpenGiftRequest>) -> Result<Response<v1::OpenGiftResponse>, Status> {
        self.answer("OpenGift", request, async |message, call| self.open_gift(message, call).await).await
    }

    async fn accept_gift(
        &self,
        request: Request<v1::AcceptGiftRequest>,
    ) -> Result<Response<v1::AcceptGiftResponse>, Status> {
        self.answer("AcceptGift", request, async |message, call| self.accept_gift(message, call).await).await
    }

    async fn transfer_gift(
        &self,
        request: Request<v1::TransferGiftRequest>,
    ) -> Result<Response<v1::TransferGiftResponse>, Status> {
        self.answer("TransferGift", request, async |message, call| self.transfer_gift(message, call).await).await
    }

    async fn redeem_gift(
        &self,
        request: Request<v1::RedeemGiftRequest>,
    ) -> Result<Response<v1::RedeemGiftResponse>, Status> {
        self.answer("RedeemGift", request, async |message, call| self.redeem_gift(message, call).await).await
    }

    async fn list_attention(
        &self,
        request: Request<v1::ListAttentionRequest>,
    ) -> Result<Response<v1::ListAttentionResponse>, Status> {
        self.answer("ListAttention", request, async |message, _| self.list_attention(message)).await
    }

    async fn resolve_gift(
        &self,
        request: Request<v1::ResolveGiftRequest>,
    ) -> Result<Response<v1::ResolveGiftResponse>, Status> {
        self.answer("ResolveGift", request, async |message, call| self.resolve_gift(message, call).await).await
    }
}

#[tonic::async_trait]
impl GiftDeliveryService for Services {
    async fn begin_send(
        &self,
        request: Request<v1::BeginSendRequest>,
    ) -> Result<Response<v1::BeginSendResponse>, Status> {
        self.answer("BeginSend", request, async |message, call| self.begin_send(message, call).await).await
    }

    async fn get_link(&self, request: Request<v1::GetLinkRequest>) -> Result<Response<v1::GetLinkResponse>, Status> {
        self.answer("GetLink", request, async |message, call| self.get_link(message, call).await).await
    }
}

fn answers<T: Send + 'static>(stream: impl Stream<Item = Result<T, Error>> + Send + 'static) -> Answers<T> {
    use futures::StreamExt;
    Box::pin(stream.map(|item| item.map_err(Status::from)))
}

impl Services {
    /// What gifts need.
    ///
    /// # Errors
    ///
    /// This node was not told.
    pub(crate) fn gifts(&self) -> Result<&Setting, Error> {
        self.node.gifts().ok_or(Error::NotConfigured { what: "gift.key_file" })
    }
}
