//! Every planted mistake is found by a checker that is there to find it, within a bounded number of seeds.
#![cfg(feature = "planted-bugs")]

use scheduler::planted::Bug;
use sim::bugs::{PLANTED, hunt};

/// What ten seconds of one core are good for.
const SEEDS_MAX: u64 = 500;

fn is_found(bug: Bug) {
    let planted = PLANTED.iter().find(|planted| planted.bug == bug).expect("every mistake is listed");
    let kill = hunt(planted, planted.near, |seeds| seeds < SEEDS_MAX);
    assert!(kill.is_some(), "{} survived {SEEDS_MAX} seeds", planted.name);
}

macro_rules! found {
    ($($name:ident $bug:ident)+) => {
        $(
            #[test]
            fn $name() {
                is_found(Bug::$bug);
            }
        )+

        /// Red when a mistake is added and has no test.
        #[test]
        fn every_mistake_has_a_test() {
            assert_eq!(Bug::ALL, [$(Bug::$bug),+]);
        }
    };
}

found! {
    acknowledges_before_sync AcknowledgesBeforeSync
    commits_alone CommitsAlone
    snapshot_forgets_ids SnapshotForgetsIds
    rounds_to_seconds RoundsToSeconds
    fires_after_due FiresAfterDue
    wheel_drops_splits WheelDropsSplits
    time_steps_back TimeStepsBack
    cancels_fired CancelsFired
    accepts_old_attempts AcceptsOldAttempts
    reports_before_effect ReportsBeforeEffect
    retries_with_new_request RetriesWithNewRequest
    applies_local_time AppliesLocalTime
    unstable_order UnstableOrder
    reads_without_barrier ReadsWithoutBarrier
    delivers_without_lease DeliversWithoutLease
    raises_floor_too_far RaisesFloorTooFar
    forgets_retry_lane ForgetsRetryLane
}
