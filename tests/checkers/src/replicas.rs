//! Replicas at the same index are identical when read, and wrote the same to come there.

use std::collections::BTreeMap;

use crate::history::Key;
use crate::verdict::Violation;

const PROMISE: &str = "replicas are identical";

/// What applying one entry wrote, on one replica, once: a replica that starts again applies some entries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Which replica.
    pub replica: u64,
    /// Index of the entry.
    pub index: u64,
    /// Hash of the writes, in their order.
    pub digest: u64,
}

/// Everything a reader can see of one replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which replica.
    pub replica: u64,
    /// How far it has come.
    pub index: u64,
    /// Hash of all rows that are visible there.
    pub digest: Vec<u8>,
}

/// Compares what was written for each entry, and what can be read at each index.
#[must_use]
pub fn check(applied: &[Applied], seen: &[Seen]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut report = |detail: String| {
        violations.push(Violation { promise: PROMISE, trigger: Key::new("", ""), detail });
    };
    let mut writes: BTreeMap<u64, &Applied> = BTreeMap::new();
    for one in applied {
        let first = writes.entry(one.index).or_insert(one);
        if first.digest != one.digest {
            report(format!(
                "entry {} wrote {:016x} on replica {} and {:016x} on replica {}",
                one.index, first.digest, first.replica, one.digest, one.replica
            ));
        }
    }
    let mut rows: BTreeMap<u64, &Seen> = BTreeMap::new();
    for one in seen {
        let first = rows.entry(one.index).or_insert(one);
        if first.digest != one.digest {
            report(format!("replicas {} and {} differ at index {}", first.replica, one.replica, one.index));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(replica: u64, index: u64, digest: u64) -> Applied {
        Applied { replica, index, digest }
    }

    fn seen(replica: u64, index: u64, digest: u8) -> Seen {
        Seen { replica, index, digest: vec![digest; 4] }
    }

    #[test]
    fn accepts_replicas_that_lag_and_start_again() {
        let logs = [applied(0, 1, 5), applied(0, 2, 6), applied(1, 1, 5), applied(0, 2, 6), applied(2, 3, 7)];
        assert!(check(&logs, &[seen(0, 2, 9), seen(1, 1, 8), seen(2, 2, 9)]).is_empty());
    }

    /// Red when only neighbours are compared, or a replica with itself is not.
    #[test]
    fn rejects_an_entry_that_wrote_two_things() {
        assert_eq!(check(&[applied(0, 1, 5), applied(1, 2, 6), applied(2, 1, 4)], &[]).len(), 1);
        assert_eq!(check(&[applied(0, 1, 5), applied(0, 2, 6), applied(0, 2, 7)], &[]).len(), 1);
    }

    /// Red when the rows at the end are not looked at.
    #[test]
    fn rejects_rows_that_differ() {
        assert_eq!(check(&[], &[seen(0, 2, 9), seen(1, 3, 8), seen(2, 2, 1)]).len(), 1);
    }
}
