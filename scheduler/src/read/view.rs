//! One trigger, as a reader sees it.

use crate::keys::{self, IdHash};
use crate::lane::{Class, Generation, LaneId, Position, TopicId};
use crate::record::{IdRecord, Trigger, corrupt};
use crate::reply::{Outcome, Receipt};
use crate::standing::{self, Facts, Standing};
use crate::store::{Read, StoreError};
use crate::time::Timestamp;

use super::{lane, status, topic};

/// A trigger as a reader sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct TriggerView {
    /// Tenant.
    pub namespace: String,
    /// Unique within it.
    pub id: String,
    /// Name of the handler.
    pub topic: String,
    /// Its number in this partition.
    pub topic_id: TopicId,
    /// Priority it was scheduled with; never retry or dead.
    pub class: Class,
    /// Where it stands. Retrying is FIRED in the public API.
    pub state: Outcome,
    /// Lane it is in; of an ended trigger the one it had first.
    pub lane: LaneId,
    /// Where in that lane; of an ended trigger due time and generation.
    pub position: Position,
    /// Due time of this version.
    pub due: Timestamp,
    /// As asked for, when that was behind the watermark.
    pub requested_due: Option<Timestamp>,
    /// This version.
    pub generation: Generation,
    /// Attempts that failed. Of a completed trigger one less than the attempt that ended it.
    pub attempt: u32,
    /// Replicated time of the first Schedule. Not kept in the history of runs: [`Timestamp::MIN`] in a list then.
    pub created: Timestamp,
    /// When a failed attempt is due to be made again.
    pub retry_at: Option<Timestamp>,
    /// Why the last attempt failed, if one did and it has not ended.
    pub last_error: String,
    /// Payload, labels and the like; `None` once it has ended.
    pub content: Option<Trigger>,
    /// What the log decided last.
    pub receipt: Receipt,
}

impl TriggerView {
    /// What it takes in a message, roughly, in bytes.
    pub fn weight(&self) -> usize {
        let content = self.content.as_ref();
        let labels = |label: &crate::command::Label| label.key.len() + label.value.len();
        let own = content.map_or(0, |own| own.payload.len() + own.labels.iter().map(labels).sum::<usize>());
        own + self.id.len() + self.last_error.len() + 256
    }
}

/// A trigger by id, or `None` when there is none or its retention has passed.
pub fn get(store: &dyn Read, namespace: &str, id: &str) -> Result<Option<TriggerView>, StoreError> {
    let Some(value) = store.get(&keys::id(IdHash::of(namespace, id)))? else { return Ok(None) };
    let record = IdRecord::decode(&value)?;
    let facts = Facts { watermark: status(store)?.watermark(), lane: lane(store, record.lane)? };
    let Some(standing) = standing::standing(store, facts, &record)? else { return Ok(None) };
    let Some(topic) = topic(store, record.lane.topic())? else { return Err(corrupt("topic")) };
    view(store, &topic, id, &record, &standing).map(Some)
}

/// The view of a trigger whose standing is known.
pub(super) fn view(
    store: &dyn Read,
    topic: &crate::record::Topic,
    id: &str,
    record: &IdRecord,
    standing: &Standing,
) -> Result<TriggerView, StoreError> {
    let waits = matches!(standing, Standing::Scheduled | Standing::Fired(_) | Standing::Retrying | Standing::Dead);
    let content = if waits { Some(standing::row(store, record.lane, record.position)?.1) } else { None };
    let receipt = match (standing, &content) {
        (Standing::Scheduled, Some(trigger)) => standing::scheduled_receipt(record.position, trigger),
        (Standing::Retrying, Some(trigger)) => {
            standing::progress_receipt(record.position, standing::progress(trigger)?, Outcome::Retrying)
        }
        (Standing::Dead, Some(trigger)) => {
            standing::progress_receipt(record.position, standing::progress(trigger)?, Outcome::DeadLettered)
        }
        _ => standing::receipt(store, record, standing)?,
    };
    assemble(topic, id, record.lane, record.position, record.created, content, receipt)
}

/// Puts a view together from what was read.
pub(super) fn assemble(
    topic: &crate::record::Topic,
    id: &str,
    lane: LaneId,
    position: Position,
    created: Timestamp,
    content: Option<Trigger>,
    receipt: Receipt,
) -> Result<TriggerView, StoreError> {
    let progress = content.as_ref().and_then(|trigger| trigger.progress.as_ref());
    let class = match progress {
        Some(progress) => Class::first_attempt(progress.class).ok_or_else(|| corrupt("trigger"))?,
        None => lane.class(),
    };
    let attempt = match (progress, receipt.outcome) {
        (Some(progress), _) => progress.attempt,
        (None, Outcome::Completed) => receipt.attempt.saturating_sub(1),
        (None, _) => receipt.attempt,
    };
    let requested = content.as_ref().and_then(|trigger| trigger.requested_due_plus_one.checked_sub(1));
    Ok(TriggerView {
        namespace: topic.namespace.clone(),
        id: id.to_owned(),
        topic: topic.name.clone(),
        topic_id: topic.id,
        class,
        state: receipt.outcome,
        lane,
        position,
        due: receipt.due,
        requested_due: requested.map(Timestamp::from_millis),
        generation: position.generation,
        attempt,
        created,
        retry_at: (receipt.outcome == Outcome::Retrying).then_some(position.due),
        last_error: progress.map(|progress| progress.error.clone()).unwrap_or_default(),
        content,
        receipt,
    })
}
