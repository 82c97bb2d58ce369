//! Which partition an id lives in, written from the protocol once more: the tests compare it with receipts.

use sha2::{Digest, Sha256};

/// The partition of an id among `partitions`.
#[must_use]
pub fn partition(namespace: &str, id: &str, partitions: u32) -> u32 {
    let tag = id
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map(|(tag, _)| tag)
        .filter(|tag| !tag.is_empty())
        .unwrap_or(id);
    let digest = Sha256::new().chain_update(namespace).chain_update([0]).chain_update(tag).finalize();
    let slot = u32::from(digest[0]) << 4 | u32::from(digest[1]) >> 4;
    slot % partitions.max(1)
}
