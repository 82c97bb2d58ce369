//! Every key of a partition's store: one tag byte, then big-endian fields, so that the order of bytes is the order of
//! meaning. A tag that was ever released keeps its meaning for good.

use sha2::{Digest, Sha256};

use crate::lane::{Generation, LaneId, Position, TopicId};
use crate::time::Timestamp;

/// The one record about the partition itself.
pub const META: u8 = 0x01;
/// (namespace, topic name) → topic number.
pub const TOPIC_NAME: u8 = 0x02;
/// Topic number → names and settings.
pub const TOPIC: u8 = 0x03;
/// Lane → its marks.
pub const LANE: u8 = 0x04;
/// (lane, due, generation) → trigger.
pub const DUE: u8 = 0x10;
/// Hash of (namespace, id) → where the trigger is and what became of it.
pub const ID: u8 = 0x11;
/// (lane, due, scheduling index, completing index) → plain successes.
pub const RUN: u8 = 0x12;
/// Time → index of the entry that moved the watermark there.
pub const FIRED: u8 = 0x13;
/// (lane, upper position) → what one entry released in a lane that was held back.
pub const REL: u8 = 0x14;
/// (minute, lane) → counter of rows that wait.
pub const COUNT: u8 = 0x15;
/// Lane → counter of rows that have not ended.
pub const LIVE: u8 = 0x16;
/// (visible until, hash) → id that ended on its own.
pub const ENDED: u8 = 0x17;
/// (lane, due, generation) → id that ended on its own, for listing in order.
pub const HISTORY: u8 = 0x18;
/// Lane → counter of completions since the partition began.
pub const DONE: u8 = 0x19;
/// Tags from here on belong to the business domains.
pub const DOMAIN_FIRST: u8 = 0x80;

/// Milliseconds of a minute.
const MINUTE_MS: u64 = 60_000;

/// Hash of (namespace, id): 16 bytes, so that a collision is not a thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdHash(pub [u8; 16]);

impl IdHash {
    /// Of this trigger.
    pub fn of(namespace: &str, id: &str) -> Self {
        let digest = Sha256::new().chain_update(namespace).chain_update([0]).chain_update(id).finalize();
        let mut hash = [0; 16];
        hash.copy_from_slice(&digest[..16]);
        IdHash(hash)
    }
}

fn put<const N: usize>(key: &mut [u8; N], at: usize, field: &[u8]) {
    key[at..at + field.len()].copy_from_slice(field);
}

fn positioned<const N: usize>(tag: u8, lane: LaneId, position: Position) -> [u8; N] {
    let mut key = [0; N];
    key[0] = tag;
    put(&mut key, 1, &lane.number().to_be_bytes());
    put(&mut key, 5, &position.due.as_millis().to_be_bytes());
    put(&mut key, 13, &position.generation.number().to_be_bytes());
    key
}

fn numbered(tag: u8, number: u32) -> [u8; 5] {
    let mut key = [tag; 5];
    put(&mut key, 1, &number.to_be_bytes());
    key
}

fn u64_at(key: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(at..at + 8)?.try_into().ok()?))
}

fn u32_at(key: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(key.get(at..at + 4)?.try_into().ok()?))
}

/// The one record about the partition.
pub fn meta() -> [u8; 1] {
    [META]
}

/// Number of a topic by name. Names hold no zero byte.
pub fn topic_name(namespace: &str, topic: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(2 + namespace.len() + topic.len());
    key.push(TOPIC_NAME);
    key.extend_from_slice(namespace.as_bytes());
    key.push(0);
    key.extend_from_slice(topic.as_bytes());
    key
}

/// Settings of a topic.
pub fn topic(topic: TopicId) -> [u8; 5] {
    numbered(TOPIC, topic.0)
}

/// Marks of a lane.
pub fn lane(lane: LaneId) -> [u8; 5] {
    numbered(LANE, lane.number())
}

/// Rows of a lane that have not ended.
pub fn live(lane: LaneId) -> [u8; 5] {
    numbered(LIVE, lane.number())
}

/// Completions of a lane, ever.
pub fn done(lane: LaneId) -> [u8; 5] {
    numbered(DONE, lane.number())
}

/// A trigger.
pub fn due(lane: LaneId, position: Position) -> [u8; 21] {
    positioned(DUE, lane, position)
}

/// A trigger that ended on its own.
pub fn history(lane: LaneId, position: Position) -> [u8; 21] {
    positioned(HISTORY, lane, position)
}

/// What one entry released.
pub fn released(lane: LaneId, upper: Position) -> [u8; 21] {
    positioned(REL, lane, upper)
}

/// The position in a key of [`due`], [`history`] or [`released`]; `None` when it is no such key.
pub fn position_of(key: &[u8]) -> Option<Position> {
    let position = Position {
        due: Timestamp::from_millis(u64_at(key, 5)?),
        generation: Generation::from_number(u64_at(key, 13)?),
    };
    (key.len() == 21).then_some(position)
}

/// The first key after those of this tag and lane.
pub fn lane_end(tag: u8, lane: LaneId) -> Vec<u8> {
    match lane.number().checked_add(1) {
        Some(next) => numbered(tag, next).to_vec(),
        None => vec![tag + 1],
    }
}

/// The lane in a key that starts with one.
pub fn lane_of(key: &[u8]) -> Option<LaneId> {
    LaneId::from_number(u32_at(key, 1)?)
}

/// Where a trigger is.
pub fn id(hash: IdHash) -> [u8; 17] {
    let mut key = [ID; 17];
    put(&mut key, 1, &hash.0);
    key
}

/// Plain successes that the entry at `completing` reported of what the entry at `scheduling` made.
pub fn run(lane: LaneId, due: Timestamp, scheduling: u64, completing: u64) -> [u8; 29] {
    let mut key = [0; 29];
    key[0] = RUN;
    put(&mut key, 1, &lane.number().to_be_bytes());
    put(&mut key, 5, &due.as_millis().to_be_bytes());
    put(&mut key, 13, &scheduling.to_be_bytes());
    put(&mut key, 21, &completing.to_be_bytes());
    key
}

/// The first key of [`run`] that can hold this position or a later one.
pub fn run_from(lane: LaneId, position: Position) -> [u8; 29] {
    run(lane, position.due, position.generation.index(), 0)
}

/// Due time, scheduling index and completing index in a key of [`run`].
pub fn run_fields(key: &[u8]) -> Option<(Timestamp, u64, u64)> {
    let fields = (Timestamp::from_millis(u64_at(key, 5)?), u64_at(key, 13)?, u64_at(key, 21)?);
    (key.len() == 29 && fields.1 < 1 << 52).then_some(fields)
}

/// The entry that moved the watermark to this moment.
pub fn fired(time: Timestamp) -> [u8; 9] {
    let mut key = [FIRED; 9];
    put(&mut key, 1, &time.as_millis().to_be_bytes());
    key
}

/// The time in a key of [`fired`].
pub fn fired_time(key: &[u8]) -> Option<Timestamp> {
    Some(Timestamp::from_millis(u64_at(key, 1)?))
}

/// Start of the minute a moment lies in.
pub fn minute_of(time: Timestamp) -> Timestamp {
    Timestamp::from_millis(time.as_millis() / MINUTE_MS * MINUTE_MS)
}

/// Counter of rows of a lane that wait for a moment in this minute.
pub fn count(minute: Timestamp, lane: LaneId) -> [u8; 13] {
    let mut key = [COUNT; 13];
    put(&mut key, 1, &minute.as_millis().to_be_bytes());
    put(&mut key, 9, &lane.number().to_be_bytes());
    key
}

/// Minute and lane in a key of [`count`].
pub fn count_fields(key: &[u8]) -> Option<(Timestamp, LaneId)> {
    Some((Timestamp::from_millis(u64_at(key, 1)?), LaneId::from_number(u32_at(key, 9)?)?))
}

/// An id that ended on its own and is visible until this moment.
pub fn ended(visible_until: Timestamp, hash: IdHash) -> [u8; 25] {
    let mut key = [ENDED; 25];
    put(&mut key, 1, &visible_until.as_millis().to_be_bytes());
    put(&mut key, 9, &hash.0);
    key
}

/// Time and hash in a key of [`ended`].
pub fn ended_fields(key: &[u8]) -> Option<(Timestamp, IdHash)> {
    Some((Timestamp::from_millis(u64_at(key, 1)?), IdHash(key.get(9..25)?.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lane::Class;

    fn place() -> impl Strategy<Value = (LaneId, Position)> {
        // Few distinct values, so that ties in the leading fields are common.
        let number = prop_oneof![0u64..3, 250u64..260, Just(u64::MAX)];
        (0u32..3, 0usize..5, number.clone(), number).prop_map(|(topic, class, due, generation)| {
            let position =
                Position { due: Timestamp::from_millis(due), generation: Generation::from_number(generation) };
            (LaneId::new(TopicId(topic), Class::ALL[class]), position)
        })
    }

    proptest! {
        /// Red when a field of `positioned` is written little-endian.
        #[test]
        fn sorting_bytes_sorts_triggers(mut places in proptest::collection::vec(place(), 0..40)) {
            let mut keys: Vec<_> = places.iter().map(|&(lane, position)| due(lane, position)).collect();
            places.sort();
            keys.sort();
            let sorted: Vec<_> = keys.iter().map(|key| (lane_of(key).unwrap(), position_of(key).unwrap())).collect();
            prop_assert_eq!(sorted, places);
        }

        #[test]
        fn the_next_position_is_the_next_key((lane, position) in place()) {
            let next = due(lane, position.next());
            prop_assert!(next > due(lane, position) || position == Position::end_of(Timestamp::MAX));
            prop_assert!(due(lane, position).as_slice() < lane_end(DUE, lane).as_slice());
        }

        #[test]
        fn fields_come_back((lane, position) in place(), completing in 0u64..1 << 52) {
            let key = run(lane, position.due, position.generation.index(), completing);
            prop_assert_eq!(run_fields(&key), Some((position.due, position.generation.index(), completing)));
            let key = count(minute_of(position.due), lane);
            prop_assert_eq!(count_fields(&key), Some((minute_of(position.due), lane)));
        }

        #[test]
        fn any_bytes_are_taken_for_keys(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = (position_of(&bytes), lane_of(&bytes), run_fields(&bytes), fired_time(&bytes));
            let _ = (count_fields(&bytes), ended_fields(&bytes));
        }
    }

    #[test]
    fn a_name_that_starts_another_is_another() {
        assert_ne!(topic_name("a", "bc"), topic_name("ab", "c"));
        assert_ne!(IdHash::of("a", "bc"), IdHash::of("ab", "c"));
    }
}
