//! Moments as people read them.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;

use crate::duration;

/// RFC 3339 in UTC, with milliseconds only where there are any.
pub fn show(moment: Option<Timestamp>) -> String {
    let Some(moment) = moment.and_then(|moment| SystemTime::try_from(moment).ok()) else {
        return String::new();
    };
    let Ok(moment) = jiff::Timestamp::try_from(moment) else {
        return String::new();
    };
    if moment.subsec_nanosecond() == 0 { moment.to_string() } else { format!("{moment:.3}") }
}

/// How far from now, by this machine's clock: `in 3d 4h`, `5s ago`.
pub fn relative(moment: Option<Timestamp>) -> String {
    let Some(moment) = moment.and_then(|moment| SystemTime::try_from(moment).ok()) else {
        return String::new();
    };
    let now = SystemTime::now();
    match moment.duration_since(now) {
        Ok(ahead) => format!("in {}", duration::show(whole(ahead))),
        Err(behind) => format!("{} ago", duration::show(whole(behind.duration()))),
    }
}

/// Milliseconds matter only when there is nothing but them.
fn whole(duration: Duration) -> Duration {
    if duration < Duration::from_secs(1) { duration } else { Duration::from_secs(duration.as_secs()) }
}

/// Both: for the detail of one thing.
pub fn both(moment: Option<Timestamp>) -> String {
    match moment {
        Some(_) => format!("{} ({})", show(moment), relative(moment)),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_rfc_3339() {
        let moment = Timestamp { seconds: 1_802_530_800, nanos: 0 };
        assert_eq!(show(Some(moment)), "2027-02-13T15:00:00Z");
        let moment = Timestamp { seconds: 1_802_530_800, nanos: 7_000_000 };
        assert_eq!(show(Some(moment)), "2027-02-13T15:00:00.007Z");
        assert_eq!(show(None), "");
        assert!(relative(Some(Timestamp { seconds: 0, nanos: 0 })).ends_with(" ago"));
    }
}
