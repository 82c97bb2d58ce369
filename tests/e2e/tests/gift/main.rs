//! Gifts with real processes: three nodes on a virtual clock, executors of gifts, and the providers' contracts on loopback.

mod cli;
mod demo;
mod faults;
mod record;
mod story;
