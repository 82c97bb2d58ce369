//! The seam for business domains: their commands are applied in the same entries as those of the scheduler, over the
//! same rows, and may schedule and cancel triggers in the same step.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::command::{Cancel, Reschedule, Schedule};
use crate::keys;
use crate::lane::Generation;
use crate::machine::{Step, Stop};
use crate::reply::{Effect, Refusal, Reply};
use crate::store::{Read, StoreError};
use crate::time::Timestamp;

/// A business domain, or several composed into one.
///
/// Like everything in apply: a function of its arguments and the rows, total over any bytes.
pub trait Domain: Send + Sync + 'static {
    /// Applies a command and answers it in the domain's own schema. When it fails, nothing it did remains.
    fn apply(&self, cx: &mut DomainContext<'_, '_, '_>, namespace: &str, body: &Bytes) -> Result<Bytes, DomainError>;

    /// A trigger has just become a dead letter, in the same step: nobody will do what it was for unless the domain sees
    /// to it. Called for every trigger, the domain's own or not.
    ///
    /// # Errors
    ///
    /// Only [`DomainError::Halt`]: that a trigger was given up is a fact, and not for a domain to refuse. A refusal halts too.
    fn dead_lettered(&self, cx: &mut DomainContext<'_, '_, '_>, namespace: &str, id: &str) -> Result<(), DomainError> {
        let _ = (cx, namespace, id);
        Ok(())
    }
}

/// Why a domain did not apply a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainError {
    /// A rule of the domain, in its own schema. The answer of this command, equal on every replica.
    Refused(Bytes),
    /// A command or row that this build cannot interpret: the replica halts.
    Halt(String),
}

impl From<StoreError> for DomainError {
    fn from(error: StoreError) -> Self {
        DomainError::Halt(error.to_string())
    }
}

/// No domain at all. A business command then is one that this build does not know.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDomain;

impl Domain for NoDomain {
    fn apply(&self, _: &mut DomainContext<'_, '_, '_>, _: &str, _: &Bytes) -> Result<Bytes, DomainError> {
        Err(DomainError::Halt("business command, but no domain is built in".to_owned()))
    }
}

/// What a domain can see and do while it applies one command.
pub struct DomainContext<'c, 's, 'o> {
    step: &'c mut Step<'s, 'o>,
}

impl<'c, 's, 'o> DomainContext<'c, 's, 'o> {
    pub(crate) fn new(step: &'c mut Step<'s, 'o>) -> Self {
        DomainContext { step }
    }

    /// Replicated time: that of the entry.
    pub fn now(&self) -> Timestamp {
        self.step.now
    }

    /// Index of the entry.
    pub fn index(&self) -> u64 {
        self.step.index
    }

    /// The feature level in force. Behaviour that changed looks at this and never at its own build ([`crate::upgrade`]).
    pub fn level(&self) -> u32 {
        self.step.level
    }

    /// Number of the command, unique in the partition.
    pub fn generation(&self) -> Generation {
        self.step.generation()
    }

    /// A row of the domains, as the commands before left it.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, DomainError> {
        own(key)?;
        Ok(self.step.overlay.get(key)?)
    }

    /// Rows of the domains with `from <= key < to`, in order, until the visitor breaks.
    #[expect(clippy::type_complexity, reason = "a name for the visitor would hide the lifetime it is borrowed for")]
    pub fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), DomainError> {
        own(from)?;
        Ok(self.step.overlay.scan(from, to, visit)?)
    }

    /// Sets a row of the domains.
    pub fn put(&mut self, key: &[u8], value: Vec<u8>) -> Result<(), DomainError> {
        own(key)?;
        self.step.overlay.put(key, value);
        Ok(())
    }

    /// Removes a row of the domains.
    pub fn delete(&mut self, key: &[u8]) -> Result<(), DomainError> {
        own(key)?;
        self.step.overlay.delete(key);
        Ok(())
    }

    /// Adds to a counter of the domains: an `i64` in little-endian bytes, zero when absent ([`crate::overlay::decode_counter`]).
    pub fn add(&mut self, key: &[u8], delta: i64) -> Result<(), DomainError> {
        own(key)?;
        self.step.overlay.add(key, delta);
        Ok(())
    }

    /// Tells watchers that a record of the domains changed. `id` is theirs to choose, and cannot be that of a trigger when it holds a
    /// space.
    pub fn changed(&mut self, namespace: &str, id: &str) {
        self.step.effect(Effect::Changed { namespace: namespace.to_owned(), id: id.to_owned() });
    }

    /// Schedules a trigger, by the rules of the command.
    pub fn schedule(&mut self, command: Schedule) -> Result<Result<Reply, Refusal>, DomainError> {
        let hash = keys::IdHash::of(&command.namespace, &command.id);
        if !self.step.take_place() {
            return Ok(Err(no_place()));
        }
        answer(self.step.schedule(command, hash))
    }

    /// Cancels a trigger, by the rules of the command.
    pub fn cancel(&mut self, command: Cancel) -> Result<Result<Reply, Refusal>, DomainError> {
        answer(self.step.cancel(command))
    }

    /// Moves a trigger, by the rules of the command.
    pub fn reschedule(&mut self, command: Reschedule) -> Result<Result<Reply, Refusal>, DomainError> {
        if !self.step.take_place() {
            return Ok(Err(no_place()));
        }
        answer(self.step.reschedule(command))
    }
}

fn no_place() -> Refusal {
    Refusal::Invalid { field: "entry", expected: "fewer triggers scheduled by business commands" }
}

/// Refuses keys of the scheduler's own tables.
fn own(key: &[u8]) -> Result<(), DomainError> {
    match key.first() {
        Some(&tag) if tag >= keys::DOMAIN_FIRST => Ok(()),
        tag => Err(DomainError::Halt(format!("a domain used the table tag {tag:?}"))),
    }
}

fn answer(result: Result<Reply, Stop>) -> Result<Result<Reply, Refusal>, DomainError> {
    match result {
        Ok(reply) => Ok(Ok(reply)),
        Err(Stop::Refused(refusal)) => Ok(Err(*refusal)),
        Err(Stop::Halt(reason)) => Err(DomainError::Halt(reason)),
    }
}
