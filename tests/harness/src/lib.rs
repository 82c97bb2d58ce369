//! Real processes for end-to-end tests and load runs.
//!
//! Speaks the public protocol only, and not through our own client, so that a mistake there cannot hide one in the
//! server. Nothing started here outlives the process that started it.

pub mod binary;
pub mod call;
pub mod caller;
pub mod clock;
pub mod cluster;
pub mod ports;
pub mod proc_stat;
pub mod process;
pub mod record;
pub mod route;
pub mod wait;
pub mod worker;

pub use cluster::{Cluster, Node};

/// What went wrong around a run: a process, a port, a deadline.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

impl Error {
    /// From a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;
