//! What a sweep has met. A sweep that has met too little proves nothing, and fails for that.

use std::fmt;

use crate::swarm::FAULTS;

macro_rules! counters {
    ($($(#[$doc:meta])+ $name:ident $(: $required:literal)?,)+) => {
        /// How often what was met.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Coverage {
            $($(#[$doc])+ pub $name: u64,)+
            /// Faults by kind.
            pub by_fault: [u64; FAULTS.len()],
            /// Entries whose outcome their leader never learned: index and term.
            pub unknown_at: Vec<(u64, u64)>,
        }

        impl Coverage {
            /// Adds what another run has met.
            pub fn add(&mut self, other: &Coverage) {
                $(self.$name += other.$name;)+
                for (sum, count) in self.by_fault.iter_mut().zip(other.by_fault) {
                    *sum += count;
                }
            }

            /// Everything, by name.
            #[must_use]
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)+]
            }

            /// What a sweep has to have met, when this is what agrees.
            #[must_use]
            pub fn required(&self, agreement: Agreement) -> Vec<(&'static str, u64)> {
                let mut required = Vec::new();
                $($(
                    if $required == "required" || $required == agreement.name() {
                        required.push((stringify!($name), self.$name));
                    }
                )?)+
                required
            }
        }
    };
}

counters! {
    /// Calls that ended.
    operations,
    /// With an answer, a refusal by the log among them.
    answered,
    /// Certainly without effect.
    refused,
    /// Nobody knows.
    unanswered,
    /// Tries after the first.
    tried_again: "required",
    /// Events.
    events,
    /// Faults.
    faults: "required",
    /// Entries applied.
    entries,
    /// Commands proposed.
    commands,
    /// Entries without commands.
    bare_entries: "required",
    /// Terms of leadership.
    terms,
    /// A node was elected while another believed that it led.
    two_leaders: "required",
    /// A leader was lost that had handed something out.
    leader_lost_with_leases: "required",
    /// A leader had something to hand out and was not sure to lead.
    withheld: "required",
    /// Commands a leader refused because no majority had answered it.
    refused_without_lease: "required",
    /// A new leader committed what its predecessor never knew the fate of.
    unknown_committed: "required",
    /// Or it was gone.
    unknown_lost: "required",
    /// A node died.
    crashes: "required",
    /// Entries that a crash took because they were not synced.
    unsynced_lost: "required",
    /// Logs that ended in the middle of a frame.
    torn_tails: "required",
    /// Checkpoints taken.
    checkpoints: "required",
    /// Snapshots installed.
    snapshots: "required",
    /// Slots of the wheel counted again one level finer.
    splits: "required",
    /// Counts of a slot that came for a wheel that had been replaced.
    stale_counts,
    /// A clock was set while its node led.
    leader_clock_steps: "required",
    /// Stamps made while the clock was not followed.
    clock_alarms: "required",
    /// A cancellation was too late by the very entry it was in.
    cancel_raced_fire: "required",
    /// A Schedule was answered as one before it.
    repeated_schedules: "required",
    /// A request was answered as when it was made first.
    repeated_requests: "required",
    /// Deliveries.
    deliveries: "required",
    /// Deliveries after a failed attempt.
    second_attempts: "required",
    /// Leases that ran out and were logged as an attempt.
    leases_expired: "required",
    /// Leases extended.
    extended: "required",
    /// Leases adopted by a new leader or stream.
    adopted: "required",
    /// Handlers dropped.
    aborted: "required",
    /// Reports about an older attempt than the newest.
    superseded: "required",
    /// Triggers given up.
    dead_letters: "required",
    /// Merged successes proposed.
    runs: "required",
    /// Positions of runs that had ended otherwise.
    rejected_in_runs,
    /// Releases of limited lanes proposed.
    releases: "required",
    /// Marks or settings of lanes changed.
    lanes_changed: "required",
    /// Streams that broke.
    streams_broken: "required",
    /// Executors that died.
    workers_killed: "required",
    /// Ids whose answers were put into an order.
    searched: "required",
    /// Ids for which that was given up.
    undecided,
    /// Nodes that were exchanged for a newer build.
    builds_exchanged: "required",
    /// Entries a leader wrote at a lower level than its build knows, because others were older.
    levels_held_back: "required",
    /// Replicas that went over to a higher level.
    levels_raised: "required",
    /// Times all machines slept until a gift was due.
    midnights: "required",
    /// Gifts that were asked for.
    gifts: "required",
    /// Messages with gifts that providers took.
    gifts_sent: "required",
    /// Cancellations in time,
    gifts_cancelled: "required",
    /// and too late.
    gifts_too_late: "required",
    /// Gifts that were passed on.
    gifts_passed_on: "required",
    /// Codes that shops took.
    gifts_used: "required",
    /// Gifts that expired.
    gifts_expired: "required",
    /// Gifts whose money went back.
    gifts_refunded: "required",
    /// Reservations that were withdrawn, or never came in.
    gifts_withdrawn: "required",
    /// Gifts that waited for a human at the end.
    gifts_unknown: "required",
    /// Turns to send that went on with one that had begun before.
    turns_resumed: "required",
    /// Providers that were not there.
    providers_not_reached: "required",
    /// Providers that gave no answer.
    providers_silent: "required",
    /// Triggers that a node ran itself.
    internal_runs: "required",
    /// Polls of tasks.
    polls,
    /// Proposals of which openraft could not say what became of them.
    outcomes_unknown: "openraft",
    /// Questions of replicas whether they would be elected.
    pre_votes: "openraft",
    /// Candidates that a replica refused because it had only just started.
    votes_too_early: "openraft",
    /// Entries that were cut off because another leader had others there.
    truncated: "openraft",
    /// Logs that were cut behind a checkpoint.
    purges: "openraft",
    /// Replicas that started with rows beyond the end of their log.
    rows_ahead_of_log,
    /// Snapshots offered to a replica that had what was in them.
    needless_snapshots,
    /// Snapshots that did not arrive.
    transfers_broken: "openraft",
    /// Read barriers that did not pass.
    barriers_failed: "openraft",
    /// Read barriers that openraft let pass on an answer from before.
    barriers_repeated: "openraft",
    /// Voters that lost their power as they voted.
    voters_cut: "openraft",
    /// Followers that restarted while another one wanted to be elected.
    leases_forgotten: "openraft",
    /// Leaders that were told to hand over.
    handed_over: "openraft",
    /// Connections between replicas that broke.
    lines_broken: "openraft",
}

/// What agrees on the log in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Agreement {
    /// The rules of Raft with an onlooker: [`crate::log`].
    #[default]
    Ideal,
    /// The library: [`mod@crate::openraft`].
    Openraft,
}

impl Agreement {
    fn name(self) -> &'static str {
        match self {
            Agreement::Ideal => "ideal",
            Agreement::Openraft => "openraft",
        }
    }
}

impl Coverage {
    /// A leader is gone that does not know what became of an entry.
    pub fn unknown(&mut self, index: u64, term: u64) {
        self.unknown_at.push((index, term));
    }

    /// What makes a sweep worthless; empty when it is not.
    #[must_use]
    pub fn vacuous(&self, agreement: Agreement) -> Vec<String> {
        let mut why: Vec<String> = self
            .required(agreement)
            .into_iter()
            .filter(|(_, count)| *count == 0)
            .map(|(name, _)| format!("never met: {name}"))
            .collect();
        if self.answered * 2 < self.operations || self.operations == 0 {
            why.push(format!("{} of {} calls were answered", self.answered, self.operations));
        }
        why
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.all().into_iter().map(|(name, count)| format!("{name} {count}")).collect();
        for line in all.chunks(6) {
            writeln!(f, "  {}", line.join(" · "))?;
        }
        let faults = FAULTS.iter().zip(self.by_fault).map(|(kind, count)| format!("{kind:?} {count}"));
        write!(f, "  faults: {}", faults.collect::<Vec<_>>().join(" · "))
    }
}
