//! Since when a leader is certain of its followers: when what each of them answered last was sent.
//!
//! openraft keeps such a time too, and it may be too late: it takes an answer to an append for one to every append under way
//! that ends at the same entry, and so to heartbeats and empty appends that never arrived. A leader that was cut off and then
//! received an old answer was sure to lead while another one did (`tests/sim`, seed 205 with openraft).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Instant;

use openraft::RaftMetrics;

use crate::group::leads;
use crate::progress::lock;
use crate::types::TypeConfig;

/// What one replica was answered, in the newest term in which it was answered at all.
#[derive(Debug, Default)]
pub(crate) struct Acks(Mutex<(u64, BTreeMap<u64, Instant>)>);

impl Acks {
    /// A replica took this one for the leader of a term, in answer to what was sent at that moment.
    pub(crate) fn note(&self, replica: u64, term: u64, sent: Instant) {
        let mut acks = lock(&self.0);
        if term > acks.0 {
            *acks = (term, BTreeMap::new());
        }
        if term == acks.0 {
            let newest = acks.1.entry(replica).or_insert(sent);
            *newest = sent.max(*newest);
        }
    }

    /// The moment at which a majority took the replica with these figures for the leader of its term; `None` when it does not lead, or was never
    /// acknowledged.
    pub(crate) fn quorum_of(&self, figures: &RaftMetrics<TypeConfig>, now: Instant) -> Option<Instant> {
        if !leads(figures) {
            return None;
        }
        let config = figures.membership_config.membership().get_joint_config();
        let term = figures.vote.leader_id.term;
        // Of every half of a joint membership; a missing one counts as never.
        config.iter().map(|voters| self.quorum_at(figures.id, voters, term, now)).min()?
    }

    /// The moment at which a majority of these took `me` for the leader of a term, `me` itself `now`.
    fn quorum_at(&self, me: u64, voters: &BTreeSet<u64>, term: u64, now: Instant) -> Option<Instant> {
        let acks = lock(&self.0);
        let of_term = acks.0 == term;
        let acked = |voter: &u64| if *voter == me { Some(now) } else { acks.1.get(voter).copied().filter(|_| of_term) };
        let mut at: Vec<Option<Instant>> = voters.iter().map(acked).collect();
        at.sort_unstable();
        at.get(at.len().checked_sub(at.len() / 2 + 1)?).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Turns red when an answer of another term counts, or the newest answer is taken for that of a majority.
    #[test]
    fn a_majority_is_as_old_as_its_oldest_answer() {
        let (acks, voters) = (Acks::default(), BTreeSet::from([1, 2, 3, 4, 5]));
        let now = Instant::now() + Duration::from_secs(60);
        let ago = |seconds| now - Duration::from_secs(seconds);
        assert_eq!(acks.quorum_at(1, &voters, 7, now), None);
        assert_eq!(acks.quorum_at(1, &BTreeSet::from([1]), 7, now), Some(now));
        acks.note(2, 7, ago(3));
        acks.note(2, 7, ago(9));
        assert_eq!(acks.quorum_at(1, &voters, 7, now), None);
        acks.note(3, 7, ago(5));
        assert_eq!(acks.quorum_at(1, &voters, 7, now), Some(ago(5)));
        acks.note(4, 6, now);
        assert_eq!(acks.quorum_at(1, &voters, 7, now), Some(ago(5)), "an answer to an earlier term");
        acks.note(4, 8, now);
        assert_eq!(acks.quorum_at(1, &voters, 7, now), None, "the term is over");
    }
}
