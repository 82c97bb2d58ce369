//! Lengths of time as people write them: `250ms`, `90s`, `1h30m`, `30d`.

use std::time::Duration;

/// Reads one. A number needs a unit: w, d, h, m, s or ms.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no length of time; try: 250ms, 90s, 1h30m or 30d");
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit_ms = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return Err(wrong()),
        };
        let ms = number.checked_mul(unit_ms).ok_or_else(wrong)?;
        total = total.checked_add(Duration::from_millis(ms)).ok_or_else(wrong)?;
        rest = rest[letters..].trim_start();
    }
    Ok(total)
}

/// The two largest units: `3d 4h`, `1m 5s`, `250ms`.
pub fn show(duration: Duration) -> String {
    let ms = duration.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let Some(first) = units.iter().position(|(_, size)| ms >= *size) else {
        return format!("{ms}ms");
    };
    let (name, size) = units[first];
    let (whole, rest) = (ms / size, ms % size);
    let second = units.get(first + 1).copied().unwrap_or(("ms", 1));
    match rest / second.1 {
        0 => format!("{whole}{name}"),
        more => format!("{whole}{name} {more}{}", second.0),
    }
}

/// For a message of the protocol. Every length that can be parsed fits.
pub fn proto(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

/// From a message of the protocol; negative ones, which no server sends, are nothing.
pub fn of_proto(duration: Option<prost_types::Duration>) -> Option<Duration> {
    duration.and_then(|duration| duration.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        for (text, ms) in
            [("250ms", 250), ("90s", 90_000), ("1h30m", 5_400_000), ("30d", 2_592_000_000), ("1d 2h", 93_600_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "5 minutes", "-5m", "m", "1.5h", "99999999999999999999d", "18446744073709551615w"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_two_largest_units_are_shown() {
        for (ms, text) in
            [(0, "0ms"), (250, "250ms"), (65_000, "1m 5s"), (60_000, "1m"), (1_500, "1s 500ms"), (273_600_000, "3d 4h")]
        {
            assert_eq!(show(Duration::from_millis(ms)), text);
        }
    }
}
