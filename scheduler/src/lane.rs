//! Lanes: the triggers of one topic and class in a partition, in due order.

use crate::time::Timestamp;

/// A topic as a partition numbers it, in order of first use. Partitions number on their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub u32);

/// Which of a topic's lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// First attempts of high priority.
    High = 0,
    /// First attempts of normal priority.
    Normal = 1,
    /// First attempts of low priority.
    Low = 2,
    /// Later attempts, keyed by the time before which they are not made.
    Retry = 3,
    /// Dead letters, keyed by the time of death. Never delivered.
    Dead = 4,
}

/// One lane of one topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(u32);

/// Where a trigger stands in the order of a partition: byte order of its key is the order of these fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Due time; in a retry lane the not-before time.
    pub due: Timestamp,
    /// Breaks ties in order of arrival.
    pub generation: Generation,
}

/// The version of a trigger: log index that made it, and its place among the commands of that entry.
///
/// Unique in a partition and growing in log order. Two changes of one id may share an entry, hence the place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(u64);

impl LaneId {
    /// The lane of this topic and class.
    ///
    /// # Panics
    ///
    /// If the topic number needs more than 28 bits; apply refuses to number that many.
    pub fn new(topic: TopicId, class: Class) -> Self {
        assert!(topic.0 < 1 << 28, "topic number {} needs more than 28 bits", topic.0);
        LaneId(topic.0 << 3 | class as u32)
    }

    /// The number stored in keys; topics in order, then classes.
    pub fn number(self) -> u32 {
        self.0
    }

    /// The lane of a stored number; `None` when no class has that number.
    pub fn from_number(number: u32) -> Option<Self> {
        (number & 7 <= Class::Dead as u32).then_some(LaneId(number))
    }

    /// Whose lane it is.
    pub fn topic(self) -> TopicId {
        TopicId(self.0 >> 3)
    }

    /// Which of the topic's lanes.
    pub fn class(self) -> Class {
        match self.0 & 7 {
            0 => Class::High,
            1 => Class::Normal,
            2 => Class::Low,
            3 => Class::Retry,
            _ => Class::Dead,
        }
    }
}

impl Class {
    /// Every class, in order.
    pub const ALL: [Class; 5] = [Class::High, Class::Normal, Class::Low, Class::Retry, Class::Dead];

    /// The class of first attempts with this number; `None` for any other number.
    pub fn first_attempt(number: u32) -> Option<Self> {
        match number {
            0 => Some(Class::High),
            1 => Some(Class::Normal),
            2 => Some(Class::Low),
            _ => None,
        }
    }

    /// Whether triggers of this class wait for their first attempt.
    pub fn is_first_attempt(self) -> bool {
        self < Class::Retry
    }
}

impl Generation {
    /// Commands one entry may hold.
    pub const COMMANDS_PER_ENTRY_MAX: usize = 4_096;

    /// The generation of the command at `place` in the entry at `index`.
    ///
    /// # Panics
    ///
    /// If the place is not below [`Self::COMMANDS_PER_ENTRY_MAX`] or the index needs more than 52 bits.
    pub fn new(index: u64, place: usize) -> Self {
        assert!(place < Self::COMMANDS_PER_ENTRY_MAX, "place {place} in an entry");
        assert!(index < 1 << 52, "log index {index}");
        Generation(index << 12 | place as u64)
    }

    /// From its number.
    pub fn from_number(number: u64) -> Self {
        Generation(number)
    }

    /// Its number, as clients see it.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The log index that made it.
    pub fn index(self) -> u64 {
        self.0 >> 12
    }

    /// Its place in that entry.
    pub fn place(self) -> u16 {
        (self.0 & 0xfff) as u16
    }
}

impl Position {
    /// Before every position.
    pub const MIN: Position = Position { due: Timestamp::MIN, generation: Generation(0) };

    /// The next position in order: nothing lies between.
    pub fn next(self) -> Self {
        match self.generation.0.checked_add(1) {
            Some(number) => Position { due: self.due, generation: Generation(number) },
            None => Position { due: self.due.after(crate::time::Delay::from_millis(1)), generation: Generation(0) },
        }
    }

    /// After every position due at `due` or earlier.
    pub fn end_of(due: Timestamp) -> Self {
        Position { due, generation: Generation(u64::MAX) }
    }
}
