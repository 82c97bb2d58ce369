//! Changes an input so that it stays much of what it was: bytes, fields of messages however deep, numbers and words of text.

mod bytes;
mod message;
mod text;

pub use message::is_message;

use crate::Random;

/// Longest input that is made.
const BYTES_MAX: usize = 64 << 10;

/// Numbers at which something ends.
const NUMBERS: [u64; 24] = [
    0,
    1,
    2,
    3,
    7,
    8,
    127,
    128,
    255,
    256,
    4_095,
    4_096,
    65_535,
    65_536,
    (1 << 28) - 1,
    1 << 28,
    i32::MAX as u64,
    u32::MAX as u64,
    1 << 32,
    (1 << 52) - 1,
    1 << 52,
    i64::MAX as u64,
    u64::MAX - 1,
    u64::MAX,
];

/// An input made of two, by one to four changes.
pub fn mutate(random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut made = input.to_vec();
    for _ in 0..=random.below(4) {
        // A change that does not fit what is there leaves it to the bytes.
        let changed = match random.below(8) {
            0..4 => message::change(random, &made, other, 0),
            4..6 => text::change(random, &made, other),
            _ => None,
        };
        made = changed.unwrap_or_else(|| bytes::change(random, &made, other));
        made.truncate(BYTES_MAX);
    }
    made
}

/// A number near `now`, or one at which something ends.
fn number(random: &mut Random, now: u64) -> u64 {
    match random.below(4) {
        0 => now.wrapping_add(1 + random.below(3) as u64),
        1 => now.wrapping_sub(1 + random.below(3) as u64),
        2 => random.draw() >> random.below(64),
        _ => random.pick(&NUMBERS),
    }
}

/// Inputs that are nothing but nested: whoever follows them by calling itself runs out of stack.
pub fn nested() -> Vec<Vec<u8>> {
    let mut made: Vec<Vec<u8>> = [1, 2, 3, 10].map(|field| message::nested(field, 2_000)).into();
    // Groups need no length, so that each level takes one byte.
    made.push(vec![0x0b; 50_000]);
    for open in ["[", "{\"a\":", "a={a=", "(", "[[a]]\n"] {
        made.push(open.repeat(20_000).into_bytes());
    }
    made
}
