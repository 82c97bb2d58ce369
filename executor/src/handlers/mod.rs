//! Handlers that come with the runtime.

mod exec;
mod http;

pub use exec::Exec;
pub use http::{Http, UrlError};

use std::time::SystemTime;

/// A moment as RFC 3339 in UTC with milliseconds.
pub(crate) fn rfc3339(moment: SystemTime) -> String {
    match jiff::Timestamp::try_from(moment) {
        Ok(timestamp) => format!("{timestamp:.3}"),
        // Beyond the year 9999: no trigger is due there.
        Err(_) => String::new(),
    }
}

/// A fencing token as text whose order as a tuple of numbers is its order: `epoch.term.counter`.
pub(crate) fn token_text(token: proto::v1::FencingToken) -> String {
    format!("{}.{}.{}", token.epoch, token.term, token.counter)
}
