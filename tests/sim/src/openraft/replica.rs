//! One replica from its start to its end: the tasks around openraft's core, written again after the product's replica,
//! supervisor, barrier and group.

use std::sync::Arc;
use std::time::Duration;

use openraft::errors::{ClientWriteError, ForwardReason, ForwardToLeader, LinearizableReadError, RaftError};
use openraft::impls::ProgressResponder;
use openraft::metrics::RaftServerMetrics;
use openraft::raft::ClientWriteResult;
use openraft::storage::{RaftLogReader, RaftLogStorage};
use openraft::{Config, EmptyNode, Raft, ReadPolicy};
use openraft_rt::{AsyncRuntime, Instant as _, WatchReceiver};
use tokio::sync::{mpsc, oneshot};

use super::log::Log;
use super::machine::Machine;
use super::network::Network;
use super::port::{Ask, Barrier, Leadership, Met, Outcome, Port, Proposal};
use super::runtime::{Instant, Runtime};
use super::types::{CommittedLeaderId, Payload, TypeConfig};

/// openraft's core.
pub type Core = Raft<TypeConfig, Machine>;

/// How a replica starts.
pub struct Start {
    /// Its id.
    pub id: u64,
    /// Its port.
    pub port: Port,
    /// Its log.
    pub log: Log,
    /// As the product configures openraft.
    pub config: Arc<Config>,
    /// How long a replica that may have promised something grants no vote.
    pub probation: Duration,
    /// It begins the group with these members, if nobody has.
    pub founds: Option<Vec<u64>>,
    /// Where the core goes when it runs, with the moment before which it grants no vote. Not through the port, which is a
    /// part of what the core consists of.
    pub runs: oneshot::Sender<(Core, Instant)>,
    /// What is proposed here.
    pub proposals: mpsc::UnboundedReceiver<Proposal>,
}

/// The life of a replica.
pub async fn live(start: Start) {
    let Start { id, port, mut log, config, probation, founds, runs, proposals } = start;
    let began = Instant::now();
    if let Some(reason) = out_of_reach(&port, &mut log).await {
        return port.ask(Ask::Ended(reason));
    }
    let promised = matches!(log.read_vote().await, Ok(Some(_)));
    let network = Network { port: port.clone(), me: id };
    let machine = Machine::new(port.clone());
    let raft = match Raft::build(id, config, network, log, machine).await {
        Ok(raft) => raft,
        Err(fatal) => return port.ask(Ask::Ended(fatal.to_string())),
    };
    let votes_from = if promised { began + probation } else { began };
    if votes_from > Instant::now() {
        // Its own vote is a vote too.
        raft.runtime_config().elect(false);
    }
    raft.run();
    // The process may be about to die.
    let _ = runs.send((raft.clone(), votes_from));
    port.ask(Ask::Started);
    Runtime::spawn(propose(raft.clone(), port.clone(), proposals));
    {
        let raft = raft.clone();
        Runtime::spawn(async move {
            Runtime::sleep_until(votes_from).await;
            raft.runtime_config().elect(true);
        });
    }
    if let Some(members) = founds {
        found(&raft, members).await;
    }
    follow(&raft, &port).await;
    let reason = match &raft.metrics().borrow_watched().running_state {
        Ok(()) => "its tasks ended".to_owned(),
        Err(fatal) => fatal.to_string(),
    };
    port.ask(Ask::Ended(reason));
}

/// Rows are brought forward by the log, which keeps what they lack. When it does not, files were lost.
async fn out_of_reach(port: &Port, log: &mut Log) -> Option<String> {
    let state = log.get_log_state().await.ok()?;
    let (applied, purged) = (port.mark().index(), state.last_purged_log_id?.index);
    (applied < purged).then(|| format!("the rows are as of entry {applied}, and the log begins behind entry {purged}"))
}

async fn found(raft: &Core, members: Vec<u64>) {
    if matches!(raft.is_initialized().await, Ok(true)) {
        return;
    }
    let members: std::collections::BTreeMap<u64, EmptyNode> =
        members.into_iter().map(|id| (id, EmptyNode::default())).collect();
    // Refused when somebody was faster, which is as good.
    let _ = raft.initialize(members).await;
}

/// Passes on who leads until the core ends.
async fn follow(raft: &Core, port: &Port) {
    let mut figures = raft.server_metrics();
    let mut known = Leadership::default();
    loop {
        let now = leadership(&figures.borrow_and_update());
        // A core that just started has not read its vote yet.
        if now.term >= known.term && now != known {
            known = now;
            port.ask(Ask::Leads(now));
        }
        if figures.changed().await.is_err() {
            return;
        }
    }
}

fn leadership(figures: &RaftServerMetrics<TypeConfig>) -> Leadership {
    Leadership {
        term: figures.vote.leader_id.term,
        leader: figures.current_leader,
        we_lead: figures.state.is_leader() && figures.vote.committed && figures.current_leader == Some(figures.id),
    }
}

/// Hands entries to the core in the order in which they come.
async fn propose(raft: Core, port: Port, mut proposals: mpsc::UnboundedReceiver<Proposal>) {
    while let Some((number, term, payload)) = proposals.recv().await {
        let (responder, outcome) = ProgressResponder::complete_only();
        let request = raft.write(Payload(payload)).with_leader(CommittedLeaderId::new(term));
        if request.responder(responder).await.is_err() {
            // The core is gone, and never saw it.
            port.ask(Ask::Decided(number, Outcome::NotLeader(None)));
            continue;
        }
        let port = port.clone();
        Runtime::spawn(async move {
            let outcome = decided(outcome).await;
            if matches!(outcome, Outcome::NoQuorum) {
                port.ask(Ask::Met(Met::NoQuorum));
            }
            port.ask(Ask::Decided(number, outcome));
        });
    }
}

async fn decided(outcome: oneshot::Receiver<ClientWriteResult<TypeConfig>>) -> Outcome {
    match outcome.await {
        Ok(Ok(response)) => Outcome::Applied(response.log_id.index, response.data),
        Ok(Err(ClientWriteError::ForwardToLeader(forward))) => match forwarded(&forward) {
            Barrier::NotLeader(leader) => Outcome::NotLeader(leader),
            _ => Outcome::NoQuorum,
        },
        Ok(Err(_)) | Err(_) => Outcome::Unknown,
    }
}

fn forwarded(forward: &ForwardToLeader<TypeConfig>) -> Barrier {
    match forward.reason {
        ForwardReason::NotLeader => Barrier::NotLeader(forward.leader_id),
        ForwardReason::LeadershipTransfer | ForwardReason::LeaseExpired => Barrier::NoQuorum,
    }
}

/// Asks a majority whether this node leads; tells under `number` what came of it.
pub async fn confirm(raft: Core, port: Port, number: u64, deadline: Duration) {
    let confirmed = Runtime::timeout(deadline, pass(&raft, &port)).await;
    let outcome = match confirmed {
        Ok(Ok(index)) => Barrier::Passed(index),
        Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)))) => forwarded(&forward),
        Err(_) | Ok(Err(_)) => Barrier::NoQuorum,
    };
    if !matches!(outcome, Barrier::Passed(_)) {
        port.ask(Ask::Met(Met::BarrierFailed));
    }
    port.ask(Ask::Barrier(number, outcome));
}

/// As the product's barrier: openraft may count an answer from before for a question that never arrived.
async fn pass(raft: &Core, port: &Port) -> Result<u64, RaftError<TypeConfig, LinearizableReadError<TypeConfig>>> {
    let began = Instant::now();
    loop {
        let read = raft.ensure_linearizable(ReadPolicy::ReadIndex).await?;
        let at = port.quorum_of(&raft.metrics().borrow_watched(), Instant::now());
        if at.is_some_and(|at| at >= began) {
            return Ok(read.log_id().index);
        }
        port.ask(Ask::Met(Met::BarrierRepeated));
    }
}
