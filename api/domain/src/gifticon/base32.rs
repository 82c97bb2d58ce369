//! Codes of 15 characters of Crockford's base32 and a check character: 63 bits that are drawn and 12 that are the masked slot.
//!
//! <https://www.crockford.com/base32.html>, whose check symbol is the number modulo 37.

use super::{Code, CodeError, SLOTS, mask};
use crate::product::CodeForm;

/// Characters of a code.
pub(super) const LENGTH: usize = 16;
/// Those of a digit.
pub(super) const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Those of the check symbol: five more.
const CHECKS: &[u8; 37] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ*~$=U";
/// Bits that are drawn.
const DRAWN_BITS: u32 = 63;

pub(super) fn write(slot: u16, dice: u64) -> String {
    let drawn = dice & ((1 << DRAWN_BITS) - 1);
    let masked = (slot % SLOTS) ^ mask(drawn);
    let number = u128::from(drawn) << 12 | u128::from(masked);
    let digit = |place: usize| ALPHABET[(number >> (5 * place) & 31) as usize] as char;
    let mut text: String = (0..LENGTH - 1).rev().map(digit).collect();
    text.push(CHECKS[(number % 37) as usize] as char);
    text
}

pub(super) fn read(text: &[u8]) -> Result<Code, CodeError> {
    let (&check, digits) = text.split_last().ok_or(CodeError::Shape)?;
    let mut number: u128 = 0;
    for &byte in digits {
        number = number << 5 | digit(byte, ALPHABET)? as u128;
    }
    if number % 37 != digit(check, CHECKS)? as u128 {
        return Err(CodeError::Check);
    }
    let (drawn, masked) = ((number >> 12) as u64, (number & 0xfff) as u16);
    let slot = masked ^ mask(drawn);
    Ok(Code { text: write(slot, drawn), slot, form: CodeForm::Base32 })
}

fn digit(byte: u8, alphabet: &[u8]) -> Result<usize, CodeError> {
    let byte = match byte {
        b'O' => b'0',
        b'I' | b'L' => b'1',
        byte => byte,
    };
    alphabet.iter().position(|known| *known == byte).ok_or(CodeError::Shape)
}
