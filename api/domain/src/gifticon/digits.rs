//! Codes of 19 digits and a check digit: 51 bits that are drawn and 12 that are the masked slot. Fewer than a code with letters
//! has, so shops that take them are known by name and locked out when they guess.

use super::check_digit::damm;
use super::{Code, CodeError, SLOTS, mask};
use crate::product::CodeForm;

/// Characters of a code.
pub(super) const LENGTH: usize = 20;
/// Bits that are drawn. With the slot 63, and 2^63 has 19 digits.
const DRAWN_BITS: u32 = 51;

pub(super) fn write(slot: u16, dice: u64) -> String {
    let drawn = dice & ((1 << DRAWN_BITS) - 1);
    let masked = (slot % SLOTS) ^ mask(drawn);
    let number = drawn << 12 | u64::from(masked);
    let digits = format!("{number:019}");
    let check = damm(digits.bytes().map(|byte| byte - b'0'));
    format!("{digits}{check}")
}

pub(super) fn read(text: &[u8]) -> Result<Code, CodeError> {
    if !text.iter().all(u8::is_ascii_digit) {
        return Err(CodeError::Shape);
    }
    // The check of a number with its check digit is 0.
    if damm(text.iter().map(|byte| byte - b'0')) != 0 {
        return Err(CodeError::Check);
    }
    let number = text[..LENGTH - 1].iter().fold(0_u64, |number, byte| number * 10 + u64::from(byte - b'0'));
    if number >> 63 != 0 {
        // Nineteen digits that no code begins with.
        return Err(CodeError::Check);
    }
    let (drawn, masked) = (number >> 12, (number & 0xfff) as u16);
    let slot = masked ^ mask(drawn);
    Ok(Code { text: write(slot, drawn), slot, form: CodeForm::Digits })
}
