//! What goes into the dispatcher and what comes out.

use std::sync::Arc;

use bytes::Bytes;

use crate::command::{Kind, Token, TopicSettings};
use crate::lane::{Generation, LaneId, Position, TopicId};
use crate::reply::{Fired, Receipt, Refusal, Reply};
use crate::store::StoreError;
use crate::time::{Delay, Timestamp};

/// Bounds and delays of a dispatcher. They shape speed and memory, never outcomes.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long after the start of a term rows that an earlier leader may have delivered are held back, so that
    /// executors can say what they hold. Default 500 ms.
    pub grace: Delay,
    /// Added to a lease here, because the executor counts its time from receipt. Default 500 ms.
    pub lease_slack: Delay,
    /// Rows of one lane kept ready. Default 4,096; at least 1.
    pub lookahead_rows_max: usize,
    /// Bytes of rows of one lane kept ready. Default 4 MiB.
    pub lookahead_bytes_max: usize,
    /// Bytes of rows of all lanes kept ready; above it only a lane with nothing ready reads, a few rows. Default 64 MiB.
    pub ready_bytes_max: usize,
    /// Rows handed out by one call of [`poll`](super::Dispatcher::poll). Default 4,096.
    pub poll_rows_max: usize,
    /// Rows in one [`Action::Deliver`]. Default 512.
    pub batch_rows_max: usize,
    /// Bytes of row values in one [`Action::Deliver`], exceeded by at most one row. Default 1 MiB.
    pub batch_bytes_max: usize,
    /// Rows handed out for a topic before the next topic of the namespace has its turn. Default 16.
    pub topic_quantum: u32,
    /// Rows handed out for a namespace before the next has its turn. Default 256.
    pub namespace_quantum: u32,
    /// Successes of a lane collected before a run is proposed though the one before is undecided. Default 4,096.
    pub run_rows_max: usize,
    /// Reported outcomes that may be undecided; from there on nothing is delivered, so that they come to no more than
    /// this and what was under way. Default 65,536.
    pub undecided_max: usize,
    /// Rows of a lane that ended before its floor is raised unasked. Default 4,096.
    pub floor_rows: u64,
    /// How long an executor without credit may block the shards of others before its own move to them. Default 1 s.
    pub stall: Delay,
    /// Before a command that could not be proposed is proposed again. Default 100 ms.
    pub propose_again: Delay,
    /// A trigger first handed out, or completed, later than this after its due time is noted as late. Default 1 s.
    pub late_bound: Delay,
    /// Namespace of which nothing is noted. Default none.
    pub late_except: Option<Arc<str>>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            grace: Delay::from_millis(500),
            lease_slack: Delay::from_millis(500),
            lookahead_rows_max: 4_096,
            lookahead_bytes_max: 4 << 20,
            ready_bytes_max: 64 << 20,
            poll_rows_max: 4_096,
            batch_rows_max: 512,
            batch_bytes_max: 1 << 20,
            topic_quantum: 16,
            namespace_quantum: 256,
            run_rows_max: 4_096,
            undecided_max: 65_536,
            floor_rows: 4_096,
            stall: Delay::from_secs(1),
            propose_again: Delay::from_millis(100),
            late_bound: Delay::from_secs(1),
            late_except: None,
        }
    }
}

/// The term a dispatcher serves, and where the partition stood when it began.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    /// Of the cluster; first part of every token.
    pub epoch: u64,
    /// Of the leader; second part of every token.
    pub term: u64,
    /// First log index of the term: rows that fired at an earlier one may be held by an executor already.
    pub first_index: u64,
    /// Watermark of the rows it starts from.
    pub watermark: Timestamp,
}

/// A topic of the partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its number.
    pub id: TopicId,
    /// Tenant.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// As stored. A lease of 0 ms counts as 30 s.
    pub settings: TopicSettings,
}

/// The marks of a lane, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// First position that may be live.
    pub floor: Position,
    /// Last position that may have fired; `None`: everything due has.
    pub released: Option<Position>,
}

/// A fired row, not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where it stands in its lane.
    pub position: Position,
    /// Unique in its namespace.
    pub id: Arc<str>,
    /// [`shard_of`](super::shard_of) its shard key, or of its id when that is empty.
    pub shard: u16,
    /// The attempt it waits for, counted from 1.
    pub attempt: u32,
    /// The entry that fired it.
    pub fired: Fired,
    /// Dead-letter instead of a first delivery later than this after due; zero: deliver however late.
    pub skip_when_later: Delay,
    /// The stored record; passed through as it is.
    pub value: Bytes,
}

/// How far a read came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// The last position looked at, live or not; `None` when there was none in the range.
    pub last: Option<Position>,
    /// False when the range holds nothing after `last`.
    pub more: bool,
}

/// Where a trigger that has fired and not ended stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located {
    /// Its lane.
    pub lane: LaneId,
    /// Its position.
    pub position: Position,
    /// The attempt it waits for, counted from 1.
    pub attempt: u32,
    /// The entry that fired it.
    pub fired: Fired,
}

/// Reads of the partition's rows. Every answer reflects at least the entries whose effects and replies the dispatcher
/// was given.
pub trait RowSource {
    /// Appends to `rows`, in order, live rows with `from <= position <= to`: at most `rows_max`, and none after their
    /// values came to `bytes_max`. Rows that have ended are left out; what is in the range has fired.
    fn rows(
        &self,
        lane: LaneId,
        from: Position,
        to: Position,
        rows_max: usize,
        bytes_max: usize,
        rows: &mut Vec<Row>,
    ) -> Result<Scanned, StoreError>;

    /// Counts rows with `from <= position <= to`, at most `count_max`, from keys alone: the last one counted, and how
    /// many. They have not fired.
    fn count(
        &self,
        lane: LaneId,
        from: Position,
        to: Position,
        count_max: usize,
    ) -> Result<Option<(Position, usize)>, StoreError>;

    /// Where the trigger stands; `None` when it has not fired, has ended, is a dead letter or has another generation.
    fn locate(&self, namespace: &str, id: &str, generation: Generation) -> Result<Option<Located>, StoreError>;
}

/// An executor that asks for work.
#[derive(Clone, Debug)]
pub struct Hello {
    /// Its stable name.
    pub executor: Arc<str>,
    /// Tenant; it gets work of this namespace only.
    pub namespace: Arc<str>,
    /// Names of topics; they need not exist yet.
    pub topics: Vec<Arc<str>>,
    /// Deliveries it may hold at once, and the first credit.
    pub in_flight_max: u32,
    /// Deliveries it works on, from an earlier stream. Empty for polls.
    pub held: Vec<HeldLease>,
    /// True for the time of one unary poll: its leases outlive it, and it replaces no stream of the same name.
    pub poll: bool,
}

/// A delivery an executor says it works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldLease {
    /// Tenant.
    pub namespace: Arc<str>,
    /// Which.
    pub id: Arc<str>,
    /// Which version.
    pub generation: Generation,
    /// Which delivery.
    pub token: Token,
    /// Its attempt, counted from 1.
    pub attempt: u32,
}

/// One session of an executor with this dispatcher. Never reused within a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// The answer to a hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The session.
    pub session: SessionId,
    /// Leases it goes on with.
    pub adopted: Vec<HeldLease>,
    /// An older stream of the same executor that this one replaces. It is closed already; tell it to go away.
    pub replaced: Option<SessionId>,
}

/// The answer to an extension.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extended {
    /// Leases that run from now again.
    pub extended: Vec<HeldLease>,
    /// Leases that are gone.
    pub lost: Vec<HeldLease>,
}

/// Where an outcome came from and its verdict goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A stream.
    Session(SessionId),
    /// A unary call, as the caller numbers them.
    Call(u64),
}

/// What became of a delivery, as an executor reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Echoed in the verdict.
    pub sequence: u64,
    /// About which delivery.
    pub lease: HeldLease,
    /// What became of it.
    pub result: Done,
}

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It worked.
    Success {
        /// Command applied in the same step; empty for none.
        business: Bytes,
    },
    /// Try again.
    Retry {
        /// Why.
        error: String,
        /// Replaces the policy's backoff when not zero.
        after: Delay,
    },
    /// Give up.
    Fail {
        /// Why.
        error: String,
    },
}

/// What an outcome came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeResult {
    /// As reported.
    pub sequence: u64,
    /// What it came to.
    pub verdict: Verdict,
    /// Of the outcome that counted; `None` when it is not at hand.
    pub receipt: Option<Receipt>,
}

/// What an outcome came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Durable on a majority; this report decided.
    Accepted,
    /// It had been decided before.
    AlreadyDecided,
    /// A newer delivery or generation exists; nothing changed.
    Superseded,
    /// No such trigger.
    NotFound,
    /// Refused for another reason; nothing changed.
    Refused(Refusal),
}

/// One delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its topic, whose settings are those of the time of delivery.
    pub topic: Arc<Topic>,
    /// Its lane.
    pub lane: LaneId,
    /// What.
    pub row: Row,
    /// Growing with every delivery.
    pub token: Token,
    /// How long the executor may work on it, counted from receipt.
    pub lease: Delay,
    /// What its lane last waited for before this; `None` when it went at once.
    pub waited: Option<Cause>,
    /// Nobody was handed it before, for certain: it is the first attempt, and was made in this term.
    pub first: bool,
}

/// Why rows wait that could be delivered otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// No executor asks for the topic.
    NoExecutor,
    /// Its executors, or the one that owns the shard, are busy.
    NoCredit,
    /// The topic is paused.
    Paused,
    /// The topic's rate.
    RateLimit,
    /// The topic's bound on deliveries under way.
    Concurrency,
    /// The first moments of a term.
    Grace,
    /// Too many outcomes are undecided: the log is slow.
    Undecided,
    /// Others had their turn, or rows were not read yet.
    Queued,
}

/// Names a proposal until it is decided. Never reused within a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What the dispatcher asks for.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "handed over at once; a box would cost an allocation per command")]
pub enum Action {
    /// Send to the executor, in order.
    Deliver {
        /// To whom.
        session: SessionId,
        /// What.
        deliveries: Vec<Delivery>,
    },
    /// Propose, then call [`decided`](super::Dispatcher::decided) once.
    Propose {
        /// To be named there.
        ticket: Ticket,
        /// What.
        command: Kind,
    },
    /// Report verdicts. Dropped when the origin is gone.
    Results {
        /// To whom.
        to: Origin,
        /// What.
        results: Vec<OutcomeResult>,
    },
    /// Tell an executor what share of a topic's shards it owns.
    Assigned {
        /// Whom.
        session: SessionId,
        /// Of which topic.
        topic: Arc<str>,
        /// How many shards.
        owned: u32,
        /// Grows with every change of the topic's executors.
        version: u64,
    },
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "handed over at once; a box would cost an allocation per reply")]
pub enum Decision {
    /// Durable and applied.
    Applied {
        /// Index of the entry.
        index: u64,
        /// Its time.
        time: Timestamp,
        /// The answer.
        reply: Reply,
    },
    /// Not proposed, or its fate is unknown, and the term goes on: it is proposed again after a while.
    Again,
}
