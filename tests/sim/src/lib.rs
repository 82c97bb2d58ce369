//! A deterministic simulation of the core.
//!
//! What is real: the state machine, wheel and dispatcher of `scheduler`, the engine of `executor`, the rules of retry,
//! leaders and routing of `client`, the server's rules of time and its reading of rows. What is simulated around it, on
//! one thread from one seed: the agreed log with its elections ([`log`], or the library itself: [`openraft`](mod@openraft)), disks, clocks, links, processes that die, stop
//! and start. What the server does between them without deciding anything is written again, small, in [`proposer`],
//! [`dispatch`] and [`feed`]. In every eighth seed there are [`gifts`] beside the triggers, with their domains and providers.
//!
//! One seed is one run, to the byte. It begins with a setting ([`swarm`]), goes through faults ([`nemesis`]) and load
//! ([`caller`]), heals, comes to rest, and is judged by `checkers` ([`audit`]). A [`sweep`] runs many, says what it met
//! ([`coverage`]), and fails when that is too little.

pub mod audit;
pub mod bugs;
pub mod caller;
pub mod clock;
pub mod coverage;
pub mod digest;
pub mod disk;
pub mod dispatch;
pub mod events;
pub mod feed;
pub mod gifts;
pub mod log;
pub mod nemesis;
pub mod net;
pub mod node;
pub mod openraft;
pub mod proposer;
pub mod rng;
#[path = "../../../api/server/src/rows.rs"]
pub mod rows;
pub mod run;
pub mod streams;
pub mod swarm;
pub mod sweep;
#[path = "../../../api/server/src/time_rules.rs"]
pub mod time_rules;
pub mod upgrade;
pub mod wire;
pub mod worker;
pub mod world;
