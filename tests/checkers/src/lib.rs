//! Checkers over histories: what was asked and answered, delivered and completed, and what is there at the end.
//!
//! One file per promise of the design. A checker knows the public protocol and nothing of how it is kept, so that a
//! mistake in the product cannot repeat itself here. Every checker has been shown a history that breaks its promise.
//!
//! | file | promise |
//! |---|---|
//! | [`lost`] | no acknowledged write lost |
//! | [`early`] | never fired early |
//! | [`fired_or_cancelled`] | exactly one of fired and cancelled |
//! | [`once`] | effect at most once per (id, generation), and one receipt for everybody |
//! | [`fencing`] | deliveries of one (id, generation) carry growing tokens |
//! | [`accounted`] | everything due is completed, leased, in the retry lane, dead-lettered or held |
//! | [`attempts`] | a failed attempt is counted once (for runs that see the log) |
//! | [`effects`] | what is completed was done (for runs that know what handlers did) |
//! | [`replicas`] | replicas at one index are identical when read (for runs that see replicas) |
//! | [`linearizable`], [`search`] | schedule, cancel, reschedule, run-now and get are linearizable per id |
//! | [`gifts`] | what is promised about gifts: nothing lost, nothing twice, the books are the provider's (for runs with gifts) |

pub mod accounted;
pub mod attempts;
pub mod convert;
pub mod early;
pub mod effects;
pub mod fencing;
pub mod fired_or_cancelled;
pub mod gifts;
pub mod history;
pub mod linearizable;
pub mod lost;
pub mod model;
pub mod once;
pub mod replicas;
pub mod search;
mod verdict;

#[cfg(test)]
mod fixture;

pub use history::{Event, History};
pub use verdict::{Checked, Options, PROMISES, Verdict, Violation, check};
