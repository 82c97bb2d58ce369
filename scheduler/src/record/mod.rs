//! What the values in the store say. Each begins with a format byte; everything behind it may differ in another format.
//!
//! Records that a scan passes by the million have a few fixed fields in front, readable without decoding the rest.

mod id;
mod meta;
mod receipt;
mod run;
mod topic;
mod trigger;

pub use id::{IdRecord, Origin, Remembered, Stage, Tail};
pub use meta::{Meta, Sweep};
pub(crate) use meta::{decode_fired, decode_release, encode_fired, encode_release};
pub use receipt::StoredReceipt;
pub(crate) use run::run_visible_until;
pub use run::{Run, RunGroup};
pub use topic::default_settings;
pub use topic::{Lane, Topic};
pub(crate) use topic::{decode_topic_number, encode_topic_number};
pub use trigger::{Progress, Trigger};
pub(crate) use trigger::{decode_trigger, encode_history, encode_trigger, trigger_id};

use crate::store::StoreError;

/// The one format there is so far.
const FORMAT: u8 = 1;

/// A row that cannot be read: the replica must halt.
pub(crate) fn corrupt(row: &'static str) -> StoreError {
    StoreError(format!("{row} row cannot be read: damaged, or of a format this build does not know"))
}

/// Takes the format byte off.
fn behind_format<'a>(row: &'static str, value: &'a [u8]) -> Result<&'a [u8], StoreError> {
    match value {
        [FORMAT, rest @ ..] => Ok(rest),
        _ => Err(corrupt(row)),
    }
}

/// Reads fixed fields one after another.
struct Fields<'a> {
    row: &'static str,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn new(row: &'static str, value: &'a [u8]) -> Result<Self, StoreError> {
        Ok(Fields { row, rest: behind_format(row, value)? })
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], StoreError> {
        let (field, rest) = self.rest.split_at_checked(count).ok_or_else(|| corrupt(self.row))?;
        self.rest = rest;
        Ok(field)
    }

    fn u8(&mut self) -> Result<u8, StoreError> {
        Ok(self.bytes(1)?[0])
    }

    fn u32(&mut self) -> Result<u32, StoreError> {
        let field = self.bytes(4)?;
        Ok(u32::from_be_bytes(field.try_into().map_err(|_| corrupt(self.row))?))
    }

    fn u64(&mut self) -> Result<u64, StoreError> {
        let field = self.bytes(8)?;
        Ok(u64::from_be_bytes(field.try_into().map_err(|_| corrupt(self.row))?))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Red when `Fields::bytes` splits without checking.
        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), plausible in any::<bool>()) {
            if plausible && !bytes.is_empty() {
                bytes[0] = FORMAT;
            }
            let bytes = Bytes::from(bytes);
            let _ = IdRecord::decode(&bytes);
            let _ = Meta::from_value(&bytes);
            let _ = Run::decode(&bytes);
            let _ = Lane::decode(&bytes);
            let _ = Topic::decode(crate::lane::TopicId(1), &bytes);
            let _ = decode_trigger(&bytes);
            let _ = trigger_id(&bytes);
            let _ = decode_fired(&bytes);
            let _ = decode_release(&bytes);
            let _ = decode_topic_number(&bytes);
            let _ = run_visible_until(&bytes);
        }
    }
}
