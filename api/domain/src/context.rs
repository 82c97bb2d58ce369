//! What a domain sees and does while it applies a command: the scheduler's context, in one namespace.

use bytes::Bytes;
use prost::Message;
use scheduler::command::{Cancel, Reschedule, Schedule};
use scheduler::domain::{DomainContext, DomainError};
use scheduler::lane::Generation;
use scheduler::reply::{Receipt, Refusal as Refused, Reply};
use scheduler::time::Timestamp;

use crate::refusal::Refusal;
use crate::stored;

/// One command being applied in a namespace.
pub struct Context<'a, 'c, 's, 'o> {
    cx: &'a mut DomainContext<'c, 's, 'o>,
    namespace: &'a str,
    /// Movements of money so far.
    pub(crate) movements: u32,
    /// A dead letter is a fact that no rule can refuse: what cannot be scheduled then is left to a human.
    is_fact: bool,
    /// How much could not be scheduled.
    unscheduled: u32,
}

impl<'a, 'c, 's, 'o> Context<'a, 'c, 's, 'o> {
    /// Of this namespace.
    pub fn new(cx: &'a mut DomainContext<'c, 's, 'o>, namespace: &'a str) -> Self {
        Context { cx, namespace, movements: 0, is_fact: false, unscheduled: 0 }
    }

    /// To note a fact: where there is no room for a trigger, it is left out, and [`Context::take_unscheduled`] says so.
    pub(crate) fn of_fact(cx: &'a mut DomainContext<'c, 's, 'o>, namespace: &'a str) -> Self {
        Context { is_fact: true, ..Context::new(cx, namespace) }
    }

    /// Whether a trigger was left out, since this was last asked.
    pub(crate) fn take_unscheduled(&mut self) -> bool {
        std::mem::take(&mut self.unscheduled) > 0
    }

    /// How many triggers were left out, since that was last taken.
    pub(crate) fn left_out(&self) -> u32 {
        self.unscheduled
    }

    /// The tenant.
    pub fn namespace(&self) -> &'a str {
        self.namespace
    }

    /// Replicated time.
    pub fn now(&self) -> Timestamp {
        self.cx.now()
    }

    /// Index of the entry.
    pub fn index(&self) -> u64 {
        self.cx.index()
    }

    /// Number of what is made now, unique in the partition.
    pub fn generation(&self) -> Generation {
        self.cx.generation()
    }

    pub(crate) fn get<M: Message + Default>(&self, row: &'static str, key: &[u8]) -> Result<Option<M>, DomainError> {
        stored::of_value(row, self.cx.get(key)?)
    }

    pub(crate) fn raw(&self, key: &[u8]) -> Result<Option<Bytes>, DomainError> {
        self.cx.get(key)
    }

    pub(crate) fn put(&mut self, key: &[u8], record: &impl Message) -> Result<(), DomainError> {
        self.cx.put(key, stored::encode(record))
    }

    pub(crate) fn put_raw(&mut self, key: &[u8], value: &[u8]) -> Result<(), DomainError> {
        self.cx.put(key, value.to_vec())
    }

    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<(), DomainError> {
        self.cx.delete(key)
    }

    pub(crate) fn add(&mut self, key: &[u8], delta: i64) -> Result<(), DomainError> {
        self.cx.add(key, delta)
    }

    pub(crate) fn changed(&mut self, id: &str) {
        self.cx.changed(self.namespace, id);
    }

    /// Schedules a trigger. The domains' own triggers are within every bound but one: a topic more than there is room for.
    pub(crate) fn schedule(&mut self, schedule: Schedule) -> Result<(), DomainError> {
        match self.cx.schedule(schedule)? {
            Ok(_) => Ok(()),
            Err(_) if self.is_fact => {
                self.unscheduled += 1;
                Ok(())
            }
            Err(refusal) => Err(unfit(&refusal)),
        }
    }

    /// Cancels a trigger: its receipt, or the one that says why it was too late.
    pub(crate) fn cancel(&mut self, id: &str) -> Result<Result<Receipt, Box<Receipt>>, DomainError> {
        let cancel = Cancel { namespace: self.namespace.to_owned(), id: id.to_owned(), ..Cancel::default() };
        decided(self.cx.cancel(cancel)?)
    }

    /// Cancels a trigger if it is still there to be cancelled.
    pub(crate) fn drop_trigger(&mut self, id: &str) -> Result<(), DomainError> {
        let cancel = Cancel { namespace: self.namespace.to_owned(), id: id.to_owned(), ..Cancel::default() };
        // Fired, ended, or past its retention: all the same.
        let _ = self.cx.cancel(cancel)?;
        Ok(())
    }

    /// Moves a trigger.
    pub(crate) fn reschedule(&mut self, reschedule: Reschedule) -> Result<Result<Receipt, Box<Receipt>>, DomainError> {
        decided(self.cx.reschedule(reschedule)?)
    }
}

fn decided(answer: Result<Reply, Refused>) -> Result<Result<Receipt, Box<Receipt>>, DomainError> {
    match answer {
        Ok(Reply::Ended(receipt) | Reply::Moved(receipt)) => Ok(Ok(receipt)),
        Err(Refused::AlreadyFired(receipt) | Refused::AlreadyEnded(receipt)) => Ok(Err(Box::new(receipt))),
        Ok(other) => Err(DomainError::Halt(format!("a trigger of a domain was answered {other:?}"))),
        Err(refusal) => Err(unfit(&refusal)),
    }
}

/// What a trigger is refused for. The domains' own are within every bound but those of room: places in the entry, topics.
fn unfit(refusal: &Refused) -> DomainError {
    if matches!(refusal, Refused::Invalid { field: "entry", .. } | Refused::TooManyTopics { .. }) {
        return Refusal::no_room(refusal.to_string()).into();
    }
    Refusal::invalid("trigger", refusal.to_string()).into()
}
