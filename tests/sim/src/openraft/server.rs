//! What other replicas send here, written again after the product's server of its peers.

use std::pin::pin;

use futures::{StreamExt, stream};
use openraft::raft::{AppendEntriesResponse, StreamAppendError, VoteRequest, VoteResponse};
use openraft::{Raft, Snapshot as RaftSnapshot};
use openraft_rt::{Instant as _, WatchReceiver};
use tokio::sync::mpsc;

use super::frame::{Body, Frame, Lane};
use super::machine::{Machine, SnapshotData};
use super::port::{Ask, Met, Port, Rows};
use super::runtime::{Instant, Runtime};
use super::types::{LogId, Mark, SnapshotMeta, TypeConfig, Vote};

/// A replica that runs, for those who speak to it.
#[derive(Clone)]
pub struct Served {
    /// Its core.
    pub raft: Raft<TypeConfig, Machine>,
    /// Its port.
    pub port: Port,
    /// It grants no vote before this.
    pub votes_from: Instant,
}

impl Served {
    /// Answers a request that stands for itself.
    pub async fn handle(self, body: Body) -> Body {
        let answered = match body {
            Body::Append(request) => {
                self.raft.append_entries(request).await.map(Body::Appended).map_err(|error| error.to_string())
            }
            Body::Vote(request) => self.vote(request).await.map(Body::Ballot),
            Body::PreVote(request) => self.pre_vote(request).await.map(Body::Ballot),
            Body::Transfer(request) => {
                let reply = self.raft.handle_transfer_leader(request).await;
                reply.map(Body::Transferred).map_err(|error| error.to_string())
            }
            Body::Begin(vote, mark) => Ok(self.begin(vote, &mark).unwrap_or(Body::Have)),
            Body::Rows(vote, mark, rows) => self.take(vote, mark, rows).await,
            _ => Err("not a request".into()),
        };
        answered.unwrap_or_else(Body::Refusal)
    }

    /// A leader may rely on its lease for as long as a majority keeps it, and a replica that restarts has forgotten to whom
    /// it gave one.
    fn too_early(&self, request: &VoteRequest<TypeConfig>) -> Option<VoteResponse<TypeConfig>> {
        if request.leadership_transfer || Instant::now() >= self.votes_from {
            return None;
        }
        self.port.ask(Ask::Met(Met::TooEarly));
        let last = self.raft.data_metrics().borrow_watched().last_log;
        Some(VoteResponse::new(self.current_vote(), last, false))
    }

    async fn vote(&self, request: VoteRequest<TypeConfig>) -> Result<VoteResponse<TypeConfig>, String> {
        if let Some(refused) = self.too_early(&request) {
            return Ok(refused);
        }
        let leader = request.vote.leader_id;
        let response = self.raft.vote(request).await.map_err(|error| error.to_string())?;
        if response.vote_granted {
            self.port.ask(Ask::Voted(leader.term, leader.voted_for));
        }
        Ok(response)
    }

    async fn pre_vote(&self, request: VoteRequest<TypeConfig>) -> Result<VoteResponse<TypeConfig>, String> {
        match self.too_early(&request) {
            Some(refused) => Ok(refused),
            None => self.raft.pre_vote(request).await.map_err(|error| error.to_string()),
        }
    }

    fn current_vote(&self) -> Vote {
        self.raft.server_metrics().borrow_watched().vote
    }

    /// Whether everything up to `last` is on disk here under this leader's vote.
    fn holds(&self, vote: &Vote, last: &LogId) -> bool {
        let Some(flushed) = self.raft.watch_log_progress().get() else { return false };
        flushed.vote == *vote
            && flushed.last_log_id.is_some_and(|id| id.leader_id == last.leader_id && id.index >= last.index)
    }

    /// Whether a snapshot that is announced need not come.
    fn begin(&self, vote: Vote, mark: &Mark) -> Option<Body> {
        let Some(last) = mark.applied else { return Some(Body::Refusal("an empty snapshot".into())) };
        if last.leader_id.term > vote.leader_id.term {
            return Some(Body::Refusal("rows of a later term".into()));
        }
        if self.current_vote() > vote {
            return Some(Body::Installed(self.current_vote()));
        }
        if self.holds(&vote, &last) {
            self.port.ask(Ask::Met(Met::NeedlessSnapshot));
            return Some(Body::Installed(vote));
        }
        None
    }

    async fn take(&self, vote: Vote, mark: Mark, rows: Rows) -> Result<Body, String> {
        let _turn = self.port.take_turn().ok_or("another snapshot is being received")?;
        let meta = SnapshotMeta { last_log_id: mark.applied, last_membership: mark.membership };
        let snapshot = RaftSnapshot { meta, snapshot: SnapshotData::Received { rows } };
        let response = self.raft.install_full_snapshot(vote, snapshot).await;
        Ok(Body::Installed(response.map_err(|error| error.to_string())?.vote))
    }

    /// Serves a session of appends: its requests reach the core in their order, and are answered in it.
    pub fn session(self) -> mpsc::UnboundedSender<Frame> {
        let (frames, inbox) = mpsc::unbounded_channel::<Frame>();
        let (note, mut asked) = mpsc::unbounded_channel::<Frame>();
        let requests = stream::unfold((inbox, note), |(mut inbox, note)| async move {
            loop {
                let frame = inbox.recv().await?;
                if let Body::Append(request) = frame.body.clone()
                    && note.send(frame).is_ok()
                {
                    return Some((request, (inbox, note)));
                }
            }
        });
        let Served { raft, port, .. } = self;
        let send = move |frame: &Frame, body| port.ask(Ask::Send(Lane::Log, frame.answer(body)));
        <Runtime as openraft_rt::AsyncRuntime>::spawn(async move {
            let mut answers = pin!(raft.stream_append(requests));
            while let Some(result) = answers.next().await {
                let Some(frame) = asked.recv().await else { return };
                let (body, over) = match result {
                    Ok(Ok(matched)) => (Body::Appended(AppendEntriesResponse::PartialSuccess(matched)), false),
                    Ok(Err(StreamAppendError::Conflict(_))) => (Body::Appended(AppendEntriesResponse::Conflict), true),
                    Ok(Err(StreamAppendError::HigherVote(vote))) => {
                        (Body::Appended(AppendEntriesResponse::HigherVote(vote)), true)
                    }
                    Err(fatal) => (Body::Refusal(fatal.to_string()), true),
                };
                send(&frame, body);
                if over {
                    return;
                }
            }
        });
        frames
    }
}
