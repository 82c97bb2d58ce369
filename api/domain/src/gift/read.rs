//! Reading gifts.

use std::ops::ControlFlow;

use scheduler::lane::Generation;
use scheduler::store::{Read, StoreError};

use crate::{keys, stored};

use super::Gift;

/// The gift with this id.
///
/// # Errors
///
/// The rows cannot be read.
pub fn get(rows: &dyn Read, namespace: &str, id: &str) -> Result<Option<Gift>, StoreError> {
    stored::read(rows, "gift", &keys::gift(namespace, id))
}

/// The gift a link leads to, by the hash of its token; the link may be an earlier holder's.
///
/// # Errors
///
/// The rows cannot be read.
pub fn by_link(rows: &dyn Read, namespace: &str, hash: &[u8]) -> Result<Option<Gift>, StoreError> {
    led_to(rows, namespace, &keys::link(namespace, hash))
}

/// The gift a code is for, by the hash of the code.
///
/// # Errors
///
/// The rows cannot be read.
pub fn by_code(rows: &dyn Read, namespace: &str, hash: &[u8]) -> Result<Option<Gift>, StoreError> {
    led_to(rows, namespace, &keys::code(namespace, hash))
}

fn led_to(rows: &dyn Read, namespace: &str, key: &[u8]) -> Result<Option<Gift>, StoreError> {
    match rows.get(key)? {
        Some(id) => get(rows, namespace, text(&id)?),
        None => Ok(None),
    }
}

/// Gifts of a sender in this partition, the newest first, made before the command with number `before` (0: all): at most `max`.
///
/// # Errors
///
/// The rows cannot be read.
pub fn list_of_sender(
    rows: &dyn Read,
    namespace: &str,
    sender: &str,
    before: u64,
    max: usize,
) -> Result<Vec<Gift>, StoreError> {
    let start = keys::gifts_of_sender(namespace, sender);
    let mut end = start.clone();
    end.extend_from_slice(&[0xff; 9]);
    let from = match before {
        0 => start,
        before => keys::gift_of_sender(namespace, sender, Generation::from_number(before.saturating_sub(1))),
    };
    listed(rows, namespace, &from, &end, max, |_, value| text(value).map(str::to_owned))
}

/// Gifts that wait for a human, in the order of their ids, behind `after`: at most `max`.
///
/// # Errors
///
/// The rows cannot be read.
pub fn list_attention(rows: &dyn Read, namespace: &str, after: &str, max: usize) -> Result<Vec<Gift>, StoreError> {
    let (mut from, to) = keys::namespace_range(keys::ATTENTION, namespace);
    let skip = from.len();
    if !after.is_empty() {
        from = keys::attention(namespace, after);
        from.push(0);
    }
    listed(rows, namespace, &from, &to, max, |key, _| text(&key[skip..]).map(str::to_owned))
}

fn listed(
    rows: &dyn Read,
    namespace: &str,
    from: &[u8],
    to: &[u8],
    max: usize,
    id_of: impl Fn(&[u8], &[u8]) -> Result<String, StoreError>,
) -> Result<Vec<Gift>, StoreError> {
    let mut ids = Vec::new();
    rows.scan(from, to, &mut |key, value| {
        ids.push(id_of(key, value));
        if ids.len() >= max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let mut gifts = Vec::with_capacity(ids.len());
    for id in ids {
        gifts.extend(get(rows, namespace, &id?)?);
    }
    Ok(gifts)
}

fn text(id: &[u8]) -> Result<&str, StoreError> {
    std::str::from_utf8(id).map_err(|_| StoreError("the id of a gift cannot be read".to_owned()))
}
