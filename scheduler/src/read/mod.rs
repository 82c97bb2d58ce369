//! Reads of a partition's rows. Each takes one consistent store: a snapshot, or an overlay.
//!
//! Everything is evaluated in replicated time, at the watermark the store has: a trigger past its retention is not
//! there, whether or not anything has been swept or compacted.

mod counts;
mod dispatch;
mod list;
mod view;

use std::ops::ControlFlow;

use sha2::{Digest, Sha256};

use crate::keys;
use crate::lane::{LaneId, TopicId};
use crate::record::{Lane, Meta, Topic, decode_topic_number};
use crate::retention;
use crate::store::{Read, StoreError};
use crate::topics::Topics;

pub use counts::{MinuteCount, TopicCounts, count_dues, dead_letter_count, minute_counts, topic_counts};
pub(crate) use dispatch::all_ended;
pub use dispatch::{DueRow, DueRows, due_positions, due_rows, ended_positions};
pub use list::{Cursor, DeadPage, ListQuery, Page, dead_letters, list};
pub use view::{TriggerView, get};

/// Watermark, applied index and the like.
pub fn status(store: &dyn Read) -> Result<Meta, StoreError> {
    store.get(&keys::meta())?.map_or_else(|| Ok(Meta::first()), |value| Meta::from_value(&value))
}

/// Every topic, in order of first use.
pub fn topics(store: &dyn Read) -> Result<Vec<Topic>, StoreError> {
    Ok(Topics::load(store)?.iter().cloned().collect())
}

/// A topic by number.
pub fn topic(store: &dyn Read, topic: TopicId) -> Result<Option<Topic>, StoreError> {
    let Some(value) = store.get(&keys::topic(topic))? else { return Ok(None) };
    let mut topic = Topic::decode(topic, &value)?;
    for class in crate::lane::Class::ALL {
        topic.lanes[class as usize] = lane(store, topic.lane(class))?;
    }
    Ok(Some(topic))
}

/// A topic by name.
pub fn find_topic(store: &dyn Read, namespace: &str, name: &str) -> Result<Option<Topic>, StoreError> {
    match store.get(&keys::topic_name(namespace, name))? {
        Some(value) => topic(store, decode_topic_number(&value)?),
        None => Ok(None),
    }
}

/// The marks of a lane; as at the beginning when it has none.
pub fn lane(store: &dyn Read, lane: LaneId) -> Result<Lane, StoreError> {
    store.get(&keys::lane(lane))?.map_or_else(|| Ok(Lane::default()), |value| Lane::decode(&value))
}

/// Whether there is any key with `from <= key < to`.
pub(crate) fn any_between(store: &dyn Read, from: &[u8], to: &[u8]) -> Result<bool, StoreError> {
    let mut any = false;
    store.scan(from, to, &mut |_, _| {
        any = true;
        ControlFlow::Break(())
    })?;
    Ok(any)
}

/// Hash of everything a reader can see: equal on all replicas at one index, whatever compactions dropped.
pub fn digest(store: &dyn Read) -> Result<[u8; 32], StoreError> {
    let marks = retention::marks(store)?;
    let mut hasher = Sha256::new();
    store.scan(&[], &[0xff; 8], &mut |key, value| {
        if !marks.drops(key, value) {
            for part in [key, value] {
                hasher.update((part.len() as u64).to_be_bytes());
                hasher.update(part);
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(hasher.finalize().into())
}
