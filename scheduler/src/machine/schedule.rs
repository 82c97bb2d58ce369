//! Schedule.

use crate::command::{Schedule, When};
use crate::keys::IdHash;
use crate::lane::{LaneId, Position};
use crate::planted;
use crate::record::{IdRecord, Stage, Tail, Trigger};
use crate::reply::{Refusal, Reply};
use crate::standing::{first_receipt, scheduled_receipt};
use crate::time::{Delay, Timestamp};

use super::{HORIZON, Step, Stop, check};

/// A moment as the log resolved it.
pub(super) struct Due {
    /// Never before the entry's time.
    pub due: Timestamp,
    /// As asked for, plus one, when that was before; else 0.
    pub requested_plus_one: u64,
}

impl Step<'_, '_> {
    /// Creates a trigger, or answers a repeated request like the first.
    pub(crate) fn schedule(&mut self, command: Schedule, hash: IdHash) -> Result<Reply, Stop> {
        let (class, when) = check::schedule(&command)?;
        if let Some(found) = self.lookup(hash)? {
            if found.record.fingerprint != command.fingerprint {
                return Err(Refusal::AlreadyExists(self.receipt(&found)?).into());
            }
            let receipt = first_receipt(&found.record);
            return Ok(Reply::Scheduled { receipt, replayed: true, local: found.record.tail.local });
        }
        let due = self.resolve(when)?;
        let topic = self.topic_named(&command.namespace, &command.topic)?;
        let lane = LaneId::new(topic, class);
        let position = Position { due: due.due, generation: self.generation() };
        let mut trigger = Trigger {
            shard_key: command.shard_key,
            payload: command.payload,
            labels: command.labels,
            retry: command.retry,
            skip_when_later_ms: command.skip_when_later_ms,
            local: command.local.clone(),
            requested_due_plus_one: due.requested_plus_one,
            created: self.now.as_millis(),
            moved_plus_one: 0,
            progress: None,
        };
        planted::shuffle(&mut trigger.labels);
        let record = IdRecord {
            stage: Stage::Live,
            lane,
            position,
            fingerprint: command.fingerprint,
            created: self.now,
            visible_until: Timestamp::MIN,
            tail: Tail { local: command.local, ..Tail::default() },
        };
        self.insert_row(lane, position, &command.id, &trigger);
        self.put_id(hash, &record);
        self.changed(&command.namespace, &command.id);
        let receipt = scheduled_receipt(position, &trigger);
        Ok(Reply::Scheduled { receipt, replayed: false, local: record.tail.local })
    }

    /// A moment within the horizon. One at or behind the entry's time becomes the entry's time, which is after
    /// everything that has fired: it fires at once and is never skipped.
    pub(super) fn resolve(&self, when: When) -> Result<Due, Refusal> {
        let asked = match when {
            When::At(ms) => planted::asked(Timestamp::from_millis(ms)),
            When::After(ms) => self.now.after(Delay::from_millis(ms)),
        };
        let horizon = self.now.after(HORIZON);
        if asked > horizon {
            return Err(Refusal::BeyondHorizon { due: asked, horizon });
        }
        let behind = asked < self.now;
        Ok(Due { due: asked.max(self.now), requested_plus_one: if behind { asked.as_millis() + 1 } else { 0 } })
    }
}
