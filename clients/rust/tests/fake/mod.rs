//! Nodes in this process, reached through memory: no socket, so that the paused clock rules all waiting.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use client::{Builder, Client};
use futures::{Stream, StreamExt};
use hyper_util::rt::TokioIo;
use proto::v1::scheduler_service_server::{SchedulerService, SchedulerServiceServer};
use proto::v1::*;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt};

/// What a node does to the next call it gets.
#[derive(Clone)]
pub enum Fault {
    /// Answers no, without effect.
    Refuse(Status),
    /// Never answers, without effect.
    Hang,
    /// Takes effect, and the answer is lost.
    LoseAnswer,
}

/// What all nodes share: the truth.
#[derive(Default)]
pub struct Truth {
    pub triggers: BTreeMap<String, ScheduleRequest>,
    /// (node, method) of every call that arrived.
    pub calls: Vec<(String, &'static str)>,
    pub faults: HashMap<String, VecDeque<Fault>>,
    /// Ids refused once each inside batches and streams.
    pub overloaded_once: Vec<String>,
    /// What `leaders` answers: (partition, endpoint, term).
    pub leaders: Vec<(u32, String, u64)>,
    /// Events of every watch, by cursor.
    pub events: Vec<WatchResponse>,
    /// A stream breaks after this many items, once.
    pub break_stream_after: Option<usize>,
    /// A stream reads and does not answer, once.
    pub stall_stream: bool,
}

/// A cluster of fakes.
#[derive(Clone, Default)]
pub struct Net {
    pub truth: Arc<Mutex<Truth>>,
    nodes: Arc<Mutex<HashMap<String, Node>>>,
}

struct Node {
    connections: mpsc::UnboundedSender<std::io::Result<DuplexStream>>,
    /// Aborting one cuts its connection.
    wires: Vec<JoinHandle<()>>,
    server: JoinHandle<()>,
}

impl Net {
    pub fn with(names: &[&str]) -> Net {
        let net = Net::default();
        names.iter().for_each(|name| net.start(name));
        net
    }

    pub fn start(&self, name: &str) {
        let (connections, incoming) = mpsc::unbounded_channel();
        let fake = Fake { name: format!("http://{name}"), truth: self.truth.clone() };
        let server = Server::builder()
            .add_service(SchedulerServiceServer::new(fake.clone()))
            .add_service(executor_service_server::ExecutorServiceServer::new(fake.clone()))
            .add_service(proto::admin::v1::cluster_service_server::ClusterServiceServer::new(fake))
            .serve_with_incoming(UnboundedReceiverStream::new(incoming));
        let server = tokio::spawn(async move { server.await.expect("fake server") });
        let node = Node { connections, wires: vec![], server };
        self.nodes.lock().unwrap().insert(name.to_owned(), node);
    }

    /// Cuts every connection; new ones are refused.
    pub fn kill(&self, name: &str) {
        let node = self.nodes.lock().unwrap().remove(name).expect("a running node");
        node.wires.iter().for_each(JoinHandle::abort);
        node.server.abort();
    }

    pub fn client(&self, endpoints: &[&str]) -> Builder {
        let nodes = self.nodes.clone();
        Client::builder().endpoints(endpoints).dial(move |endpoint| dial(endpoint, nodes.clone()))
    }

    pub fn fault(&self, name: &str, fault: Fault) {
        let mut truth = self.truth.lock().unwrap();
        truth.faults.entry(format!("http://{name}")).or_default().push_back(fault);
    }

    pub fn calls(&self, method: &str) -> Vec<String> {
        let truth = self.truth.lock().unwrap();
        truth.calls.iter().filter(|(_, m)| *m == method).map(|(node, _)| node.clone()).collect()
    }

    pub fn ids(&self) -> Vec<String> {
        self.truth.lock().unwrap().triggers.keys().cloned().collect()
    }
}

fn dial(endpoint: Endpoint, nodes: Arc<Mutex<HashMap<String, Node>>>) -> Channel {
    endpoint.connect_with_connector_lazy(tower::service_fn(move |uri: http::Uri| {
        let nodes = nodes.clone();
        async move {
            let authority = uri.authority().expect("an authority").to_string();
            let mut nodes = nodes.lock().unwrap();
            let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
            let node = nodes.get_mut(&authority).ok_or_else(refused)?;
            let (near, mut near_wire) = tokio::io::duplex(64 << 10);
            let (far, mut far_wire) = tokio::io::duplex(64 << 10);
            node.connections.send(Ok(far)).map_err(|_| refused())?;
            node.wires.push(tokio::spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut near_wire, &mut far_wire).await;
            }));
            Ok::<_, std::io::Error>(TokioIo::new(near))
        }
    }))
}

pub fn refusal(code: Code, reason: &str, metadata: &[(&str, &str)]) -> Status {
    let facts: HashMap<String, String> = metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, "bosingak", facts);
    Status::with_error_details(code, "no", details)
}

fn item_error(reason: &str) -> proto::RpcStatus {
    let status = refusal(Code::ResourceExhausted, reason, &[]);
    prost::Message::decode(status.details()).expect("details")
}

#[derive(Clone)]
struct Fake {
    name: String,
    truth: Arc<Mutex<Truth>>,
}

impl Fake {
    /// Records the call; what it is to suffer.
    fn arrived(&self, method: &'static str) -> Option<Fault> {
        let mut truth = self.truth.lock().unwrap();
        truth.calls.push((self.name.clone(), method));
        truth.faults.get_mut(&self.name).and_then(VecDeque::pop_front)
    }

    async fn suffer<T>(&self, method: &'static str, effect: impl FnOnce() -> T) -> Result<T, Status> {
        match self.arrived(method) {
            None => Ok(effect()),
            Some(Fault::Refuse(status)) => Err(status),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::LoseAnswer) => {
                effect();
                Err(Status::unavailable("the answer was lost"))
            }
        }
    }

    fn schedule_one(&self, request: ScheduleRequest) -> ScheduleResponse {
        let mut truth = self.truth.lock().unwrap();
        let id = request.id.clone();
        let replayed = truth.triggers.insert(id.clone(), request).is_some();
        ScheduleResponse { id, replayed, generation: 4096, ..ScheduleResponse::default() }
    }

    fn overloaded(&self, id: &str) -> bool {
        let mut truth = self.truth.lock().unwrap();
        let found = truth.overloaded_once.iter().position(|other| other == id);
        found.map(|at| truth.overloaded_once.remove(at)).is_some()
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl SchedulerService for Fake {
    type ScheduleStreamStream = ReceiverStream<Result<ScheduleStreamResponse, Status>>;
    type WatchStream = Answers<WatchResponse>;

    async fn schedule(&self, request: Request<ScheduleRequest>) -> Result<Response<ScheduleResponse>, Status> {
        let request = request.into_inner();
        self.suffer("schedule", || self.schedule_one(request)).await.map(Response::new)
    }

    async fn batch_schedule(
        &self,
        request: Request<BatchScheduleRequest>,
    ) -> Result<Response<BatchScheduleResponse>, Status> {
        use batch_schedule_result::Result as Item;
        let items = request.into_inner().items;
        let answer = self
            .suffer("batch_schedule", || {
                let results = items.into_iter().map(|item| {
                    let result = match self.overloaded(&item.id) {
                        true => Item::Error(item_error("OVERLOADED")),
                        false => Item::Ok(self.schedule_one(item)),
                    };
                    BatchScheduleResult { result: Some(result) }
                });
                BatchScheduleResponse { results: results.collect() }
            })
            .await?;
        Ok(Response::new(answer))
    }

    async fn schedule_stream(
        &self,
        request: Request<Streaming<ScheduleStreamRequest>>,
    ) -> Result<Response<Self::ScheduleStreamStream>, Status> {
        use schedule_stream_response::Result as Item;
        if let Some(Fault::Refuse(status)) = self.arrived("schedule_stream") {
            return Err(status);
        }
        let mut requests = request.into_inner();
        let (answers, stream) = mpsc::channel(16);
        let fake = self.clone();
        tokio::spawn(async move {
            let (limit, stalled) = {
                let mut truth = fake.truth.lock().unwrap();
                (truth.break_stream_after.take(), std::mem::take(&mut truth.stall_stream))
            };
            let mut taken = 0;
            while let Some(Ok(request)) = requests.next().await {
                if stalled {
                    continue;
                }
                let item = request.item.unwrap_or_default();
                let result = match fake.overloaded(&item.id) {
                    true => Item::Error(item_error("OVERLOADED")),
                    false => Item::Ok(fake.schedule_one(item)),
                };
                taken += 1;
                if limit.is_some_and(|limit| taken > limit) {
                    // This one took effect and is not answered.
                    let _ = answers.send(Err(Status::unavailable("going down"))).await;
                    return;
                }
                let answer = ScheduleStreamResponse { sequence: request.sequence, result: Some(result) };
                if answers.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let cursor = request.into_inner().cursor;
        if let Some(Fault::Refuse(status)) = self.arrived("watch") {
            return Err(status);
        }
        let truth = self.truth.lock().unwrap();
        let after = truth.events.iter().position(|e| e.cursor == cursor).map_or(0, |at| at + 1);
        // Two at a time, and then the node goes away.
        let some: Vec<_> = truth.events.iter().skip(after).take(2).cloned().map(Ok).collect();
        let events: Answers<WatchResponse> = match some.is_empty() {
            true => futures::stream::pending().boxed(),
            false => futures::stream::iter(some).boxed(),
        };
        Ok(Response::new(events))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let token = request.into_inner().page_token;
        self.suffer("list", || {
            let truth = self.truth.lock().unwrap();
            let rest: Vec<&String> = truth.triggers.keys().filter(|id| **id > token).collect();
            let triggers: Vec<Trigger> =
                rest.iter().take(2).map(|id| Trigger { id: (*id).clone(), ..Trigger::default() }).collect();
            let next = if rest.len() > 2 { triggers[1].id.clone() } else { String::new() };
            ListResponse { triggers, next_page_token: next }
        })
        .await
        .map(Response::new)
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Result<Response<CancelResponse>, Status> {
        let request = request.into_inner();
        assert!(!request.request_id.is_empty(), "a mutating call carries a request id");
        self.suffer("cancel", CancelResponse::default).await.map(Response::new)
    }

    async fn batch_cancel(&self, _: Request<BatchCancelRequest>) -> Result<Response<BatchCancelResponse>, Status> {
        Err(Status::unimplemented("not part of these tests"))
    }

    async fn reschedule(&self, _: Request<RescheduleRequest>) -> Result<Response<RescheduleResponse>, Status> {
        Err(Status::unimplemented("not part of these tests"))
    }

    async fn run_now(&self, _: Request<RunNowRequest>) -> Result<Response<RunNowResponse>, Status> {
        Err(Status::unimplemented("not part of these tests"))
    }

    async fn get(&self, _: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        Err(refusal(Code::NotFound, "NOT_FOUND", &[]))
    }

    async fn forecast(&self, _: Request<ForecastRequest>) -> Result<Response<ForecastResponse>, Status> {
        Err(Status::unimplemented("not part of these tests"))
    }
}

#[tonic::async_trait]
impl executor_service_server::ExecutorService for Fake {
    type WorkStream = Answers<WorkResponse>;

    async fn work(&self, _: Request<Streaming<WorkRequest>>) -> Result<Response<Self::WorkStream>, Status> {
        Err(Status::unimplemented("not part of these tests"))
    }

    async fn poll(&self, _: Request<PollRequest>) -> Result<Response<PollResponse>, Status> {
        self.suffer("poll", PollResponse::default).await.map(Response::new)
    }

    async fn complete(&self, _: Request<CompleteRequest>) -> Result<Response<CompleteResponse>, Status> {
        self.suffer("complete", CompleteResponse::default).await.map(Response::new)
    }

    async fn leaders(&self, _: Request<LeadersRequest>) -> Result<Response<LeadersResponse>, Status> {
        self.suffer("leaders", || {
            let truth = self.truth.lock().unwrap();
            let leaders = truth.leaders.iter().map(|(partition, endpoint, term)| PartitionLeader {
                partition: *partition,
                endpoint: endpoint.clone(),
                term: *term,
                node: 1,
            });
            LeadersResponse { leaders: leaders.collect() }
        })
        .await
        .map(Response::new)
    }
}

// The whole impl comes out of the macro: async_trait sees nothing that a macro inside it would make.
macro_rules! cluster_service {
    ($($name:ident $request:ident $response:ident)*) => {
        #[tonic::async_trait]
        impl proto::admin::v1::cluster_service_server::ClusterService for Fake {
            $(async fn $name(
                &self,
                _: Request<proto::admin::v1::$request>,
            ) -> Result<Response<proto::admin::v1::$response>, Status> {
                self.suffer(stringify!($name), Default::default).await.map(Response::new)
            })*
        }
    };
}

cluster_service! {
    status StatusRequest StatusResponse
    transfer_leader TransferLeaderRequest TransferLeaderResponse
    add_node AddNodeRequest AddNodeResponse
    remove_node RemoveNodeRequest RemoveNodeResponse
    drain_node DrainNodeRequest DrainNodeResponse
    accept_clock AcceptClockRequest AcceptClockResponse
    advance_clock AdvanceClockRequest AdvanceClockResponse
    list_late ListLateRequest ListLateResponse
}
