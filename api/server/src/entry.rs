//! How commands become the bytes of a log entry.

use bytes::Bytes;
use prost::Message;
use scheduler::command::{Command, Kind, When};
use scheduler::time::Timestamp;

/// Numbers that a command of the business may need: its own, and one for each trigger that it schedules. None schedules more than three.
const BUSINESS_PLACES: usize = 4;

/// How many of the entry's numbers the command may need. Those that may end in a dead letter are told to the business, which may
/// schedule something in turn.
pub(crate) fn places(kind: &Kind) -> usize {
    match kind {
        Kind::Business(_) | Kind::Retry(_) | Kind::Fail(_) => BUSINESS_PLACES,
        Kind::Complete(command) if !command.business.is_empty() => BUSINESS_PLACES,
        _ => 1,
    }
}

/// Whether the command counts from the time of its entry.
pub(crate) fn is_relative(kind: &Kind) -> bool {
    match kind {
        Kind::Schedule(command) => matches!(command.when, Some(When::After(_))),
        Kind::Reschedule(command) => matches!(command.when, Some(When::After(_))),
        _ => false,
    }
}

/// A command as a field of an entry, tag and length included. Encoded by whoever asks, so that the proposer only joins bytes.
pub(crate) fn as_field(kind: Kind) -> Vec<u8> {
    let command = Command { kind: Some(kind) };
    let length = command.encoded_len();
    let mut field = Vec::with_capacity(length + 6);
    prost::encoding::encode_key(2, prost::encoding::WireType::LengthDelimited, &mut field);
    prost::encoding::encode_varint(length as u64, &mut field);
    command.encode_raw(&mut field);
    field
}

/// The entry of these [fields](as_field), byte for byte as prost encodes [`scheduler::command::Entry`].
pub(crate) fn of_fields<'a>(time: Timestamp, fields: impl Iterator<Item = &'a [u8]> + Clone, level: u32) -> Bytes {
    let bytes: usize = fields.clone().map(<[u8]>::len).sum();
    let mut payload = Vec::with_capacity(bytes + 24);
    prost::encoding::uint64::encode(1, &time.as_millis(), &mut payload);
    for field in fields {
        payload.extend_from_slice(field);
    }
    prost::encoding::uint32::encode(3, &level, &mut payload);
    payload.into()
}

#[cfg(test)]
mod tests {
    use scheduler::command::{Cancel, Entry, Schedule};

    use super::*;

    #[test]
    fn an_entry_is_what_prost_would_write() {
        let kinds =
            [Kind::Cancel(Cancel { id: "a".into(), ..Default::default() }), Kind::Schedule(Schedule::default())];
        let fields = kinds.clone().map(as_field);
        let commands = kinds.map(|kind| Command { kind: Some(kind) }).into();
        let expected = Entry { time: 5, commands, level: 3 };
        let written = of_fields(Timestamp::from_millis(5), fields.iter().map(Vec::as_slice), 3);
        assert_eq!(written, expected.encode_to_vec());
    }
}
