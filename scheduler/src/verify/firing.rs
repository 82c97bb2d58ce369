//! What fired when: the entries that moved the watermark, and releases of lanes that were held back.

use super::{Check, name};
use crate::keys;
use crate::record::{decode_fired, decode_release};
use crate::store::StoreError;
use crate::time::Timestamp;

impl Check<'_> {
    pub(super) fn fired(&mut self) -> Result<(), StoreError> {
        let (applied, watermark) = (self.meta.applied, self.watermark());
        let mut last: Option<(Timestamp, u64)> = None;
        self.table(keys::FIRED, |check, key, value| {
            let Some(time) = keys::fired_time(key).filter(|_| key.len() == 9) else {
                check.tell(key, "is not a moment", name::HALTS);
                return Ok(());
            };
            let index = match decode_fired(value) {
                Ok(index) => index,
                Err(error) => {
                    check.unreadable(key, error);
                    return Ok(());
                }
            };
            if time > watermark || index > applied {
                let wrong = format!("says entry {index}, after the newest, {applied} at {watermark}");
                check.tell(key, wrong, name::DIVERGES);
            }
            if let Some((before, at)) = last.filter(|(_, before)| *before >= index) {
                check.tell(
                    key,
                    format!("says entry {index}, and the moment before, {before}, says {at}"),
                    name::DIVERGES,
                );
            }
            last = Some((time, index));
            Ok(())
        })?;
        if applied > 0 && last.is_none_or(|(time, _)| time < watermark) {
            self.tell(&keys::fired(watermark), "is missing, though the watermark is there", name::HALTS);
        }
        Ok(())
    }

    pub(super) fn releases(&mut self) -> Result<(), StoreError> {
        let (applied, watermark) = (self.meta.applied, self.watermark());
        self.table(keys::REL, |check, key, value| {
            let Some(lane) = check.lane_in(key) else { return Ok(()) };
            let Some(upper) = keys::position_of(key) else {
                check.tell(key, "is not a position", name::HALTS);
                return Ok(());
            };
            match decode_release(value) {
                Ok((lower, fired)) => {
                    if lower >= upper {
                        check.tell(
                            key,
                            format!("begins after {}, where it ends", name::position(lower)),
                            name::DIVERGES,
                        );
                    }
                    if upper.due > watermark || fired.time > watermark || fired.index > applied {
                        let wrong = format!("was made by entry {} at {}, after the newest", fired.index, fired.time);
                        check.tell(key, wrong, name::DIVERGES);
                    }
                    if !lane.class().is_first_attempt() {
                        check.tell(key, "is of a lane that keeps no releases", name::UNREACHABLE);
                    }
                }
                Err(error) => check.unreadable(key, error),
            }
            Ok(())
        })
    }
}
