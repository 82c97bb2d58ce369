//! Gifts from the wish to the end, over the scheduler's machine, with virtual time.
//!
//! After every entry, in stories as in random runs, [`invariants`] are checked.

mod docs;
mod golden;
mod invariants;
mod lifetime;
mod manage;
mod notification;
mod payment;
mod random;
mod receive;
mod refusals;
mod reserve;
mod send;
mod shop;
mod world;
