//! Gifticon codes: what a recipient shows and a shop types or scans.

mod base32;
mod check_digit;
mod digits;

use crate::product::CodeForm;

/// Slots of the cluster: a code carries the one its gift is in.
pub const SLOTS: u16 = 4_096;

/// What is drawn for a code, before anything is proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dice(pub u64);

/// A code, as people are shown it, without spaces.
///
/// The slot of the gift is in the code, masked by the rest of it, so that codes of different partitions never meet and a shop's
/// question goes to one partition only. The last character checks the others.
pub fn code(form: CodeForm, slot: u16, dice: Dice) -> String {
    match form {
        CodeForm::Base32 => base32::write(slot, dice.0),
        CodeForm::Digits => digits::write(slot, dice.0),
    }
}

/// A code as it is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// In its one spelling.
    pub text: String,
    /// The slot of its gift.
    pub slot: u16,
    /// How it looks.
    pub form: CodeForm,
}

/// Why a text is no code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Not 16 letters and digits, nor 20 digits.
    #[error("expected 16 letters and digits, or 20 digits, with or without spaces and hyphens")]
    Shape,
    /// The last character does not fit the others.
    #[error("expected another last character: a character is wrong, or two are swapped")]
    Check,
}

/// Reads a code as somebody typed it: in small or capital letters, with spaces and hyphens, `O` for 0, `I` and `L` for 1.
///
/// # Errors
///
/// It is no code: it was mistyped.
pub fn parse(text: &str) -> Result<Code, CodeError> {
    let plain: Vec<u8> =
        text.bytes().filter(|byte| !matches!(byte, b' ' | b'-')).map(|byte| byte.to_ascii_uppercase()).collect();
    match plain.len() {
        base32::LENGTH => base32::read(&plain),
        digits::LENGTH => digits::read(&plain),
        _ => Err(CodeError::Shape),
    }
}

/// A code in groups of four, as it is shown.
pub fn grouped(code: &str) -> String {
    let groups: Vec<String> =
        code.as_bytes().chunks(4).map(|group| String::from_utf8_lossy(group).into_owned()).collect();
    groups.join(" ")
}

/// The mask of a slot: 12 bits that depend on everything else in the code.
fn mask(rest: u64) -> u16 {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(rest.to_be_bytes());
    u16::from_be_bytes([digest[0], digest[1]]) & (SLOTS - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn forms() -> impl Strategy<Value = CodeForm> {
        prop_oneof![Just(CodeForm::Base32), Just(CodeForm::Digits)]
    }

    proptest! {
        #[test]
        fn codes_are_read_back(form in forms(), slot in 0..SLOTS, dice: u64) {
            let text = code(form, slot, Dice(dice));
            prop_assert_eq!(parse(&text), Ok(Code { text: text.clone(), slot, form }));
            let typed = grouped(&text).to_lowercase();
            prop_assert_eq!(parse(&typed).map(|code| code.text), Ok(text));
        }

        #[test]
        fn a_wrong_character_is_noticed(form in forms(), slot in 0..SLOTS, dice: u64, at in 0_usize..20, other in 0_usize..31) {
            let text = code(form, slot, Dice(dice));
            let at = at % (text.len() - 1);
            let alphabet: &[u8] = if form == CodeForm::Digits { b"0123456789" } else { base32::ALPHABET };
            let mut wrong = text.clone().into_bytes();
            let found = alphabet.iter().position(|byte| *byte == wrong[at]).expect("of the alphabet");
            wrong[at] = alphabet[(found + 1 + other % (alphabet.len() - 1)) % alphabet.len()];
            prop_assert_eq!(parse(std::str::from_utf8(&wrong).expect("ASCII")), Err(CodeError::Check));
        }

        #[test]
        fn swapped_neighbours_are_noticed(form in forms(), slot in 0..SLOTS, dice: u64, at in 0_usize..19) {
            let mut text = code(form, slot, Dice(dice)).into_bytes();
            let at = at % (text.len() - 2);
            prop_assume!(text[at] != text[at + 1]);
            text.swap(at, at + 1);
            prop_assert_eq!(parse(std::str::from_utf8(&text).expect("ASCII")), Err(CodeError::Check));
        }

        #[test]
        fn anything_typed_is_a_code_or_an_error(text in "\\PC{0,40}") {
            let _ = parse(&text);
        }
    }

    #[test]
    fn letters_that_look_like_digits_are_taken_for_them() {
        let text = (0..200)
            .map(|dice| code(CodeForm::Base32, 7, Dice(dice * 77_777_777_777)))
            .find(|text| text.contains('0') && text.contains('1'));
        let text = text.expect("one of them");
        let typed = text.replace('0', "o").replacen('1', "l", 1).replace('1', "I");
        assert_eq!(parse(&typed).map(|code| code.text), Ok(text));
    }

    #[test]
    fn the_slot_does_not_show() {
        // Codes of one slot differ in the part that holds it.
        let low = |dice| code(CodeForm::Base32, 99, Dice(dice))[12..15].to_owned();
        let distinct: std::collections::BTreeSet<String> = (0..64).map(low).collect();
        assert!(distinct.len() > 50, "{distinct:?}");
    }

    #[test]
    fn shapes_that_are_none() {
        for text in ["", "1234", "12345678901234567", "가나다라마바사아자차카타파하거너"] {
            assert_eq!(parse(text), Err(CodeError::Shape), "{text}");
        }
    }
}
