//! The triggers that were late most recently, of the partitions this node led.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use scheduler::dispatcher::Late;

/// Late triggers a node remembers.
pub const REMEMBERED_MAX: usize = 1_000;

/// What a node remembers; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LateTriggers(Arc<Mutex<VecDeque<(u32, Late)>>>);

impl LateTriggers {
    /// Remembers triggers of a partition, the newest last; the oldest are forgotten.
    pub fn remember(&self, partition: u32, late: impl IntoIterator<Item = Late>) {
        let mut remembered = self.lock();
        for one in late {
            if remembered.len() == REMEMBERED_MAX {
                remembered.pop_front();
            }
            remembered.push_back((partition, one));
        }
    }

    /// The newest, with their partitions, newest first.
    pub fn newest(&self, limit: usize) -> Vec<(u32, Late)> {
        self.lock().iter().rev().take(limit).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(u32, Late)>> {
        self.0.lock().expect("never held over a panic")
    }
}

#[cfg(test)]
mod tests {
    use scheduler::command::TopicSettings;
    use scheduler::dispatcher::{LateCause, Topic};
    use scheduler::lane::TopicId;
    use scheduler::time::Timestamp;

    use super::*;

    /// Turns red when `remember` forgets the newest rather than the oldest, or nothing.
    #[test]
    fn the_newest_are_remembered() {
        let settings = TopicSettings::default();
        let topic = Arc::new(Topic { id: TopicId(0), namespace: "n".into(), name: "t".into(), settings });
        let at = Timestamp::from_millis(5);
        let late = |number: usize| Late {
            topic: topic.clone(),
            id: number.to_string().into(),
            due: at,
            until: at,
            cause: LateCause::NoCredit,
            detail: "busy",
        };
        let triggers = LateTriggers::default();
        triggers.remember(3, (0..REMEMBERED_MAX + 10).map(late));
        let newest = triggers.newest(usize::MAX);
        assert_eq!((newest.len(), newest[0].0, &*newest[0].1.id), (REMEMBERED_MAX, 3, "1009"));
        assert_eq!(&*newest[REMEMBERED_MAX - 1].1.id, "10");
        assert_eq!(triggers.newest(2).len(), 2);
    }
}
