//! The row of a trigger: what executors get, and how its attempts went.

use bytes::Bytes;
use prost::Message;

use crate::command::{Label, LocalTime, RetryPolicy, Token};
use crate::store::StoreError;

use super::{FORMAT, Fields, corrupt};

/// Everything about a trigger but its id, topic, class and position, which its row has beside it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Trigger {
    /// The id when empty.
    #[prost(string, tag = "1")]
    pub shard_key: String,
    /// Opaque.
    #[prost(bytes = "bytes", tag = "2")]
    pub payload: Bytes,
    /// Sorted by key.
    #[prost(message, repeated, tag = "3")]
    pub labels: Vec<Label>,
    /// As the topic says when absent.
    #[prost(message, optional, tag = "4")]
    pub retry: Option<RetryPolicy>,
    /// Dead-letter instead of a first delivery later than this after due; 0: deliver however late.
    #[prost(uint64, tag = "5")]
    pub skip_when_later_ms: u64,
    /// How the due time of this version was resolved, when it was a local time.
    #[prost(message, optional, tag = "6")]
    pub local: Option<LocalTime>,
    /// The due time asked for, in milliseconds, plus one, when it was behind the watermark; else 0.
    #[prost(uint64, tag = "7")]
    pub requested_due_plus_one: u64,
    /// Replicated time of the first Schedule, in milliseconds.
    #[prost(uint64, tag = "8")]
    pub created: u64,
    /// Replicated time of the command that made this version, in milliseconds, plus one; 0 when that is the first Schedule.
    #[prost(uint64, tag = "9")]
    pub moved_plus_one: u64,
    /// In the retry and dead lanes: what the position no longer says.
    #[prost(message, optional, tag = "10")]
    pub progress: Option<Progress>,
}

/// How the attempts of a version went so far.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Progress {
    /// Number of the class it had first.
    #[prost(uint32, tag = "1")]
    pub class: u32,
    /// Due time of the version, in milliseconds.
    #[prost(uint64, tag = "2")]
    pub due: u64,
    /// Time of the entry that fired it, in milliseconds.
    #[prost(uint64, tag = "3")]
    pub fired_time: u64,
    /// Index of that entry.
    #[prost(uint64, tag = "4")]
    pub fired_index: u64,
    /// Attempts that failed.
    #[prost(uint32, tag = "5")]
    pub attempt: u32,
    /// Why the last one did.
    #[prost(string, tag = "6")]
    pub error: String,
    /// Who made it.
    #[prost(string, tag = "7")]
    pub executor: String,
    /// Token of its delivery.
    #[prost(message, optional, tag = "8")]
    pub token: Option<Token>,
    /// Time of the entry that said so, in milliseconds.
    #[prost(uint64, tag = "9")]
    pub decided: u64,
    /// Index of that entry.
    #[prost(uint64, tag = "10")]
    pub log_index: u64,
}

/// The value of a trigger's row: format, id with its length, then the rest.
///
/// # Panics
///
/// If the id has more than 255 bytes; commands are checked before.
pub(crate) fn encode_trigger(id: &str, trigger: &Trigger) -> Vec<u8> {
    let length = u8::try_from(id.len()).unwrap_or_else(|_| panic!("id of {} bytes", id.len()));
    let mut value = Vec::with_capacity(2 + id.len() + trigger.encoded_len());
    value.extend_from_slice(&[FORMAT, length]);
    value.extend_from_slice(id.as_bytes());
    trigger.encode_raw(&mut value);
    value
}

/// The value of a history row, which is a trigger's row with nothing but the id.
pub(crate) fn encode_history(id: &str) -> Vec<u8> {
    encode_trigger(id, &Trigger::default())
}

/// The id alone.
pub(crate) fn trigger_id(value: &[u8]) -> Result<&str, StoreError> {
    let mut fields = Fields::new("trigger", value)?;
    let length = fields.u8()?.into();
    std::str::from_utf8(fields.bytes(length)?).map_err(|_| corrupt("trigger"))
}

/// Id and trigger.
pub(crate) fn decode_trigger(value: &Bytes) -> Result<(String, Trigger), StoreError> {
    let id = trigger_id(value)?;
    // Sliced rather than borrowed, so that the payload shares the row's memory.
    let trigger = Trigger::decode(value.slice(2 + id.len()..)).map_err(|_| corrupt("trigger"))?;
    Ok((id.to_owned(), trigger))
}
