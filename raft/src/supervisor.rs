//! Follows a replica's core: tells the group who leads, and opens the replica again when the core dies.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use openraft_rt::WatchReceiver;

use crate::error::Error;
use crate::group::{GroupInner, Health, leadership};
use crate::host::NodeInner;
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
