//! ProductService: what can be given.

mod convert;

use domain::Kind;
use domain::product;
use proto::product::v1;
use proto::product::v1::product_service_client::ProductServiceClient;
use proto::product::v1::product_service_server::ProductService;
use tonic::{Request, Response, Status};

pub(crate) use convert::shown;

use crate::error::Error;
use crate::pages::{Page, next_page};
use crate::services::{Call, Services, route};
use crate::validate::Violations;

#[tonic::async_trait]
impl ProductService for Services {
    async fn put_product(
        &self,
        request: Request<v1::PutProductRequest>,
    ) -> Result<Response<v1::PutProductResponse>, Status> {
        self.answer("PutProduct", request, async |message, call| self.put_product(message, call).await).await
    }

    async fn get_product(
        &self,
        request: Request<v1::GetProductRequest>,
    ) -> Result<Response<v1::GetProductResponse>, Status> {
        self.answer("GetProduct", request, async |message, call| self.get_product(message, call).await).await
    }

    async fn list_products(
        &self,
        request: Request<v1::ListProductsRequest>,
    ) -> Result<Response<v1::ListProductsResponse>, Status> {
        self.answer("ListProducts", request, async |message, _| self.list_products(message).await).await
    }
}

impl Services {
    pub(crate) async fn put_product(
        &self,
        message: v1::PutProductRequest,
        call: Call,
    ) -> Result<v1::PutProductResponse, Error> {
        let mut v = Violations::new();
        let namespace = v.namespace("namespace", message.namespace.clone());
        v.not_reserved_namespace("namespace", &namespace);
        v.finish(())?;
        let product = convert::stored(message.product.clone().unwrap_or_default());
        product::check(&product)
            .map_err(|refusal| Error::invalid(refusal.field, format!("expected {}", refusal.expected)))?;
        // So that no gift is given whose page cannot show it.
        if !product.image_url.is_empty() {
            pages::check_image(&product.image_url)
                .map_err(|error| Error::invalid("product.image_url", format!("expected {}", error.expected)))?;
        }
        let partition = self.node.partition_of(&namespace, &product.id);
        let expected_version = message.expected_version;
        route!(self, call, partition, message, ProductServiceClient::put_product, {
            let command = Kind::PutProduct(product::PutProduct { product: Some(product), expected_version });
            let reply = self.business(partition, &namespace, command).await?;
            Ok(v1::PutProductResponse { product: reply.product.map(shown) })
        })
    }

    pub(crate) async fn get_product(
        &self,
        message: v1::GetProductRequest,
        call: Call,
    ) -> Result<v1::GetProductResponse, Error> {
        let mut v = Violations::new();
        let namespace = v.namespace("namespace", message.namespace.clone());
        v.id("id", &message.id);
        v.finish(())?;
        let partition = self.node.partition_of(&namespace, &message.id);
        route!(self, call, partition, message, ProductServiceClient::get_product, {
            let found = partition.read(|rows| product::get(rows, &namespace, &message.id)).await?;
            let found = found.ok_or_else(|| not_found(partition.number(), "product"))?;
            Ok(v1::GetProductResponse { product: Some(shown(found)) })
        })
    }

    pub(crate) async fn list_products(
        &self,
        message: v1::ListProductsRequest,
    ) -> Result<v1::ListProductsResponse, Error> {
        let mut v = Violations::new();
        let namespace = v.namespace("namespace", message.namespace);
        let size = v.page_size("page_size", message.page_size);
        let page = Page::read(&mut v, "page_token", &message.page_token, self.node.partitions().len());
        v.finish(())?;
        let mut products = Vec::new();
        let mut at = page;
        // From one partition after the other, as applied here: a change may be a moment late.
        while let Some(partition) = self.node.partitions().get(at.partition as usize) {
            let found =
                partition.read_local(|rows| product::list(rows, &namespace, &at.after, size - products.len()))?;
            if let Some(last) = found.last() {
                at.after = last.id.clone();
            }
            products.extend(found.into_iter().map(shown));
            if products.len() >= size {
                return Ok(v1::ListProductsResponse { products, next_page_token: next_page(&at) });
            }
            at = Page { partition: at.partition + 1, after: String::new() };
        }
        Ok(v1::ListProductsResponse { products, next_page_token: String::new() })
    }

    /// A product for a gift: as applied here, or as its leader has it when it is not here yet.
    pub(crate) async fn product_for_gift(
        &self,
        namespace: &str,
        id: &str,
        call: Call,
    ) -> Result<product::Product, Error> {
        let local = self.node.partition_of(namespace, id).read_local(|rows| product::get(rows, namespace, id));
        if let Ok(Some(found)) = local
            && found.on_sale
        {
            return Ok(found);
        }
        let message = v1::GetProductRequest { namespace: namespace.to_owned(), id: id.to_owned() };
        let found = self.get_product(message, call).await?;
        Ok(convert::stored(found.product.unwrap_or_default()))
    }
}

/// There is no such record.
pub(crate) fn not_found(partition: u32, what: &str) -> Error {
    Error::Domain { partition, refusal: domain::Refusal::not_found(what) }
}
