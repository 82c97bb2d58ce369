//! What one replica's parts tell each other: how far it is, what is durable, what must stay in the log, why it stopped.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::apply::Failure;
use crate::store::Mark;

/// How long the log is still held after a snapshot was sent: until the leader has learnt how far the receiver is.
const HOLD_AFTER: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Inner {
    durable: Mark,
    durable_at: Option<Instant>,
    durable_bytes: u64,
    /// Former checkpoints, oldest first: index and when it was made.
    checkpoints: VecDeque<(u64, Instant)>,
    /// Bytes applied since the start.
    bytes: u64,
    holds: BTreeMap<u64, (u64, Option<Instant>)>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Progress {
    inner: Mutex<Inner>,
    next_hold: AtomicU64,
    failure: OnceLock<Failure>,
    /// A snapshot is being received.
    pub(crate) installing: AtomicBool,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these mutexes guard is valid after every single step, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the log from being cut above an index while a snapshot travels.
pub(crate) struct Hold {
    id: u64,
    progress: Arc<Progress>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(hold) = lock(&self.progress.inner).holds.get_mut(&self.id) {
            hold.1 = Some(Instant::now() + HOLD_AFTER);
        }
    }
}

impl Progress {
    /// The store as opened: all of it is in files.
    pub(crate) fn opened(mark: Mark) -> Self {
        let progress = Progress::default();
        progress.durable(mark);
        progress
    }

    /// Entries of so many bytes were applied.
    pub(crate) fn applied(&self, bytes: u64) {
        lock(&self.inner).bytes += bytes;
    }

    /// A checkpoint was completed.
    pub(crate) fn durable(&self, mark: Mark) {
        let mut inner = lock(&self.inner);
        let index = mark.applied.map_or(0, |id| id.index);
        let now = Instant::now();
        inner.durable = mark;
        inner.durable_at = Some(now);
        inner.durable_bytes = inner.bytes;
        inner.checkpoints.push_back((index, now));
        while inner.checkpoints.len() > 256 {
            inner.checkpoints.pop_front();
        }
    }

    /// How far the last checkpoint is.
    pub(crate) fn durable_mark(&self) -> Mark {
        lock(&self.inner).durable.clone()
    }

    /// Bytes applied since the last checkpoint, and its age.
    pub(crate) fn since_checkpoint(&self) -> (u64, Duration) {
        let inner = lock(&self.inner);
        (
            inner.bytes - inner.durable_bytes,
            inner.durable_at.map_or(Duration::MAX, |at| at.elapsed()),
        )
    }

    /// The newest checkpoint that is at least so old.
    pub(crate) fn checkpoint_before(&self, age: Duration) -> u64 {
        let mut inner = lock(&self.inner);
        let now = Instant::now();
        let mut found = 0;
        while let Some(&(index, at)) = inner.checkpoints.front() {
            if now.duration_since(at) < age {
                break;
            }
            found = index;
            // The newest old one stays, as the answer to the next question.
            if inner
                .checkpoints
                .get(1)
                .is_some_and(|&(_, next)| now.duration_since(next) >= age)
            {
                inner.checkpoints.pop_front();
            } else {
                break;
            }
        }
        found
    }

    /// Keeps everything above `index` in the log until the hold is dropped and a little longer.
    pub(crate) fn hold(self: &Arc<Self>, index: u64) -> Hold {
        let id = self.next_hold.fetch_add(1, Ordering::Relaxed);
        lock(&self.inner).holds.insert(id, (index, None));
        Hold {
            id,
            progress: self.clone(),
        }
    }

    /// The lowest index held.
    pub(crate) fn held(&self) -> Option<u64> {
        let mut inner = lock(&self.inner);
        let now = Instant::now();
        inner
            .holds
            .retain(|_, (_, until)| until.is_none_or(|until| until > now));
        inner.holds.values().map(|&(index, _)| index).min()
    }

    /// Notes why the replica stops; the first reason stays.
    pub(crate) fn fail(&self, failure: &Failure) {
        let _ = self.failure.set(failure.clone());
    }

    /// Why the replica stopped.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_outlives_its_transfer_a_little() {
        let progress = Arc::new(Progress::default());
        let hold = progress.hold(7);
        let other = progress.hold(9);
        assert_eq!(progress.held(), Some(7));
        drop(hold);
        drop(other);
        assert_eq!(progress.held(), Some(7), "the leader has not heard yet");
    }

    #[test]
    fn young_checkpoints_do_not_count_as_old() {
        let progress = Progress::default();
        progress.durable(Mark {
            applied: Some(crate::types::log_id(1, 5)),
            ..Mark::default()
        });
        assert_eq!(progress.checkpoint_before(Duration::from_secs(60)), 0);
        assert_eq!(progress.checkpoint_before(Duration::ZERO), 5);
    }
}
