//! The ticks of a node's groups fall together, so that an idle node wakes once for all of them.
//!
//! openraft looks at the clocks of a group every fifth of a heartbeat, each group at moments of its own. With many groups the
//! processor never rests: most of what an idle cluster costs is waking up. Here a tick waits for the next beat of its node, two
//! of which make a heartbeat, and the heartbeats that the groups of a node send at one beat share their packets.

use std::future::Future;
use std::sync::LazyLock;
use std::time::Duration;

use openraft_rt::{AsyncRuntime, Instant as _, OptionalSend};
use openraft_rt_tokio::{TokioInstant, TokioRuntime};

/// A wait this short is not a tick's; openraft gathers finished writes so.
const SHORT: Duration = Duration::from_micros(10);

static ORIGIN: LazyLock<TokioInstant> = LazyLock::new(TokioInstant::now);

tokio::task_local! {
    static RHYTHM: Rhythm;
}

/// When the groups of a node tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rhythm {
    beat: Duration,
    phase: Duration,
}

impl Rhythm {
    /// Two beats to a heartbeat. Nodes in one process beat at different moments: followers that notice the leader's silence
    /// at the same one would split the vote.
    pub(crate) fn new(heartbeat: Duration, node: u64) -> Self {
        let beat = (heartbeat / 2).max(Duration::from_millis(1));
        // Multiples of the golden section leave no two of a few nodes close to each other.
        let part = (node as f64 * 0.618_033_988_749_895).fract();
        Rhythm { beat, phase: beat.mul_f64(part) }
    }

    /// What openraft is told is the interval between heartbeats. A little less than two beats: it counts from when a heartbeat
    /// was sent, which is a little after the beat, and the second beat after that must not come too early.
    pub(crate) fn heartbeat_interval(&self) -> Duration {
        self.beat * 2 * 7 / 8
    }

    /// Runs what starts a group; its tasks tick in this rhythm.
    pub(crate) fn within<T>(self, start: impl FnOnce() -> T) -> T {
        RHYTHM.sync_scope(self, start)
    }

    /// From a moment this long after the origin to the beat at or after it.
    fn to_beat(self, since_origin: Duration) -> Duration {
        let beat = self.beat.as_nanos();
        let past = (since_origin + self.beat - self.phase).as_nanos() % beat;
        Duration::from_nanos(u64::try_from((beat - past) % beat).unwrap_or(0))
    }
}

/// tokio, but a task that was started [within](Rhythm::within) a rhythm wakes from `sleep_until` at a beat. Only ticks wait
/// that way for longer than a moment.
#[derive(Debug)]
pub struct Rhythmic(TokioRuntime);

impl AsyncRuntime for Rhythmic {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = TokioInstant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <TokioRuntime as AsyncRuntime>::ThreadLocalRng;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        match RHYTHM.try_get() {
            Ok(rhythm) => TokioRuntime::spawn(RHYTHM.scope(rhythm, future)),
            Err(_) => TokioRuntime::spawn(future),
        }
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        let Ok(rhythm) = RHYTHM.try_get() else {
            return TokioRuntime::sleep_until(deadline);
        };
        if deadline < TokioInstant::now() + SHORT {
            return TokioRuntime::sleep_until(deadline);
        }
        let wait = rhythm.to_beat(deadline - *ORIGIN);
        TokioRuntime::sleep_until(deadline + wait)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Self::Instant, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        TokioRuntime::thread_rng()
    }

    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn new(threads: usize) -> Self {
        Rhythmic(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_runtime_passes_the_suite_of_openraft() {
        openraft_rt::testing::Suite::<Rhythmic>::test_all();
    }

    /// Turns red when `to_beat` rounds down, or from the origin and not from the phase.
    #[test]
    fn a_wait_ends_at_a_beat_of_the_node() {
        let rhythm = Rhythm { beat: 50 * MS, phase: 20 * MS };
        for (since, wait) in [(0, 20), (19, 1), (20, 0), (21, 49), (70, 0), (71, 49), (1_000_001, 19)] {
            assert_eq!(rhythm.to_beat(since * MS), wait * MS, "{since} ms");
        }
    }

    /// Turns red when nodes of one process beat together.
    #[test]
    fn nodes_of_one_process_beat_apart() {
        for (a, b) in [(1, 2), (2, 3), (1, 3), (3, 4), (1, 4), (4, 5)] {
            let phase = |node| Rhythm::new(100 * MS, node).phase;
            let apart = phase(a).abs_diff(phase(b));
            assert!(apart.min(50 * MS - apart) > 5 * MS, "{a} and {b}: {apart:?}");
        }
    }

    /// Turns red when `spawn` forgets the rhythm, or `sleep_until` does not look at it.
    #[tokio::test(start_paused = true)]
    async fn tasks_of_a_rhythm_wake_together() {
        let rhythm = Rhythm::new(100 * MS, 1);
        let start = TokioInstant::now();
        let sleep = |ms: u32| async move {
            Rhythmic::sleep_until(start + ms * MS).await;
            TokioInstant::now() - start
        };
        let (a, b) = rhythm.within(|| (Rhythmic::spawn(sleep(101)), Rhythmic::spawn(sleep(102))));
        let (a, b) = (a.await.expect("runs"), b.await.expect("runs"));
        // A beat may lie between the two moments; then one is a beat after the other.
        assert!(a == b || b - a == rhythm.beat, "{a:?} and {b:?}");
        assert!(a >= 101 * MS && a < 152 * MS, "{a:?}");
        let alone = Rhythmic::spawn(sleep(300)).await.expect("runs");
        assert_eq!(alone, 300 * MS, "outside a rhythm nothing is rounded");
    }
}
