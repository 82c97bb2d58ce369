//! The record about the partition, and the small tables of what fired when.

use prost::Message;

use crate::lane::{Generation, Position};
use crate::reply::Fired;
use crate::store::StoreError;
use crate::time::Timestamp;

use super::{FORMAT, Fields, behind_format, corrupt};

/// Facts about the partition as a whole.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Meta {
    /// Time of the newest entry applied, in milliseconds.
    #[prost(uint64, tag = "1")]
    pub watermark_ms: u64,
    /// Its index.
    #[prost(uint64, tag = "2")]
    pub applied: u64,
    /// The highest level of any entry applied.
    #[prost(uint32, tag = "3")]
    pub feature_level: u32,
    /// Of the cluster: another after a restore from a backup. Counted from 1.
    #[prost(uint64, tag = "4")]
    pub epoch: u64,
    /// The round of forgetting under way, if one is.
    #[prost(message, optional, tag = "5")]
    pub sweep: Option<Sweep>,
}

/// Where a round of forgetting has come to. It spans entries, so its state is replicated.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Sweep {
    /// Number of the lane to go on with.
    #[prost(uint32, tag = "1")]
    pub lane: u32,
    /// Nothing that waits for its firing facts is due before, in milliseconds.
    #[prost(uint64, tag = "2")]
    pub oldest_due_ms: u64,
}

impl Meta {
    /// Of a partition that has applied nothing.
    pub fn first() -> Self {
        Meta { watermark_ms: 0, applied: 0, feature_level: 0, epoch: 1, sweep: None }
    }

    /// Time of the newest entry applied.
    pub fn watermark(&self) -> Timestamp {
        Timestamp::from_millis(self.watermark_ms)
    }

    /// The value.
    pub fn to_value(&self) -> Vec<u8> {
        let mut value = vec![FORMAT];
        self.encode_raw(&mut value);
        value
    }

    /// From its value.
    pub fn from_value(value: &[u8]) -> Result<Self, StoreError> {
        Message::decode(behind_format("meta", value)?).map_err(|_| corrupt("meta"))
    }
}

/// The value under a moment the watermark was moved to.
pub(crate) fn encode_fired(index: u64) -> Vec<u8> {
    let mut value = vec![FORMAT];
    value.extend_from_slice(&index.to_be_bytes());
    value
}

/// The entry that moved the watermark there.
pub(crate) fn decode_fired(value: &[u8]) -> Result<u64, StoreError> {
    Fields::new("fired", value)?.u64()
}

/// The value of a release: what fired it, and the position before the first one fired by it.
pub(crate) fn encode_release(lower: Position, fired: Fired) -> Vec<u8> {
    let mut value = vec![FORMAT];
    for field in [lower.due.as_millis(), lower.generation.number(), fired.time.as_millis(), fired.index] {
        value.extend_from_slice(&field.to_be_bytes());
    }
    value
}

/// The position before the first one released, and what fired them.
pub(crate) fn decode_release(value: &[u8]) -> Result<(Position, Fired), StoreError> {
    let mut fields = Fields::new("release", value)?;
    let due = Timestamp::from_millis(fields.u64()?);
    let lower = Position { due, generation: Generation::from_number(fields.u64()?) };
    Ok((lower, Fired { time: Timestamp::from_millis(fields.u64()?), index: fields.u64()? }))
}
