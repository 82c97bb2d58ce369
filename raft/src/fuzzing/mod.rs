//! What any bytes may be given to: what peers send, what lies on a disk.
//!
//! Only in this crate's own tests and with the feature `fuzzing`, which the workspace's own build never has.

#[cfg(test)]
pub(crate) mod tests;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use fuzz::Target;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse};
use prost::Message;

use crate::identity::offline;
use crate::sealed;
use crate::store::{Place, write_atomic};
use crate::types::{self, TypeConfig};
use crate::wire::{self, Malformed, frame::Body};

/// Every target of this crate.
pub const TARGETS: &[Target] = &[
    PEER,
    MEMBERS,
    SMALL_FILES,
    crate::log::fuzzing::RECORDS,
    crate::log::fuzzing::SEGMENTS,
    crate::log::fuzzing::FILE,
    crate::net::snapshot::fuzzing::SNAPSHOT,
    crate::verify::fuzzing::MANIFEST,
];

/// What nodes send each other, but for snapshots.
pub const PEER: Target = Target::new("raft-peer", peer);

/// Memberships, as the log, a store and a peer have them.
pub const MEMBERS: Target = Target::new("raft-members", members);

/// The small files of a data directory: which of them says the first byte.
pub const SMALL_FILES: Target = Target::new("raft-small-files", small_files).rounds(4_000);

/// A directory for one input, in memory where there is such a place; gone when dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// `name` keeps targets of one process apart.
    pub(crate) fn new(name: &str) -> Scratch {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let dir = place.join(format!("bosingak-fuzz-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory can be made");
        Scratch(dir)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("what was made can be removed");
    }
}

/// A message means the same, read again after it was written; whether it means anything.
fn meant<M, T>(message: M) -> bool
where
    M: Clone + PartialEq + std::fmt::Debug + From<T> + TryInto<T, Error = Malformed>,
{
    let Ok(meaning) = message.try_into() else { return false };
    let written = M::from(meaning);
    let again: T = written.clone().try_into().expect("what was written is read");
    assert_eq!(M::from(again), written);
    true
}

fn peer(bytes: &[u8]) -> bool {
    let Ok(frame) = wire::Frame::decode(bytes) else { return false };
    let again = wire::Frame::decode(&frame.encode_to_vec()[..]).expect("what was written is read");
    assert_eq!(again, frame);
    match frame.body {
        Some(Body::Append(body)) => meant::<_, AppendEntriesRequest<TypeConfig>>(body),
        Some(Body::Appended(body)) => meant::<_, AppendEntriesResponse<TypeConfig>>(body),
        Some(Body::Vote(body) | Body::PreVote(body)) => meant::<_, VoteRequest<TypeConfig>>(body),
        Some(Body::BallotReply(body)) => meant::<_, VoteResponse<TypeConfig>>(body),
        Some(Body::Transfer(body)) => meant::<_, TransferLeaderRequest<TypeConfig>>(body),
        Some(Body::TransferReply(body)) => {
            let request = TransferLeaderRequest::new(types::Vote::new(1, 1), 1, None);
            // A refusal must never be taken for consent.
            let refused = body.refused;
            assert_eq!(body.into_result(&request).is_err(), refused);
            true
        }
        body => body.is_some(),
    }
}

fn members(bytes: &[u8]) -> bool {
    let mut read = false;
    if let Ok(members) = crate::log::membership_of(bytes) {
        read = true;
        let mut written = Vec::new();
        crate::log::put_membership(&members, &mut written);
        assert_eq!(crate::log::membership_of(&written).as_ref(), Ok(&members));
        // The log and the wire say the same in words of their own.
        let sent = wire::Membership::from(&members);
        assert_eq!(types::Membership::try_from(sent), Ok(members));
    }
    if let Ok(stored) = wire::StoredMembership::decode(bytes)
        && let Ok(stored) = types::StoredMembership::try_from(stored)
    {
        read = true;
        let written = wire::StoredMembership::from(&stored).encode_to_vec();
        let again = wire::StoredMembership::decode(&written[..]).expect("what was written is read");
        assert_eq!(types::StoredMembership::try_from(again), Ok(stored));
    }
    read
}

fn small_files(input: &[u8]) -> bool {
    let Some((which, text)) = input.split_first() else { return false };
    let scratch = Scratch::new("files");
    let dir = scratch.path();
    let put = |name: &str| std::fs::write(dir.join(name), text).expect("a file can be written");
    if let Ok(line) = std::str::from_utf8(text)
        && let Some(line) = line.strip_suffix('\n')
        && let Ok(opened) = sealed::open(line)
    {
        assert_eq!(sealed::open(sealed::line(opened).trim_end_matches('\n')), Ok(opened));
    }
    match which % 3 {
        0 => {
            put("CURRENT");
            let place = Place::new(dir.to_owned());
            let Ok(Some(current)) = place.read() else { return false };
            place.set(&current).expect("a file can be written");
            assert_eq!(place.read().expect("what was written is read"), Some(current));
            true
        }
        1 => {
            put("NODE");
            let Ok(owner) = offline::owner(dir) else { return false };
            let offline::Owner { cluster, node, partitions } = &owner;
            assert!((1..=crate::replica::PARTITIONS_MAX).contains(partitions));
            let text = format!("format 1\nnode {node}\npartitions {partitions}\ncluster {cluster}\n");
            let text = format!("{text}checksum {:08x}\n", crc32fast::hash(text.as_bytes()));
            write_atomic(dir, "NODE", text.as_bytes()).expect("a file can be written");
            assert_eq!(offline::owner(dir), Ok(owner));
            true
        }
        _ => {
            put("HEARD");
            let Ok(torn) = offline::heard_is_whole(dir) else { return false };
            // Bytes that are no text take three where they were one.
            assert!(torn <= text.len() * 3);
            true
        }
    }
}

/// What peers send about a snapshot.
pub(crate) fn snapshot_frame(bytes: &[u8]) -> Option<wire::snapshot_frame::Body> {
    let frame = wire::SnapshotFrame::decode(bytes).ok()?;
    let again = wire::SnapshotFrame::decode(&frame.encode_to_vec()[..]).expect("what was written is read");
    assert_eq!(again, frame);
    frame.body
}

/// A list of messages, each in its bytes.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Several {
    /// The messages.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) each: Vec<Bytes>,
}
