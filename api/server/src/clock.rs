//! The one file that reads a clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use scheduler::time::{Delay, Timestamp};
use tokio::sync::watch;

use crate::config::Config;
use crate::time_rules::Reading;

/// The clocks of a node: the real ones, perhaps running some time behind, or a virtual one that stands still until it is moved.
/// Clones share it.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Real(Arc<Real>),
    Virtual(Arc<Virtual>),
}

#[derive(Debug)]
struct Real {
    started: Instant,
    /// How far the wall side was behind the machine's to begin with.
    behind_at_first: Delay,
    /// How far it is now, in milliseconds. Never grows.
    behind_ms: AtomicU64,
    moved: watch::Sender<()>,
}

#[derive(Debug)]
struct Virtual {
    now: Mutex<Reading>,
    /// By the machine's own clock.
    moved_at: Mutex<Instant>,
    moved: watch::Sender<()>,
}

impl Clock {
    /// The clocks of the machine.
    pub fn real() -> Clock {
        Clock::behind(Delay::ZERO)
    }

    /// The clocks of the machine, but with a wall side that says what it said so long ago, until it is [moved](Clock::catch_up). Its
    /// monotonic side knows nothing of that, as with a clock that somebody sets.
    pub fn behind(behind: Delay) -> Clock {
        let behind_ms = AtomicU64::new(behind.as_millis());
        let moved = watch::Sender::new(());
        Clock(Source::Real(Arc::new(Real { started: Instant::now(), behind_at_first: behind, behind_ms, moved })))
    }

    /// A clock that says `start` until it is advanced. Its monotonic side moves along with its wall side.
    pub fn standing_at(start: Timestamp) -> Clock {
        let now = Mutex::new(Reading { wall: start, mono: Duration::ZERO });
        let moved_at = Mutex::new(Instant::now());
        Clock(Source::Virtual(Arc::new(Virtual { now, moved_at, moved: watch::Sender::new(()) })))
    }

    /// The clock that options ask for.
    pub fn of(config: &Config) -> Clock {
        if config.virtual_clock { Clock::standing_now() } else { Clock::behind(delay(config.clock_behind)) }
    }

    /// A virtual clock that begins at the present.
    pub fn standing_now() -> Clock {
        Clock::standing_at(wall())
    }

    /// Whether it can be moved.
    pub fn is_virtual(&self) -> bool {
        matches!(self.0, Source::Virtual(_))
    }

    /// How far its wall side is behind the machine's, of a clock that began behind it; `None` of any other.
    pub fn behind_machine(&self) -> Option<Delay> {
        match &self.0 {
            Source::Real(clock) if clock.behind_at_first > Delay::ZERO => Some(clock.behind_now()),
            _ => None,
        }
    }

    /// Moves a clock that is behind the machine's forward by so much, at most to the machine's time, and wakes who sleeps by it. False
    /// when it is not that far behind, and then nothing has changed.
    pub fn catch_up(&self, by: Delay) -> bool {
        let Source::Real(clock) = &self.0 else { return false };
        let less = |behind: u64| behind.checked_sub(by.as_millis());
        let caught_up = clock.behind_ms.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).is_ok();
        if caught_up {
            clock.moved.send_replace(());
        }
        caught_up
    }

    /// Reads both sides.
    pub fn read(&self) -> Reading {
        match &self.0 {
            Source::Real(clock) => Reading { wall: clock.wall(), mono: clock.started.elapsed() },
            Source::Virtual(clock) => *clock.now.lock().expect("the clock's lock is never held over a panic"),
        }
    }

    /// The wall side, in replicated units.
    pub fn wall(&self) -> Timestamp {
        self.read().wall
    }

    /// The monotonic side.
    pub fn mono(&self) -> Duration {
        self.read().mono
    }

    /// How long a virtual clock has been standing, by the machine's own; `None` on a real one.
    pub fn standing_for(&self) -> Option<Duration> {
        let Source::Virtual(clock) = &self.0 else { return None };
        Some(clock.moved_at.lock().expect("the clock's lock is never held over a panic").elapsed())
    }

    /// Moves a virtual clock forward to a moment and wakes who sleeps by it; one in the past changes nothing. False on
    /// a real clock.
    pub fn advance_to(&self, to: Timestamp) -> bool {
        let Source::Virtual(clock) = &self.0 else { return false };
        {
            let mut now = clock.now.lock().expect("the clock's lock is never held over a panic");
            let by = to.since(now.wall);
            *now = Reading { wall: now.wall.after(by), mono: now.mono + Duration::from_millis(by.as_millis()) };
            if by > Delay::ZERO {
                *clock.moved_at.lock().expect("the clock's lock is never held over a panic") = Instant::now();
            }
        }
        clock.moved.send_replace(());
        true
    }

    /// Waits until the wall side is at or after a moment.
    pub async fn sleep_until(&self, at: Timestamp) {
        match &self.0 {
            Source::Real(clock) => {
                let mut moved = clock.moved.subscribe();
                loop {
                    let left = at.since(clock.wall());
                    if left == Delay::ZERO {
                        return;
                    }
                    // Asked again at least every minute, since the wall clock may be set. Tokio's timers are a millisecond
                    // coarse and never early by the monotonic clock. The sender lives as long as the clock.
                    let left = Duration::from_millis(left.as_millis().min(60_000));
                    drop(tokio::time::timeout(left, moved.changed()).await);
                }
            }
            Source::Virtual(clock) => {
                let mut moved = clock.moved.subscribe();
                while self.wall() < at {
                    if moved.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            }
        }
    }

    /// Waits until the monotonic side is at or after a moment.
    pub async fn sleep_until_mono(&self, at: Duration) {
        match &self.0 {
            Source::Real(clock) => tokio::time::sleep_until((clock.started + at).into()).await,
            Source::Virtual(clock) => {
                let mut moved = clock.moved.subscribe();
                while self.mono() < at {
                    if moved.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            }
        }
    }
}

impl Real {
    fn behind_now(&self) -> Delay {
        Delay::from_millis(self.behind_ms.load(Ordering::Acquire))
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(wall().as_millis().saturating_sub(self.behind_now().as_millis()))
    }
}

fn delay(length: Duration) -> Delay {
    Delay::from_millis(u64::try_from(length.as_millis()).unwrap_or(u64::MAX))
}

/// What the machine says.
fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_virtual_clock_moves_both_sides_and_only_forward() {
        let clock = Clock::standing_at(Timestamp::from_millis(1_000));
        assert!(clock.advance_to(Timestamp::from_millis(5_000)));
        assert_eq!(clock.read(), Reading { wall: Timestamp::from_millis(5_000), mono: Duration::from_secs(4) });
        clock.advance_to(Timestamp::from_millis(2_000));
        assert_eq!(clock.wall().as_millis(), 5_000);
        assert!(!Clock::real().advance_to(Timestamp::MAX));
    }

    #[tokio::test]
    async fn a_clock_that_is_behind_runs_and_catches_up_at_most_with_the_machine() {
        let hour = Delay::from_secs(3_600);
        let clock = Clock::behind(hour);
        let before = clock.read();
        assert!(Clock::real().wall().since(before.wall) >= hour && !clock.is_virtual());
        let sleeper = tokio::spawn({
            let (clock, at) = (clock.clone(), before.wall.after(hour));
            async move { clock.sleep_until(at).await }
        });
        assert!(!clock.catch_up(Delay::from_secs(3_601)), "past the machine");
        assert!(clock.catch_up(hour));
        sleeper.await.expect("no panic");
        assert_eq!(clock.behind_machine(), Some(Delay::ZERO));
        assert!(clock.mono() < Duration::from_secs(3_600), "the monotonic side is the machine's");
        assert!(!clock.catch_up(Delay::from_millis(1)));
        assert_eq!(Clock::real().behind_machine(), None);
    }

    #[tokio::test]
    async fn sleepers_wake_when_it_is_moved() {
        let clock = Clock::standing_at(Timestamp::MIN);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep_until(Timestamp::from_millis(500)).await;
                clock.sleep_until_mono(Duration::from_millis(700)).await;
                clock.wall()
            }
        });
        clock.advance_to(Timestamp::from_millis(500));
        clock.advance_to(Timestamp::from_millis(800));
        assert_eq!(sleeper.await.expect("no panic").as_millis(), 800);
    }
}
