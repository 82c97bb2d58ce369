//! An executor that does as a script says, and tells a sink what it saw.
//!
//! It follows the leaders, keeps what it holds across streams, and repeats reports until they are answered. A stream
//! it has left for a newer leader's is read on to its end, so that whatever an old leader still sends is seen.

mod session;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use checkers::history::Report;
use proto::v1;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use crate::caller::{self, Caller};
use crate::{Result, wait};

/// What to do with a delivery.
#[derive(Clone, Debug)]
pub enum Act {
    /// Report success at once.
    Succeed,
    /// Report a failure that may be retried, after this long if given.
    Retry(Option<Duration>),
    /// Report a failure for good.
    Fail,
    /// Keep it, and report nothing until [`Worker::finish`].
    Hold,
}

/// Decides about every delivery.
pub type Script = Arc<dyn Fn(&v1::Delivery) -> Act + Send + Sync>;

/// A report as it was made.
#[derive(Clone, Debug)]
pub struct Reported {
    /// Of the trigger.
    pub namespace: String,
    /// Of the trigger.
    pub id: String,
    /// Of the delivery.
    pub generation: u64,
    /// Of the delivery.
    pub token: Option<v1::FencingToken>,
    /// Of the delivery.
    pub attempt: u32,
    /// Of the delivery.
    pub partition: u32,
    /// What was said.
    pub report: Report,
    /// Term of the leader whose stream brought the answer.
    pub stream_term: u64,
}

/// Is told what an executor sees.
pub trait Sink: Send + Sync {
    /// A delivery was read.
    fn delivered(&self, executor: &str, delivery: &v1::Delivery, received_us: i64);
    /// A report was answered, or is to be repeated (verdict ERROR).
    fn answered(&self, executor: &str, reported: &Reported, result: &v1::OutcomeResult, answered_us: i64);
    /// A hello with `held` leases was welcomed, `adopted` of them were adopted.
    fn welcomed(&self, executor: &str, partition: u32, held: usize, adopted: usize) {
        let _ = (executor, partition, held, adopted);
    }
}

/// Who it is and what it asks for.
#[derive(Clone)]
pub struct Setup {
    /// Stable name.
    pub name: String,
    /// Tenant.
    pub namespace: String,
    /// Topics it works on.
    pub topics: Vec<String>,
    /// Deliveries it may hold at once, per partition.
    pub max_in_flight: u32,
    /// Client endpoints of the cluster.
    pub endpoints: Vec<String>,
    /// What to do with deliveries.
    pub script: Script,
    /// Who is told.
    pub sink: Arc<dyn Sink>,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup").field("name", &self.name).field("topics", &self.topics).finish_non_exhaustive()
    }
}

/// Who leads a partition, as far as anybody said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) term: u64,
    pub(crate) endpoint: String,
}

pub(crate) type Leaders = BTreeMap<u32, Leader>;

pub(crate) enum Order {
    Finish { id: String, act: Act },
    Drain,
}

/// A running executor. Dropping it is its death: connections break, leases are left to run out.
#[derive(Debug)]
pub struct Worker {
    orders: Vec<mpsc::UnboundedSender<Order>>,
    connected: Vec<watch::Receiver<bool>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Worker {
    /// Starts it, and waits until it has a stream at every partition's leader.
    ///
    /// # Errors
    ///
    /// When that takes longer than 20 s.
    pub async fn start(setup: Setup) -> Result<Self> {
        let worker = Self::begin(setup).await?;
        worker.connected(Duration::from_secs(20)).await?;
        Ok(worker)
    }

    /// Starts it, and waits only until somebody says which partitions there are.
    ///
    /// # Errors
    ///
    /// When nobody does within 20 s.
    pub async fn begin(setup: Setup) -> Result<Self> {
        let setup = Arc::new(setup);
        let caller = Caller::new(&setup.endpoints)?;
        let first = wait::until("answer to Leaders", Duration::from_secs(20), || async {
            match ask(caller.current()).await {
                Ok(leaders) if !leaders.is_empty() => Ok(leaders),
                other => {
                    drop(caller.call(|channel| async move { executor_leaders(channel).await }).await);
                    Err(other)
                }
            }
        })
        .await?;
        let partitions: Vec<u32> = first.keys().copied().collect();
        let (publish, leaders) = watch::channel(first);
        let kick = Arc::new(Notify::new());
        let mut tasks = vec![tokio::spawn(follow(setup.endpoints.clone(), publish, kick.clone()))];
        let mut orders = Vec::new();
        let mut connected = Vec::new();
        for partition in partitions {
            let (order, inbox) = mpsc::unbounded_channel();
            let (report, is_connected) = watch::channel(false);
            orders.push(order);
            connected.push(is_connected);
            tasks.push(tokio::spawn(session::run(
                setup.clone(),
                partition,
                leaders.clone(),
                kick.clone(),
                inbox,
                report,
            )));
        }
        Ok(Self { orders, connected, tasks })
    }

    /// Waits until it has a stream at every partition's leader.
    ///
    /// # Errors
    ///
    /// When that takes longer than `within`.
    pub async fn connected(&self, within: Duration) -> Result<()> {
        wait::until("stream at every leader", within, || async {
            let missing: Vec<usize> = (0..self.connected.len()).filter(|at| !*self.connected[*at].borrow()).collect();
            if missing.is_empty() { Ok(()) } else { Err(missing) }
        })
        .await
    }

    /// Ends what is held under this id.
    pub fn finish(&self, id: &str, act: Act) {
        for order in &self.orders {
            drop(order.send(Order::Finish { id: id.to_owned(), act: act.clone() }));
        }
    }

    /// Asks for no more deliveries.
    pub fn drain(&self) {
        for order in &self.orders {
            drop(order.send(Order::Drain));
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn executor_leaders(channel: Channel) -> Result<tonic::Response<v1::LeadersResponse>, tonic::Status> {
    caller::executor(channel).leaders(v1::LeadersRequest {}).await
}

async fn ask(channel: Channel) -> Result<Leaders, String> {
    let answer = tokio::time::timeout(Duration::from_millis(500), executor_leaders(channel))
        .await
        .map_err(|_| "no answer".to_owned())?
        .map_err(|status| status.to_string())?;
    Ok(answer
        .into_inner()
        .leaders
        .into_iter()
        .map(|leader| (leader.partition, Leader { term: leader.term, endpoint: leader.endpoint }))
        .collect())
}

/// Asks all nodes who leads, now and then, at once when kicked; the highest term is right.
async fn follow(endpoints: Vec<String>, publish: watch::Sender<Leaders>, kick: Arc<Notify>) {
    let channels: Vec<Channel> = endpoints.iter().filter_map(|endpoint| caller::channel(endpoint).ok()).collect();
    loop {
        let answers = futures::future::join_all(channels.iter().cloned().map(ask)).await;
        publish.send_if_modified(|leaders| {
            let mut changed = false;
            for (partition, leader) in answers.into_iter().flatten().flatten() {
                let known = leaders.entry(partition).or_default();
                if leader.term >= known.term && !leader.endpoint.is_empty() && *known != leader {
                    *known = leader;
                    changed = true;
                }
            }
            changed
        });
        // A kick means that somebody has no stream: soon, but not in a busy loop.
        drop(tokio::time::timeout(Duration::from_millis(250), kick.notified()).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
