//! Gathers concurrent commands of a partition into log entries, and moves time when nobody asks for anything.
//!
//! Gathering is self-clocked: while entries are under way commands pile up, and what has piled up becomes the next
//! entry. There is no timer, so a lone command waits for nobody.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use scheduler::command::Kind;
use scheduler::lane::Generation;
use scheduler::reply::{Refusal, Reply};
use scheduler::time::Timestamp;
use tokio::sync::{Notify, oneshot};

use crate::config::ProposerConfig;
use crate::disk::DiskGuard;
use crate::entry;
use crate::error::Error;
use crate::feed::{Feed, NextEntry};
use crate::leader_clock::LeaderClock;
use crate::levels::CommonLevel;
use crate::machine::{Adapter, Answers};

/// While entries are under way, this many commands are worth another one at once.
const GATHER_COMMANDS: usize = 128;
/// Or this many bytes.
const GATHER_BYTES: usize = 32 * 1024;
/// Bare entries are never closer to the entry before than this.
const BARE_PAUSE: Duration = Duration::from_millis(2);

/// A command's answer and the entry it was in.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What the state machine said.
    pub reply: Reply,
    /// Index of the entry.
    pub index: u64,
    /// Time of the entry.
    pub time: Timestamp,
}

impl Answer {
    /// The reply, a refusal as an error.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when the state machine refused.
    pub fn accepted(self, partition: u32) -> Result<Reply, Error> {
        match self.reply {
            Reply::Refused(refusal) => Err(Error::Refused { partition, refusal }),
            reply => Ok(reply),
        }
    }
}

/// An answer that is awaited.
pub struct Awaited(oneshot::Receiver<Result<Answer, Error>>);

impl Awaited {
    /// Waits for the answer. The command is durable on a majority when this says so. Giving up waiting takes the command
    /// back only if a client asked for it and it is still in the queue.
    ///
    /// # Errors
    ///
    /// Why it was not applied, or that this is not known.
    pub async fn answer(self) -> Result<Answer, Error> {
        self.0.await.unwrap_or_else(|_| Err(Error::OutcomeUnknown { reason: "the leader gave up the term".into() }))
    }
}

/// The queue of one partition; cheap to clone.
#[derive(Clone)]
pub struct Proposer(Arc<Shared>);

struct Shared {
    partition: u32,
    config: ProposerConfig,
    disk: DiskGuard,
    queue: Mutex<Queue>,
    wake: Notify,
}

struct Queue {
    standing: Standing,
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// What is worth waking the proposer for.
    wanted: Wanted,
    /// Why moments counted from now are refused, while they are.
    hold: Option<String>,
}

/// What the proposer found missing when it last looked into the queue. Waking it for every command would cost more than the
/// command itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// It was woken, or is at work and will look again.
    Nothing,
    /// Entries are under way: enough for another. When one of them ends it looks by itself.
    Gathered,
    /// Whatever comes.
    Anything,
}

impl Queue {
    /// Whether what waits is worth an entry while others are under way.
    fn is_gathered(&self) -> bool {
        self.waiting.len() >= GATHER_COMMANDS || self.bytes >= GATHER_BYTES
    }
}

/// What this node is to the partition.
#[derive(Clone, Debug)]
enum Standing {
    Leading,
    Following { leader: Option<String> },
    Stopping,
}

struct Waiting {
    /// The command as a field of the entry, tag and length included.
    field: Vec<u8>,
    /// How many of the entry's numbers it may need.
    places: usize,
    /// A client asked for it, and may have given up since.
    asked: bool,
    reply: oneshot::Sender<Result<Answer, Error>>,
}

impl Waiting {
    /// Whether nobody waits for the answer and nobody else needs it done.
    fn is_given_up(&self) -> bool {
        self.asked && self.reply.is_closed()
    }
}

/// What a term's proposals need.
pub struct Term<'a> {
    /// Its number.
    pub term: u64,
    /// The group led.
    pub group: &'a raft::Group<Adapter>,
    /// What was applied.
    pub feed: &'a Feed,
    /// What may be stamped.
    pub clock: &'a LeaderClock,
    /// The feature level all members know.
    pub level: &'a CommonLevel,
}

impl Proposer {
    /// An empty queue that refuses everything until this node leads.
    pub fn new(partition: u32, config: ProposerConfig, disk: DiskGuard) -> Proposer {
        let queue = Queue {
            standing: Standing::Following { leader: None },
            waiting: VecDeque::new(),
            bytes: 0,
            wanted: Wanted::Nothing,
            hold: None,
        };
        Proposer(Arc::new(Shared { partition, config, disk, queue: Mutex::new(queue), wake: Notify::new() }))
    }

    /// Queues a command a client asked for.
    ///
    /// # Errors
    ///
    /// Nothing was tried: this node does not lead, the queue or the disk is full, or the command needs to know the
    /// present moment and time is held.
    pub fn propose(&self, kind: Kind) -> Result<Awaited, Error> {
        self.0.disk.check()?;
        self.enqueue(kind, true)
    }

    /// Queues a command of the node's own, which frees room rather than take it: a full disk is no reason to refuse it.
    ///
    /// # Errors
    ///
    /// As [`propose`](Self::propose).
    pub fn propose_internal(&self, kind: Kind) -> Result<Awaited, Error> {
        self.enqueue(kind, false)
    }

    fn enqueue(&self, kind: Kind, asked: bool) -> Result<Awaited, Error> {
        let (relative, places) = (entry::is_relative(&kind), entry::places(&kind));
        let field = entry::as_field(kind);
        let (reply, awaited) = oneshot::channel();
        let wake = {
            let mut queue = self.lock();
            match &queue.standing {
                Standing::Leading => {}
                Standing::Following { leader } => {
                    return Err(Error::NotLeader { partition: self.0.partition, leader: leader.clone() });
                }
                Standing::Stopping => return Err(Error::ShuttingDown),
            }
            if relative && let Some(reason) = &queue.hold {
                return Err(Error::ClockHeld { reason: reason.clone() });
            }
            // One command always fits, so that none is too large for ever.
            if queue.bytes + field.len() > self.0.config.queue_bytes_max && !queue.waiting.is_empty() {
                crate::metrics::overloaded();
                return Err(Error::Overloaded {
                    what: "the queue of the proposer",
                    retry_after: Duration::from_millis(100),
                });
            }
            queue.bytes += field.len();
            queue.waiting.push_back(Waiting { field, places, asked, reply });
            let wake = match queue.wanted {
                Wanted::Nothing => false,
                Wanted::Gathered => queue.is_gathered(),
                Wanted::Anything => true,
            };
            if wake {
                queue.wanted = Wanted::Nothing;
            }
            wake
        };
        if wake {
            self.0.wake.notify_one();
        }
        Ok(Awaited(awaited))
    }

    /// Whether commands are taken here.
    pub fn is_leading(&self) -> bool {
        matches!(self.lock().standing, Standing::Leading)
    }

    /// Bytes of commands waiting.
    pub fn queued_bytes(&self) -> usize {
        self.lock().bytes
    }

    /// While there is a reason, moments counted from now are refused with it.
    pub fn set_hold(&self, hold: Option<String>) {
        self.lock().hold = hold;
    }

    /// This node leads: commands are taken.
    pub fn lead(&self) {
        let mut queue = self.lock();
        if !matches!(queue.standing, Standing::Stopping) {
            queue.standing = Standing::Leading;
        }
    }

    /// Another node leads. Commands not proposed yet are refused, with the leader's client address if it is known.
    pub fn follow(&self, leader: Option<String>) {
        let mut queue = self.lock();
        if !matches!(queue.standing, Standing::Stopping) {
            queue.standing = Standing::Following { leader: leader.clone() };
        }
        queue.hold = None;
        queue.bytes = 0;
        let refused = std::mem::take(&mut queue.waiting);
        drop(queue);
        for waiting in refused {
            let error = Error::NotLeader { partition: self.0.partition, leader: leader.clone() };
            // Whoever asked may have given up.
            let _ = waiting.reply.send(Err(error));
        }
    }

    /// The node is about to stop: no further command is taken; those waiting are still proposed.
    pub fn stop(&self) {
        self.lock().standing = Standing::Stopping;
        self.0.wake.notify_one();
    }

    /// Proposes until dropped: what is queued, and bare entries when time has to move. Runs while this node leads in
    /// the term, after it has applied what earlier terms left.
    pub async fn run(&self, term: Term<'_>) {
        let slots = Arc::new(Slots::default());
        // When the newest entry was submitted: by the machine's own clock, also when the partition's is virtual.
        let mut newest: Option<tokio::time::Instant> = None;
        loop {
            let under_way = slots.under_way();
            if under_way < self.0.config.outstanding_max
                && let Some(batch) = self.take(under_way > 0)
            {
                let time = self.stamp(&term);
                newest = Some(tokio::time::Instant::now());
                self.submit(&term, time, batch, &slots).await;
                continue;
            }
            let bare = async {
                if under_way > 0 {
                    // Its publication wakes us.
                    return std::future::pending().await;
                }
                match term.feed.next_entry() {
                    NextEntry::Never => std::future::pending().await,
                    NextEntry::Owed => Self::pause(newest).await,
                    NextEntry::At(at) => {
                        Self::pause(newest).await;
                        term.clock.sleep_until(at).await;
                    }
                }
            };
            let mut progress = term.feed.progress();
            progress.mark_unchanged();
            tokio::select! {
                () = bare => {
                    let time = self.stamp(&term);
                    newest = Some(tokio::time::Instant::now());
                    crate::metrics::bare_entry();
                    self.submit(&term, time, Vec::new(), &slots).await;
                }
                () = self.0.wake.notified() => {}
                () = slots.freed.notified() => {}
                _ = progress.changed() => {}
            }
        }
    }

    /// Takes what makes the next entry; while others are under way only if it is worth one. When it is `None`, `wake` is notified as
    /// soon as there is something.
    fn take(&self, under_way: bool) -> Option<Vec<Waiting>> {
        let mut queue = self.lock();
        // In an overload the oldest have waited the longest: work for nobody would be all that is done.
        while queue.waiting.front().is_some_and(Waiting::is_given_up) {
            let given_up = queue.waiting.pop_front();
            queue.bytes -= given_up.map_or(0, |waiting| waiting.field.len());
            crate::metrics::given_up();
        }
        if queue.waiting.is_empty() || under_way && !queue.is_gathered() {
            queue.wanted = if under_way { Wanted::Gathered } else { Wanted::Anything };
            return None;
        }
        queue.wanted = Wanted::Nothing;
        let (mut bytes, mut places, mut count) = (0, 0, 0);
        for waiting in &queue.waiting {
            let full = bytes + waiting.field.len() > self.0.config.entry_bytes_max
                || places + waiting.places > Generation::COMMANDS_PER_ENTRY_MAX;
            if full && count > 0 {
                break;
            }
            bytes += waiting.field.len();
            places += waiting.places;
            count += 1;
        }
        queue.bytes -= bytes;
        Some(queue.waiting.drain(..count).collect())
    }

    fn stamp(&self, term: &Term<'_>) -> Timestamp {
        let time = term.clock.now();
        self.lock().hold = term.clock.hold();
        time
    }

    /// Waits until the newest entry is old enough for a bare one to follow.
    async fn pause(newest: Option<tokio::time::Instant>) {
        if let Some(newest) = newest {
            tokio::time::sleep_until(newest + BARE_PAUSE).await;
        }
    }

    async fn submit(&self, term: &Term<'_>, time: Timestamp, batch: Vec<Waiting>, slots: &Arc<Slots>) {
        // Never below what is in force: what was applied last is not older than what this node was told.
        let level = term.level.in_term(term.term).max(term.feed.progress().borrow().level);
        let payload = entry::of_fields(time, batch.iter().map(|waiting| waiting.field.as_slice()), level);
        crate::metrics::proposed(batch.len(), payload.len());
        let started = std::time::Instant::now();
        let slot = Slots::take(slots);
        let partition = self.0.partition;
        // In this order entries enter the log, so that their times never step back.
        match term.group.submit(term.term, payload).await {
            Ok(pending) => {
                tokio::spawn(async move {
                    let outcome = pending.outcome().await;
                    drop(slot);
                    crate::metrics::decided(started.elapsed(), outcome.is_ok());
                    answer(partition, batch, outcome);
                });
            }
            Err(error) => {
                drop(slot);
                crate::metrics::decided(started.elapsed(), false);
                answer(partition, batch, Err(error));
                // The end of the term is about to be told; until then do not spin.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().expect("the queue's lock is never held over a panic")
    }
}

/// How many entries are under way.
#[derive(Default)]
struct Slots {
    taken: std::sync::atomic::AtomicUsize,
    freed: Notify,
}

impl Slots {
    fn under_way(&self) -> usize {
        self.taken.load(std::sync::atomic::Ordering::Acquire)
    }

    fn take(this: &Arc<Slots>) -> Slot {
        this.taken.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
        Slot(this.clone())
    }
}

struct Slot(Arc<Slots>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, std::sync::atomic::Ordering::AcqRel);
        self.0.freed.notify_one();
    }
}

fn answer(partition: u32, batch: Vec<Waiting>, outcome: Result<raft::Proposed<Answers>, raft::ProposeError>) {
    match outcome {
        Ok(raft::Proposed { index, reply: Answers { time, replies } }) => {
            // A missing reply leaves its sender dropped, which reads as an unknown outcome.
            for (waiting, reply) in batch.into_iter().zip(replies) {
                let _ = waiting.reply.send(Ok(Answer { reply, index, time }));
            }
        }
        Err(error) => {
            let error = propose_error(partition, error);
            for waiting in batch {
                let _ = waiting.reply.send(Err(error.clone()));
            }
        }
    }
}

/// How a proposal failed, for a client.
pub fn propose_error(partition: u32, error: raft::ProposeError) -> Error {
    use raft::ProposeError;
    match error {
        ProposeError::NotLeader { leader } => {
            Error::NotLeader { partition, leader: leader.map(|leader| leader.endpoint) }
        }
        ProposeError::NoQuorum => {
            Error::NoQuorum { partition, reason: "no majority of replicas can be reached".into() }
        }
        ProposeError::Unavailable { reason } => Error::NoQuorum { partition, reason },
        ProposeError::ShuttingDown => Error::ShuttingDown,
        ProposeError::TooLarge { bytes, limit } => {
            Error::Internal(format!("an entry of {bytes} bytes was built, the log takes {limit}"))
        }
        ProposeError::OutcomeUnknown => {
            Error::OutcomeUnknown { reason: "leadership was lost before the outcome was known".into() }
        }
    }
}

/// The refusal in an answer, if it is one.
pub fn refusal(answer: &Result<Answer, Error>) -> Option<&Refusal> {
    match answer {
        Ok(Answer { reply: Reply::Refused(refusal), .. }) => Some(refusal),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use scheduler::command::{Business, Cancel, Schedule, When};

    use super::*;

    fn cancel(id: &str) -> Kind {
        Kind::Cancel(Cancel { id: id.into(), ..Default::default() })
    }

    fn proposer(queue_bytes_max: usize) -> Proposer {
        let config = ProposerConfig { entry_bytes_max: 1_024, outstanding_max: 3, queue_bytes_max };
        Proposer::new(7, config, DiskGuard::none())
    }

    #[test]
    fn only_the_leader_takes_commands_and_says_who_else_does() {
        let proposer = proposer(1 << 20);
        proposer.follow(Some("10.0.0.2:7300".into()));
        match proposer.propose(cancel("a")) {
            Err(Error::NotLeader { partition: 7, leader: Some(leader) }) => assert_eq!(leader, "10.0.0.2:7300"),
            other => panic!("{:?}", other.map(drop)),
        }
        proposer.lead();
        assert!(proposer.propose(cancel("a")).is_ok());
        proposer.stop();
        assert!(matches!(proposer.propose(cancel("a")), Err(Error::ShuttingDown)));
    }

    #[tokio::test]
    async fn losing_leadership_refuses_what_was_not_proposed() {
        let proposer = proposer(1 << 20);
        proposer.lead();
        let awaited = proposer.propose(cancel("a")).expect("queued");
        proposer.follow(None);
        assert!(matches!(awaited.answer().await, Err(Error::NotLeader { leader: None, .. })));
        assert_eq!(proposer.queued_bytes(), 0);
    }

    #[test]
    fn the_queue_is_bounded_by_bytes() {
        let proposer = proposer(200);
        proposer.lead();
        let big = || Kind::Schedule(Schedule { payload: vec![0; 150].into(), ..Default::default() });
        let kept = proposer.propose(big()).expect("one always fits");
        match proposer.propose(big()) {
            Err(Error::Overloaded { retry_after, .. }) => assert!(!retry_after.is_zero()),
            other => panic!("{:?}", other.map(drop)),
        }
        assert_eq!(proposer.take(false).expect("a batch").len(), 1);
        assert!(proposer.propose(big()).is_ok());
        drop(kept);
    }

    #[test]
    fn what_a_client_gave_up_is_not_proposed_and_what_the_node_needs_is() {
        let proposer = proposer(1 << 20);
        proposer.lead();
        drop(proposer.propose(cancel("given up")).expect("queued"));
        assert!(proposer.take(false).is_none());
        assert_eq!(proposer.queued_bytes(), 0);
        drop(proposer.propose_internal(cancel("the node's own")).expect("queued"));
        drop(proposer.propose(cancel("given up, but too late")).expect("queued"));
        assert_eq!(proposer.take(false).expect("a batch").len(), 2);
    }

    #[test]
    fn entries_are_bounded_and_gather_while_others_are_under_way() {
        let proposer = proposer(64 << 20);
        proposer.lead();
        let mut kept = Vec::new();
        for i in 0..GATHER_COMMANDS {
            assert!(i == 0 || proposer.take(true).is_none(), "{i} commands are not worth a second entry");
            kept.push(proposer.propose(cancel("abc")).expect("queued"));
        }
        // Each takes more than 5 of the 1,024 bytes of an entry.
        let first = proposer.take(true).expect("worth it");
        assert!(first.iter().map(|waiting| waiting.field.len()).sum::<usize>() <= 1_024);
        let mut taken = first.len();
        while let Some(batch) = proposer.take(false) {
            taken += batch.len();
        }
        assert_eq!(taken, GATHER_COMMANDS);
        for _ in 0..5_000 {
            kept.push(proposer.propose(Kind::Cancel(Cancel::default())).expect("queued"));
        }
        assert!(proposer.take(false).expect("a batch").len() <= Generation::COMMANDS_PER_ENTRY_MAX);
    }

    /// Red when commands of the business are gathered as if none of them scheduled anything: the last of a full entry would be refused.
    #[test]
    fn an_entry_has_room_for_what_its_commands_schedule() {
        let proposer = Proposer::new(
            7,
            ProposerConfig { entry_bytes_max: 1 << 20, outstanding_max: 3, queue_bytes_max: 64 << 20 },
            DiskGuard::none(),
        );
        proposer.lead();
        let mut kept = Vec::new();
        for _ in 0..Generation::COMMANDS_PER_ENTRY_MAX {
            kept.push(proposer.propose(Kind::Business(Business::default())).expect("queued"));
        }
        let expected = Generation::COMMANDS_PER_ENTRY_MAX / entry::places(&Kind::Business(Business::default()));
        assert_eq!(proposer.take(false).expect("a batch").len(), expected);
    }

    /// Turns red when a command that should be proposed wakes nobody, or every command wakes the proposer.
    #[test]
    fn the_proposer_is_woken_once_for_what_it_lacks() {
        let proposer = proposer(64 << 20);
        proposer.lead();
        let woken = || proposer.0.wake.notified().now_or_never().is_some();
        let mut kept = Vec::new();
        let mut propose = || kept.push(proposer.propose(cancel("abc")).expect("queued"));
        assert!(proposer.take(false).is_none());
        propose();
        assert!(woken());
        propose();
        assert!(!woken(), "it has not looked since");
        assert!(proposer.take(true).is_none());
        for _ in 3..GATHER_COMMANDS {
            propose();
        }
        assert!(!woken(), "an entry is under way, and this is not worth another");
        propose();
        assert!(woken());
        assert!(proposer.take(true).is_some());
        propose();
        assert!(!woken(), "it is at work and looks again");
    }

    #[test]
    fn while_time_is_held_moments_counted_from_now_are_refused() {
        let proposer = proposer(1 << 20);
        proposer.lead();
        proposer.lock().hold = Some("clocks differ".into());
        let schedule = |when| Kind::Schedule(Schedule { when: Some(when), ..Default::default() });
        assert!(matches!(proposer.propose(schedule(When::After(5))), Err(Error::ClockHeld { .. })));
        assert!(proposer.propose(schedule(When::At(5))).is_ok());
    }
}
