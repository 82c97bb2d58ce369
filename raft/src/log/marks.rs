//! What is known of a group besides its entries, and how each record changes it.
//!
//! The writer and the recovery use the same rules, so the marks in a segment's header can be compared with the marks
//! that replaying the segments before it gives.

use openraft::impls::leader_id_std::LeaderId;
use prost::Message;

use super::{LogId, Vote};

/// Positions of one group at one point of the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Marks {
    /// Last saved vote.
    pub vote: Option<Vote>,
    /// Last saved commit mark.
    pub committed: Option<LogId>,
    /// Entries up to here are gone.
    pub purged: Option<LogId>,
    /// The last entry, or `purged` when there is none after it.
    pub last: Option<LogId>,
    /// Index of the first entry that is there, or of the next one to come.
    pub first: u64,
}

impl Marks {
    /// One past the last index.
    pub fn next(&self) -> u64 {
        self.last.map_or(self.first, |id| id.index + 1)
    }

    /// The next entry arrives. A log that never had one may start anywhere.
    pub fn append(&mut self, id: LogId) -> Result<(), String> {
        match self.last {
            None => self.first = id.index,
            Some(last) if id.index == last.index + 1 => {}
            Some(last) => return Err(format!("entry {} after entry {}", id.index, last.index)),
        }
        self.last = Some(id);
        Ok(())
    }

    /// Entries after `after` go.
    pub fn truncate(&mut self, after: Option<LogId>) {
        let index = |id: Option<LogId>| id.map(|id| id.index);
        let after = if index(after) < index(self.purged) { self.purged } else { after };
        if index(after) < index(self.last) {
            self.last = after;
            self.first = self.first.min(self.next());
        }
    }

    /// Entries up to `upto` go; `upto` may be beyond the last one.
    pub fn purge(&mut self, upto: LogId) {
        if self.purged.is_some_and(|p| p.index >= upto.index) {
            return;
        }
        self.purged = Some(upto);
        if self.last.is_none_or(|last| last.index <= upto.index) {
            self.last = Some(upto);
            self.first = upto.index + 1;
        } else {
            self.first = self.first.max(upto.index + 1);
        }
    }
}

/// [`Marks`] as bytes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MarksRecord {
    #[prost(uint32, tag = "1")]
    gid: u32,
    #[prost(message, optional, tag = "2")]
    vote: Option<VoteRecord>,
    #[prost(message, optional, tag = "3")]
    committed: Option<LogIdRecord>,
    #[prost(message, optional, tag = "4")]
    purged: Option<LogIdRecord>,
    #[prost(message, optional, tag = "5")]
    last: Option<LogIdRecord>,
    #[prost(uint64, tag = "6")]
    first: u64,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct VoteRecord {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    node: u64,
    #[prost(bool, tag = "3")]
    committed: bool,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct LogIdRecord {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "3")]
    index: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HeaderRecord {
    #[prost(message, repeated, tag = "1")]
    groups: Vec<MarksRecord>,
}

impl MarksRecord {
    /// Writes the marks of all groups.
    pub fn encode_all<'a>(groups: impl Iterator<Item = (u32, &'a Marks)>, buf: &mut Vec<u8>) {
        let log_id = |id: LogId| LogIdRecord { term: id.leader_id.term, index: id.index };
        let groups = groups.map(|(gid, marks)| MarksRecord {
            gid,
            vote: marks.vote.map(|v| VoteRecord {
                term: v.leader_id.term,
                node: v.leader_id.voted_for,
                committed: v.committed,
            }),
            committed: marks.committed.map(log_id),
            purged: marks.purged.map(log_id),
            last: marks.last.map(log_id),
            first: marks.first,
        });
        HeaderRecord { groups: groups.collect() }.encode_raw(buf);
    }

    /// Reads what [`encode_all`](Self::encode_all) wrote.
    pub fn decode_all(bytes: &[u8]) -> Result<Vec<(u32, Marks)>, String> {
        let log_id = |id: LogIdRecord| crate::types::log_id(id.term, id.index);
        let header = HeaderRecord::decode(bytes).map_err(|e| format!("header: {e}"))?;
        let mut ids = header.groups.iter().flat_map(|g| [g.committed, g.purged, g.last]).flatten();
        if ids.any(|id| id.index == u64::MAX) {
            return Err("header: an index that has no next one".to_owned());
        }
        let groups = header.groups.into_iter().map(|g| {
            let vote = g
                .vote
                .map(|v| Vote { leader_id: LeaderId { term: v.term, voted_for: v.node }, committed: v.committed });
            let marks = Marks {
                vote,
                committed: g.committed.map(log_id),
                purged: g.purged.map(log_id),
                last: g.last.map(log_id),
                first: g.first,
            };
            (g.gid, marks)
        });
        Ok(groups.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(term: u64, index: u64) -> LogId {
        crate::types::log_id(term, index)
    }

    #[test]
    fn a_hole_is_refused_and_a_start_anywhere_is_not() {
        let mut marks = Marks::default();
        marks.append(id(1, 5)).expect("first entry");
        assert_eq!(marks.first, 5);
        assert!(marks.append(id(1, 7)).is_err());
        marks.append(id(1, 6)).expect("next entry");
        assert_eq!(marks.next(), 7);
    }

    #[test]
    fn purge_beyond_the_end_moves_the_end() {
        let mut marks = Marks::default();
        marks.append(id(1, 1)).expect("entry");
        marks.purge(id(2, 9));
        assert_eq!((marks.first, marks.last, marks.purged), (10, Some(id(2, 9)), Some(id(2, 9))));
        marks.purge(id(2, 4));
        assert_eq!(marks.purged, Some(id(2, 9)), "a purge never goes back");
        assert!(marks.append(id(2, 9)).is_err());
        marks.append(id(2, 10)).expect("entry after the purged ones");
    }

    #[test]
    fn truncate_stops_at_the_purged_end() {
        let mut marks = Marks::default();
        for index in 1..=9 {
            marks.append(id(1, index)).expect("entry");
        }
        marks.purge(id(1, 4));
        marks.truncate(Some(id(1, 12)));
        assert_eq!(marks.last, Some(id(1, 9)), "after the end: nothing to do");
        marks.truncate(Some(id(1, 6)));
        assert_eq!((marks.first, marks.last), (5, Some(id(1, 6))));
        marks.truncate(None);
        assert_eq!((marks.first, marks.last), (5, Some(id(1, 4))));
    }

    #[test]
    fn bytes_and_back() {
        let mut marks = Marks {
            vote: Some(Vote { leader_id: LeaderId { term: 7, voted_for: 1 << 40 }, committed: true }),
            ..Marks::default()
        };
        marks.purge(id(3, u64::MAX - 1));
        let mut buf = Vec::new();
        MarksRecord::encode_all([(9, &marks), (u32::MAX - 1, &Marks::default())].into_iter(), &mut buf);
        assert_eq!(MarksRecord::decode_all(&buf).expect("decodes"), vec![(9, marks), (u32::MAX - 1, Marks::default())]);
    }

    /// Red when an index is taken whose next one overflows.
    #[test]
    fn the_last_index_there_is_belongs_to_no_entry() {
        let marks = Marks { last: Some(id(1, u64::MAX)), ..Marks::default() };
        let mut buf = Vec::new();
        MarksRecord::encode_all([(9, &marks)].into_iter(), &mut buf);
        assert!(MarksRecord::decode_all(&buf).is_err());
    }
}
