//! The pure core of Bosingak: triggers, lanes, the timing wheel of counts, commands, the state machine that applies
//! them, and the dispatcher that decides who gets what.
//!
//! Nothing here is asynchronous, does I/O, reads a clock, draws a random number or depends on the order of a hash map.
//! Moments arrive as arguments; rows are read through [`store::Read`] and changed by returning [`store::Write`]s. Two
//! replicas that applied the same entries hold the same rows, to the byte.

pub mod command;
pub mod dispatcher;
pub mod domain;
pub mod forecast;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod golden;
pub mod keys;
pub mod lane;
pub mod machine;
pub mod memory;
pub mod overlay;
#[doc(hidden)]
pub mod planted;
pub mod read;
pub mod record;
pub mod reply;
pub mod retention;
pub mod retry;
pub mod run_codec;
mod sparse;
mod standing;
pub mod store;
pub mod time;
mod topics;
pub mod upgrade;
pub mod verify;
pub mod wheel;

pub use topics::Topics;
