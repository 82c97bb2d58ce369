//! Read barriers: one confirmation by a majority serves everybody who asked before it began.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use openraft::errors::{LinearizableReadError, RaftError};
use openraft::{Raft, ReadPolicy};
use openraft_rt::WatchReceiver;
use tokio::sync::oneshot;

use crate::acks::Acks;
use crate::adapter::Adapter;
use crate::error::ReadError;
use crate::progress::lock;
use crate::types::TypeConfig;

type Refused = RaftError<TypeConfig, LinearizableReadError<TypeConfig>>;
type Waiter = oneshot::Sender<Result<u64, ReadError>>;

#[derive(Default)]
struct Queue {
    /// Those who came too late for the confirmation under way.
    next: Vec<Waiter>,
    running: bool,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Barrier {
    queue: Arc<Mutex<Queue>>,
}

impl Barrier {
    /// Waits until a confirmation that began after this call has passed.
    pub(crate) async fn pass(
        &self,
        partition: u32,
        raft: &Raft<TypeConfig, Adapter>,
        acks: &Arc<Acks>,
        deadline: Duration,
    ) -> Result<u64, ReadError> {
        let (tx, rx) = oneshot::channel();
        let begin = {
            let mut queue = lock(&self.queue);
            queue.next.push(tx);
            !std::mem::replace(&mut queue.running, true)
        };
        if begin {
            // A task of its own: the caller may be dropped, the others still want their answer.
            tokio::spawn(run(partition, self.queue.clone(), raft.clone(), acks.clone(), deadline));
        }
        rx.await.unwrap_or(Err(ReadError::ShuttingDown))
    }
}

async fn run(
    partition: u32,
    queue: Arc<Mutex<Queue>>,
    raft: Raft<TypeConfig, Adapter>,
    acks: Arc<Acks>,
    deadline: Duration,
) {
    loop {
        let waiters = {
            let mut queue = lock(&queue);
            if queue.next.is_empty() {
                queue.running = false;
                return;
            }
            std::mem::take(&mut queue.next)
        };
        let confirmed = tokio::time::timeout(deadline, confirm(&raft, &acks));
        let outcome = match confirmed.await {
            Err(_) => Err(ReadError::NoQuorum),
            Ok(Ok(index)) => Ok(index),
            Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)))) => Err(ReadError::NoQuorum),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)))) => {
                Err(crate::group::forwarded(forward).into())
            }
            Ok(Err(RaftError::Fatal(fatal))) => Err(ReadError::Unavailable { reason: fatal.to_string() }),
        };
        crate::metrics::read_barrier(partition, outcome.is_ok());
        for waiter in waiters {
            let _ = waiter.send(outcome.clone());
        }
    }
}

/// A majority takes this replica for the leader, in answer to what was sent after the call.
///
/// openraft alone is not enough: it may count an answer from before for a question that never arrived (`acks`), and a leader that was cut off
/// would read what another one has changed.
async fn confirm(raft: &Raft<TypeConfig, Adapter>, acks: &Acks) -> Result<u64, Refused> {
    let began = Instant::now();
    loop {
        let read = raft.ensure_linearizable(ReadPolicy::ReadIndex).await?;
        let metrics = raft.metrics();
        let at = acks.quorum_of(&metrics.borrow_watched(), Instant::now());
        if at.is_some_and(|at| at >= began) {
            return Ok(read.log_id().index);
        }
    }
}
