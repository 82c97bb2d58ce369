//! Every key of the domains' rows: a table tag, then the namespace, a zero byte, and fields whose order of bytes is the order of
//! meaning. A tag that was ever released keeps its meaning for good. `0x80` is left to tests of upgrades.

use scheduler::lane::Generation;
use scheduler::time::Timestamp;

use crate::ledger::{Account, Day};

/// (namespace, product) → product.
pub const PRODUCT: u8 = 0x81;
/// (namespace, gift) → gift.
pub const GIFT: u8 = 0x82;
/// (namespace, sender, newest first) → gift, for lists.
pub const GIFT_OF_SENDER: u8 = 0x83;
/// (namespace, hash of the link's token) → gift.
pub const LINK: u8 = 0x84;
/// (namespace, hash of the gifticon's code) → gift.
pub const CODE: u8 = 0x85;
/// (namespace, payment) → payment.
pub const PAYMENT: u8 = 0x86;
/// (namespace, time, generation, number) → movement of money.
pub const JOURNAL: u8 = 0x87;
/// (namespace, day, account) → counter of won.
pub const DAY: u8 = 0x88;
/// (namespace, gift) → nothing: gifts that wait for a human.
pub const ATTENTION: u8 = 0x89;
/// (namespace, gift) → the newest news about it.
pub const NOTIFICATIONS: u8 = 0x8a;
/// (namespace, shop) → shop.
pub const SHOP: u8 = 0x8b;
/// (namespace, shop, terminal) → terminal.
pub const TERMINAL: u8 = 0x8c;

fn table(tag: u8, namespace: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    key.push(tag);
    text(&mut key, namespace);
    key
}

/// A text and the zero byte behind it. A zero in it is written otherwise, so that no text ends early; those that can be stored
/// have none.
fn text(key: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            0 | 1 => key.extend_from_slice(&[1, byte + 1]),
            byte => key.push(byte),
        }
    }
    key.push(0);
}

fn named(tag: u8, namespace: &str, name: &[u8]) -> Vec<u8> {
    let mut key = table(tag, namespace);
    key.extend_from_slice(name);
    key
}

/// First key of a namespace in a table, and the first one behind it.
pub fn namespace_range(tag: u8, namespace: &str) -> (Vec<u8>, Vec<u8>) {
    let from = table(tag, namespace);
    let mut to = from.clone();
    // The zero byte behind the namespace.
    if let Some(last) = to.last_mut() {
        *last = 1;
    }
    (from, to)
}

/// A product.
pub fn product(namespace: &str, id: &str) -> Vec<u8> {
    named(PRODUCT, namespace, id.as_bytes())
}

/// A gift.
pub fn gift(namespace: &str, id: &str) -> Vec<u8> {
    named(GIFT, namespace, id.as_bytes())
}

/// Gifts of a sender, the newest first.
pub fn gifts_of_sender(namespace: &str, sender: &str) -> Vec<u8> {
    let mut key = table(GIFT_OF_SENDER, namespace);
    text(&mut key, sender);
    key
}

/// One gift of a sender. `made` is the number of the command that made it.
pub fn gift_of_sender(namespace: &str, sender: &str, made: Generation) -> Vec<u8> {
    let mut key = gifts_of_sender(namespace, sender);
    key.extend_from_slice(&(!made.number()).to_be_bytes());
    key
}

/// The gift a link leads to.
pub fn link(namespace: &str, hash: &[u8]) -> Vec<u8> {
    named(LINK, namespace, hash)
}

/// The gift a code is for.
pub fn code(namespace: &str, hash: &[u8]) -> Vec<u8> {
    named(CODE, namespace, hash)
}

/// A payment.
pub fn payment(namespace: &str, id: &str) -> Vec<u8> {
    named(PAYMENT, namespace, id.as_bytes())
}

/// A movement of money.
pub fn journal(namespace: &str, time: Timestamp, generation: Generation, number: u32) -> Vec<u8> {
    let mut key = journal_from(namespace, time);
    key.extend_from_slice(&generation.number().to_be_bytes());
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The first movement at this time or later.
pub fn journal_from(namespace: &str, time: Timestamp) -> Vec<u8> {
    named(JOURNAL, namespace, &time.as_millis().to_be_bytes())
}

/// What an account gained on a day.
pub fn day(namespace: &str, day: Day, account: Account) -> Vec<u8> {
    let mut key = day_from(namespace, day);
    key.push(account as u8);
    key
}

/// The first account of a day.
pub fn day_from(namespace: &str, day: Day) -> Vec<u8> {
    named(DAY, namespace, &day.0.to_be_bytes())
}

/// The day and the number of the account in a key of [`day`].
pub fn day_fields(key: &[u8]) -> Option<(Day, u8)> {
    let (rest, account) = key.split_last_chunk::<1>()?;
    let (_, day) = rest.split_last_chunk::<4>()?;
    Some((Day(u32::from_be_bytes(*day)), account[0]))
}

/// A gift that waits for a human.
pub fn attention(namespace: &str, id: &str) -> Vec<u8> {
    named(ATTENTION, namespace, id.as_bytes())
}

/// The news about a gift.
pub fn notifications(namespace: &str, gift: &str) -> Vec<u8> {
    named(NOTIFICATIONS, namespace, gift.as_bytes())
}

/// A shop.
pub fn shop(namespace: &str, id: &str) -> Vec<u8> {
    named(SHOP, namespace, id.as_bytes())
}

/// A terminal of a shop.
pub fn terminal(namespace: &str, shop: &str, id: &str) -> Vec<u8> {
    let mut key = table(TERMINAL, namespace);
    text(&mut key, shop);
    key.extend_from_slice(id.as_bytes());
    key
}

/// First key of a shop's terminals, and the first one behind them.
pub fn terminals(namespace: &str, shop: &str) -> (Vec<u8>, Vec<u8>) {
    let from = terminal(namespace, shop, "");
    let mut to = from.clone();
    // The zero byte behind the shop.
    if let Some(last) = to.last_mut() {
        *last = 1;
    }
    (from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_bytes_is_the_order_of_meaning() {
        let at = Timestamp::from_millis;
        let made = |index| Generation::new(index, 0);
        let sorted = [
            gift_of_sender("a", "kim", made(9)),
            gift_of_sender("a", "kim", made(2)),
            gift_of_sender("a", "kimchi", made(3)),
            gift_of_sender("b", "kim", made(1)),
        ];
        assert!(sorted.is_sorted());
        let sorted = [
            journal("a", at(5), made(1), 1),
            journal("a", at(5), made(1), 2),
            journal("a", at(5), made(2), 0),
            journal_from("a", at(6)),
            journal("a", at(256), made(1), 0),
        ];
        assert!(sorted.is_sorted());
        let (from, to) = namespace_range(GIFT, "a");
        assert!((from..to).contains(&gift("a", "x")));
    }

    #[test]
    fn a_namespace_is_not_part_of_one_that_begins_with_it() {
        let (from, to) = namespace_range(GIFT, "shop");
        assert!(!(from.clone()..to.clone()).contains(&gift("shop-2", "x")));
        assert!(!(from..to).contains(&gift("sho", "px")));
        let (from, to) = terminals("shop", "a");
        assert!((from.clone()..to.clone()).contains(&terminal("shop", "a", "t-1")));
        assert!(!(from.clone()..to.clone()).contains(&terminal("shop", "a.b", "t-1")));
        assert!(!(from..to).contains(&terminal("shop-2", "a", "t-1")));
        // A zero byte in the name of one is no end of it: hashes may hold any bytes.
        assert_ne!(link("a\0b", b"12345678"), link("a", b"b\x0012345678"));
        assert_ne!(link("a\x01b", b"12345678"), link("a\0b", b"12345678"));
    }

    #[test]
    fn days_are_read_back() {
        let key = day("shop", Day(20_000), Account::Held);
        assert_eq!(day_fields(&key), Some((Day(20_000), Account::Held as u8)));
        assert_eq!(day_fields(&[1, 2]), None);
    }
}
