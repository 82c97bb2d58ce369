//! Changes of messages in the encoding of Protocol Buffers, which leave the messages around the change whole.

use std::ops::Range;

use super::{bytes, number};
use crate::Random;

/// How deep a change goes down.
const DEPTH_MAX: usize = 8;

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// A field, by where it stands.
#[derive(Clone, Debug)]
struct Field {
    tag: u64,
    /// All of it.
    whole: Range<usize>,
    /// What it holds.
    value: Range<usize>,
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The fields, if the bytes are nothing but fields.
fn fields(bytes: &[u8]) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let tag = varint(bytes, &mut at)?;
        let from = at;
        let value = match tag & 7 {
            VARINT => {
                varint(bytes, &mut at)?;
                from..at
            }
            FIXED64 => from..from + 8,
            FIXED32 => from..from + 4,
            BYTES => {
                let length = usize::try_from(varint(bytes, &mut at)?).ok()?;
                at..at.checked_add(length)?
            }
            _ => return None,
        };
        at = value.end;
        if tag >> 3 == 0 || at > bytes.len() {
            return None;
        }
        fields.push(Field { tag, whole: start..at, value });
    }
    Some(fields)
}

/// Whether the bytes are nothing but fields.
pub fn is_message(bytes: &[u8]) -> bool {
    fields(bytes).is_some()
}

fn put(out: &mut Vec<u8>, tag: u64, value: &[u8]) {
    put_varint(out, tag);
    if tag & 7 == BYTES {
        put_varint(out, value.len() as u64);
    }
    out.extend_from_slice(value);
}

/// A message that holds itself, so often.
pub(super) fn nested(field: u64, depth: usize) -> Vec<u8> {
    let mut message = Vec::new();
    for _ in 0..depth {
        let mut outer = Vec::with_capacity(message.len() + 4);
        put(&mut outer, field << 3 | BYTES, &message);
        message = outer;
    }
    message
}

/// The message with one field changed, somewhere in it; `None` when it is none.
pub(super) fn change(random: &mut Random, input: &[u8], other: &[u8], depth: usize) -> Option<Vec<u8>> {
    let fields = fields(input)?;
    if fields.is_empty() {
        // Nothing to change: something of the other.
        return Some(part(random, other));
    }
    let field = fields[random.below(fields.len())].clone();
    let value = &input[field.value.clone()];
    let mut new = Vec::new();
    match random.below(12) {
        // Further down, as far as there are messages.
        0..5 if depth < DEPTH_MAX && field.tag & 7 == BYTES && !value.is_empty() => {
            let inner = change(random, value, other, depth + 1).unwrap_or_else(|| bytes::change(random, value, other));
            put(&mut new, field.tag, &inner);
        }
        0..7 => put(&mut new, field.tag, &other_value(random, &field, value, other)),
        // Left out.
        7 => {}
        8 => {
            let whole = &input[field.whole.clone()];
            new = whole.repeat(2 + random.below(40));
        }
        9 => {
            // Another number, or another type.
            let tag =
                if random.below(3) == 0 { field.tag ^ 1 } else { number(random, field.tag >> 3) << 3 | field.tag & 7 };
            put(&mut new, tag, value);
        }
        10 => {
            new = input[field.whole.clone()].to_vec();
            new.extend(part(random, other));
        }
        _ if field.tag & 7 == BYTES && random.below(2) == 0 => {
            // A message in itself.
            new = input[field.whole.clone()].to_vec();
            for _ in 0..1 + random.below(120) {
                let mut outer = Vec::new();
                put(&mut outer, field.tag, &new);
                new = outer;
            }
        }
        _ => {
            // A length that is not that of what follows.
            put_varint(&mut new, field.tag);
            put_varint(&mut new, number(random, value.len() as u64));
            new.extend_from_slice(value);
        }
    }
    Some([&input[..field.whole.start], &new, &input[field.whole.end..]].concat())
}

fn other_value(random: &mut Random, field: &Field, value: &[u8], other: &[u8]) -> Vec<u8> {
    match field.tag & 7 {
        VARINT => {
            let now = varint(value, &mut 0).unwrap_or_default();
            let mut new = Vec::new();
            put_varint(&mut new, number(random, now));
            new
        }
        BYTES => match random.below(4) {
            0 => Vec::new(),
            1 => part(random, other),
            _ => bytes::change(random, value, other),
        },
        _ => number(random, 0).to_le_bytes()[..value.len()].to_vec(),
    }
}

/// A field of a message, from anywhere in it; the whole when it is none.
fn part(random: &mut Random, message: &[u8]) -> Vec<u8> {
    let Some(fields) = fields(message).filter(|fields| !fields.is_empty()) else { return message.to_vec() };
    let field = &fields[random.below(fields.len())];
    let value = &message[field.value.clone()];
    if field.tag & 7 == BYTES && !value.is_empty() && random.below(2) == 0 && is_message(value) {
        return part(random, value);
    }
    message[field.whole.clone()].to_vec()
}
