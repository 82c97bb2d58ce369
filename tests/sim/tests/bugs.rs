//! Every planted mistake is found by a checker that is there to find it, within a bounded number of seeds.
#![cfg(feature = "planted-bugs")]

use scheduler::planted::Bug;
use sim::bugs::{PLANTED, hunt};
use sim::coverage::Agreement;

/// What ten seconds of one core are good for.
const SEEDS_MAX: u64 = 500;

fn is_found(agreement: Agreement, bug: Bug) {
    let listed = PLANTED.iter().find(|planted| (planted.agreement, planted.bug) == (agreement, bug));
    let planted = listed.expect("every mistake is listed");
    let kill = hunt(planted, planted.near, |seeds| seeds < SEEDS_MAX);
    assert!(kill.is_some(), "{} survived {SEEDS_MAX} seeds", planted.name);
}

macro_rules! found {
    ($($name:ident $agreement:ident $bug:ident)+) => {
        $(
            #[test]
            fn $name() {
                is_found(Agreement::$agreement, Bug::$bug);
            }
        )+

        /// Red when a mistake is added and has no test.
        #[test]
        fn every_mistake_has_a_test() {
            let tested = [$((Agreement::$agreement, Bug::$bug)),+];
            assert_eq!(PLANTED.map(|planted| (planted.agreement, planted.bug)), tested);
        }
    };
}

found! {
    acknowledges_before_sync Ideal AcknowledgesBeforeSync
    commits_alone Ideal CommitsAlone
    snapshot_forgets_ids Ideal SnapshotForgetsIds
    rounds_to_seconds Ideal RoundsToSeconds
    fires_after_due Ideal FiresAfterDue
    wheel_drops_splits Ideal WheelDropsSplits
    time_steps_back Ideal TimeStepsBack
    cancels_fired Ideal CancelsFired
    accepts_old_attempts Ideal AcceptsOldAttempts
    reports_before_effect Ideal ReportsBeforeEffect
    retries_with_new_request Ideal RetriesWithNewRequest
    applies_local_time Ideal AppliesLocalTime
    unstable_order Ideal UnstableOrder
    reads_without_barrier Ideal ReadsWithoutBarrier
    delivers_without_lease Ideal DeliversWithoutLease
    raises_floor_too_far Ideal RaisesFloorTooFar
    forgets_retry_lane Ideal ForgetsRetryLane
    gates_on_build Ideal GatesOnBuild
    writes_own_level Ideal WritesOwnLevel
    draws_every_turn Ideal DrawsEveryTurn
    keeps_old_code Ideal KeepsOldCode
    takes_silence_for_absence Ideal TakesSilenceForAbsence
    sends_again_unseen Ideal SendsAgainUnseen
    leader_restore Openraft LeaderRestore
    flush_reported_early Openraft FlushReportedEarly
    vote_not_synced Openraft VoteNotSynced
    trusts_after_hand_over Openraft TrustsAfterHandOver
    lease_by_openraft Openraft LeaseByOpenraft
    openraft_reads_without_barrier Openraft ReadsWithoutBarrier
    openraft_snapshot_forgets_ids Openraft SnapshotForgetsIds
    openraft_delivers_without_lease Openraft DeliversWithoutLease
}
