//! Which feature level the builds of the cluster's nodes know, so that a leader writes at a higher one only when all do
//! (`scheduler::upgrade`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use scheduler::machine::FEATURE_LEVEL;
use scheduler::upgrade::{LEVEL_FIRST, level_to_write};

use crate::machine::Adapter;
use crate::partition::Partition;
use crate::peers;

/// How often the other nodes are asked.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_millis(400);

/// What the other nodes said; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Levels(Arc<Mutex<BTreeMap<u64, u32>>>);

impl Levels {
    /// What the build of a node knows, if it has said so. Of this node: see [`FEATURE_LEVEL`].
    pub fn of(&self, node: u64) -> Option<u32> {
        self.lock().get(&node).copied()
    }

    /// The level at which this node's entries may be written in a partition of these other members.
    fn common(&self, others: impl Iterator<Item = u64>) -> u32 {
        let told = self.lock();
        level_to_write(LEVEL_FIRST, FEATURE_LEVEL, others.map(|node| told.get(&node).copied()))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, u32>> {
        self.0.lock().expect("the levels' lock is never held over a panic")
    }
}

/// The feature level all members of a partition know, as its leader found in its term. What was found in another term says nothing:
/// members may have been added since.
#[derive(Debug, Default)]
pub struct CommonLevel(Mutex<(u64, u32)>);

impl CommonLevel {
    /// The leader of a term has found this.
    pub fn set(&self, term: u64, level: u32) {
        *self.lock() = (term, level);
    }

    /// At which level the leader of a term may write; the first until it has asked.
    pub fn in_term(&self, term: u64) -> u32 {
        let (of, level) = *self.lock();
        if of == term { level.max(LEVEL_FIRST) } else { LEVEL_FIRST }
    }

    fn lock(&self) -> MutexGuard<'_, (u64, u32)> {
        self.0.lock().expect("the level's lock is never held over a panic")
    }
}

/// Asks the other nodes for as long as this one runs, and tells the partitions what all their members know.
pub async fn ask(node: raft::Node<Adapter>, levels: Levels, partitions: Vec<Partition>) {
    let me = node.id();
    loop {
        let members: Vec<u64> = node.members().into_iter().map(|member| member.node).filter(|it| *it != me).collect();
        // Whoever is a member no more may come back with another build.
        levels.lock().retain(|known, _| members.contains(known));
        let asked = members.into_iter().map(|member| {
            let (node, levels) = (&node, &levels);
            async move {
                let answer = node.call(member, Bytes::from_static(&[peers::ASK_LEVEL]), ANSWER_WITHIN).await;
                let level = match answer {
                    Ok(answer) => answer.as_ref().try_into().ok().map(u32::from_be_bytes),
                    // A build from before there were levels to ask for.
                    Err(raft::CallError::Refused(_)) => Some(LEVEL_FIRST),
                    // It may be down to be exchanged; what it said last stays until it says something else.
                    Err(_) => None,
                };
                if let Some(level) = level {
                    levels.lock().insert(member, level);
                }
            }
        });
        futures::future::join_all(asked).await;
        for partition in &partitions {
            let status = partition.group().status();
            let members: Vec<u64> = status.replicas.iter().map(|replica| replica.node).collect();
            // Who the members are is known to a leader; a replica that is opening, or another's, may not know of any.
            if status.leadership.we_lead && members.contains(&me) {
                let others = members.into_iter().filter(|other| *other != me);
                partition.set_common_level(status.leadership.term, levels.common(others));
            }
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red when a new leader writes at what was found before its term, or before it has asked.
    #[test]
    fn a_level_counts_in_the_term_it_was_found_in() {
        let common = CommonLevel::default();
        assert_eq!(common.in_term(3), LEVEL_FIRST);
        common.set(3, 2);
        assert_eq!((common.in_term(3), common.in_term(4)), (2, LEVEL_FIRST));
    }

    /// Red when a member that has not said anything is taken to know what this build knows.
    #[test]
    fn a_member_that_was_not_heard_may_be_older() {
        let levels = Levels::default();
        assert_eq!(levels.common([2].into_iter()), LEVEL_FIRST);
        levels.lock().insert(2, FEATURE_LEVEL);
        assert_eq!((levels.common([2].into_iter()), levels.of(2)), (FEATURE_LEVEL, Some(FEATURE_LEVEL)));
    }
}
