//! Checkpoints, and what may leave a log, after the product's rules.

use std::time::Duration;

use openraft::RaftMetrics;
use openraft_rt::WatchReceiver;

use super::cluster::{Happening, leads};
use super::runtime::{self, Runtime};
use super::types::TypeConfig;
use crate::world::{NodeEvent, World};

impl World {
    /// Looks whether a checkpoint is due and whether the log may be cut.
    pub fn look_after_log(&mut self, number: usize) {
        let now = self.now();
        let every = self.swarm.checkpoint_every;
        let applied = self.nodes[number].applied;
        let again = self.nodes[number].clock;
        let Some(cluster) = &mut self.cluster else { return };
        let (keep_every, patience) = (cluster.setting.keep_every, cluster.setting.patience);
        let seat = &mut cluster.seats[number];
        if let Some(raft) = seat.raft.clone() {
            let figures = raft.metrics().borrow_watched().clone();
            let term = figures.vote.leader_id.term;
            if !leads(&figures) {
                seat.led = None;
            } else if seat.led.is_none_or(|(known, _)| known != term) {
                seat.led = Some((term, now));
            }
            let durable = seat.port.durable().index();
            let due = applied - durable.min(applied) >= every;
            let led_for = seat.led.map(|(_, since)| Duration::from_micros(now - since));
            let mut upto = floor(number, &figures, durable, patience, led_for, || {
                let old = now.saturating_sub(patience.as_micros() as u64);
                seat.checkpoints.iter().rev().find(|(_, at)| *at <= old).map_or(0, |(index, _)| *index)
            });
            let held = runtime::within(number, || seat.port.held(<runtime::Instant as openraft_rt::Instant>::now()));
            upto = held.map_or(upto, |held| upto.min(held));
            let purge = upto > figures.purged.map_or(0, |id| id.index);
            self.coverage.purges += u64::from(purge);
            runtime::within(number, || {
                <Runtime as openraft_rt::AsyncRuntime>::spawn(async move {
                    // Both fail when the core is gone, which its follower tells.
                    if due && raft.trigger().snapshot().await.is_err() {
                        return;
                    }
                    if purge {
                        let _ = raft.trigger().purge_log(upto).await;
                    }
                })
            });
        }
        self.at_node(now + again.lasts(keep_every), number, NodeEvent::Raft(Happening::LookAfterLog));
    }
}

/// The last entry that may go: in a checkpoint, and not needed by any follower worth waiting for.
fn floor(
    node: usize,
    figures: &RaftMetrics<TypeConfig>,
    durable: u64,
    patience: Duration,
    led_for: Option<Duration>,
    checkpoint_before: impl FnOnce() -> u64,
) -> u64 {
    let mut upto = durable;
    let Some(led_for) = led_for else {
        // A follower does not know who else needs what; it may be the next leader.
        return upto.min(checkpoint_before());
    };
    for (id, _) in figures.membership_config.membership().nodes() {
        if *id == figures.id {
            continue;
        }
        let matched = figures.replication.as_ref().and_then(|all| *all.get(id)?);
        let heard = figures.heartbeat.as_ref().and_then(|all| all.get(id)?.as_ref());
        // One that never answered this leader may have been heard until just before its term.
        let silent = heard.map_or(led_for, |at| runtime::since(node, at.into_inner()));
        if silent < patience {
            upto = upto.min(matched.map_or(0, |id| id.index));
        }
    }
    upto
}
