//! Connections to peers. One is made when something is to be sent and none is there; retrying is the caller's business.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};

use super::{Lane, MESSAGE_BYTES_MAX};
use crate::progress::lock;
use crate::wire::Frame;
use crate::wire::frame::Body;
use crate::wire::peer_client::PeerClient;

/// Metadata that open every stream.
pub(super) const CLUSTER: &str = "bosingak-cluster-bin";
pub(super) const NODE: &str = "bosingak-node";

const CONNECT_DEADLINE: Duration = Duration::from_secs(1);

/// After a connection failed nobody tries again for this long: many groups ask at once.
const REST: Duration = Duration::from_millis(50);

/// Who this node is to its peers.
#[derive(Clone, Debug)]
pub(crate) struct Introduction {
    pub(crate) cluster: String,
    pub(crate) node: u64,
}

impl Introduction {
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert_bin(CLUSTER, MetadataValue::from_bytes(self.cluster.as_bytes()));
        metadata.insert(NODE, MetadataValue::from(self.node));
        request
    }
}

/// The connections of a node, by address and lane.
pub(crate) struct Links {
    introduction: Introduction,
    links: Mutex<HashMap<(String, Lane), Arc<Link>>>,
    stop: CancellationToken,
}

impl Links {
    pub(crate) fn new(introduction: Introduction, stop: CancellationToken) -> Self {
        Links {
            introduction,
            links: Mutex::default(),
            stop,
        }
    }

    /// The connection for a lane to an address, whether it is up or not.
    pub(crate) fn get(&self, address: &str, lane: Lane) -> Arc<Link> {
        lock(&self.links)
            .entry((address.to_owned(), lane))
            .or_insert_with(|| {
                Arc::new(Link {
                    address: address.to_owned(),
                    lane,
                    introduction: self.introduction.clone(),
                    state: Mutex::default(),
                    stop: self.stop.clone(),
                })
            })
            .clone()
    }

    /// Who this node is.
    pub(crate) fn introduction(&self) -> &Introduction {
        &self.introduction
    }

    /// Closes connections to addresses that are no longer anybody's.
    pub(crate) fn retain(&self, known: impl Fn(&str) -> bool) {
        lock(&self.links).retain(|(address, _), _| known(address));
    }
}

/// See the module.
pub(crate) struct Link {
    address: String,
    lane: Lane,
    introduction: Introduction,
    state: Mutex<State>,
    stop: CancellationToken,
}

#[derive(Default)]
struct State {
    live: Option<Conversation>,
    failed: Option<(Instant, String)>,
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreachable(pub(crate) String);

/// One connection from its beginning to its end. What is sent in it arrives in order or not at all.
#[derive(Clone)]
pub(crate) struct Conversation {
    out: mpsc::UnboundedSender<Frame>,
    waiting: Arc<Waiting>,
}

#[derive(Default)]
struct Waiting {
    next: AtomicU64,
    /// `Err` holds why the connection ended.
    answers: Mutex<Answers>,
}

struct Answers(Result<HashMap<u64, oneshot::Sender<Frame>>, String>);

impl Default for Answers {
    fn default() -> Self {
        Answers(Ok(HashMap::new()))
    }
}

impl Waiting {
    fn end(&self, reason: String) {
        let mut answers = lock(&self.answers);
        if answers.0.is_ok() {
            // Dropping the senders tells the waiters.
            answers.0 = Err(reason);
        }
    }

    fn reason(&self) -> Option<String> {
        lock(&self.answers).0.as_ref().err().cloned()
    }
}

/// An answer on its way.
pub(crate) struct Answer {
    frame: oneshot::Receiver<Frame>,
    waiting: Arc<Waiting>,
}

impl Answer {
    /// Waits for it.
    pub(crate) async fn get(self) -> Result<Frame, Unreachable> {
        self.frame.await.map_err(|_| {
            Unreachable(
                self.waiting
                    .reason()
                    .unwrap_or_else(|| "no answer".to_owned()),
            )
        })
    }
}

impl Conversation {
    /// Sends a question; it is in line when this returns.
    pub(crate) fn ask(&self, mut frame: Frame) -> Result<Answer, Unreachable> {
        let (tx, rx) = oneshot::channel();
        frame.seq = self.waiting.next.fetch_add(1, Ordering::Relaxed);
        {
            let mut answers = lock(&self.waiting.answers);
            let answers = answers.0.as_mut().map_err(|e| Unreachable(e.clone()))?;
            // Those whose askers gave up; their answers may never come.
            if answers.len() >= 1024 {
                answers.retain(|_, tx| !tx.is_closed());
            }
            answers.insert(frame.seq, tx);
        }
        self.tell(frame);
        Ok(Answer {
            frame: rx,
            waiting: self.waiting.clone(),
        })
    }

    /// Sends something that is not answered.
    pub(crate) fn tell(&self, frame: Frame) {
        // A connection that ended has told its waiters already.
        let _ = self.out.send(frame);
    }
}

impl Link {
    /// The present connection, or a new one that is being made; what is sent meanwhile waits for it.
    pub(crate) fn converse(self: &Arc<Self>) -> Result<Conversation, Unreachable> {
        let mut state = lock(&self.state);
        if let Some(live) = &state.live {
            match live.waiting.reason() {
                None => return Ok(live.clone()),
                Some(reason) => {
                    state.live = None;
                    state.failed = Some((Instant::now(), reason));
                }
            }
        }
        if let Some((at, reason)) = &state.failed
            && at.elapsed() < REST
        {
            return Err(Unreachable(reason.clone()));
        }
        if self.stop.is_cancelled() {
            return Err(Unreachable("shutting down".into()));
        }
        let (out, frames) = mpsc::unbounded_channel();
        let live = Conversation {
            out,
            waiting: Arc::default(),
        };
        state.live = Some(live.clone());
        let (address, lane, introduction) = (self.address.clone(), self.lane, self.introduction.clone());
        let (waiting, stop) = (live.waiting.clone(), self.stop.clone());
        tokio::spawn(async move {
            let outcome = tokio::select! {
                outcome = run(&address, lane, &introduction, frames, &waiting) => outcome,
                () = stop.cancelled() => Err("shutting down".to_owned()),
            };
            let reason = outcome.err().unwrap_or_else(|| "the peer closed the connection".into());
            tracing::debug!(peer = address, ?lane, reason, "peer connection ended");
            waiting.end(reason);
        });
        Ok(live)
    }

    /// Asks and waits for the answer until the deadline; `Err` also when the peer refuses.
    pub(crate) async fn ask(self: &Arc<Self>, frame: Frame, deadline: Duration) -> Result<Frame, Unreachable> {
        let answer = self.converse()?.ask(frame)?;
        let frame = tokio::time::timeout(deadline, answer.get())
            .await
            .map_err(|_| Unreachable(format!("no answer within {deadline:?}")))??;
        match frame.body {
            Some(Body::Refusal(refusal)) => Err(Unreachable(refusal.reason)),
            _ => Ok(frame),
        }
    }
}

/// Connects to a peer.
pub(super) async fn connect(address: &str) -> Result<PeerClient<Channel>, String> {
    let channel = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|e| format!("address {address:?}: {e}"))?
        .connect_timeout(CONNECT_DEADLINE)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(2))
        .keep_alive_timeout(Duration::from_secs(3))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(8 << 20)
        .initial_connection_window_size(8 << 20)
        .connect()
        .await
        .map_err(|e| format!("connect to {address}: {}", chain(&e)))?;
    Ok(PeerClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

async fn run(
    address: &str,
    lane: Lane,
    introduction: &Introduction,
    frames: mpsc::UnboundedReceiver<Frame>,
    waiting: &Waiting,
) -> Result<(), String> {
    let mut client = connect(address).await?;
    let request = introduction.request(UnboundedReceiverStream::new(frames));
    let response = match lane {
        Lane::Log => client.log(request).await,
        Lane::Control => client.control(request).await,
    };
    let mut answers = response.map_err(|e| e.message().to_owned())?.into_inner();
    while let Some(frame) = answers.next().await {
        let frame = frame.map_err(|e| e.message().to_owned())?;
        let waiter = match &mut lock(&waiting.answers).0 {
            Ok(answers) => answers.remove(&frame.seq),
            Err(_) => None,
        };
        if let Some(waiter) = waiter {
            let _ = waiter.send(frame);
        }
    }
    Ok(())
}
