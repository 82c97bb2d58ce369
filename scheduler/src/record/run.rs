//! Runs: the plain successes that one entry reported of what one entry had made.

use prost::Message;

use crate::command::Token;
use crate::lane::Generation;
use crate::reply::Fired;
use crate::store::StoreError;
use crate::time::Timestamp;

use super::{FORMAT, Fields, corrupt};

/// Successes at one (lane, due, scheduling index), reported by one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// When they stop being visible.
    pub visible_until: Timestamp,
    /// Time of the entry that reported them.
    pub decided: Timestamp,
    /// One for each entry that fired some of them: more than one only in a rate-limited lane.
    pub groups: Vec<RunGroup>,
}

/// Successes that one entry fired.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RunGroup {
    /// Time of the entry that fired them, in milliseconds.
    #[prost(uint64, tag = "1")]
    pub fired_time: u64,
    /// Index of that entry.
    #[prost(uint64, tag = "2")]
    pub fired_index: u64,
    /// Places in the entry that scheduled them, ascending within a command.
    #[prost(uint32, repeated, tag = "3")]
    pub places: Vec<u32>,
    /// Their ids.
    #[prost(string, repeated, tag = "4")]
    pub ids: Vec<String>,
    /// Who did the next `executor_counts` of them.
    #[prost(string, repeated, tag = "5")]
    pub executors: Vec<String>,
    /// See above.
    #[prost(uint32, repeated, tag = "6")]
    pub executor_counts: Vec<u32>,
    /// Of the tokens.
    #[prost(uint64, tag = "7")]
    pub epoch: u64,
    /// Of the tokens.
    #[prost(uint64, tag = "8")]
    pub term: u64,
    /// Counters of the tokens: each from the one before, from 0 at first.
    #[prost(sint64, repeated, tag = "9")]
    pub counter_deltas: Vec<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Groups {
    #[prost(message, repeated, tag = "1")]
    groups: Vec<RunGroup>,
}

impl Run {
    /// The value: format, visible until, time, groups.
    pub fn encode(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(64);
        value.push(FORMAT);
        value.extend_from_slice(&self.visible_until.as_millis().to_be_bytes());
        value.extend_from_slice(&self.decided.as_millis().to_be_bytes());
        for group in &self.groups {
            prost::encoding::message::encode(1, group, &mut value);
        }
        value
    }

    /// From its value.
    pub fn decode(value: &[u8]) -> Result<Self, StoreError> {
        let mut fields = Fields::new("run", value)?;
        let visible_until = Timestamp::from_millis(fields.u64()?);
        let decided = Timestamp::from_millis(fields.u64()?);
        let groups = Groups::decode(fields.rest).map_err(|_| corrupt("run"))?.groups;
        let whole = |group: &RunGroup| {
            let items = group.places.len();
            items == group.ids.len()
                && items == group.counter_deltas.len()
                && group.executors.len() == group.executor_counts.len()
        };
        if !groups.iter().all(whole) {
            return Err(corrupt("run"));
        }
        Ok(Run { visible_until, decided, groups })
    }

    /// Every place in it.
    pub fn places(&self) -> impl Iterator<Item = u32> + '_ {
        self.groups.iter().flat_map(|group| group.places.iter().copied())
    }

    /// Group and number within it of the item at this place.
    pub fn find(&self, place: u16) -> Option<(&RunGroup, usize)> {
        self.groups.iter().find_map(|group| {
            let item = group.places.iter().position(|&item| item == u32::from(place))?;
            Some((group, item))
        })
    }
}

impl RunGroup {
    /// The entry that fired them.
    pub fn fired(&self) -> Fired {
        Fired { time: Timestamp::from_millis(self.fired_time), index: self.fired_index }
    }

    /// Who did the item with this number; empty when the row does not say.
    pub fn executor(&self, item: usize) -> &str {
        let mut before = 0;
        for (executor, &count) in self.executors.iter().zip(&self.executor_counts) {
            before += u64::from(count);
            if (item as u64) < before {
                return executor;
            }
        }
        ""
    }

    /// Token of the delivery of the item with this number.
    pub fn token(&self, item: usize) -> Token {
        let deltas = self.counter_deltas.iter().take(item + 1);
        let counter = deltas.fold(0u64, |counter, &delta| counter.wrapping_add_signed(delta));
        Token { epoch: self.epoch, term: self.term, counter }
    }

    /// Adds an item.
    pub fn push(&mut self, generation: Generation, id: &str, executor: &str, counter: u64, counter_before: u64) {
        self.places.push(generation.place().into());
        self.ids.push(id.to_owned());
        match (self.executors.last(), self.executor_counts.last_mut()) {
            (Some(last), Some(count)) if last == executor => *count += 1,
            _ => {
                self.executors.push(executor.to_owned());
                self.executor_counts.push(1);
            }
        }
        self.counter_deltas.push(counter.wrapping_sub(counter_before) as i64);
    }
}

/// When a run stops being visible, without decoding it.
pub(crate) fn run_visible_until(value: &[u8]) -> Result<Timestamp, StoreError> {
    Ok(Timestamp::from_millis(Fields::new("run", value)?.u64()?))
}
