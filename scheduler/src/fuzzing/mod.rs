//! What any bytes may be given to: rows, keys, log entries, and the state machine over any entries.
//!
//! Only in this crate's own tests and with the feature `fuzzing`, which the workspace's own build never has.

mod machine;
#[cfg(test)]
mod tests;

use std::fmt::Debug;

use bytes::Bytes;
use fuzz::Target;
use prost::Message;

use crate::command::{Entry, Kind};
use crate::keys;
use crate::lane::TopicId;
use crate::overlay::{decode_counter, encode_counter};
use crate::read::Cursor;
use crate::record::*;
use crate::run_codec::{self, Success};

/// Every target of this crate.
pub const TARGETS: &[Target] = &[VALUES, KEYS, ENTRIES, MACHINE];

/// Values of every table.
pub const VALUES: Target = Target::new("scheduler-values", values);

/// Keys of every table, and the cursors made of them.
pub const KEYS: Target = Target::new("scheduler-keys", all_keys);

/// Log entries, and the runs of completions in them.
pub const ENTRIES: Target = Target::new("scheduler-entries", entries);

/// The state machine over a log of any entries.
pub const MACHINE: Target = Target::new("scheduler-machine", machine::run).rounds(4_000).allocates(16 << 20);

/// What is taken for a value is written and read again as the same. Whether it was taken.
fn survives<T: Debug + PartialEq, E: Debug>(
    value: Result<T, E>,
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(Bytes) -> Result<T, E>,
) -> bool {
    let Ok(value) = value else { return false };
    let again = decode(Bytes::from(encode(&value))).expect("what was written is read");
    assert_eq!(again, value);
    true
}

fn values(bytes: &[u8]) -> bool {
    let shared = Bytes::copy_from_slice(bytes);
    let topic = |bytes: &[u8]| Topic::decode(TopicId(1), bytes);
    let mut read = survives(Meta::from_value(bytes), Meta::to_value, |b| Meta::from_value(&b));
    read |= survives(Lane::decode(bytes), Lane::encode, |b| Lane::decode(&b));
    read |= survives(topic(bytes), Topic::encode, |b| topic(&b));
    read |= survives(IdRecord::decode(bytes), IdRecord::encode, |b| IdRecord::decode(&b));
    read |= survives(Run::decode(bytes), Run::encode, |b| Run::decode(&b));
    read |= survives(decode_trigger(&shared), |row| encode_trigger(&row.0, &row.1), |b| decode_trigger(&b));
    read |= survives(decode_fired(bytes), |index| encode_fired(*index), |b| decode_fired(&b));
    read |= survives(decode_release(bytes), |row| encode_release(row.0, row.1), |b| decode_release(&b));
    read |= survives(decode_topic_number(bytes), |id| encode_topic_number(*id), |b| decode_topic_number(&b));
    let counter = decode_counter(bytes);
    assert_eq!(decode_counter(&encode_counter(counter)), counter);

    // What is read in passing says what the whole record says.
    if let Ok(record) = IdRecord::decode(bytes) {
        let place = IdRecord::decode_place(bytes).expect("part of a record that was read");
        assert_eq!(place, (record.stage, record.lane, record.position));
    }
    if let Ok(run) = Run::decode(bytes) {
        assert_eq!(run_visible_until(bytes).expect("part of a run that was read"), run.visible_until);
        for place in run.places().filter_map(|place| u16::try_from(place).ok()) {
            let (group, item) = run.find(place).expect("a place of the run");
            let _ = (group.executor(item), group.token(item), group.fired());
        }
    }
    if let Ok((id, _)) = decode_trigger(&shared) {
        assert_eq!(trigger_id(bytes).expect("part of a row that was read"), id);
    }
    read
}

fn all_keys(bytes: &[u8]) -> bool {
    let mut read = false;
    if let Some((due, scheduling, completing)) = keys::run_fields(bytes) {
        read = true;
        // The fields stand behind the lane, which they do not say.
        if let Some(lane) = keys::lane_of(bytes).filter(|_| bytes[0] == keys::run(Default::default(), due, 0, 0)[0]) {
            assert_eq!(keys::run(lane, due, scheduling, completing), bytes);
        }
    }
    if let Some((minute, lane)) = keys::count_fields(bytes) {
        read = true;
        assert_eq!(keys::count_fields(&keys::count(minute, lane)), Some((minute, lane)));
    }
    if let Some(time) = keys::fired_time(bytes) {
        read = true;
        assert_eq!(keys::fired_time(&keys::fired(time)), Some(time));
    }
    if let Some((visible_until, hash)) = keys::ended_fields(bytes) {
        read = true;
        assert_eq!(keys::ended_fields(&keys::ended(visible_until, hash)), Some((visible_until, hash)));
    }
    if let (Some(lane), Some(position)) = (keys::lane_of(bytes), keys::position_of(bytes)) {
        read = true;
        let key = keys::due(lane, position);
        assert_eq!((keys::lane_of(&key), keys::position_of(&key)), (Some(lane), Some(position)));
        assert!(keys::due(lane, position.next()) > key || position.next() < position);
    }
    if let Some(cursor) = Cursor::from_bytes(bytes) {
        read = true;
        assert_eq!(Cursor::from_bytes(&cursor.to_bytes()), Some(cursor));
    }
    read
}

fn entries(bytes: &[u8]) -> bool {
    let entry = Entry::decode(bytes);
    for command in entry.iter().flat_map(|entry| &entry.commands) {
        let Some(Kind::CompleteRun(run)) = &command.kind else { continue };
        let Ok(items) = run_codec::decode(run) else { continue };
        let (lane, said) = (items.lane(), items.len());
        let found: Vec<_> = items.collect();
        assert_eq!(found.len(), said, "as many items as were promised");
        let Some(first) = found.first() else { continue };
        let success = |item: &run_codec::Item<'_>| Success {
            position: item.position,
            executor: item.executor.into(),
            counter: item.token.counter,
        };
        let successes: Vec<Success> = found.iter().map(success).collect();
        let again = run_codec::encode(lane, first.token.epoch, first.token.term, successes.iter());
        let again: Vec<Success> =
            run_codec::decode(&again).expect("what was written is read").map(|item| success(&item)).collect();
        assert_eq!(again, successes);
    }
    survives(entry, Entry::encode_to_vec, Entry::decode)
}
