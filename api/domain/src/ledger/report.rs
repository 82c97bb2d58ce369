//! How much money is where, as of a time.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use scheduler::overlay::decode_counter;
use scheduler::store::{Read, StoreError};
use scheduler::time::Timestamp;

use super::{Account, Day, Movement};
use crate::{keys, stored};

/// Where the money is, in won.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Captured, ever.
    pub captured: i64,
    /// Of that: the gift is not sent yet.
    pub held: i64,
    /// Of that: the gift is being sent, or the money is on its way back.
    pub in_transit: i64,
    /// Of that: the recipient has the gift.
    pub delivered: i64,
    /// Of that: back at the payer.
    pub refunded: i64,
    /// What each day changed, in order; days without a movement are left out.
    pub days: Vec<DayReport>,
}

/// What a day changed, in won.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayReport {
    /// Which day.
    pub day: Day,
    /// Captured on it.
    pub captured: i64,
    /// What is held changed by this.
    pub held: i64,
    /// What is in transit changed by this.
    pub in_transit: i64,
    /// What is delivered changed by this.
    pub delivered: i64,
    /// Refunded on it.
    pub refunded: i64,
}

impl DayReport {
    fn account(&mut self, account: Account) -> Option<&mut i64> {
        match account {
            Account::Payer => Some(&mut self.captured),
            Account::Held => Some(&mut self.held),
            Account::InTransit => Some(&mut self.in_transit),
            Account::Delivered => Some(&mut self.delivered),
            Account::Refunded => Some(&mut self.refunded),
            Account::Unspecified => None,
        }
    }

    fn add(&mut self, account: Account, won: i64) {
        // What the payer lost was captured.
        let won = if account == Account::Payer { -won } else { won };
        if let Some(sum) = self.account(account) {
            *sum = sum.saturating_add(won);
        }
    }
}

impl Report {
    /// What is missing: zero, unless money was made or lost.
    pub fn difference(&self) -> i64 {
        self.captured - self.held - self.in_transit - self.delivered - self.refunded
    }

    /// Adds another partition's.
    pub fn merge(&mut self, other: Report) {
        let mut days: BTreeMap<Day, DayReport> = self.days.drain(..).map(|day| (day.day, day)).collect();
        for one in other.days {
            let day = days.entry(one.day).or_insert(DayReport { day: one.day, ..DayReport::default() });
            day.captured += one.captured;
            day.held += one.held;
            day.in_transit += one.in_transit;
            day.delivered += one.delivered;
            day.refunded += one.refunded;
        }
        *self = Report::of(days.into_values().collect());
    }

    fn of(days: Vec<DayReport>) -> Report {
        let sum = |of: fn(&DayReport) -> i64| days.iter().map(of).sum();
        Report {
            captured: sum(|day| day.captured),
            held: sum(|day| day.held),
            in_transit: sum(|day| day.in_transit),
            delivered: sum(|day| day.delivered),
            refunded: sum(|day| day.refunded),
            days,
        }
    }
}

/// Where a namespace's money was in this partition when everything up to a time had happened. `as_of` must not be after the
/// partition's watermark.
///
/// Whole days are read from their sums, the last one from its movements.
///
/// # Errors
///
/// The rows cannot be read.
pub fn report(rows: &dyn Read, namespace: &str, as_of: Timestamp) -> Result<Report, StoreError> {
    let last = Day::of(as_of);
    let mut days: BTreeMap<Day, DayReport> = BTreeMap::new();
    let mut broken = false;
    let first = keys::day_from(namespace, Day(0));
    rows.scan(&first, &keys::day_from(namespace, last), &mut |key, value| {
        match keys::day_fields(key).and_then(|(day, account)| Some((day, Account::try_from(i32::from(account)).ok()?)))
        {
            Some((day, account)) => {
                let entry = days.entry(day).or_insert(DayReport { day, ..DayReport::default() });
                entry.add(account, decode_counter(value));
            }
            None => broken = true,
        }
        ControlFlow::Continue(())
    })?;
    let mut today = DayReport { day: last, ..DayReport::default() };
    let mut any = false;
    let to = keys::journal_from(namespace, as_of.after(scheduler::time::Delay::from_millis(1)));
    rows.scan(&keys::journal_from(namespace, last.start()), &to, &mut |_, value| {
        match stored::decode::<Movement>("journal", value) {
            // More than a payment can be is damage.
            Ok(movement) if movement.won > crate::payment::WON_MAX => broken = true,
            Ok(movement) => {
                let won = movement.won as i64;
                today.add(movement.from(), -won);
                today.add(movement.to(), won);
                any = true;
            }
            Err(_) => broken = true,
        }
        ControlFlow::Continue(())
    })?;
    if broken {
        return Err(StoreError("a row of the ledger cannot be read".to_owned()));
    }
    if any {
        days.insert(last, today);
    }
    Ok(Report::of(days.into_values().collect()))
}
