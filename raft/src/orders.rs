//! What nodes ask of each other, and the answers as errors.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::balance;
use crate::error::{CallError, ChangeError};
use crate::group::Leader;
use crate::host::NodeInner;
use crate::membership;
use crate::types::Member;
use crate::wire::order::Order;
use crate::wire::order_reply::Result as Kind;
use crate::wire::{self, OrderReply};

fn reply(kind: Kind, reason: impl ToString) -> OrderReply {
    OrderReply {
        result: kind.into(),
        reason: reason.to_string(),
        leader: None,
    }
}

/// Carries out another node's order.
pub(crate) async fn carry_out(node: Arc<NodeInner>, partition: u32, order: Order) -> OrderReply {
    let Some(group) = node.groups.get(partition as usize).cloned() else {
        return reply(Kind::Refused, format!("there is no partition {partition} here"));
    };
    let yes_no = |yes: bool| reply(if yes { Kind::Ok } else { Kind::No }, "");
    match order {
        Order::Heard(replica) => yes_no(node.identity.has_heard(replica)),
        Order::MayLead(_) => {
            let draining = node.draining.load(Ordering::Relaxed);
            yes_no(!draining && group.replica().is_ok_and(|replica| replica.may_be_elected()))
        }
        Order::Create(replica) => match node.create(&group, replica).await {
            Ok(()) => reply(Kind::Ok, ""),
            Err(e) => reply(Kind::Refused, e),
        },
        Order::Destroy(replica) => match node.destroy(&group, replica).await {
            Ok(()) => reply(Kind::Ok, ""),
            Err(e) => reply(Kind::Refused, e),
        },
        Order::Add(member) => into_reply(membership::add(&node, &group, member.into()).await),
        Order::Remove(id) => into_reply(membership::remove(&node, &group, id).await),
        Order::Transfer(to) => into_reply(balance::transfer(&group, to).await),
    }
}

fn into_reply(outcome: Result<(), ChangeError>) -> OrderReply {
    match outcome {
        Ok(()) => reply(Kind::Ok, ""),
        Err(ChangeError::NotLeader { leader }) => OrderReply {
            leader: leader.map(|l| wire::Member {
                node: l.node,
                endpoint: l.endpoint,
                peer_endpoint: l.peer_endpoint,
            }),
            ..reply(Kind::NotLeader, "")
        },
        Err(ChangeError::Busy) => reply(Kind::Busy, ""),
        Err(ChangeError::UnknownNode(node)) => reply(Kind::UnknownNode, node),
        Err(ChangeError::Refused(reason)) => reply(Kind::Refused, reason),
        Err(ChangeError::TimedOut(reason)) => reply(Kind::TimedOut, reason),
        Err(ChangeError::Unavailable(reason)) => reply(Kind::Unavailable, reason),
    }
}

/// The answer as the error it was.
pub(crate) fn outcome(reply: Result<OrderReply, CallError>) -> Result<(), ChangeError> {
    let reply = reply.map_err(|e| ChangeError::Unavailable(e.to_string()))?;
    match Kind::try_from(reply.result) {
        Ok(Kind::Ok) => Ok(()),
        Ok(Kind::NotLeader) => Err(ChangeError::NotLeader {
            leader: reply.leader.map(|m| Leader::from(Member::from(m))),
        }),
        Ok(Kind::Busy) => Err(ChangeError::Busy),
        Ok(Kind::UnknownNode) => Err(ChangeError::UnknownNode(reply.reason.parse().unwrap_or(0))),
        Ok(Kind::TimedOut) => Err(ChangeError::TimedOut(reply.reason)),
        Ok(Kind::Unavailable) => Err(ChangeError::Unavailable(reply.reason)),
        Ok(Kind::No | Kind::Refused) => Err(ChangeError::Refused(reply.reason)),
        Err(_) => Err(ChangeError::Refused(format!("an answer of kind {}", reply.result))),
    }
}
