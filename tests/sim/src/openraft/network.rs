//! What openraft sends, written again after the product's client of its peers: appends in a pipeline on the log lane,
//! everything small on the control lane.

use std::time::Duration;

use futures::{FutureExt, Stream, StreamExt};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use openraft_rt::{AsyncRuntime, Instant as _, Select2};

use super::frame::{Body, Frame, Lane};
use super::machine::{Snapshot, SnapshotData};
use super::port::{Ask, Met, Port};
use super::runtime::{Instant, Runtime};
use super::types::{TypeConfig, Vote, node_of};

/// Appends of one session that may be under way.
const PIPELINE: usize = 32;
/// How long an answer on the log lane may take.
const APPEND_DEADLINE: Duration = Duration::from_secs(5);
/// How long either side of a transfer waits for the other.
const IDLE: Duration = Duration::from_secs(30);
/// How long checking and installing a snapshot may take.
const INSTALL: Duration = Duration::from_secs(600);

/// Makes the clients of one replica.
pub struct Network {
    /// Its port.
    pub port: Port,
    /// Its id.
    pub me: u64,
}

impl Network {
    fn client(&self, target: u64, appends: Lane) -> Client {
        Client { port: self.port.clone(), me: self.me, target, appends }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: u64, _: &EmptyNode) -> Client {
        self.client(target, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, target: u64, _: &EmptyNode) -> Client {
        self.client(target, Lane::Control)
    }

    async fn new_snapshot_client(&mut self, target: u64, _: &EmptyNode) -> Client {
        self.client(target, Lane::Control)
    }
}

/// Speaks to one replica.
pub struct Client {
    port: Port,
    me: u64,
    target: u64,
    appends: Lane,
}

fn unreachable(reason: impl ToString) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::from_string(reason))
}

fn odd(what: impl ToString) -> RPCError<TypeConfig> {
    RPCError::Network(NetworkError::from_string(what))
}

/// The content of an answer.
fn accept(answer: Result<Result<Body, String>, tokio::sync::oneshot::error::RecvError>) -> Result<Body, String> {
    match answer {
        Ok(Ok(Body::Refusal(reason))) => Err(reason),
        Ok(answer) => answer,
        Err(_) => Err("the process is gone".into()),
    }
}

impl Client {
    fn frame(&self, session: u64, body: Body) -> Frame {
        Frame { from: self.me, to: self.target, session, number: 0, body }
    }

    async fn ask(&self, lane: Lane, body: Body, kind: RPCTypes, limit: Duration) -> Result<Body, RPCError<TypeConfig>> {
        let answer = self.port.converse(lane, node_of(self.target), self.frame(0, body));
        let answer = Runtime::timeout(limit, answer).await.map_err(|_| {
            RPCError::Timeout(Timeout { action: kind, id: self.me, target: self.target, timeout: limit })
        })?;
        accept(answer).map_err(unreachable)
    }

    async fn send_snapshot(&self, vote: Vote) -> Result<Vote, String> {
        let (rows, mark) = self.port.wait(Ask::Travel).await.ok_or("the replica halted")?;
        // The rows may have moved on under another leader since this replica led.
        if mark.applied.is_some_and(|id| id.leader_id.term > vote.leader_id.term) {
            return Err("the leadership ended".into());
        }
        let kind = || RPCTypes::InstallSnapshot;
        let begin = self.ask(Lane::Bulk, Body::Begin(vote, mark.clone()), kind(), IDLE).await;
        match begin.map_err(|error| error.to_string())? {
            Body::Have => {}
            Body::Installed(vote) => return Ok(vote),
            _ => return Err("an answer to something else".into()),
        }
        let sent = self.ask(Lane::Bulk, Body::Rows(vote, mark, rows), kind(), INSTALL).await;
        match sent.map_err(|error| error.to_string())? {
            Body::Installed(vote) => Ok(vote),
            _ => Err("an answer to something else".into()),
        }
    }
}

/// Ends the session at the receiver when the stream is dropped.
struct Session {
    port: Port,
    lane: Lane,
    connection: u64,
    end: Option<Frame>,
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            self.port.ask(Ask::Send(self.lane, end));
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Client {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.ask(Lane::Control, Body::Append(request), RPCTypes::AppendEntries, option.hard_ttl()).await? {
            Body::Appended(answer) => Ok(answer),
            _ => Err(odd("an answer to something else")),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>>, RPCError<TypeConfig>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        async move {
            let (lane, to) = (self.appends, node_of(self.target));
            let number = self.port.session();
            let mut session: Option<Session> = None;
            let answers = input
                .map(move |request| {
                    let (prev, vote) = (request.prev_log_id, request.vote);
                    let last = request.entries.last().map(|entry| entry.log_id).or(prev);
                    let connection = self.port.connection(to, lane);
                    let begun = session.get_or_insert_with(|| {
                        let end = Some(self.frame(number, Body::End));
                        Session { port: self.port.clone(), lane, connection, end }
                    });
                    // A session does not outlive its connection.
                    let answer = (begun.connection == connection)
                        .then(|| self.port.converse(lane, to, self.frame(number, Body::Append(request))));
                    let (port, me, target) = (self.port.clone(), self.me, self.target);
                    let (term, sent) = (vote.leader_id.term, Instant::now());
                    async move {
                        let answer = answer.ok_or_else(|| unreachable("the connection broke"))?;
                        let answer = Runtime::timeout(APPEND_DEADLINE, answer).await.map_err(|_| {
                            let (action, timeout) = (RPCTypes::AppendEntries, APPEND_DEADLINE);
                            RPCError::Timeout(Timeout { action, id: me, target, timeout })
                        })?;
                        match accept(answer).map_err(unreachable)? {
                            Body::Appended(answer) => {
                                if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
                                    // Of this very request: openraft takes an answer for one to every request under way
                                    // that ends at the same entry, also to those that never arrived.
                                    port.acknowledged(target, term, sent);
                                }
                                if prev.is_none() && answer.is_conflict() {
                                    return Err(odd("a conflict with the beginning of the log"));
                                }
                                Ok(answer.into_stream_result(prev, last))
                            }
                            _ => Err(odd("an answer to something else")),
                        }
                    }
                })
                .buffered(PIPELINE);
            let answers: BoxStream<'s, _> = Box::pin(answers);
            Ok(answers)
        }
        .boxed()
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.port.ask(Ask::Voted(request.vote.leader_id.term, request.vote.leader_id.voted_for));
        match self.ask(Lane::Control, Body::Vote(request), RPCTypes::Vote, option.hard_ttl()).await? {
            Body::Ballot(reply) => Ok(reply),
            _ => Err(odd("an answer to something else")),
        }
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.port.ask(Ask::Met(Met::PreVote));
        match self.ask(Lane::Control, Body::PreVote(request), RPCTypes::Vote, option.hard_ttl()).await? {
            Body::Ballot(reply) => Ok(reply),
            _ => Err(odd("an answer to something else")),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let SnapshotData::Own { hold } = snapshot.snapshot else {
            return Err(StreamingError::Network(NetworkError::from_string("only a replica's own rows can be sent")));
        };
        let limit = option.hard_ttl();
        let sent = match Runtime::select2(cancel, Runtime::timeout(limit, self.send_snapshot(vote))).await {
            Select2::First(closed) => return Err(closed.into()),
            Select2::Second(sent) => sent,
        };
        drop(hold);
        if !matches!(sent, Ok(Ok(_))) {
            self.port.ask(Ask::Met(Met::BrokenTransfer));
        }
        match sent {
            Ok(Ok(vote)) => Ok(SnapshotResponse::new(vote)),
            Ok(Err(reason)) => Err(StreamingError::Unreachable(Unreachable::from_string(reason))),
            Err(_) => {
                let action = RPCTypes::InstallSnapshot;
                Err(StreamingError::Timeout(Timeout { action, id: self.me, target: self.target, timeout: limit }))
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let body = Body::Transfer(request);
        match self.ask(Lane::Control, body, RPCTypes::TransferLeader, option.hard_ttl()).await? {
            Body::Transferred(reply) => Ok(reply),
            _ => Err(odd("an answer to something else")),
        }
    }
}
