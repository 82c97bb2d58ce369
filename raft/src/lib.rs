//! Under construction.

pub mod log;
pub mod types;
