//! The state machine over any log: it applies an entry or halts, never panics, leaves rows that agree with each other, and does the
//! same a second time.

use bytes::Bytes;
use prost::Message;

use crate::domain::NoDomain;
use crate::machine::Machine;
use crate::memory::MemoryStore;
use crate::overlay::Overlay;
use crate::read::{self, ListQuery};
use crate::verify;

/// Entries of one input that are applied.
const ENTRIES_MAX: usize = 40;

/// A log.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Log {
    /// The bytes of its entries.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(super) entries: Vec<Bytes>,
}

/// Applies entries up to the first that halts. The rows, and how many were applied.
fn apply(log: &Log) -> (MemoryStore, usize) {
    let mut store = MemoryStore::default();
    let mut machine = Machine::new(NoDomain);
    for (place, entry) in log.entries.iter().take(ENTRIES_MAX).enumerate() {
        let index = place as u64 + 1;
        let mut overlay = Overlay::new(&store);
        let Ok(applied) = machine.apply(index, entry.clone(), &mut overlay) else { return (store, place) };
        let writes = overlay.into_writes();
        store.write(writes);
        assert_eq!((applied.index, applied.watermark, machine.applied()), (index, machine.watermark(), index));
    }
    (store, log.entries.len().min(ENTRIES_MAX))
}

pub(super) fn run(input: &[u8]) -> bool {
    let Ok(log) = Log::decode(input) else { return false };
    let (store, applied) = apply(&log);
    assert_eq!(apply(&log).0.digest(), store.digest(), "the same entries, the same rows");
    let mut problems = Vec::new();
    verify::rows(&store, &mut |problem| problems.push(problem)).expect("rows that were written can be read");
    assert!(problems.is_empty(), "{problems:#?}");

    for topic in read::topics(&store).expect("topics can be read") {
        let query = ListQuery { namespace: topic.namespace.clone(), limit: 7, ..ListQuery::default() };
        let mut after = None;
        loop {
            let page = read::list(&store, &query, after).expect("triggers can be read");
            for view in &page.items {
                let alone = read::get(&store, &view.namespace, &view.id).expect("a trigger can be read");
                assert_eq!(alone.map(|alone| (alone.state, alone.due)), Some((view.state, view.due)), "{}", view.id);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    applied > 0
}
