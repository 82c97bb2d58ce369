//! Adapters to the providers outside: what moves money, and what reaches people.
//!
//! An adapter makes one call and says what became of it in words its caller can act on; whether and when to try again is not its
//! business. The words keep two things apart that look alike from afar: what was **certainly not** done, and what **nobody knows**.
//! A time-out, a reset, an answer without sense are the latter, and money is asked after before it is moved again.
//!
//! Secrets are read from files and appear in no error and no `Debug`.

pub mod address;
mod endpoint;
pub mod fcm;
pub mod message;
pub mod payment;
mod secret;
pub mod slack;
pub mod smtp;
pub mod solapi;
pub mod toss;

pub use endpoint::EndpointConfig;
pub use secret::Secret;

/// What is wrong with the settings of an adapter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Error {
    /// Which setting.
    pub field: &'static str,
    /// What is wrong with it, and what was expected.
    pub message: String,
}

impl Error {
    pub(crate) fn new(field: &'static str, message: impl Into<String>) -> Self {
        Error { field, message: message.into() }
    }
}

/// Characters of a provider's text that are kept.
const TEXT_CHARS_MAX: usize = 512;

/// What a provider says, cut where it is too long.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}
