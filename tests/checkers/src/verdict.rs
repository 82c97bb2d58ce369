//! All checkers over one history, and what they found.

use std::collections::BTreeSet;
use std::fmt;

use crate::history::{History, Key};
use crate::{accounted, early, fencing, fired_or_cancelled, linearizable, lost, once, search};

/// Every promise a checker decides, in their order.
pub const PROMISES: [&str; 8] = [
    lost::PROMISE,
    early::PROMISE,
    fired_or_cancelled::PROMISE,
    once::PROMISE,
    fencing::PROMISE,
    accounted::PROMISE,
    linearizable::PROMISE,
    search::PROMISE,
];

/// What a run allows.
#[derive(Clone, Debug)]
pub struct Options {
    /// How far behind its due time the wall clock of the recorder may be when a delivery arrives: the clock error
    /// granted in the run, in microseconds. 0 unless clocks were disturbed. In replicated time nothing is ever granted.
    pub clock_error_us: i64,
    /// How long after a delivery of a newer leader one of an older leader may arrive, in microseconds: what a network or a process
    /// that stands still can hold back. 0 unless they were disturbed.
    pub held_back_us: i64,
    /// How long after its due time a trigger may still be on its way, in milliseconds.
    pub grace_ms: i64,
    /// Topics that were paused at the end: what is due there is held.
    pub held_topics: BTreeSet<String>,
    /// Whether every acknowledged id was read at the end; an id without a final read then counts as lost.
    pub all_read: bool,
    /// How many ids the black-box search takes, those with the most operations first.
    pub search_keys: usize,
    /// How many states the search may visit per id before it says "unknown".
    pub search_steps: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock_error_us: 0,
            held_back_us: 0,
            grace_ms: 0,
            held_topics: BTreeSet::new(),
            all_read: true,
            search_keys: 1_000,
            search_steps: 1_000_000,
        }
    }
}

/// One broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which promise, in a few words.
    pub promise: &'static str,
    /// The trigger it is about.
    pub trigger: Key,
    /// What was seen, with the numbers.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.promise, self.trigger, self.detail)
    }
}

/// How much a run gave the checkers to look at. A run without faults, deliveries or reads proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Operations with a definite answer.
    pub answered: usize,
    /// Operations whose outcome nobody knows.
    pub unknown: usize,
    /// Operations that were refused before they could have an effect.
    pub refused: usize,
    /// Deliveries seen by executors.
    pub deliveries: usize,
    /// Reports that were accepted.
    pub completions: usize,
    /// Triggers read at the end.
    pub final_reads: usize,
    /// Ids the black-box search decided.
    pub searched: usize,
    /// Ids the search gave up on. Anything but 0 means the run is not accepted.
    pub undecided: usize,
}

/// Everything that was found.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Broken promises, in the order of the checkers.
    pub violations: Vec<Violation>,
    /// What was looked at.
    pub checked: Checked,
}

impl Verdict {
    /// No promise broken, and no search given up.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.violations.is_empty() && self.checked.undecided == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.checked)?;
        for violation in self.violations.iter().take(20) {
            writeln!(f, "{violation}")?;
        }
        if self.violations.len() > 20 {
            writeln!(f, "… and {} more", self.violations.len() - 20)?;
        }
        Ok(())
    }
}

/// Runs every checker.
#[must_use]
pub fn check(history: &History, options: &Options) -> Verdict {
    let mut violations = lost::check(history, options);
    violations.extend(early::check(history, options));
    violations.extend(fired_or_cancelled::check(history));
    violations.extend(once::check(history));
    violations.extend(fencing::check(history, options));
    violations.extend(accounted::check(history, options));
    violations.extend(linearizable::check(history));
    let search = search::check(history, options);
    violations.extend(search.violations);
    Verdict {
        violations,
        checked: Checked { searched: search.decided, undecided: search.undecided, ..history.count() },
    }
}
