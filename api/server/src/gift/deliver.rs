//! What executors ask for while they send: their turn, and links.

use domain::Kind;
use domain::gift::{self, Attempt, Gift};
use proto::gift::v1;
use proto::gift::v1::gift_delivery_service_client::GiftDeliveryServiceClient;
use scheduler::time::Timestamp;

use super::receive::{DRAWS_MAX, drawn, is_collision};
use super::{calendar, convert, link, people};
use crate::convert::moment;
use crate::error::Error;
use crate::product::not_found;
use crate::services::{Call, Services, route};

/// Rejections that are taken note of in one call.
const REJECTED_MAX: usize = 8;

impl Services {
    pub(crate) async fn begin_send(
        &self,
        message: v1::BeginSendRequest,
        call: Call,
    ) -> Result<v1::BeginSendResponse, Error> {
        let setting = self.gifts()?;
        let (namespace, partition) = self.place(&message.namespace, &message.gift_id)?;
        if message.rejected.len() > REJECTED_MAX {
            return Err(Error::invalid("rejected", format!("expected at most {REJECTED_MAX}")));
        }
        route!(self, call, partition, message, GiftDeliveryServiceClient::begin_send, {
            let found = partition.read(|rows| {
                let gift = gift::get(rows, &namespace, &message.gift_id)?;
                Ok((gift, scheduler::read::status(rows)?.watermark()))
            });
            let (Some(gift), now) = found.await? else { return Err(not_found(partition.number(), "gift")) };
            let moments = calendar::moments(self.node.zones(), &gift.recipient().zone, &gift.product(), now)?;
            let rejected: Vec<Attempt> = message
                .rejected
                .iter()
                .map(|one| Attempt {
                    channel: convert::channel_of(one.channel).into(),
                    error: one.error.clone(),
                    ..Attempt::default()
                })
                .collect();
            let mut draws = 0;
            loop {
                draws += 1;
                let command = Kind::BeginSend(gift::BeginSend {
                    gift: gift.id.clone(),
                    round: message.round,
                    rejected: rejected.clone(),
                    draw: Some(drawn(&setting.vault, &namespace, &gift)),
                    expires_at: moments.expires_at,
                    remind_at: moments.remind_at.clone(),
                });
                match self.business(partition, &namespace, command).await {
                    Err(error) if is_collision(&error) && draws < DRAWS_MAX => {}
                    answer => {
                        let reply = answer?;
                        let turn = reply.turn.unwrap_or_default();
                        let gift = reply.gift.unwrap_or_default();
                        if turn.over {
                            return Ok(v1::BeginSendResponse { over: true, ..Default::default() });
                        }
                        return Ok(v1::BeginSendResponse {
                            over: false,
                            channel: convert::shown_channel(turn.channel()).into(),
                            resumed: turn.resumed,
                            begun: Some(moment(Timestamp::from_millis(turn.begun_at))),
                            idempotency_key: key(&namespace, &gift, turn.channel().name()),
                            link: self.link_of(&namespace, &gift)?,
                            sender_name: gift.sender().name,
                            product: Some(crate::product::shown(gift.product())),
                            expires_at: Some(moment(Timestamp::from_millis(gift.expires_at))),
                            recipient: Some(people::shown(gift.recipient())),
                            message: gift.message,
                        });
                    }
                }
            }
        })
    }

    pub(crate) async fn get_link(&self, message: v1::GetLinkRequest, call: Call) -> Result<v1::GetLinkResponse, Error> {
        self.gifts()?;
        let (namespace, partition) = self.place(&message.namespace, &message.gift_id)?;
        route!(self, call, partition, message, GiftDeliveryServiceClient::get_link, {
            let found = partition.read(|rows| gift::get(rows, &namespace, &message.gift_id)).await?;
            let gift = found.ok_or_else(|| not_found(partition.number(), "gift"))?;
            let attempt = gift.sending.clone().and_then(|sending| sending.begun.or(sending.sent)).unwrap_or_default();
            let link = if gift.draw.is_some() { self.link_of(&namespace, &gift)? } else { String::new() };
            Ok(v1::GetLinkResponse {
                link,
                channel: convert::shown_channel(attempt.channel()).into(),
                begun: (attempt.at != 0).then(|| moment(Timestamp::from_millis(attempt.at))),
                idempotency_key: key(&namespace, &gift, attempt.channel().name()),
                recipient: Some(people::shown(gift.recipient())),
            })
        })
    }

    fn link_of(&self, namespace: &str, gift: &Gift) -> Result<String, Error> {
        let setting = self.gifts()?;
        let secret = gift.draw.as_ref().and_then(|draw| draw.link.as_ref());
        let token = link::open(&setting.vault, "link", namespace, &gift.id, secret)?;
        Ok(format!("{}{}", setting.link_base, link::last_part(namespace, &token)))
    }
}

/// The same for every attempt of a gift on a channel in a round. In a later round the one before was certainly not accepted.
fn key(namespace: &str, gift: &Gift, channel: &str) -> String {
    let round = gift.sending.as_ref().map_or(0, |sending| sending.round);
    format!("{namespace}/{}/{}/send/{channel}/{round}", gift.id, gift.made)
}
