//! The streams of an executor at one partition, one after the other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use checkers::history::Report;
use proto::v1;
use tokio::sync::{Notify, mpsc, watch};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;

use super::{Act, Leader, Leaders, Order, Reported, Setup};
use crate::{caller, clock};

/// Something an executor was given and has not been relieved of.
struct Held {
    reported: Reported,
    outcome: Option<v1::delivery_outcome::Outcome>,
    /// The server did not know what became of the report.
    repeat: bool,
}

struct State {
    setup: Arc<Setup>,
    partition: u32,
    held: HashMap<u64, Held>,
    sequence: u64,
    stream_term: u64,
}

enum Ended {
    /// The stream broke or the server sent us away.
    Gone,
    /// Somebody else leads now.
    Moved,
    /// Nobody gives orders any more.
    Stopped,
}

/// Follows one partition's leader until dropped.
pub(super) async fn run(
    setup: Arc<Setup>,
    partition: u32,
    mut leaders: watch::Receiver<Leaders>,
    kick: Arc<Notify>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    connected: watch::Sender<bool>,
) {
    let mut state = State { setup, partition, held: HashMap::new(), sequence: 0, stream_term: 0 };
    loop {
        let leader = leaders.borrow_and_update().get(&partition).cloned().unwrap_or_default();
        if let Some((to_server, mut from_server)) = state.open(&leader).await {
            state.stream_term = leader.term;
            let ended = state.serve(&leader, &to_server, &mut from_server, &mut leaders, &mut orders, &connected).await;
            connected.send_replace(false);
            match ended {
                Ended::Stopped => return,
                Ended::Moved => state.read_on(to_server, from_server),
                Ended::Gone => {}
            }
        }
        kick.notify_one();
        // Until somebody knows better, but not for ever: the leader may be back under the same name.
        drop(tokio::time::timeout(Duration::from_millis(50), leaders.changed()).await);
    }
}

type ToServer = mpsc::UnboundedSender<v1::WorkRequest>;

impl State {
    async fn open(&self, leader: &Leader) -> Option<(ToServer, Streaming<v1::WorkResponse>)> {
        if leader.endpoint.is_empty() {
            return None;
        }
        let channel = caller::channel(&leader.endpoint).ok()?;
        let (to_server, requests) = mpsc::unbounded_channel();
        let hello = v1::Hello {
            executor: self.setup.name.clone(),
            namespace: self.setup.namespace.clone(),
            topics: self.setup.topics.clone(),
            partition: self.partition,
            held: self.held.values().map(|held| lease(&held.reported)).collect(),
            client: "harness".into(),
            max_in_flight: self.setup.max_in_flight,
        };
        drop(to_server.send(message(v1::work_request::Message::Hello(hello))));
        let mut client = caller::executor(channel);
        let opening = client.work(UnboundedReceiverStream::new(requests));
        let opened = tokio::time::timeout(Duration::from_secs(2), opening).await.ok()?.ok()?;
        Some((to_server, opened.into_inner()))
    }

    async fn serve(
        &mut self,
        leader: &Leader,
        to_server: &ToServer,
        from_server: &mut Streaming<v1::WorkResponse>,
        leaders: &mut watch::Receiver<Leaders>,
        orders: &mut mpsc::UnboundedReceiver<Order>,
        connected: &watch::Sender<bool>,
    ) -> Ended {
        let mut repeat = tokio::time::interval(Duration::from_millis(100));
        repeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                received = from_server.message() => {
                    let Ok(Some(v1::WorkResponse { message: Some(received) })) = received else {
                        return Ended::Gone;
                    };
                    if !self.take(received, to_server, connected) {
                        return Ended::Gone;
                    }
                }
                order = orders.recv() => match order {
                    None => return Ended::Stopped,
                    Some(Order::Drain) => {
                        drop(to_server.send(message(v1::work_request::Message::Drain(v1::Drain {}))));
                    }
                    Some(Order::Finish { id, act }) => self.finish(&id, &act, to_server),
                },
                _ = repeat.tick() => self.report(|held| std::mem::take(&mut held.repeat), to_server),
                changed = leaders.changed() => {
                    if changed.is_err() {
                        return Ended::Stopped;
                    }
                    let now = leaders.borrow_and_update().get(&self.partition).cloned().unwrap_or_default();
                    if now.term > leader.term && now.endpoint != leader.endpoint {
                        return Ended::Moved;
                    }
                }
            }
        }
    }

    /// False when the server sends us away.
    fn take(
        &mut self,
        received: v1::work_response::Message,
        to_server: &ToServer,
        connected: &watch::Sender<bool>,
    ) -> bool {
        use v1::work_response::Message;
        match received {
            Message::Welcome(welcome) => {
                let held = self.held.len();
                self.setup.sink.welcomed(&self.setup.name, self.partition, held, welcome.adopted.len());
                let adopted = |held: &Held| {
                    welcome
                        .adopted
                        .iter()
                        .any(|lease| lease.id == held.reported.id && lease.generation == held.reported.generation)
                };
                // Work that is done is reported whoever leads; work that is not, and was not adopted, is lost.
                self.held.retain(|_, held| held.outcome.is_some() || adopted(held));
                self.report(|held| held.outcome.is_some(), to_server);
                connected.send_replace(true);
            }
            Message::Deliveries(deliveries) => self.work(deliveries.deliveries, to_server),
            Message::Results(results) => self.answered(results.results, to_server),
            Message::GoAway(_) => return false,
            Message::Assignment(_) | Message::Extended(_) => {}
        }
        true
    }

    fn work(&mut self, deliveries: Vec<v1::Delivery>, to_server: &ToServer) {
        let received_us = clock::now_us();
        let mut outcomes = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            self.setup.sink.delivered(&self.setup.name, &delivery, received_us);
            let act = (self.setup.script)(&delivery);
            self.sequence += 1;
            let (report, outcome) = said(&act);
            let held = Held {
                reported: Reported {
                    namespace: delivery.namespace,
                    id: delivery.id,
                    generation: delivery.generation,
                    token: delivery.token,
                    attempt: delivery.attempt,
                    partition: delivery.partition,
                    report,
                    stream_term: 0,
                },
                outcome,
                repeat: false,
            };
            outcomes.extend(outcome_of(self.sequence, &held));
            self.held.insert(self.sequence, held);
        }
        send(outcomes, to_server);
    }

    fn answered(&mut self, results: Vec<v1::OutcomeResult>, to_server: &ToServer) {
        let answered_us = clock::now_us();
        let mut relieved = 0;
        for result in results {
            let Some(held) = self.held.get_mut(&result.sequence) else {
                continue;
            };
            held.reported.stream_term = self.stream_term;
            self.setup.sink.answered(&self.setup.name, &held.reported, &result, answered_us);
            if matches!(result.verdict(), v1::OutcomeVerdict::Error | v1::OutcomeVerdict::Unspecified) {
                held.repeat = true;
            } else {
                self.held.remove(&result.sequence);
                relieved += 1;
            }
        }
        if relieved > 0 {
            let credit = v1::Credit { deliveries: relieved };
            drop(to_server.send(message(v1::work_request::Message::Credit(credit))));
        }
    }

    fn finish(&mut self, id: &str, act: &Act, to_server: &ToServer) {
        for held in self.held.values_mut().filter(|held| held.reported.id == id && held.outcome.is_none()) {
            (held.reported.report, held.outcome) = said(act);
            held.repeat = true;
        }
        self.report(|held| std::mem::take(&mut held.repeat), to_server);
    }

    /// Reports whatever is decided and chosen.
    fn report(&mut self, mut chosen: impl FnMut(&mut Held) -> bool, to_server: &ToServer) {
        let mut outcomes = Vec::new();
        for (sequence, held) in &mut self.held {
            if chosen(held) {
                outcomes.extend(outcome_of(*sequence, held));
            }
        }
        send(outcomes, to_server);
    }

    /// Leaves a stream to its end, but goes on recording what comes out of it.
    fn read_on(&self, to_server: ToServer, mut from_server: Streaming<v1::WorkResponse>) {
        let setup = self.setup.clone();
        tokio::spawn(async move {
            let _open = to_server;
            while let Ok(Some(received)) = from_server.message().await {
                if let Some(v1::work_response::Message::Deliveries(deliveries)) = received.message {
                    let received_us = clock::now_us();
                    for delivery in deliveries.deliveries {
                        setup.sink.delivered(&setup.name, &delivery, received_us);
                    }
                }
            }
        });
    }
}

fn message(message: v1::work_request::Message) -> v1::WorkRequest {
    v1::WorkRequest { message: Some(message) }
}

fn send(outcomes: Vec<v1::DeliveryOutcome>, to_server: &ToServer) {
    if !outcomes.is_empty() {
        let report = v1::OutcomeReport { outcomes };
        // When the stream is gone, the next welcome repeats them.
        drop(to_server.send(message(v1::work_request::Message::Outcomes(report))));
    }
}

fn said(act: &Act) -> (Report, Option<v1::delivery_outcome::Outcome>) {
    use v1::delivery_outcome::Outcome;
    let failure = |retry_after: Option<Duration>| v1::Failure {
        error: "as the script says".into(),
        retry_after: retry_after.map(clock::duration),
    };
    match act {
        Act::Succeed => (Report::Success, Some(Outcome::Success(v1::Success::default()))),
        Act::Retry(after) => (Report::Retry, Some(Outcome::Retry(failure(*after)))),
        Act::Fail => (Report::Fail, Some(Outcome::Fail(failure(None)))),
        Act::Hold => (Report::Success, None),
    }
}

fn outcome_of(sequence: u64, held: &Held) -> Option<v1::DeliveryOutcome> {
    let reported = &held.reported;
    Some(v1::DeliveryOutcome {
        namespace: reported.namespace.clone(),
        id: reported.id.clone(),
        generation: reported.generation,
        token: reported.token,
        outcome: Some(held.outcome.clone()?),
        sequence,
        partition: reported.partition,
        attempt: reported.attempt,
    })
}

fn lease(reported: &Reported) -> v1::HeldLease {
    v1::HeldLease {
        namespace: reported.namespace.clone(),
        id: reported.id.clone(),
        generation: reported.generation,
        token: reported.token,
        attempt: reported.attempt,
    }
}
