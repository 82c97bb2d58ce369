//! Reschedule and run-now: another version of a trigger that has not fired.

use bytes::Bytes;

use crate::command::{LocalTime, Reschedule, RunNow, When};
use crate::keys::IdHash;
use crate::lane::{LaneId, Position};
use crate::record::{IdRecord, Stage, Trigger};
use crate::reply::{Receipt, Reply};
use crate::standing::scheduled_receipt;

use super::idempotency::Asked;
use super::schedule::Due;
use super::step::keep_origin;
use super::{Step, Stop, check};

impl Step<'_, '_> {
    /// Moves a trigger that has not fired.
    pub(crate) fn reschedule(&mut self, command: Reschedule) -> Result<Reply, Stop> {
        let when = check::when(command.when)?;
        check::local(command.local.as_ref())?;
        self.move_unfired(
            &command.namespace,
            &command.id,
            command.expected_generation,
            &command.request,
            Asked::Reschedule,
            when,
            command.local,
        )
    }

    /// Makes a trigger that has not fired due now. It fires with this entry unless its lane is held back.
    pub(super) fn run_now(&mut self, command: RunNow) -> Result<Reply, Stop> {
        self.move_unfired(
            &command.namespace,
            &command.id,
            command.expected_generation,
            &command.request,
            Asked::RunNow,
            When::After(0),
            None,
        )
    }

    #[expect(clippy::too_many_arguments, reason = "the fields that two commands have in common")]
    fn move_unfired(
        &mut self,
        namespace: &str,
        id: &str,
        expected_generation: u64,
        request: &Bytes,
        asked: Asked,
        when: When,
        local: Option<LocalTime>,
    ) -> Result<Reply, Stop> {
        let found = match self.unfired(namespace, id, expected_generation, request, asked)? {
            Ok(found) => found,
            Err(answered) => return Ok(Reply::Moved(answered)),
        };
        let due = self.resolve(when)?;
        let mut record = found.record;
        let (id, mut trigger) = self.row(&record)?;
        let (lane, position) = (record.lane, record.position);
        keep_origin(&mut record, position.due);
        trigger.local = local;
        self.remove_row(lane, position);
        let receipt = self.new_version(found.hash, &id, record, trigger, lane, due, request, asked)?;
        self.changed(namespace, &id);
        Ok(Reply::Moved(receipt))
    }

    /// Writes a new version of a trigger whose old row is gone.
    #[expect(clippy::too_many_arguments, reason = "everything a version consists of")]
    pub(super) fn new_version(
        &mut self,
        hash: IdHash,
        id: &str,
        mut record: IdRecord,
        mut trigger: Trigger,
        lane: LaneId,
        due: Due,
        request: &Bytes,
        asked: Asked,
    ) -> Result<Receipt, Stop> {
        let position = Position { due: due.due, generation: self.generation() };
        trigger.requested_due_plus_one = due.requested_plus_one;
        trigger.moved_plus_one = self.now.as_millis() + 1;
        trigger.progress = None;
        let receipt = scheduled_receipt(position, &trigger);
        self.remember(&mut record.tail, request, asked, &receipt)?;
        record.stage = Stage::Live;
        record.lane = lane;
        record.position = position;
        self.insert_row(lane, position, id, &trigger);
        self.put_id(hash, &record);
        Ok(receipt)
    }
}
