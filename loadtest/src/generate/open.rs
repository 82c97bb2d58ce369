//! Open loop: what is to be done is done when its moment comes, whatever has become of what was done before.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinSet};

/// Starts a call at each moment after `start`, in order, without waiting for earlier ones; returns when all have ended.
///
/// A call is given the moment it was meant for. Latency counted from there includes that it was started late: by up to a
/// millisecond, which is as fine as the timer is, and by more when this process cannot keep up.
pub async fn at_their_moments<T, F>(
    start: Instant,
    moments: impl IntoIterator<Item = (Duration, T)>,
    call: impl Fn(Instant, T) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut calls = JoinSet::new();
    for (after, what) in moments {
        let moment = start + after;
        if moment > Instant::now() {
            tokio::time::sleep_until(moment.into()).await;
        }
        calls.spawn(call(moment, what));
        while let Some(ended) = calls.try_join_next() {
            passed_on(ended);
        }
    }
    while let Some(ended) = calls.join_next().await {
        passed_on(ended);
    }
}

/// A call that panics is a mistake of ours, and the run is worth nothing.
fn passed_on(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Turns red when a call waits for the answer to an earlier one, or is told another moment than its own.
    #[tokio::test]
    async fn calls_do_not_wait_for_answers() {
        let start = Instant::now();
        let begun: Arc<Mutex<Vec<(Duration, u64)>>> = Arc::default();
        let all_begun = Arc::new(tokio::sync::Barrier::new(3));
        let moments = [(Duration::ZERO, 0), (Duration::from_millis(2), 1), (Duration::from_millis(5), 2)];
        at_their_moments(start, moments, |moment, what| {
            let (begun, all_begun) = (begun.clone(), all_begun.clone());
            async move {
                begun.lock().unwrap().push((moment - start, what));
                // Nothing is answered before the last call has been made.
                all_begun.wait().await;
            }
        })
        .await;
        assert_eq!(*begun.lock().unwrap(), moments);
    }
}
