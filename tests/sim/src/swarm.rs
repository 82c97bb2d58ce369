//! What a seed is made of: which faults are on, how strong they are, how many executors and callers there are.

use crate::events::{MS, Micros, SECOND};
use crate::net::Weather;
use crate::rng::Rng;

/// Replicas. The product's clusters are of three.
pub const NODES: usize = 3;

/// The setting of one run. Faults that are always all on hide each other's effects, so each is on in some seeds only.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// Executors.
    pub workers: usize,
    /// Sequential callers.
    pub callers: usize,
    /// Mean pause of a caller between two calls.
    pub pause: Micros,
    /// Faults and load end here.
    pub quiet_at: Micros,
    /// The run ends here.
    pub end: Micros,
    /// Mean time between two faults; `None`: none happen.
    pub fault_every: Option<Micros>,
    /// Faults that may happen, with their weights.
    pub faults: Vec<(FaultKind, u32)>,
    /// How links behave until it is quiet.
    pub weather: Weather,
    /// How long a sync of the log takes at least,
    pub sync: Micros,
    /// and how much longer at most.
    pub sync_jitter: Micros,
    /// Time of day may be wrong by this much on any node, in either direction, and on one node by any amount.
    pub skew: Micros,
    /// Clocks may run this much faster or slower, in millionths.
    pub drift_ppm: u64,
    /// A node takes a checkpoint after so many entries,
    pub checkpoint_every: u64,
    /// and keeps so many entries before it in its log.
    pub keep: u64,
    /// A dispatcher hears of applied entries up to this late.
    pub feed_lag: Micros,
    /// So many in a million handlers say "again",
    pub retry_ppm: u32,
    /// "never",
    pub fail_ppm: u32,
    /// or nothing at all.
    pub hang_ppm: u32,
    /// Handlers an executor runs at once, and deliveries it holds for each.
    pub concurrency: usize,
    /// A handler takes up to this long.
    pub work: Micros,
    /// So many in a million triggers are due with a whole second, together with many others.
    pub herd_ppm: u32,
    /// Nodes pass calls on rather than say who leads.
    pub forwarding: bool,
    /// Topics are paused, resumed and limited on the way.
    pub topics_change: bool,
    /// How wrong replicated time may be, in microseconds. 0: by not one millisecond.
    pub clock_error: Micros,
}

/// What the nemesis may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// A node's process dies and comes back.
    Kill,
    /// A node loses its power: what was not synced is gone.
    PowerCut,
    /// All nodes lose their power at once.
    Blackout,
    /// A node stops for a while, and goes on not knowing.
    Pause,
    /// A node is cut off from the other nodes.
    Isolate,
    /// A node is cut off from everybody.
    Unplug,
    /// A link works in one direction only.
    OneWay,
    /// The leader is cut off from the other nodes, but not from clients and executors.
    LeaderAlone,
    /// A clock is set.
    ClockStep,
    /// All machines slept: every clock jumps ahead by minutes to hours.
    Sleep,
    /// An executor dies and comes back.
    WorkerKill,
    /// A stream between an executor and a node breaks.
    Reset,
    /// A disk gets slow for a while.
    SlowDisk,
}

/// Every fault there is.
pub const FAULTS: [FaultKind; 13] = [
    FaultKind::Kill,
    FaultKind::PowerCut,
    FaultKind::Blackout,
    FaultKind::Pause,
    FaultKind::Isolate,
    FaultKind::Unplug,
    FaultKind::OneWay,
    FaultKind::LeaderAlone,
    FaultKind::ClockStep,
    FaultKind::Sleep,
    FaultKind::WorkerKill,
    FaultKind::Reset,
    FaultKind::SlowDisk,
];

impl Swarm {
    /// The setting of a seed.
    pub fn new(rng: &mut Rng) -> Self {
        let clocks = rng.chance(400_000);
        let mut faults = Vec::new();
        for kind in FAULTS {
            let of_clocks = kind == FaultKind::ClockStep;
            if if of_clocks { clocks } else { rng.chance(450_000) } {
                faults.push((kind, 1 + rng.below(4) as u32));
            }
        }
        let weather = Weather {
            delay: rng.between(50, 400),
            jitter: rng.between(50, 2_000),
            tail_ppm: if rng.coin() { rng.between(500, 20_000) as u32 } else { 0 },
            tail: rng.between(50, 1_500) * MS,
            loss_ppm: if rng.chance(600_000) { rng.between(500, 40_000) as u32 } else { 0 },
            double_ppm: if rng.coin() { rng.between(500, 50_000) as u32 } else { 0 },
        };
        let (skew, drift_ppm) = if clocks { (rng.below(400) * MS, rng.below(50_000)) } else { (0, 0) };
        let slow = rng.chance(300_000);
        Swarm {
            workers: rng.between(1, 4) as usize,
            callers: rng.between(4, 6) as usize,
            pause: rng.between(180, 420) * MS,
            quiet_at: rng.between(28, 32) * SECOND,
            end: 60 * SECOND,
            fault_every: (!faults.is_empty()).then(|| rng.between(1_000, 5_000) * MS),
            faults,
            weather,
            sync: rng.between(80, 300),
            sync_jitter: if slow { rng.between(1_000, 30_000) } else { rng.between(50, 1_000) },
            skew,
            drift_ppm,
            checkpoint_every: rng.between(40, 400),
            keep: rng.below(60),
            feed_lag: if rng.coin() { rng.below(30 * MS) } else { 0 },
            retry_ppm: rng.below(250_000) as u32,
            fail_ppm: rng.below(40_000) as u32,
            hang_ppm: if rng.coin() { rng.below(80_000) as u32 } else { 0 },
            concurrency: rng.between(1, 4) as usize,
            work: rng.between(40, 400) * MS,
            herd_ppm: if rng.coin() { 500_000 } else { 0 },
            forwarding: rng.coin(),
            topics_change: rng.coin(),
            // A majority is never wrong by more than `skew`; the one that may be agrees with them within 500 ms, and
            // without anybody to agree with time goes on at the pace of a clock that drifts.
            clock_error: if clocks { 3 * SECOND } else { 0 },
        }
    }

    /// Nobody calls and nothing fails: what a run must not be mistaken for.
    #[must_use]
    pub fn idle() -> Self {
        let mut idle = Swarm::new(&mut Rng::new(1));
        idle.callers = 0;
        idle.fault_every = None;
        idle
    }
}
