//! Which partition a trigger lives in.

use sha2::{Digest, Sha256};

/// Number of slots; fixed for ever.
pub const SLOTS: u16 = 4_096;

/// The part of an id that decides its place: the text between the first `{` and the next `}` when there is any
/// (Redis Cluster's convention), else the whole id.
pub fn tag(id: &str) -> &str {
    let Some(open) = id.find('{') else { return id };
    match id[open + 1..].find('}') {
        Some(length) if length > 0 => &id[open + 1..open + 1 + length],
        _ => id,
    }
}

/// The slot of an id: the first 12 bits of SHA-256 over namespace, a zero byte and the tag.
pub fn slot(namespace: &str, id: &str) -> u16 {
    let digest = Sha256::new().chain_update(namespace).chain_update([0]).chain_update(tag(id)).finalize();
    u16::from(digest[0]) << 4 | u16::from(digest[1]) >> 4
}

/// The partition of an id among `partitions`.
pub fn partition(namespace: &str, id: &str, partitions: u32) -> u32 {
    u32::from(slot(namespace, id)) % partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_what_stands_in_the_first_braces() {
        for (id, expected) in [
            ("seat-{concert-7}-A12", "concert-7"),
            ("plain", "plain"),
            ("{}x", "{}x"),
            ("{open", "{open"),
            ("a}b{c}d{e}", "c"),
            ("{{x}}", "{x"),
        ] {
            assert_eq!(tag(id), expected, "{id}");
        }
    }

    #[test]
    fn one_tag_is_one_slot_and_namespaces_differ() {
        assert_eq!(slot("a", "x-{t}-1"), slot("a", "y-{t}-2"));
        assert_eq!(slot("a", "x-{t}-1"), slot("a", "t"));
        assert_ne!(slot("a", "t"), slot("b", "t"));
        // The zero byte keeps ("ab", "c") and ("a", "bc") apart.
        assert_ne!(slot("ab", "c"), slot("a", "bc"));
    }

    /// The place of an id is a promise on disk: these values, made with sha256sum, may never change.
    #[test]
    fn slots_never_change() {
        let known = [("hello", 0xe20), ("order-1", 0x2a2), ("order-2", 0x60a), ("order-3", 0x34f)];
        for (id, expected) in known {
            assert_eq!(slot("default", id), expected, "{id}");
        }
    }

    #[test]
    fn slots_spread_over_partitions() {
        let mut counts = [0u32; 4];
        for i in 0..4_000 {
            counts[partition("default", &format!("order-{i}"), 4) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
    }
}
