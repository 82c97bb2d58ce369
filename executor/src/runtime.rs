//! Carries out what the engine decides: streams, handlers, time.

use std::any::Any;
use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use client::Client;
use client::retry::{Backoff, Policy};
use futures::FutureExt;
use proto::v1::{OutcomeVerdict, WorkRequest};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::builder::{Builder, Observer};
use crate::delivery::Delivery;
use crate::engine::{Action, Engine, Event, Settings, Settled, StreamId, WorkId};
use crate::handler::Handler;
use crate::outcome::Outcome;

/// Messages read ahead of the engine; beyond that the streams' own flow control holds.
const EVENTS_MAX: usize = 1_024;
/// Events taken in one go: what they lead to shares messages.
const GATHER: usize = 256;

/// Asking who leads: a node that does not say so at once is passed over for another.
const ASKING: Policy = Policy {
    total: Duration::from_secs(3),
    attempt: Duration::from_millis(700),
    attempts_max: 8,
    backoff: Backoff { initial: Duration::from_millis(50), max: Duration::from_millis(400), multiplier_percent: 200 },
};

/// An executor that is set up; see the crate's example.
pub struct Executor {
    client: Client,
    settings: Settings,
    handlers: HashMap<String, Arc<dyn Handler>>,
    drain_timeout: Duration,
    observer: Option<Observer>,
}

/// What an executor did in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Handlers started.
    pub started: u64,
    /// Reports that decided.
    pub accepted: u64,
    /// Reports of what had been decided before, for example by a report whose answer was lost.
    pub already_decided: u64,
    /// Reports of a delivery that a newer one had replaced.
    pub superseded: u64,
    /// Reports that were refused for good.
    pub refused: u64,
    /// Handlers dropped because their lease ended or was taken away.
    pub aborted: u64,
    /// Streams that were opened.
    pub streams: u64,
    /// Deliveries in hand and reports without an answer when it ended: not zero after a drain that took too long.
    pub left: u64,
}

impl Executor {
    /// Settings to begin with.
    pub fn builder(client: Client) -> Builder {
        Builder::new(client)
    }

    pub(crate) fn new(
        client: Client,
        mut settings: Settings,
        handlers: HashMap<String, Arc<dyn Handler>>,
        drain_timeout: Duration,
        observer: Option<Observer>,
    ) -> Self {
        // Executors that lost the same leader should not come back in step.
        settings.seed = uuid::Uuid::now_v7().as_u64_pair().1;
        Executor { client, settings, handlers, drain_timeout, observer }
    }

    /// Name it goes by.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Topics it works on, sorted.
    pub fn topics(&self) -> &[String] {
        &self.settings.topics
    }

    /// Works until `shutdown` is ready, then finishes what is in hand, within the drain time-out. Never gives up on a
    /// cluster that cannot be reached. Dropping the future stops at once; what was in hand is delivered again when its
    /// lease ends.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Summary {
        let (events, mut inbox) = mpsc::channel(EVENTS_MAX);
        let (finished, mut finishes) = mpsc::unbounded_channel();
        let mut driver = Driver {
            engine: Engine::new(self.settings),
            started: Instant::now(),
            client: self.client,
            handlers: self.handlers,
            observer: self.observer,
            events,
            finished,
            tasks: JoinSet::new(),
            streams: HashMap::new(),
            works: HashMap::new(),
            actions: Vec::new(),
            summary: Summary::default(),
            drained: false,
        };
        tokio::pin!(shutdown);
        let mut give_up: Option<Instant> = None;
        let (mut gathered, mut ended) = (Vec::new(), Vec::new());
        loop {
            driver.advance();
            if driver.drained || give_up.is_some_and(|at| Instant::now() >= at) {
                return driver.summarize();
            }
            let wake = driver.engine.wake_at().map(|at| driver.started + at);
            let wake = [wake, give_up].into_iter().flatten().min();
            tokio::select! {
                _ = inbox.recv_many(&mut gathered, GATHER) => {}
                _ = finishes.recv_many(&mut ended, GATHER) => {}
                () = sleep_until(wake) => {}
                () = &mut shutdown, if give_up.is_none() => {
                    give_up = Some(Instant::now() + self.drain_timeout);
                    driver.handle(Event::Drain);
                }
            }
            for (work, outcome) in ended.drain(..) {
                driver.finished(work, outcome);
            }
            for event in gathered.drain(..) {
                driver.handle(event);
            }
            while driver.tasks.try_join_next().is_some() {}
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

struct Driver {
    engine: Engine,
    started: Instant,
    client: Client,
    handlers: HashMap<String, Arc<dyn Handler>>,
    observer: Option<Observer>,
    events: mpsc::Sender<Event>,
    finished: mpsc::UnboundedSender<(WorkId, Outcome)>,
    /// Readers of streams and handlers; all end with the driver.
    tasks: JoinSet<()>,
    streams: HashMap<StreamId, OpenStream>,
    works: HashMap<WorkId, AbortHandle>,
    actions: Vec<Action>,
    summary: Summary,
    drained: bool,
}

struct OpenStream {
    /// Bounded by what the engine owes: one report per delivery held.
    requests: mpsc::UnboundedSender<WorkRequest>,
    reader: AbortHandle,
}

impl Driver {
    fn handle(&mut self, event: Event) {
        if let Event::Closed { stream, .. } = &event {
            self.streams.remove(stream);
        }
        self.engine.handle(self.started.elapsed(), event, &mut self.actions);
    }

    fn finished(&mut self, work: WorkId, outcome: Outcome) {
        self.works.remove(&work);
        self.handle(Event::Finished { work, outcome });
    }

    fn advance(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        self.engine.advance(self.started.elapsed(), &mut actions);
        for action in actions.drain(..) {
            self.carry_out(action);
        }
        self.actions = actions;
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::AskLeaders => self.ask_leaders(),
            Action::Dial { stream, endpoint, hello } => self.dial(stream, endpoint, hello),
            Action::HangUp { stream } => {
                if let Some(open) = self.streams.remove(&stream) {
                    open.reader.abort();
                }
            }
            Action::Send { stream, request } => {
                // A stream whose reader has ended is about to be reported closed; the engine will say it all again.
                if let Some(open) = self.streams.get(&stream) {
                    let _ = open.requests.send(request);
                }
            }
            Action::Start { work, delivery, deadline } => {
                let delivery = Delivery::new(delivery, self.started + deadline);
                self.start(work, delivery);
            }
            Action::Abort { work } => {
                self.summary.aborted += 1;
                if let Some(handler) = self.works.remove(&work) {
                    handler.abort();
                }
            }
            Action::Settled(settled) => self.settled(&settled),
            Action::Drained => self.drained = true,
        }
    }

    fn ask_leaders(&mut self) {
        let (client, events) = (self.client.with_policy(ASKING), self.events.clone());
        self.tasks.spawn(async move {
            let event = match client.leaders().await {
                Ok(answer) => {
                    let leaders = answer.leaders.into_iter();
                    Event::Leaders(leaders.map(|l| (l.partition, l.endpoint, l.term)).collect())
                }
                Err(error) => {
                    tracing::debug!(%error, "nobody says who leads");
                    Event::LeadersFailed
                }
            };
            // The receiver only goes with this task.
            let _ = events.send(event).await;
        });
    }

    fn dial(&mut self, stream: StreamId, endpoint: String, hello: WorkRequest) {
        let (requests, outbound) = mpsc::unbounded_channel();
        // The hello is first whatever the engine sends while the stream is being opened.
        let _ = requests.send(hello);
        let (client, events) = (self.client.clone(), self.events.clone());
        self.summary.streams += 1;
        let reader = self.tasks.spawn(async move {
            let leader = read(client, stream, &endpoint, outbound, &events).await;
            let _ = events.send(Event::Closed { stream, leader }).await;
        });
        self.streams.insert(stream, OpenStream { requests, reader });
    }

    fn start(&mut self, work: WorkId, delivery: Delivery) {
        self.summary.started += 1;
        let finished = self.finished.clone();
        let handler = self.handlers.get(delivery.topic()).cloned();
        let task = self.tasks.spawn(async move {
            let outcome = match handler {
                Some(handler) => guarded(handler, delivery).await,
                None => Outcome::retry(format!("no handler for topic {}", delivery.topic())),
            };
            let _ = finished.send((work, outcome));
        });
        self.works.insert(work, task);
    }

    fn settled(&mut self, settled: &Settled) {
        match settled.verdict {
            OutcomeVerdict::Accepted => self.summary.accepted += 1,
            OutcomeVerdict::AlreadyDecided => self.summary.already_decided += 1,
            OutcomeVerdict::Superseded => self.summary.superseded += 1,
            OutcomeVerdict::NotFound | OutcomeVerdict::Error | OutcomeVerdict::Unspecified => {
                self.summary.refused += 1;
                let delivery = &settled.delivery;
                let error = settled.result.error.as_ref().map(client::Error::from_item);
                tracing::warn!(
                    id = %delivery.id,
                    generation = delivery.generation,
                    verdict = settled.verdict.as_str_name(),
                    error = error.map(tracing::field::display),
                    "report refused for good"
                );
            }
        }
        if let Some(observer) = &self.observer {
            observer(settled);
        }
    }

    fn summarize(self) -> Summary {
        let (running, queued, reported) = self.engine.counts();
        let left = (running + queued + reported).try_into().unwrap_or(u64::MAX);
        Summary { left, ..self.summary }
    }
}

/// Hands over what comes on a stream until it ends; where the end said that the leader is.
async fn read(
    client: Client,
    stream: StreamId,
    endpoint: &str,
    outbound: mpsc::UnboundedReceiver<WorkRequest>,
    events: &mpsc::Sender<Event>,
) -> Option<String> {
    let outbound = UnboundedReceiverStream::new(outbound);
    let mut answers = match client.work(endpoint, outbound).await {
        Ok(answers) => answers,
        Err(error) => {
            tracing::debug!(endpoint, %error, "work stream could not be opened");
            return error.leader_endpoint().map(str::to_owned);
        }
    };
    loop {
        match answers.message().await {
            Ok(Some(message)) => {
                if events.send(Event::Message { stream, message }).await.is_err() {
                    return None;
                }
            }
            Ok(None) => return None,
            Err(error) => {
                tracing::debug!(endpoint, %error, "work stream lost");
                return error.leader_endpoint().map(str::to_owned);
            }
        }
    }
}

/// Runs a handler so that its panic is an outcome.
async fn guarded(handler: Arc<dyn Handler>, delivery: Delivery) -> Outcome {
    // Also the part of a handler that runs before it returns its future.
    let work = async move { handler.handle(delivery).await };
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(panic) => Outcome::retry(format!("handler panicked: {}", panic_text(panic.as_ref()))),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)")
}
