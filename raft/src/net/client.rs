//! What openraft sends: appends in a pipeline on the log lane, everything small on the control lane.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures::{FutureExt, Stream, StreamExt};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable as RaftUnreachable,
};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, VoteRequest, VoteResponse,
};
use openraft::raft::{TransferLeaderRequest, TransferLeaderResponse};
use openraft::{OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2};

use super::link::{Conversation, Link, Links, Unreachable};
use super::{APPEND_DEADLINE, Host, Lane};
use crate::acks::Acks;
use crate::adapter::SnapshotData;
use crate::types::{CommittedLeaderId, Member, TypeConfig, Vote};
use crate::wire::frame::Body;
use crate::wire::{EndSession, Frame};

type Snapshot = openraft::Snapshot<CommittedLeaderId, u64, Member, SnapshotData>;

/// Appends of one session that may be under way; below the 64 that openraft's receiver keeps.
const PIPELINE: usize = 32;

/// Makes the clients of one replica.
pub(crate) struct Network {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) links: Arc<Links>,
    pub(crate) partition: u32,
    pub(crate) me: u64,
    pub(crate) acks: Arc<Acks>,
}

impl Network {
    fn client(&self, target: u64, node: &Member, appends: Lane) -> Client {
        Client {
            host: self.host.clone(),
            links: self.links.clone(),
            partition: self.partition,
            me: self.me,
            acks: self.acks.clone(),
            target,
            address: node.peer_endpoint.clone(),
            appends: self.links.get(&node.peer_endpoint, appends),
            control: self.links.get(&node.peer_endpoint, Lane::Control),
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: u64, node: &Member) -> Client {
        self.client(target, node, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Member) -> Client {
        self.client(target, node, Lane::Control)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &Member) -> Client {
        // A transfer opens a connection of its own.
        self.client(target, node, Lane::Control)
    }
}

/// Speaks to one replica.
pub(crate) struct Client {
    pub(super) host: Arc<dyn Host>,
    pub(super) links: Arc<Links>,
    pub(super) partition: u32,
    pub(super) me: u64,
    acks: Arc<Acks>,
    pub(super) target: u64,
    pub(super) address: String,
    appends: Arc<Link>,
    control: Arc<Link>,
}

fn unreachable(e: Unreachable) -> RPCError<TypeConfig> {
    RPCError::Unreachable(RaftUnreachable::from_string(e.0))
}

fn odd(what: impl ToString) -> RPCError<TypeConfig> {
    RPCError::Network(NetworkError::from_string(what))
}

impl Client {
    fn frame(&self, session: u64, body: Body) -> Frame {
        Frame { group: self.partition, to: self.target, from: self.me, session, seq: 0, body: Some(body) }
    }

    async fn ask(&self, body: Body, kind: RPCTypes, option: &RPCOption) -> Result<Body, RPCError<TypeConfig>> {
        let answer = self.control.converse().and_then(|c| c.ask(self.frame(0, body))).map_err(unreachable)?;
        let deadline = option.hard_ttl();
        let frame = tokio::time::timeout(deadline, answer.get())
            .await
            .map_err(|_| {
                RPCError::Timeout(Timeout { action: kind, id: self.me, target: self.target, timeout: deadline })
            })?
            .map_err(unreachable)?;
        accept(&*self.host, frame)
    }
}

/// The content of an answer, after noting who gave it.
fn accept(host: &dyn Host, frame: Frame) -> Result<Body, RPCError<TypeConfig>> {
    match frame.body {
        Some(Body::Refusal(refusal)) => Err(unreachable(Unreachable(refusal.reason))),
        Some(body) => {
            host.heard(frame.from).map_err(odd)?;
            Ok(body)
        }
        None => Err(odd("an empty answer")),
    }
}

/// Ends the session at the receiver when the stream is dropped.
struct Session {
    conversation: Conversation,
    end: Option<Frame>,
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            self.conversation.tell(end);
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
        match self.ask(Body::Append(request.into()), RPCTypes::AppendEntries, &option).await? {
            Body::Appended(answer) => answer.try_into().map_err(odd),
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
            static SESSIONS: AtomicU64 = AtomicU64::new(1);
            let number = SESSIONS.fetch_add(1, Ordering::Relaxed);
            // The session begins with its first request, and a peer that is out of reach is an error of that request and not of this
            // call: openraft waits between attempts only before it yields a request, and would otherwise try again at once, for ever.
            let mut session: Option<Session> = None;
            let answers = input
                .map(move |request| {
                    let (prev, term) = (request.prev_log_id, request.vote.leader_id.term);
                    let last = request.entries.last().map(|e| e.log_id).or(prev);
                    let begun = match &session {
                        Some(session) => Ok(session.conversation.clone()),
                        None => self.appends.converse().inspect(|conversation| {
                            let end = Some(self.frame(number, Body::End(EndSession {})));
                            session = Some(Session { conversation: conversation.clone(), end });
                        }),
                    };
                    // Before it is on its way: had this process stood still in between, the lease would begin after the promise.
                    let (acks, sent) = (self.acks.clone(), Instant::now());
                    // Put in line here, where requests come in order; only the waiting is concurrent.
                    let answer = begun.and_then(|c| c.ask(self.frame(number, Body::Append(request.into()))));
                    let (host, me, target) = (self.host.clone(), self.me, self.target);
                    async move {
                        let answer = answer.map_err(unreachable)?;
                        let frame = tokio::time::timeout(APPEND_DEADLINE, answer.get())
                            .await
                            .map_err(|_| {
                                RPCError::Timeout(Timeout {
                                    action: RPCTypes::AppendEntries,
                                    id: me,
                                    target,
                                    timeout: APPEND_DEADLINE,
                                })
                            })?
                            .map_err(unreachable)?;
                        match accept(&*host, frame)? {
                            Body::Appended(answer) => {
                                let answer: AppendEntriesResponse<TypeConfig> = answer.try_into().map_err(odd)?;
                                if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
                                    acks.note(target, term, sent);
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
        match self.ask(Body::Vote(request.into()), RPCTypes::Vote, &option).await? {
            Body::BallotReply(reply) => reply.try_into().map_err(odd),
            _ => Err(odd("an answer to something else")),
        }
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.ask(Body::PreVote(request.into()), RPCTypes::Vote, &option).await? {
            Body::BallotReply(reply) => reply.try_into().map_err(odd),
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
        let SnapshotData::Own { rows, hold } = snapshot.snapshot else {
            return Err(StreamingError::Network(NetworkError::from_string("only a replica's own rows can be sent")));
        };
        let sent = tokio::select! {
            closed = cancel => return Err(closed.into()),
            sent = tokio::time::timeout(option.hard_ttl(), super::snapshot::send(self, vote, rows)) => sent,
        };
        drop(hold);
        match sent {
            Ok(Ok(vote)) => Ok(SnapshotResponse::new(vote)),
            Ok(Err(reason)) => {
                crate::metrics::snapshot_failed(self.partition);
                tracing::warn!(partition = self.partition, peer = self.address, reason, "a snapshot was not delivered");
                Err(StreamingError::Unreachable(RaftUnreachable::from_string(reason)))
            }
            Err(_) => Err(StreamingError::Timeout(Timeout {
                action: RPCTypes::InstallSnapshot,
                id: self.me,
                target: self.target,
                timeout: option.hard_ttl(),
            })),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.ask(Body::Transfer(request.clone().into()), RPCTypes::TransferLeader, &option).await? {
            Body::TransferReply(reply) => Ok(reply.into_result(&request)),
            _ => Err(odd("an answer to something else")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::stream;

    use super::super::link::Introduction;
    use super::*;
    use crate::replica::Replica;
    use crate::wire::{OrderReply, order};

    struct Nobody;

    impl Host for Nobody {
        fn cluster(&self) -> &str {
            "test"
        }

        fn replica(&self, _: u32, _: u64) -> Result<Arc<Replica>, String> {
            Err("nobody".into())
        }

        fn heard(&self, _: u64) -> Result<(), String> {
            Ok(())
        }

        fn call(&self, _: u64, _: bytes::Bytes) -> Result<bytes::Bytes, String> {
            Err("nobody".into())
        }

        fn order(self: Arc<Self>, _: u32, _: order::Order) -> futures::future::BoxFuture<'static, OrderReply> {
            std::future::ready(OrderReply::default()).boxed()
        }
    }

    /// Turns red when `stream_append` connects before it has taken a request, which is where openraft waits between attempts.
    #[tokio::test]
    async fn a_peer_out_of_reach_is_an_error_of_the_first_request() {
        let introduction = Introduction { cluster: "test".into(), node: 1 };
        let mut network = Network {
            host: Arc::new(Nobody),
            links: Arc::new(Links::new(introduction, Default::default())),
            partition: 0,
            me: 1,
            acks: Arc::default(),
        };
        // Nobody listens on a port that was just given back.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let member = Member { peer_endpoint: port.to_string(), ..Member::default() };
        let mut client = network.new_client(2, &member).await;
        let option = || RPCOption::new(Duration::from_secs(60));
        for _ in 0..3 {
            let request = AppendEntriesRequest {
                vote: Vote::new(1, 1),
                prev_log_id: None,
                entries: Vec::new(),
                leader_commit: None,
            };
            let input = Box::pin(stream::iter([request]));
            let mut answers = client.stream_append(input, option()).await.expect("begins without a connection");
            let first = answers.next().await.expect("an answer");
            assert!(matches!(first, Err(RPCError::Unreachable(_))), "{first:?}");
        }
    }
}
