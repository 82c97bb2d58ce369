//! When a failed call is made again: a calculation over failures and moments. Moments are counted from any fixed start;
//! the dice are the caller's.

use std::time::Duration;

use crate::error::{Error, Reason, Repeat};

/// How long to wait between tries: growing, with jitter, bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Before the second try.
    pub initial: Duration,
    /// Never longer than this.
    pub max: Duration,
    /// Growth in percent: 200 doubles it.
    pub multiplier_percent: u32,
}

impl Default for Backoff {
    /// 50 ms, doubling up to 1 s: an election takes 600–900 ms, and should be found over soon after it is.
    fn default() -> Self {
        Backoff { initial: Duration::from_millis(50), max: Duration::from_secs(1), multiplier_percent: 200 }
    }
}

impl Backoff {
    /// The wait after `failures` failures in a row (1 or more). `random` takes up to half of it off, so that callers
    /// that failed together do not come back together.
    pub fn delay(&self, failures: u32, random: u32) -> Duration {
        let mut full = self.initial.min(self.max);
        for _ in 1..failures {
            if full >= self.max {
                break;
            }
            full = full.saturating_mul(self.multiplier_percent.max(100)) / 100;
        }
        let full = full.min(self.max);
        full - full.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
    }
}

/// Bounds of one call, over all its tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The call ends this long after it began, whatever happens.
    pub total: Duration,
    /// One try ends after this; a node that is stopped but still connected costs this much.
    pub attempt: Duration,
    /// At most this many tries.
    pub attempts_max: u32,
    /// Wait between tries.
    pub backoff: Backoff,
}

impl Default for Policy {
    /// 10 s in all (the cap of the server), 3 s per try, 32 tries.
    fn default() -> Self {
        Policy {
            total: Duration::from_secs(10),
            attempt: Duration::from_secs(3),
            attempts_max: 32,
            backoff: Backoff::default(),
        }
    }
}

/// Whom the next try goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The one the failed try went to: it answered and asked for time.
    Same,
    /// Somebody else: it did not answer, or is not able to.
    Other,
    /// The leader as the answer named it.
    Leader(String),
}

/// What to do after a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try again after this wait.
    Again {
        /// From now.
        after: Duration,
        /// Whom.
        target: Target,
    },
    /// Hand the failure to the caller.
    GiveUp,
}

/// The tries of one call.
#[derive(Clone, Debug)]
pub struct Attempts {
    policy: Policy,
    deadline: Duration,
    /// The call carries an id that makes a repeat the same call.
    repeatable: bool,
    made: u32,
    followed_hint: bool,
    /// The failure of the newest try that may have had its effect.
    unknown: Option<Error>,
}

impl Attempts {
    /// A call that begins `now`. `repeatable`: a repeat has the same effect and answer as the first.
    pub fn new(policy: Policy, now: Duration, repeatable: bool) -> Self {
        Attempts {
            policy,
            deadline: now.saturating_add(policy.total),
            repeatable,
            made: 0,
            followed_hint: false,
            unknown: None,
        }
    }

    /// The moment by which the call ends.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Begins a try: how long it may take. `None` when the call's time is up.
    pub fn begin(&mut self, now: Duration) -> Option<Duration> {
        let left = self.deadline.checked_sub(now).filter(|left| !left.is_zero())?;
        self.made += 1;
        Some(left.min(self.policy.attempt))
    }

    /// A try failed.
    pub fn failed(&mut self, now: Duration, error: &Error, random: u32) -> Next {
        let allowed = match error.repeat() {
            Repeat::Never => false,
            Repeat::NotExecuted => true,
            Repeat::MaybeExecuted => {
                self.unknown = Some(error.clone());
                self.repeatable
            }
        };
        if !allowed || self.made >= self.policy.attempts_max {
            return Next::GiveUp;
        }
        let (after, target) = self.wait(error, random);
        // A wait that outlasts the call would only delay the bad news.
        if now.saturating_add(after) >= self.deadline {
            return Next::GiveUp;
        }
        Next::Again { after, target }
    }

    /// A try ended without an answer to this call, for a reason that need not have been about it.
    pub fn broken_off(&mut self, error: &Error) {
        let unknown = error.repeat() == Repeat::MaybeExecuted;
        self.unknown = Some(if unknown { error.clone() } else { Error::TimedOut { after: self.policy.attempt } });
    }

    /// The failure of the call, given that of its last try: that nothing was done may be said only if no try before may
    /// have done it.
    pub fn verdict(&self, last: Error) -> Error {
        match (&self.unknown, last.repeat()) {
            (Some(unknown), Repeat::NotExecuted) => unknown.clone(),
            _ => last,
        }
    }

    fn wait(&mut self, error: &Error, random: u32) -> (Duration, Target) {
        let backoff = self.policy.backoff.delay(self.made, random);
        if let Some(leader) = error.leader_endpoint() {
            // Two nodes that each take the other for the leader must not be asked in a tight loop.
            let after = if self.followed_hint { backoff } else { Duration::ZERO };
            self.followed_hint = !self.followed_hint;
            return (after, Target::Leader(leader.to_owned()));
        }
        self.followed_hint = false;
        // The server's word is a lower bound: a crowd told the same time should still spread.
        let after = error.retry_after().map_or(backoff, |asked| asked.saturating_add(backoff));
        let target = match error {
            Error::Refused(refusal) if refusal.reason == Reason::ShuttingDown => {
                return (Duration::ZERO.max(error.retry_after().unwrap_or_default()), Target::Other);
            }
            Error::Refused(refusal)
                if matches!(
                    refusal.reason,
                    Reason::Overloaded | Reason::MembershipBusy | Reason::TopicVersionStale
                ) =>
            {
                Target::Same
            }
            Error::Refused(_) | Error::Disconnected { .. } | Error::TimedOut { .. } => Target::Other,
            Error::Invalid { .. } | Error::Closed => Target::Same,
        };
        // The first move to another node is free: a dead node should not cost its callers a wait.
        if self.made == 1 && target == Target::Other && error.retry_after().is_none() {
            return (Duration::ZERO, target);
        }
        (after, target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Refusal;
    use std::collections::BTreeMap;
    use tonic::Code;

    const MS: Duration = Duration::from_millis(1);

    fn refused(reason: Reason, leader: Option<&str>, retry_after: Option<Duration>) -> Error {
        let metadata: BTreeMap<String, String> =
            leader.map(|at| ("leader_endpoint".to_owned(), at.to_owned())).into_iter().collect();
        Error::Refused(Box::new(Refusal {
            code: Code::Unavailable,
            reason,
            message: "no".into(),
            metadata,
            fields: vec![],
            retry_after,
            receipt: None,
        }))
    }

    fn gone() -> Error {
        Error::Disconnected { endpoint: "http://a".into(), message: "connection refused".into() }
    }

    fn begun(repeatable: bool) -> Attempts {
        let mut attempts = Attempts::new(Policy::default(), 100 * MS, repeatable);
        assert_eq!(attempts.begin(100 * MS), Some(Duration::from_secs(3)));
        attempts
    }

    #[test]
    fn the_wait_grows_and_is_bounded() {
        let backoff = Backoff::default();
        let full: Vec<_> = (1..8).map(|n| backoff.delay(n, 0).as_millis()).collect();
        assert_eq!(full, [50, 100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(backoff.delay(3, u32::MAX).as_millis(), 100);
        assert_eq!(backoff.delay(u32::MAX, 0), backoff.max);
    }

    /// Red when `failed` lets a call without an id be repeated after `Repeat::MaybeExecuted`.
    #[test]
    fn an_unknown_outcome_is_repeated_only_with_an_id() {
        assert!(matches!(begun(true).failed(200 * MS, &gone(), 0), Next::Again { .. }));
        assert_eq!(begun(false).failed(200 * MS, &gone(), 0), Next::GiveUp);
        let full = refused(Reason::Overloaded, None, None);
        assert!(matches!(begun(false).failed(200 * MS, &full, 0), Next::Again { .. }));
    }

    /// Red when `verdict` returns `last`: whoever calls would take what an earlier try did for not done. Found by seed 3035
    /// of the simulation.
    #[test]
    fn a_call_that_may_have_been_carried_out_does_not_end_as_one_that_was_not() {
        let hint = refused(Reason::NotLeader, None, None);
        let mut attempts = begun(true);
        assert_eq!(attempts.verdict(hint.clone()).repeat(), Repeat::NotExecuted);
        attempts.failed(200 * MS, &hint, 0);
        assert_eq!(attempts.verdict(hint.clone()).repeat(), Repeat::NotExecuted);
        attempts.failed(300 * MS, &Error::TimedOut { after: 3_000 * MS }, 0);
        attempts.failed(400 * MS, &hint, 0);
        assert!(matches!(attempts.verdict(hint), Error::TimedOut { .. }));
        // What the log says for good is so, whichever try it answers.
        let exists = refused(Reason::AlreadyExists, None, None);
        assert_eq!(attempts.verdict(exists).reason(), Some(&Reason::AlreadyExists));
    }

    #[test]
    fn a_refusal_for_good_is_final() {
        let exists = refused(Reason::AlreadyExists, None, Some(MS));
        assert_eq!(begun(true).failed(200 * MS, &exists, 0), Next::GiveUp);
    }

    #[test]
    fn a_leader_hint_is_followed_at_once_but_not_in_a_loop() {
        let hint = refused(Reason::NotLeader, Some("http://b"), None);
        let mut attempts = begun(true);
        let leader = Target::Leader("http://b".into());
        let at_once = Next::Again { after: Duration::ZERO, target: leader.clone() };
        assert_eq!(attempts.failed(101 * MS, &hint, 0), at_once);
        attempts.begin(102 * MS);
        assert_eq!(attempts.failed(103 * MS, &hint, 0), Next::Again { after: 100 * MS, target: leader });
    }

    #[test]
    fn the_servers_wait_is_a_lower_bound() {
        let asked = refused(Reason::Overloaded, None, Some(400 * MS));
        let next = begun(true).failed(200 * MS, &asked, u32::MAX);
        assert_eq!(next, Next::Again { after: 425 * MS, target: Target::Same });
    }

    #[test]
    fn a_dead_node_costs_no_wait_the_first_time() {
        let mut attempts = begun(true);
        let free = Next::Again { after: Duration::ZERO, target: Target::Other };
        assert_eq!(attempts.failed(101 * MS, &gone(), 0), free);
        attempts.begin(102 * MS);
        let second = attempts.failed(103 * MS, &gone(), 0);
        assert_eq!(second, Next::Again { after: 100 * MS, target: Target::Other });
    }

    #[test]
    fn the_deadline_ends_it() {
        let mut attempts = begun(true);
        // Nothing is started that could not finish, and nothing waits past the end.
        assert_eq!(attempts.begin(10_099 * MS), Some(MS));
        assert_eq!(attempts.begin(10_100 * MS), None);
        let asked = refused(Reason::Overloaded, None, Some(Duration::from_secs(60)));
        assert_eq!(attempts.failed(200 * MS, &asked, 0), Next::GiveUp);
    }

    #[test]
    fn tries_are_counted() {
        let policy = Policy { attempts_max: 2, ..Policy::default() };
        let mut attempts = Attempts::new(policy, Duration::ZERO, true);
        attempts.begin(Duration::ZERO);
        assert!(matches!(attempts.failed(MS, &gone(), 0), Next::Again { .. }));
        attempts.begin(MS);
        assert_eq!(attempts.failed(2 * MS, &gone(), 0), Next::GiveUp);
    }
}
