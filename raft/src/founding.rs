//! How a cluster begins: every founder makes its replicas, and one per group, a different one where there are several groups, starts it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use openraft::errors::{InitializeError, RaftError};

use crate::error::Error;
use crate::group::{GroupInner, Health};
use crate::host::NodeInner;
use crate::types::{Member, replica_id};
use crate::wire::order::Order;
use crate::wire::order_reply::Result as Kind;

const ASK: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(50);

/// How long the starter waits for the others' replicas. Without them the group begins later, by an election time-out or two.
const GATHER: Duration = Duration::from_secs(5);

/// Sequence number of founding replicas. Later ones are log indexes above it.
const FOUNDING: u32 = 1;

/// Founds what is not there yet.
pub(crate) async fn found(node: &Arc<NodeInner>, members: &[Member]) -> Result<(), Error> {
    let members = check(node, members)?;
    {
        let mut founders = node.founders.write().unwrap_or_else(PoisonError::into_inner);
        *founders = members.clone();
    }
    let me = node.me();
    let mut missing = Vec::new();
    let mut empty = true;
    for group in &node.groups {
        if group.health() != Health::Vacant {
            empty = false;
        } else if node.place(group.partition).open()?.is_none() {
            missing.push(group.clone());
        } else {
            // It was a member once and was removed; who wants it back adds it.
            empty = false;
        }
    }
    if empty {
        remember(node, &members).await?;
    }
    for group in &missing {
        node.create(group, replica_id(me, FOUNDING)).await?;
    }
    for group in &node.groups {
        let starter = &members[group.partition as usize % members.len()];
        if starter.node == me {
            start(node, group, &members).await?;
        }
    }
    Ok(())
}

fn check(node: &NodeInner, members: &[Member]) -> Result<Vec<Member>, Error> {
    let refuse = |reason: String| {
        Err(Error::Config {
            field: "members",
            reason,
        })
    };
    let ids: BTreeSet<u64> = members.iter().map(|m| m.node).collect();
    let addresses: BTreeSet<&str> = members.iter().map(|m| m.peer_endpoint.as_str()).collect();
    if ids.len() != members.len() || addresses.len() != members.len() {
        return refuse("two of the members have the same id or the same peer address".into());
    }
    if !members.contains(&node.config.member) {
        return refuse(format!("this node ({}) is not among them as it is configured", node.config.member));
    }
    let mut members = members.to_vec();
    members.sort_by_key(|m| m.node);
    Ok(members)
}

/// Asks all others whether they ever heard from this node: then its disk, which is empty, was lost, and with it the votes it cast.
async fn remember(node: &Arc<NodeInner>, members: &[Member]) -> Result<(), Error> {
    let me = node.me();
    for member in members.iter().filter(|m| m.node != me) {
        let mut warned = false;
        loop {
            let heard = Order::Heard(replica_id(me, FOUNDING));
            match node.send_order(member, 0, heard, ASK).await {
                Ok(reply) if reply.result == i32::from(Kind::No) => break,
                Ok(_) => return Err(Error::Amnesia { node: me, peer: member.node }),
                Err(error) if !warned => {
                    tracing::info!(peer = member.node, %error, "waiting for every founder to be reachable once");
                    warned = true;
                }
                Err(_) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = node.stop.cancelled() => return Err(Error::Raft("shutting down".into())),
            }
        }
    }
    Ok(())
}

async fn start(node: &Arc<NodeInner>, group: &GroupInner, members: &[Member]) -> Result<(), Error> {
    let Ok(replica) = group.replica() else {
        // Halted or removed; there is nothing to start.
        return Ok(());
    };
    let fatal = |e: &dyn std::fmt::Display| Error::Raft(e.to_string());
    if replica.raft.is_initialized().await.map_err(|e| fatal(&e))? {
        return Ok(());
    }
    let gathered = Instant::now() + GATHER;
    for member in members {
        while Instant::now() < gathered {
            let ready = node.send_order(member, group.partition, Order::MayLead(true), ASK).await;
            if ready.is_ok_and(|reply| reply.result == i32::from(Kind::Ok)) {
                break;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
    let nodes: BTreeMap<u64, Member> = members
        .iter()
        .map(|m| (replica_id(m.node, FOUNDING), m.clone()))
        .collect();
    match replica.raft.initialize(nodes).await {
        Ok(()) => {
            tracing::info!(partition = group.partition, members = members.len(), "a group was founded");
            Ok(())
        }
        // Another life of this node, or another founder, was faster.
        Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
        Err(e) => Err(fatal(&e)),
    }
}
