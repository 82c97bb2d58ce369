//! Repeated requests: the id's row remembers the last few request ids that changed it, and what they were answered.

use bytes::Bytes;

use crate::record::{IdRecord, Remembered, StoredReceipt, Tail};
use crate::reply::{Receipt, Refusal};
use crate::time::Timestamp;

use super::{REQUEST_WINDOW, Step, Stop};

/// Requests an id remembers.
const REMEMBERED_MAX: usize = 4;

/// Commands that take a request id, by their number in [`Kind`](crate::command::Kind).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Cancel = 2,
    Reschedule = 3,
    RunNow = 4,
    Requeue = 12,
    Drop = 13,
}

fn too_old() -> Stop {
    Refusal::RequestTooOld { window_ms: REQUEST_WINDOW.as_millis() }.into()
}

/// The time in a UUIDv7; its age, as nothing else says it.
fn time_of(request: &[u8]) -> Result<Timestamp, Refusal> {
    match request {
        [a, b, c, d, e, f, version, ..] if request.len() == 16 && version >> 4 == 7 => {
            Ok(Timestamp::from_millis(u64::from_be_bytes([0, 0, *a, *b, *c, *d, *e, *f])))
        }
        _ => Err(Refusal::Invalid { field: "request_id", expected: "a UUIDv7" }),
    }
}

impl Step<'_, '_> {
    /// Refuses a request id that is none, or so old that its outcome may have been forgotten.
    pub(super) fn check_request(&self, request: &[u8]) -> Result<(), Stop> {
        if !request.is_empty() && self.now.since(time_of(request)?) > REQUEST_WINDOW {
            return Err(too_old());
        }
        Ok(())
    }

    /// What this request was answered, when it is a repeated one.
    pub(super) fn recall(&self, record: &IdRecord, request: &[u8], asked: Asked) -> Result<Option<Receipt>, Stop> {
        if request.is_empty() {
            return Ok(None);
        }
        let Some(remembered) = record.tail.requests.iter().find(|remembered| remembered.request == request) else {
            // Newer than one that had to make room: it may have made room itself, so nobody knows.
            let known = time_of(request)?.as_millis() >= record.tail.forgotten_before_ms;
            return if known { Ok(None) } else { Err(too_old()) };
        };
        if remembered.kind != asked as u32 {
            return Err(Refusal::Invalid { field: "request_id", expected: "one that no other command has used" }.into());
        }
        let stored = remembered.receipt.as_ref().ok_or_else(|| crate::record::corrupt("id"))?;
        Ok(Some(stored.receipt()?))
    }

    /// Remembers what a request was answered.
    pub(super) fn remember(
        &self,
        tail: &mut Tail,
        request: &Bytes,
        asked: Asked,
        receipt: &Receipt,
    ) -> Result<(), Stop> {
        if request.is_empty() {
            return Ok(());
        }
        if tail.requests.len() >= REMEMBERED_MAX {
            let forgotten = tail.requests.remove(0);
            let before = time_of(&forgotten.request)?.as_millis() + 1;
            tail.forgotten_before_ms = tail.forgotten_before_ms.max(before);
        }
        let receipt = Some(StoredReceipt::from(receipt));
        // Copied, because the command's bytes share the memory of the whole entry.
        let request = Bytes::copy_from_slice(request);
        tail.requests.push(Remembered { request, kind: asked as u32, receipt });
        Ok(())
    }
}
