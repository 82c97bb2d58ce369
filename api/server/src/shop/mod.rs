//! ShopService: shops and their terminals; and what is counted against a terminal before a code is looked up (`terminal`).

mod convert;
pub(crate) mod terminal;

use domain::shop::{self, AddTerminal, PutShop, RevokeTerminal, Unlock};
use domain::{Kind, Reply};
use proto::shop::v1;
use proto::shop::v1::shop_service_client::ShopServiceClient;
use proto::shop::v1::shop_service_server::ShopService;
use scheduler::time::Timestamp;
use tonic::{Request, Response, Status};

use crate::error::Error;
use crate::pages::{Page, next_page};
use crate::partition::Partition;
use crate::product::not_found;
use crate::services::{Call, Services, route};
use crate::validate::Violations;

#[tonic::async_trait]
impl ShopService for Services {
    async fn put_shop(&self, request: Request<v1::PutShopRequest>) -> Result<Response<v1::PutShopResponse>, Status> {
        self.answer("PutShop", request, async |message, call| self.put_shop(message, call).await).await
    }

    async fn get_shop(&self, request: Request<v1::GetShopRequest>) -> Result<Response<v1::GetShopResponse>, Status> {
        self.answer("GetShop", request, async |message, call| self.get_shop(message, call).await).await
    }

    async fn list_shops(
        &self,
        request: Request<v1::ListShopsRequest>,
    ) -> Result<Response<v1::ListShopsResponse>, Status> {
        self.answer("ListShops", request, async |message, _| self.list_shops(message)).await
    }

    async fn add_terminal(
        &self,
        request: Request<v1::AddTerminalRequest>,
    ) -> Result<Response<v1::AddTerminalResponse>, Status> {
        self.answer("AddTerminal", request, async |message, call| self.add_terminal(message, call).await).await
    }

    async fn revoke_terminal(
        &self,
        request: Request<v1::RevokeTerminalRequest>,
    ) -> Result<Response<v1::RevokeTerminalResponse>, Status> {
        self.answer("RevokeTerminal", request, async |message, call| self.revoke_terminal(message, call).await).await
    }

    async fn unlock_terminal(
        &self,
        request: Request<v1::UnlockTerminalRequest>,
    ) -> Result<Response<v1::UnlockTerminalResponse>, Status> {
        self.answer("UnlockTerminal", request, async |message, call| self.unlock_terminal(message, call).await).await
    }
}

impl Services {
    pub(crate) async fn put_shop(&self, message: v1::PutShopRequest, call: Call) -> Result<v1::PutShopResponse, Error> {
        let mut v = Violations::new();
        let namespace = v.namespace("namespace", message.namespace.clone());
        v.not_reserved_namespace("namespace", &namespace);
        v.finish(())?;
        let v1::Shop { id, name, .. } = message.shop.clone().unwrap_or_default();
        shop::check(&id, &name).map_err(invalid)?;
        let partition = self.node.partition_of(&namespace, &id);
        let expected_version = message.expected_version;
        route!(self, call, partition, message, ShopServiceClient::put_shop, {
            let command = Kind::PutShop(PutShop { id, name, expected_version });
            let reply = self.business(partition, &namespace, command).await?;
            Ok(v1::PutShopResponse { shop: reply.shop.map(convert::shop) })
        })
    }

    pub(crate) async fn get_shop(&self, message: v1::GetShopRequest, call: Call) -> Result<v1::GetShopResponse, Error> {
        let (namespace, partition) = self.place_of_shop(&message.namespace, "id", &message.id)?;
        route!(self, call, partition, message, ShopServiceClient::get_shop, {
            let (found, terminals, now) = partition
                .read(|rows| {
                    let found = shop::get(rows, &namespace, &message.id)?;
                    let terminals = shop::terminals(rows, &namespace, &message.id)?;
                    Ok((found, terminals, scheduler::read::status(rows)?.watermark()))
                })
                .await?;
            let found = found.ok_or_else(|| not_found(partition.number(), "shop"))?;
            let terminals = terminals.into_iter().map(|terminal| convert::terminal(terminal, now)).collect();
            Ok(v1::GetShopResponse { shop: Some(convert::shop(found)), terminals })
        })
    }

    pub(crate) fn list_shops(&self, message: v1::ListShopsRequest) -> Result<v1::ListShopsResponse, Error> {
        let mut v = Violations::new();
        let namespace = v.namespace("namespace", message.namespace);
        let size = v.page_size("page_size", message.page_size);
        let mut at = Page::read(&mut v, "page_token", &message.page_token, self.node.partitions().len());
        v.finish(())?;
        let mut shops = Vec::new();
        // From one partition after the other, as applied here: a change may be a moment late.
        while let Some(partition) = self.node.partitions().get(at.partition as usize) {
            let found = partition.read_local(|rows| shop::list(rows, &namespace, &at.after, size - shops.len()))?;
            if let Some(last) = found.last() {
                at.after = last.id.clone();
            }
            shops.extend(found.into_iter().map(convert::shop));
            if shops.len() >= size {
                return Ok(v1::ListShopsResponse { shops, next_page_token: next_page(&at) });
            }
            at = Page { partition: at.partition + 1, after: String::new() };
        }
        Ok(v1::ListShopsResponse { shops, next_page_token: String::new() })
    }

    pub(crate) async fn add_terminal(
        &self,
        message: v1::AddTerminalRequest,
        call: Call,
    ) -> Result<v1::AddTerminalResponse, Error> {
        let vault = &self.gifts()?.vault;
        let (namespace, partition) = self.place_of_shop(&message.namespace, "shop_id", &message.shop_id)?;
        shop::check_id("terminal_id", &message.terminal_id).map_err(invalid)?;
        let mut v = Violations::new();
        let request = v.request_id("request_id", &message.request_id);
        v.finish(())?;
        route!(self, call, partition, message, ShopServiceClient::add_terminal, {
            let drawn = terminal::draw();
            let v1::AddTerminalRequest { shop_id: shop, terminal_id: terminal, .. } = message;
            let secret = terminal::secret_hash(vault, &namespace, &shop, &terminal, &drawn);
            let command = Kind::AddTerminal(AddTerminal { shop, terminal, secret, request });
            let reply = self.business(partition, &namespace, command).await?;
            Ok(v1::AddTerminalResponse { terminal: shown(&reply), secret: drawn })
        })
    }

    pub(crate) async fn revoke_terminal(
        &self,
        message: v1::RevokeTerminalRequest,
        call: Call,
    ) -> Result<v1::RevokeTerminalResponse, Error> {
        let (namespace, partition) = self.place_of_shop(&message.namespace, "shop_id", &message.shop_id)?;
        shop::check_id("terminal_id", &message.terminal_id).map_err(invalid)?;
        route!(self, call, partition, message, ShopServiceClient::revoke_terminal, {
            let (shop, terminal) = (message.shop_id, message.terminal_id);
            let command = Kind::RevokeTerminal(RevokeTerminal { shop, terminal });
            let reply = self.business(partition, &namespace, command).await?;
            Ok(v1::RevokeTerminalResponse { terminal: shown(&reply), replayed: reply.replayed })
        })
    }

    pub(crate) async fn unlock_terminal(
        &self,
        message: v1::UnlockTerminalRequest,
        call: Call,
    ) -> Result<v1::UnlockTerminalResponse, Error> {
        let (namespace, partition) = self.place_of_shop(&message.namespace, "shop_id", &message.shop_id)?;
        shop::check_id("terminal_id", &message.terminal_id).map_err(invalid)?;
        route!(self, call, partition, message, ShopServiceClient::unlock_terminal, {
            let (shop, terminal) = (message.shop_id, message.terminal_id);
            let reply = self.business(partition, &namespace, Kind::Unlock(Unlock { shop, terminal })).await?;
            Ok(v1::UnlockTerminalResponse { terminal: shown(&reply), replayed: reply.replayed })
        })
    }

    /// The namespace and partition of a shop.
    fn place_of_shop(&self, namespace: &str, field: &str, shop: &str) -> Result<(String, &Partition), Error> {
        let mut v = Violations::new();
        let namespace = v.namespace("namespace", namespace.to_owned());
        v.finish(())?;
        shop::check_id(field, shop).map_err(invalid)?;
        let partition = self.node.partition_of(&namespace, shop);
        Ok((namespace, partition))
    }
}

fn invalid(refusal: domain::Refusal) -> Error {
    Error::invalid(refusal.field, format!("expected {}", refusal.expected))
}

/// The terminal as the command left it.
fn shown(reply: &Reply) -> Option<v1::Terminal> {
    reply.terminal.clone().map(|terminal| convert::terminal(terminal, Timestamp::from_millis(reply.time)))
}
