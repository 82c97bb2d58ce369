//! The time-outs of the protocol, and how openraft is configured with them.
//!
//! The simulation in `tests/sim` includes this very file: it may depend on openraft and on nothing of this crate.

use std::time::Duration;

use openraft::{Config, ConfigError, SnapshotPolicy};

/// Time-outs of the protocol; all nodes should have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader lets itself be heard. Default 100 ms; 10 ms to 10 s.
    pub heartbeat: Duration,
    /// The shortest silence after which a follower stands for election. Default 700 ms; more than half of the longest
    /// silence and two and a half heartbeats.
    pub election_min: Duration,
    /// The longest such silence. Default 900 ms; more than the shortest, at most 60 s.
    pub election_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(700),
            election_max: Duration::from_millis(900),
        }
    }
}

impl Timing {
    /// How long a follower is loyal to a leader it has heard: until then it neither stands for election nor votes for
    /// anybody else. Then it waits a random time up to [`election_max`](Self::election_max) before it stands itself.
    ///
    /// Half of the longest silence, because openraft adds an election time-out, drawn anew each time, to a lease that is as
    /// long as the longest of these.
    pub(crate) fn lease(&self) -> Duration {
        self.election_max / 2
    }

    /// How long after a majority acknowledged it a leader may trust that nobody else leads. Less than the followers'
    /// [`lease`](Self::lease), so that their clocks may run half as fast again as the leader's.
    pub(crate) fn trust(&self) -> Duration {
        self.lease() * 2 / 3
    }
}

/// openraft's configuration. `heartbeat_interval` is what it is told to keep between two heartbeats.
pub(crate) fn raft_config(cluster: &str, timing: &Timing, heartbeat_interval: Duration) -> Result<Config, ConfigError> {
    let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    Config {
        cluster_name: cluster.to_owned(),
        heartbeat_interval: ms(heartbeat_interval),
        heartbeat_min_interval: Some(ms(heartbeat_interval)),
        // Both are counted from the end of the lease, which is as long as the second.
        election_timeout_min: ms(timing.election_min - timing.lease()),
        election_timeout_max: ms(timing.lease()),
        enable_pre_vote: Some(true),
        // A leader that restarts has lost what it had not synced, its lease and its read positions: it stands for election like anybody.
        enable_leader_restore: Some(false),
        // What a torn end took from a restarted follower is sent again by the leader it had acknowledged it to; without this
        // the leader would wait for that follower for the rest of its term. A replica that lost everything does not get
        // here: a data directory without its identity begins as another replica.
        allow_log_reversion: Some(true),
        // A leader that hears no majority but is heard by some would keep them from electing another.
        quorum_loss_probe_interval: Some(ms(timing.election_max * 2)),
        max_payload_entries: 128,
        max_append_entries: Some(512),
        api_channel_size: Some(1024),
        notification_channel_size: Some(8192),
        state_machine_channel_size: Some(128),
        // Checkpoints and purges are decided outside openraft.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: 1 << 40,
        purge_batch_size: 1024,
        replication_lag_threshold: 256,
        install_snapshot_timeout: 600_000,
        backoff: "50ms 100ms 200ms ..1s".into(),
        ..Config::default()
    }
    .validate()
}
