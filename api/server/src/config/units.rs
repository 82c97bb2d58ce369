//! Durations and sizes as people write them: "500ms", "64MiB".

use std::time::Duration;

const DURATION_UNITS: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZE_UNITS: &[(&str, u64)] = &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// What a duration must look like.
pub const DURATION_SHAPE: &str = "a whole number and one of ms, s, m, h, d, such as \"500ms\"";

/// What a size must look like.
pub const SIZE_SHAPE: &str = "a whole number and one of B, KiB, MiB, GiB, TiB, such as \"64MiB\"";

/// Reads a duration in whole milliseconds; `None` when the text is no such thing or too large.
pub fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, DURATION_UNITS).map(Duration::from_millis)
}

/// Reads a size in bytes; `None` when the text is no such thing or too large.
pub fn parse_size(text: &str) -> Option<u64> {
    parse(text, SIZE_UNITS)
}

/// Writes a duration in the largest unit that divides it.
pub fn format_duration(duration: Duration) -> String {
    format(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), DURATION_UNITS)
}

/// Writes a size in the largest unit that divides it.
pub fn format_size(bytes: u64) -> String {
    format(bytes, SIZE_UNITS)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn format(value: u64, units: &[(&str, u64)]) -> String {
    let (name, factor) =
        units.iter().rev().find(|(_, factor)| value != 0 && value.is_multiple_of(*factor)).unwrap_or(&units[0]);
    format!("{}{name}", value / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_read_and_written_back() {
        for text in ["1ms", "500ms", "90s", "5m", "2h", "7d"] {
            assert_eq!(format_duration(parse_duration(text).expect(text)), text);
        }
        for text in ["1B", "64MiB", "3KiB", "5GiB"] {
            assert_eq!(format_size(parse_size(text).expect(text)), text);
        }
        assert_eq!(parse_duration("60s"), parse_duration("1m"));
    }

    #[test]
    fn a_missing_unit_a_sign_and_an_overflow_are_no_durations() {
        for text in ["", "5", "ms", "-5ms", "1.5s", "5 weeks", "99999999999999999999d", "18446744073709551615d"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
