//! How far a store is: the last entry applied and the members as of then, kept under this crate's own keys.

use prost::Message;

use super::{Batch, Snapshot, Store};
use crate::error::StoreError;
use crate::types::{LogId, StoredMembership, log_id};
use crate::wire;

/// Smallest key that is not this crate's own.
pub(super) const FIRST_ROW: &[u8] = &[1];

const APPLIED: &[u8] = &[0, 1];
const MEMBERSHIP: &[u8] = &[0, 2];

/// How far a store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The last entry applied.
    pub(crate) applied: Option<LogId>,
    /// The members as of then.
    pub(crate) membership: StoredMembership,
}

impl Mark {
    fn read(
        get: impl Fn(&[u8]) -> Result<Option<bytes::Bytes>, StoreError>,
    ) -> Result<Mark, StoreError> {
        let damaged = |what: &str| StoreError(format!("the {what} mark is damaged"));
        let applied = match get(APPLIED)? {
            None => None,
            Some(row) => {
                let (term, index) = row.split_at_checked(8).ok_or_else(|| damaged("applied"))?;
                Some(log_id(
                    u64::from_be_bytes(term.try_into().map_err(|_| damaged("applied"))?),
                    u64::from_be_bytes(index.try_into().map_err(|_| damaged("applied"))?),
                ))
            }
        };
        let membership = match get(MEMBERSHIP)? {
            None => StoredMembership::default(),
            Some(row) => wire::StoredMembership::decode(row)
                .ok()
                .and_then(|m| m.try_into().ok())
                .ok_or_else(|| damaged("membership"))?,
        };
        Ok(Mark {
            applied,
            membership,
        })
    }
}

impl Store {
    pub(crate) fn mark(&self) -> Result<Mark, StoreError> {
        Mark::read(|key| self.get(key))
    }
}

impl Snapshot {
    pub(crate) fn mark(&self) -> Result<Mark, StoreError> {
        Mark::read(|key| self.get(key))
    }
}

impl Batch {
    /// The batch takes the store to this entry.
    pub(crate) fn set_applied(&mut self, applied: LogId) {
        let mut row = [0; 16];
        row[..8].copy_from_slice(&applied.leader_id.term.to_be_bytes());
        row[8..].copy_from_slice(&applied.index.to_be_bytes());
        self.inner.put(APPLIED, row);
    }

    /// The members change with this batch.
    pub(crate) fn set_membership(&mut self, membership: &StoredMembership) {
        let row = wire::StoredMembership::from(membership).encode_to_vec();
        self.inner.put(MEMBERSHIP, row);
    }
}
