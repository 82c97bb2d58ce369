//! Calls of executors that deliver gifts and news about them.

use proto::gift::v1::gift_delivery_service_client::GiftDeliveryServiceClient;
use proto::gift::v1::{BeginSendRequest, BeginSendResponse, GetLinkRequest, GetLinkResponse};

use crate::call::{Client, MESSAGE_BYTES_MAX};
use crate::connection::Connection;
use crate::error::Error;

fn service(channel: Connection) -> GiftDeliveryServiceClient<Connection> {
    GiftDeliveryServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

impl Client {
    /// Asks for a turn at sending a gift; durable when answered. A repeat after an unknown outcome is answered like the first, but
    /// for `resumed`, which is then true though nothing was sent.
    pub async fn begin_send(&self, mut request: BeginSendRequest) -> Result<BeginSendResponse, Error> {
        self.fill_namespace(&mut request.namespace);
        let how = self.about(&request.namespace, &request.gift_id);
        self.call(how, request, |channel, request| async move { service(channel).begin_send(request).await }).await
    }

    /// The link of a gift, and what may have been sent of it.
    pub async fn get_link(&self, mut request: GetLinkRequest) -> Result<GetLinkResponse, Error> {
        self.fill_namespace(&mut request.namespace);
        let how = self.about(&request.namespace, &request.gift_id);
        self.call(how, request, |channel, request| async move { service(channel).get_link(request).await }).await
    }
}
