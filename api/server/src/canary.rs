//! The canary: a trigger of the server's own in each partition, scheduled, fired, delivered and completed the way
//! everybody's are, so that a partition that looks healthy and fires nothing is noticed.
//!
//! The leader schedules one every interval, for a moment close ahead; its wheel fires it, its dispatcher hands it to a
//! session of the server's own, whose outcome goes through the log. What counts is how long ago the newest one that came
//! through was due. The leader knows; the other nodes ask it when they ask for its clock.
//!
//! Ids are used in turns, and the retention is the shortest there is, so that nothing piles up: no more than four are
//! ever under way in a partition, and what has ended is overwritten.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use scheduler::command::{Kind, RetryPolicy, Schedule, SetTopic, TopicSettings, When};
use scheduler::dispatcher::{Done, HeldLease, Hello, Outcome, OutcomeResult, SessionId, SessionStatus, Verdict};
use scheduler::lane::Class;
use scheduler::record::{self, Topic};
use scheduler::reply::Refusal;
use scheduler::time::{Delay, Timestamp};
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::dispatch::{Event, Handle, Outbound};
use crate::feed::Feed;
use crate::leader_clock::LeaderClock;
use crate::proposer::{Proposer, refusal};
use crate::routing;

/// Namespace of the canaries.
pub const NAMESPACE: &str = crate::validate::RESERVED_NAMESPACE;
/// Topic of the canaries.
pub const TOPIC: &str = "bosingak.canary";
/// Executor of the canaries.
pub const EXECUTOR: &str = "bosingak.canary";

/// Ids of a partition, used in turns.
const IDS: u64 = 4;
/// How far ahead a canary is scheduled at most: as far as the finest level of the wheel reaches for certain.
const LEAD_MAX: Duration = Duration::from_secs(1);
/// Grows with [`settings`].
const SETTINGS_VERSION: u64 = 1;
/// How long to wait before what failed is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// What a canary may take beyond three intervals.
const SLACK: Duration = Duration::from_secs(5);

/// Whether a topic is the canaries'.
pub fn is_own(topic: &Topic) -> bool {
    topic.namespace == NAMESPACE && topic.name == TOPIC
}

/// Whether a session of a dispatcher is the server's own: the canaries', or that of internal triggers.
pub fn is_session(session: &SessionStatus) -> bool {
    session.executor.starts_with(crate::validate::RESERVED)
}

/// What this node knows of the canary of a partition.
#[derive(Debug)]
pub struct Canary {
    interval: Option<Duration>,
    clock: Clock,
    /// When the newest one that came through was due, or the node started: by the monotonic clock, in milliseconds, below zero for
    /// what was before that. A new term does not begin anew: a partition that goes from leader to leader and fires nothing would
    /// look well.
    since_ms: AtomicI64,
}

impl Canary {
    /// Nothing came through yet; counted from now.
    pub fn new(interval: Option<Duration>, clock: Clock) -> Canary {
        let since_ms = AtomicI64::new(millis(clock.mono()));
        Canary { interval, clock, since_ms }
    }

    /// One came through that was due so long ago.
    fn came_through(&self, late: Duration) {
        self.since_ms.fetch_max(millis(self.clock.mono()) - millis(late), Ordering::Relaxed);
    }

    /// The leader said so at this moment of the monotonic clock.
    pub fn told(&self, age: Duration, at: Duration) {
        self.since_ms.store(millis(at) - millis(age), Ordering::Relaxed);
    }

    /// How long ago the newest one that came through was due, or the node started; `None` when there are none.
    ///
    /// By the monotonic clock, since replicated time may be held. On a virtual clock no longer than it has been standing:
    /// that a day passed at once is no sign of trouble.
    pub fn age(&self) -> Option<Duration> {
        self.interval?;
        let age = (millis(self.clock.mono()) - self.since_ms.load(Ordering::Relaxed)).max(0);
        let age = Duration::from_millis(age as u64);
        Some(self.clock.standing_for().map_or(age, |standing| age.min(standing)))
    }

    /// From what age on something is wrong; `None` when there are none.
    pub fn age_max(&self) -> Option<Duration> {
        self.interval.map(|interval| 3 * interval + SLACK)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// What canaries need of a term.
pub struct Term<'a> {
    /// Which partition, and of how many.
    pub partition: (u32, u32),
    /// What is known.
    pub canary: &'a Canary,
    /// Takes what is scheduled.
    pub proposer: &'a Proposer,
    /// What was applied.
    pub feed: &'a Feed,
    /// The partition's time.
    pub clock: &'a LeaderClock,
    /// The dispatcher, once there is one.
    pub dispatcher: watch::Receiver<Option<Handle>>,
}

impl Term<'_> {
    /// Schedules and completes canaries until dropped.
    pub async fn run(self) {
        let Some(interval) = self.canary.interval else { return std::future::pending().await };
        self.set_up().await;
        let mut dispatcher = self.dispatcher.clone();
        tokio::join!(self.schedule(interval), async {
            loop {
                // Without a dispatcher the term is about to end.
                let Ok(handle) = dispatcher.wait_for(Option::is_some).await.map(|handle| handle.clone()) else {
                    return std::future::pending().await;
                };
                if let Some(handle) = handle {
                    self.complete(&handle).await;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
    }

    /// Gives the topic its settings, unless it has them.
    async fn set_up(&self) {
        while !self.feed.topics().iter().any(|topic| is_own(topic) && topic.version >= SETTINGS_VERSION) {
            let command = SetTopic {
                namespace: NAMESPACE.into(),
                topic: TOPIC.into(),
                version: SETTINGS_VERSION,
                settings: Some(settings()),
            };
            if let Ok(awaited) = self.proposer.propose_internal(Kind::SetTopic(command))
                && awaited.answer().await.is_ok()
            {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn schedule(&self, interval: Duration) {
        let (partition, count) = self.partition;
        let prefix = id_prefix(partition, count);
        let interval = delay(interval);
        // A virtual clock may stand still for ever; what is due now needs no step of it. Ahead of a real one, it is the
        // wheel that fires.
        let lead = if self.clock.clock().is_virtual() { Delay::ZERO } else { delay(LEAD_MAX).min(half(interval)) };
        let mut number = 0;
        loop {
            let now = self.clock.now();
            for _ in 0..IDS {
                number = (number + 1) % IDS;
                let command = schedule(format!("{prefix}{number}"), now.after(lead));
                let answer = match self.proposer.propose_internal(Kind::Schedule(command)) {
                    Ok(awaited) => awaited.answer().await,
                    Err(error) => Err(error),
                };
                // An earlier one of this id is under way or in its retention.
                if !matches!(refusal(&answer), Some(Refusal::AlreadyExists(_))) {
                    if let Err(error) = answer {
                        tracing::debug!(partition, %error, "no canary was scheduled");
                    }
                    break;
                }
            }
            self.clock.sleep_until(now.after(interval)).await;
        }
    }

    /// Completes what it is handed, until the session ends.
    async fn complete(&self, dispatcher: &Handle) {
        let (number, _) = self.partition;
        let (outbound, mut outbox) = mpsc::unbounded_channel();
        let (reply, welcome) = oneshot::channel();
        let executor: Arc<str> = EXECUTOR.into();
        let hello = Hello {
            executor: executor.clone(),
            namespace: NAMESPACE.into(),
            topics: vec![TOPIC.into()],
            in_flight_max: 2 * IDS as u32,
            held: Vec::new(),
            poll: false,
        };
        if dispatcher.tell(number, Event::Open { hello, outbound, reply }).await.is_err() {
            return;
        }
        let Ok(welcome) = welcome.await else { return };
        let session: SessionId = welcome.session;
        while let Some(outbound) = outbox.recv().await {
            match outbound {
                Outbound::Deliveries(deliveries) => {
                    let count = deliveries.len() as u32;
                    let outcomes = deliveries.into_iter().map(|delivery| Outcome {
                        sequence: delivery.row.position.generation.number(),
                        lease: HeldLease {
                            namespace: delivery.topic.namespace.clone(),
                            id: delivery.row.id,
                            generation: delivery.row.position.generation,
                            token: delivery.token,
                            attempt: delivery.row.attempt,
                        },
                        result: Done::Success { business: Bytes::new() },
                    });
                    let report = Event::Report(session, executor.clone(), outcomes.collect());
                    for event in [report, Event::Credit(session, count)] {
                        if dispatcher.tell(number, event).await.is_err() {
                            return;
                        }
                    }
                }
                Outbound::Results(results) => results.iter().for_each(|result| self.decided(result)),
                Outbound::GoAway { .. } => return,
                Outbound::Assigned { .. } | Outbound::Extended(_) => {}
            }
        }
    }

    fn decided(&self, result: &OutcomeResult) {
        if let (Verdict::Accepted, Some(receipt)) = (&result.verdict, &result.receipt) {
            self.canary.came_through(crate::dispatch::lateness(self.clock.now(), receipt.due));
        }
    }
}

/// Ended canaries are readable for the shortest time the machine allows. One that was handed out and not completed, which
/// takes a server too busy for itself, is handed out again for long enough that it is no dead letter.
fn settings() -> TopicSettings {
    let retry = RetryPolicy {
        max_attempts: 100,
        initial_backoff_ms: 100,
        max_backoff_ms: 5_000,
        multiplier_percent: 200,
        jitter_percent_plus_one: 21,
    };
    TopicSettings { lease_ms: 5_000, retention_ms: 1_000, retry: Some(retry), ..record::default_settings() }
}

fn schedule(id: String, due: Timestamp) -> Schedule {
    Schedule {
        namespace: NAMESPACE.into(),
        id,
        topic: TOPIC.into(),
        when: Some(When::At(due.as_millis())),
        priority: Class::Normal as u32,
        // Each is a request of its own.
        fingerprint: due.as_millis(),
        ..Default::default()
    }
}

/// What the ids of a partition's canaries begin with: their tag puts them there, so that reading them by id finds them.
fn id_prefix(partition: u32, count: u32) -> String {
    let mut tags = (0u32..).map(|number| format!("{TOPIC}.{{{partition}-{number}}}."));
    tags.find(|id| routing::partition(NAMESPACE, id, count) == partition).expect("slots are many and spread")
}

fn delay(duration: Duration) -> Delay {
    Delay::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn half(delay: Delay) -> Delay {
    Delay::from_millis(delay.as_millis() / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Turns red when `came_through` sets the moment rather than the later one: a canary that comes late makes it older.
    #[test]
    fn the_age_is_that_of_the_newest_that_came_through() {
        let clock = Clock::standing_at(Timestamp::from_millis(0));
        let canary = Canary::new(Some(10 * SECOND), clock.clone());
        let age = || canary.clock.mono().as_millis() as i64 - canary.since_ms.load(Ordering::Relaxed);
        clock.advance_to(Timestamp::from_millis(60_000));
        assert_eq!(age(), 60_000);
        canary.came_through(3 * SECOND);
        assert_eq!(age(), 3_000);
        canary.came_through(50 * SECOND);
        assert_eq!(age(), 3_000);
        canary.told(20 * SECOND, clock.mono());
        assert_eq!(age(), 20_000);
    }

    /// Turns red when `age` leaves out how long the clock has been standing.
    #[test]
    fn a_virtual_clock_that_leaps_ages_no_canary() {
        let clock = Clock::standing_at(Timestamp::from_millis(0));
        let canary = Canary::new(Some(SECOND), clock.clone());
        clock.advance_to(Timestamp::from_millis(86_400_000));
        assert!(canary.age().expect("there are canaries") < canary.age_max().expect("there are canaries"));
        assert_eq!(Canary::new(None, clock).age(), None);
    }

    /// Turns red when the tag of `id_prefix` leaves out the number that is tried.
    #[test]
    fn the_ids_of_a_partition_are_routed_to_it() {
        for count in [1, 2, 4, 1_024] {
            for partition in [0, count / 2, count - 1] {
                let id = format!("{}3", id_prefix(partition, count));
                assert_eq!(routing::partition(NAMESPACE, &id, count), partition, "{id}");
                assert!(id.starts_with(crate::validate::RESERVED) && id.len() <= crate::validate::ID_CHARS_MAX, "{id}");
            }
        }
    }

    /// Turns red when the settings or the command are out of the machine's bounds, or a repeat of an id is taken for the same
    /// request.
    #[test]
    fn the_machine_takes_what_canaries_ask_for() {
        use prost::Message;
        use scheduler::command::{Command, Entry};
        use scheduler::machine::{FEATURE_LEVEL, Machine};
        use scheduler::overlay::Overlay;
        use scheduler::reply::Reply;
        use scheduler::store::{Read, StoreError};

        struct Nothing;
        impl Read for Nothing {
            fn get(&self, _: &[u8]) -> Result<Option<Bytes>, StoreError> {
                Ok(None)
            }
            fn scan(
                &self,
                _: &[u8],
                _: &[u8],
                _: &mut dyn FnMut(&[u8], &[u8]) -> std::ops::ControlFlow<()>,
            ) -> Result<(), StoreError> {
                Ok(())
            }
        }
        let set = SetTopic {
            namespace: NAMESPACE.into(),
            topic: TOPIC.into(),
            version: SETTINGS_VERSION,
            settings: Some(settings()),
        };
        let at = |due| Kind::Schedule(schedule(format!("{}0", id_prefix(0, 1)), Timestamp::from_millis(due)));
        let commands = [Kind::SetTopic(set), at(5_000), at(6_000)].map(|kind| Command { kind: Some(kind) });
        let entry = Entry { time: 1_000, commands: commands.into(), level: FEATURE_LEVEL };
        let mut machine = Machine::new(scheduler::domain::NoDomain);
        let applied = machine.apply(1, entry.encode_to_vec().into(), &mut Overlay::new(&Nothing)).expect("applied");
        assert_eq!(applied.replies[0], Reply::Done);
        assert!(matches!(applied.replies[1], Reply::Scheduled { replayed: false, .. }), "{:?}", applied.replies[1]);
        assert!(matches!(&applied.replies[2], Reply::Refused(Refusal::AlreadyExists(_))), "{:?}", applied.replies[2]);
    }
}
