//! Streams with an acknowledgement per item.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::call::Problem;
use harness::caller;
use proto::v1;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

use super::acknowledge;
use crate::executors::lock;
use crate::histogram::Times;
use crate::load::Load;
use crate::meter::Meter;
use crate::router::Router;

/// Streams to each partition's leader.
const STREAMS: u32 = 2;

/// Streams to every leader, each keeping `window` items unanswered, until the meter is over.
pub async fn streams(
    router: &Arc<Router>,
    load: &Arc<Load>,
    meter: &Arc<Meter>,
    window: usize,
    due_ms: impl Fn(u64) -> i64 + Copy + Send + Sync + 'static,
) {
    let mut streams = JoinSet::new();
    for stream in 0..STREAMS * router.partitions() {
        let stream = Stream {
            router: router.clone(),
            load: load.clone(),
            meter: meter.clone(),
            partition: stream % router.partitions(),
            window,
            unanswered: HashMap::new(),
            latency: Times::default(),
        };
        streams.spawn(stream.run(due_ms));
    }
    while streams.join_next().await.is_some() {}
}

struct Stream {
    router: Arc<Router>,
    load: Arc<Load>,
    meter: Arc<Meter>,
    partition: u32,
    window: usize,
    /// By sequence, which is the number: when it was asked for, and due.
    unanswered: HashMap<u64, (Instant, i64)>,
    latency: Times,
}

impl Stream {
    async fn run(mut self, due_ms: impl Fn(u64) -> i64 + Sync) {
        // Somebody has to give up on a cluster that does not come back.
        let give_up = self.meter.end() + Duration::from_secs(30);
        while Instant::now() < give_up && !(self.meter.is_over() && self.unanswered.is_empty()) {
            if let Err(problem) = self.once(&due_ms).await {
                lock(&self.load.oracle).retry(&problem.label());
                self.router.kick();
                tokio::time::sleep(problem.retry_after.unwrap_or(Duration::from_millis(30))).await;
            }
        }
        let mut oracle = lock(&self.load.oracle);
        self.unanswered.iter().for_each(|_| oracle.fail("UNANSWERED"));
        self.meter.keep(&self.latency);
    }

    /// One stream, until it breaks or there is nothing more to do. What was unanswered before is sent again first.
    async fn once(&mut self, due_ms: &(impl Fn(u64) -> i64 + Sync)) -> Result<(), Problem> {
        let (to_server, requests) = mpsc::channel(self.window.max(1));
        for (number, (_, due_ms)) in &self.unanswered {
            drop(to_server.try_send(self.item(*number, *due_ms)));
        }
        let mut client = caller::scheduler(self.router.channel(self.partition));
        let mut answers = client.schedule_stream(ReceiverStream::new(requests)).await?.into_inner();
        loop {
            if !self.meter.is_over() {
                // In handfuls, so that drawing numbers does not cost a lock each.
                let room = self.window.saturating_sub(self.unanswered.len());
                if room >= self.window.div_ceil(8) {
                    let numbers = self.load.of(self.partition, room);
                    self.load.ask(&numbers, due_ms, false);
                    for number in numbers {
                        let due_ms = due_ms(number);
                        self.unanswered.insert(number, (Instant::now(), due_ms));
                        if to_server.try_send(self.item(number, due_ms)).is_err() {
                            return Err(tonic::Status::unavailable("the stream broke").into());
                        }
                    }
                }
            } else if self.unanswered.is_empty() {
                return Ok(());
            }
            match answers.message().await? {
                Some(answer) => self.take(answer),
                None => return Err(tonic::Status::unavailable("the stream ended").into()),
            }
        }
    }

    fn item(&self, number: u64, due_ms: i64) -> v1::ScheduleStreamRequest {
        v1::ScheduleStreamRequest { sequence: number, item: Some(self.load.request(number, due_ms)) }
    }

    fn take(&mut self, answer: v1::ScheduleStreamResponse) {
        let number = answer.sequence;
        let Some((asked, _)) = self.unanswered.remove(&number) else {
            return;
        };
        match answer.result {
            Some(v1::schedule_stream_response::Result::Ok(response)) => {
                acknowledge(&self.load, number, &response);
                self.meter.count(1, asked, &mut self.latency);
            }
            Some(v1::schedule_stream_response::Result::Error(status)) => {
                lock(&self.load.oracle).fail(&Problem::from(&status).label());
            }
            None => lock(&self.load.oracle).fail("EMPTY_RESULT"),
        }
    }
}
