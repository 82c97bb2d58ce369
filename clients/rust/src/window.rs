//! The bookkeeping of a schedule stream: which items are on their way, which must be sent again, which have run out of
//! time. Events in, decisions out; `T` is whatever the caller hangs on an item.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::error::Error;
use crate::retry::{Attempts, Next, Policy, Target};

/// Items that have no final answer yet, by sequence.
#[derive(Debug)]
pub struct Window<T> {
    policy: Policy,
    next_sequence: u64,
    items: BTreeMap<u64, Item<T>>,
    /// Sequences to be sent, oldest first.
    unsent: BTreeSet<u64>,
    /// Sequences that wait before they are sent again.
    resting: BTreeSet<(Duration, u64)>,
    /// How many are sent and unanswered.
    under_way: usize,
    /// When the stream last showed life while something was under way.
    progress_at: Duration,
}

#[derive(Debug)]
struct Item<T> {
    value: T,
    attempts: Attempts,
    state: State,
    last_error: Option<Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unsent,
    UnderWay,
    Resting(Duration),
}

/// What an answer means.
#[derive(Debug)]
pub enum Answered<T> {
    /// Final: hand the answer to whoever waits on the item.
    Settled(T),
    /// Refused, and not tried again: hand this to whoever waits on the item.
    Failed(T, Error),
    /// Refused for a passing reason; it will be sent again by itself. The target says what to make of the stream.
    Again(Target),
    /// Nobody waits for this sequence (answered twice, or its time was up).
    Unknown,
}

impl<T> Window<T> {
    /// Empty. `policy` bounds each item over all its tries.
    pub fn new(policy: Policy) -> Self {
        Window {
            policy,
            next_sequence: 1,
            items: BTreeMap::new(),
            unsent: BTreeSet::new(),
            resting: BTreeSet::new(),
            under_way: 0,
            progress_at: Duration::ZERO,
        }
    }

    /// Items without a final answer.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether everything is answered.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Takes an item; it is due to be sent.
    pub fn offered(&mut self, now: Duration, value: T) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let attempts = Attempts::new(self.policy, now, true);
        self.items.insert(sequence, Item { value, attempts, state: State::Unsent, last_error: None });
        self.unsent.insert(sequence);
        sequence
    }

    /// The oldest item to be sent, which counts as sent from here on.
    pub fn take_unsent(&mut self, now: Duration) -> Option<(u64, &T)> {
        let sequence = loop {
            let sequence = self.unsent.pop_first()?;
            let item = self.items.get_mut(&sequence)?;
            // One whose time is up is left to `expired`.
            if item.attempts.begin(now).is_none() {
                continue;
            }
            if self.under_way == 0 {
                self.progress_at = now;
            }
            self.under_way += 1;
            item.state = State::UnderWay;
            break sequence;
        };
        self.items.get(&sequence).map(|item| (sequence, &item.value))
    }

    /// Whether anything waits to be sent.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// The server answered an item.
    pub fn answered(&mut self, now: Duration, sequence: u64, refused: Option<&Error>, random: u32) -> Answered<T> {
        self.progress_at = now;
        let Some(item) = self.items.get_mut(&sequence) else {
            return Answered::Unknown;
        };
        if item.state == State::UnderWay {
            self.under_way -= 1;
        }
        let next = refused.map(|error| (item.attempts.failed(now, error, random), error));
        if let Some((Next::Again { after, target }, error)) = next {
            item.last_error = Some(error.clone());
            // An answer that comes twice must not leave the sequence in two places.
            if let State::Resting(until) = item.state {
                self.resting.remove(&(until, sequence));
            }
            self.unsent.remove(&sequence);
            let until = now.saturating_add(after);
            item.state = State::Resting(until);
            self.resting.insert((until, sequence));
            return Answered::Again(target);
        }
        let Some(item) = self.forget(sequence) else { return Answered::Unknown };
        match refused {
            Some(error) => Answered::Failed(item.value, item.attempts.verdict(error.clone())),
            None => Answered::Settled(item.value),
        }
    }

    /// The stream broke: what was under way is sent again on the next one. Safe, because every item carries its id.
    pub fn disconnected(&mut self, error: &Error) {
        for (sequence, item) in &mut self.items {
            if item.state == State::UnderWay {
                item.state = State::Unsent;
                item.last_error = Some(error.clone());
                item.attempts.broken_off(error);
                self.unsent.insert(*sequence);
            }
        }
        self.under_way = 0;
    }

    /// Moves on: items that have rested become due to be sent, and those whose time is up are handed back with the
    /// reason they never got an answer.
    pub fn tick(&mut self, now: Duration) -> Vec<(T, Error)> {
        while let Some(&(until, sequence)) = self.resting.first()
            && until <= now
        {
            self.resting.pop_first();
            if let Some(item) = self.items.get_mut(&sequence) {
                item.state = State::Unsent;
                self.unsent.insert(sequence);
            }
        }
        let mut expired = Vec::new();
        // Deadlines rise with sequences: every item has the same time.
        while let Some((&sequence, item)) = self.items.first_key_value()
            && item.attempts.deadline() <= now
        {
            let Some(item) = self.forget(sequence) else {
                break;
            };
            let time_out = Error::TimedOut { after: self.policy.total };
            let error = match item.state {
                // Of the try that is under way nothing is known.
                State::UnderWay => time_out,
                State::Unsent | State::Resting(_) => item.attempts.verdict(item.last_error.unwrap_or(time_out)),
            };
            expired.push((item.value, error));
        }
        expired
    }

    /// Whether the stream has been silent for longer than one try may take, with items under way.
    pub fn is_stalled(&self, now: Duration) -> bool {
        self.under_way > 0 && now >= self.progress_at.saturating_add(self.policy.attempt)
    }

    /// When to look again if nothing happens.
    pub fn wake_at(&self) -> Option<Duration> {
        let deadline = self.items.first_key_value().map(|(_, item)| item.attempts.deadline());
        let rested = self.resting.first().map(|(until, _)| *until);
        let stall = (self.under_way > 0).then(|| self.progress_at.saturating_add(self.policy.attempt));
        [deadline, rested, stall].into_iter().flatten().min()
    }

    fn forget(&mut self, sequence: u64) -> Option<Item<T>> {
        let item = self.items.remove(&sequence)?;
        self.unsent.remove(&sequence);
        if let State::Resting(until) = item.state {
            self.resting.remove(&(until, sequence));
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Reason, Refusal, Repeat};
    use proptest::prelude::*;
    use tonic::Code;

    const MS: Duration = Duration::from_millis(1);

    fn overloaded() -> Error {
        Error::Refused(Box::new(Refusal {
            code: Code::ResourceExhausted,
            reason: Reason::Overloaded,
            message: String::new(),
            metadata: Default::default(),
            fields: vec![],
            retry_after: Some(100 * MS),
            receipt: None,
        }))
    }

    fn gone() -> Error {
        Error::Disconnected { endpoint: "a".into(), message: "reset".into() }
    }

    fn sent(window: &mut Window<u32>, now: Duration) -> Vec<u32> {
        std::iter::from_fn(|| window.take_unsent(now).map(|(_, value)| *value)).collect()
    }

    /// Red when `disconnected` leaves out an item that was under way.
    #[test]
    fn a_broken_stream_is_replayed_in_order_without_what_was_answered() {
        let mut window = Window::new(Policy::default());
        let sequences: Vec<u64> = (0..4).map(|value| window.offered(MS, value)).collect();
        assert_eq!(sent(&mut window, MS), [0, 1, 2, 3]);
        let answer = window.answered(2 * MS, sequences[1], None, 0);
        assert!(matches!(answer, Answered::Settled(1)));
        window.disconnected(&gone());
        assert_eq!(sent(&mut window, 3 * MS), [0, 2, 3]);
        // The answer of the first stream that comes after all, and then that of the second.
        assert!(matches!(window.answered(4 * MS, sequences[0], None, 0), Answered::Settled(0)));
        assert!(matches!(window.answered(4 * MS, sequences[0], None, 0), Answered::Unknown));
    }

    /// Red when `tick` hands back the error of an earlier try while one is under way, or `disconnected` does not note that
    /// its items may have been carried out.
    #[test]
    fn an_item_that_was_sent_does_not_end_as_one_that_was_not() {
        let mut window = Window::new(Policy::default());
        let refused = window.offered(Duration::ZERO, 1);
        let sent_again = window.offered(Duration::ZERO, 2);
        let broken_off = window.offered(Duration::ZERO, 3);
        sent(&mut window, Duration::ZERO);
        for sequence in [refused, sent_again] {
            window.answered(MS, sequence, Some(&overloaded()), 0);
        }
        window.disconnected(&overloaded());
        window.tick(1_000 * MS);
        while window.take_unsent(1_000 * MS).is_some() {}
        for sequence in [refused, broken_off] {
            window.answered(1_001 * MS, sequence, Some(&overloaded()), 0);
        }
        let repeats = window.tick(10_000 * MS).into_iter().map(|(value, error)| (value, error.repeat()));
        let unknown = Repeat::MaybeExecuted;
        assert_eq!(repeats.collect::<Vec<_>>(), [(1, Repeat::NotExecuted), (2, unknown), (3, unknown)]);
    }

    #[test]
    fn a_passing_refusal_rests_and_goes_again() {
        let mut window = Window::new(Policy::default());
        let sequence = window.offered(Duration::ZERO, 7);
        sent(&mut window, Duration::ZERO);
        let answer = window.answered(MS, sequence, Some(&overloaded()), u32::MAX);
        assert!(matches!(answer, Answered::Again(Target::Same)));
        assert_eq!(window.wake_at(), Some(126 * MS));
        window.tick(125 * MS);
        assert!(sent(&mut window, 125 * MS).is_empty());
        window.tick(126 * MS);
        assert_eq!(sent(&mut window, 126 * MS), [7]);
    }

    #[test]
    fn a_final_refusal_settles() {
        let mut window = Window::new(Policy::default());
        let sequence = window.offered(Duration::ZERO, 7);
        sent(&mut window, Duration::ZERO);
        assert!(matches!(window.answered(MS, sequence, Some(&Error::Closed), 0), Answered::Failed(7, Error::Closed)));
        assert!(window.is_empty());
    }

    #[test]
    fn time_that_is_up_is_told_with_the_last_error() {
        let mut window = Window::new(Policy::default());
        window.offered(Duration::ZERO, 1);
        window.offered(5 * MS, 2);
        sent(&mut window, 5 * MS);
        window.disconnected(&gone());
        let expired = window.tick(10_000 * MS);
        assert!(matches!(expired[..], [(1, Error::Disconnected { .. })]));
        assert_eq!(window.len(), 1);
    }

    #[test]
    fn silence_with_items_under_way_is_a_stall() {
        let mut window = Window::new(Policy::default());
        assert!(!window.is_stalled(9_000 * MS));
        let first = window.offered(1_000 * MS, 1);
        window.offered(1_000 * MS, 2);
        sent(&mut window, 1_000 * MS);
        assert!(!window.is_stalled(3_999 * MS));
        window.answered(3_000 * MS, first, None, 0);
        assert!(!window.is_stalled(4_000 * MS));
        assert!(window.is_stalled(6_000 * MS));
    }

    proptest! {
        /// Whatever happens, every item is settled or expired exactly once, and nothing is left.
        #[test]
        fn every_item_ends_exactly_once(events in prop::collection::vec(0u8..6, 1..400)) {
            let mut window = Window::new(Policy::default());
            let mut now = Duration::ZERO;
            let (mut offered, mut ended) = (0u32, Vec::new());
            let mut under_way = Vec::new();
            for (i, event) in events.into_iter().enumerate() {
                now += 37 * MS;
                match event {
                    0 | 1 => { window.offered(now, offered); offered += 1; }
                    2 => while let Some((sequence, _)) = window.take_unsent(now) {
                        under_way.push(sequence);
                    },
                    3 => if let Some(sequence) = under_way.pop()
                        && let Answered::Settled(value) = window.answered(now, sequence, None, 0) {
                        ended.push(value);
                    },
                    4 => if !under_way.is_empty() {
                        let sequence = under_way[i % under_way.len()];
                        if let Answered::Failed(value, _) =
                            window.answered(now, sequence, Some(&overloaded()), 0) {
                            ended.push(value);
                        }
                    },
                    _ => window.disconnected(&gone()),
                }
                ended.extend(window.tick(now).into_iter().map(|(value, _)| value));
            }
            ended.extend(window.tick(now + Duration::from_secs(60)).into_iter().map(|(value, _)| value));
            ended.sort_unstable();
            prop_assert_eq!(ended, (0..offered).collect::<Vec<_>>());
            prop_assert!(window.is_empty() && window.unsent.is_empty() && window.resting.is_empty());
        }
    }
}
