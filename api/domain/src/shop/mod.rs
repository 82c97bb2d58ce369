//! Shops, and the terminals at which they take codes.
//!
//! Codes of digits alone are short enough to be guessed by whoever may try often. They are taken from terminals that prove who they
//! are, and each terminal may be wrong [`FAILURES_MAX`] times within [`WINDOW`]. What is counted is in the partition of the shop, and
//! codes are in those of their gifts, so an attempt is counted before the code is looked up ([`Count`]) and forgotten when the code led
//! to a gift ([`Forget`]): whoever guesses in parallel is counted first.

mod count;
mod terminal;

pub use count::{Count, Counted, FAILURES_MAX, Forget, Unlock, Verdict, VerdictKind, WINDOW};
pub(crate) use count::{count, forget, unlock};
pub use terminal::{AddTerminal, RevokeTerminal, TERMINALS_MAX, Terminal, terminal, terminals};
pub(crate) use terminal::{add, revoke};

use scheduler::domain::DomainError;
use scheduler::store::{Read, StoreError};

use crate::context::Context;
use crate::refusal::Refusal;
use crate::{keys, stored};

/// A shop.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Shop {
    /// 1..64 characters of `[A-Za-z0-9._-]`.
    #[prost(string, tag = "1")]
    pub id: String,
    /// 1..60 characters.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Grows with every change of the name.
    #[prost(uint64, tag = "3")]
    pub version: u64,
    /// Terminals there are, revoked ones among them.
    #[prost(uint32, tag = "4")]
    pub terminals: u32,
}

/// Creates a shop or changes its name.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PutShop {
    /// Which.
    #[prost(string, tag = "1")]
    pub id: String,
    /// What it is called from now on.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Of the shop that is there; 0: whatever there is.
    #[prost(uint64, tag = "3")]
    pub expected_version: u64,
}

pub(crate) fn put(cx: &mut Context<'_, '_, '_, '_>, command: PutShop) -> Result<Shop, DomainError> {
    check(&command.id, &command.name)?;
    let key = keys::shop(cx.namespace(), &command.id);
    let mut shop: Shop = cx.get("shop", &key)?.unwrap_or_default();
    if shop.version != 0 && shop.name == command.name {
        // The same again, as of a repeated request.
        return Ok(shop);
    }
    if command.expected_version != 0 && command.expected_version != shop.version {
        return Err(Refusal::version(shop.version).into());
    }
    shop = Shop { id: command.id, name: command.name, version: shop.version + 1, terminals: shop.terminals };
    cx.put(&key, &shop)?;
    Ok(shop)
}

/// Refuses what a shop cannot be, naming the field.
///
/// # Errors
///
/// [`Reason::Invalid`](crate::Reason::Invalid).
pub fn check(id: &str, name: &str) -> Result<(), Refusal> {
    check_id("shop.id", id)?;
    match (1..=60).contains(&name.chars().count()) {
        true => Ok(()),
        false => Err(Refusal::invalid("shop.name", "1..60 characters")),
    }
}

/// Refuses what the id of a shop or terminal cannot be.
///
/// # Errors
///
/// [`Reason::Invalid`](crate::Reason::Invalid).
pub fn check_id(field: &str, id: &str) -> Result<(), Refusal> {
    let allowed = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    match allowed && (1..=64).contains(&id.len()) {
        true => Ok(()),
        false => Err(Refusal::invalid(field, "1..64 characters of [A-Za-z0-9._-]")),
    }
}

/// The shop with this id.
///
/// # Errors
///
/// The rows cannot be read.
pub fn get(rows: &dyn Read, namespace: &str, id: &str) -> Result<Option<Shop>, StoreError> {
    stored::read(rows, "shop", &keys::shop(namespace, id))
}

/// Shops in the order of their ids, behind `after`: at most `max`.
///
/// # Errors
///
/// The rows cannot be read.
pub fn list(rows: &dyn Read, namespace: &str, after: &str, max: usize) -> Result<Vec<Shop>, StoreError> {
    let (mut from, to) = keys::namespace_range(keys::SHOP, namespace);
    if !after.is_empty() {
        from = keys::shop(namespace, after);
        from.push(0);
    }
    scanned(rows, "shop", &from, &to, max)
}

/// At most `max` records of a range, in order.
fn scanned<M: prost::Message + Default>(
    rows: &dyn Read,
    row: &'static str,
    from: &[u8],
    to: &[u8],
    max: usize,
) -> Result<Vec<M>, StoreError> {
    let mut found = Vec::new();
    let mut broken = None;
    if max == 0 {
        return Ok(found);
    }
    rows.scan(from, to, &mut |_, value| {
        match stored::decode(row, value) {
            Ok(record) => found.push(record),
            Err(error) => broken = Some(error),
        }
        match broken.is_some() || found.len() >= max {
            true => std::ops::ControlFlow::Break(()),
            false => std::ops::ControlFlow::Continue(()),
        }
    })?;
    broken.map_or(Ok(found), Err)
}
