//! What senders and operators do with gifts: look, change, take back, watch, find out.

use domain::Kind;
use domain::gift::{self, Found, Gift};
use futures::Stream;
use proto::gift::v1;
use proto::gift::v1::gift_service_client::GiftServiceClient;

use super::reserve::{gift_id, note};
use super::{convert, people};
use crate::error::Error;
use crate::pages::{Page, next_page};
use crate::partition::Partition;
use crate::product::not_found;
use crate::services::{Call, Services, route};
use crate::validate::Violations;

impl Services {
    pub(crate) async fn get_gift(&self, message: v1::GetGiftRequest, call: Call) -> Result<v1::GetGiftResponse, Error> {
        let (namespace, partition) = self.place(&message.namespace, &message.gift_id)?;
        route!(self, call, partition, message, GiftServiceClient::get_gift, {
            let found = partition.read(|rows| gift::get(rows, &namespace, &message.gift_id)).await?;
            let gift = of_sender(partition, found, &message.sender_id)?;
            Ok(v1::GetGiftResponse { gift: Some(convert::shown(gift)) })
        })
    }

    /// From one partition after the other, as applied here: a change may be a moment late.
    pub(crate) fn list_gifts(&self, message: v1::ListGiftsRequest) -> Result<v1::ListGiftsResponse, Error> {
        let mut v = Violations::new();
        let namespace = v.namespace("namespace", message.namespace);
        v.id("sender_id", &message.sender_id);
        let size = v.page_size("page_size", message.page_size);
        let mut at = Page::read(&mut v, "page_token", &message.page_token, self.node.partitions().len());
        let mut before = at.after.parse::<u64>().unwrap_or(0);
        v.finish(())?;
        let mut gifts = Vec::new();
        while let Some(partition) = self.node.partitions().get(at.partition as usize) {
            let rest = size - gifts.len();
            let found = partition
                .read_local(|rows| gift::list_of_sender(rows, &namespace, &message.sender_id, before, rest))?;
            before = found.last().map_or(before, |last| last.made);
            gifts.extend(found.into_iter().map(convert::shown));
            if gifts.len() >= size {
                at.after = before.to_string();
                return Ok(v1::ListGiftsResponse { gifts, next_page_token: next_page(&at) });
            }
            at = Page { partition: at.partition + 1, after: String::new() };
            before = 0;
        }
        Ok(v1::ListGiftsResponse { gifts, next_page_token: String::new() })
    }

    pub(crate) async fn edit_gift(
        &self,
        message: v1::EditGiftRequest,
        call: Call,
    ) -> Result<v1::EditGiftResponse, Error> {
        let setting = self.gifts()?;
        let (namespace, partition) = self.place(&message.namespace, &message.gift_id)?;
        route!(self, call, partition, message, GiftServiceClient::edit_gift, {
            let now = partition.read(|rows| gift::get(rows, &namespace, &message.gift_id)).await?;
            let now = of_sender(partition, now, &message.sender_id)?;
            let mut v = Violations::new();
            let request = v.request_id("request_id", &message.request_id);
            let zones = self.node.zones();
            let recipient =
                message.recipient.map(|party| people::party(&mut v, "recipient", party, zones, &setting.directory));
            if let Some(message) = &message.message {
                note(&mut v, message);
            }
            let zone = recipient.as_ref().map_or(now.recipient().zone, |recipient| recipient.zone.clone());
            let (send_at, local) = match message.send {
                Some(send) => convert::send_time(&mut v, Some(send), &zone, zones),
                None => (0, None),
            };
            v.finish(())?;
            let command = Kind::Edit(gift::Edit {
                gift: message.gift_id,
                request,
                expected_version: message.expected_version,
                recipient,
                message: message.message,
                send_at,
                local,
                sender: message.sender_id,
            });
            let reply = self.business(partition, &namespace, command).await?;
            let receipt = Some(convert::receipt(partition.number(), &reply));
            Ok(v1::EditGiftResponse { gift: reply.gift.map(convert::shown), receipt })
        })
    }

    pub(crate) async fn cancel_gift(
        &self,
        message: v1::CancelGiftRequest,
        call: Call,
    ) -> Result<v1::CancelGiftResponse, Error> {
        let (namespace, partition) = self.place(&message.namespace, &message.gift_id)?;
        let mut v = Violations::new();
        let request = v.request_id("request_id", &message.request_id);
        v.finish(())?;
        route!(self, call, partition, message, GiftServiceClient::cancel_gift, {
            let command = Kind::Cancel(gift::Cancel {
                gift: message.gift_id,
                request,
                expected_version: message.expected_version,
                sender: message.sender_id,
            });
            let reply = self.business(partition, &namespace, command).await?;
            Ok(v1::CancelGiftResponse {
                receipt: Some(convert::receipt(partition.number(), &reply)),
                replayed: reply.replayed,
                gift: reply.gift.map(convert::shown),
            })
        })
    }

    /// The gift as it is, then after every change, until it has ended; from this node's replica, which may be a moment behind.
    pub(crate) fn watch_gift(
        &self,
        message: v1::WatchGiftRequest,
    ) -> Result<impl Stream<Item = Result<v1::WatchGiftResponse, Error>> + Send + 'static, Error> {
        let (namespace, partition) = self.place(&message.namespace, &message.gift_id)?;
        let partition = partition.clone();
        let waiting = partition.feed().records().wait_for(&namespace, &gift::watched(&message.gift_id));
        let node = self.node.clone();
        let state = (waiting, None::<u64>, false);
        Ok(futures::stream::unfold(state, move |(mut waiting, mut told, over)| {
            let (partition, node) = (partition.clone(), node.clone());
            let (namespace, id, sender) = (namespace.clone(), message.gift_id.clone(), message.sender_id.clone());
            async move {
                if over {
                    return None;
                }
                loop {
                    let found = partition.read_local(|rows| gift::get(rows, &namespace, &id));
                    match found.and_then(|found| of_sender(&partition, found, &sender)) {
                        Ok(gift) if told != Some(gift.version) => {
                            told = Some(gift.version);
                            let over = gift.state().next().is_empty();
                            let answer = v1::WatchGiftResponse { gift: Some(convert::shown(gift)) };
                            return Some((Ok(answer), (waiting, told, over)));
                        }
                        Ok(_) => {}
                        Err(error) => return Some((Err(error), (waiting, told, true))),
                    }
                    tokio::select! {
                        () = waiting.changed() => {}
                        () = node.stopping() => return Some((Err(Error::ShuttingDown), (waiting, told, true))),
                    }
                }
            }
        }))
    }

    pub(crate) fn list_attention(&self, message: v1::ListAttentionRequest) -> Result<v1::ListAttentionResponse, Error> {
        let mut v = Violations::new();
        let namespace = v.namespace("namespace", message.namespace);
        let size = v.page_size("page_size", message.page_size);
        let mut at = Page::read(&mut v, "page_token", &message.page_token, self.node.partitions().len());
        v.finish(())?;
        let mut gifts = Vec::new();
        while let Some(partition) = self.node.partitions().get(at.partition as usize) {
            let rest = size - gifts.len();
            let found = partition.read_local(|rows| gift::list_attention(rows, &namespace, &at.after, rest))?;
            if let Some(last) = found.last() {
                at.after = last.id.clone();
            }
            gifts.extend(found.into_iter().map(convert::shown));
            if gifts.len() >= size {
                return Ok(v1::ListAttentionResponse { gifts, next_page_token: next_page(&at) });
            }
            at = Page { partition: at.partition + 1, after: String::new() };
        }
        Ok(v1::ListAttentionResponse { gifts, next_page_token: String::new() })
    }

    pub(crate) async fn resolve_gift(
        &self,
        message: v1::ResolveGiftRequest,
        call: Call,
    ) -> Result<v1::ResolveGiftResponse, Error> {
        let (namespace, partition) = self.place(&message.namespace, &message.gift_id)?;
        let named = (1..=64).contains(&message.operator.chars().count()) && message.operator != "provider";
        let mut v = Violations::new();
        v.require(named, "operator", || "expected the name of who found out, 1 to 64 characters".into());
        v.finish(())?;
        route!(self, call, partition, message, GiftServiceClient::resolve_gift, {
            let found = if message.was_sent { Found::Sent } else { Found::NotSent };
            let command = Kind::ResolveSend(gift::ResolveSend {
                gift: message.gift_id,
                found: found.into(),
                provider_id: String::new(),
                by: message.operator,
            });
            let reply = self.business(partition, &namespace, command).await?;
            Ok(v1::ResolveGiftResponse { gift: reply.gift.map(convert::shown) })
        })
    }

    /// The namespace and partition of a gift.
    pub(crate) fn place(&self, namespace: &str, gift: &str) -> Result<(String, &Partition), Error> {
        let mut v = Violations::new();
        let namespace = v.namespace("namespace", namespace.to_owned());
        gift_id(&mut v, gift);
        v.finish(())?;
        let partition = self.node.partition_of(&namespace, gift);
        Ok((namespace, partition))
    }
}

/// Another sender's gifts are not there.
fn of_sender(partition: &Partition, gift: Option<Gift>, sender: &str) -> Result<Gift, Error> {
    gift.filter(|gift| sender.is_empty() || gift.sender().id == sender)
        .ok_or_else(|| not_found(partition.number(), "gift"))
}
