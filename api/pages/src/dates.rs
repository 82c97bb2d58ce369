//! Moments as people of a language write them.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::Language;

/// A moment in one zone, for a `<time>` element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    /// `2027년 2월 14일 (일) 09:00` or `Sunday, 14 February 2027, 09:00`.
    pub text: String,
    /// `한국 시간` or `Europe/Berlin, UTC+1`.
    pub zone: String,
    /// The same for machines, RFC 3339.
    pub datetime: String,
}

/// Korean time, in which shops here count.
const KOREA: &str = "Asia/Seoul";

/// A moment as a deadline: what ends at 00:00 ends at 24:00 of the day before, which nobody takes for a day more.
/// In the recipient's own zone first, then in Korean time if that is another zone.
pub(crate) fn deadline(moment: Timestamp, zone: &TimeZone, language: Language) -> Vec<Reading> {
    readings(moment, zone, language, true)
}

/// When something happened, in the same zones.
pub(crate) fn happened(moment: Timestamp, zone: &TimeZone, language: Language) -> Vec<Reading> {
    readings(moment, zone, language, false)
}

/// Midnights between now and the last moment before a deadline as it is shown, to the minute: 0 means that it ends today.
pub(crate) fn days_left(now: Timestamp, expires_at: Timestamp, zone: &TimeZone) -> i32 {
    let minute = expires_at.as_second().div_euclid(60) * 60;
    let last = Timestamp::from_second(minute - 1).unwrap_or(expires_at);
    let (today, last) = (now.to_zoned(zone.clone()).date(), last.to_zoned(zone.clone()).date());
    // Two dates within the years that there are differ by days that fit.
    today.until(last).map_or(0, |span| span.get_days())
}

fn readings(moment: Timestamp, zone: &TimeZone, language: Language, deadline: bool) -> Vec<Reading> {
    // The zone data is built in, so that this name is always there.
    let korea = TimeZone::get(KOREA).unwrap_or_else(|_| TimeZone::fixed(jiff::tz::offset(9)));
    // Two names for one clock (ROK, Asia/Seoul) are one clock.
    let mut zones = vec![zone.clone(), korea.clone()];
    if is_korea(zone) {
        zones.remove(0);
    }
    zones
        .into_iter()
        .map(|zone| {
            let name = if is_korea(&zone) { None } else { zone.iana_name().map(str::to_owned) };
            let zoned = moment.to_zoned(zone);
            Reading {
                text: if deadline { until(&zoned, language) } else { point(&zoned, language) },
                zone: label(&zoned, name.as_deref(), language),
                datetime: zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
            }
        })
        .collect()
}

fn is_korea(zone: &TimeZone) -> bool {
    matches!(zone.iana_name(), Some(KOREA | "ROK"))
}

fn point(zoned: &Zoned, language: Language) -> String {
    format!("{} {:02}:{:02}", day(zoned, language), zoned.hour(), zoned.minute())
}

fn until(zoned: &Zoned, language: Language) -> String {
    if zoned.hour() == 0
        && zoned.minute() == 0
        && let Ok(before) = zoned.yesterday()
    {
        return format!("{} 24:00", day(&before, language));
    }
    point(zoned, language)
}

fn day(zoned: &Zoned, language: Language) -> String {
    match language {
        Language::Korean => {
            format!("{}년 {}월 {}일 ({})", zoned.year(), zoned.month(), zoned.day(), korean_weekday(zoned.weekday()))
        }
        Language::English => zoned.strftime("%A, %-d %B %Y,").to_string(),
    }
}

fn korean_weekday(weekday: Weekday) -> char {
    match weekday {
        Weekday::Monday => '월',
        Weekday::Tuesday => '화',
        Weekday::Wednesday => '수',
        Weekday::Thursday => '목',
        Weekday::Friday => '금',
        Weekday::Saturday => '토',
        Weekday::Sunday => '일',
    }
}

/// A zone by its name and distance from UTC; `None` is Korea, which needs no distance.
fn label(zoned: &Zoned, name: Option<&str>, language: Language) -> String {
    let Some(name) = name else {
        return match language {
            Language::Korean => "한국 시간".to_owned(),
            Language::English => "Korean time".to_owned(),
        };
    };
    let seconds = zoned.offset().seconds();
    let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
    let offset = match (minutes / 60, minutes % 60) {
        (hours, 0) => format!("UTC{sign}{hours}"),
        (hours, minutes) => format!("UTC{sign}{hours}:{minutes:02}"),
    };
    format!("{}, {offset}", name.replace('_', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(moment: &str, zone: &str, language: Language, deadline: bool) -> Vec<String> {
        let zone = TimeZone::get(zone).unwrap();
        let readings = readings(moment.parse().unwrap(), &zone, language, deadline);
        readings.into_iter().map(|reading| format!("{} · {}", reading.text, reading.zone)).collect()
    }

    #[test]
    fn a_moment_reads_as_people_of_the_language_write_it() {
        let moment = "2027-02-14T05:30:59Z";
        assert_eq!(texts(moment, "Asia/Seoul", Language::Korean, false), ["2027년 2월 14일 (일) 14:30 · 한국 시간"]);
        assert_eq!(texts(moment, "ROK", Language::Korean, false), ["2027년 2월 14일 (일) 14:30 · 한국 시간"]);
        assert_eq!(
            texts(moment, "America/New_York", Language::English, false),
            [
                "Sunday, 14 February 2027, 00:30 · America/New York, UTC-5",
                "Sunday, 14 February 2027, 14:30 · Korean time"
            ]
        );
        assert_eq!(
            texts(moment, "Asia/Kathmandu", Language::Korean, false),
            ["2027년 2월 14일 (일) 11:15 · Asia/Kathmandu, UTC+5:45", "2027년 2월 14일 (일) 14:30 · 한국 시간"]
        );
    }

    #[test]
    fn a_deadline_at_midnight_is_the_end_of_the_day_before() {
        let moment = "2027-03-15T15:00:00Z";
        assert_eq!(texts(moment, "Asia/Seoul", Language::Korean, true), ["2027년 3월 15일 (월) 24:00 · 한국 시간"]);
        // Only where it is midnight.
        assert_eq!(
            texts(moment, "Europe/Berlin", Language::English, true),
            ["Monday, 15 March 2027, 16:00 · Europe/Berlin, UTC+1", "Monday, 15 March 2027, 24:00 · Korean time"]
        );
        assert_eq!(texts(moment, "Asia/Seoul", Language::Korean, false), ["2027년 3월 16일 (화) 00:00 · 한국 시간"]);
        // A gift that arrived a moment after midnight lapses a moment after midnight.
        assert_eq!(
            texts("2027-03-15T15:00:02.5Z", "Asia/Seoul", Language::Korean, true),
            ["2027년 3월 15일 (월) 24:00 · 한국 시간"]
        );
        assert_eq!(
            texts("2027-03-15T15:01:00Z", "Asia/Seoul", Language::Korean, true),
            ["2027년 3월 16일 (화) 00:01 · 한국 시간"]
        );
        // A new year, and a day that summer time makes an hour shorter.
        assert_eq!(
            texts("2026-12-31T15:00:00Z", "Asia/Seoul", Language::English, true),
            ["Thursday, 31 December 2026, 24:00 · Korean time"]
        );
        assert_eq!(
            texts("2027-03-28T22:00:00Z", "Europe/Berlin", Language::Korean, true)[0],
            "2027년 3월 28일 (일) 24:00 · Europe/Berlin, UTC+2"
        );
    }

    #[test]
    fn days_left_are_counted_in_midnights_of_the_zone() {
        let seoul = TimeZone::get("Asia/Seoul").unwrap();
        let left = |now: &str, end: &str| days_left(now.parse().unwrap(), end.parse().unwrap(), &seoul);
        // Ends with 15 March: that whole day is the last one.
        assert_eq!(left("2027-03-14T15:00:00Z", "2027-03-15T15:00:00Z"), 0);
        assert_eq!(left("2027-03-14T14:59:59Z", "2027-03-15T15:00:00Z"), 1);
        assert_eq!(left("2027-03-14T15:00:02Z", "2027-03-15T15:00:02.5Z"), 0);
        assert_eq!(left("2027-03-14T15:00:02Z", "2027-03-15T15:01:00Z"), 1);
        assert_eq!(left("2027-02-13T15:00:00Z", "2027-03-15T15:00:00Z"), 29);
        assert_eq!(left("2027-03-14T15:00:00Z", "2028-03-14T15:00:00Z"), 365);
        // Over already: whoever shows it decides what that means.
        assert_eq!(left("2027-03-16T15:00:00Z", "2027-03-15T15:00:00Z"), -2);
    }

    #[test]
    fn machines_read_the_moment_with_its_offset() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let readings = deadline("2027-03-15T15:00:00Z".parse().unwrap(), &zone, Language::Korean);
        let read: Vec<_> = readings.iter().map(|reading| reading.datetime.as_str()).collect();
        assert_eq!(read, ["2027-03-15T16:00:00+01:00", "2027-03-16T00:00:00+09:00"]);
    }
}
