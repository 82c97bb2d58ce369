//! What recipients and shops do: open the link, accept, pass on, use.

use bytes::Bytes;
use domain::gift::{self, Draw, Gift, Party, State};
use domain::gifticon::{self, Code, Dice};
use domain::product::CodeForm;
use domain::{Kind, Reason};
use proto::gift::v1;
use proto::gift::v1::gift_service_client::GiftServiceClient;
use scheduler::time::Timestamp;

use super::link::{self, Token};
use super::{convert, people};
use crate::convert::moment;
use crate::error::Error;
use crate::partition::Partition;
use crate::product::not_found;
use crate::routing;
use crate::services::{Call, Services, route};
use crate::shop::terminal;
use crate::validate::Violations;
use crate::vault::Vault;

/// How often a code or link is drawn when what was drawn is taken. Once is more than will ever happen.
pub(super) const DRAWS_MAX: usize = 4;

impl Services {
    pub(crate) async fn open_gift(
        &self,
        message: v1::OpenGiftRequest,
        call: Call,
    ) -> Result<v1::OpenGiftResponse, Error> {
        let vault = &self.gifts()?.vault;
        let (namespace, token, partition) = self.behind(vault, &message.namespace, &message.token)?;
        route!(self, call, partition, message, GiftServiceClient::open_gift, {
            let found = partition
                .read(|rows| {
                    let gift = gift::by_link(rows, &namespace, &token.hash)?;
                    Ok((gift, scheduler::read::status(rows)?.watermark()))
                })
                .await?;
            let (Some(gift), now) = found else { return Err(not_found(partition.number(), "link")) };
            let passed_on = !is_of(&gift, &token);
            let code = match passed_on || gift.state() != State::Accepted || !gift.is_valid_at(now) {
                true => String::new(),
                false => code_of(vault, &namespace, &gift)?,
            };
            let nonce = if passed_on { String::new() } else { nonce_of(vault, &namespace, &gift) };
            let used = gift.events.iter().find(|event| event.state() == State::Used);
            let used_at = used.map(|event| moment(Timestamp::from_millis(event.at)));
            let (gift, now) = (Some(seen_at(gift, now)), Some(moment(now)));
            Ok(v1::OpenGiftResponse { gift, passed_on, code, nonce, now, used_at })
        })
    }

    pub(crate) async fn accept_gift(
        &self,
        message: v1::AcceptGiftRequest,
        call: Call,
    ) -> Result<v1::AcceptGiftResponse, Error> {
        let vault = &self.gifts()?.vault;
        let (namespace, token, partition) = self.behind(vault, &message.namespace, &message.token)?;
        route!(self, call, partition, message, GiftServiceClient::accept_gift, {
            let gift = self.with_nonce(partition, &namespace, &token, &message.nonce).await?;
            let reply = match gift.state() {
                // Pressed twice.
                State::Accepted => gift,
                _ => {
                    let command = Kind::Accept(gift::Accept { link: token.hash, request: Bytes::new() });
                    self.business(partition, &namespace, command).await?.gift.unwrap_or_default()
                }
            };
            let (code, nonce) = (code_of(vault, &namespace, &reply)?, nonce_of(vault, &namespace, &reply));
            Ok(v1::AcceptGiftResponse { gift: Some(convert::shown_to_recipient(reply)), code, nonce })
        })
    }

    pub(crate) async fn transfer_gift(
        &self,
        message: v1::TransferGiftRequest,
        call: Call,
    ) -> Result<v1::TransferGiftResponse, Error> {
        let setting = self.gifts()?;
        let vault = &setting.vault;
        let (namespace, token, partition) = self.behind(vault, &message.namespace, &message.token)?;
        let mut v = Violations::new();
        let to = message.to.clone().unwrap_or_default();
        let to = people::party(&mut v, "to", to, self.node.zones(), &setting.directory);
        v.finish(())?;
        route!(self, call, partition, message, GiftServiceClient::transfer_gift, {
            let gift = self.with_nonce(partition, &namespace, &token, &message.nonce).await?;
            if is_same(&to, &gift.recipient()) {
                // The field is the person, not the address: this is what the page tells apart.
                return Err(Error::invalid("to", "expected somebody else than who has the gift"));
            }
            let mut draws = 0;
            loop {
                draws += 1;
                let draw = drawn(vault, &namespace, &gift);
                let command = Kind::Transfer(gift::Transfer {
                    link: token.hash.clone(),
                    request: Bytes::new(),
                    to: Some(to.clone()),
                    draw: Some(draw),
                });
                match self.business(partition, &namespace, command).await {
                    Err(error) if is_collision(&error) && draws < DRAWS_MAX => {}
                    answer => {
                        let gift = answer?.gift.unwrap_or_default();
                        return Ok(v1::TransferGiftResponse { gift: Some(convert::shown_to_recipient(gift)) });
                    }
                }
            }
        })
    }

    pub(crate) async fn redeem_gift(
        &self,
        message: v1::RedeemGiftRequest,
        call: Call,
    ) -> Result<v1::RedeemGiftResponse, Error> {
        let vault = &self.gifts()?.vault;
        let mut v = Violations::new();
        let namespace = v.namespace("namespace", message.namespace.clone());
        let message = v1::RedeemGiftRequest { namespace: namespace.clone(), ..message };
        let request = v.request_id("request_id", &message.request_id);
        v.require((1..=64).contains(&message.shop.chars().count()), "shop", || "expected 1 to 64 characters".into());
        let code = gifticon::parse(&message.code);
        let code = match code {
            Ok(code) => code,
            Err(error) => {
                v.push("code", error.to_string());
                v.finish(())?;
                return Err(Error::Internal("a wrong code was not refused".into()));
            }
        };
        let counted = terminal::check(&mut v, vault, &message, &code);
        v.finish(())?;
        let at_terminal = !message.terminal.is_empty();
        if !at_terminal && code.form == CodeForm::Digits {
            let partition = self.node.partition_of_slot(code.slot).number();
            return Err(Error::Domain { partition, refusal: domain::Refusal::not_authenticated() });
        }
        match at_terminal && !counted {
            true => self.redeem_at_terminal(message, &namespace, request, code, call).await,
            false => self.redeem_code(message, &namespace, request, code, call).await,
        }
    }

    /// Redeems, whoever asks.
    pub(crate) async fn redeem_code(
        &self,
        message: v1::RedeemGiftRequest,
        namespace: &str,
        request: Bytes,
        code: Code,
        call: Call,
    ) -> Result<v1::RedeemGiftResponse, Error> {
        let vault = &self.gifts()?.vault;
        let partition = self.node.partition_of_slot(code.slot);
        route!(self, call, partition, message, GiftServiceClient::redeem_gift, {
            let hash = link::code_hash(vault, namespace, &code.text);
            let (shop, terminal) = (message.shop, message.terminal);
            let command = Kind::Redeem(gift::Redeem { code: hash, request, shop, terminal });
            let reply = self.business(partition, namespace, command).await?;
            Ok(v1::RedeemGiftResponse {
                receipt: Some(convert::receipt(partition.number(), &reply)),
                replayed: reply.replayed,
                gift: reply.gift.map(convert::shown_to_shop),
            })
        })
    }

    /// The partition behind a link.
    fn behind(
        &self,
        vault: &Vault,
        namespace: &str,
        token: &str,
    ) -> Result<(String, Token, &crate::partition::Partition), Error> {
        let mut v = Violations::new();
        let namespace = v.namespace("namespace", namespace.to_owned());
        v.finish(())?;
        // A token alone is of the namespace that was asked for.
        let (of, bare) = link::take_apart(token);
        let token = if of == namespace { bare } else { token };
        let token = link::read(vault, &namespace, token)?;
        let partition = self.node.partition_of_slot(token.slot);
        Ok((namespace, token, partition))
    }

    /// The gift behind a link, when the nonce is of its holder.
    async fn with_nonce(
        &self,
        partition: &Partition,
        namespace: &str,
        token: &Token,
        nonce: &str,
    ) -> Result<Gift, Error> {
        let found = partition.read(|rows| gift::by_link(rows, namespace, &token.hash)).await?;
        let gift = found.ok_or_else(|| not_found(partition.number(), "link"))?;
        let stale = |what| Error::Domain { partition: partition.number(), refusal: domain::Refusal::stale(what) };
        if !is_of(&gift, token) {
            return Err(stale("link"));
        }
        if !self.gifts()?.vault.is_nonce(&nonce_names(namespace, &gift.id, gift.holder.to_string().as_str()), nonce) {
            return Err(stale("nonce"));
        }
        Ok(gift)
    }
}

/// Whether a message to one would reach the other.
fn is_same(one: &Party, other: &Party) -> bool {
    let same = |one: &str, other: &str| !one.is_empty() && one.eq_ignore_ascii_case(other);
    same(&one.phone, &other.phone) || same(&one.kakao, &other.kakao) || same(&one.email, &other.email)
}

/// Whether the link is that of who has the gift now.
fn is_of(gift: &Gift, token: &Token) -> bool {
    gift.draw.as_ref().and_then(|draw| draw.link.as_ref()).is_some_and(|link| link.hash == token.hash)
}

/// What has run out is expired, whether or not the trigger that says so has come.
fn seen_at(gift: Gift, now: Timestamp) -> v1::Gift {
    let expired = gift.state().is_held() && !gift.is_valid_at(now);
    let mut shown = convert::shown_to_recipient(gift);
    if expired {
        shown.state = v1::GiftState::Expired.into();
    }
    shown
}

fn code_of(vault: &Vault, namespace: &str, gift: &Gift) -> Result<String, Error> {
    let code = gift.draw.as_ref().and_then(|draw| draw.code.as_ref());
    link::open(vault, "code", namespace, &gift.id, code)
}

fn nonce_names<'a>(namespace: &'a str, gift: &'a str, holder: &'a str) -> [&'a str; 3] {
    [namespace, gift, holder]
}

/// Good for one holder: whoever has the link can do once what can be done once, and no page of an earlier holder can.
fn nonce_of(vault: &Vault, namespace: &str, gift: &Gift) -> String {
    vault.nonce(&nonce_names(namespace, &gift.id, &gift.holder.to_string()))
}

/// A link and a code for a gift, with the slot that leads to it.
pub(super) fn drawn(vault: &Vault, namespace: &str, gift: &Gift) -> Draw {
    let slot = routing::slot(namespace, &gift.id);
    let form = gift.product.as_ref().map_or(CodeForm::Base32, |product| product.code_form());
    let code = gifticon::code(form, slot, Dice(rand::random()));
    Draw {
        link: Some(link::sealed_token(vault, namespace, &gift.id, &link::draw(slot))),
        code: Some(link::sealed_code(vault, namespace, &gift.id, &code)),
    }
}

/// Whether what was drawn is taken.
pub(super) fn is_collision(error: &Error) -> bool {
    matches!(error, Error::Domain { refusal, .. } if refusal.reason() == Reason::Collision)
}
