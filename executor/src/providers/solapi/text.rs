//! How long a text is for the carriers.

/// Bytes of a short message.
pub(super) const SMS_BYTES_MAX: usize = 90;
/// Bytes of a long message.
pub(super) const LMS_BYTES_MAX: usize = 2_000;
/// Bytes of the subject of a long message.
pub(super) const SUBJECT_BYTES_MAX: usize = 40;

/// Bytes of a text in EUC-KR, by which carriers tell short from long: one per character of ASCII, two per other one.
///
/// What EUC-KR does not have (an emoji, a rare syllable) counts two as well; whether it is taken is the provider's decision
/// (status code 1029).
pub(super) fn euc_kr_length(text: &str) -> usize {
    text.chars().map(width).sum()
}

/// As much of the beginning as fits.
pub(super) fn beginning(text: &str, bytes_max: usize) -> &str {
    let mut bytes = 0;
    for (at, c) in text.char_indices() {
        bytes += width(c);
        if bytes > bytes_max {
            return &text[..at];
        }
    }
    text
}

fn width(c: char) -> usize {
    if c.is_ascii() { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_euc_kr() {
        // printf … | iconv -t EUC-KR | wc -c
        for (text, bytes) in [("", 0), ("abc\n", 4), ("선물", 4), ("선물 2개", 8), ("※→", 4)] {
            assert_eq!(euc_kr_length(text), bytes, "{text}");
        }
    }

    #[test]
    fn no_character_is_cut_in_half() {
        assert_eq!(beginning("선물이", 5), "선물");
        assert_eq!(beginning("선물이", 6), "선물이");
        assert_eq!(beginning("a선물", 2), "a");
        assert_eq!(beginning("선", 1), "");
    }
}
