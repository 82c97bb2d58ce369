//! Who leads: handing leadership over, spreading it, keeping it off a node that is being drained.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use openraft::RaftMetrics;

use crate::error::ChangeError;
use crate::group::{GroupInner, leads};
use crate::host::NodeInner;
use crate::membership::{self, is_alive, led};
use crate::metrics;
use crate::store::Strain;
use crate::types::{Member, TypeConfig};
use crate::wire::order::Order;
use crate::wire::order_reply::Result as Kind;

/// A target that lacks more entries than this would have to catch up while nobody leads.
const LAG_MAX: u64 = 16;

/// How long a group keeps its leader before it is moved for balance alone.
const SETTLED: Duration = Duration::from_secs(5);

const ASK: Duration = Duration::from_millis(500);

/// The voters that could take over at once, other than the leader itself.
fn ready(group: &GroupInner, figures: &RaftMetrics<TypeConfig>) -> Vec<(u64, Member)> {
    let membership = figures.membership_config.membership();
    if membership.get_joint_config().len() > 1 {
        // A voter that was only just promoted is not settled yet.
        return Vec::new();
    }
    let last = figures.last_log_index.unwrap_or(0);
    let lacks = |id: &u64| {
        let matched = figures.replication.as_ref().and_then(|all| *all.get(id)?);
        last.saturating_sub(matched.map_or(0, |m| m.index))
    };
    let mut ready: Vec<(u64, Member)> = membership
        .voter_ids()
        .filter(|id| *id != figures.id && is_alive(group, figures, *id) && lacks(id) <= LAG_MAX)
        .filter_map(|id| Some((lacks(&id), membership.get_node(&id)?.clone())))
        .collect();
    ready.sort_by_key(|(lacks, member)| (*lacks, member.node));
    ready
}

async fn may_lead(node: &Arc<NodeInner>, group: &GroupInner, member: &Member) -> bool {
    let asked = node.send_order(member, group.partition, Order::MayLead(true), ASK).await;
    asked.is_ok_and(|reply| reply.result == i32::from(Kind::Ok))
}

/// The voter that would be the best next leader, if one is ready and willing.
pub(crate) async fn best_target(
    node: &Arc<NodeInner>,
    group: &GroupInner,
    figures: &RaftMetrics<TypeConfig>,
) -> Option<Member> {
    for (_, member) in ready(group, figures) {
        if may_lead(node, group, &member).await {
            return Some(member);
        }
    }
    None
}

/// Hands leadership of a group to the replica on `to` and waits until it leads.
pub(crate) async fn transfer(group: &GroupInner, to: u64) -> Result<(), ChangeError> {
    let (replica, figures) = led(group)?;
    let membership = figures.membership_config.membership();
    let target = membership.voter_ids().find(|id| {
        let member = membership.get_node(id);
        member.is_some_and(|member| member.node == to)
    });
    let target = target.ok_or(ChangeError::UnknownNode(to))?;
    if target == figures.id {
        return Ok(());
    }
    if !ready(group, &figures).iter().any(|(_, member)| member.node == to) {
        return Err(ChangeError::Refused(format!(
            "node {to} is not ready to lead: it lacks more than {LAG_MAX} entries, does not answer, or only just became a voter"
        )));
    }
    group.handing_over.fetch_max(figures.vote.leader_id.term, Ordering::SeqCst);
    replica.raft.trigger().transfer_leader(target).await.map_err(|e| ChangeError::Unavailable(e.to_string()))?;
    let mut leadership = group.leadership.subscribe();
    let limit = group.timing.election_max * 2;
    let led = leadership.wait_for(|l| l.leader.as_ref().is_some_and(|l| l.node == to));
    let done = tokio::time::timeout(limit, led).await.is_ok_and(|led| led.is_ok());
    metrics::transferred(group.partition, done);
    if !done {
        // openraft knows no way back: a leader that once offered its place takes no writes and sends no heartbeats, until the others have
        // elected somebody. That takes them an election time-out.
        return Err(ChangeError::TimedOut(format!("node {to} did not lead within {limit:?}")));
    }
    tracing::info!(partition = group.partition, node = to, "leadership was handed over");
    Ok(())
}

/// Opens the replica again, if it leads in `term`: openraft has no way to step down, and a replica that starts leads nothing.
pub(crate) async fn end_term(group: &GroupInner, term: u64) -> Result<(), ChangeError> {
    let replica = group.replica().map_err(ChangeError::Unavailable)?;
    let figures = replica.figures();
    if leads(&figures) && figures.vote.leader_id.term == term {
        tracing::warn!(partition = group.partition, term, "the term is to end: the group is opened again");
        // The supervisor sees the core end and does the rest.
        replica.raft.shutdown().await.map_err(|e| ChangeError::Unavailable(e.to_string()))?;
    }
    Ok(())
}

/// Hands over what this node leads; returns how many groups it still leads.
pub(crate) async fn give_away(node: &Arc<NodeInner>) -> usize {
    let mut left = 0;
    for group in &node.groups {
        let Some(figures) = group.metrics().filter(leads) else { continue };
        let moved = match best_target(node, group, &figures).await {
            Some(member) => transfer(group, member.node).await.is_ok(),
            None => false,
        };
        if !moved {
            left += 1;
        }
    }
    left
}

/// Looks after what this node leads, until it stops.
pub(crate) async fn tend(node: Arc<NodeInner>) {
    let mut since: Vec<Option<(u64, Instant)>> = vec![None; node.groups.len()];
    let mut beat = tokio::time::interval(Duration::from_secs(1));
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = node.stop.cancelled() => return,
        }
        let strain = node.groups.iter().map(|group| group.strain()).fold(Strain::default(), Strain::and);
        metrics::stores(node.shared.write_buffer_bytes(), node.shared.cache_bytes(), strain);
        for (group, since) in node.groups.iter().zip(&mut since) {
            metrics::status(&group.status());
            let Some(figures) = group.metrics().filter(leads) else {
                *since = None;
                continue;
            };
            membership::finish_joint(group).await;
            let term = figures.vote.leader_id.term;
            if since.is_none_or(|(led, _)| led != term) {
                *since = Some((term, Instant::now()));
            }
            if node.draining.load(Ordering::Relaxed) {
                if let Some(member) = best_target(&node, group, &figures).await {
                    report(group, transfer(group, member.node).await);
                }
            } else if node.config.balance && since.is_some_and(|(_, at)| at.elapsed() >= SETTLED) {
                let Some(member) = preferred(&node, group, &figures).await else { continue };
                report(group, transfer(group, member.node).await);
                // One move a beat, so that its effect is seen before the next; and a failed one is not repeated at once.
                *since = None;
                break;
            }
        }
        let known: Vec<String> = node.members().into_iter().map(|m| m.peer_endpoint).collect();
        if !known.is_empty() {
            node.links.retain(|address| known.iter().any(|k| k == address));
        }
    }
}

fn report(group: &GroupInner, outcome: Result<(), ChangeError>) {
    if let Err(error) = outcome {
        tracing::warn!(partition = group.partition, %error, "leadership could not be handed over");
    }
}

/// The voter that should lead this group, if it is another node that is ready now and the group is quiet enough to move.
async fn preferred(node: &Arc<NodeInner>, group: &GroupInner, figures: &RaftMetrics<TypeConfig>) -> Option<Member> {
    let membership = figures.membership_config.membership();
    let mut nodes: Vec<u64> =
        membership.voter_ids().filter_map(|id| membership.get_node(&id).map(|m| m.node)).collect();
    nodes.sort_unstable();
    let wanted = *nodes.get(group.partition as usize % nodes.len().max(1))?;
    if wanted == node.me() {
        return None;
    }
    let (_, member) = ready(group, figures).into_iter().find(|(lacks, m)| m.node == wanted && *lacks == 0)?;
    may_lead(node, group, &member).await.then_some(member)
}
