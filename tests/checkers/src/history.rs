//! What was recorded: operations with their times and outcomes, deliveries, completions, final reads.
//!
//! All times come from one clock, that of the machine the recorder and the executors run on.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::verdict::Checked;

/// Names a trigger: namespace and id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Key {
    /// Tenant.
    pub namespace: String,
    /// Unique within the namespace.
    pub id: String,
}

impl Key {
    /// Joins the two.
    pub fn new(namespace: impl Into<String>, id: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), id: id.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.id)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.to_string()
    }
}

/// A key without the slash between namespace and id.
#[derive(Debug, thiserror::Error)]
#[error("a key is namespace/id")]
pub struct NotAKey;

impl FromStr for Key {
    type Err = NotAKey;
    fn from_str(text: &str) -> Result<Self, NotAKey> {
        // Namespaces have no slash, ids may.
        let (namespace, id) = text.split_once('/').ok_or(NotAKey)?;
        Ok(Self::new(namespace, id))
    }
}

impl TryFrom<String> for Key {
    type Error = NotAKey;
    fn try_from(text: String) -> Result<Self, NotAKey> {
        text.parse()
    }
}

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A client asked for something.
    Operation(Operation),
    /// An executor was handed a trigger.
    Delivery(Delivery),
    /// An executor's report was answered.
    Completion(Completion),
    /// What a linearizable read said after everything had come to rest.
    FinalRead(FinalRead),
}

/// A call of a client, with all its retries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Which caller; callers are sequential.
    pub client: u64,
    /// About which trigger.
    pub trigger: Key,
    /// What was asked.
    pub request: Request,
    /// Before the first byte was sent, microseconds since the Unix epoch.
    pub invoked_us: i64,
    /// After the answer had been read. Unset when none came.
    pub returned_us: Option<i64>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What a client may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Schedule.
    Schedule {
        /// The moment asked for; unset when it was a delay.
        due_ms: Option<i64>,
    },
    /// Cancel.
    Cancel {
        /// 0: whatever the generation.
        expected_generation: u64,
    },
    /// Reschedule.
    Reschedule {
        /// The new moment; unset when it was a delay.
        due_ms: Option<i64>,
        /// 0: whatever the generation.
        expected_generation: u64,
    },
    /// Run now.
    RunNow {
        /// 0: whatever the generation.
        expected_generation: u64,
    },
    /// Linearizable read.
    Get,
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Answered; a refusal by the state machine is an answer.
    Ok(Answer),
    /// Certainly without effect: refused before it was proposed.
    Fail {
        /// As the server said it.
        reason: String,
    },
    /// Nobody knows: timed out, or the connection broke.
    Info {
        /// What happened.
        reason: String,
    },
}

/// Where the log decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Decided {
    /// Whose log.
    pub partition: u32,
    /// Index of the deciding entry.
    pub index: u64,
}

/// A definite answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To schedule.
    Scheduled {
        /// Version made.
        generation: u64,
        /// Resolved moment.
        due_ms: i64,
        /// The deciding entry.
        decided: Decided,
        /// It answers a repeated request.
        replayed: bool,
    },
    /// To cancel.
    Cancelled {
        /// Version that was cancelled.
        generation: u64,
        /// The deciding entry.
        decided: Decided,
    },
    /// To reschedule.
    Rescheduled {
        /// Version made.
        generation: u64,
        /// Resolved moment.
        due_ms: i64,
        /// The deciding entry.
        decided: Decided,
    },
    /// To run-now.
    Started {
        /// Version made.
        generation: u64,
        /// The deciding entry.
        decided: Decided,
    },
    /// To get.
    Read {
        /// State seen.
        state: State,
        /// Version seen.
        generation: u64,
        /// Its due time.
        due_ms: i64,
    },
    /// Refused by the state machine, without effect.
    Refused(Refusal),
}

impl Answer {
    /// The deciding entry of a write that was carried out.
    #[must_use]
    pub fn decided(&self) -> Option<Decided> {
        match self {
            Self::Scheduled { decided, .. }
            | Self::Cancelled { decided, .. }
            | Self::Rescheduled { decided, .. }
            | Self::Started { decided, .. } => Some(*decided),
            Self::Read { .. } | Self::Refused(_) => None,
        }
    }
}

/// Why the state machine refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// No such id.
    NotFound,
    /// The id is taken by another content.
    AlreadyExists,
    /// Too late.
    AlreadyFired,
    /// Cancelled, completed or dead before.
    AlreadyEnded,
    /// Another generation than expected.
    VersionMismatch,
}

impl Refusal {
    /// From the reason of an error; `None` for reasons that say nothing about the trigger.
    #[must_use]
    pub fn from_reason(reason: &str) -> Option<Self> {
        Some(match reason {
            "NOT_FOUND" => Self::NotFound,
            "ALREADY_EXISTS" => Self::AlreadyExists,
            "ALREADY_FIRED" => Self::AlreadyFired,
            "ALREADY_ENDED" => Self::AlreadyEnded,
            "VERSION_MISMATCH" => Self::VersionMismatch,
            _ => return None,
        })
    }
}

/// State of a trigger as the API shows it, and its absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No such id.
    Absent,
    /// Waits.
    Scheduled,
    /// Released for delivery.
    Fired,
    /// Done.
    Completed,
    /// Given up.
    DeadLettered,
    /// Cancelled.
    Cancelled,
}

/// A fencing token: compare epoch, then term, then counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Token {
    /// Of the cluster.
    pub epoch: u64,
    /// Of the leader.
    pub term: u64,
    /// Of the delivery.
    pub counter: u64,
}

/// A trigger arrived at an executor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Name of the executor.
    pub executor: String,
    /// Which trigger.
    pub trigger: Key,
    /// Which version.
    pub generation: u64,
    /// Counted from 1.
    pub attempt: u32,
    /// Of this delivery.
    pub token: Token,
    /// Whose leader sent it.
    pub partition: u32,
    /// Due time it carried.
    pub due_ms: i64,
    /// Replicated time it fired at.
    pub fired_ms: i64,
    /// When it was read, microseconds since the Unix epoch.
    pub received_us: i64,
}

/// What an executor reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// Done.
    Success,
    /// Try again.
    Retry,
    /// Give up.
    Fail,
}

/// What the server said about a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportVerdict {
    /// This report decided.
    Accepted,
    /// Another report had.
    AlreadyDecided,
    /// Too old to count.
    Superseded,
    /// No such trigger.
    NotFound,
    /// Unknown; it will be repeated.
    Error,
}

/// The facts of a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Where the outcome was decided.
    pub decided: Decided,
    /// Of which version.
    pub generation: u64,
    /// Due time.
    pub due_ms: i64,
    /// Replicated time and index it fired at.
    pub fired: Option<(i64, u64)>,
    /// What became of it; [`State::Fired`] while a retry is due.
    pub outcome: State,
    /// Whose report was accepted.
    pub executor: String,
    /// Attempt that ended it, counted from 1.
    pub attempt: u32,
}

/// A report and its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// Name of the executor.
    pub executor: String,
    /// Which trigger.
    pub trigger: Key,
    /// Which version.
    pub generation: u64,
    /// Of the delivery.
    pub attempt: u32,
    /// Of the delivery.
    pub token: Token,
    /// What was reported.
    pub report: Report,
    /// What the server said.
    pub verdict: ReportVerdict,
    /// The receipt it sent along.
    pub receipt: Option<Facts>,
    /// When the answer was read, microseconds since the Unix epoch.
    pub answered_us: i64,
}

/// What is there at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FinalRead {
    /// Which trigger.
    pub trigger: Key,
    /// Its state.
    pub state: State,
    /// Its topic; empty when absent.
    pub topic: String,
    /// Its version; 0 when absent.
    pub generation: u64,
    /// Its due time.
    pub due_ms: i64,
    /// Failed attempts so far.
    pub attempt: u32,
    /// An executor holds it under a lease.
    pub leased: bool,
    /// When a failed attempt is due to be made again.
    pub retry_at_ms: Option<i64>,
    /// The receipt, once fired.
    pub receipt: Option<Facts>,
    /// When it was read, microseconds since the Unix epoch.
    pub read_us: i64,
}

/// A recorded run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Client calls.
    pub operations: Vec<Operation>,
    /// Deliveries.
    pub deliveries: Vec<Delivery>,
    /// Reports.
    pub completions: Vec<Completion>,
    /// Final reads, at most one per trigger: the newest.
    pub final_reads: BTreeMap<Key, FinalRead>,
}

/// A line that is no event.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("cannot read the history: {0}")]
    Io(#[from] std::io::Error),
    /// A line cannot be understood.
    #[error("line {line} of the history: {error}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        error: serde_json::Error,
    },
}

impl History {
    /// Adds one event.
    pub fn push(&mut self, event: Event) {
        match event {
            Event::Operation(operation) => self.operations.push(operation),
            Event::Delivery(delivery) => self.deliveries.push(delivery),
            Event::Completion(completion) => self.completions.push(completion),
            Event::FinalRead(read) => {
                self.final_reads.insert(read.trigger.clone(), read);
            }
        }
    }

    /// Reads JSON lines.
    ///
    /// # Errors
    ///
    /// When the source fails or a line is no event; the line's number is named.
    pub fn read(source: impl BufRead) -> Result<Self, ReadError> {
        let mut history = Self::default();
        for (at, line) in source.lines().enumerate() {
            let line = line?;
            if line.trim().is_empty() {
                continue;
            }
            history.push(serde_json::from_str(&line).map_err(|error| ReadError::Line { line: at + 1, error })?);
        }
        Ok(history)
    }

    /// Writes JSON lines, by kind of event.
    ///
    /// # Errors
    ///
    /// When the target fails.
    pub fn write(&self, mut target: impl Write) -> std::io::Result<()> {
        let operations = self.operations.iter().cloned().map(Event::Operation);
        let deliveries = self.deliveries.iter().cloned().map(Event::Delivery);
        let completions = self.completions.iter().cloned().map(Event::Completion);
        let reads = self.final_reads.values().cloned().map(Event::FinalRead);
        for event in operations.chain(deliveries).chain(completions).chain(reads) {
            serde_json::to_writer(&mut target, &event)?;
            target.write_all(b"\n")?;
        }
        target.flush()
    }

    /// How much there is to look at.
    #[must_use]
    pub fn count(&self) -> Checked {
        let mut checked = Checked {
            deliveries: self.deliveries.len(),
            final_reads: self.final_reads.len(),
            completions: self
                .completions
                .iter()
                .filter(|completion| completion.verdict == ReportVerdict::Accepted)
                .count(),
            ..Checked::default()
        };
        for operation in &self.operations {
            match operation.outcome {
                Outcome::Ok(_) => checked.answered += 1,
                Outcome::Fail { .. } => checked.refused += 1,
                Outcome::Info { .. } => checked.unknown += 1,
            }
        }
        checked
    }

    /// The operations about each trigger, in the order of the record.
    #[must_use]
    pub fn by_trigger(&self) -> BTreeMap<&Key, Vec<&Operation>> {
        let mut by_trigger: BTreeMap<&Key, Vec<&Operation>> = BTreeMap::new();
        for operation in &self.operations {
            by_trigger.entry(&operation.trigger).or_default().push(operation);
        }
        by_trigger
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, ID};

    /// Red when an event loses a field on the way through JSON.
    #[test]
    fn a_history_survives_its_file() {
        let history = fixture::life();
        let mut file = Vec::new();
        history.write(&mut file).unwrap();
        let back = History::read(file.as_slice()).unwrap();
        assert_eq!(back.operations, history.operations);
        assert_eq!(back.deliveries, history.deliveries);
        assert_eq!(back.completions, history.completions);
        assert_eq!(back.final_reads, history.final_reads);
    }

    /// Red when a damaged line is skipped instead of named.
    #[test]
    fn a_bad_line_is_named() {
        let error = History::read(&b"\n{\"event\":\"nothing\"}\n"[..]).unwrap_err();
        assert!(error.to_string().starts_with("line 2 "), "{error}");
    }

    #[test]
    fn keys_keep_slashes_of_ids() {
        let key: Key = "default/a/b".parse().unwrap();
        assert_eq!(key, Key::new("default", "a/b"));
        assert!("nothing".parse::<Key>().is_err());
        assert_eq!(fixture::key(ID).to_string(), format!("default/{ID}"));
    }
}
