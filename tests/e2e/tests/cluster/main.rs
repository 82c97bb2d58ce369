//! End-to-end tests with real processes, by subject.

mod canary;
mod cli;
mod data_directory;
mod errors;
mod executors;
mod failover;
mod idle;
mod late;
mod life;
mod load_limits;
mod loadtest;
mod membership;
mod pause;
mod races;
mod restart;
mod top;
mod upgrade;
