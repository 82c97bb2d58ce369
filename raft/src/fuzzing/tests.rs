//! Short sweeps, the same every time.

use fuzz::allocations::Counted;

use super::*;
use crate::golden::membership;

#[global_allocator]
static COUNTED: Counted = Counted;

/// Kept bytes of an area whose names begin so, or do not.
pub(crate) fn golden(name: &str, wanted: impl Fn(&str) -> bool) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    golden::all(&dir).into_iter().filter(|(name, _)| wanted(name)).map(|(_, bytes)| bytes).collect()
}

/// Red when a message is believed to say what it does not: an answer of an unknown kind for success, say.
#[test]
fn any_peer_message_is_read_or_refused() {
    fuzz::sweep(&PEER, &golden("peer", |name| !name.starts_with("snapshot-")));
}

#[test]
fn any_membership_is_read_or_refused() {
    let mut own = Vec::new();
    crate::log::put_membership(&membership(), &mut own);
    fuzz::sweep(&MEMBERS, &[&[own], &golden("store", |name| name.starts_with("membership"))[..]].concat());
}

#[test]
fn any_small_file_is_read_or_refused() {
    let files: Vec<Vec<u8>> = [(0, "current"), (1, "node"), (2, "heard")]
        .into_iter()
        .flat_map(|(which, of)| {
            let kept = golden("files", |name| name.starts_with(of));
            kept.into_iter().map(move |bytes| [&[which], &bytes[..]].concat())
        })
        .collect();
    assert_eq!(files.len(), 3);
    fuzz::sweep(&SMALL_FILES, &files);
}
