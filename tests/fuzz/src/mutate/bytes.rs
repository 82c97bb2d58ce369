//! Changes of bytes that know nothing of what they mean.

use super::number;
use crate::Random;

/// The bytes with one change.
pub(super) fn change(random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    let at = random.below(bytes.len() + 1);
    let to = at + random.below(bytes.len() - at + 1).min(random.below(64) + 1);
    match random.below(10) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, random.draw() as u8),
        2 => drop(bytes.drain(at..to)),
        3 => {
            let part = bytes[at..to].to_vec();
            bytes.splice(at..at, part.repeat(1 + random.below(20))).for_each(drop);
        }
        // The longest number of a message, and too long by one.
        4 => bytes.splice(at..at, [0xff; 10]).for_each(drop),
        5 => {
            let from = random.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        6 => {
            let (from, room) = (random.below(other.len() + 1), to - at);
            let part = &other[from..(from + room).min(other.len())];
            bytes[at..at + part.len()].copy_from_slice(part);
        }
        7 | 8 => overwrite(random, &mut bytes, at),
        _ => flip(random, &mut bytes, at),
    }
    bytes
}

fn flip(random: &mut Random, bytes: &mut [u8], at: usize) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
}

/// A number of fixed width, whichever end is first.
fn overwrite(random: &mut Random, bytes: &mut [u8], at: usize) {
    let width = random.pick(&[1, 2, 4, 8]);
    let Some(place) = bytes.get_mut(at..at + width) else { return flip(random, bytes, at) };
    let mut now = [0; 8];
    now[8 - width..].copy_from_slice(place);
    if random.below(2) == 0 {
        let new = number(random, u64::from_be_bytes(now)).to_be_bytes();
        place.copy_from_slice(&new[8 - width..]);
    } else {
        now[8 - width..].reverse();
        let new = number(random, u64::from_be_bytes(now)).to_le_bytes();
        place.copy_from_slice(&new[..width]);
    }
}
