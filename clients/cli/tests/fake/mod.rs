//! A server in this process that knows one of everything, on a port of its own.

mod gifts;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use prost_types::Timestamp;
use proto::admin::v1::cluster_service_server::{ClusterService, ClusterServiceServer};
use proto::admin::v1::*;
use proto::gift::v1::gift_service_server::GiftServiceServer;
use proto::payment::v1::payment_service_server::PaymentServiceServer;
use proto::product::v1::product_service_server::ProductServiceServer;
use proto::v1::dead_letter_service_server::{DeadLetterService, DeadLetterServiceServer};
use proto::v1::executor_service_server::{ExecutorService, ExecutorServiceServer};
use proto::v1::scheduler_service_server::{SchedulerService, SchedulerServiceServer};
use proto::v1::topic_service_server::{TopicService, TopicServiceServer};
use proto::v1::*;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt};

/// Starts one within its own runtime; where it listens.
pub fn start() -> (SocketAddr, tokio::runtime::Runtime) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("an address");
    let fake = Fake { address };
    runtime.spawn(async move {
        Server::builder()
            .add_service(SchedulerServiceServer::new(fake.clone()))
            .add_service(ExecutorServiceServer::new(fake.clone()))
            .add_service(TopicServiceServer::new(fake.clone()))
            .add_service(DeadLetterServiceServer::new(fake.clone()))
            .add_service(GiftServiceServer::new(fake.clone()))
            .add_service(ProductServiceServer::new(fake.clone()))
            .add_service(PaymentServiceServer::new(fake.clone()))
            .add_service(ClusterServiceServer::new(fake))
            .serve_with_incoming(TcpListenerStream::new(listener))
            .await
            .expect("the fake serves");
    });
    (address, runtime)
}

#[derive(Clone)]
struct Fake {
    address: SocketAddr,
}

type Answer<T> = Result<Response<T>, Status>;
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn ok<T>(answer: T) -> Answer<T> {
    Ok(Response::new(answer))
}

fn moment(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 0 })
}

fn receipt(outcome: Outcome) -> Option<Receipt> {
    Some(Receipt {
        partition: 1,
        log_index: 20,
        generation: 81_920,
        due: moment(1_802_530_800),
        outcome: outcome.into(),
        executor: "e-1".into(),
        ..Receipt::default()
    })
}

fn trigger(id: &str) -> Trigger {
    Trigger {
        namespace: "default".into(),
        id: id.into(),
        topic: "gift".into(),
        due: moment(1_802_530_800),
        payload: "보신각 \u{1b}[31m".into(),
        state: TriggerState::Scheduled.into(),
        generation: 81_920,
        labels: [("customer".to_owned(), "42".to_owned())].into(),
        ..Trigger::default()
    }
}

fn topic(name: &str) -> Option<Topic> {
    Some(Topic {
        namespace: "default".into(),
        name: name.into(),
        limits: Some(TopicLimits { rate_per_second: Some(100), ..TopicLimits::default() }),
        version: 3,
        counts: Some(TopicCounts { scheduled: 7, ..TopicCounts::default() }),
        ..Topic::default()
    })
}

/// Ids that begin with the name of a reason are refused with it.
fn refused(id: &str) -> Result<(), Status> {
    let (code, reason) = match id {
        "missing" => (Code::NotFound, "NOT_FOUND"),
        "fired" => (Code::FailedPrecondition, "ALREADY_FIRED"),
        "moved" => (Code::Aborted, "VERSION_MISMATCH"),
        "denied" => (Code::PermissionDenied, ""),
        "wrong" => (Code::InvalidArgument, "INVALID_FIELD"),
        "down" => (Code::Unavailable, "NO_QUORUM"),
        _ => return Ok(()),
    };
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, "bosingak", HashMap::new());
    if id == "wrong" {
        details.add_bad_request_violation("id", "has a space in it");
    }
    let status = Status::with_error_details(code, "refused", details);
    if id != "fired" {
        return Err(status);
    }
    let mut raw = as_item(status);
    raw.details.push(prost_types::Any {
        type_url: "type.googleapis.com/bosingak.v1.Receipt".into(),
        value: prost::Message::encode_to_vec(&receipt(Outcome::Fired).expect("there is one")),
    });
    let details = prost::Message::encode_to_vec(&raw);
    Err(Status::with_details(code, "refused", details.into()))
}

fn as_item(status: Status) -> proto::RpcStatus {
    prost::Message::decode(status.details()).expect("details")
}

#[tonic::async_trait]
impl SchedulerService for Fake {
    type ScheduleStreamStream = Answers<ScheduleStreamResponse>;
    type WatchStream = Answers<WatchResponse>;

    async fn schedule(&self, request: Request<ScheduleRequest>) -> Answer<ScheduleResponse> {
        let request = request.into_inner();
        refused(&request.id)?;
        let local_time = match request.when.and_then(|when| when.when) {
            Some(when::When::Local(local)) => Some(local),
            _ => None,
        };
        ok(ScheduleResponse {
            namespace: request.namespace,
            id: request.id,
            due: moment(1_802_530_800),
            generation: 81_920,
            receipt: receipt(Outcome::Scheduled),
            local_time,
            ..ScheduleResponse::default()
        })
    }

    async fn batch_schedule(&self, request: Request<BatchScheduleRequest>) -> Answer<BatchScheduleResponse> {
        use batch_schedule_result::Result as Item;
        let results = request.into_inner().items.into_iter().map(|item| {
            let result = match refused(&item.id) {
                Ok(()) => Item::Ok(ScheduleResponse { id: item.id, ..ScheduleResponse::default() }),
                Err(status) => Item::Error(as_item(status)),
            };
            BatchScheduleResult { result: Some(result) }
        });
        ok(BatchScheduleResponse { results: results.collect() })
    }

    async fn schedule_stream(
        &self,
        _: Request<Streaming<ScheduleStreamRequest>>,
    ) -> Answer<Self::ScheduleStreamStream> {
        Err(Status::unimplemented("the command line does not stream"))
    }

    async fn cancel(&self, _: Request<CancelRequest>) -> Answer<CancelResponse> {
        Err(Status::unimplemented("the command line cancels in batches"))
    }

    async fn batch_cancel(&self, request: Request<BatchCancelRequest>) -> Answer<BatchCancelResponse> {
        use batch_cancel_result::Result as Item;
        let results = request.into_inner().items.into_iter().map(|item| {
            let result = match refused(&item.id) {
                Ok(()) => Item::Ok(CancelResponse { receipt: receipt(Outcome::Cancelled) }),
                Err(status) => Item::Error(as_item(status)),
            };
            BatchCancelResult { result: Some(result) }
        });
        ok(BatchCancelResponse { results: results.collect() })
    }

    async fn reschedule(&self, request: Request<RescheduleRequest>) -> Answer<RescheduleResponse> {
        refused(&request.into_inner().id)?;
        ok(RescheduleResponse { generation: 81_921, ..RescheduleResponse::default() })
    }

    async fn run_now(&self, request: Request<RunNowRequest>) -> Answer<RunNowResponse> {
        refused(&request.into_inner().id)?;
        ok(RunNowResponse { generation: 81_921, receipt: receipt(Outcome::Fired) })
    }

    async fn get(&self, request: Request<GetRequest>) -> Answer<GetResponse> {
        let id = request.into_inner().id;
        refused(&id)?;
        ok(GetResponse { trigger: Some(trigger(&id)) })
    }

    /// Five in all, two pages.
    async fn list(&self, request: Request<ListRequest>) -> Answer<ListResponse> {
        let request = request.into_inner();
        let from: u32 = request.page_token.parse().unwrap_or(0);
        let to = (from + request.page_size.min(3)).min(5);
        let next = if to < 5 { to.to_string() } else { String::new() };
        let triggers = (from..to).map(|n| trigger(&format!("선물-{n}"))).collect();
        ok(ListResponse { triggers, next_page_token: next })
    }

    async fn watch(&self, _: Request<WatchRequest>) -> Answer<Self::WatchStream> {
        let event = |kind: WatchEventKind, cursor: &str| {
            let trigger = (kind != WatchEventKind::Synced).then(|| trigger("x"));
            Ok(WatchResponse { kind: kind.into(), trigger, cursor: cursor.into() })
        };
        let events = vec![
            event(WatchEventKind::Listed, "c1"),
            event(WatchEventKind::Synced, "c2"),
            event(WatchEventKind::Changed, "c3"),
        ];
        let quiet = futures::stream::pending();
        ok(futures::stream::iter(events).chain(quiet).boxed())
    }

    async fn forecast(&self, _: Request<ForecastRequest>) -> Answer<ForecastResponse> {
        let cell = |n: i64, count| ForecastCell {
            start: moment(1_802_530_800 + 60 * n),
            width: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
            count,
            topics: vec![ForecastTopicCount { topic: "gift".into(), count }],
        };
        ok(ForecastResponse {
            cells: vec![cell(0, 100_000), cell(1, 50_000), cell(2, 1)],
            beyond: 12,
            as_of: moment(1_802_530_000),
        })
    }
}

#[tonic::async_trait]
impl TopicService for Fake {
    async fn get_topic(&self, request: Request<GetTopicRequest>) -> Answer<GetTopicResponse> {
        let name = request.into_inner().name;
        refused(&name)?;
        ok(GetTopicResponse { topic: topic(&name) })
    }

    async fn list_topics(&self, _: Request<ListTopicsRequest>) -> Answer<ListTopicsResponse> {
        ok(ListTopicsResponse { topics: topic("gift").into_iter().collect() })
    }

    async fn update_topic(&self, request: Request<UpdateTopicRequest>) -> Answer<UpdateTopicResponse> {
        let request = request.into_inner();
        let topic = Topic { limits: request.limits, ..topic(&request.name).unwrap_or_default() };
        ok(UpdateTopicResponse { topic: Some(topic) })
    }

    async fn pause_topic(&self, request: Request<PauseTopicRequest>) -> Answer<PauseTopicResponse> {
        let topic = Topic { paused: true, ..topic(&request.into_inner().name).unwrap_or_default() };
        ok(PauseTopicResponse { topic: Some(topic) })
    }

    async fn resume_topic(&self, request: Request<ResumeTopicRequest>) -> Answer<ResumeTopicResponse> {
        ok(ResumeTopicResponse { topic: topic(&request.into_inner().name) })
    }
}

#[tonic::async_trait]
impl DeadLetterService for Fake {
    async fn list_dead_letters(&self, _: Request<ListDeadLettersRequest>) -> Answer<ListDeadLettersResponse> {
        let mut dead = trigger("dead");
        dead.state = TriggerState::DeadLettered.into();
        dead.last_error = "vendor said no\nand again no".into();
        dead.attempt = 5;
        ok(ListDeadLettersResponse { triggers: vec![dead], next_page_token: String::new() })
    }

    async fn requeue_dead_letter(
        &self,
        request: Request<RequeueDeadLetterRequest>,
    ) -> Answer<RequeueDeadLetterResponse> {
        refused(&request.into_inner().id)?;
        ok(RequeueDeadLetterResponse { generation: 81_922, receipt: receipt(Outcome::Fired) })
    }

    async fn drop_dead_letter(&self, request: Request<DropDeadLetterRequest>) -> Answer<DropDeadLetterResponse> {
        refused(&request.into_inner().id)?;
        ok(DropDeadLetterResponse { receipt: receipt(Outcome::DeadLettered) })
    }
}

#[tonic::async_trait]
impl ExecutorService for Fake {
    type WorkStream = Answers<WorkResponse>;

    /// Greets, delivers one trigger, and accepts what is reported.
    async fn work(&self, request: Request<Streaming<WorkRequest>>) -> Answer<Self::WorkStream> {
        let mut requests = request.into_inner();
        let (answers, stream) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let say = |message| answers.send(Ok(WorkResponse { message: Some(message) }));
            while let Some(Ok(request)) = requests.next().await {
                let said = match request.message {
                    Some(work_request::Message::Hello(hello)) => {
                        let delivery = Delivery {
                            id: "delivered".into(),
                            topic: hello.topics[0].clone(),
                            payload: "종".into(),
                            generation: 81_920,
                            attempt: 1,
                            lease: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
                            ..Delivery::default()
                        };
                        let deliveries = Deliveries { deliveries: vec![delivery] };
                        say(work_response::Message::Welcome(Welcome::default()))
                            .and_then(|()| say(work_response::Message::Deliveries(deliveries)))
                    }
                    Some(work_request::Message::Outcomes(report)) => {
                        let results = report.outcomes.iter().map(|outcome| OutcomeResult {
                            sequence: outcome.sequence,
                            verdict: OutcomeVerdict::Accepted.into(),
                            ..OutcomeResult::default()
                        });
                        say(work_response::Message::Results(OutcomeResults { results: results.collect() }))
                    }
                    _ => Ok(()),
                };
                if said.is_err() {
                    return;
                }
            }
        });
        ok(UnboundedReceiverStream::new(stream).boxed())
    }

    async fn poll(&self, _: Request<PollRequest>) -> Answer<PollResponse> {
        Err(Status::unimplemented("the command line streams"))
    }

    async fn complete(&self, _: Request<CompleteRequest>) -> Answer<CompleteResponse> {
        Err(Status::unimplemented("the command line streams"))
    }

    async fn leaders(&self, _: Request<LeadersRequest>) -> Answer<LeadersResponse> {
        let endpoint = format!("http://{}", self.address);
        let leader = PartitionLeader { partition: 0, endpoint, node: 1, term: 1 };
        ok(LeadersResponse { leaders: vec![leader] })
    }
}

#[tonic::async_trait]
impl ClusterService for Fake {
    async fn status(&self, _: Request<StatusRequest>) -> Answer<StatusResponse> {
        let node = |node, reachable| NodeStatus {
            node,
            endpoint: format!("http://node-{node}:7300"),
            peer_endpoint: format!("http://node-{node}:7301"),
            reachable,
            draining: false,
            feature_level: if reachable { 1 } else { 0 },
        };
        ok(StatusResponse {
            cluster: "demo".into(),
            node: 1,
            version: "0.1.0".into(),
            nodes: vec![node(1, true), node(2, true), node(3, false)],
            partitions: vec![PartitionStatus {
                partition: 0,
                leader: 1,
                term: 4,
                applied_index: 99,
                committed_index: 100,
                watermark: moment(1_802_530_800),
                voters: vec![1, 2, 3],
                lag: [(3, 12)].into(),
                canary_age: Some(prost_types::Duration { seconds: 41, nanos: 0 }),
                canary_overdue: true,
                ..PartitionStatus::default()
            }],
            alarms: vec!["node 3 is unreachable".into()],
            executors: vec![ExecutorStatus {
                executor: "e-1".into(),
                topics: vec!["gift".into()],
                ..ExecutorStatus::default()
            }],
        })
    }

    async fn list_late(&self, request: Request<ListLateRequest>) -> Answer<ListLateResponse> {
        let request = request.into_inner();
        let late = |id: &str, cause: LateCause, detail: &str| LateTrigger {
            node: request.node.max(1),
            namespace: "default".into(),
            topic: "gift".into(),
            id: id.into(),
            due: moment(1_802_530_800),
            until: moment(1_802_530_802),
            late: Some(prost_types::Duration { seconds: 2, nanos: 500_000_000 }),
            cause: cause as i32,
            detail: detail.into(),
            ..LateTrigger::default()
        };
        let mut triggers =
            vec![late("g-2", LateCause::NoLeader, "no leader"), late("g-1", LateCause::RateLimit, "paused")];
        triggers.truncate(request.limit as usize);
        ok(ListLateResponse { triggers, missing: vec![3] })
    }

    async fn transfer_leader(&self, request: Request<TransferLeaderRequest>) -> Answer<TransferLeaderResponse> {
        ok(TransferLeaderResponse { leader: request.into_inner().to, term: 5 })
    }

    async fn add_node(&self, _: Request<AddNodeRequest>) -> Answer<AddNodeResponse> {
        ok(AddNodeResponse::default())
    }

    async fn remove_node(&self, _: Request<RemoveNodeRequest>) -> Answer<RemoveNodeResponse> {
        ok(RemoveNodeResponse::default())
    }

    async fn drain_node(&self, _: Request<DrainNodeRequest>) -> Answer<DrainNodeResponse> {
        ok(DrainNodeResponse::default())
    }

    async fn accept_clock(&self, _: Request<AcceptClockRequest>) -> Answer<AcceptClockResponse> {
        ok(AcceptClockResponse { accepted: moment(1_802_530_800) })
    }

    async fn advance_clock(&self, request: Request<AdvanceClockRequest>) -> Answer<AdvanceClockResponse> {
        let by = match request.into_inner().target {
            Some(advance_clock_request::Target::By(by)) => Duration::try_from(by).unwrap_or_default(),
            _ => Duration::ZERO,
        };
        ok(AdvanceClockResponse { now: moment(1_802_530_800 + by.as_secs() as i64), fired: 7 })
    }
}
