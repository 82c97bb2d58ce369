//! Calls between replicas of one process, with faults.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use openraft::alias::{SnapshotOf, VoteOf};
use openraft::errors::{NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RPCTypes, Raft};
use raft::types::{Member, TypeConfig};

use crate::machine::{Counter, Image};

/// A replica.
pub type Core = Raft<TypeConfig, Counter>;
type RpcError = RPCError<TypeConfig>;

/// Calls between the replicas of this process.
#[derive(Default)]
pub struct Network {
    pub cores: OnceLock<BTreeMap<u64, Core>>,
    pub cut_off: [AtomicBool; 4],
    /// Calls to these replicas arrive and are not answered.
    pub answers_lost: [AtomicBool; 4],
    pub snapshot_timeout: Duration,
}

/// How one replica calls another.
#[derive(Clone)]
pub struct Link {
    pub from: u64,
    pub to: u64,
    pub network: Arc<Network>,
}

impl RaftNetworkFactory<TypeConfig> for Link {
    type Network = Link;

    async fn new_client(&mut self, target: u64, _node: &Member) -> Link {
        Link { to: target, ..self.clone() }
    }
}

impl Link {
    fn is_cut(&self) -> bool {
        [self.from, self.to].iter().any(|id| self.network.cut_off[*id as usize].load(Ordering::Relaxed))
    }

    fn core(&self) -> Result<Core, Unreachable<TypeConfig>> {
        let cores = self.network.cores.get().ok_or_else(|| Unreachable::from_string("starting"))?;
        if self.is_cut() { Err(Unreachable::from_string("cut off")) } else { Ok(cores[&self.to].clone()) }
    }

    async fn call<T>(
        &self,
        kind: RPCTypes,
        limit: Duration,
        call: impl Future<Output = Result<T, String>>,
    ) -> Result<T, RpcError> {
        let late = |_| RPCError::Timeout(Timeout { action: kind, id: self.from, target: self.to, timeout: limit });
        let answer = tokio::time::timeout(limit, call).await.map_err(late)?;
        if self.is_cut() {
            return Err(Unreachable::from_string("cut off").into());
        }
        answer.map_err(|what| Unreachable::from_string(what).into())
    }
}

fn text<E: std::error::Error>(error: RaftError<TypeConfig, E>) -> String {
    error.to_string()
}

impl RaftNetworkV2<TypeConfig> for Link {
    type SnapshotData = Arc<Image>;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RpcError> {
        let core = self.core()?;
        self.call(RPCTypes::AppendEntries, option.hard_ttl(), core.append_entries(rpc).map(|r| r.map_err(text))).await
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> futures::future::BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RpcError>>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        async move {
            let core = self.core()?;
            let link = self.clone();
            let answers = core.stream_append(input).map(move |answer| {
                if link.is_cut() || link.network.answers_lost[link.to as usize].load(Ordering::Relaxed) {
                    return Err(NetworkError::from_string("no answer").into());
                }
                answer.map_err(|fatal| Unreachable::from_string(fatal).into())
            });
            let link = self.clone();
            Ok(answers.take_while(move |_| futures::future::ready(!link.is_cut())).boxed())
        }
        .boxed()
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let core = self.core()?;
        self.call(RPCTypes::Vote, option.hard_ttl(), core.vote(rpc).map(|r| r.map_err(text))).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let core = self.core()?;
        self.call(RPCTypes::Vote, option.hard_ttl(), core.pre_vote(rpc).map(|r| r.map_err(text))).await
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<TypeConfig>,
        snapshot: SnapshotOf<TypeConfig, Arc<Image>>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let core = self.core()?;
        let limit = self.network.snapshot_timeout;
        let late = Timeout { action: RPCTypes::InstallSnapshot, id: self.from, target: self.to, timeout: limit };
        tokio::select! {
            closed = cancel => Err(closed.into()),
            () = tokio::time::sleep(limit) => Err(late.into()),
            answer = core.install_full_snapshot(vote, snapshot) => {
                answer.map_err(|fatal| Unreachable::from_string(fatal).into())
            }
        }
    }
}
