//! Calls to a provider, spread over time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lets calls through one by one, so many a second; clones share the count. Whoever waits is a handler that runs, so the queue is
/// as long as the executor has handlers.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace(Option<Arc<Spread>>);

#[derive(Debug)]
struct Spread {
    apart: Duration,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    /// So many a second, evenly; `None` or 0: no limit.
    pub(super) fn new(per_second: Option<u32>) -> Self {
        let apart = per_second.and_then(|rate| Duration::from_secs(1).checked_div(rate));
        Pace(apart.map(|apart| Arc::new(Spread { apart, next: Mutex::default() })))
    }

    /// Returns when the next call may be made.
    pub(super) async fn turn(&self) {
        let Some(spread) = &self.0 else { return };
        let at = {
            // A moment is whole whoever wrote it.
            let mut next = spread.next.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let at = next.unwrap_or(now).max(now);
            *next = Some(at + spread.apart);
            at
        };
        tokio::time::sleep_until(at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calls_are_spread_and_a_pause_saves_nothing_up() {
        let pace = Pace::new(Some(4));
        let begun = Instant::now();
        let (first, second) = (pace.clone(), pace.clone());
        tokio::join!(first.turn(), second.turn(), pace.turn());
        assert_eq!(begun.elapsed(), Duration::from_millis(500));
        tokio::time::advance(Duration::from_secs(60)).await;
        let begun = Instant::now();
        pace.turn().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        pace.turn().await;
        assert_eq!(begun.elapsed(), Duration::from_millis(250));
    }

    #[tokio::test(start_paused = true)]
    async fn no_limit_is_none() {
        let begun = Instant::now();
        for pace in [Pace::new(None), Pace::new(Some(0))] {
            pace.turn().await;
            pace.turn().await;
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
