//! A partition leader in this process, reached through memory, whose every word the test says itself.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use client::Client;
use futures::{Stream, StreamExt};
use hyper_util::rt::TokioIo;
use proto::v1::executor_service_server::{ExecutorService, ExecutorServiceServer};
use proto::v1::*;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

type Leaders = Arc<Mutex<Vec<PartitionLeader>>>;

/// Nodes by name, and who is said to lead.
pub struct Net {
    pub leaders: Leaders,
    nodes: Arc<Mutex<HashMap<String, mpsc::UnboundedSender<std::io::Result<DuplexStream>>>>>,
    wires: Arc<Mutex<HashMap<String, Vec<JoinHandle<()>>>>>,
    sessions: mpsc::UnboundedSender<Session>,
    pub opened: mpsc::UnboundedReceiver<Session>,
}

/// One work stream, from the server's side.
pub struct Session {
    pub node: String,
    pub hello: Hello,
    requests: Streaming<WorkRequest>,
    answers: mpsc::UnboundedSender<Result<WorkResponse, Status>>,
    counter: u64,
}

impl Net {
    pub fn with(names: &[&str]) -> Net {
        let (sessions, opened) = mpsc::unbounded_channel();
        let net = Net { leaders: Arc::default(), nodes: Arc::default(), wires: Arc::default(), sessions, opened };
        names.iter().for_each(|name| net.start(name));
        net
    }

    fn start(&self, name: &str) {
        let (connections, incoming) = mpsc::unbounded_channel();
        let node = Node { name: name.to_owned(), leaders: self.leaders.clone(), sessions: self.sessions.clone() };
        let server = Server::builder()
            .add_service(ExecutorServiceServer::new(node))
            .serve_with_incoming(UnboundedReceiverStream::new(incoming));
        tokio::spawn(async move { server.await.expect("fake server") });
        self.nodes.lock().unwrap().insert(name.to_owned(), connections);
    }

    /// Cuts every connection of a node; new ones are refused.
    pub fn kill(&self, name: &str) {
        self.nodes.lock().unwrap().remove(name);
        for wire in self.wires.lock().unwrap().remove(name).unwrap_or_default() {
            wire.abort();
        }
    }

    pub fn lead(&self, partition: u32, node: &str, term: u64) {
        let mut leaders = self.leaders.lock().unwrap();
        leaders.retain(|leader| leader.partition != partition);
        let endpoint = format!("http://{node}");
        leaders.push(PartitionLeader { partition, endpoint, node: 1, term });
    }

    pub fn client(&self, endpoints: &[&str]) -> Client {
        let (nodes, wires) = (self.nodes.clone(), self.wires.clone());
        let builder = Client::builder().endpoints(endpoints).dial(move |endpoint| {
            let (nodes, wires) = (nodes.clone(), wires.clone());
            endpoint.connect_with_connector_lazy(tower::service_fn(move |uri: http::Uri| {
                let (nodes, wires) = (nodes.clone(), wires.clone());
                async move {
                    let name = uri.authority().expect("an authority").to_string();
                    let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
                    let node = nodes.lock().unwrap().get(&name).cloned().ok_or_else(refused)?;
                    let (near, mut near_wire) = tokio::io::duplex(64 << 10);
                    let (far, mut far_wire) = tokio::io::duplex(64 << 10);
                    node.send(Ok(far)).map_err(|_| refused())?;
                    let wire = tokio::spawn(async move {
                        let _ = tokio::io::copy_bidirectional(&mut near_wire, &mut far_wire).await;
                    });
                    wires.lock().unwrap().entry(name).or_default().push(wire);
                    Ok::<_, std::io::Error>(TokioIo::new(near))
                }
            }))
        });
        builder.connect_lazy().expect("endpoints are right")
    }

    /// The next stream an executor opens.
    pub async fn session(&mut self) -> Session {
        self.opened.recv().await.expect("the net lives")
    }
}

impl Session {
    /// Greets back; everything held is adopted.
    pub fn welcome(&self) {
        let welcome = Welcome { adopted: self.hello.held.clone(), ..Welcome::default() };
        self.say(work_response::Message::Welcome(welcome));
    }

    pub fn say(&self, message: work_response::Message) {
        // One that has hung up does not hear it.
        let _ = self.answers.send(Ok(WorkResponse { message: Some(message) }));
    }

    pub fn deliver(&mut self, topic: &str, id: &str, attempt: u32) {
        self.counter += 1;
        let delivery = Delivery {
            id: id.to_owned(),
            topic: topic.to_owned(),
            generation: 4096,
            attempt,
            partition: self.hello.partition,
            lease: Some(prost_types::Duration { seconds: 10, nanos: 0 }),
            token: Some(FencingToken { epoch: 1, term: 1, counter: self.counter }),
            ..Delivery::default()
        };
        self.say(work_response::Message::Deliveries(Deliveries { deliveries: vec![delivery] }));
    }

    /// The next thing the executor says; `None` when it has hung up.
    pub async fn heard(&mut self) -> Option<work_request::Message> {
        self.requests.next().await?.ok()?.message
    }

    /// The next outcomes, whatever else is said before.
    pub async fn outcomes(&mut self) -> Vec<DeliveryOutcome> {
        loop {
            match self.heard().await.expect("the executor is there") {
                work_request::Message::Outcomes(report) => return report.outcomes,
                _ => continue,
            }
        }
    }

    pub fn accept(&self, outcomes: &[DeliveryOutcome]) {
        let results = outcomes.iter().map(|outcome| OutcomeResult {
            sequence: outcome.sequence,
            verdict: OutcomeVerdict::Accepted.into(),
            receipt: None,
            error: None,
        });
        self.say(work_response::Message::Results(OutcomeResults { results: results.collect() }));
    }
}

struct Node {
    name: String,
    leaders: Leaders,
    sessions: mpsc::UnboundedSender<Session>,
}

#[tonic::async_trait]
impl ExecutorService for Node {
    type WorkStream = Pin<Box<dyn Stream<Item = Result<WorkResponse, Status>> + Send>>;

    async fn work(&self, request: Request<Streaming<WorkRequest>>) -> Result<Response<Self::WorkStream>, Status> {
        let mut requests = request.into_inner();
        let first = requests.message().await?.and_then(|request| request.message);
        let Some(work_request::Message::Hello(hello)) = first else {
            return Err(Status::invalid_argument("the first message must be the hello"));
        };
        let (answers, stream) = mpsc::unbounded_channel();
        let session = Session { node: self.name.clone(), hello, requests, answers, counter: 0 };
        // A test that is over does not care.
        let _ = self.sessions.send(session);
        Ok(Response::new(UnboundedReceiverStream::new(stream).boxed()))
    }

    async fn leaders(&self, _: Request<LeadersRequest>) -> Result<Response<LeadersResponse>, Status> {
        let leaders = self.leaders.lock().unwrap().clone();
        Ok(Response::new(LeadersResponse { leaders }))
    }

    async fn poll(&self, _: Request<PollRequest>) -> Result<Response<PollResponse>, Status> {
        Err(Status::unimplemented("streams only"))
    }

    async fn complete(&self, _: Request<CompleteRequest>) -> Result<Response<CompleteResponse>, Status> {
        Err(Status::unimplemented("streams only"))
    }
}
