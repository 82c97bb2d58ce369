//! What can go wrong with the log of a node.

use std::io;
use std::path::PathBuf;

/// Why the log cannot be opened, or why it stopped.
///
/// Nothing here is worth retrying within the process: an operator, a newer binary or a restart decides.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused a read, write, sync, rename or removal.
    #[error("log: {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },

    /// A part of the log that had been made durable cannot be read back. Starting anyway would drop acknowledged
    /// entries, so the node refuses to start; it has to be replaced by a new replica, or its disk restored.
    #[error("log: {} is damaged at offset {offset}: {reason}", path.display())]
    Corrupt {
        /// The segment.
        path: PathBuf,
        /// Byte offset in it of the first record that cannot be trusted.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },

    /// The segments are readable, but entries that must be among them are not.
    #[error("log: group {gid} misses entry {index} (purged up to {purged:?}, last {last:?})")]
    Missing {
        /// The group.
        gid: u32,
        /// The first missing index.
        index: u64,
        /// Everything up to here may be missing.
        purged: Option<u64>,
        /// The last index of the group.
        last: Option<u64>,
    },

    /// A segment file between others is gone.
    #[error("log: segment {seq} is missing from {}, though later ones are there", dir.display())]
    MissingSegment {
        /// The directory.
        dir: PathBuf,
        /// The first missing sequence number.
        seq: u32,
    },

    /// Written by a later version of this program.
    #[error("log: {} has format {found}, this program knows formats up to {known}: start it with a newer version", path.display())]
    NewerFormat {
        /// The segment.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format this program reads.
        known: u32,
    },

    /// Another process has the directory open.
    #[error("log: {} is in use by another process", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },

    /// A setting outside its bounds.
    #[error("log: {field} is {value}, must be {min} to {max}")]
    Config {
        /// Field of [`LogConfig`](super::LogConfig).
        field: &'static str,
        /// What it is set to.
        value: u64,
        /// Smallest allowed value.
        min: u64,
        /// Largest allowed value.
        max: u64,
    },

    /// The writer thread is gone: the log was closed.
    #[error("log: closed")]
    Closed,
}

impl Error {
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { action, path, source }
    }
}
