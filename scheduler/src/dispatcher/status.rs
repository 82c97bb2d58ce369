//! What the dispatcher tells operators: who is there, what waits and for what.

use std::sync::Arc;

use super::limits::rate;
use super::types::{Cause, SessionId};
use super::{Dispatcher, TopicState};
use crate::lane::{LaneId, Position};
use crate::time::Timestamp;

/// A dispatcher at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// In order of opening.
    pub sessions: Vec<SessionStatus>,
    /// Lanes in which something waits or is under way, in order.
    pub lanes: Vec<LaneStatus>,
    /// Reported outcomes that the log has not decided.
    pub undecided: usize,
    /// Rows handed out and not ended, their outcome reported or not.
    pub held: usize,
    /// Bytes of rows kept ready.
    pub ready_bytes: usize,
    /// Deliveries of this term.
    pub delivered: u64,
    /// Leases of this term that ran out or were given up.
    pub expired: u64,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionStatus {
    /// Which.
    pub session: SessionId,
    /// Name.
    pub executor: Arc<str>,
    /// Tenant.
    pub namespace: Arc<str>,
    /// Names of its topics, as far as they exist.
    pub topics: Vec<Arc<str>>,
    /// Deliveries it works on.
    pub in_flight: u32,
    /// Deliveries it may hold at once.
    pub in_flight_max: u32,
    /// Deliveries it still allows.
    pub credit: u32,
    /// It asked for no more.
    pub draining: bool,
    /// Its shards are with others until it shows life.
    pub stalled: bool,
    /// Deliveries to it.
    pub delivered: u64,
    /// Its leases that ran out or were given up.
    pub expired: u64,
}

/// One lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneStatus {
    /// Which.
    pub lane: LaneId,
    /// Tenant.
    pub namespace: Arc<str>,
    /// Name of the topic.
    pub topic: Arc<str>,
    /// Rows read and not handed out.
    pub ready: usize,
    /// True when more may wait that was not read.
    pub unread: bool,
    /// Rows handed out and not ended.
    pub held: usize,
    /// The oldest row that is ready or handed out. Since when it is due or, in a retry lane, to be tried.
    pub oldest: Option<Position>,
    /// The oldest row that was read and waits to be handed out.
    pub waiting: Option<Position>,
    /// Why rows wait, if any do.
    pub cause: Option<Cause>,
    /// First position that may be live, as the log knows.
    pub floor: Position,
}

impl LaneStatus {
    /// How long the oldest row has been due.
    pub fn overdue(&self, now: Timestamp) -> Option<crate::time::Delay> {
        self.oldest.map(|oldest| now.since(oldest.due))
    }
}

impl Dispatcher {
    /// Whether the row at this position is handed out, its outcome reported or not, and not ended.
    pub fn holds(&self, lane: LaneId, position: Position) -> bool {
        self.leases.at(lane, position).is_some()
    }

    /// What an operator sees; costs a pass over topics and sessions.
    pub fn status(&self) -> Status {
        let sessions = self.sessions.iter().map(|(&session, open)| SessionStatus {
            session,
            executor: open.executor.clone(),
            namespace: open.namespace.clone(),
            topics: open.topics.iter().filter_map(|id| Some(self.topics.get(id)?.info.name.clone())).collect(),
            in_flight: open.in_flight,
            in_flight_max: open.in_flight_max,
            credit: open.credit,
            draining: open.draining,
            stalled: open.stalled,
            delivered: open.delivered,
            expired: open.expired,
        });
        let lanes = self.topics.values().flat_map(|topic| (0..topic.lanes.len()).map(move |place| (topic, place)));
        Status {
            sessions: sessions.collect(),
            lanes: lanes.filter_map(|(topic, place)| topic.lane_status(place)).collect(),
            undecided: self.undecided,
            held: self.leases.len(),
            ready_bytes: self.ready_bytes,
            delivered: self.counter,
            expired: self.expired_count,
        }
    }
}

impl TopicState {
    fn lane_status(&self, place: usize) -> Option<LaneStatus> {
        let lane = &self.lanes[place];
        let limited = lane.marks.released.is_some() && lane.unreleased;
        let firing = match () {
            () if self.info.settings.paused => Some(Cause::Paused),
            () if limited && rate(&self.info.settings).is_some() => Some(Cause::RateLimit),
            () => None,
        };
        let delivery = lane.backlog().then(|| match self.shards.members() {
            [] => Cause::NoExecutor,
            _ => lane.cause.unwrap_or(Cause::Queued),
        });
        if !lane.backlog() && lane.held.is_empty() && firing.is_none() {
            return None;
        }
        Some(LaneStatus {
            lane: lane.id,
            namespace: self.info.namespace.clone(),
            topic: self.info.name.clone(),
            ready: lane.ready,
            unread: lane.unread,
            held: lane.held.len(),
            oldest: [lane.held.first().copied(), lane.first_ready()].into_iter().flatten().min(),
            waiting: lane.first_ready(),
            cause: delivery.or(firing),
            floor: lane.marks.floor,
        })
    }
}
