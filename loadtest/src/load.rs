//! Triggers to be scheduled: their numbers, ids, payloads, and the oracle that follows them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use harness::record;
use proto::v1;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::executors::{SharedOracle, lock};
use crate::oracle::Oracle;

/// Random bytes that payloads are cut from, so that they do not compress to nothing.
const POOL_BYTES: usize = 1 << 20;

/// One set of triggers with a topic and ids of its own.
#[derive(Debug)]
pub struct Load {
    /// Follows them.
    pub oracle: SharedOracle,
    /// Their topic, and the beginning of their ids.
    pub topic: String,
    partitions: u32,
    payload_bytes: usize,
    pool: Bytes,
    dealer: Mutex<Dealer>,
}

#[derive(Debug, Default)]
struct Dealer {
    next: u64,
    waiting: Vec<VecDeque<u64>>,
}

impl Load {
    /// Triggers of topic `topic`. Their payloads and ids follow from the seed.
    #[must_use]
    pub fn new(topic: &str, seed: u64, partitions: u32, payload_bytes: usize) -> Self {
        let mut pool = vec![0; POOL_BYTES + payload_bytes];
        StdRng::seed_from_u64(seed).fill_bytes(&mut pool);
        // Runs against one cluster must not meet each other's ids.
        let topic = format!("{topic}-{seed}-{:x}", harness::clock::now_ms());
        Self {
            oracle: Arc::new(Mutex::new(Oracle::new(&topic))),
            topic,
            partitions,
            payload_bytes,
            pool: pool.into(),
            dealer: Mutex::new(Dealer { next: 0, waiting: vec![VecDeque::new(); partitions as usize] }),
        }
    }

    /// The next number, whichever partition it goes to.
    pub fn any(&self) -> u64 {
        let mut dealer = self.dealer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        dealer.next += 1;
        dealer.next - 1
    }

    /// The next `count` numbers whose ids live in `partition`.
    pub fn of(&self, partition: u32, count: usize) -> Vec<u64> {
        let mut dealer = self.dealer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let at = partition as usize % dealer.waiting.len();
        while dealer.waiting[at].len() < count {
            let number = dealer.next;
            dealer.next += 1;
            let place = harness::route::partition("default", &self.id(number), self.partitions) as usize;
            dealer.waiting[place].push_back(number);
        }
        dealer.waiting[at].drain(..count).collect()
    }

    /// The id of a number.
    #[must_use]
    pub fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.topic)
    }

    /// The request that schedules a number.
    #[must_use]
    pub fn request(&self, number: u64, due_ms: i64) -> v1::ScheduleRequest {
        let at = usize::try_from(number.wrapping_mul(7_919)).unwrap_or(0) % POOL_BYTES;
        v1::ScheduleRequest {
            payload: self.pool.slice(at..at + self.payload_bytes),
            ..record::request(self.id(number), &self.topic, due_ms)
        }
    }

    /// Tells the oracle that these are about to be scheduled.
    pub fn ask(&self, numbers: &[u64], due_ms: impl Fn(u64) -> i64, burst: bool) {
        let mut oracle = lock(&self.oracle);
        for number in numbers {
            oracle.ask(*number, due_ms(*number), burst);
        }
    }
}

/// A due time between one and two hours ahead of `from_ms`, always the same for the same number.
#[must_use]
pub fn far(from_ms: i64, number: u64) -> i64 {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    from_ms + 3_600_000 + i64::try_from(spread % 3_600_000).unwrap_or(0)
}
