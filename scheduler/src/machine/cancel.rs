//! Cancel, and what commands about an unfired trigger share.

use bytes::Bytes;

use crate::command::Cancel;
use crate::planted::{self, Bug};
use crate::record::IdRecord;
use crate::reply::{Outcome, Receipt, Refusal, Reply};
use crate::standing::Standing;

use super::idempotency::Asked;
use super::step::Found;
use super::{Step, Stop};

impl Step<'_, '_> {
    /// Cancels a trigger that has not fired. What is due in a lane that is held back has not fired.
    pub(crate) fn cancel(&mut self, command: Cancel) -> Result<Reply, Stop> {
        let found = match self.unfired(
            &command.namespace,
            &command.id,
            command.expected_generation,
            &command.request,
            Asked::Cancel,
        )? {
            Ok(found) => found,
            Err(answered) => return Ok(Reply::Ended(answered)),
        };
        let mut record = found.record;
        let receipt = Receipt {
            log_index: self.index,
            generation: record.position.generation,
            due: record.position.due,
            fired: None,
            outcome: Outcome::Cancelled,
            decided: self.now,
            executor: String::new(),
            attempt: 0,
            token: None,
        };
        self.remember(&mut record.tail, &command.request, Asked::Cancel, &receipt)?;
        let lane = record.lane;
        self.remove_row(lane, record.position);
        self.end(found.hash, &command.id, record, lane, &receipt)?;
        self.changed(&command.namespace, &command.id);
        Ok(Reply::Ended(receipt))
    }

    /// The trigger, when it is one that has not fired; the answer, when the request is a repeated one.
    pub(super) fn unfired(
        &self,
        namespace: &str,
        id: &str,
        expected_generation: u64,
        request: &Bytes,
        asked: Asked,
    ) -> Result<Result<Found, Receipt>, Stop> {
        self.check_request(request)?;
        let found = self.find(namespace, id)?;
        if let Some(answered) = self.recall(&found.record, request, asked)? {
            return Ok(Err(answered));
        }
        expect(&found.record, expected_generation)?;
        match found.standing {
            Standing::Scheduled => Ok(Ok(found)),
            Standing::Fired(_) if planted::is(Bug::CancelsFired) => Ok(Ok(found)),
            Standing::Fired(_) | Standing::Retrying => Err(Refusal::AlreadyFired(self.receipt(&found)?).into()),
            Standing::Completed(_) | Standing::Dead | Standing::Ended => {
                Err(Refusal::AlreadyEnded(self.receipt(&found)?).into())
            }
        }
    }
}

/// Refuses when the caller expects another version.
pub(super) fn expect(record: &IdRecord, expected: u64) -> Result<(), Refusal> {
    let found = record.position.generation.number();
    if expected == 0 || expected == found { Ok(()) } else { Err(Refusal::VersionMismatch { expected, found }) }
}
