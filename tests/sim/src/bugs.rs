//! Planted mistakes, and how many seeds it takes to find each.

use scheduler::planted::Bug;

use crate::coverage::Agreement;

/// A mistake, its name on the command line, and the promise whose checker is to find it.
#[derive(Clone, Copy, Debug)]
pub struct Planted {
    /// Which.
    pub bug: Bug,
    /// What agrees on the log where it is looked for.
    pub agreement: Agreement,
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
const ISSUED: &str = checkers::gifts::PROMISES[2];
const SENT: &str = checkers::gifts::PROMISES[3];
const MONEY: &str = checkers::gifts::PROMISES[4];
const CORE: &str = "core";

/// Every mistake there is, and where it is looked for; some in both simulations.
pub const PLANTED: [Planted; 31] = [
    ideal(Bug::AcknowledgesBeforeSync, "acknowledges-before-sync", &[LOST, REPLICAS], 100),
    ideal(Bug::CommitsAlone, "commits-alone", &[LOST, REPLICAS], 1),
    ideal(Bug::SnapshotForgetsIds, "snapshot-forgets-ids", &[REPLICAS], 1),
    ideal(Bug::RoundsToSeconds, "rounds-to-seconds", &[EARLY], 1),
    ideal(Bug::FiresAfterDue, "fires-after-due", &[ACCOUNTED], 1),
    ideal(Bug::WheelDropsSplits, "wheel-drops-splits", &[ACCOUNTED], 1),
    ideal(Bug::TimeStepsBack, "time-steps-back", &[CORE], 1),
    ideal(Bug::CancelsFired, "cancels-fired", &[EITHER], 1),
    ideal(Bug::AcceptsOldAttempts, "accepts-old-attempts", &[ATTEMPTS], 130),
    ideal(Bug::ReportsBeforeEffect, "reports-before-effect", &[DONE], 1),
    ideal(Bug::RetriesWithNewRequest, "retries-with-new-request", &[SEARCH], 1),
    ideal(Bug::AppliesLocalTime, "applies-local-time", &[REPLICAS], 1),
    ideal(Bug::UnstableOrder, "unstable-order", &[REPLICAS], 1),
    ideal(Bug::ReadsWithoutBarrier, "reads-without-barrier", &[SEARCH], 90),
    ideal(Bug::DeliversWithoutLease, "delivers-without-lease", &[FENCING], 120),
    ideal(Bug::RaisesFloorTooFar, "raises-floor-too-far", &[LOST, ACCOUNTED], 1),
    ideal(Bug::ForgetsRetryLane, "forgets-retry-lane", &[ACCOUNTED], 1),
    ideal(Bug::GatesOnBuild, "gates-on-build", &[REPLICAS], 1),
    ideal(Bug::WritesOwnLevel, "writes-own-level", &[CORE], 1),
    ideal(Bug::DrawsEveryTurn, "draws-every-turn", &[ISSUED], 1),
    ideal(Bug::KeepsOldCode, "keeps-old-code", &[ISSUED], 1),
    ideal(Bug::TakesSilenceForAbsence, "takes-silence-for-absence", &[MONEY], 1),
    ideal(Bug::SendsAgainUnseen, "sends-again-unseen", &[SENT], 1),
    openraft(Bug::LeaderRestore, "leader-restore", &[CORE, LOST, REPLICAS], 1),
    openraft(Bug::FlushReportedEarly, "flush-reported-early", &[CORE], 1),
    openraft(Bug::VoteNotSynced, "vote-not-synced", &[CORE], 1),
    openraft(Bug::TrustsAfterHandOver, "trusts-after-hand-over", &[CORE, FENCING], 1),
    openraft(Bug::LeaseByOpenraft, "lease-by-openraft", &[CORE, FENCING], 200),
    openraft(Bug::ReadsWithoutBarrier, "reads-without-barrier", &[SEARCH], 60),
    openraft(Bug::SnapshotForgetsIds, "snapshot-forgets-ids", &[REPLICAS], 1),
    openraft(Bug::DeliversWithoutLease, "delivers-without-lease", &[FENCING], 200),
];

const fn ideal(bug: Bug, name: &'static str, killers: &'static [&'static str], near: u64) -> Planted {
    Planted { bug, agreement: Agreement::Ideal, name, killers, near }
}

const fn openraft(bug: Bug, name: &'static str, killers: &'static [&'static str], near: u64) -> Planted {
    Planted { bug, agreement: Agreement::Openraft, name, killers, near }
}

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
        let found = crate::run::run_as(planted.agreement, seed).violations;
        let killer = found.into_iter().find(|(promise, _)| planted.killers.contains(&promise.as_str()));
        kill = killer.map(|violation| Kill { seeds, seed, violation });
    }
    plant(None);
    kill
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Red when a mistake is added and nobody looks for it.
    #[test]
    fn every_mistake_is_looked_for() {
        let listed: BTreeSet<Bug> = PLANTED.iter().map(|planted| planted.bug).collect();
        assert_eq!(listed, BTreeSet::from(Bug::ALL));
    }
}
