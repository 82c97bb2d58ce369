//! What peers send here, passed to the replica that each frame names.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendError};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{Host, MESSAGE_BYTES_MAX, link};
use crate::types::{TypeConfig, node_of};
use crate::wire::frame::Body;
use crate::wire::peer_server::{Peer, PeerServer};
use crate::wire::{self, Appended, Frame, Refusal, SnapshotFrame};

/// Requests of one session that wait for the core; more than a well-behaved sender has under way.
const SESSION_BACKLOG: usize = 64;

/// Control requests of one peer that are worked on at a time.
const CONTROL_CONCURRENCY: usize = 256;

/// See the module.
pub(crate) struct Server<H> {
    host: Arc<H>,
    stop: CancellationToken,
}

impl<H: Host> Server<H> {
    pub(crate) fn service(host: Arc<H>, stop: CancellationToken) -> PeerServer<Self> {
        PeerServer::new(Server { host, stop })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The node at the other end, if it is of this cluster.
    fn admit<T>(&self, request: &Request<T>) -> Result<u64, Status> {
        let cluster = request
            .metadata()
            .get_bin(link::CLUSTER)
            .and_then(|v| v.to_bytes().ok())
            .unwrap_or_default();
        if cluster != self.host.cluster().as_bytes() {
            return Err(Status::failed_precondition(format!(
                "this node is of cluster {:?}, the caller of {:?}",
                self.host.cluster(),
                String::from_utf8_lossy(&cluster)
            )));
        }
        request
            .metadata()
            .get(link::NODE)
            .and_then(|v| v.to_str().ok()?.parse().ok())
            .ok_or_else(|| Status::invalid_argument("the caller does not say which node it is"))
    }

    fn run<F>(&self, outgoing: mpsc::Receiver<Result<F, Status>>, work: impl Future<Output = ()> + Send + 'static)
    -> Response<BoxStream<'static, Result<F, Status>>>
    where
        F: Send + 'static,
    {
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = work => {}
                () = stop.cancelled() => {}
            }
        });
        // The stream ends when every task that could still answer is gone, or at once when the node stops.
        let stop = self.stop.clone().cancelled_owned();
        Response::new(ReceiverStream::new(outgoing).take_until(stop).boxed())
    }
}

type Outgoing = mpsc::Sender<Result<Frame, Status>>;

fn answer(to: &Frame, body: Body) -> Frame {
    Frame {
        group: to.group,
        to: to.from,
        from: to.to,
        session: to.session,
        seq: to.seq,
        body: Some(body),
    }
}

fn refusal(reason: impl Into<String>) -> Body {
    Body::Refusal(Refusal {
        reason: reason.into(),
    })
}

#[tonic::async_trait]
impl<H: Host> Peer for Server<H> {
    type LogStream = BoxStream<'static, Result<Frame, Status>>;
    type ControlStream = BoxStream<'static, Result<Frame, Status>>;
    type SnapshotStream = BoxStream<'static, Result<SnapshotFrame, Status>>;

    async fn log(&self, request: Request<Streaming<Frame>>) -> Result<Response<Self::LogStream>, Status> {
        self.admit(&request)?;
        let (out, outgoing) = mpsc::channel(256);
        let work = log(self.host.clone(), request.into_inner(), out, self.stop.clone());
        Ok(self.run(outgoing, work))
    }

    async fn control(
        &self,
        request: Request<Streaming<Frame>>,
    ) -> Result<Response<Self::ControlStream>, Status> {
        let node = self.admit(&request)?;
        let (out, outgoing) = mpsc::channel(256);
        let work = control(self.host.clone(), node, request.into_inner(), out);
        Ok(self.run(outgoing, work))
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<SnapshotFrame>>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        self.admit(&request)?;
        let (out, outgoing) = mpsc::channel(4);
        let host = self.host.clone();
        let work = super::snapshot::receive(host, request.into_inner(), out);
        Ok(self.run(outgoing, work))
    }
}

struct Session {
    requests: mpsc::Sender<AppendEntriesRequest<TypeConfig>>,
    frames: mpsc::UnboundedSender<Frame>,
}

/// The log lane: requests of a session reach the core in their order, sessions do not wait for each other.
async fn log<H: Host>(host: Arc<H>, mut frames: Streaming<Frame>, out: Outgoing, stop: CancellationToken) {
    let mut sessions: HashMap<(u32, u64, u64), Session> = HashMap::new();
    while let Some(Ok(mut frame)) = frames.next().await {
        let key = (frame.group, frame.to, frame.session);
        let request = match frame.body.take() {
            Some(Body::Append(append)) => append,
            Some(Body::End(_)) => {
                sessions.remove(&key);
                continue;
            }
            _ => {
                let _ = out.send(Ok(answer(&frame, refusal("not for the log lane")))).await;
                continue;
            }
        };
        let request = match request.try_into() {
            Ok(request) => request,
            Err(wire::Malformed(what)) => {
                let _ = out.send(Ok(answer(&frame, refusal(what)))).await;
                continue;
            }
        };
        let session = match sessions.entry(key) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(room) => match begin(&host, &frame, &out, &stop) {
                Ok(session) => room.insert(session),
                Err(reason) => {
                    let _ = out.send(Ok(answer(&frame, refusal(reason)))).await;
                    continue;
                }
            },
        };
        let late = answer(&frame, refusal("the session is over"));
        // The frame first: the session's task pairs the two in order.
        if session.frames.send(frame).is_err() {
            sessions.remove(&key);
            let _ = out.send(Ok(late)).await;
            continue;
        }
        match session.requests.try_send(request) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Closed(_)) => {
                sessions.remove(&key);
                let _ = out.send(Ok(late)).await;
            }
            Err(mpsc::error::TrySendError::Full(_)) => {
                // A sender that ignores the limit would make everybody on this connection wait.
                tracing::warn!(group = key.0, "a peer sends more than was agreed; closing its connection");
                return;
            }
        }
    }
}

fn begin<H: Host>(host: &Arc<H>, frame: &Frame, out: &Outgoing, stop: &CancellationToken) -> Result<Session, String> {
    let replica = host.replica(frame.group, frame.to)?;
    host.heard(frame.from)?;
    let (requests, inbox) = mpsc::channel(SESSION_BACKLOG);
    let (frames, mut asked) = mpsc::unbounded_channel::<Frame>();
    let (out, stop) = (out.clone(), stop.clone());
    tokio::spawn(async move {
        let answers = replica.raft.stream_append(ReceiverStream::new(inbox)).take_until(stop.cancelled_owned());
        let mut answers = pin!(answers);
        while let Some(result) = answers.next().await {
            let Some(frame) = asked.recv().await else { return };
            let (body, over) = match result {
                Ok(Ok(matched)) => {
                    let appended = AppendEntriesResponse::PartialSuccess(matched);
                    (Body::Appended(appended.into()), false)
                }
                Ok(Err(StreamAppendError::Conflict(_))) => {
                    (Body::Appended(AppendEntriesResponse::Conflict.into()), true)
                }
                Ok(Err(StreamAppendError::HigherVote(vote))) => {
                    (Body::Appended(AppendEntriesResponse::HigherVote(vote).into()), true)
                }
                Err(fatal) => (refusal(fatal.to_string()), true),
            };
            if out.send(Ok(answer(&frame, body))).await.is_err() || over {
                return;
            }
        }
        // The core is gone: whoever still waits learns it now and not by a deadline.
        asked.close();
        while let Some(frame) = asked.recv().await {
            if out.send(Ok(answer(&frame, refusal("the replica stopped")))).await.is_err() {
                return;
            }
        }
    });
    Ok(Session { requests, frames })
}

/// The control lane: every request for itself.
async fn control<H: Host>(host: Arc<H>, node: u64, mut frames: Streaming<Frame>, out: Outgoing) {
    let room = Arc::new(Semaphore::new(CONTROL_CONCURRENCY));
    while let Some(Ok(mut frame)) = frames.next().await {
        let Ok(permit) = room.clone().acquire_owned().await else {
            return;
        };
        let (host, out) = (host.clone(), out.clone());
        tokio::spawn(async move {
            let body = frame.body.take();
            let body = match handle(host, node, &frame, body).await {
                Ok(body) => body,
                Err(reason) => refusal(reason),
            };
            let _ = out.send(Ok(answer(&frame, body))).await;
            drop(permit);
        });
    }
}

async fn handle<H: Host>(host: Arc<H>, node: u64, frame: &Frame, body: Option<Body>) -> Result<Body, String> {
    let replica = || {
        if node_of(frame.from) != node {
            return Err(format!("node {node} speaks for replica {:#x}", frame.from));
        }
        let replica = host.replica(frame.group, frame.to)?;
        host.heard(frame.from)?;
        Ok(replica)
    };
    let odd = |e: wire::Malformed| e.to_string();
    match body {
        Some(Body::Append(append)) => {
            let request = append.try_into().map_err(odd)?;
            let response = replica()?.raft.append_entries(request).await;
            let response = response.map_err(|e| e.to_string())?;
            Ok(Body::Appended(Appended::from(response)))
        }
        Some(Body::Vote(ballot)) => {
            let reply = replica()?.vote(ballot.try_into().map_err(odd)?).await?;
            Ok(Body::BallotReply(reply.into()))
        }
        Some(Body::PreVote(ballot)) => {
            let reply = replica()?.pre_vote(ballot.try_into().map_err(odd)?).await?;
            Ok(Body::BallotReply(reply.into()))
        }
        Some(Body::Transfer(transfer)) => {
            let request = transfer.try_into().map_err(odd)?;
            let reply = replica()?.raft.handle_transfer_leader(request).await;
            Ok(Body::TransferReply(reply.map_err(|e| e.to_string())?.into()))
        }
        Some(Body::Call(call)) => {
            let outcome = match host.call(node, call.request) {
                Ok(reply) => wire::call_reply::Outcome::Reply(reply),
                Err(reason) => wire::call_reply::Outcome::Refused(reason),
            };
            Ok(Body::CallReply(wire::CallReply {
                outcome: Some(outcome),
            }))
        }
        Some(Body::Order(wire::Order { order: Some(order) })) => {
            Ok(Body::OrderReply(host.order(frame.group, order).await))
        }
        _ => Err("not for the control lane".into()),
    }
}
