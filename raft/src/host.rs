//! What is behind a [`Node`](crate::Node): its parts, and how replicas come and go on it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use openraft::Config as RaftConfig;
use openraft::storage::RaftLogStorage;
use openraft_rt::WatchReceiver;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::adapter::Rows;
use crate::apply::Machine;
use crate::error::{CallError, Error};
use crate::group::{GroupInner, Health};
use crate::identity::Identity;
use crate::log::Log;
use crate::net::client::Network;
use crate::net::link::Links;
use crate::net::{Host, Lane};
use crate::node::{CallHandler, Config};
use crate::progress::lock;
use crate::replica::{Replica, Start, log_group, open_rows};
use crate::rhythm::Rhythm;
use crate::store::{Current, Place, Shared};
use crate::supervisor;
use crate::types::{Member, node_of};
use crate::wire::frame::Body;
use crate::wire::{self, Frame, OrderReply, order};

/// Makes the state machine of a partition.
pub(crate) type Machines = Box<dyn Fn(u32) -> Box<dyn Machine> + Send + Sync>;

/// See the module.
pub(crate) struct NodeInner {
    pub(crate) config: Config,
    pub(crate) identity: Identity,
    pub(crate) shared: Shared,
    pub(crate) links: Arc<Links>,
    pub(crate) groups: Vec<Arc<GroupInner>>,
    pub(crate) raft_config: Arc<RaftConfig>,
    pub(crate) rhythm: Rhythm,
    pub(crate) machines: Machines,
    pub(crate) log: Mutex<Option<Arc<Log>>>,
    pub(crate) handler: RwLock<Option<Arc<dyn CallHandler>>>,
    pub(crate) fatal: watch::Sender<Option<String>>,
    pub(crate) draining: AtomicBool,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) votes_from: Instant,
    /// Who founded the cluster, until the groups' own members are known.
    pub(crate) founders: RwLock<Vec<Member>>,
    /// Held by whoever opens or closes a replica here.
    pub(crate) opening: tokio::sync::Mutex<()>,
}

impl NodeInner {
    /// This node's id.
    pub(crate) fn me(&self) -> u64 {
        self.config.member.node
    }

    /// A new state machine for a partition.
    pub(crate) fn machine(&self, partition: u32) -> Box<dyn Machine> {
        (self.machines)(partition)
    }

    /// The log, until the node is shut down.
    pub(crate) fn log(&self) -> Result<Arc<Log>, Error> {
        lock(&self.log).clone().ok_or_else(|| Error::Raft("the node is shut down".into()))
    }

    /// Whether the log failed; that ends the process, so nothing else needs to be said or tried.
    pub(crate) fn log_failed(&self) -> bool {
        self.log().is_ok_and(|log| log.failed().borrow().is_some())
    }

    /// Asks for the process to end. The first reason stays.
    pub(crate) fn die(&self, reason: String) {
        tracing::error!(reason, "this node cannot go on");
        self.fatal.send_if_modified(|known| {
            let first = known.is_none();
            if first {
                *known = Some(reason);
            }
            first
        });
    }

    /// Starts a replica on rows that are open; the caller puts it into its group.
    pub(crate) async fn start(
        self: &Arc<Self>,
        group: &GroupInner,
        rows: Arc<Rows>,
        machine: Box<dyn Machine>,
    ) -> Result<Arc<Replica>, Error> {
        let me = lock(&rows.current).replica;
        let network = Network {
            host: self.clone(),
            links: self.links.clone(),
            partition: group.partition,
            me,
            acks: Arc::default(),
        };
        let log = self.log()?;
        let start = Start {
            partition: group.partition,
            machine,
            raft_config: self.raft_config.clone(),
            network,
            log: &log,
            applied: group.applied.clone(),
            votes_from: self.votes_from,
            rhythm: self.rhythm,
        };
        let replica = Arc::new(Replica::start(rows, start).await?);
        if self.draining.load(Ordering::Relaxed) {
            replica.stand_for_election(false);
        }
        Ok(replica)
    }

    /// Opens the replica that `current` names and lets it serve. A machine that halts on its state leaves a halted group, not an error.
    pub(crate) async fn open_replica(
        self: &Arc<Self>,
        group: &Arc<GroupInner>,
        place: Place,
        current: Current,
    ) -> Result<(), Error> {
        let machine = self.machine(group.partition);
        let (shared, partition) = (self.shared.clone(), group.partition);
        let opened = tokio::task::spawn_blocking(move || {
            open_rows(partition, place, current, &shared, &*machine).map(|rows| (rows, machine))
        });
        let (rows, machine) = opened.await.map_err(|e| Error::Raft(e.to_string()))??;
        match self.start(group, rows, machine).await {
            Ok(replica) => {
                group.set(Some(replica.clone()), Health::Running);
                supervisor::supervise(self, group, replica);
                Ok(())
            }
            Err(halt @ Error::Halt(_)) => {
                supervisor::end(self, group, halt);
                Ok(())
            }
            Err(e) => Err(e),
        }
    }

    /// The directory of a group.
    pub(crate) fn place(&self, partition: u32) -> Place {
        Place::new(self.identity.state_dir(partition))
    }

    /// Begins an empty replica in place of whatever was here.
    pub(crate) async fn create(self: &Arc<Self>, group: &Arc<GroupInner>, replica: u64) -> Result<(), Error> {
        let refuse = |reason: String| Err(Error::Raft(reason));
        if node_of(replica) != self.me() {
            return refuse(format!("replica {replica:#x} is not for node {}", self.me()));
        }
        let _turn = self.opening.lock().await;
        let place = self.place(group.partition);
        let found = self.present(group)?;
        if let Some(found) = &found {
            if found.replica == replica && group.replica().is_ok() {
                return Ok(());
            }
            if found.replica >= replica {
                return refuse(format!("replica {:#x} was here, which is not older than {replica:#x}", found.replica));
            }
            self.close(group, found).await?;
        }
        let current = Current {
            replica,
            incarnation: found.as_ref().map_or(0, |c| c.incarnation) + 1,
            epoch: found.as_ref().map_or(0, |c| c.epoch) + 1,
        };
        place.set(&current).map_err(|e| Error::io("write CURRENT", e))?;
        tracing::info!(partition = group.partition, replica = format!("{replica:#x}"), "a replica begins here");
        self.open_replica(group, place, current).await
    }

    /// Removes a replica that no longer belongs to its group; fine when it is not here.
    pub(crate) async fn destroy(self: &Arc<Self>, group: &Arc<GroupInner>, replica: u64) -> Result<(), Error> {
        let _turn = self.opening.lock().await;
        let Some(found) = self.present(group)? else {
            return Ok(());
        };
        if found.replica != replica {
            return Ok(());
        }
        tracing::info!(partition = group.partition, replica = format!("{replica:#x}"), "a replica ends here");
        self.close(group, &found).await?;
        self.place(group.partition).vacate(&found).map_err(|e| Error::io("write CURRENT", e))
    }

    /// What the directory of a group says; the caller holds `opening`.
    fn present(&self, group: &GroupInner) -> Result<Option<Current>, Error> {
        match group.replica() {
            Ok(replica) => Ok(Some(lock(&replica.rows.current).clone())),
            Err(_) => self.place(group.partition).open(),
        }
    }

    /// Stops a replica and lets go of its rows and of its part of the log.
    async fn close(&self, group: &GroupInner, current: &Current) -> Result<(), Error> {
        if let Ok(replica) = group.replica() {
            group.set(None, Health::Vacant);
            replica.stop().await;
            replica.rows.slot.get().doom();
        }
        let mut log = self.log()?.group(log_group(group.partition, current.incarnation));
        let state = log.get_log_state().await.map_err(|e| Error::io("read the log", e))?;
        if let Some(last) = state.last_log_id {
            log.purge(last).await.map_err(|e| Error::io("purge the log", e))?;
        }
        Ok(())
    }

    /// Every node that is a member of a group here, and the founders while there is none.
    pub(crate) fn members(&self) -> Vec<Member> {
        let mut members = std::collections::BTreeMap::new();
        for group in &self.groups {
            let Ok(replica) = group.replica() else { continue };
            let figures = replica.raft.server_metrics();
            let figures = figures.borrow_watched();
            for (_, member) in figures.membership_config.membership().nodes() {
                members.insert(member.node, member.clone());
            }
        }
        if members.is_empty() {
            let founders = self.founders.read().unwrap_or_else(PoisonError::into_inner);
            members.extend(founders.iter().map(|m| (m.node, m.clone())));
        }
        members.into_values().collect()
    }

    /// Asks something over the control lane of the node at `address`.
    async fn ask(&self, address: &str, partition: u32, body: Body, deadline: Duration) -> Result<Body, CallError> {
        let frame = Frame { group: partition, body: Some(body), ..Frame::default() };
        let link = self.links.get(address, Lane::Control);
        let answer = link.ask(frame, deadline).await;
        answer
            .map_err(|e| CallError::Unreachable(e.0))?
            .body
            .ok_or_else(|| CallError::Unreachable("an empty answer".into()))
    }

    /// Gives an order to another node, or to this one.
    pub(crate) async fn send_order(
        self: &Arc<Self>,
        to: &Member,
        partition: u32,
        order: order::Order,
        deadline: Duration,
    ) -> Result<OrderReply, CallError> {
        if to.node == self.me() {
            return Ok(self.clone().order(partition, order).await);
        }
        let order = Body::Order(wire::Order { order: Some(order) });
        match self.ask(&to.peer_endpoint, partition, order, deadline).await? {
            Body::OrderReply(reply) => Ok(reply),
            _ => Err(CallError::Unreachable("an answer to something else".into())),
        }
    }

    /// Passes a request to the layer above on another node, or on this one.
    pub(crate) fn send_call(
        &self,
        node: u64,
        request: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Bytes, CallError>> {
        self.pass_on(node, request, deadline).boxed()
    }

    async fn pass_on(&self, node: u64, request: Bytes, deadline: Duration) -> Result<Bytes, CallError> {
        if node == self.me() {
            return self.call(node, request).map_err(CallError::Refused);
        }
        let member = self.members().into_iter().find(|m| m.node == node);
        let member = member.ok_or(CallError::UnknownNode(node))?;
        let call = Body::Call(wire::Call { request });
        match self.ask(&member.peer_endpoint, 0, call, deadline).await? {
            Body::CallReply(wire::CallReply { outcome: Some(outcome) }) => match outcome {
                wire::call_reply::Outcome::Reply(reply) => Ok(reply),
                wire::call_reply::Outcome::Refused(reason) => Err(CallError::Refused(reason)),
            },
            _ => Err(CallError::Unreachable("an answer to something else".into())),
        }
    }
}

impl Host for NodeInner {
    fn cluster(&self) -> &str {
        &self.config.cluster
    }

    fn replica(&self, partition: u32, to: u64) -> Result<Arc<Replica>, String> {
        let group =
            self.groups.get(partition as usize).ok_or_else(|| format!("there is no partition {partition} here"))?;
        let replica = group.replica()?;
        if replica.id != to {
            return Err(format!("partition {partition} has replica {:#x} here, not {to:#x}", replica.id));
        }
        Ok(replica)
    }

    fn heard(&self, replica: u64) -> Result<(), String> {
        self.identity.hear(replica).map_err(|e| {
            // Not remembering is forgetting: what the peer said may not be used, and the disk is in trouble.
            self.die(format!("cannot write HEARD: {e}"));
            format!("cannot remember the peer: {e}")
        })
    }

    fn call(&self, from: u64, request: Bytes) -> Result<Bytes, String> {
        let handler = self.handler.read().unwrap_or_else(PoisonError::into_inner).clone();
        match handler {
            Some(handler) => handler.call(from, request),
            None => Err("this node is still starting".into()),
        }
    }

    fn order(self: Arc<Self>, partition: u32, order: order::Order) -> BoxFuture<'static, OrderReply> {
        crate::orders::carry_out(self, partition, order).boxed()
    }
}
