//! A node from its opening to its shutdown, and what is asked of it as a whole.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::{ChangeError, Error};
use crate::group::{GroupInner, Health, Leader};
use crate::host::{Machines, NodeInner};
use crate::identity::Identity;
use crate::log::{FileIo, Log, LogIo, SlowSync};
use crate::net::link::{Introduction, Links};
use crate::net::server::Server;
use crate::node::Config;
use crate::progress::lock;
use crate::rhythm::Rhythm;
use crate::store::Shared;
use crate::types::Member;
use crate::wire::order::Order;
use crate::{balance, founding, orders, purge, timing};

impl NodeInner {
    /// See [`Node::open`](crate::Node::open).
    pub(crate) fn open(
        config: Config,
        listener: TcpListener,
        machines: Machines,
    ) -> BoxFuture<'static, Result<Arc<Self>, Error>> {
        async move {
            config.check()?;
            let rhythm = Rhythm::new(config.timing.heartbeat, config.member.node);
            let raft_config = timing::raft_config(&config.cluster, &config.timing, rhythm.heartbeat_interval())
                .map_err(|e| Error::Config { field: "timing", reason: e.to_string() })?;
            let raft_config = Arc::new(raft_config);
            let opening = {
                let config = config.clone();
                tokio::task::spawn_blocking(move || {
                    let node = config.member.node;
                    let identity = Identity::open(&config.dir, &config.cluster, node, config.partitions)?;
                    let io: Box<dyn LogIo> = if config.sync_delay.is_zero() {
                        Box::new(FileIo)
                    } else {
                        Box::new(SlowSync::new(FileIo, config.sync_delay))
                    };
                    let log = Log::open(identity.log_dir(), config.log.clone(), io)?;
                    let shared = Shared::new(&config.store, config.partitions as usize)?;
                    Ok::<_, Error>((identity, log, shared))
                })
            };
            let (identity, log, shared) = opening.await.map_err(|e| Error::Raft(e.to_string()))??;

            let stop = CancellationToken::new();
            let introduction = Introduction { cluster: config.cluster.clone(), node: config.member.node };
            let entry_bytes_max = config.log.entry_bytes_max().min(crate::net::MESSAGE_BYTES_MAX / 4);
            let groups = (0..config.partitions)
                .map(|p| Arc::new(GroupInner::new(p, config.timing.clone(), entry_bytes_max)))
                .collect();
            let log_failed = log.failed();
            let inner = Arc::new(NodeInner {
                votes_from: Instant::now() + config.timing.lease(),
                config,
                identity,
                shared,
                links: Arc::new(Links::new(introduction, stop.clone())),
                groups,
                raft_config,
                rhythm,
                machines,
                log: Mutex::new(Some(Arc::new(log))),
                handler: RwLock::default(),
                fatal: watch::Sender::default(),
                draining: AtomicBool::new(false),
                stop,
                tasks: TaskTracker::new(),
                founders: RwLock::default(),
                opening: tokio::sync::Mutex::default(),
            });
            if let Err(error) = inner.begin(listener, log_failed).await {
                inner.shutdown().await;
                return Err(error);
            }
            Ok(inner)
        }
        .boxed()
    }

    async fn begin(
        self: &Arc<Self>,
        listener: TcpListener,
        mut log_failed: watch::Receiver<Option<Arc<crate::log::Error>>>,
    ) -> Result<(), Error> {
        let node = self;
        for group in &node.groups {
            let place = node.place(group.partition);
            match place.open()? {
                Some(current) if current.replica != 0 => node.open_replica(group, place, current).await?,
                _ => {}
            }
        }
        let service = Server::service(node.clone(), node.stop.clone());
        // The builder's own setting is not applied to a listener that was given. Without it an acknowledgement that is sent
        // after another waits for the peer's delayed ACK, up to 40 ms.
        let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
        let serve = tonic::transport::Server::builder()
            .initial_stream_window_size(8 << 20)
            .initial_connection_window_size(8 << 20)
            .http2_keepalive_interval(Some(Duration::from_secs(2)))
            .http2_keepalive_timeout(Some(Duration::from_secs(3)))
            .add_service(service)
            .serve_with_incoming_shutdown(incoming, node.stop.clone().cancelled_owned());
        let inner = node.clone();
        node.tasks.spawn(async move {
            if let Err(error) = serve.await {
                inner.die(format!("the peer server ended: {error}"));
            }
        });
        let inner = node.clone();
        node.tasks.spawn(async move {
            let failed = tokio::select! {
                failed = log_failed.wait_for(|f| f.is_some()) => failed.ok().and_then(|f| f.clone()),
                () = inner.stop.cancelled() => None,
            };
            if let Some(error) = failed {
                inner.die(format!("the log failed: {error}"));
            }
        });
        node.tasks.spawn(balance::tend(node.clone()));
        node.tasks.spawn(purge::tend(node.clone()));
        Ok(())
    }

    /// See [`Node::init`](crate::Node::init).
    pub(crate) fn found(self: Arc<Self>, members: Vec<Member>) -> BoxFuture<'static, Result<(), Error>> {
        async move { founding::found(&self, &members).await }.boxed()
    }

    /// See [`Node::drain`](crate::Node::drain).
    pub(crate) fn drain(self: &Arc<Self>) -> BoxFuture<'_, Result<(), ChangeError>> {
        async move {
            self.set_draining(true);
            let give = async {
                while balance::give_away(self).await > 0 {
                    tokio::time::sleep(self.config.timing.heartbeat).await;
                }
            };
            let limit = Duration::from_secs(30);
            tokio::time::timeout(limit, give).await.map_err(|_| {
                ChangeError::TimedOut(format!("this node still leads after {limit:?}: no other voter is ready"))
            })
        }
        .boxed()
    }

    /// Marks the node as being drained or not.
    pub(crate) fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
        for group in &self.groups {
            if let Ok(replica) = group.replica() {
                replica.stand_for_election(!draining);
            }
        }
    }

    /// Has the leaders of all groups carry out an order, one after the other.
    pub(crate) fn everywhere(self: &Arc<Self>, order: Order) -> BoxFuture<'_, Result<(), ChangeError>> {
        async move {
            for group in &self.groups {
                self.at_leader(group.partition, order.clone()).await?;
            }
            Ok(())
        }
        .boxed()
    }

    /// Has the leader of a group carry out an order, following it when it changes.
    pub(crate) fn at_leader(self: &Arc<Self>, partition: u32, order: Order) -> BoxFuture<'_, Result<(), ChangeError>> {
        async move {
            let group = self.groups.get(partition as usize);
            let group: &Arc<GroupInner> =
                group.ok_or_else(|| ChangeError::Refused(format!("there is no partition {partition}")))?;
            // A new replica may have to fetch everything; the leader has the tighter limits.
            let limit = Duration::from_secs(630);
            let patience = self.config.timing.election_max * 4;
            let begun = Instant::now();
            let mut hint: Option<Leader> = None;
            loop {
                let leader = hint.take().or_else(|| group.leadership.borrow().leader.clone());
                let outcome = match leader {
                    Some(leader) => {
                        let to = Member {
                            node: leader.node,
                            endpoint: leader.endpoint,
                            peer_endpoint: leader.peer_endpoint,
                        };
                        orders::outcome(self.send_order(&to, group.partition, order.clone(), limit).await)
                    }
                    None => Err(ChangeError::NotLeader { leader: None }),
                };
                match outcome {
                    Err(ChangeError::NotLeader { leader }) if begun.elapsed() < patience => hint = leader,
                    other => return other,
                }
                tokio::time::sleep(self.config.timing.heartbeat).await;
            }
        }
        .boxed()
    }

    /// See [`Node::shutdown`](crate::Node::shutdown).
    pub(crate) fn shutdown(self: &Arc<Self>) -> BoxFuture<'_, ()> {
        async move {
            let node = self;
            node.stop.cancel();
            for group in &node.groups {
                let _turn = node.opening.lock().await;
                let replica = group.replica().ok();
                group.set(None, Health::Stopped);
                if let Some(replica) = replica {
                    replica.stop().await;
                }
            }
            node.tasks.close();
            node.tasks.wait().await;
            let log = lock(&node.log).take();
            // Writes what is queued, and waits for it.
            let _ = tokio::task::spawn_blocking(move || drop(log)).await;
        }
        .boxed()
    }
}
