//! Where the money is. Every movement is between two accounts, so what was captured is at every moment what is held, in
//! transit, delivered and refunded together; a report says how much is where, as of a time, per day and in all.

mod report;

pub use report::{DayReport, Report, report};

use scheduler::domain::DomainError;
use scheduler::time::Timestamp;

use crate::context::Context;
use crate::keys;

/// Milliseconds that days of the ledger begin before UTC's: Korea's midnight. Korea has kept this offset since 1988.
const OFFSET_MS: u64 = 9 * 3_600_000;
const DAY_MS: u64 = 86_400_000;

/// Where money can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Account {
    /// Never stored.
    Unspecified = 0,
    /// At the payer. What left it was captured, less what came back.
    Payer = 1,
    /// Captured, and the gift is not sent yet.
    Held = 2,
    /// The gift is being sent, or the money is on its way back.
    InTransit = 3,
    /// The recipient has the gift.
    Delivered = 4,
    /// Back at the payer.
    Refunded = 5,
}

impl Account {
    /// All of them.
    pub const ALL: [Account; 5] =
        [Account::Payer, Account::Held, Account::InTransit, Account::Delivered, Account::Refunded];
}

/// A day of the ledger, counted from 1970-01-01, in Korea's time (UTC+9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub u32);

impl Day {
    /// The day a moment is on.
    pub fn of(time: Timestamp) -> Day {
        // Timestamps end in the year 10000, which is within 32 bits of days.
        Day(u32::try_from(time.as_millis().saturating_add(OFFSET_MS) / DAY_MS).unwrap_or(u32::MAX))
    }

    /// Its first moment; the first day began before there were timestamps.
    pub fn start(self) -> Timestamp {
        Timestamp::from_millis((u64::from(self.0) * DAY_MS).saturating_sub(OFFSET_MS))
    }
}

/// A movement of money, as stored.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Movement {
    /// Which payment.
    #[prost(string, tag = "1")]
    pub payment: String,
    /// Where it was.
    #[prost(enumeration = "Account", tag = "2")]
    pub from: i32,
    /// Where it is now.
    #[prost(enumeration = "Account", tag = "3")]
    pub to: i32,
    /// How much, in won.
    #[prost(uint64, tag = "4")]
    pub won: u64,
}

/// Moves money. The amount of a payment is at most [`crate::payment::WON_MAX`], so that sums stay far from their bounds.
pub(crate) fn post(
    cx: &mut Context<'_, '_, '_, '_>,
    payment: &str,
    from: Account,
    to: Account,
    won: u64,
) -> Result<(), DomainError> {
    let (now, day) = (cx.now(), Day::of(cx.now()));
    let key = keys::journal(cx.namespace(), now, cx.generation(), cx.movements);
    cx.movements += 1;
    cx.put(&key, &Movement { payment: payment.to_owned(), from: from.into(), to: to.into(), won })?;
    let won = i64::try_from(won).map_err(|_| DomainError::Halt("an amount beyond every bound".to_owned()))?;
    cx.add(&keys::day(cx.namespace(), day, from), -won)?;
    cx.add(&keys::day(cx.namespace(), day, to), won)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_at_midnight_in_korea() {
        // 2027-02-13T15:00:00Z is 2027-02-14T00:00:00+09:00.
        let midnight = Timestamp::from_millis(1_802_530_800_000);
        assert_eq!(Day::of(midnight).start(), midnight);
        assert_eq!(Day::of(Timestamp::from_millis(midnight.as_millis() - 1)).0 + 1, Day::of(midnight).0);
        assert_eq!(Day(0).start(), Timestamp::MIN);
    }
}
