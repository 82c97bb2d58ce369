//! A server in the test's process, and what clients of it need.

use std::time::Duration;

use proto::admin::v1::cluster_service_client::ClusterServiceClient;
use proto::v1;
use proto::v1::executor_service_client::ExecutorServiceClient;
use proto::v1::scheduler_service_client::SchedulerServiceClient;
use server::clock::Clock;
use server::config::Config;
use server::node::{Listeners, Server};
use tokio::sync::mpsc;
use tonic::Streaming;
use tonic::transport::Channel;

/// Longer than anything here should take; a test that waits for it has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster of one node on free ports, and its directory.
pub struct One {
    pub server: Server,
    pub channel: Channel,
    pub dir: tempfile::TempDir,
}

impl One {
    pub async fn start() -> One {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> One {
        Self::open(tempfile::tempdir().expect("a directory"), Clock::real(), change).await
    }

    pub async fn open(dir: tempfile::TempDir, clock: Clock, change: impl FnOnce(&mut Config)) -> One {
        let one = Self::opening(dir, clock, change).await;
        within(one.server.node().ready()).await;
        one
    }

    /// Before anything is led.
    pub async fn opening(dir: tempfile::TempDir, clock: Clock, change: impl FnOnce(&mut Config)) -> One {
        let mut config = Config::for_tests(dir.path().join("data"));
        config.partitions = 2;
        change(&mut config);
        let listeners = Listeners::bind(&config).await.expect("free ports");
        let server = Server::start(config, listeners, clock).await.expect("starts");
        let channel = channel(&server.addresses().client.to_string());
        One { server, channel, dir }
    }

    pub fn scheduler(&self) -> SchedulerServiceClient<Channel> {
        SchedulerServiceClient::new(self.channel.clone())
    }

    pub fn admin(&self) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.channel.clone())
    }

    pub fn executor(&self) -> ExecutorServiceClient<Channel> {
        ExecutorServiceClient::new(self.channel.clone())
    }

    /// Executor streams, one per partition.
    pub async fn work(&self, executor: &str, topic: &str) -> Vec<Work> {
        let mut streams = Vec::new();
        for partition in 0..self.server.node().partitions().len() as u32 {
            streams.push(Work::open(self.executor(), executor, topic, partition, Vec::new()).await);
        }
        streams
    }

    pub async fn stop(self) -> tempfile::TempDir {
        within(self.server.stop()).await;
        self.dir
    }
}

pub fn channel(endpoint: &str) -> Channel {
    Channel::from_shared(format!("http://{endpoint}")).expect("an address").connect_lazy()
}

/// One stream of an executor.
pub struct Work {
    pub partition: u32,
    pub requests: mpsc::Sender<v1::WorkRequest>,
    pub answers: Streaming<v1::WorkResponse>,
    pub welcome: v1::Welcome,
}

impl Work {
    pub async fn open(
        mut client: ExecutorServiceClient<Channel>,
        executor: &str,
        topic: &str,
        partition: u32,
        held: Vec<v1::HeldLease>,
    ) -> Work {
        let (requests, outgoing) = mpsc::channel(64);
        let hello = v1::Hello {
            executor: executor.into(),
            topics: vec![topic.into()],
            partition,
            held,
            max_in_flight: 100,
            ..Default::default()
        };
        requests.send(request(v1::work_request::Message::Hello(hello))).await.expect("open");
        let outgoing = tokio_stream::wrappers::ReceiverStream::new(outgoing);
        let mut answers = within(client.work(outgoing)).await.expect("a stream").into_inner();
        match within(answers.message()).await.expect("no error").and_then(|answer| answer.message) {
            Some(v1::work_response::Message::Welcome(welcome)) => Work { partition, requests, answers, welcome },
            other => panic!("expected welcome, got {other:?}"),
        }
    }

    /// The next deliveries.
    pub async fn deliveries(&mut self) -> Vec<v1::Delivery> {
        loop {
            match within(self.next()).await {
                v1::work_response::Message::Deliveries(found) => return found.deliveries,
                v1::work_response::Message::Assignment(_) => {}
                other => panic!("expected deliveries, got {other:?}"),
            }
        }
    }

    /// The next verdicts.
    pub async fn results(&mut self) -> Vec<v1::OutcomeResult> {
        loop {
            match within(self.next()).await {
                v1::work_response::Message::Results(found) => return found.results,
                v1::work_response::Message::Assignment(_) => {}
                other => panic!("expected results, got {other:?}"),
            }
        }
    }

    pub async fn next(&mut self) -> v1::work_response::Message {
        self.answers.message().await.expect("no error").expect("not ended").message.expect("a message")
    }

    pub async fn report(&self, outcomes: Vec<v1::DeliveryOutcome>) {
        let report = v1::OutcomeReport { outcomes };
        self.requests.send(request(v1::work_request::Message::Outcomes(report))).await.expect("open");
    }
}

pub fn request(message: v1::work_request::Message) -> v1::WorkRequest {
    v1::WorkRequest { message: Some(message) }
}

/// Waits, but not for ever.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

/// Asks again until the answer is some.
pub async fn until<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    within(async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
}

pub fn success(delivery: &v1::Delivery) -> v1::DeliveryOutcome {
    outcome(delivery, v1::delivery_outcome::Outcome::Success(v1::Success::default()))
}

pub fn outcome(delivery: &v1::Delivery, outcome: v1::delivery_outcome::Outcome) -> v1::DeliveryOutcome {
    v1::DeliveryOutcome {
        namespace: delivery.namespace.clone(),
        id: delivery.id.clone(),
        generation: delivery.generation,
        token: delivery.token,
        sequence: delivery.generation,
        partition: delivery.partition,
        attempt: delivery.attempt,
        outcome: Some(outcome),
    }
}

/// A request for a trigger due this much later than the entry that takes it.
pub fn after(id: &str, topic: &str, delay: Duration) -> v1::ScheduleRequest {
    let delay = prost_types::Duration { seconds: delay.as_secs() as i64, nanos: delay.subsec_nanos() as i32 };
    schedule(id, topic, v1::when::When::After(delay))
}

pub fn schedule(id: &str, topic: &str, when: v1::when::When) -> v1::ScheduleRequest {
    v1::ScheduleRequest {
        id: id.into(),
        topic: topic.into(),
        when: Some(v1::When { when: Some(when) }),
        payload: "hello".into(),
        ..Default::default()
    }
}

/// The reason a call was refused with.
pub fn reason<T: std::fmt::Debug>(result: Result<T, tonic::Status>) -> (tonic::Code, String) {
    let status = result.expect_err("refused");
    let reason = server::status::reason_of(&status).unwrap_or_else(|| panic!("no reason in {status:?}"));
    (status.code(), reason)
}

/// A page over plain HTTP.
pub async fn page(address: std::net::SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut connection = tokio::net::TcpStream::connect(address).await.expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.expect("writes");
    let mut page = String::new();
    within(connection.read_to_string(&mut page)).await.expect("reads");
    page
}
