//! Topics and the marks of their lanes.

use prost::Message;

use crate::command::{RetryPolicy, TopicSettings};
use crate::lane::{Class, Generation, LaneId, Position, TopicId};
use crate::planted;
use crate::store::StoreError;
use crate::time::Timestamp;

use super::{FORMAT, Fields, behind_format, corrupt};

/// A topic of this partition.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    /// Its number in this partition.
    pub id: TopicId,
    /// Tenant.
    pub namespace: String,
    /// Name of the handler.
    pub name: String,
    /// Complete: every field set, the retry policy too.
    pub settings: TopicSettings,
    /// Of the settings; 0 as long as they are the defaults.
    pub version: u64,
    /// By class.
    pub lanes: [Lane; 5],
}

/// How far a lane has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lane {
    /// Everything before it has ended and its rows are gone.
    pub floor: Position,
    /// Everything before it is past its retention. Never beyond the floor.
    pub forgotten: Position,
    /// The last position that may fire; `None`: everything due has fired.
    pub released: Option<Position>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TopicRow {
    #[prost(string, tag = "1")]
    namespace: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, optional, tag = "3")]
    settings: Option<TopicSettings>,
    #[prost(uint64, tag = "4")]
    version: u64,
}

/// What holds for a topic that nobody has set up.
pub fn default_settings() -> TopicSettings {
    TopicSettings {
        paused: false,
        lease_ms: 30_000,
        retry: Some(RetryPolicy {
            max_attempts: 5,
            initial_backoff_ms: 1_000,
            max_backoff_ms: 60_000,
            multiplier_percent: 200,
            jitter_percent_plus_one: 21,
        }),
        rate_milli_per_second: 0,
        concurrency_max: 0,
        retention_ms: 7 * 86_400_000,
        rate_per_second_total: 0,
        concurrency_total: 0,
    }
}

impl Topic {
    /// The value, without the lanes, which have rows of their own.
    pub fn encode(&self) -> Vec<u8> {
        let row = TopicRow {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            settings: Some(self.settings.clone()),
            version: self.version,
        };
        let mut value = vec![FORMAT];
        row.encode_raw(&mut value);
        value
    }

    /// From its value; the lanes as they are at the beginning.
    pub fn decode(id: TopicId, value: &[u8]) -> Result<Self, StoreError> {
        let row = TopicRow::decode(behind_format("topic", value)?).map_err(|_| corrupt("topic"))?;
        Ok(Topic {
            id,
            namespace: row.namespace,
            name: row.name,
            settings: row.settings.ok_or_else(|| corrupt("topic"))?,
            version: row.version,
            lanes: [Lane::default(); 5],
        })
    }

    /// Its lane of this class.
    pub fn lane(&self, class: Class) -> LaneId {
        LaneId::new(self.id, class)
    }
}

impl Lane {
    /// Whether a row at this position has fired at this watermark.
    pub fn has_fired(&self, position: Position, watermark: Timestamp) -> bool {
        position.due <= planted::due_by(watermark) && self.released.is_none_or(|released| position <= released)
    }

    /// The last position that can have fired at this watermark.
    pub fn fired_up_to(&self, watermark: Timestamp) -> Position {
        let due = Position::end_of(planted::due_by(watermark));
        self.released.map_or(due, |released| released.min(due))
    }

    /// The value.
    pub fn encode(&self) -> Vec<u8> {
        let mut value = vec![FORMAT];
        for position in [Some(self.floor), Some(self.forgotten), self.released].into_iter().flatten() {
            value.extend_from_slice(&position.due.as_millis().to_be_bytes());
            value.extend_from_slice(&position.generation.number().to_be_bytes());
        }
        value
    }

    /// From its value.
    pub fn decode(value: &[u8]) -> Result<Self, StoreError> {
        let mut fields = Fields::new("lane", value)?;
        let mut position = || -> Result<Position, StoreError> {
            let due = Timestamp::from_millis(fields.u64()?);
            Ok(Position { due, generation: Generation::from_number(fields.u64()?) })
        };
        let (floor, forgotten) = (position()?, position()?);
        let released = if value.len() > 33 { Some(position()?) } else { None };
        Ok(Lane { floor, forgotten, released })
    }
}

/// The value under a topic's name.
pub(crate) fn encode_topic_number(topic: TopicId) -> Vec<u8> {
    let mut value = vec![FORMAT];
    value.extend_from_slice(&topic.0.to_be_bytes());
    value
}

/// The number under a topic's name.
pub(crate) fn decode_topic_number(value: &[u8]) -> Result<TopicId, StoreError> {
    let number = Fields::new("topic name", value)?.u32()?;
    if number >= 1 << 28 {
        return Err(corrupt("topic name"));
    }
    Ok(TopicId(number))
}
