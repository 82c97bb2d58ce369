//! Requeue and drop: what a human decides about a dead letter.

use bytes::Bytes;

use crate::command::{Drop, Requeue};
use crate::lane::{Class, LaneId};
use crate::record::{Progress, Trigger, corrupt};
use crate::reply::{Outcome, Receipt, Refusal, Reply};
use crate::standing::{self, Standing};

use super::cancel::expect;
use super::idempotency::Asked;
use super::schedule::Due;
use super::step::Found;
use super::{Step, Stop};

/// A dead letter and what its row says.
struct DeadLetter {
    found: Found,
    id: String,
    trigger: Trigger,
    progress: Progress,
    /// Lane it had first.
    lane: LaneId,
}

impl Step<'_, '_> {
    /// Back to delivery as a new version that is due now, attempts counted afresh.
    pub(super) fn requeue(&mut self, command: Requeue) -> Result<Reply, Stop> {
        let letter = match self.dead_letter(
            &command.namespace,
            &command.id,
            command.expected_generation,
            &command.request,
            Asked::Requeue,
        )? {
            Ok(letter) => letter,
            Err(answered) => return Ok(Reply::Moved(answered)),
        };
        let DeadLetter { found, id, mut trigger, lane, .. } = letter;
        trigger.local = None;
        self.remove_row(found.record.lane, found.record.position);
        let due = Due { due: self.now, requested_plus_one: 0 };
        let receipt =
            self.new_version(found.hash, &id, found.record, trigger, lane, due, &command.request, Asked::Requeue)?;
        self.changed(&command.namespace, &id);
        Ok(Reply::Moved(receipt))
    }

    /// Gives a dead letter up. It stays what it was, dead-lettered: a trigger that fired is never told to have been
    /// cancelled. It leaves the list of dead letters and is kept for its retention.
    pub(super) fn drop_dead(&mut self, command: Drop) -> Result<Reply, Stop> {
        let letter = match self.dead_letter(
            &command.namespace,
            &command.id,
            command.expected_generation,
            &command.request,
            Asked::Drop,
        )? {
            Ok(letter) => letter,
            Err(answered) => return Ok(Reply::Ended(answered)),
        };
        let DeadLetter { found, id, progress, lane, .. } = letter;
        let mut record = found.record;
        let died = standing::progress_receipt(record.position, &progress, Outcome::DeadLettered);
        let receipt = Receipt { log_index: self.index, decided: self.now, ..died };
        self.remember(&mut record.tail, &command.request, Asked::Drop, &receipt)?;
        self.remove_row(record.lane, record.position);
        self.end(found.hash, &id, record, lane, &receipt)?;
        self.changed(&command.namespace, &id);
        Ok(Reply::Ended(receipt))
    }

    fn dead_letter(
        &self,
        namespace: &str,
        id: &str,
        expected_generation: u64,
        request: &Bytes,
        asked: Asked,
    ) -> Result<Result<DeadLetter, Receipt>, Stop> {
        self.check_request(request)?;
        let found = self.find(namespace, id)?;
        if let Some(answered) = self.recall(&found.record, request, asked)? {
            return Ok(Err(answered));
        }
        expect(&found.record, expected_generation)?;
        if !matches!(found.standing, Standing::Dead) {
            return Err(Refusal::NotDeadLettered(self.receipt(&found)?).into());
        }
        let (id, trigger) = self.row(&found.record)?;
        let progress = standing::progress(&trigger)?.clone();
        let class = Class::first_attempt(progress.class).ok_or_else(|| corrupt("trigger"))?;
        let lane = LaneId::new(found.record.lane.topic(), class);
        Ok(Ok(DeadLetter { found, id, trigger, progress, lane }))
    }
}
