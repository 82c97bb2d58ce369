//! The agreed log with the real library that agrees: openraft's cores, one per node, in the world's time.
//!
//! Real: openraft, with the product's configuration (the very file). Simulated: its runtime ([`runtime`]), disks ([`disk`]),
//! links ([`lines`]). Written again, small, after the product: what is between openraft and these ([`log`], [`machine`],
//! [`network`], [`server`]), and what starts and follows a core ([`replica`]) and cuts logs ([`keep`]).
//!
//! Tasks ask the world for what they need ([`port`]); the world answers ([`cluster`]) and looks at Raft's own rules on the
//! way ([`laws`]). Some of what breaks is made for this alone ([`trouble`]).

pub mod cluster;
pub mod disk;
pub mod frame;
pub mod keep;
pub mod laws;
pub mod leading;
pub mod lines;
pub mod log;
pub mod machine;
pub mod network;
pub mod port;
pub mod replica;
pub mod runtime;
pub mod server;
pub mod setting;
#[path = "../../../../raft/src/timing.rs"]
pub mod timing;
pub mod trouble;
pub mod types;
