//! What ended on its own: the rows it is swept by and listed by.

use super::{Check, name};
use crate::keys::{self, IdHash};
use crate::record::{IdRecord, Stage, trigger_id};
use crate::store::StoreError;

impl Check<'_> {
    pub(super) fn ended(&mut self) -> Result<(), StoreError> {
        let mut listed = 0;
        self.table(keys::ENDED, |check, key, history| {
            check.summary.ended += 1;
            let Some((visible_until, hash)) = keys::ended_fields(key).filter(|_| key.len() == 25) else {
                check.tell(key, "is not the key of an end", name::HALTS);
                return Ok(());
            };
            let place = keys::lane_of(history).zip(keys::position_of(history));
            let Some((lane, position)) = place.filter(|_| history.first() == Some(&keys::HISTORY)) else {
                check.tell(key, "names no row of the history", name::MISLISTED);
                return Ok(());
            };
            match check.store.get(history)?.map(|value| trigger_id(&value).map(str::to_owned)) {
                Some(Ok(id)) => {
                    listed += 1;
                    let topic = check.topic(lane);
                    if topic.is_some_and(|topic| IdHash::of(&topic.namespace, &id) != hash) {
                        check.tell(key, format!("names the history of {id:?}, which is another id"), name::MISLISTED);
                    }
                }
                // Told of where the history is passed.
                Some(Err(_)) => listed += 1,
                None => {
                    let row = name::of(history, &check.topics);
                    check.tell(key, format!("names a row that is missing: {row}"), name::MISLISTED);
                }
            }
            let Some(Ok(record)) = check.store.get(&keys::id(hash))?.map(|value| IdRecord::decode(&value)) else {
                if visible_until > check.watermark() {
                    check.tell(key, "is of an id without a readable row", name::DIVERGES);
                }
                return Ok(());
            };
            let same = record.stage == Stage::Ended
                && record.visible_until == visible_until
                && (record.lane, record.position) == (lane, position);
            if same {
                check.pointed.ended += 1;
            } else if visible_until > check.watermark() {
                let at = name::position(record.position);
                check.tell(key, format!("is of an id whose row says {:?} at {at}", record.stage), name::DIVERGES);
            }
            Ok(())
        })?;
        let rows = self.history()?;
        if rows > listed { self.unlisted() } else { Ok(()) }
    }

    fn history(&mut self) -> Result<u64, StoreError> {
        let mut rows = 0;
        self.table(keys::HISTORY, |check, key, value| {
            rows += 1;
            let Some(lane) = check.lane_in(key) else { return Ok(()) };
            if keys::position_of(key).is_none() {
                check.tell(key, "is not a position", name::HALTS);
            }
            if !lane.class().is_first_attempt() {
                check.tell(key, "is not of the lane the trigger had first", name::MISLISTED);
            }
            if let Err(error) = trigger_id(value) {
                check.unreadable(key, error);
            }
            Ok(())
        })?;
        Ok(rows)
    }

    /// Says which rows of the history no end names: those that no id names either, as far as that can be told.
    fn unlisted(&mut self) -> Result<(), StoreError> {
        let mut told = false;
        let mut suspect = None;
        self.table(keys::HISTORY, |check, key, value| {
            check.summary.rows -= 1;
            let (Some(lane), Some(position), Ok(id)) = (keys::lane_of(key), keys::position_of(key), trigger_id(value))
            else {
                return Ok(());
            };
            let Some(topic) = check.topic(lane) else { return Ok(()) };
            let hash = IdHash::of(&topic.namespace, id);
            let record = check.store.get(&keys::id(hash))?.and_then(|value| IdRecord::decode(&value).ok());
            let record =
                record.filter(|record| (record.stage, record.lane, record.position) == (Stage::Ended, lane, position));
            let Some(record) = record else {
                suspect.get_or_insert_with(|| key.to_vec());
                return Ok(());
            };
            let end = check.store.get(&keys::ended(record.visible_until, hash))?;
            if end.as_deref() != Some(key) {
                check.tell(key, format!("of {id:?} has no row that it is swept by"), name::MISLISTED);
                told = true;
            }
            Ok(())
        })?;
        // Ids that were used again since hide which of their rows should have gone.
        if let Some(key) = suspect.filter(|_| !told) {
            self.tell(&key, "or another like it is named by no end and by no id", name::MISLISTED);
        }
        Ok(())
    }
}
