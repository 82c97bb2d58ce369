//! The state of the live view: events in, a frame out. No terminal, no clock, no network.

use std::time::Duration;

use super::round::{Partition, Picture, Round};

/// Something happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The nodes were asked.
    Answered(Box<Round>),
    /// Somebody pressed a key.
    Key(Key),
}

/// A key, as far as the view knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A letter or sign.
    Char(char),
    /// Up a line.
    Up,
    /// Down a line.
    Down,
    /// Up ten lines.
    PageUp,
    /// Down ten lines.
    PageDown,
    /// Escape.
    Escape,
    /// Ctrl-C.
    Interrupt,
}

/// What the order of the partitions goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Their numbers.
    #[default]
    Number,
    /// The node that leads them.
    Leader,
    /// Most pending first.
    Pending,
    /// Oldest overdue first.
    Overdue,
    /// Most fired per second first.
    Fired,
    /// The worst first.
    Health,
}

/// How far the forecast looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Span {
    /// An hour.
    #[default]
    Hour,
    /// A day.
    Day,
}

/// Everything the screen shows.
#[derive(Clone, Debug)]
pub struct View {
    /// Time between two rounds.
    pub interval: Duration,
    /// The last round that anybody answered, put together.
    pub picture: Option<Picture>,
    /// Why the last round had no answer; empty when it had one.
    pub silent: String,
    /// Nothing is asked until the key is pressed again.
    pub paused: bool,
    /// The keys are explained.
    pub help: bool,
    /// Order of the partitions.
    pub sort: Sort,
    /// The order the other way round.
    pub reversed: bool,
    /// How far the forecast looks.
    pub span: Span,
    /// Lines of the partitions above the first one shown.
    pub scrolled: usize,
    /// When the picture was taken, since the view began.
    taken: Duration,
    over: bool,
}

impl Sort {
    const ALL: [Sort; 6] = [Sort::Number, Sort::Leader, Sort::Pending, Sort::Overdue, Sort::Fired, Sort::Health];

    /// As the footer names it.
    pub fn name(self) -> &'static str {
        match self {
            Sort::Number => "number",
            Sort::Leader => "leader",
            Sort::Pending => "pending",
            Sort::Overdue => "overdue",
            Sort::Fired => "fired",
            Sort::Health => "health",
        }
    }

    fn next(self) -> Sort {
        let at = Sort::ALL.iter().position(|sort| *sort == self).unwrap_or(0);
        Sort::ALL[(at + 1) % Sort::ALL.len()]
    }
}

impl View {
    /// Nobody has answered yet.
    pub fn new(interval: Duration) -> Self {
        View {
            interval,
            picture: None,
            silent: String::new(),
            paused: false,
            help: false,
            sort: Sort::default(),
            reversed: false,
            span: Span::default(),
            scrolled: 0,
            taken: Duration::ZERO,
            over: false,
        }
    }

    /// Whether somebody wants to leave.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Takes in what happened.
    pub fn on(&mut self, event: Event) {
        match event {
            Event::Answered(round) => self.take(&round),
            Event::Key(key) => self.press(key),
        }
    }

    fn take(&mut self, round: &Round) {
        if !round.is_answered() {
            // What was known stays on the screen, under the news that nobody answers.
            let why = round.answers.iter().filter_map(|(_, answer)| answer.as_ref().err()).next();
            self.silent = why.cloned().unwrap_or_else(|| "nobody was asked".into());
            return;
        }
        self.silent.clear();
        let before = self.picture.as_ref().map(|picture| (self.taken, picture));
        self.picture = Some(round.picture(before));
        self.taken = round.at;
        self.scroll(0);
    }

    fn press(&mut self, key: Key) {
        match key {
            Key::Interrupt | Key::Char('q') => self.over = true,
            // Out of the help first, then out of the program.
            Key::Escape if self.help => self.help = false,
            Key::Escape => self.over = true,
            Key::Char('?' | 'h') => self.help = !self.help,
            Key::Char('p' | ' ') => self.paused = !self.paused,
            Key::Char('s') => self.sort = self.sort.next(),
            Key::Char('r') => self.reversed = !self.reversed,
            Key::Char('f') => self.span = if self.span == Span::Hour { Span::Day } else { Span::Hour },
            Key::Up | Key::Char('k') => self.scroll(-1),
            Key::Down | Key::Char('j') => self.scroll(1),
            Key::PageUp => self.scroll(-10),
            Key::PageDown => self.scroll(10),
            Key::Char(_) => {}
        }
    }

    fn scroll(&mut self, by: isize) {
        let last = self.picture.as_ref().map_or(0, |picture| picture.partitions.len().saturating_sub(1));
        self.scrolled = self.scrolled.saturating_add_signed(by).min(last);
    }

    /// The partitions in the order that was asked for.
    pub fn partitions(&self) -> Vec<&Partition> {
        let mut partitions: Vec<&Partition> = self.picture.iter().flat_map(|picture| &picture.partitions).collect();
        let fired = |partition: &Partition| partition.fired_per_s.unwrap_or(0.0);
        // They are in order of number before, and a sort keeps that among equals.
        match self.sort {
            Sort::Number => {}
            Sort::Leader => partitions.sort_by_key(|partition| partition.leader),
            Sort::Pending => partitions.sort_by_key(|partition| std::cmp::Reverse(partition.pending)),
            Sort::Overdue => partitions.sort_by_key(|one| std::cmp::Reverse((one.oldest, one.overdue))),
            Sort::Fired => partitions.sort_by(|one, other| fired(other).total_cmp(&fired(one))),
            Sort::Health => partitions.sort_by_key(|partition| std::cmp::Reverse(partition.health.clone())),
        }
        if self.reversed {
            partitions.reverse();
        }
        partitions
    }
}
