//! Why triggers were late: what most of the time between the due time and the first delivery was lost to.
//!
//! The time is divided into three stretches: while nobody led, until the log had fired it, and until it was handed out. The
//! longest one names the cause. A trigger that is in time costs a comparison when it is handed out, another when it is
//! completed, and a bit while it is held.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::Dispatcher;
use super::leases::Held;
use super::types::{Cause, Row, Topic};
use crate::lane::{Class, Generation, LaneId};
use crate::time::{Delay, Timestamp};

/// Late triggers kept until they are taken; beyond that the oldest are only counted.
const RECENT_MAX: usize = 1_000;
/// Entries remembered that were decided long after they were stamped.
const SLOW_MAX: usize = 256;
/// Triggers remembered whose first attempt failed.
const FAILED_MAX: usize = 4_096;

/// What most of the lost time was lost to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LateCause {
    /// Due while the partition had no leader that served.
    NoLeader = 0,
    /// The entry that fired it was decided late, though there was a leader.
    Consensus = 1,
    /// Fired, and waited in the dispatcher for its turn.
    DispatchQueue = 2,
    /// Held back by its topic: paused, or at its rate or concurrency.
    RateLimit = 3,
    /// No executor asked for the topic, or those that did took no more.
    NoCredit = 4,
    /// Handed out in time: the attempt took long, failed and was made again, or its lease ran out.
    Executor = 5,
}

impl LateCause {
    /// All of them, in order of their numbers.
    pub const ALL: [LateCause; 6] = [
        LateCause::NoLeader,
        LateCause::Consensus,
        LateCause::DispatchQueue,
        LateCause::RateLimit,
        LateCause::NoCredit,
        LateCause::Executor,
    ];

    /// As metrics call it.
    pub fn name(self) -> &'static str {
        match self {
            LateCause::NoLeader => "no_leader",
            LateCause::Consensus => "consensus",
            LateCause::DispatchQueue => "dispatch_queue",
            LateCause::RateLimit => "rate_limit",
            LateCause::NoCredit => "no_credit",
            LateCause::Executor => "executor",
        }
    }
}

/// One late trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Late {
    /// Its topic.
    pub topic: Arc<Topic>,
    /// Its id.
    pub id: Arc<str>,
    /// When it was due.
    pub due: Timestamp,
    /// When it was handed out or dead-lettered for its lateness; if the executor was the cause, completed.
    pub until: Timestamp,
    /// What most of the time was lost to.
    pub cause: LateCause,
    /// More about that, in a word or two.
    pub detail: &'static str,
}

/// What happened in a term and is told once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// The newest late triggers, oldest first, at most 1,000.
    pub late: VecDeque<Late>,
    /// How many were late, by number of [`LateCause`].
    pub late_counts: [u64; LateCause::ALL.len()],
    /// Leases that ran out or were given up.
    pub leases_expired: u64,
}

/// What is known of a first delivery.
#[derive(Clone, Copy, Debug)]
pub struct FirstDelivery {
    /// When it was due.
    pub due: Timestamp,
    /// When this leader knew that the log had fired it; of a trigger that fired under an earlier leader, when that was.
    pub fired: Timestamp,
    /// When it was handed out.
    pub delivered: Timestamp,
    /// The time of the newest entry of earlier terms, and when this leader began: in between nobody led.
    pub silence: (Timestamp, Timestamp),
    /// What firing in its lane had last waited for.
    pub behind: Option<Cause>,
    /// What delivery in its lane had last waited for.
    pub waited: Option<Cause>,
}

/// What most of the time from due to delivery was lost to, and more about that.
pub fn cause_of_late_delivery(facts: &FirstDelivery) -> (LateCause, &'static str) {
    let FirstDelivery { due, fired, delivered, silence, behind, waited } = *facts;
    let fired = fired.clamp(due, delivered.max(due));
    let led = |from: Timestamp, to: Timestamp| to.since(from).as_millis() - overlap((from, to), silence).as_millis();
    let firing = match behind {
        Some(Cause::Paused) => (LateCause::RateLimit, "paused"),
        Some(Cause::RateLimit) => (LateCause::RateLimit, "rate"),
        _ => (LateCause::Consensus, "decided late"),
    };
    let waiting = match waited {
        Some(Cause::NoExecutor) => (LateCause::NoCredit, "no executor"),
        Some(Cause::NoCredit) => (LateCause::NoCredit, "busy"),
        Some(Cause::Paused) => (LateCause::RateLimit, "paused"),
        Some(Cause::RateLimit) => (LateCause::RateLimit, "rate"),
        Some(Cause::Concurrency) => (LateCause::RateLimit, "concurrency"),
        // A leader that waits for executors of the one before it does not serve yet.
        Some(Cause::Grace) => (LateCause::NoLeader, "grace"),
        Some(Cause::Undecided) => (LateCause::DispatchQueue, "undecided outcomes"),
        Some(Cause::Queued) | None => (LateCause::DispatchQueue, "queued"),
    };
    let stretches = [
        ((LateCause::NoLeader, "no leader"), overlap((due, delivered), silence).as_millis()),
        (firing, led(due, fired)),
        (waiting, led(fired, delivered)),
    ];
    let of_cause = |cause| stretches.iter().filter(|((other, _), _)| *other == cause).map(|(_, ms)| ms).sum::<u64>();
    let mut longest = stretches[0];
    for stretch in &stretches[1..] {
        let ((cause, _), ms) = *stretch;
        if (of_cause(cause), ms) > (of_cause(longest.0.0), longest.1) {
            longest = *stretch;
        }
    }
    longest.0
}

/// What most of the time from due to completion was lost to, for a trigger that was handed out in time; `detail` is what its
/// executor did.
pub fn cause_of_late_completion(
    due: Timestamp,
    completed: Timestamp,
    silence: (Timestamp, Timestamp),
    detail: &'static str,
) -> (LateCause, &'static str) {
    // Without a leader nobody takes outcomes.
    let silent = overlap((due, completed), silence);
    if silent.as_millis() > completed.since(due).as_millis() / 2 {
        (LateCause::NoLeader, "no leader")
    } else {
        (LateCause::Executor, detail)
    }
}

fn overlap(one: (Timestamp, Timestamp), other: (Timestamp, Timestamp)) -> Delay {
    one.1.min(other.1).since(one.0.max(other.0))
}

/// What a dispatcher knows about lateness.
#[derive(Debug)]
pub(super) struct Lateness {
    bound: Delay,
    /// Nothing is noted of this namespace.
    except: Option<Arc<str>>,
    silence: (Timestamp, Timestamp),
    /// First index of the term.
    first_index: u64,
    /// Entries that were decided long after they were stamped: index, and when that was known. In order.
    slow: VecDeque<(u64, Timestamp)>,
    /// Triggers whose first attempt failed in this term.
    failed: BTreeMap<Generation, Failed>,
    noted: Noted,
}

/// What is remembered of a trigger whose first attempt failed.
#[derive(Clone, Copy, Debug, Default)]
struct Failed {
    /// It was handed out late, and has been counted for that.
    counted: bool,
    /// A lease of it ran out.
    expired: bool,
}

impl Lateness {
    pub fn new(config: &super::Config, term: super::Term, began: Timestamp) -> Self {
        Lateness {
            bound: config.late_bound,
            except: config.late_except.clone(),
            silence: (term.watermark, began),
            first_index: term.first_index,
            slow: VecDeque::new(),
            failed: BTreeMap::new(),
            noted: Noted::default(),
        }
    }

    /// Whether that is late.
    pub fn is_late(&self, overdue: Delay) -> bool {
        overdue > self.bound
    }

    fn entry_decided(&mut self, now: Timestamp, index: u64, watermark: Timestamp) {
        // What took less is not what a trigger was late for.
        if now.since(watermark).as_millis() <= self.bound.as_millis() / 4 {
            return;
        }
        if self.slow.len() == SLOW_MAX {
            self.slow.pop_front();
        }
        self.slow.push_back((index, now));
    }

    /// A row that is late is handed out, or dead-lettered for that.
    pub fn late_delivery(
        &mut self,
        topic: &Arc<Topic>,
        row: &Row,
        delivered: Timestamp,
        behind: Option<Cause>,
        waited: Option<Cause>,
    ) {
        let slow = self.slow.binary_search_by_key(&row.fired.index, |&(index, _)| index);
        let fired = match slow {
            Ok(place) if row.fired.index >= self.first_index => self.slow[place].1,
            _ => row.fired.time,
        };
        let due = row.position.due;
        let facts = FirstDelivery { due, fired, delivered, silence: self.silence, behind, waited };
        let (cause, detail) = cause_of_late_delivery(&facts);
        self.note(Late { topic: topic.clone(), id: row.id.clone(), due, until: delivered, cause, detail });
    }

    /// A trigger that was handed out in time was completed late.
    pub fn late_completion(
        &mut self,
        topic: &Arc<Topic>,
        id: Arc<str>,
        due: Timestamp,
        until: Timestamp,
        detail: &'static str,
    ) {
        let (cause, detail) = cause_of_late_completion(due, until, self.silence, detail);
        self.note(Late { topic: topic.clone(), id, due, until, cause, detail });
    }

    /// The log decided that an attempt failed and there will be another.
    fn attempt_failed(&mut self, generation: Generation, first: Option<bool>, expired: bool) {
        let failed = self.failed.entry(generation).or_default();
        failed.counted |= first.unwrap_or(false);
        failed.expired |= expired;
        if self.failed.len() > FAILED_MAX {
            self.failed.pop_first();
        }
    }

    fn note(&mut self, late: Late) {
        if self.except.as_ref().is_some_and(|except| *except == late.topic.namespace) {
            return;
        }
        self.noted.late_counts[late.cause as usize] += 1;
        if self.noted.late.len() == RECENT_MAX {
            self.noted.late.pop_front();
        }
        self.noted.late.push_back(late);
    }
}

/// What a proposal about one trigger needs to know of it when it is decided: by then its lease is gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    lane: LaneId,
    /// Of a first attempt, whether it was handed out late.
    first: Option<bool>,
}

impl About {
    pub fn of(held: &Held) -> Self {
        let first = held.attempt == 1 && held.lane.class() != Class::Retry;
        About { lane: held.lane, first: first.then_some(held.late) }
    }
}

impl Dispatcher {
    /// An entry with this index and time was decided. Before its effects; it helps to tell why something is late.
    pub fn entry_decided(&mut self, now: Timestamp, index: u64, watermark: Timestamp) {
        self.lateness.entry_decided(now, index, watermark);
    }

    /// What was noted since the last time. Bounded, so that nobody needs to ask.
    pub fn take_noted(&mut self) -> Option<Noted> {
        let noted = &mut self.lateness.noted;
        let told = noted.late.is_empty() && noted.leases_expired == 0;
        if told { None } else { Some(std::mem::take(noted)) }
    }

    /// A lease of a trigger in this namespace ran out or was given up.
    pub(super) fn note_expired(&mut self, namespace: &str) {
        if self.lateness.except.as_deref() != Some(namespace) {
            self.lateness.noted.leases_expired += 1;
        }
    }

    /// A trigger ended by a command of its own.
    pub(super) fn completed_alone(
        &mut self,
        about: About,
        id: &str,
        generation: Generation,
        due: Timestamp,
        time: Timestamp,
    ) {
        let failed = self.lateness.failed.remove(&generation);
        let counted = about.first.or(failed.map(|failed| failed.counted)).unwrap_or(false);
        if counted || !self.lateness.is_late(time.since(due)) {
            return;
        }
        let detail = match (about.first, failed) {
            (Some(_), _) => "slow",
            (None, Some(Failed { expired: true, .. })) => "lease expired",
            (None, _) => "retried",
        };
        if let Some(topic) = self.topics.get(&about.lane.topic()) {
            self.lateness.late_completion(&topic.info, id.into(), due, time, detail);
        }
    }

    pub(super) fn attempt_failed(&mut self, about: About, generation: Generation, expired: bool) {
        self.lateness.attempt_failed(generation, about.first, expired);
    }

    /// It is a dead letter now.
    pub(super) fn gave_up(&mut self, generation: Generation) {
        self.lateness.failed.remove(&generation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    /// Due at 10 s under a leader that began at 2 s.
    const IN_TIME: FirstDelivery = FirstDelivery {
        due: Timestamp::from_millis(10_000),
        fired: Timestamp::from_millis(10_000),
        delivered: Timestamp::from_millis(10_000),
        silence: (Timestamp::from_millis(1_000), Timestamp::from_millis(2_000)),
        behind: None,
        waited: None,
    };

    fn cause(facts: FirstDelivery) -> (&'static str, &'static str) {
        let (cause, detail) = cause_of_late_delivery(&facts);
        (cause.name(), detail)
    }

    /// Turns red when `stretches` leaves out the silence: it then counts as a slow log.
    #[test]
    fn due_while_nobody_led() {
        let facts =
            FirstDelivery { silence: (at(9_900), at(12_000)), fired: at(12_010), delivered: at(12_400), ..IN_TIME };
        assert_eq!(cause(facts), ("no_leader", "no leader"));
        // Fired by the leader before, who did not live to hand it out; the new one waits for its executors.
        let facts = FirstDelivery { silence: (at(10_000), at(11_000)), delivered: at(11_900), ..IN_TIME };
        assert_eq!(cause(FirstDelivery { waited: Some(Cause::Grace), ..facts }), ("no_leader", "no leader"));
        let facts = FirstDelivery { silence: (at(10_000), at(10_400)), ..facts };
        assert_eq!(cause(FirstDelivery { waited: Some(Cause::Grace), ..facts }), ("no_leader", "grace"));
        // A short silence is not what an hour without executors was lost to.
        let facts = FirstDelivery { delivered: at(3_610_000), waited: Some(Cause::NoExecutor), ..facts };
        assert_eq!(cause(facts), ("no_credit", "no executor"));
    }

    /// Turns red when `firing` is measured from the beginning of the term rather than from due.
    #[test]
    fn decided_late_by_the_log() {
        let facts = FirstDelivery { fired: at(11_500), delivered: at(11_700), ..IN_TIME };
        assert_eq!(cause(facts), ("consensus", "decided late"));
        // The same, with a backlog for a reason of its own that cost less.
        assert_eq!(cause(FirstDelivery { waited: Some(Cause::NoCredit), ..facts }), ("consensus", "decided late"));
    }

    /// Turns red when `waiting` names rows that wait for their turn or for the log anything but the queue.
    #[test]
    fn waited_in_the_dispatcher() {
        let facts = FirstDelivery { delivered: at(11_700), ..IN_TIME };
        assert_eq!(cause(facts), ("dispatch_queue", "queued"));
        assert_eq!(cause(FirstDelivery { waited: Some(Cause::Queued), ..facts }), ("dispatch_queue", "queued"));
        let facts = FirstDelivery { waited: Some(Cause::Undecided), ..facts };
        assert_eq!(cause(facts), ("dispatch_queue", "undecided outcomes"));
    }

    /// Turns red when `firing` forgets what the lane was behind for.
    #[test]
    fn held_back_by_its_topic() {
        let released = FirstDelivery { fired: at(19_000), delivered: at(19_100), ..IN_TIME };
        assert_eq!(cause(FirstDelivery { behind: Some(Cause::Paused), ..released }), ("rate_limit", "paused"));
        assert_eq!(cause(FirstDelivery { behind: Some(Cause::RateLimit), ..released }), ("rate_limit", "rate"));
        let full = FirstDelivery { delivered: at(19_100), waited: Some(Cause::Concurrency), ..IN_TIME };
        assert_eq!(cause(full), ("rate_limit", "concurrency"));
    }

    /// Turns red when `waiting` takes a missing executor for a queue.
    #[test]
    fn nobody_took_it() {
        let facts = FirstDelivery { delivered: at(11_700), ..IN_TIME };
        assert_eq!(cause(FirstDelivery { waited: Some(Cause::NoExecutor), ..facts }), ("no_credit", "no executor"));
        assert_eq!(cause(FirstDelivery { waited: Some(Cause::NoCredit), ..facts }), ("no_credit", "busy"));
    }

    /// Turns red when `cause_of_late_completion` leaves out the silence, or any of it is enough.
    #[test]
    fn completed_late_by_its_executor_or_for_want_of_a_leader() {
        let done = |silence| cause_of_late_completion(at(10_000), at(12_000), silence, "slow");
        assert_eq!(done((at(1_000), at(2_000))), (LateCause::Executor, "slow"));
        assert_eq!(done((at(10_100), at(11_500))), (LateCause::NoLeader, "no leader"));
        assert_eq!(done((at(10_100), at(10_500))), (LateCause::Executor, "slow"));
    }

    /// Turns red when one of the bounds is left out of `Lateness`.
    #[test]
    fn what_is_remembered_is_bounded() {
        let term = super::super::Term { epoch: 1, term: 1, first_index: 1, watermark: at(0) };
        let mut lateness = Lateness::new(&super::super::Config::default(), term, at(0));
        let settings = crate::command::TopicSettings::default();
        let id = crate::lane::TopicId(0);
        let topic = Arc::new(Topic { id, namespace: "n".into(), name: "t".into(), settings });
        for number in 0..100_000u64 {
            lateness.entry_decided(at(number + 5_000), number, at(number));
            lateness.attempt_failed(Generation::from_number(number), Some(true), false);
            lateness.late_completion(&topic, "x".into(), at(number), at(number + 5_000), "slow");
        }
        let noted = &lateness.noted;
        assert_eq!((lateness.slow.len(), lateness.failed.len(), noted.late.len()), (SLOW_MAX, FAILED_MAX, RECENT_MAX));
        assert_eq!(noted.late_counts, [0, 0, 0, 0, 0, 100_000]);
        assert_eq!(noted.late.back().map(|late| late.due), Some(at(99_999)), "the newest are kept");
    }
}
