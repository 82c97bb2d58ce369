//! What nodes ask each other beside raft: what time it is and how their canaries are, what their build knows, and to propose
//! settings of a topic.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use scheduler::command::{Kind, SetTopic};
use scheduler::machine::FEATURE_LEVEL;
use scheduler::time::{Delay, Timestamp};

use crate::clock::Clock;
use crate::machine::Adapter;
use crate::partition::Partition;
use crate::time_rules::Sample;

/// How often the other nodes' clocks are read.
const ASK_EVERY: Duration = Duration::from_millis(800);
/// For how long after the start of the node they are asked more often.
const FRESH_FOR: Duration = Duration::from_secs(5);
/// An answer that took longer says too little about the time.
const ROUND_TRIP_MAX: Duration = Duration::from_millis(400);

/// What a node asks, in the first byte. Answered with the time in eight bytes, and for each partition led there that
/// has canaries its number and how old its canary is, in milliseconds, four bytes each. The answer to a question that
/// is not known is an error, so that a newer node can ask an older one.
const ASK_CLOCK: u8 = b'c';
/// Answered with the feature level its build knows, in four bytes.
pub(crate) const ASK_LEVEL: u8 = b'l';
/// Then the partition in four bytes and the command.
const ASK_SET_TOPIC: u8 = b't';

/// Answers other nodes.
pub struct Answerer {
    clock: Clock,
    partitions: Vec<Partition>,
}

impl Answerer {
    /// Answers by this clock, for these partitions.
    pub fn new(clock: Clock, partitions: Vec<Partition>) -> Arc<Answerer> {
        Arc::new(Answerer { clock, partitions })
    }

    fn clock_and_canaries(&self) -> Bytes {
        let mut answer = self.clock.wall().as_millis().to_be_bytes().to_vec();
        for partition in self.partitions.iter().filter(|partition| partition.leads()) {
            let Some(age) = partition.canary_age() else { continue };
            answer.extend(partition.number().to_be_bytes());
            answer.extend(u32::try_from(age.as_millis()).unwrap_or(u32::MAX).to_be_bytes());
        }
        answer.into()
    }

    fn set_topic(&self, request: &[u8]) -> Result<(), String> {
        let (partition, command) = request.split_first_chunk::<4>().ok_or("too short")?;
        let partition = self.partitions.get(u32::from_be_bytes(*partition) as usize).ok_or("no such partition")?;
        let command = SetTopic::decode(command).map_err(|error| error.to_string())?;
        // Whoever asks sees in its own replica whether it was applied.
        partition.proposer().propose_internal(Kind::SetTopic(command)).map(drop).map_err(|error| error.to_string())
    }
}

/// Asks the leader of a partition to propose settings of a topic.
pub fn set_topic(partition: u32, command: &SetTopic) -> Bytes {
    let mut request = vec![ASK_SET_TOPIC];
    request.extend(partition.to_be_bytes());
    request.extend(command.encode_to_vec());
    request.into()
}

impl raft::CallHandler for Answerer {
    fn call(&self, _from: u64, request: Bytes) -> Result<Bytes, String> {
        match request.split_first() {
            Some((&ASK_CLOCK, _)) => Ok(self.clock_and_canaries()),
            Some((&ASK_LEVEL, _)) => Ok(FEATURE_LEVEL.to_be_bytes().to_vec().into()),
            Some((&ASK_SET_TOPIC, rest)) => self.set_topic(rest).map(|()| Bytes::new()),
            _ => Err(format!("unknown question of {} bytes", request.len())),
        }
    }
}

/// Reads the other nodes' clocks for as long as the node runs.
pub async fn read_clocks(node: raft::Node<Adapter>, clock: Clock, partitions: Vec<Partition>) {
    if clock.is_virtual() {
        return;
    }
    let started = tokio::time::Instant::now();
    loop {
        // At first the others are only starting too, and nothing can be stamped before a majority has answered.
        let fresh = started.elapsed() < FRESH_FOR;
        tokio::time::sleep(if fresh { ASK_EVERY / 16 } else { ASK_EVERY }).await;
        for member in node.members().into_iter().filter(|member| member.node != node.id()) {
            let (node, clock, partitions) = (node.clone(), clock.clone(), partitions.clone());
            tokio::spawn(async move {
                let before = clock.mono();
                let question = Bytes::from_static(&[ASK_CLOCK]);
                let Ok(answer) = node.call(member.node, question, ROUND_TRIP_MAX).await else { return };
                let round_trip = clock.mono().saturating_sub(before);
                let Some((ms, canaries)) = answer.split_first_chunk::<8>() else { return };
                if round_trip > ROUND_TRIP_MAX {
                    return;
                }
                let sample =
                    Sample { wall: Timestamp::from_millis(u64::from_be_bytes(*ms)), mono: before + round_trip / 2 };
                for (partition, age) in canaries_of(canaries) {
                    if let Some(partition) = partitions.get(partition as usize) {
                        partition.told_canary(age, sample.mono);
                    }
                }
                let here = clock.wall();
                let there = sample.wall.after(Delay::from_millis((round_trip / 2).as_millis() as u64));
                let offset = there.as_millis() as f64 - here.as_millis() as f64;
                crate::metrics::peer_clock(member.node, offset / 1_000.0, round_trip);
                for partition in &partitions {
                    partition.sample(member.node, sample);
                }
            });
        }
    }
}

/// Partitions and the ages of their canaries.
pub(crate) fn canaries_of(bytes: &[u8]) -> impl Iterator<Item = (u32, Duration)> + '_ {
    let (records, _) = bytes.as_chunks::<8>();
    records.iter().map(|record| {
        let [a, b, c, d, e, f, g, h] = *record;
        (u32::from_be_bytes([a, b, c, d]), Duration::from_millis(u32::from_be_bytes([e, f, g, h]).into()))
    })
}
