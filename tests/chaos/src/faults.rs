//! What can be broken.

use std::fmt;

/// A fault the nemesis can inject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// SIGKILL to the node that leads most.
    KillLeader,
    /// SIGKILL to a node that leads little.
    KillFollower,
    /// SIGKILL to all nodes at once.
    KillAll,
    /// An executor dies with what it holds.
    KillExecutor,
    /// The leading node stands still longer than an election takes, and goes on.
    Pause,
    /// What one node had not synced is gone.
    PowerCut,
    /// What no node had synced is gone, everywhere at once.
    PowerCutAll,
    /// A node's log ends in a torn write.
    TornTail,
    /// The leading node hears nobody, and is heard.
    DeafLeader,
    /// The leading node is cut off from the others, in both directions; callers still reach it.
    CutLeader,
    /// A node that leads little is cut off from everybody.
    CutFollower,
    /// Packets between nodes are late, overtake each other, and some are lost.
    BadNetwork,
    /// Every sync of one node takes long.
    SlowDisk,
    /// One node's disk is full.
    FullDisk,
    /// The leading node's wall clock steps forward, then back.
    ClockStep,
    /// The leader dies while a node is being added.
    KillDuringAdd,
    /// The leader dies while a node is being removed.
    KillDuringRemove,
    /// A node dies while it takes a snapshot.
    KillDuringSnapshot,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 18] = [
        Fault::KillLeader,
        Fault::KillFollower,
        Fault::KillAll,
        Fault::KillExecutor,
        Fault::Pause,
        Fault::PowerCut,
        Fault::PowerCutAll,
        Fault::TornTail,
        Fault::DeafLeader,
        Fault::CutLeader,
        Fault::CutFollower,
        Fault::BadNetwork,
        Fault::SlowDisk,
        Fault::FullDisk,
        Fault::ClockStep,
        Fault::KillDuringAdd,
        Fault::KillDuringRemove,
        Fault::KillDuringSnapshot,
    ];

    /// As it is written on the command line and in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Fault::KillLeader => "kill-leader",
            Fault::KillFollower => "kill-follower",
            Fault::KillAll => "kill-all",
            Fault::KillExecutor => "kill-executor",
            Fault::Pause => "pause",
            Fault::PowerCut => "power-cut",
            Fault::PowerCutAll => "power-cut-all",
            Fault::TornTail => "torn-tail",
            Fault::DeafLeader => "deaf-leader",
            Fault::CutLeader => "cut-leader",
            Fault::CutFollower => "cut-follower",
            Fault::BadNetwork => "bad-network",
            Fault::SlowDisk => "slow-disk",
            Fault::FullDisk => "full-disk",
            Fault::ClockStep => "clock-step",
            Fault::KillDuringAdd => "kill-during-add",
            Fault::KillDuringRemove => "kill-during-remove",
            Fault::KillDuringSnapshot => "kill-during-snapshot",
        }
    }

    /// The fault of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Fault> {
        Fault::ALL.into_iter().find(|fault| fault.name() == name)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red when two faults share a name or one cannot be named.
    #[test]
    fn every_fault_has_a_name_of_its_own() {
        for fault in Fault::ALL {
            assert_eq!(Fault::named(fault.name()), Some(fault));
        }
        assert_eq!(Fault::named("kill"), None);
    }
}
