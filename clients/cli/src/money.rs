//! Money as people read it.

/// `4,500 won`; what was taken away is negative.
pub fn won(amount: i64) -> String {
    format!("{} won", grouped(amount))
}

/// The same of an amount that cannot be negative.
pub fn price(amount: u64) -> String {
    won(i64::try_from(amount).unwrap_or(i64::MAX))
}

/// `4,500`, for columns that say what it is.
pub fn grouped(amount: i64) -> String {
    let digits = amount.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if amount < 0 {
        text.push('-');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        for (amount, text) in [(0, "0 won"), (999, "999 won"), (4_500, "4,500 won"), (-1_234_567, "-1,234,567 won")] {
            assert_eq!(won(amount), text);
        }
        assert_eq!(grouped(i64::MIN), "-9,223,372,036,854,775,808");
        assert_eq!(price(u64::MAX), "9,223,372,036,854,775,807 won");
    }
}
