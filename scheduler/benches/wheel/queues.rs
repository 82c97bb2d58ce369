//! What is measured, behind one seam. Every method takes a batch and says how long the structure itself was busy with
//! it, so that what the bench keeps beside it (rows to count, keys by id) costs nobody anything.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::hint::black_box;
use std::task::Poll;
use std::time::{Duration, Instant};

use hierarchical_hash_wheel_timer::IdOnlyTimerEntry;
use hierarchical_hash_wheel_timer::wheels::{Skip, cancellable::QuadWheelWithOverflow};
use scheduler::lane::{Class, LaneId, TopicId};
use scheduler::time::Timestamp;
use scheduler::wheel::{Level, Wheel};
use tokio_util::time::{DelayQueue, delay_queue::Key};

/// An item and the millisecond it is due.
pub type Item = (u32, u64);

pub trait Queue {
    /// Holds these items at the moment `now`; ids are below `ids`.
    fn build(now: u64, ids: usize, items: &[Item]) -> Self
    where
        Self: Sized;
    fn insert(&mut self, batch: &[Item]) -> Duration;
    /// The items are pending, and due when it is said.
    fn cancel(&mut self, batch: &[Item]) -> Duration;
    /// Fires all that is due at `to` or earlier, and appends the ids in any order.
    fn advance(&mut self, to: u64, fired: &mut Vec<u32>) -> Duration;
}

/// Ours: counts in eight lanes. It holds no items; the rows beside it stand for the store.
pub struct Counts {
    wheel: Wheel,
    /// By due time, like the rows on disk. Counting a slot reads them, and that is part of the time of `advance`.
    rows: BTreeSet<(u64, u32)>,
    /// The stored minute counts, from which hours are split.
    minutes: BTreeMap<(u64, LaneId), i64>,
}

const MINUTE: u64 = 60_000;

fn lane(id: u32) -> LaneId {
    LaneId::new(TopicId(id % 8), Class::Normal)
}

impl Counts {
    fn keep(&mut self, (id, due): Item) {
        self.rows.insert((due, id));
        *self.minutes.entry((due / MINUTE * MINUTE, lane(id))).or_insert(0) += 1;
    }

    fn forget(&mut self, (id, due): Item) {
        self.rows.remove(&(due, id));
        let minute = (due / MINUTE * MINUTE, lane(id));
        let count = self.minutes.get_mut(&minute).expect("a counted minute");
        *count -= 1;
        if *count == 0 {
            self.minutes.remove(&minute);
        }
    }

    fn split_all(&mut self) {
        while let Some(split) = self.wheel.splits_owed().next() {
            assert!(self.wheel.begin_split(split));
            let (from, to) = (split.from.as_millis(), split.to.as_millis());
            let drift = if split.level == Level::Hour {
                let minutes = self.minutes.range((from, LaneId::default())..(to, LaneId::default()));
                let counts = minutes.map(|((minute, lane), count)| (*lane, Timestamp::from_millis(*minute), *count));
                self.wheel.finish_split(split, counts)
            } else {
                let rows = self.rows.range((from, 0)..(to, 0));
                self.wheel.finish_split(split, rows.map(|(due, id)| (lane(*id), Timestamp::from_millis(*due), 1)))
            };
            assert_eq!(drift.0, []);
        }
    }
}

impl Queue for Counts {
    fn build(now: u64, _ids: usize, items: &[Item]) -> Self {
        let mut wheel = Wheel::new(Timestamp::from_millis(now));
        for (id, due) in items {
            wheel.insert(lane(*id), Timestamp::from_millis(*due));
        }
        let rows = items.iter().map(|(id, due)| (*due, *id)).collect();
        let mut minutes = BTreeMap::new();
        for (id, due) in items {
            *minutes.entry((due / MINUTE * MINUTE, lane(*id))).or_insert(0) += 1;
        }
        let mut counts = Counts { wheel, rows, minutes };
        counts.split_all();
        counts
    }

    fn insert(&mut self, batch: &[Item]) -> Duration {
        let start = Instant::now();
        for (id, due) in batch {
            self.wheel.insert(lane(*id), Timestamp::from_millis(*due));
        }
        let busy = start.elapsed();
        batch.iter().for_each(|item| self.keep(*item));
        busy
    }

    fn cancel(&mut self, batch: &[Item]) -> Duration {
        let start = Instant::now();
        for (id, due) in batch {
            self.wheel.remove(lane(*id), Timestamp::from_millis(*due));
        }
        let busy = start.elapsed();
        batch.iter().for_each(|item| self.forget(*item));
        busy
    }

    /// As a leader does it: from one due millisecond to the next, waking before coarse slots to have them recounted.
    fn advance(&mut self, to: u64, fired: &mut Vec<u32>) -> Duration {
        let start = Instant::now();
        while let Some(next) = self.wheel.next_due(self.wheel.now())
            && next.wake.as_millis() <= to
        {
            black_box(&next.lanes);
            self.wheel.advance(next.wake);
            self.split_all();
        }
        self.wheel.advance(Timestamp::from_millis(to));
        self.split_all();
        let busy = start.elapsed();
        while let Some((due, id)) = self.rows.first().copied()
            && due <= to
        {
            self.forget((id, due));
            fired.push(id);
        }
        assert_eq!(self.wheel.pending(), self.rows.len() as u64);
        busy
    }
}

/// tokio-util's `DelayQueue` under a paused clock.
pub struct Delays {
    runtime: tokio::runtime::Runtime,
    queue: DelayQueue<u32>,
    keys: Vec<Option<Key>>,
    now: u64,
}

impl Queue for Delays {
    fn build(now: u64, ids: usize, items: &[Item]) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime");
        let queue = runtime.block_on(async { DelayQueue::with_capacity(items.len()) });
        let mut delays = Delays { runtime, queue, keys: vec![None; ids], now };
        delays.insert(items);
        delays
    }

    fn insert(&mut self, batch: &[Item]) -> Duration {
        let Delays { runtime, queue, keys, now, .. } = self;
        runtime.block_on(async {
            let clock = tokio::time::Instant::now();
            let start = Instant::now();
            for (id, due) in batch {
                keys[*id as usize] = Some(queue.insert_at(*id, clock + Duration::from_millis(due - *now)));
            }
            start.elapsed()
        })
    }

    fn cancel(&mut self, batch: &[Item]) -> Duration {
        let Delays { runtime, queue, keys, .. } = self;
        runtime.block_on(async {
            let start = Instant::now();
            for (id, _) in batch {
                let key = keys[*id as usize].take().expect("a pending id");
                black_box(queue.remove(&key));
            }
            start.elapsed()
        })
    }

    fn advance(&mut self, to: u64, fired: &mut Vec<u32>) -> Duration {
        let Delays { runtime, queue, now, .. } = self;
        let step = Duration::from_millis(to - *now);
        *now = to;
        // Without tokio's budget per poll, which would have it yield every few items.
        runtime.block_on(tokio::task::unconstrained(async {
            let start = Instant::now();
            tokio::time::advance(step).await;
            while let Poll::Ready(Some(expired)) = std::future::poll_fn(|cx| Poll::Ready(queue.poll_expired(cx))).await
            {
                fired.push(expired.into_inner());
            }
            start.elapsed()
        }))
    }
}

/// The crate `hierarchical_hash_wheel_timer`: its cancellable wheel, ticked every millisecond it does not let us skip.
pub struct HashWheel {
    wheel: QuadWheelWithOverflow<IdOnlyTimerEntry<u32>>,
    now: u64,
}

impl Queue for HashWheel {
    fn build(now: u64, _ids: usize, items: &[Item]) -> Self {
        let mut wheel = HashWheel { wheel: QuadWheelWithOverflow::new(), now };
        wheel.insert(items);
        wheel
    }

    fn insert(&mut self, batch: &[Item]) -> Duration {
        let start = Instant::now();
        for (id, due) in batch {
            let entry = IdOnlyTimerEntry { id: *id, delay: Duration::from_millis(due - self.now) };
            self.wheel.insert(entry).expect("a due time ahead");
        }
        start.elapsed()
    }

    fn cancel(&mut self, batch: &[Item]) -> Duration {
        let start = Instant::now();
        for (id, _) in batch {
            self.wheel.cancel(id).expect("a pending id");
        }
        start.elapsed()
    }

    fn advance(&mut self, to: u64, fired: &mut Vec<u32>) -> Duration {
        let start = Instant::now();
        while self.now < to {
            let left = to - self.now;
            let skip = match self.wheel.can_skip() {
                Skip::None => 0,
                Skip::Millis(ms) => left.min(u64::from(ms)),
                Skip::Empty => left,
            };
            if skip > 0 {
                self.wheel.skip(skip as u32);
                self.now += skip;
            } else {
                fired.extend(self.wheel.tick().iter().map(|entry| entry.id));
                self.now += 1;
            }
        }
        start.elapsed()
    }
}

/// The standard library's heap. A cancelled item stays until it comes up, or until the dead outnumber the living.
pub struct Heap {
    heap: BinaryHeap<Reverse<(u64, u32, u32)>>,
    /// By id: which of its entries in the heap is alive, and none when even.
    versions: Vec<u32>,
    dead: usize,
}

impl Queue for Heap {
    fn build(_now: u64, ids: usize, items: &[Item]) -> Self {
        let mut versions = vec![0; ids];
        for (id, _) in items {
            versions[*id as usize] = 1;
        }
        Heap { heap: items.iter().map(|(id, due)| Reverse((*due, *id, 1))).collect(), versions, dead: 0 }
    }

    fn insert(&mut self, batch: &[Item]) -> Duration {
        let start = Instant::now();
        for (id, due) in batch {
            let version = &mut self.versions[*id as usize];
            *version += 1;
            self.heap.push(Reverse((*due, *id, *version)));
        }
        start.elapsed()
    }

    fn cancel(&mut self, batch: &[Item]) -> Duration {
        let start = Instant::now();
        for (id, _) in batch {
            self.versions[*id as usize] += 1;
            self.dead += 1;
        }
        if self.dead > self.heap.len() / 2 {
            let versions = &self.versions;
            self.heap.retain(|Reverse((_, id, version))| versions[*id as usize] == *version);
            self.dead = 0;
        }
        start.elapsed()
    }

    fn advance(&mut self, to: u64, fired: &mut Vec<u32>) -> Duration {
        let start = Instant::now();
        while let Some(Reverse((due, id, version))) = self.heap.peek().copied()
            && due <= to
        {
            self.heap.pop();
            let alive = &mut self.versions[id as usize];
            if *alive == version {
                *alive += 1;
                fired.push(id);
            } else {
                self.dead -= 1;
            }
        }
        start.elapsed()
    }
}

/// The standard library's map, which is also what the wheel is tested against.
pub struct Map(BTreeSet<(u64, u32)>);

impl Queue for Map {
    fn build(_now: u64, _ids: usize, items: &[Item]) -> Self {
        Map(items.iter().map(|(id, due)| (*due, *id)).collect())
    }

    fn insert(&mut self, batch: &[Item]) -> Duration {
        let start = Instant::now();
        for (id, due) in batch {
            self.0.insert((*due, *id));
        }
        start.elapsed()
    }

    fn cancel(&mut self, batch: &[Item]) -> Duration {
        let start = Instant::now();
        for (id, due) in batch {
            assert!(self.0.remove(&(*due, *id)));
        }
        start.elapsed()
    }

    fn advance(&mut self, to: u64, fired: &mut Vec<u32>) -> Duration {
        let start = Instant::now();
        while let Some((due, id)) = self.0.first().copied()
            && due <= to
        {
            self.0.pop_first();
            fired.push(id);
        }
        start.elapsed()
    }
}
