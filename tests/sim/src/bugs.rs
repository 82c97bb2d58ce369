//! Planted mistakes, and how many seeds it takes to find each.

use scheduler::planted::Bug;

/// A mistake, its name on the command line, and the promise whose checker is to find it.
#[derive(Clone, Copy, Debug)]
pub struct Planted {
    /// Which.
    pub bug: Bug,
    /// As it is asked for and reported.
    pub name: &'static str,
    /// Checkers of which at least one has to find it.
    pub killers: &'static [&'static str],
    /// Where a short search begins: a little before a seed that finds it.
    pub near: u64,
}

const LOST: &str = "no acknowledged write lost";
const EARLY: &str = "never fired early";
const EITHER: &str = "exactly one of fired and cancelled";
const FENCING: &str = "fencing";
const ATTEMPTS: &str = "attempts are counted once";
const ACCOUNTED: &str = "everything due is accounted for";
const REPLICAS: &str = "replicas are identical";
const DONE: &str = "completed means done";
const SEARCH: &str = "linearizable by search";
const CORE: &str = "core";

/// Every mistake there is.
pub const PLANTED: [Planted; Bug::ALL.len()] = [
    Planted {
        bug: Bug::AcknowledgesBeforeSync,
        name: "acknowledges-before-sync",
        killers: &[LOST, REPLICAS],
        near: 100,
    },
    Planted { bug: Bug::CommitsAlone, name: "commits-alone", killers: &[LOST, REPLICAS], near: 1 },
    Planted { bug: Bug::SnapshotForgetsIds, name: "snapshot-forgets-ids", killers: &[REPLICAS], near: 1 },
    Planted { bug: Bug::RoundsToSeconds, name: "rounds-to-seconds", killers: &[EARLY], near: 1 },
    Planted { bug: Bug::FiresAfterDue, name: "fires-after-due", killers: &[ACCOUNTED], near: 1 },
    Planted { bug: Bug::WheelDropsSplits, name: "wheel-drops-splits", killers: &[ACCOUNTED], near: 1 },
    Planted { bug: Bug::TimeStepsBack, name: "time-steps-back", killers: &[CORE], near: 1 },
    Planted { bug: Bug::CancelsFired, name: "cancels-fired", killers: &[EITHER], near: 1 },
    Planted { bug: Bug::AcceptsOldAttempts, name: "accepts-old-attempts", killers: &[ATTEMPTS], near: 130 },
    Planted { bug: Bug::ReportsBeforeEffect, name: "reports-before-effect", killers: &[DONE], near: 1 },
    Planted { bug: Bug::RetriesWithNewRequest, name: "retries-with-new-request", killers: &[SEARCH], near: 1 },
    Planted { bug: Bug::AppliesLocalTime, name: "applies-local-time", killers: &[REPLICAS], near: 1 },
    Planted { bug: Bug::UnstableOrder, name: "unstable-order", killers: &[REPLICAS], near: 1 },
    Planted { bug: Bug::ReadsWithoutBarrier, name: "reads-without-barrier", killers: &[SEARCH], near: 90 },
    Planted { bug: Bug::DeliversWithoutLease, name: "delivers-without-lease", killers: &[FENCING], near: 120 },
    Planted { bug: Bug::RaisesFloorTooFar, name: "raises-floor-too-far", killers: &[LOST, ACCOUNTED], near: 1 },
    Planted { bug: Bug::ForgetsRetryLane, name: "forgets-retry-lane", killers: &[ACCOUNTED], near: 1 },
];

/// How a mistake was found.
#[derive(Clone, Debug)]
pub struct Kill {
    /// Seeds it took.
    pub seeds: u64,
    /// The seed that found it.
    pub seed: u64,
    /// The promise it broke, and how.
    pub violation: (String, String),
}

/// Runs seeds from `first` on with the mistake planted, until one of its checkers finds it, at most as long as `more`
/// says with the number of seeds run.
#[cfg(feature = "planted-bugs")]
#[must_use]
pub fn hunt(planted: &Planted, first: u64, mut more: impl FnMut(u64) -> bool) -> Option<Kill> {
    use scheduler::planted::plant;

    plant(Some(planted.bug));
    let mut seeds = 0;
    let mut kill = None;
    while kill.is_none() && more(seeds) {
        let seed = first + seeds;
        seeds += 1;
        let found = crate::run::run(seed).violations;
        let killer = found.into_iter().find(|(promise, _)| planted.killers.contains(&promise.as_str()));
        kill = killer.map(|violation| Kill { seeds, seed, violation });
    }
    plant(None);
    kill
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red when a mistake is added and nobody looks for it.
    #[test]
    fn every_mistake_is_looked_for() {
        let listed: Vec<Bug> = PLANTED.iter().map(|planted| planted.bug).collect();
        assert_eq!(listed, Bug::ALL);
    }
}
