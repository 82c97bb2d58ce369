//! What a seed is made of beside what every seed is made of.

use std::sync::Arc;
use std::time::Duration;

use openraft::Config;
use scheduler::planted::{self, Bug};

use super::timing::{Timing, raft_config};
use crate::events::{MS, Micros};
use crate::rng::Rng;

/// The setting of one run.
#[derive(Clone, Debug)]
pub struct Setting {
    /// As the product has them by default.
    pub timing: Timing,
    /// As the product configures openraft.
    pub config: Arc<Config>,
    /// Entries take up to this long to be applied.
    pub apply: Micros,
    /// A snapshot takes up to this long to travel, and again to be taken over.
    pub snapshot: Micros,
    /// After so many in a million applies all rows are brought into files, as a store does when its memory is full.
    pub flush_ppm: u32,
    /// Whether logs are to be cut is looked at this often.
    pub keep_every: Micros,
    /// Mean time between two of the troubles made for replicas; `None`: none happen.
    pub trouble_every: Option<Micros>,
    /// So many in a million voters lose their power as they vote.
    pub voter_cut_ppm: u32,
    /// A follower that was not heard for this long holds no log any more.
    pub patience: Duration,
}

impl Setting {
    /// The setting of a seed.
    ///
    /// # Panics
    ///
    /// If openraft refuses the product's configuration.
    #[must_use]
    pub fn new(rng: &mut Rng) -> Self {
        let timing = Timing::default();
        let mut config =
            raft_config("simulated", &timing, beat(&timing) * 2 * 7 / 8).expect("a configuration of the product");
        if planted::is(Bug::LeaderRestore) {
            config.enable_leader_restore = Some(true);
        }
        Setting {
            timing,
            config: Arc::new(config),
            apply: rng.between(50, 5_000),
            snapshot: rng.between(5, 400) * MS,
            flush_ppm: if rng.coin() { rng.between(2_000, 60_000) as u32 } else { 0 },
            keep_every: rng.between(300, 1_500) * MS,
            trouble_every: rng.chance(400_000).then(|| rng.between(2_000, 8_000) * MS),
            voter_cut_ppm: if rng.chance(400_000) { rng.between(50_000, 400_000) as u32 } else { 0 },
            patience: Duration::from_micros(rng.between(200, 4_000) * MS),
        }
    }
}

/// Half a heartbeat: the ticks of a node fall on these.
#[must_use]
pub fn beat(timing: &Timing) -> Duration {
    timing.heartbeat / 2
}

/// When the first beat of a node is: none of a few nodes beat close to each other.
#[must_use]
pub fn phase(timing: &Timing, node: usize) -> Duration {
    beat(timing).mul_f64(((node + 1) as f64 * 0.618_033_988_749_895).fract())
}
