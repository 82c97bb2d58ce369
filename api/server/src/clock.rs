//! The one file that reads a clock.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use scheduler::time::{Delay, Timestamp};
use tokio::sync::watch;

use crate::time_rules::Reading;

/// The clocks of a node: the real ones, or a virtual one that stands still until it is moved. Clones share it.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Real { started: Instant },
    Virtual(Arc<Virtual>),
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
        Clock(Source::Real { started: Instant::now() })
    }

    /// A clock that says `start` until it is advanced. Its monotonic side moves along with its wall side.
    pub fn standing_at(start: Timestamp) -> Clock {
        let now = Mutex::new(Reading { wall: start, mono: Duration::ZERO });
        let moved_at = Mutex::new(Instant::now());
        Clock(Source::Virtual(Arc::new(Virtual { now, moved_at, moved: watch::Sender::new(()) })))
    }

    /// A virtual clock that begins at the present.
    pub fn standing_now() -> Clock {
        Clock::standing_at(wall())
    }

    /// Whether it can be moved.
    pub fn is_virtual(&self) -> bool {
        matches!(self.0, Source::Virtual(_))
    }

    /// Reads both sides.
    pub fn read(&self) -> Reading {
        match &self.0 {
            Source::Real { started } => Reading { wall: wall(), mono: started.elapsed() },
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
            Source::Real { .. } => loop {
                let left = at.since(wall());
                if left == Delay::ZERO {
                    return;
                }
                // Asked again at least every minute, since the wall clock may be set. Tokio's timers are a millisecond
                // coarse and never early by the monotonic clock.
                tokio::time::sleep(Duration::from_millis(left.as_millis().min(60_000))).await;
            },
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
            Source::Real { started } => tokio::time::sleep_until((*started + at).into()).await,
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
