//! Kept bytes of everything this crate writes to disk or sends to another version of itself; those of the log are in `log::golden`.
//! How they are kept and how a new format is added is said in `tests/golden/src/lib.rs`.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use golden::Golden;
use openraft::raft::AppendEntriesResponse;
use prost::Message;

use crate::store::{Batch, Current, Place, Store, StoreConfig};
use crate::types;
use crate::wire::order_reply::Result as Answer;
use crate::wire::{self, frame::Body, order};

/// The kept files of one area.
pub(crate) fn area(name: &str) -> Golden {
    Golden::of(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name))
}

pub(crate) fn membership() -> types::Membership {
    let member =
        |node: u64| types::Member { node, endpoint: format!("c{node}:1"), peer_endpoint: format!("p{node}:2") };
    let ids: Vec<u64> = (1..=4).map(|node| node << 32 | 1).collect();
    let nodes: BTreeMap<u64, types::Member> = ids.iter().map(|id| (*id, member(id >> 32))).collect();
    let configs = vec![[ids[0], ids[1]].into(), [ids[1], ids[2]].into()];
    types::Membership::new(configs, nodes).unwrap()
}

/// Red when `CURRENT`, `NODE` or `HEARD` is written otherwise.
#[test]
fn small_files_are_read_and_written_the_same() {
    let mut golden = area("files");
    let dir = tempfile::tempdir().unwrap();
    let current = Current { replica: 7 << 32 | 1, incarnation: 2, epoch: 13 };
    let place = Place::new(dir.path().join("0"));
    std::fs::create_dir(dir.path().join("0")).unwrap();
    place.set(&current).unwrap();
    let kept = golden.bytes("current", &std::fs::read(place.current_file()).unwrap());
    std::fs::write(place.current_file(), kept).unwrap();
    assert_eq!(place.read().unwrap(), Some(current));

    let open = |dir: &Path| crate::identity::Identity::open(dir, "berlin", 7, 16).unwrap();
    let identity = open(dir.path());
    identity.hear(3 << 32 | 1).unwrap();
    drop(identity);
    let other = tempfile::tempdir().unwrap();
    for name in ["NODE", "HEARD"] {
        let kept = golden.bytes(&name.to_lowercase(), &std::fs::read(dir.path().join(name)).unwrap());
        std::fs::write(other.path().join(name), kept).unwrap();
    }
    assert!(open(other.path()).has_heard(3 << 32 | 1));
    golden.done();
}

/// Red when a mark or a counter of a store is written otherwise, or under another key.
#[test]
fn rows_of_this_crate_are_read_and_written_the_same() {
    let mut golden = area("store");
    let applied = types::log_id(3, 41);
    let members = types::StoredMembership::new(Some(types::log_id(3, 40)), membership());
    let mut batch = Batch::default();
    batch.set_applied(applied);
    batch.set_membership(&members);
    batch.add(&[7], -5);
    let config = StoreConfig { memory_bytes: 8 << 20, write_buffer_bytes: 1 << 20, background_threads: 1 };
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_alone(dir.path(), &config, None).unwrap();
    store.write(batch).unwrap();
    let kept = [("applied", [0, 1].as_slice()), ("membership", &[0, 2]), ("counter", &[7])]
        .map(|(name, key)| golden.bytes(name, &store.get(key).unwrap().unwrap()));
    drop(store);

    let dir = tempfile::tempdir().unwrap();
    {
        // Past the batch, which keeps others away from these keys.
        let database = rocksdb::DB::open_default(dir.path()).unwrap();
        database.put([0, 1], &kept[0]).unwrap();
        database.put([0, 2], &kept[1]).unwrap();
        database.put([7], &kept[2]).unwrap();
    }
    let store = Store::open_alone(dir.path(), &config, None).unwrap();
    let mark = store.mark().unwrap();
    assert_eq!((mark.applied, mark.membership), (Some(applied), members));
    let mut batch = Batch::default();
    batch.add(&[7], 7);
    store.write(batch).unwrap();
    assert_eq!(store.get(&[7]).unwrap().unwrap(), 2i64.to_le_bytes()[..]);
    golden.done();
}

fn bodies() -> Vec<(&'static str, Body)> {
    let log_id = |index| Some(wire::LogId { term: 7, index });
    let vote = Some(wire::Vote { term: 7, replica: 9 << 32 | 1, committed: true });
    let data = wire::entry::Payload::Data(Bytes::from_static(b"\x00\xffbytes"));
    let members = wire::entry::Payload::Membership((&membership()).into());
    let entry = |index, payload| wire::Entry { id: log_id(index), payload };
    let append = wire::Append {
        vote,
        prev: log_id(40),
        commit: log_id(39),
        entries: vec![entry(41, None), entry(42, Some(data)), entry(43, Some(members))],
    };
    let appended = |answer: AppendEntriesResponse<types::TypeConfig>| Body::Appended(answer.into());
    let higher = types::Vote::from(wire::Vote { term: 7, replica: 9 << 32 | 1, committed: true });
    let ballot = wire::Ballot { vote, last: log_id(41), leadership_transfer: true };
    let member = wire::Member { node: 5, endpoint: "c5:1".into(), peer_endpoint: "p5:2".into() };
    let leader = member.clone();
    let order_reply = |answer: Answer| {
        Body::OrderReply(wire::OrderReply { result: answer.into(), reason: "no".into(), leader: Some(leader.clone()) })
    };
    let order = |order| Body::Order(wire::Order { order: Some(order) });
    let reply = wire::call_reply::Outcome::Reply(Bytes::from_static(b"answer"));
    let refused = wire::call_reply::Outcome::Refused("no".into());
    vec![
        ("append", Body::Append(append)),
        ("appended-success", appended(AppendEntriesResponse::Success)),
        ("appended-partial", appended(AppendEntriesResponse::PartialSuccess(Some(types::log_id(7, 41))))),
        ("appended-conflict", appended(AppendEntriesResponse::Conflict)),
        ("appended-higher-vote", appended(AppendEntriesResponse::HigherVote(higher))),
        ("end", Body::End(wire::EndSession {})),
        ("vote", Body::Vote(ballot)),
        ("pre-vote", Body::PreVote(ballot)),
        ("ballot-reply", Body::BallotReply(wire::BallotReply { vote, granted: true, last: log_id(41) })),
        ("transfer", Body::Transfer(wire::Transfer { from_leader: vote, to: 5 << 32 | 1, last: log_id(41) })),
        (
            "transfer-reply",
            Body::TransferReply(wire::TransferReply { actual_vote: vote, refused: true, actual_last: log_id(4) }),
        ),
        ("call", Body::Call(wire::Call { request: Bytes::from_static(b"ask") })),
        ("call-reply", Body::CallReply(wire::CallReply { outcome: Some(reply) })),
        ("call-refused", Body::CallReply(wire::CallReply { outcome: Some(refused) })),
        ("refusal", Body::Refusal(wire::Refusal { reason: "busy".into() })),
        ("order-heard", order(order::Order::Heard(5))),
        ("order-create", order(order::Order::Create(5))),
        ("order-destroy", order(order::Order::Destroy(5))),
        ("order-may-lead", order(order::Order::MayLead(true))),
        ("order-add", order(order::Order::Add(member))),
        ("order-remove", order(order::Order::Remove(5))),
        ("order-transfer", order(order::Order::Transfer(5))),
        ("order-reply-ok", order_reply(Answer::Ok)),
        ("order-reply-no", order_reply(Answer::No)),
        ("order-reply-not-leader", order_reply(Answer::NotLeader)),
        ("order-reply-busy", order_reply(Answer::Busy)),
        ("order-reply-unknown-node", order_reply(Answer::UnknownNode)),
        ("order-reply-refused", order_reply(Answer::Refused)),
        ("order-reply-timed-out", order_reply(Answer::TimedOut)),
        ("order-reply-unavailable", order_reply(Answer::Unavailable)),
    ]
}

fn snapshot_bodies() -> Vec<(&'static str, wire::snapshot_frame::Body)> {
    use wire::snapshot_frame::Body;
    let begin = wire::SnapshotBegin {
        group: 3,
        to: 5 << 32 | 1,
        from: 9 << 32 | 1,
        vote: Some(wire::Vote { term: 7, replica: 9 << 32 | 1, committed: true }),
        last: Some(wire::LogId { term: 7, index: 41 }),
        membership: Some((&types::StoredMembership::new(None, membership())).into()),
        files: vec![wire::SnapshotFile { name: "000012.sst".into(), size: 99, crc32: 0x1234_5678 }],
    };
    vec![
        ("begin", Body::Begin(begin)),
        ("have", Body::Have(wire::SnapshotHave { bytes: vec![0, 99] })),
        ("data", Body::Data(wire::SnapshotData { file: 1, offset: 7, data: Bytes::from_static(b"\x00\xff") })),
        ("end", Body::End(wire::SnapshotEnd {})),
        (
            "installed",
            Body::Installed(wire::SnapshotInstalled {
                vote: Some(wire::Vote { term: 8, replica: 9 << 32 | 1, committed: false }),
            }),
        ),
        ("refusal", Body::Refusal(wire::Refusal { reason: "busy".into() })),
    ]
}

/// Red when a field of a peer message changes its number or type: nodes of two versions would misunderstand each other.
#[test]
fn peer_messages_are_read_and_written_the_same() {
    let mut golden = area("peer");
    for (name, body) in bodies() {
        let frame = wire::Frame { group: 3, to: 5, from: 9, session: 11, seq: 12, body: Some(body) };
        let kept = golden.bytes(name, &frame.encode_to_vec());
        assert_eq!(wire::Frame::decode(&kept[..]).unwrap(), frame, "{name}");
    }
    for (name, body) in snapshot_bodies() {
        let frame = wire::SnapshotFrame { body: Some(body) };
        let kept = golden.bytes(&format!("snapshot-{name}"), &frame.encode_to_vec());
        assert_eq!(wire::SnapshotFrame::decode(&kept[..]).unwrap(), frame, "{name}");
    }
    golden.done();
}
