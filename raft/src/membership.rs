//! Who belongs to a group. One change at a time, each guarded by the membership it was decided on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, Precondition, RaftMetrics};

use crate::balance;
use crate::error::ChangeError;
use crate::group::{GroupInner, Leader, leads, since};
use crate::host::NodeInner;
use crate::orders;
use crate::replica::Replica;
use crate::types::{Member, TypeConfig, node_of, replica_id};
use crate::wire::order::Order;

/// How long a new replica may take to catch up, a snapshot included.
const CATCH_UP: Duration = Duration::from_secs(600);

/// How long one entry may take to be agreed on.
const AGREE: Duration = Duration::from_secs(10);

/// A new replica may vote when it lacks no more than this many entries.
const LAG_MAX: u64 = 64;

/// The group's figures if this node leads it.
pub(crate) fn led(group: &GroupInner) -> Result<(Arc<Replica>, RaftMetrics<TypeConfig>), ChangeError> {
    let replica = group.replica().map_err(ChangeError::Unavailable)?;
    let figures = replica.figures();
    if leads(&figures) {
        return Ok((replica, figures));
    }
    let membership = figures.membership_config.membership();
    let leader = figures.current_leader.filter(|id| *id != figures.id);
    let leader = leader.and_then(|id| membership.get_node(&id)).cloned();
    Err(ChangeError::NotLeader { leader: leader.map(Leader::from) })
}

fn changed<T>(outcome: Result<T, RaftError<TypeConfig, ClientWriteError<TypeConfig>>>) -> Result<T, ChangeError> {
    outcome.map_err(|e| match e {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            ChangeError::NotLeader { leader: forward.leader_node.map(Leader::from) }
        }
        RaftError::APIError(
            ClientWriteError::PreconditionFailed(_)
            | ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_)),
        ) => ChangeError::Busy,
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => {
            ChangeError::TimedOut("the leader changed meanwhile".into())
        }
        RaftError::APIError(other) => ChangeError::Refused(other.to_string()),
        RaftError::Fatal(fatal) => ChangeError::Unavailable(fatal.to_string()),
    })
}

async fn in_time<T>(what: &str, limit: Duration, work: impl Future<Output = T>) -> Result<T, ChangeError> {
    tokio::time::timeout(limit, work)
        .await
        .map_err(|_| ChangeError::TimedOut(format!("{what} took more than {limit:?}")))
}

/// Changes the members if they are still those of `figures`.
async fn change(
    replica: &Replica,
    figures: &RaftMetrics<TypeConfig>,
    members: ChangeMembers<u64, Member>,
) -> Result<(), ChangeError> {
    let guard = Precondition::LastMembershipLogId { last_membership_log_id: *figures.membership_config.log_id() };
    let change = replica.raft.change_membership_if(members, false, [guard]);
    changed(in_time("agreeing on the members", AGREE, change).await?)?;
    Ok(())
}

/// Makes a node a voter of the group; this node must lead it.
pub(crate) async fn add(node: &Arc<NodeInner>, group: &GroupInner, member: Member) -> Result<(), ChangeError> {
    let _turn = group.changing.try_lock().map_err(|_| ChangeError::Busy)?;
    let (replica, figures) = led(group)?;
    let membership = figures.membership_config.membership();
    if membership.get_joint_config().len() > 1 {
        return Err(ChangeError::Busy);
    }
    let present = membership.nodes().find(|(_, m)| m.node == member.node);
    let present = present.map(|(id, known)| (*id, known.clone()));
    let id = match present {
        Some((_, known)) if known.peer_endpoint != member.peer_endpoint => {
            return Err(ChangeError::Refused(format!(
                "node {} is a member at {} already; remove it before adding it at {}",
                member.node, known.peer_endpoint, member.peer_endpoint
            )));
        }
        Some((id, _)) if membership.voter_ids().any(|voter| voter == id) => return Ok(()),
        Some((id, _)) => id,
        None => {
            let id = begin(node, group, &figures, &member).await?;
            let add = replica.raft.add_learner(id, member.clone(), false);
            changed(in_time("adding a learner", AGREE, add).await?)?;
            id
        }
    };
    let wait = replica.raft.wait(Some(CATCH_UP));
    let caught_up = wait.metrics(
        |m| {
            let matched = m.replication.as_ref().and_then(|r| *r.get(&id)?);
            let lag = m.last_log_index.unwrap_or(0).saturating_sub(matched.map_or(0, |m| m.index));
            !leads(m) || (matched.is_some() && lag <= LAG_MAX)
        },
        "a learner catches up",
    );
    caught_up.await.map_err(|e| ChangeError::TimedOut(e.to_string()))?;
    let (replica, figures) = led(group)?;
    change(&replica, &figures, ChangeMembers::AddVoterIds([id].into())).await?;
    tracing::info!(partition = group.partition, node = member.node, "a node votes");
    Ok(())
}

/// Has an empty replica begin on a node that has none.
///
/// Its sequence number is a log index no membership so far can have used: every one was taken below the entry that brought it in. Only its
/// low 32 bits fit, so a replica of this node that was removed a multiple of 2^32 entries ago to the very entry would have had the same.
async fn begin(
    node: &Arc<NodeInner>,
    group: &GroupInner,
    figures: &RaftMetrics<TypeConfig>,
    member: &Member,
) -> Result<u64, ChangeError> {
    let sequence = (figures.last_log_index.unwrap_or(0) + 1) & u64::from(u32::MAX);
    let id = replica_id(member.node, sequence as u32);
    let reply = node.send_order(member, group.partition, Order::Create(id), AGREE).await;
    orders::outcome(reply)?;
    Ok(id)
}

/// Takes a node out of the group; this node must lead it. Fine when it is no member.
pub(crate) async fn remove(node: &Arc<NodeInner>, group: &Arc<GroupInner>, gone: u64) -> Result<(), ChangeError> {
    let _turn = group.changing.try_lock().map_err(|_| ChangeError::Busy)?;
    let (replica, figures) = led(group)?;
    let membership = figures.membership_config.membership();
    if membership.get_joint_config().len() > 1 {
        return Err(ChangeError::Busy);
    }
    let leaving = membership.nodes().filter(|(id, _)| node_of(**id) == gone);
    let leaving: Vec<(u64, Member)> = leaving.map(|(id, m)| (*id, m.clone())).collect();
    let ids: BTreeSet<u64> = leaving.iter().map(|(id, _)| *id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let left: BTreeSet<u64> = membership.voter_ids().filter(|v| !ids.contains(v)).collect();
    if left.is_empty() {
        return Err(ChangeError::Refused("it is the last voter".into()));
    }
    let alive = left.iter().filter(|id| is_alive(group, &figures, **id)).count();
    if alive * 2 <= left.len() {
        return Err(ChangeError::Refused(format!(
            "of the {} voters that stay only {alive} answer, which is no majority",
            left.len()
        )));
    }
    if ids.contains(&figures.id) {
        // A leader that removes itself leads on without a vote; it hands over first, and the next leader removes it.
        let target = balance::best_target(node, group, &figures).await;
        let target = target.ok_or_else(|| ChangeError::Refused("no other voter is ready to lead".into()))?;
        balance::transfer(group, target.node).await?;
        return Err(ChangeError::NotLeader { leader: Some(Leader::from(target)) });
    }
    let voters: BTreeSet<u64> = membership.voter_ids().filter(|v| ids.contains(v)).collect();
    let members = if voters.is_empty() { ChangeMembers::RemoveNodes(ids) } else { ChangeMembers::RemoveVoters(voters) };
    change(&replica, &figures, members).await?;
    tracing::info!(partition = group.partition, node = gone, "a node was removed");
    for (id, member) in leaving {
        // A courtesy: a replica that does not hear it is refused by everybody.
        let (node_, partition) = (node.clone(), group.partition);
        node.tasks.spawn(async move {
            let told = node_.send_order(&member, partition, Order::Destroy(id), AGREE).await;
            if let Err(error) = told {
                tracing::warn!(partition, node = member.node, %error, "a removed node was not told");
            }
        });
    }
    Ok(())
}

/// Whether a replica answered its leader within two election time-outs.
pub(crate) fn is_alive(group: &GroupInner, figures: &RaftMetrics<TypeConfig>, id: u64) -> bool {
    let heard = figures.heartbeat.as_ref().and_then(|all| all.get(&id)?.as_ref());
    id == figures.id || heard.is_some_and(|at| since(at) < group.timing.election_max * 2)
}

/// Finishes a change that its leader did not live to finish.
pub(crate) async fn finish_joint(group: &GroupInner) {
    let Ok(_turn) = group.changing.try_lock() else { return };
    let Ok((replica, figures)) = led(group) else { return };
    let effective = &figures.membership_config;
    if effective.log_id() != figures.committed_membership_config.log_id() {
        return;
    }
    let [_, last] = effective.membership().get_joint_config().as_slice() else {
        return;
    };
    tracing::warn!(partition = group.partition, voters = ?last, "finishing a membership change that was left half done");
    let members = ChangeMembers::ReplaceAllVoters(last.clone());
    if let Err(error) = change(&replica, &figures, members).await {
        tracing::warn!(partition = group.partition, %error, "the change is still half done");
    }
}
