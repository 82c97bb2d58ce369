//! ExecutorService: the stream of an executor, and its unary calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use proto::v1;
use proto::v1::executor_service_client::ExecutorServiceClient;
use proto::v1::executor_service_server::ExecutorService;
use scheduler::dispatcher::{Hello, SessionId};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Answers, Call, Services};
use crate::convert;
use crate::dispatch::{Event, Handle, Outbound};
use crate::error::Error;
use crate::validate::Violations;

/// Most deliveries an executor may hold at once.
const IN_FLIGHT_MAX: u32 = 65_536;
/// Messages made ahead of what the connection has taken.
const ANSWERS_AHEAD: usize = 4;
/// Outcomes in one report.
const OUTCOMES_MAX: usize = 65_536;

#[tonic::async_trait]
impl ExecutorService for Services {
    type WorkStream = Answers<v1::WorkResponse>;

    async fn work(&self, request: Request<Streaming<v1::WorkRequest>>) -> Result<Response<Self::WorkStream>, Status> {
        let mut inbound = request.into_inner();
        use v1::work_request::Message;
        let hello = match inbound.next().await {
            Some(Ok(v1::WorkRequest { message: Some(Message::Hello(hello)) })) => hello,
            Some(Err(status)) => return Err(status),
            _ => return Err(Error::invalid("message", "expected hello as the first message").into()),
        };
        let stream = self.begin_work(hello, inbound).await?;
        Ok(Response::new(stream))
    }

    async fn poll(&self, request: Request<v1::PollRequest>) -> Result<Response<v1::PollResponse>, Status> {
        // Bounded by the wait it asks for rather than by the time of a unary call.
        let answer = self.poll_here(request.into_inner()).await.map_err(Status::from)?;
        Ok(Response::new(answer))
    }

    async fn complete(&self, request: Request<v1::CompleteRequest>) -> Result<Response<v1::CompleteResponse>, Status> {
        self.answer("Complete", request, async |message, call| self.complete_all(message, call).await).await
    }

    async fn leaders(&self, request: Request<v1::LeadersRequest>) -> Result<Response<v1::LeadersResponse>, Status> {
        self.answer("Leaders", request, async |_, _| {
            let leaders = self.node.partitions().iter().map(|partition| {
                let leadership = partition.group().leadership().borrow().clone();
                let (endpoint, node) = leadership.leader.map_or_else(Default::default, |it| (it.endpoint, it.node));
                v1::PartitionLeader { partition: partition.number(), endpoint, node, term: leadership.term }
            });
            Ok(v1::LeadersResponse { leaders: leaders.collect() })
        })
        .await
    }
}

/// A session that tells the dispatcher when it is dropped.
struct Session {
    partition: u32,
    id: SessionId,
    dispatcher: Handle,
}

impl Drop for Session {
    fn drop(&mut self) {
        let (partition, id, dispatcher) = (self.partition, self.id, self.dispatcher.clone());
        // Sessions are dropped inside the server's runtime; at its very end nobody needs to know any more.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = dispatcher.tell(partition, Event::Close(id)).await;
            });
        }
    }
}

impl Services {
    async fn begin_work(
        &self,
        hello: v1::Hello,
        inbound: Streaming<v1::WorkRequest>,
    ) -> Result<Answers<v1::WorkResponse>, Status> {
        let partition = self.node.partition(hello.partition)?.clone();
        let number = partition.number();
        let hello = hello_of(hello)?;
        let executor = hello.executor.clone();
        // While nobody leads there is nobody to send the executor to; it asks again when it hears so.
        let ready = tokio::time::timeout(self.node.config().call_timeout, partition.ready()).await;
        let dispatcher = match ready.unwrap_or_else(|_| Err(partition.not_leader())) {
            Ok(dispatcher) => dispatcher,
            Err(Error::NotLeader { leader, .. }) => return Ok(go_away(leader)),
            Err(error) => return Err(error.into()),
        };
        let (outbound, outbox) = mpsc::unbounded_channel();
        let (reply, welcome) = oneshot::channel();
        let opened = dispatcher.tell(number, Event::Open { hello, outbound, reply }).await;
        let welcome = match (opened, welcome.await) {
            (Ok(()), Ok(welcome)) => welcome,
            _ => return Ok(go_away(partition.leader_endpoint())),
        };
        let session = Session { partition: number, id: welcome.session, dispatcher };
        let first = v1::WorkResponse {
            message: Some(v1::work_response::Message::Welcome(v1::Welcome {
                session: format!("{number}-{}", welcome.session.0),
                adopted: welcome.adopted.into_iter().map(convert::lease).collect(),
                server_time: Some(convert::moment(self.node.clock().wall())),
            })),
        };
        let (answers, stream) = mpsc::channel(ANSWERS_AHEAD);
        tokio::spawn(self.clone().answer_work(session, executor, inbound, outbox, first, answers));
        Ok(Box::pin(ReceiverStream::new(stream)))
    }

    /// Runs a session until either side ends it.
    async fn answer_work(
        self,
        session: Session,
        executor: Arc<str>,
        inbound: Streaming<v1::WorkRequest>,
        mut outbox: mpsc::UnboundedReceiver<Outbound>,
        first: v1::WorkResponse,
        answers: mpsc::Sender<Result<v1::WorkResponse, Status>>,
    ) {
        let number = session.partition;
        let talk = async {
            if answers.send(Ok(first)).await.is_err() {
                return;
            }
            while let Some(outbound) = outbox.recv().await {
                let last = matches!(outbound, Outbound::GoAway { .. });
                if answers.send(Ok(outbound_message(number, outbound))).await.is_err() || last {
                    return;
                }
            }
        };
        tokio::select! {
            () = talk => {}
            error = listen(session, executor, inbound) => {
                let _ = answers.send(Err(error.into())).await;
            }
            () = answers.closed() => {}
            () = self.node.stopping() => {
                let _ = answers.send(Ok(go_away_message("the node is shutting down".into(), None))).await;
            }
        }
    }

    async fn complete_all(&self, message: v1::CompleteRequest, call: Call) -> Result<v1::CompleteResponse, Error> {
        let mut v = Violations::new();
        v.executor("executor", &message.executor);
        v.batch("outcomes", message.outcomes.len());
        v.finish(())?;
        let executor: Arc<str> = message.executor.as_str().into();
        let mut results: Vec<Option<v1::OutcomeResult>> = vec![None; message.outcomes.len()];
        let sequences: Vec<u64> = message.outcomes.iter().map(|outcome| outcome.sequence).collect();
        let mut of_partition: BTreeMap<u32, Vec<(usize, v1::DeliveryOutcome)>> = BTreeMap::new();
        for (place, outcome) in message.outcomes.into_iter().enumerate() {
            of_partition.entry(outcome.partition).or_default().push((place, outcome));
        }
        let parts = of_partition
            .into_iter()
            .map(|(partition, outcomes)| self.complete_in(partition, &executor, outcomes, call));
        for (place, result) in futures::future::join_all(parts).await.into_iter().flatten() {
            results[place] = Some(result);
        }
        let results = results.into_iter().zip(sequences).map(|(result, sequence)| {
            let missing = || Error::OutcomeUnknown { reason: "no verdict in time".into() };
            let mut result = result.unwrap_or_else(|| convert::outcome_failed(sequence, missing()));
            result.sequence = sequence;
            result
        });
        Ok(v1::CompleteResponse { results: results.collect() })
    }

    async fn complete_in(
        &self,
        partition: u32,
        executor: &Arc<str>,
        outcomes: Vec<(usize, v1::DeliveryOutcome)>,
        call: Call,
    ) -> Vec<(usize, v1::OutcomeResult)> {
        let places: Vec<(usize, u64)> = outcomes.iter().map(|(place, one)| (*place, one.sequence)).collect();
        let fail = |error: Error| {
            places.iter().map(|(place, sequence)| (*place, convert::outcome_failed(*sequence, error.clone()))).collect()
        };
        let partition = match self.node.partition(partition) {
            Ok(partition) => partition,
            Err(error) => return fail(error),
        };
        if !partition.proposer().is_leading() {
            let error = partition.not_leader();
            let Some(leader) = call.pass_on_to(&error) else { return fail(error) };
            let channel = match self.node.forwarder().channel(&leader) {
                Ok(channel) => channel,
                Err(error) => return fail(error),
            };
            let (places, outcomes): (Vec<usize>, Vec<_>) = outcomes.into_iter().unzip();
            let message = v1::CompleteRequest { executor: executor.to_string(), outcomes };
            return match ExecutorServiceClient::new(channel).complete(call.passed_on(message)).await {
                Ok(answer) => places.into_iter().zip(answer.into_inner().results).collect(),
                Err(status) => fail(crate::forward::failed(status)),
            };
        }
        let mut results = Vec::new();
        let mut valid = Vec::new();
        for (place, outcome) in outcomes {
            let sequence = outcome.sequence;
            // The dispatcher is told the place as the sequence, since callers may give one number twice.
            match convert::outcome_of(outcome, place as u64) {
                Ok(outcome) => valid.push(outcome),
                Err(error) => results.push((place, convert::outcome_failed(sequence, error))),
            }
        }
        if valid.is_empty() {
            return results;
        }
        let decided = async {
            let dispatcher = partition.ready().await?;
            let (reply, answer) = oneshot::channel();
            let executor = executor.clone();
            dispatcher.tell(partition.number(), Event::Call { executor, outcomes: valid, reply }).await?;
            answer.await.map_err(|_| Error::OutcomeUnknown { reason: "leadership was lost".into() })
        };
        match decided.await {
            Ok(decided) => {
                let decided = convert::outcome_results(partition.number(), decided);
                results.extend(decided.into_iter().map(|result| (result.sequence as usize, result)));
                results
            }
            Err(error) => fail(error),
        }
    }
}

/// Checks a hello.
pub(crate) fn hello_of(hello: v1::Hello) -> Result<Hello, Error> {
    let mut v = Violations::under("hello.");
    v.executor("executor", &hello.executor);
    let namespace = v.namespace("namespace", hello.namespace);
    v.not_reserved_namespace("namespace", &namespace);
    v.executor_topics("topics", &hello.topics);
    v.require((1..=IN_FLIGHT_MAX).contains(&hello.max_in_flight), "max_in_flight", || {
        format!("expected 1 to {IN_FLIGHT_MAX}, got {}", hello.max_in_flight)
    });
    v.require(hello.held.len() <= IN_FLIGHT_MAX as usize, "held", || {
        format!("expected at most {IN_FLIGHT_MAX}, got {}", hello.held.len())
    });
    v.finish(())?;
    let held = hello.held.into_iter().enumerate();
    let held = held.map(|(place, lease)| convert::held_of(lease, &format!("hello.held[{place}]")));
    Ok(Hello {
        executor: hello.executor.into(),
        namespace: namespace.into(),
        topics: hello.topics.into_iter().map(Arc::from).collect(),
        in_flight_max: hello.max_in_flight,
        held: held.collect::<Result<_, _>>()?,
        poll: false,
    })
}

/// Brings what an executor says to the dispatcher, until it breaks a rule. When the executor's sending half ends the
/// session ends with it, and the dispatcher hangs up.
async fn listen(session: Session, executor: Arc<str>, mut inbound: Streaming<v1::WorkRequest>) -> Error {
    while let Some(Ok(message)) = inbound.next().await {
        let event = match event_of(session.id, &executor, message) {
            Ok(event) => event,
            Err(error) => return error,
        };
        if session.dispatcher.tell(session.partition, event).await.is_err() {
            break;
        }
    }
    drop(session);
    std::future::pending().await
}

fn event_of(session: SessionId, executor: &Arc<str>, message: v1::WorkRequest) -> Result<Event, Error> {
    use v1::work_request::Message;
    match message.message {
        Some(Message::Credit(credit)) => Ok(Event::Credit(session, credit.deliveries)),
        Some(Message::Drain(_)) => Ok(Event::Drain(session)),
        Some(Message::Outcomes(report)) => {
            let count = report.outcomes.len();
            if count > OUTCOMES_MAX {
                return Err(Error::invalid("outcomes", format!("expected at most {OUTCOMES_MAX}, got {count}")));
            }
            let outcomes = report.outcomes.into_iter().map(|outcome| {
                let sequence = outcome.sequence;
                convert::outcome_of(outcome, sequence)
            });
            Ok(Event::Report(session, executor.clone(), outcomes.collect::<Result<_, _>>()?))
        }
        Some(Message::Extend(extend)) => {
            let leases = extend.leases.into_iter().enumerate();
            let leases = leases.map(|(place, lease)| convert::held_of(lease, &format!("extend.leases[{place}]")));
            Ok(Event::Extend(session, leases.collect::<Result<_, _>>()?))
        }
        Some(Message::Hello(_)) => Err(Error::invalid("message", "expected one hello only, as the first message")),
        None => Err(Error::invalid("message", "expected one of credit, outcomes, extend, drain, got none")),
    }
}

fn outbound_message(partition: u32, outbound: Outbound) -> v1::WorkResponse {
    use v1::work_response::Message;
    let message = match outbound {
        Outbound::Deliveries(deliveries) => {
            Message::Deliveries(v1::Deliveries { deliveries: convert::deliveries(partition, deliveries) })
        }
        Outbound::Results(results) => {
            Message::Results(v1::OutcomeResults { results: convert::outcome_results(partition, results) })
        }
        Outbound::Assigned { topic, owned, version } => {
            Message::Assignment(v1::ShardAssignment { topic: topic.to_string(), owned, total: 1_024, version })
        }
        Outbound::Extended(extended) => Message::Extended(v1::ExtendResults {
            extended: extended.extended.into_iter().map(convert::lease).collect(),
            lost: extended.lost.into_iter().map(convert::lease).collect(),
        }),
        Outbound::GoAway { reason, leader } => return go_away_message(reason, leader),
    };
    v1::WorkResponse { message: Some(message) }
}

fn go_away_message(reason: String, leader: Option<String>) -> v1::WorkResponse {
    let go_away = v1::GoAway { reason, leader: leader.unwrap_or_default() };
    v1::WorkResponse { message: Some(v1::work_response::Message::GoAway(go_away)) }
}

fn go_away(leader: Option<String>) -> Answers<v1::WorkResponse> {
    let message = go_away_message("another node leads the partition".into(), leader);
    Box::pin(futures::stream::once(async { Ok(message) }))
}
