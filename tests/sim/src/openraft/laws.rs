//! The rules of Raft, looked at from outside while a run goes on.

use std::collections::{BTreeMap, BTreeSet};

use openraft::EntryPayload;

use super::types::Entry;
use crate::digest::Trace;

/// What was seen so far, by which later things are judged.
#[derive(Debug, Default)]
pub struct Laws {
    /// Who led in a term.
    leaders: BTreeMap<u64, u64>,
    /// For whom a replica voted in a term.
    votes: BTreeMap<(u64, u64), u64>,
    /// What was applied: term and contents by index.
    applied: BTreeMap<u64, (u64, u64)>,
}

impl Laws {
    /// A replica leads in a term.
    ///
    /// # Errors
    ///
    /// Another one did.
    pub fn leads(&mut self, term: u64, replica: u64) -> Result<(), String> {
        let leader = *self.leaders.entry(term).or_insert(replica);
        if leader == replica { Ok(()) } else { Err(format!("{leader:#x} and {replica:#x} both led in term {term}")) }
    }

    /// A replica told another, or acted upon it, that it votes for a candidate.
    ///
    /// # Errors
    ///
    /// It had voted for another one in that term.
    pub fn votes(&mut self, replica: u64, term: u64, candidate: u64) -> Result<(), String> {
        let voted = *self.votes.entry((replica, term)).or_insert(candidate);
        if voted == candidate {
            return Ok(());
        }
        Err(format!("{replica:#x} voted for {voted:#x} and for {candidate:#x} in term {term}"))
    }

    /// A replica applies an entry; whether it is the first to do so.
    ///
    /// # Errors
    ///
    /// Another entry was applied at that index.
    pub fn applies(&mut self, replica: u64, entry: &Entry) -> Result<bool, String> {
        let seen = (entry.log_id.leader_id.term, contents(entry));
        let index = entry.log_id.index;
        match self.applied.insert(index, seen) {
            None => Ok(true),
            Some(before) if before == seen => Ok(false),
            Some(before) => Err(format!(
                "{replica:#x} applies another entry {index} than one before it: terms {} and {}",
                seen.0, before.0
            )),
        }
    }

    /// Hashes of the contents of everything that was applied.
    #[must_use]
    pub fn contents(&self) -> BTreeSet<u64> {
        self.applied.values().map(|(_, contents)| *contents).collect()
    }
}

fn contents(entry: &Entry) -> u64 {
    let mut trace = Trace::default();
    match &entry.payload {
        EntryPayload::Blank => trace.add(1),
        EntryPayload::Normal(payload) => trace.add_bytes(&payload.0),
        EntryPayload::Membership(membership) => trace.add_bytes(format!("{membership:?}").as_bytes()),
    }
    trace.value()
}

#[cfg(test)]
mod tests {
    use super::super::types::{CommittedLeaderId, LogId, Payload};
    use super::*;

    fn entry(term: u64, index: u64, text: &'static str) -> Entry {
        let log_id = LogId { leader_id: CommittedLeaderId::new(term), index };
        Entry { log_id, payload: EntryPayload::Normal(Payload(text.as_bytes().into())) }
    }

    /// Red when any of the rules is not looked at.
    #[test]
    fn what_breaks_a_rule_is_told() {
        let mut laws = Laws::default();
        assert!(laws.leads(1, 7).is_ok() && laws.leads(1, 7).is_ok() && laws.leads(2, 8).is_ok());
        assert!(laws.leads(1, 8).is_err());
        assert!(laws.votes(7, 3, 8).is_ok() && laws.votes(7, 3, 8).is_ok() && laws.votes(9, 3, 9).is_ok());
        assert!(laws.votes(7, 3, 9).is_err());
        assert_eq!(laws.applies(7, &entry(1, 5, "a")), Ok(true));
        assert_eq!(laws.applies(8, &entry(1, 5, "a")), Ok(false));
        assert_eq!(laws.contents().len(), 1);
        assert!(laws.applies(9, &entry(1, 5, "b")).is_err());
        assert!(laws.applies(9, &entry(2, 5, "a")).is_err());
    }
}
