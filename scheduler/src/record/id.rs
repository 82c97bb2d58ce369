//! The row of an id: where its trigger is, and what it was answered.

use bytes::Bytes;
use prost::Message;

use crate::command::LocalTime;
use crate::lane::{Class, Generation, LaneId, Position};
use crate::store::StoreError;
use crate::time::Timestamp;

use super::{FORMAT, Fields, StoredReceipt, corrupt};

/// What the row of an id says about its trigger. The public state of a live one depends on the watermark too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// In one of the lanes of first attempts, waiting, fired, or completed in a run.
    Live = 0,
    /// In the retry lane.
    Retry = 1,
    /// In the dead lane.
    Dead = 2,
    /// Ended on its own: cancelled, dropped, or completed by a report about itself.
    Ended = 3,
}

/// The row of an id.
#[derive(Clone, Debug, PartialEq)]
pub struct IdRecord {
    /// Which kind of place `lane` and `position` are.
    pub stage: Stage,
    /// Lane of the row; of an ended trigger the lane it had first.
    pub lane: LaneId,
    /// Position of the row; of an ended trigger due time and generation.
    pub position: Position,
    /// Hash of the request that scheduled it, as it was sent.
    pub fingerprint: u64,
    /// Replicated time of the first Schedule.
    pub created: Timestamp,
    /// When an ended trigger stops being visible; [`Timestamp::MIN`] for others.
    pub visible_until: Timestamp,
    /// What most ids do not have.
    pub tail: Tail,
}

/// The part of an id's row that is empty for most.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Tail {
    /// The first version, when the trigger has another now.
    #[prost(message, optional, tag = "1")]
    pub origin: Option<Origin>,
    /// How the due time of the first version was resolved, when it was a local time.
    #[prost(message, optional, tag = "2")]
    pub local: Option<LocalTime>,
    /// How it ended, when it ended on its own.
    #[prost(message, optional, tag = "3")]
    pub ended: Option<StoredReceipt>,
    /// The last few requests that changed it, the newest last.
    #[prost(message, repeated, tag = "4")]
    pub requests: Vec<Remembered>,
    /// The newest time, by their own word, of requests that had to be forgotten to remember these, plus one.
    #[prost(uint64, tag = "5")]
    pub forgotten_before_ms: u64,
}

/// The first version of a trigger.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Origin {
    /// Its number.
    #[prost(uint64, tag = "1")]
    pub generation: u64,
    /// When that was due, in milliseconds.
    #[prost(uint64, tag = "2")]
    pub due: u64,
}

/// A request and its answer.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Remembered {
    /// The request id.
    #[prost(bytes = "bytes", tag = "1")]
    pub request: Bytes,
    /// Which command, by its number in [`Kind`](crate::command::Kind).
    #[prost(uint32, tag = "2")]
    pub kind: u32,
    /// The answer.
    #[prost(message, optional, tag = "3")]
    pub receipt: Option<StoredReceipt>,
}

impl IdRecord {
    /// The value.
    pub fn encode(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(46 + self.tail.encoded_len());
        value.extend_from_slice(&[FORMAT, self.stage as u8]);
        value.extend_from_slice(&self.lane.number().to_be_bytes());
        value.extend_from_slice(&self.position.due.as_millis().to_be_bytes());
        value.extend_from_slice(&self.position.generation.number().to_be_bytes());
        value.extend_from_slice(&self.fingerprint.to_be_bytes());
        value.extend_from_slice(&self.created.as_millis().to_be_bytes());
        value.extend_from_slice(&self.visible_until.as_millis().to_be_bytes());
        self.tail.encode_raw(&mut value);
        value
    }

    /// From its value.
    pub fn decode(value: &[u8]) -> Result<Self, StoreError> {
        let mut fields = Fields::new("id", value)?;
        let (stage, lane, position) = Self::place(&mut fields)?;
        Ok(IdRecord {
            stage,
            lane,
            position,
            fingerprint: fields.u64()?,
            created: Timestamp::from_millis(fields.u64()?),
            visible_until: Timestamp::from_millis(fields.u64()?),
            tail: Tail::decode(fields.rest).map_err(|_| corrupt("id"))?,
        })
    }

    /// Only where the trigger is, for filters that pass every row.
    pub fn decode_place(value: &[u8]) -> Result<(Stage, LaneId, Position), StoreError> {
        Self::place(&mut Fields::new("id", value)?)
    }

    fn place(fields: &mut Fields<'_>) -> Result<(Stage, LaneId, Position), StoreError> {
        let stage = match fields.u8()? {
            0 => Stage::Live,
            1 => Stage::Retry,
            2 => Stage::Dead,
            3 => Stage::Ended,
            _ => return Err(corrupt("id")),
        };
        let lane = LaneId::from_number(fields.u32()?).ok_or_else(|| corrupt("id"))?;
        let expected = match stage {
            Stage::Live | Stage::Ended => lane.class().is_first_attempt(),
            Stage::Retry => lane.class() == Class::Retry,
            Stage::Dead => lane.class() == Class::Dead,
        };
        if !expected {
            return Err(corrupt("id"));
        }
        let due = Timestamp::from_millis(fields.u64()?);
        Ok((stage, lane, Position { due, generation: Generation::from_number(fields.u64()?) }))
    }
}
