//! Counts the rows of a coarse slot of the wheel, outside every lock, on one thread for all partitions of a node.

use std::sync::Arc;
use std::sync::mpsc;

use scheduler::lane::LaneId;
use scheduler::read;
use scheduler::store::StoreError;
use scheduler::time::Timestamp;
use scheduler::wheel::{Level, Split};

use crate::feed::Feed;
use crate::machine::SnapshotRows;

/// Work for the thread.
pub(crate) struct Recount {
    /// Who asks.
    pub feed: Arc<Feed>,
    /// For which of its wheels.
    pub wheel: u64,
    /// What to count.
    pub split: Split,
    /// The rows as they were when the split began.
    pub snapshot: raft::Snapshot,
    /// The rows, for the splits that follow.
    pub store: raft::Store,
}

/// Hands work to the thread; cheap to clone. The thread ends with the last clone.
#[derive(Clone)]
pub struct Recounter(mpsc::Sender<Recount>);

impl Recounter {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system has no thread to give.
    pub fn start() -> std::io::Result<Recounter> {
        let (sender, receiver) = mpsc::channel::<Recount>();
        std::thread::Builder::new().name("recount".into()).spawn(move || {
            for Recount { feed, wheel, split, snapshot, store } in receiver {
                match count(&snapshot, split) {
                    Ok(counts) => {
                        drop(snapshot);
                        feed.finish_split(wheel, split, counts, &store);
                    }
                    // The slot stays coarse and counts as possibly due all the time: never late, only busier.
                    Err(error) => {
                        tracing::error!(partition = feed.partition(), ?split, %error, "cannot count a slot of the wheel");
                    }
                }
            }
        })?;
        Ok(Recounter(sender))
    }

    /// One whose work is done by whoever holds the other end.
    #[cfg(test)]
    pub(crate) fn by_hand() -> (Recounter, mpsc::Receiver<Recount>) {
        let (sender, receiver) = mpsc::channel();
        (Recounter(sender), receiver)
    }

    pub(crate) fn count(&self, work: Recount) {
        // The thread only ends when every sender is gone.
        let _ = self.0.send(work);
    }
}

fn count(snapshot: &raft::Snapshot, split: Split) -> Result<Vec<(LaneId, Timestamp, i64)>, StoreError> {
    let started = std::time::Instant::now();
    let rows = SnapshotRows(snapshot);
    let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let counts = if split.level == Level::Hour {
        // Minutes are counted as they are written.
        read::minute_counts(&rows)?
            .into_iter()
            .filter(|row| (split.from..split.to).contains(&row.minute))
            .map(|row| (row.lane, row.minute, signed(row.count)))
            .collect()
    } else {
        read::count_dues(&rows, split.from, split.to)?
            .into_iter()
            .map(|(due, lane, count)| (lane, due, signed(count)))
            .collect()
    };
    crate::metrics::recounted(started.elapsed());
    Ok(counts)
}
