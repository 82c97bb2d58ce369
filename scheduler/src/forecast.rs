//! How many triggers are due when, by topic: what the wheels of the partitions know, on one grid of cells.
//!
//! A partition's share is a [`Part`], taken from its wheel in one go. Where the wheel is coarser than a cell (a split
//! is owed, or a cell narrower than its window was asked for) the part names a [`Gap`], whose rows the caller
//! counts, so that the result is exact. A [`Forecast`] adds the parts up by topic name, since each partition numbers
//! topics on its own. Later attempts count like first ones, at the time before which they are not made.

use std::collections::BTreeMap;

use crate::lane::{LaneId, TopicId};
use crate::time::{Delay, Timestamp};
use crate::wheel::{Level, Wheel};

/// The cells of a forecast: equally wide, side by side, beginning at a multiple of their width since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    start: u64,
    step: u64,
    cells: u64,
}

/// Why there is no such grid. The names are those of the request's fields.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The width is not a whole number of seconds below a minute, of minutes below an hour, or of hours.
    #[error("step of {step} is not a whole number of seconds, of minutes from 1 min on, or of hours from 1 h on")]
    Step {
        /// What was asked for.
        step: Delay,
    },
    /// The span is empty, or longer than cells of this width reach.
    #[error("span of {span} is not above zero and at most {span_max} for a step of {step}")]
    Span {
        /// What was asked for.
        span: Delay,
        /// The width of a cell.
        step: Delay,
        /// The longest span for it.
        span_max: Delay,
    },
}

/// One partition's share of a forecast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    grid: Grid,
    topic: Option<TopicId>,
    as_of: Timestamp,
    /// By number of the cell.
    cells: BTreeMap<u64, BTreeMap<TopicId, i64>>,
    beyond: BTreeMap<TopicId, i64>,
    gaps: Vec<Gap>,
}

/// A range of due times about which the wheel cannot say enough: the rows due in it have to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    /// The first millisecond.
    pub from: Timestamp,
    /// The first millisecond after it.
    pub to: Timestamp,
}

/// The forecast over all partitions.
#[derive(Clone, Debug)]
pub struct Forecast {
    grid: Grid,
    as_of: Option<Timestamp>,
    /// By number of the cell.
    cells: BTreeMap<u64, BTreeMap<String, u64>>,
    beyond: u64,
}

/// What is due within one cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Its first millisecond.
    pub start: Timestamp,
    /// How long it lasts.
    pub width: Delay,
    /// All topics together.
    pub count: u64,
    /// Topics with anything in the cell, in name order.
    pub topics: Vec<(String, u64)>,
}

impl Grid {
    /// The most cells one forecast has.
    pub const CELLS_MAX: u64 = 1_440;

    /// Cells `step` wide for at least `span`, the first holding `from`.
    ///
    /// # Errors
    ///
    /// `step` must be whole seconds, whole minutes from a minute on, whole hours from an hour on. The span is above
    /// zero and at most an hour for steps below a minute, a day for steps below an hour, and 1,440 cells.
    pub fn new(from: Timestamp, step: Delay, span: Delay) -> Result<Grid, Error> {
        let [second, minute, hour] = [Level::Second, Level::Minute, Level::Hour].map(|level| level.step().as_millis());
        let width = step.as_millis();
        let (unit, reach) = match width {
            _ if width < minute => (second, hour),
            _ if width < hour => (minute, 24 * hour),
            _ => (hour, u64::MAX),
        };
        if width == 0 || !width.is_multiple_of(unit) {
            return Err(Error::Step { step });
        }
        let span_max = Delay::from_millis(reach.min(width.saturating_mul(Self::CELLS_MAX)));
        if span == Delay::ZERO || span > span_max {
            return Err(Error::Span { span, step, span_max });
        }
        let start = from.as_millis() / width * width;
        Ok(Grid { start, step: width, cells: span.as_millis().div_ceil(width) })
    }

    /// The first millisecond of the first cell.
    pub fn start(&self) -> Timestamp {
        Timestamp::from_millis(self.start)
    }

    /// The first millisecond after the last cell.
    pub fn end(&self) -> Timestamp {
        self.edge(self.cells)
    }

    /// The number of the cell that this moment lies in; `None` outside all cells.
    fn cell(&self, at: Timestamp) -> Option<u64> {
        let cell = at.as_millis().checked_sub(self.start)? / self.step;
        (cell < self.cells).then_some(cell)
    }

    fn edge(&self, cell: u64) -> Timestamp {
        Timestamp::from_millis(self.start.saturating_add(cell.saturating_mul(self.step)))
    }
}

impl Wheel {
    /// What this wheel knows of the cells of a grid, of one topic or of all.
    ///
    /// Triggers due before the grid's first cell are in no count; a grid that starts at the oldest watermark over the
    /// partitions leaves out none. The cost is that of the slots in use up to the end of the grid.
    pub fn forecast(&self, grid: Grid, topic: Option<TopicId>) -> Part {
        let mut part =
            Part { grid, topic, as_of: self.now(), cells: BTreeMap::new(), beyond: BTreeMap::new(), gaps: Vec::new() };
        for (lane, count) in self.pending_by_lane().iter() {
            part.add(None, lane, count as i64);
        }
        // Up to a whole hour, lest a slot that reaches over the end be seen without the finer ones below it.
        let hour = Level::Hour.step().as_millis();
        let to = Timestamp::from_millis(grid.end().as_millis().div_ceil(hour).saturating_mul(hour));
        self.visit(to, |range, lane, count| {
            if range.from >= grid.end() || !part.asks(lane) {
                return;
            }
            let last = Timestamp::from_millis(range.to.as_millis() - 1);
            let known = range.from > self.now() || range.level == Level::Millisecond;
            let cell = grid.cell(range.from).filter(|cell| known && grid.cell(last) == Some(*cell));
            if cell.is_none() && range.to > grid.start() {
                part.gaps.push(Gap { from: range.from.max(self.now().after(Level::Millisecond.step())), to: range.to });
            }
            part.add(None, lane, -count);
            if cell.is_some() {
                part.add(cell, lane, count);
            }
        });
        part.gaps.sort_unstable();
        part.gaps.dedup();
        part
    }

    /// How many triggers of these lanes are due in each of the 24 hours from `now` on, from what the wheel counts alone. What should
    /// have fired by now is in the first hour; what the wheel knows only coarsely is counted where its slot begins: at most
    /// an hour early, and that only for triggers more than a day after the wheel was advanced last.
    pub fn by_hour(&self, now: Timestamp, asked: impl Fn(LaneId) -> bool) -> [u64; 24] {
        let hour = Level::Hour.step().as_millis();
        let mut counts = [0i64; 24];
        self.visit(now.after(Delay::from_millis(24 * hour)), |range, lane, count| {
            let ahead = range.from.since(now).as_millis() / hour;
            if asked(lane)
                && let Some(sum) = counts.get_mut(ahead as usize)
            {
                *sum += count;
            }
        });
        counts.map(|count| count.max(0) as u64)
    }
}

impl Part {
    /// The ranges still to be counted, in order, without overlap.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Closes a gap with how many triggers of which lane are due when in it, read from a state of the store that has
    /// applied exactly what the wheel had when this part was taken. A moment may come more than once.
    ///
    /// # Panics
    ///
    /// If there is no such gap, or a moment is outside it.
    pub fn recounted(&mut self, gap: Gap, counts: impl IntoIterator<Item = (LaneId, Timestamp, u64)>) {
        let place = self.gaps.iter().position(|open| *open == gap);
        self.gaps.remove(place.unwrap_or_else(|| panic!("no gap from {} to {} is open", gap.from, gap.to)));
        for (lane, due, count) in counts {
            assert!(gap.from <= due && due < gap.to, "due {due} in the gap from {} to {}", gap.from, gap.to);
            if due >= self.grid.start() {
                self.add(self.grid.cell(due), lane, count as i64);
            }
        }
    }

    /// Takes the triggers of a topic out. After the gaps were closed.
    pub fn leave_out(&mut self, topic: TopicId) {
        for topics in self.cells.values_mut() {
            topics.remove(&topic);
        }
        self.beyond.remove(&topic);
    }

    fn asks(&self, lane: LaneId) -> bool {
        self.topic.is_none_or(|topic| lane.topic() == topic)
    }

    /// Adds to a cell, or to what lies beyond all cells.
    fn add(&mut self, cell: Option<u64>, lane: LaneId, count: i64) {
        if self.asks(lane) {
            let topics = cell.map_or(&mut self.beyond, |cell| self.cells.entry(cell).or_default());
            *topics.entry(lane.topic()).or_insert(0) += count;
        }
    }
}

impl Forecast {
    /// Without any partition yet.
    pub fn new(grid: Grid) -> Self {
        Forecast { grid, as_of: None, cells: BTreeMap::new(), beyond: 0 }
    }

    /// Adds a partition's part; `name` is asked for the names of that partition's topics.
    ///
    /// # Panics
    ///
    /// If the part has gaps or another grid.
    pub fn add(&mut self, part: &Part, name: impl Fn(TopicId) -> String) {
        assert!(part.gaps.is_empty(), "{} gaps of a forecast were not counted", part.gaps.len());
        assert!(part.grid == self.grid, "a part on {:?} for a forecast on {:?}", part.grid, self.grid);
        self.as_of = Some(self.as_of.map_or(part.as_of, |oldest| oldest.min(part.as_of)));
        for (cell, topics) in &part.cells {
            for (topic, count) in topics.iter().filter(|(_, count)| **count > 0) {
                *self.cells.entry(*cell).or_default().entry(name(*topic)).or_insert(0) += *count as u64;
            }
        }
        self.beyond += part.beyond.values().map(|count| (*count).max(0) as u64).sum::<u64>();
    }

    /// The cells with anything in them, in order.
    pub fn cells(&self) -> impl Iterator<Item = Cell> + '_ {
        self.cells.iter().map(|(number, topics)| Cell {
            start: self.grid.edge(*number),
            width: Delay::from_millis(self.grid.step),
            count: topics.values().sum(),
            topics: topics.iter().map(|(name, count)| (name.clone(), *count)).collect(),
        })
    }

    /// Triggers due after the last cell.
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    /// The oldest moment a part was taken at; `None` without parts.
    pub fn as_of(&self) -> Option<Timestamp> {
        self.as_of
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::Class;

    const START: u64 = 1_899_936_000_000; // 2030-03-17T00:00:00Z

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(START + ms)
    }

    #[test]
    fn steps_and_spans_are_whole_units_within_reach() {
        let new = |step_ms, span_ms| Grid::new(at(0), Delay::from_millis(step_ms), Delay::from_millis(span_ms));
        for (step, span) in [
            (1_000, 1_440_000),
            (30_000, 3_600_000),
            (7_000, 60_000),
            (60_000, 86_400_000),
            (3_600_000, 1_440 * 3_600_000),
        ] {
            assert!(new(step, span).is_ok(), "step {step} ms, span {span} ms");
        }
        for step in [0, 1, 1_500, 90_000, 5_400_000] {
            assert!(matches!(new(step, 60_000), Err(Error::Step { .. })), "step {step} ms");
        }
        for (step, span) in [
            (1_000, 0),
            (1_000, 1_440_001),
            (30_000, 3_600_001),
            (60_000, 86_400_001),
            (3_600_000, 1_440 * 3_600_000 + 1),
        ] {
            assert!(matches!(new(step, span), Err(Error::Span { .. })), "step {step} ms, span {span} ms");
        }
        assert_eq!(new(1_000, 1).unwrap().end(), at(1_000), "a span is rounded up to whole cells");
    }

    /// Turns red when `by_hour` counts from the wheel's moment rather than from now, or leaves out what is overdue.
    #[test]
    fn hours_are_counted_from_now() {
        let (mine, other) = (LaneId::new(TopicId(0), Class::Normal), LaneId::new(TopicId(1), Class::High));
        let hour = 3_600_000;
        let mut wheel = Wheel::new(at(0));
        for due in [1, 1_800_000, hour - 1, hour + 60_000, hour + hour / 2, 20 * hour, 23 * hour + 120_000, 30 * hour] {
            wheel.insert(mine, at(due));
        }
        wheel.insert(other, at(hour / 2));
        let by_hour = |now| {
            let counts = wheel.by_hour(at(now), |lane| lane == mine);
            let used = counts.iter().enumerate().filter(|(_, count)| **count > 0);
            used.map(|(hour, count)| (hour, *count)).collect::<Vec<_>>()
        };
        assert_eq!(by_hour(0), [(0, 3), (1, 2), (20, 1), (23, 1)]);
        assert_eq!(by_hour(hour), [(0, 5), (19, 1), (22, 1)]);
        assert_eq!(by_hour(6 * hour), [(0, 5), (14, 1), (17, 1)]);
    }

    /// Two partitions number the same topics differently; one has an owed split, whose rows are counted.
    #[test]
    fn parts_are_added_by_name_and_gaps_are_counted() {
        let mut first = Wheel::new(at(0));
        first.insert(LaneId::new(TopicId(0), Class::Normal), at(500));
        first.insert(LaneId::new(TopicId(1), Class::High), at(61_000));
        let mut second = Wheel::new(at(0));
        let sms = LaneId::new(TopicId(0), Class::Normal);
        second.load_minute(sms, at(0), 2);
        second.load_minute(sms, at(86_400_000 * 3), 5);

        let grid = Grid::new(at(7), Delay::from_secs(1), Delay::from_secs(120)).unwrap();
        let mut forecast = Forecast::new(grid);
        let part = first.forecast(grid, None);
        assert_eq!(part.gaps(), []);
        forecast.add(&part, |topic| ["gift", "sms"][topic.0 as usize].into());
        let mut part = second.forecast(grid, None);
        assert_eq!(part.gaps(), [Gap { from: at(1), to: at(60_000) }]);
        part.recounted(Gap { from: at(1), to: at(60_000) }, [(sms, at(999), 1), (sms, at(59_999), 1)]);
        forecast.add(&part, |_| "sms".into());

        let seen: Vec<_> = forecast.cells().map(|c| (c.start.as_millis() - START, c.count, c.topics)).collect();
        let expected = [
            (0, 2, vec![("gift".to_owned(), 1), ("sms".to_owned(), 1)]),
            (59_000, 1, vec![("sms".to_owned(), 1)]),
            (61_000, 1, vec![("sms".to_owned(), 1)]),
        ];
        assert_eq!(seen, expected);
        assert_eq!((forecast.beyond(), forecast.as_of()), (5, Some(at(0))));
        let mut without = Forecast::new(Grid::new(at(0), Delay::from_secs(1), Delay::from_secs(30)).unwrap());
        let mut part = first.forecast(without.grid, None);
        part.leave_out(TopicId(0));
        part.leave_out(TopicId(1));
        without.add(&part, |_| "gift".into());
        assert_eq!((without.cells().count(), without.beyond()), (0, 0), "within the cells and beyond them");
        let only_gift = first.forecast(grid, Some(TopicId(0)));
        assert_eq!(only_gift.cells.values().flat_map(|topics| topics.keys()).collect::<Vec<_>>(), [&TopicId(0)]);
    }
}
