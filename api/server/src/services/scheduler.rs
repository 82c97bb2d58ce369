//! SchedulerService: schedule, cancel, reschedule, run now, get, and their batches.

use std::collections::BTreeMap;

use proto::v1;
use proto::v1::scheduler_service_client::SchedulerServiceClient;
use proto::v1::scheduler_service_server::SchedulerService;
use scheduler::command::Kind;
use scheduler::read;
use scheduler::reply::{Outcome, Refusal, Reply};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Answers, Call, Services, route};
use crate::convert;
use crate::error::Error;
use crate::partition::Partition;
use crate::proposer::Awaited;
use crate::status;
use crate::validate::Violations;

/// Items of a stream that may be unanswered.
const STREAM_UNANSWERED_MAX: usize = 8_192;

#[tonic::async_trait]
impl SchedulerService for Services {
    async fn schedule(&self, request: Request<v1::ScheduleRequest>) -> Result<Response<v1::ScheduleResponse>, Status> {
        self.answer("Schedule", request, async |message, call| self.schedule_one(message, call, "").await).await
    }

    async fn batch_schedule(
        &self,
        request: Request<v1::BatchScheduleRequest>,
    ) -> Result<Response<v1::BatchScheduleResponse>, Status> {
        self.answer("BatchSchedule", request, async |message, call| self.schedule_batch(message, call).await).await
    }

    type ScheduleStreamStream = Answers<v1::ScheduleStreamResponse>;

    async fn schedule_stream(
        &self,
        request: Request<Streaming<v1::ScheduleStreamRequest>>,
    ) -> Result<Response<Self::ScheduleStreamStream>, Status> {
        Ok(Response::new(self.schedule_each(request)))
    }

    async fn cancel(&self, request: Request<v1::CancelRequest>) -> Result<Response<v1::CancelResponse>, Status> {
        self.answer("Cancel", request, async |message, call| self.cancel_one(message, call).await).await
    }

    async fn batch_cancel(
        &self,
        request: Request<v1::BatchCancelRequest>,
    ) -> Result<Response<v1::BatchCancelResponse>, Status> {
        self.answer("BatchCancel", request, async |message, call| self.cancel_batch(message, call).await).await
    }

    async fn reschedule(
        &self,
        request: Request<v1::RescheduleRequest>,
    ) -> Result<Response<v1::RescheduleResponse>, Status> {
        self.answer("Reschedule", request, async |message, call| self.reschedule_one(message, call).await).await
    }

    async fn run_now(&self, request: Request<v1::RunNowRequest>) -> Result<Response<v1::RunNowResponse>, Status> {
        self.answer("RunNow", request, async |message, call| self.run_one_now(message, call).await).await
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        self.answer("Get", request, async |message, call| self.get_one(message, call).await).await
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        self.answer("List", request, async |message, call| self.list_page(message, call).await).await
    }

    type WatchStream = Answers<v1::WatchResponse>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let stream = self.watch_triggers(request.into_inner()).map_err(Status::from)?;
        Ok(Response::new(stream))
    }

    async fn forecast(&self, request: Request<v1::ForecastRequest>) -> Result<Response<v1::ForecastResponse>, Status> {
        self.answer("Forecast", request, async |message, _| self.forecast_all(message).await).await
    }
}

impl Services {
    /// Proposes one command and waits for its reply; a refusal is an error.
    pub(crate) async fn decide(&self, partition: &Partition, command: Kind) -> Result<Reply, Error> {
        partition.proposer().propose(command)?.answer().await?.accepted(partition.number())
    }

    pub(crate) async fn schedule_one(
        &self,
        message: v1::ScheduleRequest,
        call: Call,
        prefix: &str,
    ) -> Result<v1::ScheduleResponse, Error> {
        // The partition depends on the id alone, so an id made here must go with the message when it is passed on.
        let message = with_id(message);
        let namespace = if message.namespace.is_empty() { "default" } else { &message.namespace };
        let partition = self.node.partition_of(namespace, &message.id);
        route!(self, call, partition, message, SchedulerServiceClient::schedule, {
            self.begin_schedule(partition, message, prefix)?.finish().await
        })
    }

    /// Checks and queues a Schedule for a partition that this node leads.
    fn begin_schedule(
        &self,
        partition: &Partition,
        message: v1::ScheduleRequest,
        prefix: &str,
    ) -> Result<Scheduling, Error> {
        let command = convert::schedule(message, self.node.zones(), prefix)?.command;
        let (namespace, id) = (command.namespace.clone(), command.id.clone());
        let awaited = partition.proposer().propose(Kind::Schedule(command))?;
        Ok(Scheduling { partition: partition.number(), namespace, id, awaited })
    }

    async fn schedule_batch(
        &self,
        message: v1::BatchScheduleRequest,
        call: Call,
    ) -> Result<v1::BatchScheduleResponse, Error> {
        let mut v = Violations::new();
        v.batch("items", message.items.len());
        v.finish(())?;
        let mut results: Vec<Option<Result<v1::ScheduleResponse, Error>>> = Vec::new();
        results.resize_with(message.items.len(), || None);
        let mut here = Vec::with_capacity(message.items.len());
        let mut elsewhere: BTreeMap<String, Vec<(usize, v1::ScheduleRequest)>> = BTreeMap::new();
        for (place, item) in message.items.into_iter().enumerate() {
            let item = with_id(item);
            let namespace = if item.namespace.is_empty() { "default" } else { &item.namespace };
            let partition = self.node.partition_of(namespace, &item.id);
            if partition.proposer().is_leading() {
                // Every item is queued before any is awaited, so that they share entries.
                match self.begin_schedule(partition, item, &format!("items[{place}].")) {
                    Ok(scheduling) => here.push((place, scheduling)),
                    Err(error) => results[place] = Some(Err(error)),
                }
            } else {
                let error = partition.not_leader();
                match call.pass_on_to(&error) {
                    Some(leader) => elsewhere.entry(leader).or_default().push((place, item)),
                    None => results[place] = Some(Err(error)),
                }
            }
        }
        let passed_on = elsewhere.into_iter().map(|(leader, items)| async move {
            let (places, items): (Vec<usize>, Vec<v1::ScheduleRequest>) = items.into_iter().unzip();
            let answer = self.pass_batch_on(&leader, v1::BatchScheduleRequest { items }, call).await;
            (places, answer)
        });
        let (passed_on, here) = tokio::join!(
            futures::future::join_all(passed_on),
            futures::future::join_all(here.into_iter().map(|(place, it)| async move { (place, it.finish().await) })),
        );
        for (place, result) in here {
            results[place] = Some(result);
        }
        let mut statuses: BTreeMap<usize, proto::RpcStatus> = BTreeMap::new();
        for (places, answer) in passed_on {
            match answer {
                Ok(answer) => {
                    for (place, item) in places.into_iter().zip(answer.results) {
                        use v1::batch_schedule_result::Result as Item;
                        match item.result {
                            Some(Item::Ok(ok)) => results[place] = Some(Ok(ok)),
                            Some(Item::Error(error)) => {
                                statuses.insert(place, error);
                            }
                            None => {}
                        }
                    }
                }
                Err(error) => places.into_iter().for_each(|place| results[place] = Some(Err(error.clone()))),
            }
        }
        let results = results.into_iter().enumerate().map(|(place, result)| {
            use v1::batch_schedule_result::Result as Item;
            let item = match (statuses.remove(&place), result) {
                (Some(status), _) => Item::Error(status),
                (None, Some(Ok(ok))) => Item::Ok(ok),
                (None, Some(Err(error))) => Item::Error(status::rpc_status(error)),
                (None, None) => Item::Error(status::rpc_status(missing_answer())),
            };
            v1::BatchScheduleResult { result: Some(item) }
        });
        Ok(v1::BatchScheduleResponse { results: results.collect() })
    }

    async fn pass_batch_on(
        &self,
        leader: &str,
        message: v1::BatchScheduleRequest,
        call: Call,
    ) -> Result<v1::BatchScheduleResponse, Error> {
        let channel = self.node.forwarder().channel(leader)?;
        let size = self.node.config().message_bytes_max;
        let mut client = SchedulerServiceClient::new(channel).max_decoding_message_size(size);
        let answer = client.batch_schedule(call.passed_on(message)).await;
        answer.map(Response::into_inner).map_err(crate::forward::failed)
    }

    fn schedule_each(
        &self,
        request: Request<Streaming<v1::ScheduleStreamRequest>>,
    ) -> Answers<v1::ScheduleStreamResponse> {
        let call = Call::of_item(request.metadata(), self.node.config().call_timeout);
        let mut items = request.into_inner();
        let services = self.clone();
        let (answers, stream) = mpsc::channel(STREAM_UNANSWERED_MAX);
        tokio::spawn(async move {
            loop {
                // A place in the channel is taken before an item is read, so that a caller who does not take answers is
                // not read from either.
                let Ok(place) = answers.clone().reserve_owned().await else { return };
                let item = tokio::select! {
                    item = items.next() => item,
                    () = services.node.stopping() => {
                        place.send(Err(Status::from(Error::ShuttingDown)));
                        return;
                    }
                };
                let item = match item {
                    Some(Ok(item)) => item,
                    // The caller ended or broke off; what is under way still gets its answers.
                    Some(Err(_)) | None => return,
                };
                services.schedule_item(item, call.renewed(), place);
            }
        });
        Box::pin(ReceiverStream::new(stream))
    }

    fn schedule_item(
        &self,
        item: v1::ScheduleStreamRequest,
        call: Call,
        place: mpsc::OwnedPermit<Result<v1::ScheduleStreamResponse, Status>>,
    ) {
        let sequence = item.sequence;
        let answer = move |result: Result<v1::ScheduleResponse, Error>| {
            use v1::schedule_stream_response::Result as Item;
            let result = match result {
                Ok(ok) => Item::Ok(ok),
                Err(error) => Item::Error(status::rpc_status(error)),
            };
            place.send(Ok(v1::ScheduleStreamResponse { sequence, result: Some(result) }));
        };
        let Some(message) = item.item else {
            answer(Err(Error::invalid("item", "expected a request, got none")));
            return;
        };
        let services = self.clone();
        tokio::spawn(async move {
            let result = tokio::time::timeout(call.left(), services.schedule_one(message, call, "item.")).await;
            answer(result.unwrap_or_else(|_| Err(missing_answer())));
        });
    }

    pub(crate) async fn cancel_one(&self, message: v1::CancelRequest, call: Call) -> Result<v1::CancelResponse, Error> {
        let command = convert::cancel(message.clone(), "")?;
        let partition = self.node.partition_of(&command.namespace, &command.id);
        route!(self, call, partition, message, SchedulerServiceClient::cancel, {
            match self.decide(partition, Kind::Cancel(command)).await? {
                Reply::Ended(receipt) => {
                    Ok(v1::CancelResponse { receipt: Some(convert::receipt(partition.number(), &receipt)) })
                }
                other => Err(unexpected("Cancel", other)),
            }
        })
    }

    pub(crate) async fn reschedule_one(
        &self,
        message: v1::RescheduleRequest,
        call: Call,
    ) -> Result<v1::RescheduleResponse, Error> {
        let command = convert::reschedule(message.clone(), self.node.zones())?;
        let local = command.local.clone();
        let partition = self.node.partition_of(&command.namespace, &command.id);
        route!(self, call, partition, message, SchedulerServiceClient::reschedule, {
            match self.decide(partition, Kind::Reschedule(command)).await? {
                Reply::Moved(receipt) => Ok(v1::RescheduleResponse {
                    due: Some(convert::moment(receipt.due)),
                    generation: receipt.generation.number(),
                    receipt: Some(convert::receipt(partition.number(), &receipt)),
                    local_time: local.map(convert::local_time),
                }),
                other => Err(unexpected("Reschedule", other)),
            }
        })
    }

    pub(crate) async fn run_one_now(
        &self,
        message: v1::RunNowRequest,
        call: Call,
    ) -> Result<v1::RunNowResponse, Error> {
        let command = convert::run_now(message.clone())?;
        let partition = self.node.partition_of(&command.namespace, &command.id);
        route!(self, call, partition, message, SchedulerServiceClient::run_now, {
            match self.decide(partition, Kind::RunNow(command)).await? {
                Reply::Moved(receipt) => Ok(v1::RunNowResponse {
                    generation: receipt.generation.number(),
                    receipt: Some(convert::receipt(partition.number(), &receipt)),
                }),
                other => Err(unexpected("RunNow", other)),
            }
        })
    }

    pub(crate) async fn get_one(&self, message: v1::GetRequest, call: Call) -> Result<v1::GetResponse, Error> {
        let mut v = Violations::new();
        let namespace = v.namespace("namespace", message.namespace.clone());
        v.id("id", &message.id);
        v.finish(())?;
        let partition = self.node.partition_of(&namespace, &message.id);
        route!(self, call, partition, message, SchedulerServiceClient::get, {
            let found = partition.read(|rows| read::get(rows, &namespace, &message.id)).await?;
            let number = partition.number();
            let view = found.ok_or(Error::Refused { partition: number, refusal: Refusal::NotFound })?;
            Ok(v1::GetResponse { trigger: partition.shown(vec![view]).await.pop() })
        })
    }

    async fn cancel_batch(
        &self,
        message: v1::BatchCancelRequest,
        call: Call,
    ) -> Result<v1::BatchCancelResponse, Error> {
        let mut v = Violations::new();
        v.batch("items", message.items.len());
        v.finish(())?;
        // Polled in order, so that all are queued before any is answered.
        let items = message.items.into_iter().map(|item| self.cancel_one(item, call));
        let results = futures::future::join_all(items).await.into_iter().enumerate().map(|(place, result)| {
            use v1::batch_cancel_result::Result as Item;
            let item = match result {
                Ok(ok) => Item::Ok(ok),
                Err(Error::Invalid(mut found)) => {
                    found.iter_mut().for_each(|one| one.field = format!("items[{place}].{}", one.field));
                    Item::Error(status::rpc_status(Error::Invalid(found)))
                }
                Err(error) => Item::Error(status::rpc_status(error)),
            };
            v1::BatchCancelResult { result: Some(item) }
        });
        Ok(v1::BatchCancelResponse { results: results.collect() })
    }
}

/// A Schedule that is queued.
struct Scheduling {
    partition: u32,
    namespace: String,
    id: String,
    awaited: Awaited,
}

impl Scheduling {
    async fn finish(self) -> Result<v1::ScheduleResponse, Error> {
        match self.awaited.answer().await?.accepted(self.partition)? {
            Reply::Scheduled { receipt, replayed, local } => {
                Ok(convert::schedule_response(self.partition, self.namespace, self.id, &receipt, replayed, local))
            }
            other => Err(unexpected("Schedule", other)),
        }
    }
}

fn with_id(mut message: v1::ScheduleRequest) -> v1::ScheduleRequest {
    if message.id.is_empty() {
        message.id = uuid::Uuid::now_v7().to_string();
    }
    message
}

/// A reply that the command cannot have.
pub(crate) fn unexpected(command: &str, reply: Reply) -> Error {
    Error::Internal(format!("{command} was answered with {reply:?}"))
}

fn missing_answer() -> Error {
    Error::OutcomeUnknown { reason: "no answer in time".into() }
}

/// The states of the core that a public state stands for.
pub(crate) fn states_of(v: &mut Violations, field: &str, states: &[i32]) -> Vec<Outcome> {
    let mut found = Vec::new();
    for (place, state) in states.iter().enumerate() {
        match v1::TriggerState::try_from(*state) {
            Ok(v1::TriggerState::Scheduled) => found.push(Outcome::Scheduled),
            Ok(v1::TriggerState::Fired) => found.extend([Outcome::Fired, Outcome::Retrying]),
            Ok(v1::TriggerState::Completed) => found.push(Outcome::Completed),
            Ok(v1::TriggerState::DeadLettered) => found.push(Outcome::DeadLettered),
            Ok(v1::TriggerState::Cancelled) => found.push(Outcome::Cancelled),
            Ok(v1::TriggerState::Unspecified) | Err(_) => {
                v.push(&format!("{field}[{place}]"), format!("expected a number of TriggerState, got {state}"));
            }
        }
    }
    found
}
