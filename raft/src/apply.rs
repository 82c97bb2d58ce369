//! The thread that applies one group's entries: the state machine lives on it and nowhere else.
//!
//! Apply is computing and RocksDB; a thread of its own keeps it from holding up the Raft core, the log and the peers.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use openraft::EntryPayload;
use openraft::storage::EntryResponder;
use tokio::sync::{oneshot, watch};

use crate::crash;
use crate::machine::{Committed, CompactionFilter, Halt, StateMachine};
use crate::metrics;
use crate::progress::Progress;
use crate::store::{Batch, Snapshot, Store};
use crate::types::{AnyReply, LogId, StoredMembership, TypeConfig};

type Reply = Box<dyn Any + Send + Sync>;

/// A state machine whose kind of reply is known to the proposer only.
pub(crate) trait Machine: Send {
    fn apply(&mut self, store: &Store, entries: &[Committed], batch: &mut Batch) -> Result<Vec<Reply>, Halt>;
    fn applied(&mut self, store: &Store);
    fn restored(&mut self, store: &Store) -> Result<(), Halt>;
    fn flushed(&mut self, durable: &Snapshot);
    fn compaction_filter(&self) -> Option<CompactionFilter>;
}

pub(crate) struct Typed<M>(pub(crate) M);

impl<M: StateMachine> Machine for Typed<M> {
    fn apply(&mut self, store: &Store, entries: &[Committed], batch: &mut Batch) -> Result<Vec<Reply>, Halt> {
        let replies = self.0.apply(store, entries, batch)?;
        Ok(replies.into_iter().map(|r| Box::new(r) as Reply).collect())
    }

    fn applied(&mut self, store: &Store) {
        self.0.applied(store);
    }

    fn restored(&mut self, store: &Store) -> Result<(), Halt> {
        self.0.restored(store)
    }

    fn flushed(&mut self, durable: &Snapshot) {
        self.0.flushed(durable);
    }

    fn compaction_filter(&self) -> Option<CompactionFilter> {
        self.0.compaction_filter()
    }
}

/// Why an apply failed.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The machine cannot go on; only this group stops.
    #[error(transparent)]
    Halt(#[from] Halt),
    /// The rows cannot be written or read.
    #[error(transparent)]
    Store(#[from] crate::error::StoreError),
}

type Done = oneshot::Sender<Result<(), Failure>>;

enum Job {
    Apply(Vec<EntryResponder<TypeConfig>>, Done),
    Restored(Store, Done),
    Flushed(Snapshot),
}

/// Hands work to the thread; the thread ends when the last of these is gone.
#[derive(Clone)]
pub(crate) struct Applier {
    jobs: Sender<Job>,
    applied: watch::Sender<u64>,
}

impl Applier {
    /// Starts the thread; [`restored`](Self::restored) must come first.
    pub(crate) fn spawn(
        partition: u32,
        machine: Box<dyn Machine>,
        store: Store,
        progress: Arc<Progress>,
        applied: watch::Sender<u64>,
    ) -> std::io::Result<(Applier, JoinHandle<()>)> {
        let (jobs, inbox) = channel();
        let applier = Applier { jobs, applied: applied.clone() };
        let worker = Worker { partition, machine, store, progress, applied };
        let thread = std::thread::Builder::new().name(format!("apply-{partition}")).spawn(move || worker.run(inbox))?;
        Ok((applier, thread))
    }

    async fn ask(&self, job: impl FnOnce(Done) -> Job) -> Result<(), Failure> {
        let (done, outcome) = oneshot::channel();
        let gone = || Halt { index: 0, reason: "the apply thread is gone".into() };
        self.jobs.send(job(done)).map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }

    /// Applies entries in order, in one write.
    pub(crate) async fn apply(&self, entries: Vec<EntryResponder<TypeConfig>>) -> Result<(), Failure> {
        self.ask(|done| Job::Apply(entries, done)).await
    }

    /// Tells everybody how far the store that readers get is.
    pub(crate) fn publish(&self, index: u64) {
        self.applied.send_replace(index);
    }

    /// The rows are in another store from now on. The caller shows it to readers and then publishes how far it is.
    pub(crate) async fn restored(&self, store: Store) -> Result<(), Failure> {
        self.ask(|done| Job::Restored(store, done)).await
    }

    /// What is in `durable` is in files.
    pub(crate) fn flushed(&self, durable: Snapshot) {
        // A thread that ended needs not know.
        let _ = self.jobs.send(Job::Flushed(durable));
    }
}

struct Worker {
    partition: u32,
    machine: Box<dyn Machine>,
    store: Store,
    progress: Arc<Progress>,
    applied: watch::Sender<u64>,
}

impl Worker {
    fn run(mut self, inbox: Receiver<Job>) {
        while let Ok(job) = inbox.recv() {
            match job {
                Job::Apply(entries, done) => {
                    let outcome = self.apply(entries);
                    let _ = done.send(outcome);
                }
                Job::Restored(store, done) => {
                    let outcome = self.restored(store);
                    let _ = done.send(outcome);
                }
                Job::Flushed(durable) => self.machine.flushed(&durable),
            }
        }
    }

    fn restored(&mut self, store: Store) -> Result<(), Failure> {
        let mark = store.mark()?;
        let index = mark.applied.map_or(0, |id| id.index);
        let machine = &mut self.machine;
        guard(index, index, || machine.restored(&store))?;
        self.store = store;
        Ok(())
    }

    fn apply(&mut self, entries: Vec<EntryResponder<TypeConfig>>) -> Result<(), Failure> {
        let mut last: Option<LogId> = None;
        let mut membership = None;
        let mut committed = Vec::with_capacity(entries.len());
        let mut responders = Vec::with_capacity(entries.len());
        let mut bytes = 0;
        for (entry, responder) in entries {
            last = Some(entry.log_id);
            let is_command = match entry.payload {
                EntryPayload::Blank => false,
                EntryPayload::Membership(m) => {
                    membership = Some(StoredMembership::new(Some(entry.log_id), m));
                    false
                }
                EntryPayload::Normal(payload) => {
                    bytes += payload.0.len() as u64;
                    committed.push(Committed {
                        index: entry.log_id.index,
                        term: entry.log_id.leader_id.term,
                        payload: payload.0,
                    });
                    true
                }
            };
            responders.push((is_command, responder));
        }
        let Some(last) = last else { return Ok(()) };

        crash::point("apply-begun");
        let started = std::time::Instant::now();
        let mut batch = Batch::default();
        let mut replies = Vec::new();
        if let (Some(first), Some(end)) = (committed.first(), committed.last()) {
            let (machine, store, batch) = (&mut self.machine, &self.store, &mut batch);
            replies = guard(first.index, end.index, || machine.apply(store, &committed, batch))?;
            if replies.len() != committed.len() {
                return Err(Halt {
                    index: first.index,
                    reason: format!("the state machine answered {} of {} entries", replies.len(), committed.len()),
                }
                .into());
            }
        }
        if let Some(membership) = &membership {
            batch.set_membership(membership);
        }
        batch.set_applied(last);
        crash::point("apply-decided");
        self.store.write(batch)?;
        crash::point("apply-written");
        if !committed.is_empty() {
            let (machine, store) = (&mut self.machine, &self.store);
            guard(last.index, last.index, || {
                machine.applied(store);
                Ok(())
            })?;
        }
        self.progress.applied(bytes);
        self.applied.send_replace(last.index);
        metrics::applied(self.partition, responders.len(), started.elapsed());

        let mut replies = replies.into_iter();
        for (is_command, responder) in responders {
            let reply = if is_command { replies.next() } else { None };
            if let Some(responder) = responder {
                responder.send(AnyReply(reply));
            }
        }
        Ok(())
    }
}

/// Runs the machine's code; a panic halts the group and names the entries, instead of being met again after every rebuild.
fn guard<T>(first: u64, last: u64, run: impl FnOnce() -> Result<T, Halt>) -> Result<T, Halt> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let what = panic
            .downcast_ref::<&str>()
            .map(|s| (*s).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".into());
        Err(Halt { index: first, reason: format!("panic in apply of entries {first} to {last}: {what}") })
    })
}
