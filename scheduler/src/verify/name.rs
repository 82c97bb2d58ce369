//! Keys in words, and what a problem with a row comes to.

use std::fmt::Write;

use crate::keys;
use crate::lane::{Class, LaneId, Position};
use crate::record::Topic;

/// A replica that meets the row stops.
pub const HALTS: &str = "a replica that reads it halts";
/// Nobody finds the row.
pub const UNREACHABLE: &str =
    "nothing leads to it: it takes room, and shows that rows were lost or are of another version";
/// The replica answers otherwise than the others.
pub const DIVERGES: &str = "this replica can answer or decide otherwise than the others";
/// A trigger is lost on this replica.
pub const LOST: &str = "a trigger is lost on this replica: as leader it would not deliver it";
/// A trigger is there twice, or without its id.
pub const ORPHAN: &str = "as leader this replica would deliver a trigger that its id does not know";
/// A figure is wrong.
pub const MISCOUNT: &str =
    "the forecast and the figures of the topic are wrong; delivery is not affected by more than a recount";
/// A list is wrong.
pub const MISLISTED: &str = "a list or a sweep of what has ended misses it or shows it twice";

/// The key in words.
pub fn of(key: &[u8], topics: &[Option<Topic>]) -> String {
    let place = || match (keys::lane_of(key), keys::position_of(key)) {
        (Some(lane), Some(position)) => format!(" of {}, {}", self::lane(lane, topics), self::position(position)),
        _ => " with a malformed key".to_owned(),
    };
    let lane = || match keys::lane_of(key).filter(|_| key.len() == 5) {
        Some(lane) => format!(" of {}", self::lane(lane, topics)),
        None => " with a malformed key".to_owned(),
    };
    match key.first() {
        Some(&keys::META) => "the record about the partition".to_owned(),
        Some(&keys::TOPIC_NAME) => {
            let text = String::from_utf8_lossy(&key[1..]).replace('\0', "/");
            format!("number of the topic {text:?}")
        }
        Some(&keys::TOPIC) => match topic_number(key) {
            Some(number) => format!("settings of {}", topic(number, topics)),
            None => "settings of a topic with a malformed key".to_owned(),
        },
        Some(&keys::LANE) => format!("marks{}", lane()),
        Some(&keys::DUE) => format!("trigger{}", place()),
        Some(&keys::ID) => format!("id with the hash {}", hex(&key[1..])),
        Some(&keys::RUN) => match (keys::lane_of(key), keys::run_fields(key)) {
            (Some(lane), Some((due, scheduling, completing))) => {
                let lane = self::lane(lane, topics);
                format!("run of {lane}, due {due}, scheduled by entry {scheduling}, completed by entry {completing}")
            }
            _ => "run with a malformed key".to_owned(),
        },
        Some(&keys::FIRED) => match keys::fired_time(key).filter(|_| key.len() == 9) {
            Some(time) => format!("entry that moved the watermark to {time}"),
            None => "entry of the watermark with a malformed key".to_owned(),
        },
        Some(&keys::REL) => format!("release{}", place()),
        Some(&keys::COUNT) => match keys::count_fields(key).filter(|_| key.len() == 13) {
            Some((minute, lane)) => format!("count of {} in the minute from {minute}", self::lane(lane, topics)),
            None => "count of a minute with a malformed key".to_owned(),
        },
        Some(&keys::LIVE) => format!("counter of waiting triggers{}", lane()),
        Some(&keys::DONE) => format!("counter of completions{}", lane()),
        Some(&keys::ENDED) => match keys::ended_fields(key).filter(|_| key.len() == 25) {
            Some((until, hash)) => format!("end of the id with the hash {}, visible until {until}", hex(&hash.0)),
            None => "end of an id with a malformed key".to_owned(),
        },
        Some(&keys::HISTORY) => format!("history{}", place()),
        Some(tag) => format!("row with the tag {tag:#04x}"),
        None => "row with an empty key".to_owned(),
    }
}

/// The number in a key of a topic.
pub fn topic_number(key: &[u8]) -> Option<u32> {
    let number = u32::from_be_bytes(key.get(1..)?.try_into().ok()?);
    (number < 1 << 28).then_some(number)
}

/// A lane in words.
pub fn lane(lane: LaneId, topics: &[Option<Topic>]) -> String {
    let class = match lane.class() {
        Class::High => "high",
        Class::Normal => "normal",
        Class::Low => "low",
        Class::Retry => "retries",
        Class::Dead => "dead letters",
    };
    format!("{}, {class}", topic(lane.topic().0, topics))
}

fn topic(number: u32, topics: &[Option<Topic>]) -> String {
    match topics.get(number as usize) {
        Some(Some(topic)) => format!("{}/{}", topic.namespace, topic.name),
        _ => format!("topic number {number}"),
    }
}

/// A position in words.
pub fn position(position: Position) -> String {
    let Position { due, generation } = position;
    let (index, place) = (generation.index(), generation.place());
    format!("due {due}, generation {} (entry {index}, place {place})", generation.number())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
