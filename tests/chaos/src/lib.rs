//! Chaos on real processes: three `bosingakd`, each in a network namespace and on a disk of its own, real executors, callers
//! who schedule, cancel, move and read, and a nemesis that breaks one thing after the other.
//!
//! Every fault is put in, held, and taken out again; in the end everything is healed, and the checkers decide over the history
//! of what callers and executors saw. A fault that is listed and was never injected proves nothing: the run says NOT PROVEN.

pub mod arguments;
pub mod clocks;
pub mod crashes;
pub mod disks;
pub mod faults;
pub mod leftovers;
pub mod nemesis;
pub mod network;
pub mod os;
pub mod outcome;
pub mod overlap;
pub mod run;
pub mod switch;
pub mod workload;
