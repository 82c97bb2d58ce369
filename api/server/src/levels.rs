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

/// How often the other nodes are asked. A node that was exchanged is away for longer.
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

/// Asks the other nodes for as long as this one runs, and tells the partitions what all their members know.
pub async fn ask(node: raft::Node<Adapter>, levels: Levels, partitions: Vec<Partition>) {
    let me = node.id();
    loop {
        for partition in &partitions {
            let status = partition.group().status();
            let others = status.replicas.iter().map(|replica| replica.node).filter(|other| *other != me);
            partition.set_common_level(levels.common(others));
        }
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
        tokio::time::sleep(ASK_EVERY).await;
    }
}
