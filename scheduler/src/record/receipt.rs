//! Receipts at rest.

use crate::command::Token;
use crate::lane::Generation;
use crate::reply::{Fired, Outcome, Receipt};
use crate::store::StoreError;
use crate::time::Timestamp;

use super::corrupt;

/// A [`Receipt`] as a row keeps it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StoredReceipt {
    /// Entry that decided.
    #[prost(uint64, tag = "1")]
    pub log_index: u64,
    /// Version.
    #[prost(uint64, tag = "2")]
    pub generation: u64,
    /// Due time of that version, in milliseconds.
    #[prost(uint64, tag = "3")]
    pub due: u64,
    /// Index of the entry that fired it; 0 when it did not fire.
    #[prost(uint64, tag = "4")]
    pub fired_index: u64,
    /// Time of that entry, in milliseconds.
    #[prost(uint64, tag = "5")]
    pub fired_time: u64,
    /// Number of the [`Outcome`].
    #[prost(uint32, tag = "6")]
    pub outcome: u32,
    /// Time of the entry that decided, in milliseconds.
    #[prost(uint64, tag = "7")]
    pub decided: u64,
    /// Whose report was accepted.
    #[prost(string, tag = "8")]
    pub executor: String,
    /// Counted from 1; 0 when it never fired.
    #[prost(uint32, tag = "9")]
    pub attempt: u32,
    /// Of the delivery that ended it.
    #[prost(message, optional, tag = "10")]
    pub token: Option<Token>,
}

/// Numbers of outcomes, never to be changed.
const OUTCOMES: [Outcome; 6] = [
    Outcome::Scheduled,
    Outcome::Fired,
    Outcome::Completed,
    Outcome::Cancelled,
    Outcome::DeadLettered,
    Outcome::Retrying,
];

impl From<&Receipt> for StoredReceipt {
    fn from(receipt: &Receipt) -> Self {
        let outcome = match receipt.outcome {
            Outcome::Scheduled => 0,
            Outcome::Fired => 1,
            Outcome::Completed => 2,
            Outcome::Cancelled => 3,
            Outcome::DeadLettered => 4,
            Outcome::Retrying => 5,
        };
        StoredReceipt {
            log_index: receipt.log_index,
            generation: receipt.generation.number(),
            due: receipt.due.as_millis(),
            fired_index: receipt.fired.map_or(0, |fired| fired.index),
            fired_time: receipt.fired.map_or(0, |fired| fired.time.as_millis()),
            outcome,
            decided: receipt.decided.as_millis(),
            executor: receipt.executor.clone(),
            attempt: receipt.attempt,
            token: receipt.token,
        }
    }
}

impl StoredReceipt {
    /// The receipt.
    pub fn receipt(&self) -> Result<Receipt, StoreError> {
        let outcome = usize::try_from(self.outcome).ok().and_then(|number| OUTCOMES.get(number));
        Ok(Receipt {
            log_index: self.log_index,
            generation: Generation::from_number(self.generation),
            due: Timestamp::from_millis(self.due),
            fired: (self.fired_index > 0)
                .then_some(Fired { time: Timestamp::from_millis(self.fired_time), index: self.fired_index }),
            outcome: *outcome.ok_or_else(|| corrupt("receipt"))?,
            decided: Timestamp::from_millis(self.decided),
            executor: self.executor.clone(),
            attempt: self.attempt,
            token: self.token,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_keep_their_numbers() {
        for (number, outcome) in OUTCOMES.into_iter().enumerate() {
            let stored = StoredReceipt { outcome: number as u32, ..StoredReceipt::default() };
            let receipt = stored.receipt().unwrap();
            assert_eq!(receipt.outcome, outcome);
            assert_eq!(StoredReceipt::from(&receipt), stored);
        }
    }
}
