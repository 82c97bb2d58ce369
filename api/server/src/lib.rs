//! The service: gRPC in front, the composed state machine behind, and the clock.

pub mod clock;
pub mod config;
pub mod convert;
pub mod error;
pub mod local_time;
pub mod routing;
pub mod status;
mod text;
pub mod time_rules;
pub mod validate;
