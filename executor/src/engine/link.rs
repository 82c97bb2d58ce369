//! Where the stream of one partition goes, and when it is tried again.

use std::time::Duration;

use client::retry::Backoff;

use super::StreamId;

/// Between failed tries. An election takes 600–900 ms and the new leader should be found soon after.
const BACKOFF: Backoff =
    Backoff { initial: Duration::from_millis(20), max: Duration::from_millis(400), multiplier_percent: 200 };
/// A stream that has not greeted back after this is given up.
const GREETING_MAX: Duration = Duration::from_secs(4);

/// The connection of one partition.
#[derive(Debug, Default)]
pub(super) struct Link {
    state: State,
    leader: Option<Leader>,
    /// Who led when the last stream was lost.
    failed: Option<Leader>,
    failures: u32,
}

#[derive(Clone, Debug)]
struct Leader {
    endpoint: String,
    /// 0 when a hint named it without a term.
    term: u64,
}

#[derive(Debug)]
enum State {
    /// Not to be dialled before this.
    Down {
        until: Duration,
    },
    /// Opened, and no welcome yet.
    Dialing {
        stream: StreamId,
        leader: Leader,
        until: Duration,
    },
    Up {
        stream: StreamId,
        leader: Leader,
    },
}

impl Default for State {
    fn default() -> Self {
        State::Down { until: Duration::ZERO }
    }
}

impl Link {
    /// The stream in use, whether it has greeted back or not.
    pub fn stream(&self) -> Option<StreamId> {
        match &self.state {
            State::Down { .. } => None,
            State::Dialing { stream, .. } | State::Up { stream, .. } => Some(*stream),
        }
    }

    /// The stream, once it has greeted back.
    pub fn up(&self) -> Option<StreamId> {
        match &self.state {
            State::Up { stream, .. } => Some(*stream),
            State::Down { .. } | State::Dialing { .. } => None,
        }
    }

    /// Whether somebody should be asked who leads.
    pub fn wants_leader(&self) -> bool {
        matches!(self.state, State::Down { .. }) && self.leader.is_none()
    }

    /// A node told who leads, in which term; an empty endpoint means nobody. True when the stream in use goes to a
    /// leader of the past and should be left.
    pub fn learned(&mut self, endpoint: &str, term: u64) -> bool {
        if endpoint.is_empty() || self.leader.as_ref().is_some_and(|known| known.term > term) {
            return false;
        }
        self.leader = Some(Leader { endpoint: endpoint.to_owned(), term });
        let failed = self.failed.as_ref();
        let is_news = failed.is_some_and(|failed| failed.endpoint != endpoint || failed.term < term);
        match &mut self.state {
            // The wait was for the one that failed. A newcomer need not wait for it.
            State::Down { until } => {
                if is_news {
                    *until = Duration::ZERO;
                }
                false
            }
            State::Dialing { leader, .. } | State::Up { leader, .. } => {
                if leader.endpoint == endpoint {
                    leader.term = leader.term.max(term);
                }
                leader.term < term
            }
        }
    }

    /// The endpoint to dial now, if it is time and somebody is known to lead.
    pub fn dial(&mut self, now: Duration, stream: StreamId) -> Option<String> {
        let State::Down { until } = self.state else {
            return None;
        };
        if until > now {
            return None;
        }
        let leader = self.leader.clone()?;
        let endpoint = leader.endpoint.clone();
        self.state = State::Dialing { stream, leader, until: now.saturating_add(GREETING_MAX) };
        Some(endpoint)
    }

    /// The server greeted back.
    pub fn welcomed(&mut self) {
        if let State::Dialing { stream, leader, .. } = &self.state {
            self.state = State::Up { stream: *stream, leader: leader.clone() };
            self.failures = 0;
        }
    }

    /// The stream is gone. With a `hint`, the next one goes there at once; otherwise somebody is asked first.
    pub fn lost(&mut self, now: Duration, hint: Option<&str>, random: u32) {
        let term = self.leader.as_ref().map_or(0, |leader| leader.term);
        self.failures += 1;
        // The first hint is followed at once; nodes that send each other's callers to and fro are not.
        let wait = match (self.failures, hint) {
            (1, _) => Duration::ZERO,
            (failures, _) => BACKOFF.delay(failures - 1, random),
        };
        let down = State::Down { until: now.saturating_add(wait) };
        if let State::Dialing { leader, .. } | State::Up { leader, .. } = std::mem::replace(&mut self.state, down) {
            self.failed = Some(leader);
        }
        self.leader = hint.map(|endpoint| Leader { endpoint: endpoint.to_owned(), term });
    }

    /// Whether the greeting has been waited for long enough.
    pub fn is_overdue(&self, now: Duration) -> bool {
        matches!(self.state, State::Dialing { until, .. } if until <= now)
    }

    /// When to look again if nothing happens.
    pub fn wake_at(&self) -> Option<Duration> {
        match &self.state {
            State::Down { until } => self.leader.as_ref().map(|_| *until),
            State::Dialing { until, .. } => Some(*until),
            State::Up { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn up() -> Link {
        let mut link = Link::default();
        link.learned("a", 3);
        assert_eq!(link.dial(MS, 1).as_deref(), Some("a"));
        link.welcomed();
        link
    }

    #[test]
    fn a_newer_term_elsewhere_leaves_the_stream() {
        let mut link = up();
        assert!(!link.learned("a", 3));
        assert!(!link.learned("b", 2));
        // The same leader won again: nothing to move for.
        assert!(!link.learned("a", 4));
        assert!(link.learned("b", 5));
    }

    #[test]
    fn a_lost_stream_asks_and_a_hint_does_not() {
        let mut link = up();
        link.lost(MS, None, 0);
        assert!(link.wants_leader());
        assert_eq!(link.dial(MS, 2), None);
        let mut link = up();
        link.lost(MS, Some("b"), 0);
        assert_eq!(link.dial(MS, 2).as_deref(), Some("b"));
        link.lost(2 * MS, Some("a"), 0);
        assert_eq!(link.dial(2 * MS, 3), None);
        assert_eq!(link.wake_at(), Some(22 * MS));
        assert_eq!(link.dial(22 * MS, 3).as_deref(), Some("a"));
    }

    /// Red when `learned` leaves the wait for the failed leader in place: fail-over would cost it.
    #[test]
    fn a_new_leader_does_not_wait_for_the_old_one() {
        let mut link = up();
        for _ in 0..6 {
            link.lost(MS, None, 0);
            link.learned("a", 3);
            let at = link.wake_at().expect("it waits");
            assert_eq!(link.dial(at, 2).as_deref(), Some("a"));
        }
        link.lost(MS, None, 0);
        link.learned("a", 3);
        assert_eq!(link.dial(MS, 3), None);
        link.learned("b", 4);
        assert_eq!(link.dial(MS, 3).as_deref(), Some("b"));
    }

    #[test]
    fn a_server_that_does_not_greet_is_given_up() {
        let mut link = Link::default();
        link.learned("a", 3);
        link.dial(MS, 1);
        assert!(!link.is_overdue(4_000 * MS));
        assert!(link.is_overdue(4_001 * MS));
    }

    #[test]
    fn nobody_leading_is_not_news() {
        let mut link = Link::default();
        assert!(!link.learned("", 9));
        assert!(link.wants_leader());
    }
}
