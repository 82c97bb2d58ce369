//! The replicated state machine: entries in, rows and replies out.
//!
//! Total over any bytes: an entry either applies, or halts the replica with a reason. It is never skipped.

mod cancel;
mod check;
mod dead_letter;
mod idempotency;
mod internal;
mod outcome;
mod reschedule;
mod run;
mod schedule;
mod step;
mod topic;

use bytes::Bytes;
use prost::Message;

use crate::command::{Command, Entry, Kind, Report};
use crate::domain::{Domain, DomainContext, DomainError, NoDomain};
use crate::keys::{self, IdHash};
use crate::lane::Generation;
use crate::overlay::Overlay;
use crate::planted;
use crate::record::{Meta, encode_fired};
use crate::reply::{Effect, Outcome, Refusal, Reply};
use crate::store::{Read, StoreError};
use crate::time::{Delay, Timestamp};
use crate::topics::Topics;
use crate::upgrade::LEVEL_FIRST;

pub(crate) use step::Step;

/// The highest [`Entry::level`] this build applies; it writes at it once all members know it ([`crate::upgrade`]).
pub const FEATURE_LEVEL: u32 = if cfg!(feature = "next-level") { 2 } else { 1 };

/// How far ahead a trigger may be due: ten years.
pub const HORIZON: Delay = Delay::from_days(3_653);

/// How long the answer to a request id is remembered, by the time in the id.
pub const REQUEST_WINDOW: Delay = Delay::from_days(1);

/// Topics a partition has room for.
pub const TOPICS_MAX: u32 = 4_096;

/// Times from the year 10000 on are nobody's clock.
const TIME_END: Timestamp = Timestamp::from_millis(253_402_300_800_000);

/// A replica of one partition's state. The rows are elsewhere; this holds what is read all the time: the watermark,
/// topics and marks of lanes, all of them functions of the rows.
#[derive(Debug)]
pub struct Machine<D: Domain = NoDomain> {
    domain: D,
    /// The highest level it applies.
    build: u32,
    meta: Meta,
    topics: Topics,
}

/// What applying one entry came to, beside the writes in the overlay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Index of the entry.
    pub index: u64,
    /// Replicated time now.
    pub watermark: Timestamp,
    /// The feature level in force now.
    pub level: u32,
    /// One for each command, in order.
    pub replies: Vec<Reply>,
    /// In the order they happened. Not replicated: they say what to look at.
    pub effects: Vec<Effect>,
    /// Internal work was left over; applying further entries, empty ones too, goes on with it.
    pub owed: bool,
}

/// The replica must stop: it met an entry or a row that it cannot interpret, and may not skip it.
///
/// Nothing of the entry may be written, and the machine is of no use until [`Machine::restored`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("halted at index {index}: {reason}")]
pub struct Halt {
    /// The entry.
    pub index: u64,
    /// Why, for a human.
    pub reason: String,
}

/// Why a command did not apply.
#[derive(Debug)]
pub(crate) enum Stop {
    /// A rule: the answer of this command. Boxed, because answers are large and refusals rare.
    Refused(Box<Refusal>),
    /// The replica must stop.
    Halt(String),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(Box::new(refusal))
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Stop::Halt(error.to_string())
    }
}

impl<D: Domain> Machine<D> {
    /// Of a partition that has applied nothing.
    pub fn new(domain: D) -> Self {
        Machine::of_build(domain, FEATURE_LEVEL)
    }

    /// As [`Machine::new`], and as a build that knows this feature level; to see how builds of different levels live together.
    pub fn of_build(domain: D, level: u32) -> Self {
        Machine { domain, build: level, meta: Meta::first(), topics: Topics::default() }
    }

    /// Of a partition with these rows.
    pub fn open(domain: D, store: &dyn Read) -> Result<Self, StoreError> {
        let mut machine = Machine::new(domain);
        machine.restored(store)?;
        Ok(machine)
    }

    /// Takes up the rows of another store: after a start, a snapshot or a [`Halt`].
    ///
    /// # Errors
    ///
    /// The rows cannot be read, or were written at a higher feature level than this build knows.
    pub fn restored(&mut self, store: &dyn Read) -> Result<(), StoreError> {
        let meta = crate::read::status(store)?;
        if meta.feature_level > self.build {
            let (rows, build) = (meta.feature_level, self.build);
            return Err(StoreError(format!("the rows need feature level {rows}, this build has {build}")));
        }
        self.meta = meta;
        self.topics = Topics::load(store)?;
        Ok(())
    }

    /// Replicated time: that of the newest entry applied.
    pub fn watermark(&self) -> Timestamp {
        self.meta.watermark()
    }

    /// Index of the newest entry applied; 0 before the first.
    pub fn applied(&self) -> u64 {
        self.meta.applied
    }

    /// The feature level in force: the highest of any entry applied, at least the first.
    pub fn level(&self) -> u32 {
        self.meta.feature_level.max(LEVEL_FIRST)
    }

    /// Of the cluster, for fencing tokens.
    pub fn epoch(&self) -> u64 {
        self.meta.epoch
    }

    /// Topics and marks of lanes as of the newest entry applied.
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// Applies one entry: the watermark moves to its time, internal work that is due is done, then the commands in
    /// order, each seeing what those before it wrote. A refused command leaves nothing.
    ///
    /// The overlay lies over the rows as the entry before left them, and may hold the writes of entries before.
    ///
    /// # Errors
    ///
    /// [`Halt`] when the entry or a row cannot be interpreted, or the entry's index or time runs backwards.
    pub fn apply(&mut self, index: u64, entry: Bytes, overlay: &mut Overlay<'_>) -> Result<Applied, Halt> {
        self.apply_entry(index, entry, overlay).map_err(|reason| Halt { index, reason })
    }

    fn apply_entry(&mut self, index: u64, entry: Bytes, overlay: &mut Overlay<'_>) -> Result<Applied, String> {
        let entry = Entry::decode(entry).map_err(|error| format!("entry cannot be decoded: {error}"))?;
        let before = self.meta;
        let now = self.admit(index, &entry)?;
        self.meta.watermark_ms = now.as_millis();
        self.meta.applied = index;
        self.meta.feature_level = before.feature_level.max(entry.level);
        if now > before.watermark() || before.applied == 0 {
            overlay.put(&keys::fired(now), encode_fired(index));
        }
        #[cfg(feature = "next-level")]
        next_level(self.level(), index, overlay);
        let mut applied = Applied {
            index,
            watermark: now,
            level: self.level(),
            replies: Vec::with_capacity(entry.commands.len()),
            ..Applied::default()
        };
        let hashes = prefetch(&entry.commands, overlay).map_err(|error| error.to_string())?;
        let level = self.level();
        let mut step = Step::new(overlay, &mut self.topics, &mut applied.effects, now, index, level);
        step.forget(&mut self.meta, before.watermark()).map_err(|error| error.to_string())?;
        applied.owed = self.meta.sweep.is_some();
        let count = entry.commands.len();
        for (number, (command, hash)) in entry.commands.into_iter().zip(hashes).enumerate() {
            let Some(kind) = command.kind else {
                return Err(format!("command {number} is of a kind this build does not know"));
            };
            step.begin(count - number - 1);
            let savepoint = step.savepoint();
            let reply = match run(&self.domain, &mut step, kind, hash) {
                Ok(reply) => {
                    step.release(savepoint);
                    reply
                }
                Err(Stop::Refused(refusal)) => {
                    step.rollback(savepoint);
                    Reply::Refused(*refusal)
                }
                Err(Stop::Halt(reason)) => return Err(format!("command {number}: {reason}")),
            };
            applied.replies.push(reply);
        }
        self.topics.settle();
        overlay.put(&keys::meta(), self.meta.to_value());
        Ok(applied)
    }

    /// Checks everything about an entry that does not depend on rows, before anything is written.
    fn admit(&self, index: u64, entry: &Entry) -> Result<Timestamp, String> {
        let (applied, watermark) = (self.meta.applied, self.meta.watermark());
        let now = planted::now(Timestamp::from_millis(entry.time));
        if entry.level > self.build {
            return Err(format!("entry needs feature level {}, this build has {}", entry.level, self.build));
        }
        if index <= applied || index >= 1 << 52 {
            return Err(format!("entry has index {index}, after {applied}"));
        }
        if now < watermark || now >= TIME_END {
            return Err(format!("entry has time {now}, the watermark is at {watermark}"));
        }
        if entry.commands.len() > Generation::COMMANDS_PER_ENTRY_MAX {
            return Err(format!(
                "entry has {} commands, at most {} can be numbered",
                entry.commands.len(),
                Generation::COMMANDS_PER_ENTRY_MAX
            ));
        }
        Ok(now)
    }
}

/// What this level does and the one before does not: it keeps the index of the last entry in a row of its own.
#[cfg(feature = "next-level")]
fn next_level(level: u32, index: u64, overlay: &mut Overlay<'_>) {
    if level >= 2 {
        overlay.put(&[keys::DOMAIN_FIRST, b'n'], index.to_be_bytes().to_vec());
    }
}

/// Hashes the ids to be scheduled and asks the store for all of them at once, if that helps it.
fn prefetch(commands: &[Command], overlay: &mut Overlay<'_>) -> Result<Vec<Option<IdHash>>, StoreError> {
    let hash = |command: &Command| match &command.kind {
        Some(Kind::Schedule(schedule)) => Some(IdHash::of(&schedule.namespace, &schedule.id)),
        _ => None,
    };
    let hashes: Vec<_> = commands.iter().map(hash).collect();
    overlay.prefetch(hashes.iter().flatten().copied())?;
    Ok(hashes)
}

fn run(domain: &dyn Domain, step: &mut Step<'_, '_>, kind: Kind, hash: Option<IdHash>) -> Result<Reply, Stop> {
    match kind {
        Kind::Schedule(command) => {
            let hash = hash.unwrap_or_else(|| IdHash::of(&command.namespace, &command.id));
            step.schedule(command, hash)
        }
        Kind::Cancel(command) => step.cancel(command),
        Kind::Reschedule(command) => step.reschedule(command),
        Kind::RunNow(command) => step.run_now(command),
        Kind::Complete(command) => {
            let business =
                command.report.as_ref().map(|report| report.namespace.clone()).zip(Some(command.business.clone()));
            let reply = step.complete(command)?;
            match business {
                Some((namespace, body)) if !body.is_empty() && matches!(reply, Reply::Decided(_)) => {
                    apply_business(domain, step, &namespace, &body)?;
                }
                _ => {}
            }
            Ok(reply)
        }
        Kind::Retry(command) => {
            let of = named(command.report.as_ref());
            let reply = step.retry(command)?;
            given_up(domain, step, of, reply)
        }
        Kind::Fail(command) => {
            let of = named(command.report.as_ref());
            let reply = step.fail(command)?;
            given_up(domain, step, of, reply)
        }
        Kind::CompleteRun(command) => step.complete_run(&command),
        Kind::Release(command) => step.release_lane(command),
        Kind::SkipLate(command) => {
            let of = Some((command.namespace.clone(), command.id.clone()));
            let reply = step.skip_late(command)?;
            given_up(domain, step, of, reply)
        }
        Kind::SetTopic(command) => step.set_topic(command),
        Kind::Requeue(command) => step.requeue(command),
        Kind::Drop(command) => step.drop_dead(command),
        Kind::RaiseFloor(command) => step.raise_floor(command),
        Kind::Business(command) => {
            let body = apply_business(domain, step, &command.namespace, &command.body)?;
            Ok(Reply::Business(body))
        }
    }
}

/// The trigger a report is about.
fn named(report: Option<&Report>) -> Option<(String, String)> {
    report.map(|report| (report.namespace.clone(), report.id.clone()))
}

/// Tells the domain when a command made a dead letter.
fn given_up(
    domain: &dyn Domain,
    step: &mut Step<'_, '_>,
    of: Option<(String, String)>,
    reply: Reply,
) -> Result<Reply, Stop> {
    let receipt = match &reply {
        Reply::Decided(receipt) | Reply::Ended(receipt) => receipt,
        _ => return Ok(reply),
    };
    if let (Some((namespace, id)), Outcome::DeadLettered) = (of, receipt.outcome) {
        domain.dead_lettered(&mut DomainContext::new(step), &namespace, &id).map_err(|error| match error {
            DomainError::Refused(_) => Stop::Halt(format!("a domain refused that {id} is a dead letter")),
            DomainError::Halt(reason) => Stop::Halt(reason),
        })?;
    }
    Ok(reply)
}

fn apply_business(domain: &dyn Domain, step: &mut Step<'_, '_>, namespace: &str, body: &Bytes) -> Result<Bytes, Stop> {
    domain.apply(&mut DomainContext::new(step), namespace, body).map_err(|error| match error {
        DomainError::Refused(body) => Refusal::Business(body).into(),
        DomainError::Halt(reason) => Stop::Halt(reason),
    })
}
