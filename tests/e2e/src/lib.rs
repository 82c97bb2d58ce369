//! What the end-to-end tests share: a cluster of real processes, a caller, a recorder, and the verdict of the checkers.
//!
//! The tests are in `tests/cluster`. They wait for conditions with deadlines; the few that show that nothing happens
//! wait for something else that would have happened after it.

use std::sync::Arc;
use std::time::Duration;

use checkers::{History, Options as Allowed, Verdict};
use futures::{StreamExt, stream};
use harness::caller::Caller;
use harness::cluster::{Cluster, Options};
use harness::record::{self, Recorder, Session};
use harness::worker::{Act, Script, Setup, Worker};
use harness::{Result, clock, wait};
use proto::v1;

/// How long anything may take that a healthy cluster does at once.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A cluster under test.
#[derive(Debug)]
pub struct Scene {
    /// Its processes.
    pub cluster: Cluster,
    /// Calls to any node.
    pub caller: Caller,
    /// What was seen.
    pub recorder: Recorder,
}

impl Scene {
    /// Starts a cluster of three with four partitions.
    ///
    /// # Errors
    ///
    /// As [`Cluster::start`].
    pub async fn three() -> Result<Self> {
        Self::with(Options::default()).await
    }

    /// Starts a cluster.
    ///
    /// # Errors
    ///
    /// As [`Cluster::start`].
    pub async fn with(options: Options) -> Result<Self> {
        let cluster = Cluster::start(options).await?;
        Ok(Self { caller: cluster.caller()?, recorder: Recorder::default(), cluster })
    }

    /// A sequential caller that records.
    #[must_use]
    pub fn session(&self, client: u64) -> Session<'_> {
        Session { caller: &self.caller, recorder: &self.recorder, client }
    }

    /// Schedules `count` triggers of `topic`, all due at `due_ms`, ids `{topic}-0` and so on; records every call.
    ///
    /// # Panics
    ///
    /// If one is refused.
    pub async fn schedule(&self, topic: &str, count: u64, due_ms: i64) {
        let calls = stream::iter(0..count).map(|number| async move {
            let request = record::request(format!("{topic}-{number}"), topic, due_ms);
            self.session(number).schedule(request).await
        });
        let answers: Vec<_> = calls.buffer_unordered(64).collect().await;
        for answer in answers {
            answer.unwrap_or_else(|problem| panic!("schedule: {problem}"));
        }
    }

    /// Starts an executor of one topic.
    ///
    /// # Errors
    ///
    /// When it does not reach every leader.
    pub async fn worker(
        &self,
        name: &str,
        topic: &str,
        act: impl Fn(&v1::Delivery) -> Act + Send + Sync + 'static,
    ) -> Result<Worker> {
        Worker::start(self.setup(name, topic, Arc::new(act))).await
    }

    /// The set-up of an executor of one topic that tells the recorder.
    #[must_use]
    pub fn setup(&self, name: &str, topic: &str, script: Script) -> Setup {
        Setup {
            name: name.to_owned(),
            namespace: "default".into(),
            topics: vec![topic.to_owned()],
            max_in_flight: 1_024,
            endpoints: self.cluster.endpoints(),
            script,
            sink: Arc::new(self.recorder.clone()),
        }
    }

    /// Waits until the history says so.
    ///
    /// # Errors
    ///
    /// When it does not within `within`.
    pub async fn until(&self, what: &str, within: Duration, met: impl Fn(&History) -> bool) -> Result<()> {
        let met = &met;
        wait::until(what, within, || async move {
            let (is_met, counts) = self.recorder.look(|history| (met(history), history.count()));
            if is_met { Ok(()) } else { Err(counts) }
        })
        .await
    }

    /// Waits until everything scheduled has been completed, as executors were told.
    ///
    /// # Errors
    ///
    /// When it has not within [`PATIENCE`].
    pub async fn finished(&self) -> Result<()> {
        self.until("completion of everything", PATIENCE, |history| record::unfinished(history) == 0).await
    }

    /// Reads everything at the end and runs every checker.
    ///
    /// # Panics
    ///
    /// If a promise was broken, or a read gets no answer. The history is kept in a file, which the message names.
    pub async fn verdict(&self, allowed: &Allowed) -> Verdict {
        record::final_reads(&self.caller, &self.recorder)
            .await
            .unwrap_or_else(|problem| panic!("final reads: {problem}"));
        let history = self.recorder.history();
        let verdict = checkers::check(&history, allowed);
        if !verdict.is_good() {
            let file = std::env::temp_dir().join(format!("bosingak-history-{}.jsonl", clock::now_ms()));
            let kept = std::fs::File::create(&file).and_then(|target| history.write(target));
            panic!("{verdict}history in {} ({kept:?})", file.display());
        }
        verdict
    }
}

/// A due time so long from now.
#[must_use]
pub fn in_ms(delay_ms: i64) -> i64 {
    clock::now_ms() + delay_ms
}
