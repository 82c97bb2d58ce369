//! When a trigger is due, as people say it.

use std::time::Duration;

use clap::Args;
use jiff::civil;
use prost_types::Timestamp;
use proto::v1::{LocalTime, LocalTimePolicy, When, when};

use crate::duration;
use crate::failure::Failure;

/// `--at` or `--in`.
#[derive(Args, Debug, Default)]
pub struct WhenOptions {
    /// Due at: "2027-02-14T00:00 Asia/Seoul", or RFC 3339 as in 2027-02-13T15:00:00Z.
    #[arg(long, value_name = "TIME", group = "when")]
    pub at: Option<String>,
    /// Due after, as in 5m, 1h30m or 250ms.
    #[arg(long = "in", value_name = "LENGTH", value_parser = duration::parse, group = "when")]
    pub after: Option<Duration>,
    /// What a local time means that a clock change skipped or doubled.
    #[arg(long, value_enum, value_name = "POLICY", requires = "at")]
    pub local_policy: Option<Policy>,
}

/// What a skipped or doubled local time means.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Policy {
    /// A skipped time moves later, a doubled one means the earlier.
    Compatible,
    /// The earlier.
    Earlier,
    /// The later.
    Later,
    /// Refuse it.
    Reject,
}

impl WhenOptions {
    /// As the protocol says it; `None` when neither was given.
    pub fn when(&self) -> Result<Option<When>, Failure> {
        let when = match (&self.at, self.after) {
            (Some(text), _) => at(text)?,
            (None, Some(after)) => when::When::After(duration::proto(after)),
            (None, None) => return Ok(None),
        };
        Ok(Some(When { when: Some(self.with_policy(when)?) }))
    }

    /// For commands that cannot do without.
    pub fn required(&self) -> Result<When, Failure> {
        let missing =
            || Failure::usage("--at", "say when it is due", "--in 5m or --at \"2027-02-14T00:00 Asia/Seoul\"");
        self.when()?.ok_or_else(missing)
    }

    fn with_policy(&self, when: when::When) -> Result<when::When, Failure> {
        let Some(policy) = self.local_policy else {
            return Ok(when);
        };
        match when {
            when::When::Local(local) => {
                let policy = match policy {
                    Policy::Compatible => LocalTimePolicy::Compatible,
                    Policy::Earlier => LocalTimePolicy::Earlier,
                    Policy::Later => LocalTimePolicy::Later,
                    Policy::Reject => LocalTimePolicy::Reject,
                };
                Ok(when::When::Local(LocalTime { policy: policy.into(), ..local }))
            }
            _ => Err(Failure::usage("--local-policy", "is for local times", "--at \"2027-02-14T00:00 Asia/Seoul\"")),
        }
    }
}

/// Reads a moment or a local time. Whether a zone exists is the server's to say.
pub fn at(text: &str) -> Result<when::When, Failure> {
    let when = moment_or_local("--at", text)?;
    if let when::When::Local(local) = &when
        && local.time_zone.is_empty()
    {
        let date_time = &local.date_time;
        let hint = format!("--at \"{date_time} Asia/Seoul\" or --at {date_time}Z for UTC");
        return Err(Failure::usage("--at", format!("{:?} names no time zone", text.trim()), hint));
    }
    Ok(when)
}

/// Reads what `argument` was given: a moment, or a local time whose zone may be left out.
pub fn moment_or_local(argument: &str, text: &str) -> Result<when::When, Failure> {
    let text = text.trim();
    if let Some(moment) = moment(argument, text)? {
        return Ok(when::When::At(moment));
    }
    let refuse =
        |message: String| Failure::usage(argument, message, "\"2027-02-14T00:00 Asia/Seoul\" or 2027-02-13T15:00:00Z");
    // "2027-02-14T00:00[Asia/Seoul]" is RFC 9557 without an offset.
    let bracketed = text.strip_suffix(']').and_then(|text| text.split_once('['));
    let (date_time, zone) = match bracketed {
        Some(parts) => parts,
        None => match text.rsplit_once(char::is_whitespace) {
            // The last word is a zone, unless it is the time of a date.
            Some((date_time, zone)) if zone.starts_with(|c: char| c.is_ascii_alphabetic()) => (date_time, zone),
            _ => (text, ""),
        },
    };
    let date_time = civil_text(date_time.trim())
        .ok_or_else(|| refuse(format!("{text:?} is neither a moment nor a local time with its zone")))?;
    Ok(when::When::Local(LocalTime { date_time, time_zone: zone.to_owned(), ..LocalTime::default() }))
}

/// A moment with an offset; `None` when it is something else. What is wrong is said of `argument`.
pub fn moment(argument: &str, text: &str) -> Result<Option<Timestamp>, Failure> {
    let Ok(moment) = text.parse::<jiff::Timestamp>() else {
        return Ok(None);
    };
    let nanos = moment.as_nanosecond();
    if nanos % 1_000_000 != 0 {
        let hint = format!("{moment:.3}");
        return Err(Failure::usage(argument, format!("{text:?} is finer than a millisecond"), hint));
    }
    let seconds = i64::try_from(nanos.div_euclid(1_000_000_000));
    let rest = i32::try_from(nanos.rem_euclid(1_000_000_000));
    match (seconds, rest) {
        (Ok(seconds), Ok(nanos)) => Ok(Some(Timestamp { seconds, nanos })),
        _ => Ok(None),
    }
}

/// A local date and time in the protocol's form. A date alone means its first minute.
fn civil_text(text: &str) -> Option<String> {
    if text.len() == 10
        && let Ok(date) = text.parse::<civil::Date>()
    {
        return Some(format!("{date}T00:00"));
    }
    let text = text.replacen(' ', "T", 1);
    text.parse::<civil::DateTime>().ok().map(|_| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(text: &str) -> (String, String) {
        match at(text) {
            Ok(when::When::Local(local)) => (local.date_time, local.time_zone),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn local_times_keep_their_words() {
        let seoul = ("2027-02-14T00:00".to_owned(), "Asia/Seoul".to_owned());
        for text in [
            "2027-02-14T00:00 Asia/Seoul",
            "2027-02-14 00:00 Asia/Seoul",
            "2027-02-14T00:00[Asia/Seoul]",
            "2027-02-14 Asia/Seoul",
        ] {
            assert_eq!(local(text), seoul, "{text}");
        }
        assert_eq!(local("2027-02-14T00:00:00.250 UTC").0, "2027-02-14T00:00:00.250");
    }

    #[test]
    fn moments_are_moments() {
        for text in ["2027-02-13T15:00:00Z", "2027-02-14T00:00:00+09:00", "2027-02-14T00:00+09:00"] {
            let Ok(when::When::At(moment)) = at(text) else { panic!("{text}") };
            assert_eq!((moment.seconds, moment.nanos), (1_802_530_800, 0), "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = at("2027-02-14T00:00").expect_err("no zone").to_json();
        assert!(error["message"].as_str().is_some_and(|text| text.contains("names no time zone")));
        assert!(error["try"].as_str().is_some_and(|text| text.contains("2027-02-14T00:00 Asia/Seoul")));
        for text in ["", "tomorrow", "2027-13-01 Asia/Seoul", "2027-02-30T00:00 UTC", "2027-02-13T15:00:00.0001Z"] {
            assert!(at(text).is_err(), "{text}");
        }
    }
}
