//! Rows of ids: what they say of themselves, and, counted, whether what they name is there.

use super::{Check, Pointed, name};
use crate::keys::{self, IdHash};
use crate::lane::{LaneId, Position};
use crate::record::{IdRecord, Run, Stage, StoredReceipt, trigger_id};
use crate::reply::Outcome;
use crate::store::StoreError;

/// What the row of an id names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    /// The row of a trigger.
    Row,
    /// An item of a run: its row is gone.
    Item,
    /// Rows of what has ended.
    End,
    /// Nothing any more: whatever it was, it is forgotten.
    Nothing,
}

impl Check<'_> {
    pub(super) fn ids(&mut self) -> Result<(), StoreError> {
        let mut named = Pointed::default();
        self.table(keys::ID, |check, key, value| {
            check.summary.ids += 1;
            let record = match IdRecord::decode(value) {
                Ok(record) if key.len() == 17 => record,
                Ok(_) => {
                    check.tell(key, "has a malformed key", name::UNREACHABLE);
                    return Ok(());
                }
                Err(error) => {
                    check.unreadable(key, error);
                    return Ok(());
                }
            };
            if check.topic(record.lane).is_none() {
                check.tell(
                    key,
                    format!("names {}, which is not there", name::lane(record.lane, &check.topics)),
                    name::HALTS,
                );
                return Ok(());
            }
            check.id_facts(key, &record);
            match check.named(&record) {
                Names::Row => named.rows += 1,
                Names::Item => named.items += 1,
                Names::End => named.ended += 1,
                Names::Nothing => {}
            }
            Ok(())
        })?;
        // Every row that is named was counted from its own side, unless it is not there.
        if named == self.pointed { Ok(()) } else { self.name_ids() }
    }

    fn named(&self, record: &IdRecord) -> Names {
        let marks = self.marks(record.lane);
        match record.stage {
            Stage::Retry | Stage::Dead => Names::Row,
            Stage::Ended => Names::End,
            Stage::Live if record.position >= marks.floor => Names::Row,
            Stage::Live if record.position >= marks.forgotten => Names::Item,
            Stage::Live => Names::Nothing,
        }
    }

    fn id_facts(&mut self, key: &[u8], record: &IdRecord) {
        let (watermark, applied) = (self.watermark(), self.meta.applied);
        if record.created > watermark || record.position.generation.index() > applied {
            let at = name::position(record.position);
            self.tell(key, format!("names {at}, made at {}: after the newest entry", record.created), name::DIVERGES);
        }
        let tail = &record.tail;
        if tail.requests.len() > 4 {
            self.tell(key, format!("remembers {} requests, at most 4 can be", tail.requests.len()), name::DIVERGES);
        }
        let answers = tail.requests.iter().map(|remembered| remembered.receipt.as_ref());
        let readable = |receipt: Option<&StoredReceipt>| receipt.is_some_and(|receipt| receipt.receipt().is_ok());
        if !answers.into_iter().all(readable) {
            self.unreadable(key, "an answer it remembers");
        }
        if record.stage == Stage::Ended {
            match tail.ended.as_ref().map(StoredReceipt::receipt) {
                Some(Ok(receipt)) => {
                    let end = Position { due: receipt.due, generation: receipt.generation };
                    if end != record.position || receipt.decided > watermark || receipt.log_index > applied {
                        self.tell(key, format!("has the receipt of {}", name::position(end)), name::DIVERGES);
                    }
                    if receipt.outcome == Outcome::Completed {
                        self.tally(record.lane).completed_alone += 1;
                    }
                }
                _ => self.unreadable(key, "how it ended"),
            }
        }
    }

    /// Says which ids name what is not there.
    fn name_ids(&mut self) -> Result<(), StoreError> {
        self.table(keys::ID, |check, key, value| {
            check.summary.rows -= 1;
            let Ok(record) = IdRecord::decode(value) else { return Ok(()) };
            let (Ok(hash), true) = (<[u8; 16]>::try_from(&key[1..]), check.topic(record.lane).is_some()) else {
                return Ok(());
            };
            let (lane, position) = (record.lane, record.position);
            let at = format!("{}, {}", name::lane(lane, &check.topics), name::position(position));
            match check.named(&record) {
                Names::Row => {
                    let row = check.store.get(&keys::due(lane, position))?;
                    let id = row.as_ref().map(|row| check.hash_of(lane, row));
                    if id.is_none() {
                        check.tell(key, format!("names a trigger that is not there: {at}"), name::LOST);
                    } else if id.flatten().is_some_and(|other| other.0 != hash) {
                        check.tell(key, format!("names the trigger of another id: {at}"), name::LOST);
                    }
                }
                Names::Item => {
                    if !check.is_in_a_run(lane, position, IdHash(hash))? {
                        check.tell(key, format!("names a trigger that no run has completed: {at}"), name::LOST);
                    }
                }
                Names::End => {
                    let end = check.store.get(&keys::ended(record.visible_until, IdHash(hash)))?;
                    let history = keys::history(lane, position);
                    if end.as_deref() != Some(&history[..]) || check.store.get(&history)?.is_none() {
                        let wrong = format!("ended, and the rows it is listed and swept by do not say so: {at}");
                        check.tell(key, wrong, name::MISLISTED);
                    }
                }
                Names::Nothing => {}
            }
            Ok(())
        })
    }

    fn hash_of(&self, lane: LaneId, row: &[u8]) -> Option<IdHash> {
        let topic = self.topic(lane)?;
        trigger_id(row).ok().map(|id| IdHash::of(&topic.namespace, id))
    }

    fn is_in_a_run(&self, lane: LaneId, position: Position, hash: IdHash) -> Result<bool, StoreError> {
        let Some(topic) = self.topic(lane) else { return Ok(false) };
        let (index, place) = (position.generation.index(), position.generation.place());
        let (from, to) = (keys::run(lane, position.due, index, 0), keys::run(lane, position.due, index, u64::MAX));
        let mut found = false;
        self.store.scan(&from, &to, &mut |_, value| {
            if let Ok(run) = Run::decode(value)
                && let Some((group, item)) = run.find(place)
            {
                found = IdHash::of(&topic.namespace, &group.ids[item]) == hash;
            }
            std::ops::ControlFlow::Continue(())
        })?;
        Ok(found)
    }
}
