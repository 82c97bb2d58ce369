//! What waits in a partition to be handed out, why, and for how long; canaries left out.
//!
//! The dispatcher knows of what it has read, and it reads no topic that nobody asks for. Of those the rows themselves tell.

use std::collections::BTreeMap;
use std::time::Duration;

use scheduler::dispatcher::{self, Cause, LaneStatus};
use scheduler::lane::Position;
use scheduler::read;
use scheduler::time::{Delay, Timestamp};
use tokio::sync::oneshot;

use crate::canary;
use crate::dispatch::{Event, Standing};
use crate::partition::Partition;

/// How long a dispatcher may take to say how it is; whoever asked goes on without it then.
const WITHIN: Duration = Duration::from_millis(500);
/// Rows looked at to find one that waits; those that have ended stand before it for a moment.
const ROWS: usize = 64;

/// How the dispatcher of a partition is, while this node leads it and it answers.
pub async fn standing(partition: &Partition) -> Option<Standing> {
    let asked = async {
        let dispatcher = partition.dispatcher()?;
        let (reply, standing) = oneshot::channel();
        dispatcher.tell(partition.number(), Event::Status(reply)).await.ok()?;
        standing.await.ok()
    };
    tokio::time::timeout(WITHIN, asked).await.ok().flatten()
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Handed out and not ended.
    pub held: usize,
    /// Read and not handed out.
    pub ready: usize,
    /// How many wait, by why. At least one where rows were not read.
    pub waiting: BTreeMap<Cause, usize>,
    /// How long the oldest that fired and has not ended is due.
    pub oldest: Option<Delay>,
    /// The same of what waits and is not held back on purpose: by a pause, a rate or a limit of concurrency.
    pub oldest_waiting: Option<Delay>,
}

impl Backlog {
    /// As the dispatcher says; `unread` tells the first position that waits in a lane of which nothing was read.
    pub fn of(
        status: &dispatcher::Status,
        now: Timestamp,
        unread: impl Fn(&LaneStatus) -> Option<Position>,
    ) -> Backlog {
        let mut backlog = Backlog::default();
        for lane in status.lanes.iter().filter(|lane| *lane.namespace != *canary::NAMESPACE) {
            let first = match lane.waiting {
                None if lane.unread && lane.held == 0 => unread(lane),
                first => first,
            };
            backlog.held += lane.held;
            backlog.ready += lane.ready;
            let due = |position: Position| now.since(position.due);
            let first = first.map(due);
            backlog.oldest = backlog.oldest.max(lane.overdue(now)).max(first);
            let Some(cause) = lane.cause else { continue };
            *backlog.waiting.entry(cause).or_default() += lane.ready.max(usize::from(first.is_some()));
            if !matches!(cause, Cause::Paused | Cause::RateLimit | Cause::Concurrency) {
                backlog.oldest_waiting = backlog.oldest_waiting.max(first);
            }
        }
        backlog
    }

    /// Of a partition whose rows can be asked.
    pub fn of_partition(partition: &Partition, status: &dispatcher::Status, now: Timestamp) -> Backlog {
        Backlog::of(status, now, |lane| {
            let end = Position { due: Timestamp::MAX, ..Position::MIN };
            let found =
                partition.read_local(|rows| read::due_rows(rows, lane.lane, Position::MIN, end, ROWS, usize::MAX));
            // A partition that is being opened has nothing to say.
            Some(found.ok()?.rows.first()?.position)
        })
    }
}

#[cfg(test)]
mod tests {
    use scheduler::lane::{Class, Generation, LaneId, TopicId};

    use super::*;

    fn at(ms: u64) -> Position {
        Position { due: Timestamp::from_millis(ms), generation: Generation::new(1, 0) }
    }

    fn lane(cause: Cause) -> LaneStatus {
        LaneStatus {
            lane: LaneId::new(TopicId(1), Class::Normal),
            namespace: "shop".into(),
            topic: "mail".into(),
            ready: 0,
            unread: true,
            held: 0,
            oldest: None,
            waiting: None,
            cause: Some(cause),
            floor: Position::MIN,
        }
    }

    fn backlog(lanes: Vec<LaneStatus>, unread: Option<Position>) -> Backlog {
        let status = dispatcher::Status {
            sessions: Vec::new(),
            lanes,
            undecided: 0,
            held: 0,
            ready_bytes: 0,
            delivered: 0,
            expired: 0,
        };
        Backlog::of(&status, Timestamp::from_millis(10_000), |_| unread)
    }

    /// Turns red when a lane that was not read counts without a look at its rows: a topic without executors and with nothing due
    /// would be an alarm.
    #[test]
    fn a_topic_that_nobody_asks_for_waits_only_with_something_due() {
        let idle = backlog(vec![lane(Cause::NoExecutor)], None);
        assert_eq!(idle.waiting, [(Cause::NoExecutor, 0)].into());
        assert_eq!((idle.oldest, idle.oldest_waiting), (None, None));
        let due = backlog(vec![lane(Cause::NoExecutor)], Some(at(4_000)));
        assert_eq!(due.waiting, [(Cause::NoExecutor, 1)].into());
        let late = Some(Delay::from_millis(6_000));
        assert_eq!((due.oldest, due.oldest_waiting), (late, late));
    }

    /// Turns red when what an executor works on, or what is held back on purpose, counts as waiting.
    #[test]
    fn long_work_and_what_is_held_back_do_not_wait() {
        let works = LaneStatus { unread: false, held: 1, oldest: Some(at(1_000)), cause: None, ..lane(Cause::Queued) };
        let limited = LaneStatus {
            unread: false,
            ready: 3,
            waiting: Some(at(2_000)),
            oldest: Some(at(2_000)),
            ..lane(Cause::RateLimit)
        };
        let found = backlog(vec![works, limited], None);
        assert_eq!((found.held, found.ready), (1, 3));
        assert_eq!(found.waiting, [(Cause::RateLimit, 3)].into());
        assert_eq!((found.oldest, found.oldest_waiting), (Some(Delay::from_millis(9_000)), None));
    }

    /// Turns red when canaries count.
    #[test]
    fn canaries_are_left_out() {
        let own = LaneStatus {
            namespace: canary::NAMESPACE.into(),
            held: 2,
            ready: 2,
            oldest: Some(at(1)),
            ..lane(Cause::NoCredit)
        };
        assert_eq!(backlog(vec![own], Some(at(1))), Backlog::default());
    }
}
