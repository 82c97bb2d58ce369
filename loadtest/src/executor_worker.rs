//! The role of an executor process: completes everything at once, and writes a line about each to standard output.

use std::io::{BufWriter, Write};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::Context;
use harness::worker::{Act, Reported, Setup, Sink, Worker};
use proto::v1;

use crate::lines::{Said, Verdict};

/// The argument that makes this binary an executor.
pub const ROLE: &str = "executor-worker";

/// Arguments after the role: name, topic, deliveries at once, endpoints.
pub async fn run(arguments: &[String]) -> anyhow::Result<()> {
    let [name, topic, in_flight, endpoints @ ..] = arguments else {
        anyhow::bail!("{ROLE}: expected name, topic, deliveries at once, endpoints");
    };
    let (lines, outbox) = mpsc::channel::<String>();
    let writer = std::thread::spawn(move || write(&outbox));
    let worker = Worker::start(Setup {
        name: name.clone(),
        namespace: "default".into(),
        topics: vec![topic.clone()],
        max_in_flight: in_flight.parse().context("deliveries at once")?,
        endpoints: endpoints.to_vec(),
        script: Arc::new(|_| Act::Succeed),
        sink: Arc::new(Lines(lines.clone())),
    })
    .await?;
    drop(lines.send(Said::Ready.to_string()));
    // Whoever started us holds the other end of our standard input.
    let closed = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    drop(closed.await);
    drop((worker, lines));
    drop(writer.join());
    Ok(())
}

struct Lines(mpsc::Sender<String>);

impl Sink for Lines {
    fn delivered(&self, _executor: &str, delivery: &v1::Delivery, received_us: i64) {
        let said = Said::Delivered {
            id: &delivery.id,
            generation: delivery.generation,
            attempt: delivery.attempt,
            partition: delivery.partition,
            due_ms: checkers::convert::millis(delivery.due.as_ref()),
            fired_ms: checkers::convert::millis(delivery.fired.as_ref()),
            received_us,
        };
        drop(self.0.send(said.to_string()));
    }

    fn answered(&self, _executor: &str, reported: &Reported, result: &v1::OutcomeResult, answered_us: i64) {
        // A receipt of something that ended otherwise is no completion.
        let completed = result.receipt.as_ref().is_none_or(|receipt| receipt.outcome() == v1::Outcome::Completed);
        let verdict = match result.verdict() {
            v1::OutcomeVerdict::Accepted => Verdict::Accepted,
            v1::OutcomeVerdict::AlreadyDecided if completed => Verdict::Already,
            _ => Verdict::Other,
        };
        let said = Said::Answered {
            id: &reported.id,
            generation: reported.generation,
            verdict,
            partition: reported.partition,
            stream_term: reported.stream_term,
            answered_us,
        };
        drop(self.0.send(said.to_string()));
    }
}

/// Writes lines in large pieces while they come, and at once when they stop.
fn write(outbox: &mpsc::Receiver<String>) {
    let mut out = BufWriter::with_capacity(256 << 10, std::io::stdout().lock());
    loop {
        let written = match outbox.recv_timeout(Duration::from_millis(5)) {
            Ok(line) => out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n")),
            Err(mpsc::RecvTimeoutError::Timeout) => out.flush(),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                drop(out.flush());
                return;
            }
        };
        if written.is_err() {
            return;
        }
    }
}
