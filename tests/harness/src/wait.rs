//! Waiting for conditions, never for time.

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(15);

/// Looks until `condition` has an answer.
///
/// # Errors
///
/// When it has none after `within`; the error says what was waited for and what was seen last.
pub async fn until<T, S, F>(what: &str, within: Duration, mut condition: impl FnMut() -> F) -> Result<T>
where
    S: Debug,
    F: Future<Output = std::result::Result<T, S>>,
{
    let deadline = Instant::now() + within;
    loop {
        let seen = match tokio::time::timeout(within, condition()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(seen)) => format!("{seen:?}"),
            Err(_) => "no answer".to_owned(),
        };
        if Instant::now() >= deadline {
            return Err(Error(format!("no {what} within {within:?}; last seen: {seen}")));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
