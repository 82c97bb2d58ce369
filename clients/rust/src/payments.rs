//! Calls about payments.

use proto::payment::v1::payment_service_client::PaymentServiceClient;
use proto::payment::v1::{GetPaymentRequest, Payment, ReconcileRequest, ReconcileResponse};

use crate::call::{Client, How, MESSAGE_BYTES_MAX};
use crate::connection::Connection;
use crate::error::Error;

fn service(channel: Connection) -> PaymentServiceClient<Connection> {
    PaymentServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

impl Client {
    /// The payment of a gift.
    pub async fn get_payment(&self, mut request: GetPaymentRequest) -> Result<Payment, Error> {
        self.fill_namespace(&mut request.namespace);
        let how = self.about(&request.namespace, &request.id);
        let answer =
            self.call(how, request, |channel, request| async move { service(channel).get_payment(request).await });
        Ok(answer.await?.payment.unwrap_or_default())
    }

    /// Where the money is, as of a time that every partition has reached.
    pub async fn reconcile(&self, mut request: ReconcileRequest) -> Result<ReconcileResponse, Error> {
        self.fill_namespace(&mut request.namespace);
        self.call(
            How::repeatable(),
            request,
            |channel, request| async move { service(channel).reconcile(request).await },
        )
        .await
    }
}
