//! The wheel against a `BTreeMap` of rows, under random inserts, removals, advances and splits that are begun and
//! finished at any time. The map is slow and obviously right: what is scheduled is what is due after `now`.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;
use scheduler::forecast::{Forecast, Grid};
use scheduler::lane::{Class, LaneId, TopicId};
use scheduler::time::{Delay, Timestamp};
use scheduler::wheel::{Level, Recount, Split, Wheel};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

/// Rows by due time and lane, like those of the store. Fired ones stay, as they do there until they are completed.
type Rows = BTreeMap<(u64, LaneId), i64>;

/// A moment relative to the one the wheel has reached.
#[derive(Clone, Debug)]
enum When {
    Ahead(u64),
    /// This many edges of this unit ahead, moved by -1, 0 or 1 ms.
    Edge(u64, u64, i64),
    /// Some row that is scheduled, moved by -1, 0 or 1 ms.
    Row(Index, i64),
}

#[derive(Clone, Debug)]
enum Step {
    Insert(LaneId, When),
    Remove(Index),
    Advance(When),
    /// Advance to where the wheel asks to be looked at.
    Wake,
    Begin(Index),
    Finish(Index, Told),
    FinishAll,
}

/// What the caller of `finish_split` tells about a minute or a second. An hour is always counted from the stored minute
/// counts, which know no finer moment and keep what has fired.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// Every row at its due time, whether fired or not.
    Rows,
    /// Those that had not fired as the split began.
    Scheduled,
    /// Every row at the start of its finer slot.
    Starts,
    /// A `Recount` of every row in the order of keys, lane by lane.
    Recount,
}

/// A stored row before the wheel exists: minutes from the one under way, and milliseconds within the minute.
type Stored = (LaneId, u64, u64);

struct World {
    wheel: Wheel,
    now: u64,
    rows: Rows,
    /// Splits under way, with the moment and the rows as they were when each began.
    splits: Vec<(Split, u64, Rows)>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, max_shrink_iters: 20_000, failure_persistence: None, ..Default::default() })]

    /// Never later than the first row due, exact where it says so, totals and forecast equal to the map's, at every
    /// step, whatever is in flight; and once every split is finished, as fine as each level promises.
    ///
    /// Turns red when `Wheel::level_of` forgets splits under way (delete its `if self.splitting...` block: removals then
    /// hit the frozen count), when it skips the slot in use (delete its last `if`: an insert into a slot whose split
    /// is owed is counted twice by the recount), when `next_due` starts at the level's next slot (`slot(earliest) + 1`),
    /// when `finish_split` keeps what has fired (make its last condition true), and when `begin_split` always remembers
    /// what was counted.
    #[test]
    fn wheel_agrees_with_a_map(
        start in start(),
        stored in prop::collection::vec((lane(), 0..3_000_u64, 0..MINUTE), 0..12),
        steps in prop::collection::vec(step(), 1..80),
        probe in (0..3_usize, 1..100_u64, 0..2 * HOUR),
    ) {
        let mut world = World::load(start, &stored);
        world.check(probe);
        for step in &steps {
            world.take(step);
            world.check(probe);
        }
        world.settle();
        world.check_settled();
        world.run_dry();
    }
}

impl World {
    fn load(now: u64, stored: &[Stored]) -> World {
        let mut rows = Rows::new();
        for (lane, minutes, ms) in stored {
            *rows.entry((now / MINUTE * MINUTE + minutes * MINUTE + ms, *lane)).or_insert(0) += 1;
        }
        let mut wheel = Wheel::new(Timestamp::from_millis(now));
        for ((minute, lane), count) in per(MINUTE, &rows) {
            wheel.load_minute(lane, Timestamp::from_millis(minute), count);
        }
        World { wheel, now, rows, splits: Vec::new() }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Insert(lane, when) => {
                let due = self.resolve(when).max(self.now + 1);
                *self.rows.entry((due, *lane)).or_insert(0) += 1;
                self.wheel.insert(*lane, Timestamp::from_millis(due));
            }
            Step::Remove(which) => {
                let scheduled: Vec<_> = self.scheduled(self.now).map(|(key, _)| key).collect();
                if !scheduled.is_empty() {
                    let (due, lane) = *which.get(&scheduled);
                    let count = self.rows.get_mut(&(due, lane)).unwrap();
                    *count -= 1;
                    if *count == 0 {
                        self.rows.remove(&(due, lane));
                    }
                    self.wheel.remove(lane, Timestamp::from_millis(due));
                }
            }
            Step::Advance(when) => self.advance(self.resolve(when).max(self.now)),
            Step::Wake => {
                if let Some(next) = self.wheel.next_due(Timestamp::from_millis(self.now)) {
                    self.advance(next.wake.as_millis());
                }
            }
            Step::Begin(which) => {
                let owed: Vec<_> = self.wheel.splits_owed().collect();
                if !owed.is_empty() {
                    self.begin(*which.get(&owed));
                }
            }
            Step::Finish(which, told) => {
                if !self.splits.is_empty() {
                    self.finish(which.index(self.splits.len()), *told);
                }
            }
            Step::FinishAll => self.settle(),
        }
    }

    fn resolve(&self, when: &When) -> u64 {
        match when {
            When::Ahead(ms) => self.now + ms,
            When::Edge(unit, ahead, by) => ((self.now / unit + ahead) * unit).saturating_add_signed(*by),
            When::Row(which, by) => {
                let scheduled: Vec<_> = self.scheduled(self.now).map(|((due, _), _)| due).collect();
                let due = if scheduled.is_empty() { self.now } else { *which.get(&scheduled) };
                due.saturating_add_signed(*by)
            }
        }
    }

    fn advance(&mut self, now: u64) {
        self.now = now;
        let owed = self.wheel.advance(Timestamp::from_millis(now));
        assert_eq!(owed, self.wheel.splits_owed().count());
    }

    fn begin(&mut self, split: Split) {
        assert!(self.wheel.begin_split(split), "{split:?} was owed");
        assert!(!self.wheel.begin_split(split), "{split:?} is under way");
        self.splits.push((split, self.now, self.rows.clone()));
    }

    fn finish(&mut self, which: usize, told: Told) {
        let (split, began, mut rows) = self.splits.swap_remove(which);
        let width = match (split.level, told) {
            (Level::Hour, _) => MINUTE,
            (Level::Minute, Told::Starts) => SECOND,
            _ => 1,
        };
        if matches!(told, Told::Scheduled) && split.level != Level::Hour {
            rows.retain(|(due, _), _| *due > began);
        }
        let counted = per(width, &rows);
        let range = counted.range((split.from.as_millis(), lane_min())..(split.to.as_millis(), lane_min()));
        let counts = range.map(|((at, lane), count)| (*lane, Timestamp::from_millis(*at), *count));
        let drift = if matches!(told, Told::Recount) {
            let mut recount = Recount::new(split);
            let mut keys: Vec<_> = counts.collect();
            keys.sort_unstable();
            keys.into_iter().for_each(|(lane, due, count)| recount.add(lane, due, count));
            self.wheel.finish_split(split, recount)
        } else {
            self.wheel.finish_split(split, counts)
        };
        assert_eq!(drift.0, [], "in {split:?}");
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            if !self.splits.is_empty() {
                self.finish(0, Told::Rows);
            }
            match self.wheel.splits_owed().next() {
                Some(split) => self.begin(split),
                None if self.splits.is_empty() => return,
                None => {}
            }
        }
        panic!("splits without end");
    }

    /// Holds at every moment.
    fn check(&self, (width, cells, after): (usize, u64, u64)) {
        self.check_next_due(self.now);
        self.check_next_due(self.now + after);
        let whole = |split: Split| split.from.as_millis() > self.now;
        let entered = !self.wheel.splits_owed().all(whole) || !self.splits.iter().all(|(split, ..)| whole(*split));
        assert!(self.wheel.pending() >= self.scheduled(self.now).map(|(_, count)| count as u64).sum::<u64>());
        if !entered {
            self.check_pending();
        }
        let topic = (cells % 3 == 0).then_some(TopicId(2));
        let from = self.now + if cells % 2 == 0 { after } else { 0 };
        self.check_forecast(from, [SECOND, MINUTE, HOUR][width], cells, topic);
    }

    fn check_next_due(&self, after: u64) {
        let first = self.first(after);
        let Some(next) = self.wheel.next_due(Timestamp::from_millis(after)) else {
            assert_eq!(first, None, "due, and the wheel knows nothing after {after}");
            return;
        };
        let at = next.at.as_millis();
        assert!(after < at && first.is_none_or(|first| at <= first), "first {first:?} after {after}, {next:?}");
        assert!(after < next.wake.as_millis() && next.wake <= next.at, "after {after}, {next:?}");
        if next.exact {
            assert_eq!(Some(at), first);
            let there: Vec<_> = self
                .scheduled(after)
                .filter(|((due, _), _)| *due == at)
                .map(|((_, lane), n)| (lane, n as u64))
                .collect();
            assert_eq!(next.lanes.iter().collect::<Vec<_>>(), there);
        }
    }

    fn check_pending(&self) {
        let mut lanes = BTreeMap::new();
        for ((_, lane), count) in self.scheduled(self.now) {
            *lanes.entry(lane).or_insert(0) += count as u64;
        }
        assert_eq!(self.wheel.pending_by_lane().iter().collect::<BTreeMap<_, _>>(), lanes);
        assert_eq!(self.wheel.pending(), lanes.values().sum::<u64>());
        for (lane, count) in lanes {
            assert_eq!(self.wheel.pending_in(lane), count);
        }
    }

    fn check_forecast(&self, from: u64, step: u64, cells: u64, topic: Option<TopicId>) {
        let cells = cells.min(if step == HOUR { 100 } else { 60 });
        let span = Delay::from_millis(step * cells);
        let grid = Grid::new(Timestamp::from_millis(from), Delay::from_millis(step), span).unwrap();
        let mut part = self.wheel.forecast(grid, topic);
        for gap in part.gaps().to_vec() {
            let rows = self.scheduled(self.now).map(|((due, lane), n)| (lane, Timestamp::from_millis(due), n as u64));
            part.recounted(gap, rows.filter(|(_, due, _)| gap.from <= *due && *due < gap.to));
        }
        let mut forecast = Forecast::new(grid);
        forecast.add(&part, |topic| format!("{:03}", topic.0));

        let mut expected = BTreeMap::<_, BTreeMap<_, u64>>::new();
        let mut beyond = 0;
        for ((due, lane), count) in self.scheduled(self.now) {
            if due < grid.start().as_millis() || topic.is_some_and(|topic| topic != lane.topic()) {
                continue;
            }
            if due < grid.end().as_millis() {
                let cell = expected.entry(due / step * step).or_default();
                *cell.entry(format!("{:03}", lane.topic().0)).or_insert(0) += count as u64;
            } else {
                beyond += count as u64;
            }
        }
        let got: BTreeMap<_, _> =
            forecast.cells().map(|cell| (cell.start.as_millis(), cell.topics.into_iter().collect())).collect();
        assert_eq!(got, expected);
        assert_eq!(forecast.beyond(), beyond);
    }

    /// Holds once no split is owed or under way: totals are exact, and each level reaches as far as it promises.
    fn check_settled(&self) {
        self.check_pending();
        let first = self.first(self.now);
        let next = self.wheel.next_due(Timestamp::from_millis(self.now));
        let (Some(first), Some(next)) = (first, next.clone()) else {
            assert!(first.is_none() && next.is_none(), "first {first:?}, {next:?}");
            return;
        };
        let ahead = first - self.now;
        let reach = [(2 * SECOND, 1), (HOUR, SECOND), (DAY, MINUTE), (u64::MAX, HOUR)];
        let (_, width) = *reach.iter().find(|(reach, _)| ahead <= *reach).unwrap();
        assert!(next.at.as_millis() / width == first / width, "first {first}, now {}, {next:?}", self.now);
        assert!(width > 1 || next.exact, "first {first}, now {}, {next:?}", self.now);
    }

    /// A caller that advances where it is told to and finishes what is owed meets every trigger in its millisecond, after
    /// at most three looks.
    fn run_dry(&mut self) {
        while let Some(first) = self.first(self.now) {
            let mut looks = 0;
            loop {
                let next = self.wheel.next_due(Timestamp::from_millis(self.now)).expect("something is due");
                self.advance(next.wake.as_millis());
                self.settle();
                self.check_settled();
                if next.exact {
                    break;
                }
                looks += 1;
                assert!(looks <= 3, "{looks} looks, and still {next:?}");
            }
            assert_eq!(self.now, first);
        }
        assert_eq!(self.wheel.next_due(Timestamp::from_millis(self.now)), None);
        assert_eq!(self.wheel.pending(), 0);
    }

    fn first(&self, after: u64) -> Option<u64> {
        self.scheduled(after).next().map(|((due, _), _)| due)
    }

    fn scheduled(&self, after: u64) -> impl Iterator<Item = ((u64, LaneId), i64)> {
        self.rows.range((after + 1, lane_min())..).map(|(key, count)| (*key, *count))
    }
}

/// Rows added up in steps of `width`.
fn per(width: u64, rows: &Rows) -> Rows {
    let mut counts = Rows::new();
    for ((due, lane), count) in rows {
        *counts.entry((due / width * width, *lane)).or_insert(0) += count;
    }
    counts
}

/// Before every lane: topic 0, class High.
fn lane_min() -> LaneId {
    LaneId::default()
}

fn lane() -> impl Strategy<Value = LaneId> {
    (1..4_u32, prop::sample::select(vec![Class::High, Class::Normal, Class::Retry]))
        .prop_map(|(topic, class)| LaneId::new(TopicId(topic), class))
}

fn start() -> impl Strategy<Value = u64> {
    prop_oneof![
        prop::sample::select(vec![
            0,
            1_735_689_599_999, // the last millisecond of 2024
            1_835_395_198_500, // 2028-02-28T23:59:58.5, the day before a leap day
            1_835_481_597_000, // 2028-02-29T23:59:57
            1_899_936_000_000, // midnight
            1_899_939_599_001, // the last second of an hour
        ]),
        0..2_000_000_000_000_u64,
    ]
}

fn when() -> impl Strategy<Value = When> {
    let unit = prop::sample::select(vec![SECOND, MINUTE, HOUR, DAY]);
    prop_oneof![
        3 => (0..3 * SECOND).prop_map(When::Ahead),
        2 => (0..70 * MINUTE).prop_map(When::Ahead),
        1 => (0..27 * HOUR).prop_map(When::Ahead),
        1 => (0..10 * YEAR).prop_map(When::Ahead),
        4 => (unit, 1..4_u64, -1..=1_i64).prop_map(|(unit, ahead, by)| When::Edge(unit, ahead, by)),
        1 => (prop::sample::select(vec![(SECOND, 60), (MINUTE, 60), (HOUR, 24)]), 0..3_u64, -1..=1_i64)
            .prop_map(|((unit, n), more, by)| When::Edge(unit, n + more, by)),
        3 => (any::<Index>(), -1..=1_i64).prop_map(|(which, by)| When::Row(which, by)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (lane(), when()).prop_map(|(lane, when)| Step::Insert(lane, when)),
        4 => any::<Index>().prop_map(Step::Remove),
        2 => when().prop_map(Step::Advance),
        2 => Just(Step::Wake),
        4 => any::<Index>().prop_map(Step::Begin),
        2 => (any::<Index>(), prop::sample::select(vec![Told::Rows, Told::Scheduled, Told::Starts, Told::Recount]))
            .prop_map(|(which, told)| Step::Finish(which, told)),
        1 => Just(Step::FinishAll),
    ]
}
