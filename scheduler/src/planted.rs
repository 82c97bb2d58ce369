//! Mistakes that can be planted, to see that a test suite finds them.
//!
//! A checker is believed once it has found something. So the mistakes that such a system is known to make can be switched
//! on, one at a time, at run time, in builds with the feature `planted-bugs`. Without it [`is`] is `false` for the
//! compiler, and nothing of this is left. Some sites are here in the core, some in the business domains,
//! the others in the simulation around them.

use crate::time::Timestamp;

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bug {
    /// The log counts what was written as safe before it was synced.
    AcknowledgesBeforeSync,
    /// A leader commits, applies and answers what nobody else has.
    CommitsAlone,
    /// A snapshot leaves out the rows of ids, by which repeated requests are known.
    SnapshotForgetsIds,
    /// Due times are kept in whole seconds: triggers fire up to a second early.
    RoundsToSeconds,
    /// A trigger fires after its due time, not at it: the last one of a quiet partition never does.
    FiresAfterDue,
    /// A coarse slot of the wheel that is split loses what it counted.
    WheelDropsSplits,
    /// A new leader stamps entries with its own clock, whatever was stamped before.
    TimeStepsBack,
    /// A cancellation is accepted though the trigger has fired by the time it is applied.
    CancelsFired,
    /// A report about an attempt that has been counted is counted again.
    AcceptsOldAttempts,
    /// An executor reports success before it has done anything.
    ReportsBeforeEffect,
    /// A call that is tried again carries another request id.
    RetriesWithNewRequest,
    /// Applying an entry looks at the node's own clock.
    AppliesLocalTime,
    /// What an entry writes depends on an order that differs from node to node.
    UnstableOrder,
    /// A leader answers reads without asking whether it still leads.
    ReadsWithoutBarrier,
    /// A leader hands out work without asking whether it still leads.
    DeliversWithoutLease,
    /// A lane's floor is raised past what has not ended.
    RaisesFloorTooFar,
    /// A new leader does not look into retry lanes until something new comes there.
    ForgetsRetryLane,
    /// Apply looks at what its own build knows and not at the feature level in force.
    GatesOnBuild,
    /// A leader writes at the feature level of its own build, whatever the others know.
    WritesOwnLevel,
    /// A leader that restarts goes on leading in its term, though what it had not synced is gone.
    LeaderRestore,
    /// The log tells Raft that entries are safe before they were synced.
    FlushReportedEarly,
    /// The log tells Raft that a vote is safe before it was synced.
    VoteNotSynced,
    /// A leader that is handing over is still sure that nobody else leads.
    TrustsAfterHandOver,
    /// A leader's lease is as long as openraft thinks, which takes one answer for an answer to several requests.
    LeaseByOpenraft,
    /// Every turn to send a gift draws another code and link.
    DrawsEveryTurn,
    /// A gift that is passed on keeps the code its earlier holder has seen.
    KeepsOldCode,
    /// An executor says that a provider was not reached when it was, and gave no answer.
    TakesSilenceForAbsence,
    /// An executor that is told that a message may be on its way sends it without looking.
    SendsAgainUnseen,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 28] = [
        Bug::AcknowledgesBeforeSync,
        Bug::CommitsAlone,
        Bug::SnapshotForgetsIds,
        Bug::RoundsToSeconds,
        Bug::FiresAfterDue,
        Bug::WheelDropsSplits,
        Bug::TimeStepsBack,
        Bug::CancelsFired,
        Bug::AcceptsOldAttempts,
        Bug::ReportsBeforeEffect,
        Bug::RetriesWithNewRequest,
        Bug::AppliesLocalTime,
        Bug::UnstableOrder,
        Bug::ReadsWithoutBarrier,
        Bug::DeliversWithoutLease,
        Bug::RaisesFloorTooFar,
        Bug::ForgetsRetryLane,
        Bug::GatesOnBuild,
        Bug::WritesOwnLevel,
        Bug::LeaderRestore,
        Bug::FlushReportedEarly,
        Bug::VoteNotSynced,
        Bug::TrustsAfterHandOver,
        Bug::LeaseByOpenraft,
        Bug::DrawsEveryTurn,
        Bug::KeepsOldCode,
        Bug::TakesSilenceForAbsence,
        Bug::SendsAgainUnseen,
    ];
}

#[cfg(feature = "planted-bugs")]
mod on {
    use std::cell::Cell;

    use super::Bug;
    use crate::time::Timestamp;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
        static NODE: Cell<(Timestamp, u64)> = const { Cell::new((Timestamp::MIN, 0)) };
    }

    /// Plants a mistake in what this thread runs from now on, or none.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }

    pub(super) fn is(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }

    pub(super) fn at_node(clock: Timestamp, number: u64) {
        NODE.set((clock, number));
    }

    pub(super) fn node() -> (Timestamp, u64) {
        NODE.get()
    }
}

#[cfg(feature = "planted-bugs")]
pub use on::plant;

/// Whether this mistake is planted.
#[inline(always)]
pub fn is(bug: Bug) -> bool {
    #[cfg(feature = "planted-bugs")]
    return on::is(bug);
    #[cfg(not(feature = "planted-bugs"))]
    {
        let _ = bug;
        false
    }
}

/// Tells mistakes that look at the node which one runs, and what its clock says.
#[inline(always)]
pub fn at_node(clock: Timestamp, number: u64) {
    #[cfg(feature = "planted-bugs")]
    on::at_node(clock, number);
    #[cfg(not(feature = "planted-bugs"))]
    let _ = (clock, number);
}

/// The time an entry is applied at.
#[inline(always)]
pub(crate) fn now(entry: Timestamp) -> Timestamp {
    #[cfg(feature = "planted-bugs")]
    if is(Bug::AppliesLocalTime) {
        return entry.max(on::node().0);
    }
    entry
}

/// Brings things into an order that a hash map might have given them.
#[inline(always)]
pub(crate) fn shuffle<T>(things: &mut [T]) {
    #[cfg(feature = "planted-bugs")]
    if is(Bug::UnstableOrder) && !things.is_empty() {
        things.rotate_left(on::node().1 as usize % things.len());
    }
    #[cfg(not(feature = "planted-bugs"))]
    let _ = things;
}

/// The watermark up to which triggers count as due.
#[inline(always)]
pub(crate) fn due_by(watermark: Timestamp) -> Timestamp {
    match is(Bug::FiresAfterDue) {
        true => Timestamp::from_millis(watermark.as_millis().saturating_sub(1)),
        false => watermark,
    }
}

/// The moment a trigger was asked for.
#[inline(always)]
pub(crate) fn asked(at: Timestamp) -> Timestamp {
    match is(Bug::RoundsToSeconds) {
        true => Timestamp::from_millis(at.as_millis() / 1_000 * 1_000),
        false => at,
    }
}
