//! What may leave the log: entries that a durable checkpoint holds and that no follower worth waiting for still needs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::RaftMetrics;

use crate::group::{GroupInner, leads, since};
use crate::host::NodeInner;
use crate::node::Checkpoints;
use crate::progress::{Progress, lock};
use crate::replica::log_group;
use crate::types::TypeConfig;

/// Makes checkpoints and cuts logs until the node stops.
pub(crate) async fn tend(node: Arc<NodeInner>) {
    let mut led: Vec<Option<(u64, Instant)>> = vec![None; node.groups.len()];
    let mut beat = tokio::time::interval(node.config.checkpoints.interval);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = node.stop.cancelled() => return,
        }
        for (group, led) in node.groups.iter().zip(&mut led) {
            look_after(&node, group, led).await;
        }
    }
}

async fn look_after(node: &NodeInner, group: &GroupInner, led: &mut Option<(u64, Instant)>) {
    let Ok(replica) = group.replica() else { return };
    let figures = replica.figures();
    let progress = &replica.rows.progress;
    let limits = &node.config.checkpoints;

    let term = figures.vote.leader_id.term;
    if !leads(&figures) {
        *led = None;
    } else if led.is_none_or(|(known, _)| known != term) {
        *led = Some((term, Instant::now()));
    }

    let (bytes, age) = progress.since_checkpoint();
    if (bytes >= limits.log_bytes || (bytes > 0 && age >= limits.age)) && replica.raft.trigger().snapshot().await.is_err() {
        return;
    }
    let incarnation = lock(&replica.rows.current).incarnation;
    let pinned = node.log().map_or(0, |log| {
        let stats = log.stats();
        let of = log_group(group.partition, incarnation);
        stats.pinned_bytes.get(&of).copied().unwrap_or(0)
    });
    let led_for = led.map(|(_, since)| since.elapsed());
    let upto = floor(&figures, progress, limits, pinned, led_for);
    if upto > figures.purged.map_or(0, |id| id.index) {
        // Fails when the core is gone; the supervisor sees to that.
        let _ = replica.raft.trigger().purge_log(upto).await;
    }
}

/// The last entry that may go. `led_for`: how long this replica has been leading, if it is.
fn floor(
    figures: &RaftMetrics<TypeConfig>,
    progress: &Progress,
    limits: &Checkpoints,
    pinned_bytes: u64,
    led_for: Option<Duration>,
) -> u64 {
    let durable = progress.durable_mark().applied.map_or(0, |id| id.index);
    if pinned_bytes > limits.log_bytes_max {
        // A follower that still needs more gets a snapshot; a full disk would stop everybody.
        return durable;
    }
    let mut upto = durable;
    if let Some(led_for) = led_for {
        for (id, _) in figures.membership_config.membership().nodes() {
            if *id == figures.id {
                continue;
            }
            let matched = figures.replication.as_ref().and_then(|all| *all.get(id)?);
            let heard = figures.heartbeat.as_ref().and_then(|all| all.get(id)?.as_ref());
            // One that never answered this leader may have been heard until just before its term.
            let silent = heard.map_or(led_for, since);
            if silent < limits.follower_patience {
                upto = upto.min(matched.map_or(0, |m| m.index));
            }
        }
    } else {
        // A follower does not know who else needs what; it may be the next leader, so it keeps as much as a leader would for one that
        // fell silent.
        upto = upto.min(progress.checkpoint_before(limits.follower_patience));
    }
    match progress.held() {
        Some(held) => upto.min(held),
        None => upto,
    }
}
