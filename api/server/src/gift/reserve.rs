//! Reserving: the gift is in the log before the payment begins, and the caller waits for what becomes of it.

use std::time::Duration;

use domain::Kind;
use domain::gift::{self, Gift, State};
use domain::payment::{self, Payment, PaymentState};
use prost::Message;
use proto::gift::v1;
use proto::gift::v1::gift_service_client::GiftServiceClient;
use sha2::{Digest, Sha256};

use super::{convert, people};
use crate::error::Error;
use crate::partition::Partition;
use crate::services::{Call, Services, route};
use crate::validate::Violations;

/// The provider when nobody says which.
const PROVIDER: &str = "toss";
/// Kept between the end of the waiting and the end of the call, for the answer.
const ANSWER_MARGIN: Duration = Duration::from_millis(300);

impl Services {
    pub(crate) async fn reserve_gift(
        &self,
        message: v1::ReserveRequest,
        call: Call,
    ) -> Result<v1::ReserveResponse, Error> {
        let setting = self.gifts()?;
        let mut v = Violations::new();
        let namespace = v.namespace("namespace", message.namespace.clone());
        v.not_reserved_namespace("namespace", &namespace);
        gift_id(&mut v, &message.gift_id);
        v.id("product_id", &message.product_id);
        let sender = message.sender.clone().unwrap_or_default();
        v.id("sender.id", &sender.id);
        let sender = people::party(&mut v, "sender", sender, self.node.zones(), &setting.directory);
        let recipient = message.recipient.clone().unwrap_or_default();
        let recipient = people::party(&mut v, "recipient", recipient, self.node.zones(), &setting.directory);
        note(&mut v, &message.message);
        let (send_at, local) = convert::send_time(&mut v, message.send.clone(), &recipient.zone, self.node.zones());
        let asked = message.payment.clone().unwrap_or_default();
        v.require(!asked.payment_key.is_empty(), "payment.payment_key", || {
            "expected what the provider answered".into()
        });
        v.finish(())?;
        let partition = self.node.partition_of(&namespace, &message.gift_id);
        route!(self, call, partition, message, GiftServiceClient::reserve, {
            let product = self.product_for_gift(&namespace, &message.product_id, call).await?;
            let payment = payment::Ask {
                provider: if asked.provider.is_empty() { PROVIDER.to_owned() } else { asked.provider },
                order_id: if asked.order_id.is_empty() { message.gift_id.clone() } else { asked.order_id },
                payment_key: asked.payment_key,
                amount_won: asked.amount_won,
            };
            let command = Kind::Reserve(gift::Reserve {
                gift: message.gift_id.clone(),
                sender: Some(sender),
                recipient: Some(recipient),
                message: message.message.clone(),
                product: Some(product),
                send_at,
                local,
                fingerprint: fingerprint(&message),
                payment: Some(payment),
            });
            // Before it is proposed, so that no change is missed.
            let waiting = partition.feed().records().wait_for(&namespace, &gift::watched(&message.gift_id));
            let reply = self.business(partition, &namespace, command).await?;
            let receipt = convert::receipt(partition.number(), &reply);
            let settled = settled(partition, &namespace, &message.gift_id, waiting);
            let waited = tokio::time::timeout(call.left().saturating_sub(ANSWER_MARGIN), settled).await;
            let (gift, payment) = match waited {
                Ok(settled) => settled?,
                // Nothing is lost: the payment goes on, and whoever repeats the call learns of it.
                Err(_) => read(partition, &namespace, &message.gift_id)?,
            };
            let (Some(gift), payment) = (gift, payment) else {
                return Err(Error::PaymentNotReached { partition: partition.number() });
            };
            Ok(v1::ReserveResponse {
                gift: Some(convert::shown(gift)),
                payment: payment.map(crate::payment::shown),
                receipt: Some(receipt),
                replayed: reply.replayed,
            })
        })
    }
}

/// Waits until the payment has come to something, if only to that nobody knows.
async fn settled(
    partition: &Partition,
    namespace: &str,
    id: &str,
    mut waiting: crate::records::Waiting,
) -> Result<(Option<Gift>, Option<Payment>), Error> {
    loop {
        let (gift, payment) = read(partition, namespace, id)?;
        let open = gift.as_ref().is_some_and(|gift| gift.state() == State::PendingPayment)
            && payment.as_ref().is_some_and(|payment| payment.state() == PaymentState::InProgress);
        if !open {
            return Ok((gift, payment));
        }
        waiting.changed().await;
    }
}

fn read(partition: &Partition, namespace: &str, id: &str) -> Result<(Option<Gift>, Option<Payment>), Error> {
    partition.read_local(|rows| Ok((gift::get(rows, namespace, id)?, payment::get(rows, namespace, id)?)))
}

/// The hash of a request as it was sent: what makes a repeat the same request.
fn fingerprint(request: &v1::ReserveRequest) -> u64 {
    let digest = Sha256::digest(request.encode_to_vec());
    u64::from_le_bytes(digest[..8].try_into().expect("8 of 32 bytes"))
}

/// Checks the id of a gift.
pub(super) fn gift_id(v: &mut Violations, id: &str) {
    let allowed = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    v.require(allowed && (1..=64).contains(&id.len()), "gift_id", || {
        "expected 1 to 64 characters of [A-Za-z0-9_-]".into()
    });
}

/// Checks the words that go with a gift.
pub(super) fn note(v: &mut Violations, message: &str) {
    let count = message.chars().count();
    let max = gift::MESSAGE_CHARS_MAX;
    v.require(count <= max, "message", || format!("expected at most {max} characters, got {count}"));
}
