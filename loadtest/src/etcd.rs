//! The few calls of etcd's v3 API that the comparison makes, and nothing else of it.
//!
//! Messages as in etcd's `rpc.proto`, written down here because its crates need a protobuf compiler at build time; field
//! numbers are from <https://etcd.io/docs/v3.4/dev-guide/api_reference_v3/>.

use bytes::Bytes;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

/// Stores a value under a key.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PutRequest {
    /// Name of the value.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The value.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// Who answered.
#[derive(Clone, PartialEq, prost::Message)]
struct ResponseHeader {
    #[prost(uint64, tag = "2")]
    member_id: u64,
}

/// The answer to a put or a transaction; what else it says is not looked at.
#[derive(Clone, PartialEq, prost::Message)]
struct Answer {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RequestOp {
    #[prost(oneof = "Operation", tags = "2")]
    operation: Option<Operation>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Operation {
    #[prost(message, tag = "2")]
    Put(PutRequest),
}

/// A transaction without conditions: all of `success` in one entry.
#[derive(Clone, PartialEq, prost::Message)]
struct TxnRequest {
    #[prost(message, repeated, tag = "2")]
    success: Vec<RequestOp>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

/// Stores one value; answered when it is durable on a majority.
///
/// # Errors
///
/// What the node answered.
pub async fn put(channel: Channel, request: PutRequest) -> Result<(), Status> {
    call::<_, Answer>(channel, "/etcdserverpb.KV/Put", request).await.map(drop)
}

/// Stores all of these or none; at most 128 by etcd's default limit.
///
/// # Errors
///
/// What the node answered.
pub async fn put_all(channel: Channel, requests: Vec<PutRequest>) -> Result<(), Status> {
    let success = requests.into_iter().map(|put| RequestOp { operation: Some(Operation::Put(put)) }).collect();
    call::<_, Answer>(channel, "/etcdserverpb.KV/Txn", TxnRequest { success }).await.map(drop)
}

/// Whether the node leads.
///
/// # Errors
///
/// What the node answered.
pub async fn leads(channel: Channel) -> Result<bool, Status> {
    let status: StatusResponse = call(channel, "/etcdserverpb.Maintenance/Status", StatusRequest {}).await?;
    Ok(status.leader != 0 && status.header.is_some_and(|header| header.member_id == status.leader))
}

async fn call<Q, A>(channel: Channel, path: &'static str, request: Q) -> Result<A, Status>
where
    Q: prost::Message + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let codec = ProstCodec::<Q, A>::default();
    let answer = client.unary(Request::new(request), PathAndQuery::from_static(path), codec).await?;
    Ok(answer.into_inner())
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    /// Bytes as etcd's own definitions encode them: a transaction (field 2: an operation (field 2: a put)).
    ///
    /// Red when a field number is wrong.
    #[test]
    fn messages_have_the_form_of_etcd() {
        let put = PutRequest { key: Bytes::from_static(b"k"), value: Bytes::from_static(b"v") };
        assert_eq!(put.encode_to_vec(), [0x0a, 1, b'k', 0x12, 1, b'v']);
        let txn = TxnRequest { success: vec![RequestOp { operation: Some(Operation::Put(put)) }] };
        assert_eq!(txn.encode_to_vec(), [0x12, 8, 0x12, 6, 0x0a, 1, b'k', 0x12, 1, b'v']);
        let status = StatusResponse { header: Some(ResponseHeader { member_id: 7 }), leader: 7 };
        assert_eq!(status.encode_to_vec(), [0x0a, 2, 0x10, 7, 0x20, 7]);
    }
}
