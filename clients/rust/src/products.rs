//! Calls about products.

use futures::Stream;
use proto::product::v1::product_service_client::ProductServiceClient;
use proto::product::v1::{GetProductRequest, ListProductsRequest, ListProductsResponse, Product, PutProductRequest};

use crate::call::{Client, How, MESSAGE_BYTES_MAX};
use crate::connection::Connection;
use crate::error::Error;

fn service(channel: Connection) -> ProductServiceClient<Connection> {
    ProductServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

impl Client {
    /// Creates or replaces a product; durable when answered. With an expected version it is not repeated after an unknown outcome,
    /// as the repeat would be refused.
    pub async fn put_product(&self, mut request: PutProductRequest) -> Result<Product, Error> {
        self.fill_namespace(&mut request.namespace);
        let id = request.product.as_ref().map_or("", |product| product.id.as_str());
        let how = How { repeatable: request.expected_version == 0, ..self.about(&request.namespace, id) };
        let answer =
            self.call(how, request, |channel, request| async move { service(channel).put_product(request).await });
        Ok(answer.await?.product.unwrap_or_default())
    }

    /// One product.
    pub async fn get_product(&self, mut request: GetProductRequest) -> Result<Product, Error> {
        self.fill_namespace(&mut request.namespace);
        let how = self.about(&request.namespace, &request.id);
        let answer =
            self.call(how, request, |channel, request| async move { service(channel).get_product(request).await });
        Ok(answer.await?.product.unwrap_or_default())
    }

    /// One page of products; see [`Client::list_all_products`].
    pub async fn list_products(&self, mut request: ListProductsRequest) -> Result<ListProductsResponse, Error> {
        self.fill_namespace(&mut request.namespace);
        self.call(How::repeatable(), request, |channel, request| async move {
            service(channel).list_products(request).await
        })
        .await
    }

    /// All products, page by page as they are consumed. Ends after the first error.
    pub fn list_all_products(&self, request: ListProductsRequest) -> impl Stream<Item = Result<Product, Error>> {
        let client = self.clone();
        crate::pages::items(request, move |request| {
            let client = client.clone();
            async move {
                let page = client.list_products(request.clone()).await?;
                let token = page.next_page_token;
                let next = ListProductsRequest { page_token: token.clone(), ..request };
                Ok((page.products, (!token.is_empty()).then_some(next)))
            }
        })
    }
}
