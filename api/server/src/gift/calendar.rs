//! When a gift expires and its recipient is reminded: days of the recipient's zone, resolved before proposing.

use domain::product::Product;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp as Instant};
use scheduler::time::Timestamp;

use crate::error::Error;
use crate::local_time::Zones;

/// The moments of a gift that is sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moments {
    /// The midnight after its last day.
    pub expires_at: u64,
    /// On the days the product says, in order.
    pub remind_at: Vec<u64>,
}

/// The day it is sent is not counted: what is sent on the 14th and valid for 30 days can be used until the end of the 30th day after.
///
/// # Errors
///
/// The zone is not known here, or the moments are beyond the calendar.
pub(crate) fn moments(zones: &Zones, zone: &str, product: &Product, now: Timestamp) -> Result<Moments, Error> {
    let (_, zone) = zones.zone(zone).map_err(|error| Error::invalid("recipient.time_zone", error.to_string()))?;
    let beyond = || Error::Internal("the validity of a gift ends beyond the calendar".to_owned());
    let sent =
        i64::try_from(now.as_millis()).ok().and_then(|ms| Instant::from_millisecond(ms).ok()).ok_or_else(beyond)?;
    let days = |days: u32| Span::new().try_days(i64::from(days)).map_err(|_| beyond());
    let sent = sent.to_zoned(zone.clone()).date();
    let last = sent.checked_add(days(product.valid_days)?).map_err(|_| beyond())?;
    let end = last.checked_add(days(1)?).map_err(|_| beyond())?;
    let expires_at = at_hour(&zone, end, 0).ok_or_else(beyond)?;
    let mut remind_at = Vec::new();
    for &before in &product.remind_days {
        let day = last.checked_sub(days(before)?).map_err(|_| beyond())?;
        remind_at.push(at_hour(&zone, day, product.remind_hour).ok_or_else(beyond)?);
    }
    Ok(Moments { expires_at, remind_at })
}

/// An hour that a clock change skips is the one after the change, as everywhere.
fn at_hour(zone: &TimeZone, date: Date, hour: u32) -> Option<u64> {
    let time = date.at(i8::try_from(hour).ok()?, 0, 0, 0);
    let moment = zone.to_ambiguous_zoned(time).compatible().ok()?;
    u64::try_from(moment.timestamp().as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product() -> Product {
        Product { valid_days: 30, remind_days: vec![3, 1], remind_hour: 10, ..Product::default() }
    }

    fn at(text: &str) -> Timestamp {
        let instant: Instant = text.parse().expect("a moment");
        Timestamp::from_millis(instant.as_millisecond() as u64)
    }

    fn texts(moments: &Moments, zone: &str) -> Vec<String> {
        let zone = TimeZone::get(zone).expect("a zone");
        let all = moments.remind_at.iter().chain([&moments.expires_at]);
        all.map(|ms| {
            Instant::from_millisecond(*ms as i64).expect("a moment").to_zoned(zone.clone()).datetime().to_string()
        })
        .collect()
    }

    #[test]
    fn thirty_days_are_thirty_days_of_the_recipient() {
        let zones = Zones::system();
        // 00:00 on 14 February in Seoul.
        let sent = at("2027-02-13T15:00:00Z");
        let seoul = moments(&zones, "Asia/Seoul", &product(), sent).expect("moments");
        assert_eq!(texts(&seoul, "Asia/Seoul"), ["2027-03-13T10:00:00", "2027-03-15T10:00:00", "2027-03-17T00:00:00"]);
        // The same moment is 13 February in New York, whose clocks are set forward on 14 March.
        let new_york = moments(&zones, "America/New_York", &product(), sent).expect("moments");
        assert_eq!(
            texts(&new_york, "America/New_York"),
            ["2027-03-12T10:00:00", "2027-03-14T10:00:00", "2027-03-16T00:00:00"]
        );
        let apart = new_york.remind_at[1] - new_york.remind_at[0];
        assert_eq!(apart, 47 * 3_600_000, "a day of 23 hours lies between");
    }

    #[test]
    fn a_zone_nobody_knows_is_refused() {
        let error = moments(&Zones::system(), "Mars/Base", &product(), at("2027-01-01T00:00:00Z"));
        assert!(error.expect_err("refused").to_string().contains("recipient.time_zone"));
    }
}
