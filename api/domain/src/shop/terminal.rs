//! Terminals: registered with a secret that is given out once, revoked, registered again.

use bytes::Bytes;
use scheduler::domain::DomainError;
use scheduler::store::{Read, StoreError};

use crate::command::Reply;
use crate::context::Context;
use crate::refusal::Refusal;
use crate::{keys, stored};

use super::{Counted, Shop, check_id, scanned};

/// Terminals a shop may have, revoked ones among them.
pub const TERMINALS_MAX: u32 = 1_000;

/// A terminal of a shop.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Terminal {
    /// Whose.
    #[prost(string, tag = "1")]
    pub shop: String,
    /// 1..64 characters of `[A-Za-z0-9._-]`.
    #[prost(string, tag = "2")]
    pub id: String,
    /// Keyed hash of its secret. Empty in answers.
    #[prost(bytes = "bytes", tag = "3")]
    pub secret: Bytes,
    /// When it was registered, in replicated time.
    #[prost(uint64, tag = "4")]
    pub added: u64,
    /// When it was revoked, in replicated time; 0: it was not.
    #[prost(uint64, tag = "5")]
    pub revoked: u64,
    /// The 16 bytes of the request that registered it; or empty.
    #[prost(bytes = "bytes", tag = "6")]
    pub request: Bytes,
    /// What is counted against it, in order. Old ones may be among them; see [`Terminal::failures`].
    #[prost(message, repeated, tag = "7")]
    pub counted: Vec<Counted>,
    /// The trigger that tells operators that it is locked; or empty.
    #[prost(string, tag = "8")]
    pub alert: String,
}

impl Terminal {
    /// Whether this is the hash of its secret, and it has not been revoked. Takes as long for any wrong one.
    pub fn is_proven_by(&self, secret: &[u8]) -> bool {
        let differs = self.secret.iter().zip(secret).fold(0, |differs, (one, other)| differs | (one ^ other));
        self.revoked == 0 && !secret.is_empty() && self.secret.len() == secret.len() && differs == 0
    }

    /// As it may be shown.
    pub(super) fn shown(self) -> Terminal {
        let counted = self.counted.into_iter().map(|one| Counted { at: one.at, ..Counted::default() }).collect();
        Terminal { secret: Bytes::new(), request: Bytes::new(), counted, ..self }
    }
}

/// Registers a terminal, or one again that was revoked.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AddTerminal {
    /// Of which shop.
    #[prost(string, tag = "1")]
    pub shop: String,
    /// What it is called.
    #[prost(string, tag = "2")]
    pub terminal: String,
    /// Keyed hash of the secret that was drawn for it: 8..64 bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub secret: Bytes,
    /// Tells a repeated request; 16 bytes, or empty.
    #[prost(bytes = "bytes", tag = "4")]
    pub request: Bytes,
}

/// From now on the terminal is not known.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RevokeTerminal {
    /// Of which shop.
    #[prost(string, tag = "1")]
    pub shop: String,
    /// Which.
    #[prost(string, tag = "2")]
    pub terminal: String,
}

pub(crate) fn add(cx: &mut Context<'_, '_, '_, '_>, command: AddTerminal) -> Result<Reply, DomainError> {
    check_id("terminal_id", &command.terminal)?;
    if !(8..=64).contains(&command.secret.len()) {
        return Err(Refusal::invalid("secret", "a hash of 8..64 bytes").into());
    }
    if !matches!(command.request.len(), 0 | 16) {
        return Err(Refusal::invalid("request_id", "16 bytes").into());
    }
    let of_shop = keys::shop(cx.namespace(), &command.shop);
    let mut shop: Shop = cx.get("shop", &of_shop)?.ok_or_else(|| Refusal::not_found("shop"))?;
    let key = keys::terminal(cx.namespace(), &command.shop, &command.terminal);
    let before: Option<Terminal> = cx.get("terminal", &key)?;
    let is_repeated =
        |found: &Terminal| found.revoked == 0 && !command.request.is_empty() && found.request == command.request;
    let replayed = before.as_ref().is_some_and(is_repeated);
    if before.as_ref().is_some_and(|found| found.revoked == 0) && !replayed {
        return Err(Refusal::already_exists("terminal").into());
    }
    if before.is_none() {
        if shop.terminals >= TERMINALS_MAX {
            return Err(Refusal::invalid("terminal_id", "at most 1,000 terminals of a shop").into());
        }
        shop.terminals += 1;
        cx.put(&of_shop, &shop)?;
    }
    // What was counted stays: whoever is locked out does not come back by being registered again.
    let terminal = Terminal {
        shop: command.shop,
        id: command.terminal,
        // The answer with the secret before was lost: nobody may have it.
        secret: command.secret,
        added: cx.now().as_millis(),
        revoked: 0,
        request: command.request,
        ..before.unwrap_or_default()
    };
    cx.put(&key, &terminal)?;
    Ok(Reply { terminal: Some(terminal.shown()), replayed, ..Reply::default() })
}

pub(crate) fn revoke(cx: &mut Context<'_, '_, '_, '_>, command: RevokeTerminal) -> Result<Reply, DomainError> {
    let mut terminal = find(cx, &command.shop, &command.terminal)?;
    let replayed = terminal.revoked != 0;
    if !replayed {
        terminal.revoked = cx.now().as_millis();
        terminal.secret = Bytes::new();
        save(cx, &terminal)?;
    }
    Ok(Reply { terminal: Some(terminal.shown()), replayed, ..Reply::default() })
}

/// The terminal, or a refusal.
pub(super) fn find(cx: &Context<'_, '_, '_, '_>, shop: &str, id: &str) -> Result<Terminal, DomainError> {
    let found = cx.get("terminal", &keys::terminal(cx.namespace(), shop, id))?;
    Ok(found.ok_or_else(|| Refusal::not_found("terminal"))?)
}

pub(super) fn save(cx: &mut Context<'_, '_, '_, '_>, terminal: &Terminal) -> Result<(), DomainError> {
    let key = keys::terminal(cx.namespace(), &terminal.shop, &terminal.id);
    cx.put(&key, terminal)
}

/// A terminal of a shop.
///
/// # Errors
///
/// The rows cannot be read.
pub fn terminal(rows: &dyn Read, namespace: &str, shop: &str, id: &str) -> Result<Option<Terminal>, StoreError> {
    stored::read(rows, "terminal", &keys::terminal(namespace, shop, id))
}

/// The terminals of a shop in the order of their ids: at most [`TERMINALS_MAX`].
///
/// # Errors
///
/// The rows cannot be read.
pub fn terminals(rows: &dyn Read, namespace: &str, shop: &str) -> Result<Vec<Terminal>, StoreError> {
    let (from, to) = keys::terminals(namespace, shop);
    scanned(rows, "terminal", &from, &to, TERMINALS_MAX as usize)
}
