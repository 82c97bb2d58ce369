//! Calls of operators.

use proto::admin::v1::cluster_service_client::ClusterServiceClient;
use proto::admin::v1::{
    AcceptClockRequest, AcceptClockResponse, AddNodeRequest, AddNodeResponse, AdvanceClockRequest,
    AdvanceClockResponse, DrainNodeRequest, DrainNodeResponse, ListLateRequest, ListLateResponse, RemoveNodeRequest,
    RemoveNodeResponse, StatusRequest, StatusResponse, TransferLeaderRequest, TransferLeaderResponse,
};

use crate::call::{Client, How, MESSAGE_BYTES_MAX};
use crate::connection::Connection;
use crate::error::Error;

fn service(channel: Connection) -> ClusterServiceClient<Connection> {
    ClusterServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

impl Client {
    /// What one node knows of the cluster; answered without a quorum too.
    pub async fn cluster_status(&self) -> Result<StatusResponse, Error> {
        self.call(How::repeatable(), StatusRequest {}, |channel, request| async move {
            service(channel).status(request).await
        })
        .await
    }

    /// The triggers that were late most recently, and why; of one node or of all.
    pub async fn list_late(&self, request: ListLateRequest) -> Result<ListLateResponse, Error> {
        self.call(
            How::repeatable(),
            request,
            |channel, request| async move { service(channel).list_late(request).await },
        )
        .await
    }

    /// What the node at `endpoint` knows of the cluster, and only that one: asked once, for as long as an attempt may take.
    pub async fn cluster_status_of(&self, endpoint: &str) -> Result<StatusResponse, Error> {
        let send = |channel, request| async move { service(channel).status(request).await };
        self.attempt(endpoint, self.policy.attempt, StatusRequest {}, &send).await
    }

    /// Moves the leadership of a partition. To a named node it may be repeated: the second time nothing is left to do.
    pub async fn transfer_leader(&self, request: TransferLeaderRequest) -> Result<TransferLeaderResponse, Error> {
        let how = How { partition: Some(request.partition), repeatable: request.to != 0, ..How::default() };
        self.call(how, request, |channel, request| async move { service(channel).transfer_leader(request).await }).await
    }

    /// Adds a running, empty node to every partition; answered when it is a voter everywhere, which may take longer
    /// than the default time-out.
    pub async fn add_node(&self, request: AddNodeRequest) -> Result<AddNodeResponse, Error> {
        self.call(
            How::repeatable(),
            request,
            |channel, request| async move { service(channel).add_node(request).await },
        )
        .await
    }

    /// Takes a node out of every partition.
    pub async fn remove_node(&self, request: RemoveNodeRequest) -> Result<RemoveNodeResponse, Error> {
        self.call(
            How::repeatable(),
            request,
            |channel, request| async move { service(channel).remove_node(request).await },
        )
        .await
    }

    /// Moves leadership off a node, or takes it back with `undo`.
    pub async fn drain_node(&self, request: DrainNodeRequest) -> Result<DrainNodeResponse, Error> {
        self.call(
            How::repeatable(),
            request,
            |channel, request| async move { service(channel).drain_node(request).await },
        )
        .await
    }

    /// Accepts the clock of a partition's leader after a jump that no majority confirmed. Not repeated when its outcome
    /// is unknown: the clock may be another one by then.
    pub async fn accept_clock(&self, request: AcceptClockRequest) -> Result<AcceptClockResponse, Error> {
        let how = How { partition: Some(request.partition), ..How::once() };
        self.call(how, request, |channel, request| async move { service(channel).accept_clock(request).await }).await
    }

    /// Moves the virtual clock. Not repeated when its outcome is unknown: it would move twice. Takes as long as what
    /// falls due takes; see [`Client::with_policy`].
    pub async fn advance_clock(&self, request: AdvanceClockRequest) -> Result<AdvanceClockResponse, Error> {
        self.call(How::once(), request, |channel, request| async move { service(channel).advance_clock(request).await })
            .await
    }
}
