//! openraft's types as messages of our own and back, for the wire and for disk: an upgrade of openraft changes no byte of either.

#[expect(clippy::allow_attributes_without_reason, reason = "generated")]
mod generated {
    tonic::include_proto!("bosingak.peer");
}

use std::collections::{BTreeMap, BTreeSet};

use openraft::impls::leader_id_std::LeaderId;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};
use openraft::{EntryPayload, SnapshotMeta};

pub(crate) use generated::*;

use crate::types::{self, Payload, TypeConfig};

/// A message that does not say what it must.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed peer message: {0}")]
pub struct Malformed(pub &'static str);

impl From<types::LogId> for LogId {
    fn from(id: types::LogId) -> Self {
        LogId {
            term: id.leader_id.term,
            index: id.index,
        }
    }
}

impl From<LogId> for types::LogId {
    fn from(id: LogId) -> Self {
        types::log_id(id.term, id.index)
    }
}

impl From<types::Vote> for Vote {
    fn from(v: types::Vote) -> Self {
        Vote {
            term: v.leader_id.term,
            replica: v.leader_id.voted_for,
            committed: v.committed,
        }
    }
}

impl From<Vote> for types::Vote {
    fn from(v: Vote) -> Self {
        types::Vote {
            leader_id: LeaderId {
                term: v.term,
                voted_for: v.replica,
            },
            committed: v.committed,
        }
    }
}

impl From<types::Member> for Member {
    fn from(m: types::Member) -> Self {
        Member {
            node: m.node,
            endpoint: m.endpoint,
            peer_endpoint: m.peer_endpoint,
        }
    }
}

impl From<Member> for types::Member {
    fn from(m: Member) -> Self {
        types::Member {
            node: m.node,
            endpoint: m.endpoint,
            peer_endpoint: m.peer_endpoint,
        }
    }
}

impl From<&types::Membership> for Membership {
    fn from(m: &types::Membership) -> Self {
        Membership {
            configs: m
                .get_joint_config()
                .iter()
                .map(|c| Voters {
                    replicas: c.iter().copied().collect(),
                })
                .collect(),
            replicas: m
                .nodes()
                .map(|(id, member)| (*id, member.clone().into()))
                .collect(),
        }
    }
}

impl TryFrom<Membership> for types::Membership {
    type Error = Malformed;

    fn try_from(m: Membership) -> Result<Self, Malformed> {
        if m.configs.is_empty() && m.replicas.is_empty() {
            return Ok(types::Membership::default());
        }
        let configs: Vec<BTreeSet<u64>> = m
            .configs
            .into_iter()
            .map(|c| c.replicas.into_iter().collect())
            .collect();
        let nodes: BTreeMap<u64, types::Member> = m
            .replicas
            .into_iter()
            .map(|(id, member)| (id, member.into()))
            .collect();
        types::Membership::new(configs, nodes).map_err(|_| Malformed("membership"))
    }
}

impl From<&types::StoredMembership> for StoredMembership {
    fn from(m: &types::StoredMembership) -> Self {
        StoredMembership {
            at: (*m.log_id()).map(Into::into),
            membership: Some(m.membership().into()),
        }
    }
}

impl TryFrom<StoredMembership> for types::StoredMembership {
    type Error = Malformed;

    fn try_from(m: StoredMembership) -> Result<Self, Malformed> {
        let membership = m.membership.unwrap_or_default().try_into()?;
        Ok(types::StoredMembership::new(
            m.at.map(Into::into),
            membership,
        ))
    }
}

impl From<types::Entry> for Entry {
    fn from(e: types::Entry) -> Self {
        Entry {
            id: Some(e.log_id.into()),
            payload: match e.payload {
                EntryPayload::Blank => None,
                EntryPayload::Normal(data) => Some(entry::Payload::Data(data.0)),
                EntryPayload::Membership(m) => Some(entry::Payload::Membership((&m).into())),
            },
        }
    }
}

impl Entry {
    fn read(self) -> Result<types::Entry, Malformed> {
        let e = self;
        let log_id = e.id.ok_or(Malformed("entry.id"))?.into();
        let payload = match e.payload {
            None => EntryPayload::Blank,
            Some(entry::Payload::Data(data)) => EntryPayload::Normal(Payload(data)),
            Some(entry::Payload::Membership(m)) => EntryPayload::Membership(m.try_into()?),
        };
        Ok(types::Entry { log_id, payload })
    }
}

impl From<AppendEntriesRequest<TypeConfig>> for Append {
    fn from(r: AppendEntriesRequest<TypeConfig>) -> Self {
        Append {
            vote: Some(r.vote.into()),
            prev: r.prev_log_id.map(Into::into),
            commit: r.leader_commit.map(Into::into),
            entries: r.entries.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<Append> for AppendEntriesRequest<TypeConfig> {
    type Error = Malformed;

    fn try_from(a: Append) -> Result<Self, Malformed> {
        Ok(AppendEntriesRequest {
            vote: a.vote.ok_or(Malformed("append.vote"))?.into(),
            prev_log_id: a.prev.map(Into::into),
            leader_commit: a.commit.map(Into::into),
            entries: a
                .entries
                .into_iter()
                .map(Entry::read)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl From<AppendEntriesResponse<TypeConfig>> for Appended {
    fn from(r: AppendEntriesResponse<TypeConfig>) -> Self {
        use appended::Result as Kind;
        let (result, log_id, vote) = match r {
            AppendEntriesResponse::Success => (Kind::Success, None, None),
            AppendEntriesResponse::PartialSuccess(id) => (Kind::Partial, id, None),
            AppendEntriesResponse::Conflict => (Kind::Conflict, None, None),
            AppendEntriesResponse::HigherVote(vote) => (Kind::HigherVote, None, Some(vote)),
        };
        Appended {
            result: result.into(),
            log_id: log_id.map(Into::into),
            vote: vote.map(Into::into),
        }
    }
}

impl TryFrom<Appended> for AppendEntriesResponse<TypeConfig> {
    type Error = Malformed;

    fn try_from(a: Appended) -> Result<Self, Malformed> {
        use appended::Result as Kind;
        // A number this version does not know must not pass for a success.
        match Kind::try_from(a.result).map_err(|_| Malformed("appended.result"))? {
            Kind::Success => Ok(AppendEntriesResponse::Success),
            Kind::Partial => Ok(AppendEntriesResponse::PartialSuccess(
                a.log_id.map(Into::into),
            )),
            Kind::Conflict => Ok(AppendEntriesResponse::Conflict),
            Kind::HigherVote => Ok(AppendEntriesResponse::HigherVote(
                a.vote.ok_or(Malformed("appended.vote"))?.into(),
            )),
        }
    }
}

impl From<VoteRequest<TypeConfig>> for Ballot {
    fn from(r: VoteRequest<TypeConfig>) -> Self {
        Ballot {
            vote: Some(r.vote.into()),
            last: r.last_log_id.map(Into::into),
            leadership_transfer: r.leadership_transfer,
        }
    }
}

impl TryFrom<Ballot> for VoteRequest<TypeConfig> {
    type Error = Malformed;

    fn try_from(b: Ballot) -> Result<Self, Malformed> {
        let mut r = VoteRequest::new(
            b.vote.ok_or(Malformed("ballot.vote"))?.into(),
            b.last.map(Into::into),
        );
        r.leadership_transfer = b.leadership_transfer;
        Ok(r)
    }
}

impl From<VoteResponse<TypeConfig>> for BallotReply {
    fn from(r: VoteResponse<TypeConfig>) -> Self {
        BallotReply {
            vote: Some(r.vote.into()),
            granted: r.vote_granted,
            last: r.last_log_id.map(Into::into),
        }
    }
}

impl TryFrom<BallotReply> for VoteResponse<TypeConfig> {
    type Error = Malformed;

    fn try_from(b: BallotReply) -> Result<Self, Malformed> {
        let vote: types::Vote = b.vote.ok_or(Malformed("ballot_reply.vote"))?.into();
        Ok(VoteResponse::new(vote, b.last.map(Into::into), b.granted))
    }
}

impl From<TransferLeaderRequest<TypeConfig>> for Transfer {
    fn from(r: TransferLeaderRequest<TypeConfig>) -> Self {
        Transfer {
            from_leader: Some((*r.from_leader()).into()),
            to: *r.to_node_id(),
            last: r.last_log_id().copied().map(Into::into),
        }
    }
}

impl TryFrom<Transfer> for TransferLeaderRequest<TypeConfig> {
    type Error = Malformed;

    fn try_from(t: Transfer) -> Result<Self, Malformed> {
        Ok(TransferLeaderRequest::new(
            t.from_leader.ok_or(Malformed("transfer.from_leader"))?.into(),
            t.to,
            t.last.map(Into::into),
        ))
    }
}

impl From<Result<(), TransferLeaderError<TypeConfig>>> for TransferReply {
    fn from(r: Result<(), TransferLeaderError<TypeConfig>>) -> Self {
        match r {
            Ok(()) => TransferReply::default(),
            Err(TransferLeaderError::VoteChanged { actual, .. }) => TransferReply {
                refused: true,
                actual_vote: Some(actual.into()),
                actual_last: None,
            },
            Err(TransferLeaderError::LogNotFlushed { actual, .. }) => TransferReply {
                refused: true,
                actual_vote: None,
                actual_last: actual.map(Into::into),
            },
        }
    }
}

impl TransferReply {
    /// The answer to `request` as openraft wants it.
    pub(crate) fn into_result(
        self,
        request: &TransferLeaderRequest<TypeConfig>,
    ) -> Result<(), TransferLeaderError<TypeConfig>> {
        if !self.refused {
            return Ok(());
        }
        match self.actual_vote {
            Some(actual) => Err(TransferLeaderError::VoteChanged {
                expected: *request.from_leader(),
                actual: actual.into(),
            }),
            None => Err(TransferLeaderError::LogNotFlushed {
                expected: request.last_log_id().copied(),
                actual: self.actual_last.map(Into::into),
            }),
        }
    }
}

/// What a snapshot holds, from its parts.
pub(crate) fn snapshot_meta(
    last: Option<LogId>,
    membership: Option<StoredMembership>,
) -> Result<types::SnapshotMeta, Malformed> {
    Ok(SnapshotMeta {
        last_log_id: last.map(Into::into),
        last_membership: membership.unwrap_or_default().try_into()?,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn member(node: u64) -> types::Member {
        types::Member {
            node,
            endpoint: format!("client{node}:1"),
            peer_endpoint: format!("peer{node}:2"),
        }
    }

    fn membership() -> types::Membership {
        let nodes: BTreeMap<u64, types::Member> = [(1, member(1)), (2, member(2)), (3, member(3))].into();
        types::Membership::new(vec![[1, 2].into(), [2, 3].into()], nodes).unwrap()
    }

    #[test]
    fn an_append_survives_the_wire() {
        let request = AppendEntriesRequest::<TypeConfig> {
            vote: Vote {
                term: 7,
                replica: 9,
                committed: true,
            }
            .into(),
            prev_log_id: Some(types::log_id(6, 40)),
            leader_commit: None,
            entries: vec![
                types::Entry {
                    log_id: types::log_id(7, 41),
                    payload: EntryPayload::Blank,
                },
                types::Entry {
                    log_id: types::log_id(7, 42),
                    payload: EntryPayload::Normal(Payload(Bytes::new())),
                },
                types::Entry {
                    log_id: types::log_id(7, 43),
                    payload: EntryPayload::Membership(membership()),
                },
            ],
        };
        let back: AppendEntriesRequest<TypeConfig> = Append::from(request.clone()).try_into().unwrap();
        assert_eq!(back.vote, request.vote);
        assert_eq!(back.prev_log_id, request.prev_log_id);
        assert_eq!(back.leader_commit, None);
        assert_eq!(back.entries, request.entries);
    }

    #[test]
    fn an_answer_of_an_unknown_kind_is_no_success() {
        let odd = Appended {
            result: 99,
            ..Default::default()
        };
        assert!(AppendEntriesResponse::<TypeConfig>::try_from(odd).is_err());
    }

    #[test]
    fn a_membership_that_names_nobody_is_malformed() {
        let odd = Membership {
            configs: vec![Voters { replicas: vec![5] }],
            replicas: BTreeMap::new(),
        };
        assert!(types::Membership::try_from(odd).is_err());
    }
}
