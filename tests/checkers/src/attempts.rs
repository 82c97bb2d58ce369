//! A failed attempt is counted once: a report that comes after its attempt was given up changes nothing.

use std::collections::BTreeMap;

use crate::history::Key;
use crate::verdict::Violation;

const PROMISE: &str = "attempts are counted once";

/// An entry of the log counted a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counted {
    /// Index of the entry,
    pub index: u64,
    /// and the place of the command in it.
    pub place: usize,
    /// Of which version.
    pub generation: u64,
    /// Its number, from 1.
    pub attempt: u32,
}

/// Compares the attempts of each version, in the order of the log.
#[must_use]
pub fn check(counted: &[Counted]) -> Vec<Violation> {
    let mut in_order = counted.to_vec();
    in_order.sort_unstable();
    // Every replica tells of every entry.
    in_order.dedup();
    let mut newest: BTreeMap<u64, Counted> = BTreeMap::new();
    let mut violations = Vec::new();
    for one in in_order {
        if let Some(before) = newest.insert(one.generation, one)
            && before.attempt >= one.attempt
        {
            let detail = format!(
                "generation {}: entry {} counted attempt {} after entry {} had counted attempt {}",
                one.generation, one.index, one.attempt, before.index, before.attempt
            );
            violations.push(Violation { promise: PROMISE, trigger: Key::new("", ""), detail });
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(index: u64, place: usize, generation: u64, attempt: u32) -> Counted {
        Counted { index, place, generation, attempt }
    }

    /// Red when what several replicas tell counts several times.
    #[test]
    fn accepts_attempts_that_grow() {
        let log = [counted(5, 0, 1, 1), counted(9, 1, 1, 2), counted(5, 0, 1, 1), counted(9, 0, 2, 1)];
        assert!(check(&log).is_empty());
    }

    /// Red when attempts of one number pass, or entries are not taken in their order.
    #[test]
    fn rejects_an_attempt_that_is_counted_again() {
        assert_eq!(check(&[counted(9, 0, 1, 1), counted(5, 0, 1, 1)]).len(), 1);
        assert_eq!(check(&[counted(9, 0, 1, 1), counted(5, 0, 1, 2)]).len(), 1);
        assert_eq!(check(&[counted(5, 1, 1, 1), counted(5, 0, 1, 1)]).len(), 1);
    }
}
