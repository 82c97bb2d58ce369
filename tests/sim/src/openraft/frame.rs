//! What replicas say to each other.

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, TransferLeaderResponse, VoteRequest,
    VoteResponse,
};

use super::port::Rows;
use super::types::{Mark, TypeConfig, Vote};

/// A way between two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Appends in bulk: a connection that keeps their order, or breaks.
    Log,
    /// Heartbeats, votes, and whatever else is small and urgent: every message for itself. They overtake each other, are
    /// lost, and come twice, which is more than the product's connections do.
    Control,
    /// Snapshots: a connection.
    Bulk,
}

/// A message.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The replica that sends it,
    pub from: u64,
    /// and the one it is for.
    pub to: u64,
    /// Appends of one session are taken in their order.
    pub session: u64,
    /// Of the request, for the answer.
    pub number: u64,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug)]
pub enum Body {
    /// Entries, or none.
    Append(AppendEntriesRequest<TypeConfig>),
    /// What became of them.
    Appended(AppendEntriesResponse<TypeConfig>),
    /// A session is over.
    End,
    /// A candidate asks for a vote.
    Vote(VoteRequest<TypeConfig>),
    /// Somebody asks whether it would get one.
    PreVote(VoteRequest<TypeConfig>),
    /// The answer to either.
    Ballot(VoteResponse<TypeConfig>),
    /// A snapshot is announced: under this vote, this far.
    Begin(Vote, Mark),
    /// Go on.
    Have,
    /// The snapshot.
    Rows(Vote, Mark, Rows),
    /// The vote of the receiver once it has the snapshot, or does not need it.
    Installed(Vote),
    /// Leadership is handed over.
    Transfer(TransferLeaderRequest<TypeConfig>),
    /// What the receiver makes of it.
    Transferred(TransferLeaderResponse<TypeConfig>),
    /// Nothing was done.
    Refusal(String),
}

impl Frame {
    /// The answer to this.
    #[must_use]
    pub fn answer(&self, body: Body) -> Frame {
        Frame { from: self.to, to: self.from, session: self.session, number: self.number, body }
    }
}

impl Body {
    /// Whether it answers something.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        matches!(
            self,
            Body::Appended(_)
                | Body::Ballot(_)
                | Body::Have
                | Body::Installed(_)
                | Body::Transferred(_)
                | Body::Refusal(_)
        )
    }
}
