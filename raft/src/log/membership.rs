//! Memberships as bytes, by messages of our own.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use crate::types::Member;

/// Who votes, who learns, and where they are.
pub type Membership = openraft::Membership<u64, Member>;

#[derive(Clone, PartialEq, prost::Message)]
struct MembershipRecord {
    /// One, or two while a change is under way.
    #[prost(message, repeated, tag = "1")]
    configs: Vec<Voters>,
    #[prost(message, repeated, tag = "2")]
    replicas: Vec<Replica>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Voters {
    #[prost(uint64, repeated, tag = "1")]
    ids: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Replica {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    node: u64,
    #[prost(string, tag = "3")]
    endpoint: String,
    #[prost(string, tag = "4")]
    peer_endpoint: String,
}

/// Appends the bytes of `membership` to `buf`.
pub fn encode(membership: &Membership, buf: &mut Vec<u8>) {
    let configs = membership.get_joint_config().iter().map(|ids| Voters { ids: ids.iter().copied().collect() }).collect();
    let replicas = membership.nodes().map(|(id, member)| Replica {
        id: *id,
        node: member.node,
        endpoint: member.endpoint.clone(),
        peer_endpoint: member.peer_endpoint.clone(),
    });
    let record = MembershipRecord { configs, replicas: replicas.collect() };
    // Writing to a Vec cannot run out of room.
    record.encode_raw(buf);
}

/// Reads what [`encode`] wrote.
pub fn decode(bytes: &[u8]) -> Result<Membership, String> {
    let record = MembershipRecord::decode(bytes).map_err(|e| format!("membership: {e}"))?;
    let configs: Vec<BTreeSet<u64>> = record.configs.into_iter().map(|c| c.ids.into_iter().collect()).collect();
    let members = record.replicas.into_iter().map(|r| {
        (r.id, Member { node: r.node, endpoint: r.endpoint, peer_endpoint: r.peer_endpoint })
    });
    Membership::new(configs, members.collect::<BTreeMap<_, _>>()).map_err(|e| format!("membership: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joint_config_with_learner_survives() {
        let member = |node: u64| Member { node, endpoint: format!("h{node}:1"), peer_endpoint: format!("h{node}:2") };
        let configs = vec![BTreeSet::from([1 << 32 | 1, 2 << 32 | 1]), BTreeSet::from([2 << 32 | 1, 3 << 32 | 9])];
        let ids = [1 << 32 | 1, 2 << 32 | 1, 3 << 32 | 9, 4 << 32 | 1];
        let nodes: BTreeMap<u64, Member> = ids.into_iter().map(|id| (id, member(id >> 32))).collect();
        let membership = Membership::new(configs, nodes).expect("valid");
        let mut bytes = Vec::new();
        encode(&membership, &mut bytes);
        assert_eq!(decode(&bytes).expect("decodes"), membership);
    }

    #[test]
    fn the_empty_membership_survives() {
        let mut bytes = Vec::new();
        encode(&Membership::default(), &mut bytes);
        assert_eq!(decode(&bytes).expect("decodes"), Membership::default());
    }

    #[test]
    fn a_voter_without_address_is_refused() {
        let record = MembershipRecord { configs: vec![Voters { ids: vec![7] }], replicas: vec![] };
        assert!(decode(&record.encode_to_vec()).is_err());
    }
}
