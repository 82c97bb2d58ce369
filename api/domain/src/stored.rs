//! How records are stored: a format byte, then prost.

use bytes::Bytes;
use prost::Message;
use scheduler::domain::DomainError;
use scheduler::store::{Read, StoreError};

/// The one format there is so far.
const FORMAT: u8 = 1;

/// The value of a record.
pub fn encode(record: &impl Message) -> Vec<u8> {
    let mut value = Vec::with_capacity(1 + record.encoded_len());
    value.push(FORMAT);
    // A Vec grows: encoding into one cannot fail.
    let _ = record.encode(&mut value);
    value
}

/// The record in a value.
///
/// # Errors
///
/// The row is damaged or of a format this build does not know: the replica must halt.
pub fn decode<M: Message + Default>(row: &'static str, value: &[u8]) -> Result<M, StoreError> {
    match value {
        [FORMAT, rest @ ..] => M::decode(rest).map_err(|_| corrupt(row)),
        _ => Err(corrupt(row)),
    }
}

/// Reads a record; `None` when there is no row.
///
/// # Errors
///
/// As [`decode`], or the rows cannot be read.
pub fn read<M: Message + Default>(rows: &dyn Read, row: &'static str, key: &[u8]) -> Result<Option<M>, StoreError> {
    rows.get(key)?.map(|value| decode(row, &value)).transpose()
}

pub(crate) fn of_value<M: Message + Default>(
    row: &'static str,
    value: Option<Bytes>,
) -> Result<Option<M>, DomainError> {
    Ok(value.map(|value| decode(row, &value)).transpose()?)
}

fn corrupt(row: &'static str) -> StoreError {
    StoreError(format!("{row} row cannot be read: damaged, or of a format this build does not know"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_format_is_no_record() {
        let value = encode(&scheduler::command::Label { key: "a".into(), value: "b".into() });
        let label: scheduler::command::Label = decode("label", &value).expect("as written");
        assert_eq!((label.key.as_str(), label.value.as_str()), ("a", "b"));
        for broken in [&[][..], &[2, 0], &[1, 0xff]] {
            assert!(decode::<scheduler::command::Label>("label", broken).is_err(), "{broken:?}");
        }
    }
}
