//! Many concurrent `schedule` calls on few streams.

use std::sync::Arc;
use std::time::Duration;

use proto::v1::{
    ScheduleRequest, ScheduleResponse, ScheduleStreamRequest, ScheduleStreamResponse, schedule_stream_response,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::call::Client;
use crate::error::Error;
use crate::retry::Target;
use crate::route;
use crate::schedule::{Schedule, Via};
use crate::triggers::service;
use crate::window::{Answered, Window};

/// The server's bound on unanswered items of one stream.
const UNANSWERED_MAX: usize = 8_192;
/// Items taken from callers in one go.
const GATHER: usize = 512;

/// Settings of a [`StreamScheduler`].
#[derive(Clone, Copy, Debug)]
pub struct StreamOptions {
    /// Items that may be unanswered per stream: 1..8,192. Callers beyond that wait. Default 4,096.
    pub window: usize,
    /// One stream per partition, each at its leader (the default), or one stream for all at any node.
    pub per_partition: bool,
}

impl Default for StreamOptions {
    fn default() -> Self {
        StreamOptions { window: 4_096, per_partition: true }
    }
}

/// Puts concurrent `schedule` calls on streams: each item has its own acknowledgement, `Ok` means durable on a majority.
///
/// A stream that breaks is opened anew, where its leader is by then, and what was unanswered is sent again. Each item
/// has the time-out of a call of the client. Cheap to clone; the streams close when the last clone is dropped and every
/// item is answered.
#[derive(Clone)]
pub struct StreamScheduler {
    client: Client,
    lanes: Arc<[Lane]>,
}

/// The way to the task that has one of the streams.
struct Lane {
    offers: mpsc::UnboundedSender<Offer>,
    /// Bounds offers and unanswered items together.
    room: Arc<Semaphore>,
}

/// One item and who waits for it.
struct Offer {
    request: ScheduleRequest,
    reply: oneshot::Sender<Result<ScheduleResponse, Error>>,
    _room: OwnedSemaphorePermit,
}

impl Client {
    /// A scheduler that puts calls on streams of this client. Asks for the number of partitions if it is not known, and
    /// makes do with one stream if nobody answers. Must be called within a tokio runtime.
    pub async fn stream_scheduler(&self, options: StreamOptions) -> StreamScheduler {
        if options.per_partition && self.partitions() == 0 {
            // One stream is slower, not wrong.
            let _ = self.leaders().await;
        }
        let lanes = if options.per_partition { self.partitions().max(1) } else { 1 };
        let window = options.window.clamp(1, UNANSWERED_MAX);
        let lanes = (0..lanes).map(|lane| {
            let partition = (lanes > 1).then_some(lane);
            let (offers, taken) = mpsc::unbounded_channel();
            tokio::spawn(Driver::new(self.clone(), partition, window).run(taken));
            Lane { offers, room: Arc::new(Semaphore::new(window)) }
        });
        StreamScheduler { client: self.clone(), lanes: lanes.collect() }
    }
}

impl StreamScheduler {
    /// Begins to describe a trigger of `topic`; `id` is its idempotency key, an empty one is made.
    pub fn schedule(&self, topic: impl Into<String>, id: impl Into<String>) -> Schedule<'_> {
        Schedule::new(Via::Stream(self), topic.into(), id.into())
    }

    /// Schedules one trigger. Waits while the window is full. Dropping the future after it was first polled leaves the
    /// outcome unknown.
    pub async fn schedule_request(&self, mut request: ScheduleRequest) -> Result<ScheduleResponse, Error> {
        self.client.fill(&mut request.namespace, &mut request.id);
        let lanes = u32::try_from(self.lanes.len()).unwrap_or(1);
        let index = route::partition(&request.namespace, &request.id, lanes).unwrap_or(0);
        let lane = &self.lanes[index as usize];
        let room = lane.room.clone().acquire_owned().await.map_err(|_| Error::Closed)?;
        let (reply, answer) = oneshot::channel();
        let offer = Offer { request, reply, _room: room };
        lane.offers.send(offer).map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

/// The task of one stream: carries out what its window decides.
struct Driver {
    client: Client,
    partition: Option<u32>,
    capacity: usize,
    window: Window<Offer>,
    open: Option<Open>,
    /// Where the next stream must go, when an answer named the leader.
    named: Option<String>,
    /// Openings that failed in a row, and until when to wait for the next.
    failures: u32,
    closed_until: Duration,
}

struct Open {
    endpoint: String,
    requests: mpsc::Sender<ScheduleStreamRequest>,
    answers: Streaming<ScheduleStreamResponse>,
}

impl Driver {
    fn new(client: Client, partition: Option<u32>, capacity: usize) -> Self {
        let window = Window::new(client.policy);
        Driver {
            client,
            partition,
            capacity,
            window,
            open: None,
            named: None,
            failures: 0,
            closed_until: Duration::ZERO,
        }
    }

    async fn run(mut self, mut offers: mpsc::UnboundedReceiver<Offer>) {
        let mut gathered = Vec::with_capacity(GATHER);
        let mut accepting = true;
        while accepting || !self.window.is_empty() {
            self.tick();
            if self.open.is_none() && self.window.has_unsent() && self.client.now() >= self.closed_until {
                self.reopen().await;
            }
            if let Some(open) = &self.open {
                self.send(&open.requests.clone());
            }
            let wake = self.wake();
            tokio::select! {
                count = offers.recv_many(&mut gathered, GATHER), if accepting => {
                    accepting = count > 0;
                    let now = self.client.now();
                    for offer in gathered.drain(..) {
                        self.window.offered(now, offer);
                    }
                }
                answer = next_answer(&mut self.open), if self.open.is_some() => self.answered(answer),
                () = wake => {}
            }
        }
    }

    /// Hands back what ran out of time, and gives up on a stream that shows no life.
    fn tick(&mut self) {
        let now = self.client.now();
        for (offer, error) in self.window.tick(now) {
            // Whoever dropped the future does not want to know.
            let _ = offer.reply.send(Err(error));
        }
        if self.open.is_some() && self.window.is_stalled(now) {
            let after = self.client.policy.attempt;
            self.close(&Error::TimedOut { after });
        }
    }

    fn wake(&self) -> impl Future<Output = ()> + use<> {
        let reopen = (self.open.is_none() && self.window.has_unsent()).then_some(self.closed_until);
        let at = [self.window.wake_at(), reopen].into_iter().flatten().min();
        let now = self.client.now();
        async move {
            match at {
                Some(at) => tokio::time::sleep(at.saturating_sub(now)).await,
                None => std::future::pending().await,
            }
        }
    }

    fn send(&mut self, requests: &mpsc::Sender<ScheduleStreamRequest>) {
        let now = self.client.now();
        // The channel holds as many as the window, so there is room unless the stream is broken.
        while requests.capacity() > 0
            && let Some((sequence, offer)) = self.window.take_unsent(now)
        {
            let item = Some(offer.request.clone());
            if requests.try_send(ScheduleStreamRequest { sequence, item }).is_err() {
                // Its end is seen by whoever reads the answers.
                return;
            }
        }
    }

    fn answered(&mut self, answer: Result<Option<ScheduleStreamResponse>, tonic::Status>) {
        let endpoint = self.open.as_ref().map(|open| open.endpoint.clone()).unwrap_or_default();
        let answer = match answer {
            Ok(Some(answer)) => answer,
            Ok(None) => {
                let message = "the stream ended".to_owned();
                return self.close(&Error::Disconnected { endpoint, message });
            }
            Err(status) => {
                let after = self.client.policy.attempt;
                return self.close(&Error::from_status(&status, &endpoint, after));
            }
        };
        self.failures = 0;
        let result = match answer.result {
            Some(schedule_stream_response::Result::Ok(ok)) => Ok(ok),
            Some(schedule_stream_response::Result::Error(error)) => Err(Error::from_item(&error)),
            None => Err(Error::Disconnected { endpoint, message: "an empty answer".to_owned() }),
        };
        let now = self.client.now();
        let refused = result.as_ref().err();
        match self.window.answered(now, answer.sequence, refused, rand::random()) {
            Answered::Settled(offer) => {
                let _ = offer.reply.send(result);
            }
            Answered::Failed(offer, error) => {
                let _ = offer.reply.send(Err(error));
            }
            // The rest of the stream would be told the same: it moves to the leader as a whole.
            Answered::Again(Target::Leader(leader)) => {
                let moved = result.err().unwrap_or(Error::Closed);
                self.close(&moved);
                self.named = self.client.follow(self.partition, &leader, Target::Leader(leader.clone()));
                self.closed_until = now;
            }
            Answered::Again(Target::Same | Target::Other) | Answered::Unknown => {}
        }
    }

    async fn reopen(&mut self) {
        let now = self.client.now();
        let picked = || self.client.inner.pick(now, self.partition);
        let endpoint = self.named.take().unwrap_or_else(picked);
        let timeout = self.client.policy.attempt;
        let (requests, outbound) = mpsc::channel(self.capacity);
        // Before opening: a server may answer with its headers only when it has read something.
        self.send(&requests);
        let opened = async {
            let mut service = service(self.client.inner.channel(&endpoint)?);
            let opening = service.schedule_stream(ReceiverStream::new(outbound));
            match tokio::time::timeout(timeout, opening).await {
                Ok(Ok(answer)) => Ok(answer.into_inner()),
                Ok(Err(status)) => Err(Error::from_status(&status, &endpoint, timeout)),
                Err(_) => Err(Error::TimedOut { after: timeout }),
            }
        };
        match opened.await {
            Ok(answers) => self.open = Some(Open { endpoint, requests, answers }),
            Err(error) => {
                self.window.disconnected(&error);
                self.failed_at(&endpoint, &error);
            }
        }
    }

    fn close(&mut self, error: &Error) {
        self.window.disconnected(error);
        if let Some(open) = self.open.take() {
            self.failed_at(&open.endpoint, error);
        }
    }

    /// A stream broke or could not be opened: elsewhere next, at once the first time.
    fn failed_at(&mut self, endpoint: &str, error: &Error) {
        tracing::debug!(endpoint, %error, "schedule stream lost");
        self.failures += 1;
        let target = match error.leader_endpoint() {
            Some(leader) => Target::Leader(leader.to_owned()),
            None => Target::Other,
        };
        self.named = self.client.follow(self.partition, endpoint, target);
        let wait = match self.failures {
            1 => Duration::ZERO,
            failures => self.client.policy.backoff.delay(failures - 1, rand::random()),
        };
        let asked = error.retry_after().unwrap_or_default();
        self.closed_until = self.client.now().saturating_add(wait.max(asked));
    }
}

async fn next_answer(open: &mut Option<Open>) -> Result<Option<ScheduleStreamResponse>, tonic::Status> {
    match open {
        Some(open) => open.answers.message().await,
        None => std::future::pending().await,
    }
}
