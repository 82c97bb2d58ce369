//! The time the message providers put on what they take: that of this machine, or ahead of it where a cluster on a virtual clock is.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// Of all message providers of one [`Fakes`](crate::Fakes). Clones are the same clock, at most 292 years ahead of the machine's.
///
/// Signatures and tokens go by the machine's own time, as those of their callers do.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<AtomicI64>);

impl Clock {
    /// The present moment.
    pub fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        now.checked_add(SignedDuration::from_nanos(self.0.load(Ordering::Relaxed))).unwrap_or(now)
    }

    /// From now on it goes on from this moment.
    pub fn set(&self, to: Timestamp) {
        // To the nanosecond: by a coarser step it would stand before the moment at first, and what is stamped then be early.
        let ahead = to.duration_since(Timestamp::now()).as_nanos();
        self.0.store(i64::try_from(ahead).unwrap_or(i64::MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_from_where_it_was_set() {
        let (clock, there) = (Clock::default(), "2027-02-14T00:00:00+09:00".parse().expect("a moment"));
        let other = clock.clone();
        clock.set(there);
        assert!(other.now() >= there);
        assert!(other.now().duration_since(there) < SignedDuration::from_mins(10));
    }
}
