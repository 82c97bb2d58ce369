//! Which partition an id lives in. Part of the protocol, so that a client can go to the leader at once; a client that
//! gets it wrong or does not bother is forwarded.

use sha2::{Digest, Sha256};

/// Number of slots; fixed for ever.
pub const SLOTS: u16 = 4_096;

/// The part of an id that decides its place: the text between the first `{` and the next `}` when there is any, else
/// the whole id.
pub fn tag(id: &str) -> &str {
    let Some((_, rest)) = id.split_once('{') else {
        return id;
    };
    match rest.split_once('}') {
        Some((tag, _)) if !tag.is_empty() => tag,
        _ => id,
    }
}

/// The slot of an id: the first 12 bits of SHA-256 over namespace, a zero byte and the tag. An empty namespace is
/// `default`, as everywhere in the protocol.
pub fn slot(namespace: &str, id: &str) -> u16 {
    let namespace = if namespace.is_empty() { "default" } else { namespace };
    let digest = Sha256::new().chain_update(namespace).chain_update([0]).chain_update(tag(id)).finalize();
    u16::from(digest[0]) << 4 | u16::from(digest[1]) >> 4
}

/// The partition of an id among `partitions`; `None` while their number is unknown (0).
pub fn partition(namespace: &str, id: &str, partitions: u32) -> Option<u32> {
    (partitions > 0).then(|| u32::from(slot(namespace, id)) % partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same values as in the server's `routing.rs`, made with sha256sum: the two sides may not drift apart.
    #[test]
    fn slots_are_those_of_the_server() {
        let known = [("hello", 0xe20), ("order-1", 0x2a2), ("order-2", 0x60a), ("order-3", 0x34f)];
        for (id, expected) in known {
            assert_eq!(slot("default", id), expected, "{id}");
            assert_eq!(slot("", id), expected, "{id}");
        }
    }

    #[test]
    fn a_tag_is_what_stands_in_the_first_braces() {
        let cases = [
            ("seat-{concert-7}-A12", "concert-7"),
            ("plain", "plain"),
            ("{}x", "{}x"),
            ("{open", "{open"),
            ("a}b{c}d{e}", "c"),
            ("{{x}}", "{x"),
        ];
        for (id, expected) in cases {
            assert_eq!(tag(id), expected, "{id}");
        }
    }

    #[test]
    fn an_unknown_number_of_partitions_names_none() {
        assert_eq!(partition("default", "hello", 0), None);
        assert_eq!(partition("default", "hello", 4), Some(0xe20 % 4));
    }
}
