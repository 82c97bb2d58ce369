//! Who calls and who executes while things break.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use checkers::history::{History, Outcome};
use harness::caller::Caller;
use harness::record::{self, Recorder, Session};
use harness::worker::{Act, Setup, Worker};
use harness::{Result, clock};
use proto::v1;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;

/// The only topic.
pub const TOPIC: &str = "chaos";
/// Callers, each making one call after the other.
const CALLERS: u64 = 12;
/// Between two calls of a caller. The point is what a call meets, not how many there are.
const BREATH: Duration = Duration::from_millis(40);
/// Triggers due at one millisecond, and how often.
const BURST: u64 = 200;
const BURST_EVERY: Duration = Duration::from_secs(15);
/// A load of log: so many triggers with so large a payload.
const HEAVY: usize = 60;
const HEAVY_BYTES: usize = 48 << 10;
/// Executors at work.
const EXECUTORS: usize = 3;

/// What runs.
pub struct Workload {
    endpoints: Vec<String>,
    recorder: Recorder,
    stop: Arc<AtomicBool>,
    callers: JoinSet<()>,
    executors: Vec<Worker>,
    started: usize,
    filled: usize,
}

impl Workload {
    /// Starts callers and executors.
    ///
    /// # Errors
    ///
    /// When no node answers.
    pub async fn start(endpoints: Vec<String>, seed: u64) -> Result<Workload> {
        let mut workload = Workload {
            endpoints,
            recorder: Recorder::default(),
            stop: Arc::default(),
            callers: JoinSet::new(),
            executors: Vec::new(),
            started: 0,
            filled: 0,
        };
        for _ in 0..EXECUTORS {
            workload.start_executor().await?;
        }
        for client in 0..CALLERS {
            let caller = workload.caller()?;
            let (recorder, stop) = (workload.recorder.clone(), workload.stop.clone());
            let dice = StdRng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(client));
            workload.callers.spawn(async move {
                let session = Session { caller: &caller, recorder: &recorder, client };
                call(&session, dice, &stop).await;
            });
        }
        let caller = workload.caller()?;
        let (recorder, stop) = (workload.recorder.clone(), workload.stop.clone());
        workload.callers.spawn(async move { burst(&caller, &recorder, &stop).await });
        Ok(workload)
    }

    fn caller(&self) -> Result<Caller> {
        let mut caller = Caller::new(&self.endpoints)?;
        caller.attempt_within = Duration::from_secs(2);
        caller.call_within = Duration::from_secs(15);
        Ok(caller)
    }

    /// Starts one more executor, under a name nobody had.
    ///
    /// # Errors
    ///
    /// When no node answers.
    pub async fn start_executor(&mut self) -> Result<()> {
        self.started += 1;
        let worker = Worker::begin(Setup {
            name: format!("executor-{}", self.started),
            namespace: "default".into(),
            topics: vec![TOPIC.to_owned()],
            max_in_flight: 256,
            endpoints: self.endpoints.clone(),
            script: Arc::new(act),
            sink: Arc::new(self.recorder.clone()),
        });
        self.executors.push(worker.await?);
        Ok(())
    }

    /// The executor that has worked the longest dies with what it holds.
    pub fn kill_executor(&mut self) {
        if !self.executors.is_empty() {
            drop(self.executors.remove(0));
        }
    }

    /// What was seen so far.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Calls that were answered with success so far.
    #[must_use]
    pub fn succeeded(&self) -> usize {
        self.recorder.look(succeeded)
    }

    /// Schedules what takes almost three MiB of log, whoever leads; what is refused is left.
    ///
    /// # Errors
    ///
    /// Never for endpoints that were good before.
    pub async fn fill_log(&mut self) -> Result<()> {
        let caller = self.caller()?;
        self.filled += 1;
        let calls = (0..HEAVY).map(|number| {
            let session = Session { caller: &caller, recorder: &self.recorder, client: 2_000 + number as u64 };
            let id = format!("heavy-{}-{number}", self.filled);
            let mut request = record::request(id, TOPIC, clock::now_ms() + 1_000);
            request.payload = vec![number as u8; HEAVY_BYTES].into();
            async move { drop(session.schedule(request).await) }
        });
        futures::future::join_all(calls).await;
        Ok(())
    }

    /// Lets callers end what they are at; executors go on.
    pub async fn quiet(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while self.callers.join_next().await.is_some() {}
    }
}

/// Operations that did what they were asked, or were answered by a rule.
fn succeeded(history: &History) -> usize {
    history.operations.iter().filter(|operation| matches!(operation.outcome, Outcome::Ok(_))).count()
}

/// Most succeed; a few are to be tried again, fewer are given up. By the generation, so that it does not matter who is asked.
fn act(delivery: &v1::Delivery) -> Act {
    match delivery.generation % 97 {
        0 | 1 if delivery.attempt < 3 => Act::Retry(Some(Duration::from_millis(150))),
        2 => Act::Fail,
        _ => Act::Succeed,
    }
}

async fn call(session: &Session<'_>, mut dice: StdRng, stop: &AtomicBool) {
    let mut made: Vec<String> = Vec::new();
    for turn in 0u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let id = format!("{TOPIC}-{}-{turn}", session.client);
        let due_ms = clock::now_ms() + dice.random_range(0..5_000);
        drop(session.schedule(record::request(&id, TOPIC, due_ms)).await);
        made.push(id.clone());
        // Of the newest, or of one that may have ended long ago.
        let about = if dice.random_bool(0.7) { id } else { made[dice.random_range(0..made.len())].clone() };
        match dice.random_range(0..6) {
            0 => drop(session.cancel("default", &about).await),
            1 => drop(session.reschedule("default", &about, clock::now_ms() + dice.random_range(0..4_000), 0).await),
            2 => drop(session.get("default", &about).await),
            3 => drop(session.schedule(record::request(&about, TOPIC, due_ms)).await),
            _ => {}
        }
        tokio::time::sleep(BREATH).await;
    }
}

async fn burst(caller: &Caller, recorder: &Recorder, stop: &AtomicBool) {
    for round in 0u64.. {
        let due_ms = clock::now_ms() + 3_000;
        let all = (0..BURST).map(|number| {
            let session = Session { caller, recorder, client: 1_000 + number };
            let request = record::request(format!("burst-{round}-{number}"), TOPIC, due_ms);
            async move { drop(session.schedule(request).await) }
        });
        futures::future::join_all(all).await;
        let again = tokio::time::Instant::now() + BURST_EVERY;
        while tokio::time::Instant::now() < again {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
