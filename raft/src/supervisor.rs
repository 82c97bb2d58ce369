//! Follows a replica's core: tells the group who leads, and opens the replica again when the core dies.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use openraft_rt::WatchReceiver;

use crate::apply::Failure;
use crate::error::Error;
use crate::group::{GroupInner, Health, leadership};
use crate::host::NodeInner;
use crate::machine::Halt;
use crate::metrics;
use crate::replica::Replica;

/// A group that dies more often than this within the window is not worth opening again: the process has to start anew.
const REBUILDS_MAX: usize = 3;
const WINDOW: Duration = Duration::from_secs(600);

/// Pause after a rebuild that did not even start.
const PAUSE: Duration = Duration::from_millis(200);

/// Supervises a replica that was just put into its group.
pub(crate) fn supervise(node: &Arc<NodeInner>, group: &Arc<GroupInner>, replica: Arc<Replica>) {
    let (node_, group) = (node.clone(), group.clone());
    node.tasks.spawn(async move { run(node_, group, replica).await });
}

async fn run(node: Arc<NodeInner>, group: Arc<GroupInner>, mut replica: Arc<Replica>) {
    let mut died: VecDeque<Instant> = VecDeque::new();
    loop {
        tokio::select! {
            ((), ()) = async { tokio::join!(follow(&group, &replica), replica.serve_probation()) } => {}
            () = node.stop.cancelled() => return,
        }
        // A replica that was taken out of its group on purpose is somebody else's to stop.
        if !group.replica().is_ok_and(|current| Arc::ptr_eq(&current, &replica)) {
            return;
        }
        let reason = match replica.figures().running_state {
            Ok(()) => "its tasks ended".to_owned(),
            Err(fatal) => fatal.to_string(),
        };
        group.set(None, Health::Rebuilding);
        replica.stop().await;
        if node.stop.is_cancelled() {
            return;
        }
        if let Some(failure) = replica.rows.progress.failure() {
            return end(&node, &group, Error::from(failure.clone()));
        }
        if node.log_failed() {
            return;
        }
        tracing::error!(partition = group.partition, reason, "a group's core died; opening it again from disk");
        let rows = replica.rows.clone();
        drop(replica);
        replica = loop {
            let now = Instant::now();
            died.retain(|at| now.duration_since(*at) < WINDOW);
            died.push_back(now);
            group.rebuilds.fetch_add(1, Ordering::Relaxed);
            metrics::rebuilt(group.partition);
            if died.len() > REBUILDS_MAX {
                let minutes = WINDOW.as_secs() / 60;
                let times = died.len();
                return node.die(format!(
                    "partition {} died {times} times within {minutes} minutes, last: {reason}",
                    group.partition
                ));
            }
            let machine = node.machine(group.partition);
            match node.start(&group, rows.clone(), machine).await {
                Ok(replica) => break replica,
                Err(error @ (Error::Halt(_) | Error::Store(_))) => return end(&node, &group, error),
                Err(error) => {
                    tracing::error!(partition = group.partition, %error, "a group could not be opened again");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = node.stop.cancelled() => return,
            }
        };
        group.set(Some(replica.clone()), Health::Running);
    }
}

/// A replica that cannot go on.
pub(crate) fn end(node: &NodeInner, group: &GroupInner, error: Error) {
    match error {
        Error::Halt(halt) => {
            tracing::error!(
                partition = group.partition,
                index = halt.index,
                reason = halt.reason,
                "this replica halts: it may not skip what it cannot apply"
            );
            metrics::halted(group.partition);
            group.set(None, Health::Halted(halt.to_string()));
        }
        // A disk that fails one group fails the others next.
        other => node.die(format!("partition {}: {other}", group.partition)),
    }
}

/// Ends the core of a replica whose rows were found to be of no use by somebody who read them.
pub(crate) async fn halt(group: &GroupInner, reason: &str) {
    let Ok(replica) = group.replica() else { return };
    let (index, reason) = (*group.applied.borrow(), reason.to_owned());
    replica.rows.progress.fail(&Failure::Halt(Halt { index, reason }));
    // The supervisor sees the core end and does the rest.
    if let Err(error) = replica.raft.shutdown().await {
        tracing::warn!(partition = group.partition, %error, "the core ended badly");
    }
}

/// Passes on who leads until the core ends.
async fn follow(group: &GroupInner, replica: &Replica) {
    let mut figures = replica.raft.server_metrics();
    loop {
        let now = leadership(&figures.borrow_and_update());
        group.leadership.send_if_modified(|known| {
            // A core that just started has not read its vote yet.
            if now.term < known.term || *known == now {
                return false;
            }
            *known = now;
            true
        });
        if figures.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::net::TcpListener;

    use super::*;
    use crate::net::Lane;
    use crate::net::link::{Introduction, Links};
    use crate::wire::frame::Body;
    use crate::wire::order::Order;
    use crate::wire::{self, Frame};
    use crate::{Batch, Committed, Config, Member, Node, StateMachine, Store};

    /// Keeps the last entry.
    struct Last;

    impl StateMachine for Last {
        type Reply = ();

        fn apply(&mut self, _: &Store, entries: &[Committed], batch: &mut Batch) -> Result<Vec<()>, Halt> {
            for entry in entries {
                batch.put(b"last", &entry.payload);
            }
            Ok(vec![(); entries.len()])
        }

        fn applied(&mut self, _: &Store) {}

        fn restored(&mut self, _: &Store) -> Result<(), Halt> {
            Ok(())
        }

        fn flushed(&mut self, _: &crate::Snapshot) {}
    }

    async fn node(dir: &std::path::Path) -> (Node<Last>, Member) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let member =
            Member { node: 1, endpoint: "client:1".into(), peer_endpoint: listener.local_addr().unwrap().to_string() };
        let mut config = Config::new("test", member.clone(), dir);
        config.partitions = 1;
        config.log.segment_bytes = 1 << 20;
        let node = Node::open(config, listener, |_| Last).await.unwrap();
        node.init(std::slice::from_ref(&member)).await.unwrap();
        (node, member)
    }

    /// Turns red when the supervisor does not start the replica again, or never gives up.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_dead_core_is_opened_again_but_not_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let (node, _) = node(dir.path()).await;
        let group = node.group(0).unwrap();
        let limit = Duration::from_secs(60);
        let mut leadership = group.leadership();
        for round in 0..=REBUILDS_MAX {
            let led = leadership.wait_for(|l| l.we_lead);
            let term = tokio::time::timeout(limit, led).await.unwrap().unwrap().term;
            let entry = Bytes::from(format!("round {round}"));
            group.propose(term, entry.clone()).await.unwrap();
            assert_eq!(group.store().unwrap().get(b"last").unwrap(), Some(entry));
            let replica = group.inner.replica().unwrap();
            let _ = replica.raft.external_request(|_| panic!("on purpose")).await;
            drop(replica);
            let lost = leadership.wait_for(|l| !l.we_lead);
            tokio::time::timeout(limit, lost).await.unwrap().unwrap();
        }
        let mut fatal = node.fatal();
        let died = tokio::time::timeout(limit, fatal.wait_for(|f| f.is_some())).await;
        let reason = died.unwrap().unwrap().clone().unwrap();
        assert!(reason.contains("partition 0"), "{reason}");
        assert_eq!(group.status().rebuilds, REBUILDS_MAX as u64 + 1);
        node.shutdown().await;
    }

    /// Turns red when the supervisor opens a replica again that was halted.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_replica_whose_rows_are_of_no_use_stays_down() {
        let dir = tempfile::tempdir().unwrap();
        let (node, _) = node(dir.path()).await;
        let group = node.group(0).unwrap();
        let mut leadership = group.leadership();
        let limit = Duration::from_secs(60);
        tokio::time::timeout(limit, leadership.wait_for(|l| l.we_lead)).await.unwrap().unwrap();
        group.halt("wrong checksum").await;
        tokio::time::timeout(limit, leadership.wait_for(|l| !l.we_lead)).await.unwrap().unwrap();
        let begun = Instant::now();
        while !matches!(group.status().health, Health::Halted(_)) {
            assert!(begun.elapsed() < limit, "{:?}", group.status().health);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(group.store().is_none() && group.read_barrier().await.is_err());
        group.halt("again").await;
        assert!(matches!(group.status().health, Health::Halted(reason) if reason.contains("wrong checksum")));
        assert_eq!(group.status().rebuilds, 0);
        node.shutdown().await;
    }

    /// Turns red when the server does not compare the names.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_peer_of_another_cluster_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (node, member) = node(dir.path()).await;
        for (cluster, answers) in [("test", true), ("other", false)] {
            let introduction = Introduction { cluster: cluster.into(), node: 2 };
            let links = Links::new(introduction, Default::default());
            let question =
                Frame { body: Some(Body::Order(wire::Order { order: Some(Order::Heard(7)) })), ..Frame::default() };
            let link = links.get(&member.peer_endpoint, Lane::Control);
            match link.ask(question, Duration::from_secs(60)).await {
                Ok(_) => assert!(answers, "the peer of {cluster} was served"),
                Err(refused) => {
                    assert!(!answers, "{refused}");
                    assert!(refused.to_string().contains(r#"cluster "test""#), "{refused}");
                }
            }
        }
        node.shutdown().await;
    }
}
