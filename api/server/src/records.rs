//! Who waits for a change of a record of the business domains in a partition of this node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;

type Key = (String, String);

/// Those who wait, by record.
#[derive(Clone, Debug, Default)]
pub struct Records(Arc<Mutex<HashMap<Key, watch::Sender<u64>>>>);

/// Somebody who waits; forgotten when dropped.
#[derive(Debug)]
pub struct Waiting {
    records: Records,
    key: Key,
    changes: watch::Receiver<u64>,
}

impl Records {
    /// Waits for changes of a record from now on. `id` is as the domain told it.
    pub fn wait_for(&self, namespace: &str, id: &str) -> Waiting {
        let key = (namespace.to_owned(), id.to_owned());
        let changes = self.lock().entry(key.clone()).or_default().subscribe();
        Waiting { records: self.clone(), key, changes }
    }

    /// The record changed with the entry at `index`, and that can be read.
    pub(crate) fn changed(&self, namespace: &str, id: &str, index: u64) {
        // Most records are changed while nobody waits.
        let mut waiting = self.lock();
        if !waiting.is_empty()
            && let Some(told) = waiting.get_mut(&(namespace.to_owned(), id.to_owned()))
        {
            told.send_replace(index);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, watch::Sender<u64>>> {
        self.0.lock().expect("never held over a panic")
    }
}

impl Waiting {
    /// Ends when the record has changed since this was called last, or since the waiting began.
    pub async fn changed(&mut self) {
        // The sender is kept as long as somebody waits.
        let _ = self.changes.changed().await;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiting = self.records.lock();
        // This one is still counted.
        if waiting.get(&self.key).is_some_and(|told| told.receiver_count() <= 1) {
            waiting.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn only_those_who_wait_for_it_are_told_and_nobody_is_kept() {
        let records = Records::default();
        let mut one = records.wait_for("shop", "gift a");
        let mut other = records.wait_for("shop", "gift b");
        records.changed("shop", "gift a", 7);
        assert!(one.changed().now_or_never().is_some());
        assert!(one.changed().now_or_never().is_none() && other.changed().now_or_never().is_none());
        let twin = records.wait_for("shop", "gift a");
        drop(one);
        assert_eq!(records.lock().len(), 2, "the twin still waits");
        drop((twin, other));
        assert!(records.lock().is_empty());
    }
}
