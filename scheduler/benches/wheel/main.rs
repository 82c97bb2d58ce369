//! Inserts, cancels and firing with 10^4 to 10^7 pending: the wheel of counts beside what else there is.
//!
//! `cargo bench -p scheduler`. All run in one process on the same random due times, spread evenly over seven days; compare
//! within one run only. Every structure first fires the same sequence as the map, id by id.
//!
//! What the rows do and do not say: the wheel *counts*, in eight lanes, while the others hold the items and hand them
//! out. It is what it is because the items are on disk in due order anyway; a store without that order would need one
//! of the others. Its firing includes counting the rows of each slot to be split, here from a `BTreeSet` in memory,
//! about twice per trigger (once into seconds, once into milliseconds); from RocksDB each such row costs about 0.3 µs.
//! It goes from one due millisecond to the next, as does the hash wheel; delay queue, heap and map are asked once per
//! step. With few pending these milliseconds are minutes apart, and every trigger pays for the way to it alone.
//! The heap's cancel leaves the item where it is and pays when it comes up.

mod queues;

use std::cell::RefCell;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use queues::{Counts, Delays, HashWheel, Heap, Item, Map, Queue};

/// 2030-03-17T00:00:00Z.
const START: u64 = 1_899_936_000_000;
const WINDOW: u64 = 7 * 86_400_000;
/// Operations per iteration; firing steps are as long as that many take to come due.
const BATCH: usize = 1_000;
const NAMES: [&str; 5] = ["counts (ours)", "DelayQueue", "hash wheel", "BinaryHeap", "BTreeSet"];

/// A structure and what is pending in it.
struct World<Q> {
    queue: Q,
    now: u64,
    /// By id, for the ids below the number pending.
    dues: Vec<u64>,
    random: Random,
    fired: Vec<u32>,
}

/// splitmix64, so that every structure sees the same numbers.
struct Random(u64);

/// Does some thousand operations, and says how long they took and how many they were.
type Operation<Q> = fn(&mut World<Q>) -> (Duration, usize);

/// Operation, pending, name, nanoseconds per operation.
type Measured = RefCell<Vec<(&'static str, usize, &'static str, f64)>>;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .nresamples(1_000)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(1_000))
        .without_plots()
        .configure_from_args();
    // `--test` and `--list` are asked by test runners, which do not want to wait for ten million of anything.
    let trial = std::env::args().any(|arg| arg == "--test" || arg == "--list");
    let sizes: &[usize] = if trial { &[10_000] } else { &[10_000, 100_000, 1_000_000, 10_000_000] };

    let histories = [history::<Counts>(), history::<Delays>(), history::<HashWheel>(), history::<Heap>()];
    for (name, history) in NAMES.iter().zip(histories) {
        assert!(history == crate::history::<Map>(), "{name} fires other items than the map");
    }

    let measured = Measured::default();
    for pending in sizes.iter().copied() {
        measure::<Counts>(&mut criterion, NAMES[0], pending, &measured);
        measure::<Delays>(&mut criterion, NAMES[1], pending, &measured);
        measure::<HashWheel>(&mut criterion, NAMES[2], pending, &measured);
        measure::<Heap>(&mut criterion, NAMES[3], pending, &measured);
        measure::<Map>(&mut criterion, NAMES[4], pending, &measured);
    }
    criterion.final_summary();
    if !trial {
        print_table(sizes, &measured.borrow());
    }
}

fn measure<Q: Queue>(criterion: &mut Criterion, name: &'static str, pending: usize, measured: &Measured) {
    // Built when the first of the three wants it: a filter on the command line may want none.
    let world = RefCell::new(None);
    let operations: [(&'static str, Operation<Q>); 3] =
        [("insert", World::insert), ("cancel", World::cancel), ("fire", World::fire)];
    for (operation, run) in operations {
        let mut group = criterion.benchmark_group(operation);
        group.throughput(Throughput::Elements(BATCH as u64));
        let rates = RefCell::new(Vec::new());
        group.bench_function(format!("{name}/{pending}"), |bencher| {
            let mut world = world.borrow_mut();
            let world = world.get_or_insert_with(|| World::<Q>::build(pending));
            bencher.iter_custom(|iterations| {
                let (mut busy, mut done) = (Duration::ZERO, 0);
                // How many fall due in a step varies, so an iteration is a thousand of them, not a step.
                let wanted = iterations as usize * BATCH;
                while done < wanted {
                    let (time, count) = run(world);
                    busy += time;
                    done += count;
                }
                rates.borrow_mut().push(busy.as_nanos() as f64 / done as f64);
                busy.mul_f64(wanted as f64 / done as f64)
            });
        });
        group.finish();
        let mut rates = rates.into_inner();
        rates.sort_by(f64::total_cmp);
        if let Some(median) = rates.get(rates.len() / 2) {
            measured.borrow_mut().push((operation, pending, name, *median));
        }
    }
}

/// The ids that fire in each of some steps between inserts and cancels.
fn history<Q: Queue>() -> Vec<Vec<u32>> {
    let mut world = World::<Q>::build(20_000);
    let step = |_| {
        world.insert();
        world.cancel();
        world.fire();
        world.fired.sort_unstable();
        world.fired.clone()
    };
    (0..20).map(step).collect()
}

impl<Q: Queue> World<Q> {
    fn build(pending: usize) -> Self {
        let mut random = Random(7);
        let dues: Vec<_> = (0..pending).map(|_| random.due(START)).collect();
        let items: Vec<_> = dues.iter().enumerate().map(|(id, due)| (id as u32, *due)).collect();
        let queue = Q::build(START, pending + BATCH, &items);
        World { queue, now: START, dues, random, fired: Vec::new() }
    }

    /// Inserts a batch; what it added is cancelled off the clock.
    fn insert(&mut self) -> (Duration, usize) {
        let first = self.dues.len();
        let batch: Vec<Item> = (first..first + BATCH).map(|id| (id as u32, self.random.due(self.now))).collect();
        let busy = self.queue.insert(&batch);
        self.queue.cancel(&batch);
        (busy, BATCH)
    }

    /// Cancels a batch taken anywhere; as much is inserted off the clock.
    fn cancel(&mut self) -> (Duration, usize) {
        let mut ids: Vec<_> = (0..BATCH).map(|_| (self.random.next() % self.dues.len() as u64) as u32).collect();
        ids.sort_unstable();
        ids.dedup();
        // Back into random order: nobody cancels in the order of ids.
        for i in (1..ids.len()).rev() {
            ids.swap(i, (self.random.next() % (i as u64 + 1)) as usize);
        }
        let batch: Vec<Item> = ids.iter().map(|id| (*id, self.dues[*id as usize])).collect();
        let busy = self.queue.cancel(&batch);
        self.replace(&ids);
        (busy, batch.len())
    }

    /// Fires what a step makes due; as much is inserted off the clock.
    fn fire(&mut self) -> (Duration, usize) {
        self.now += (WINDOW * BATCH as u64 / self.dues.len() as u64).max(1);
        let mut fired = std::mem::take(&mut self.fired);
        fired.clear();
        let busy = self.queue.advance(self.now, &mut fired);
        assert!(fired.iter().all(|id| self.dues[*id as usize] <= self.now), "fired early");
        // In order of id, so that every structure goes on with the same due times.
        fired.sort_unstable();
        self.replace(&fired);
        let count = fired.len();
        self.fired = fired;
        (busy, count)
    }

    fn replace(&mut self, ids: &[u32]) {
        let mut batch = Vec::with_capacity(ids.len());
        for id in ids {
            let due = self.random.due(self.now);
            self.dues[*id as usize] = due;
            batch.push((*id, due));
        }
        self.queue.insert(&batch);
    }
}

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn due(&mut self, now: u64) -> u64 {
        now + 1 + self.next() % WINDOW
    }
}

fn print_table(sizes: &[usize], measured: &[(&'static str, usize, &'static str, f64)]) {
    println!("\nns per operation, and how many times ours, median of the samples of this run\n");
    println!("{:<8}{:>10}{}", "", "pending", NAMES.map(|name| format!("{name:>20}")).concat());
    for operation in ["insert", "cancel", "fire"] {
        for pending in sizes {
            let find =
                |name: &str| measured.iter().find(|m| (m.0, m.1, m.2) == (operation, *pending, name)).map(|m| m.3);
            let ours = find(NAMES[0]);
            let cell = |name| match (find(name), ours) {
                (Some(ns), Some(ours)) => format!("{ns:>12.1} ({:>4.1})", ns / ours),
                (Some(ns), None) => format!("{ns:>12.1}       "),
                (None, _) => "-".into(),
            };
            println!("{operation:<8}{pending:>10}{}", NAMES.map(|name| format!("{:>20}", cell(name))).concat());
        }
    }
}
