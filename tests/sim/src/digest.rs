//! Short hashes: of what happened, of what an entry wrote, of what a request said.

use scheduler::command::Schedule;
use scheduler::store::Write;

/// A hash that grows with everything that is added. Not for adversaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace(u64);

impl Default for Trace {
    fn default() -> Self {
        Trace(0x9e37_79b9_7f4a_7c15)
    }
}

impl Trace {
    /// Adds a number.
    pub fn add(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0xff51_afd7_ed55_8ccd);
        self.0 ^= self.0 >> 32;
    }

    /// Adds bytes, and how many they are.
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        self.add(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }

    /// The hash so far.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0
    }
}

/// What an entry wrote.
#[must_use]
pub fn of_writes(writes: &[Write]) -> u64 {
    let mut trace = Trace::default();
    for write in writes {
        match write {
            Write::Put { key, value } => {
                trace.add_bytes(key);
                trace.add_bytes(value);
            }
            Write::Delete { key } => {
                trace.add(1);
                trace.add_bytes(key);
            }
            Write::DeleteRange { from, to } => {
                trace.add(2);
                trace.add_bytes(from);
                trace.add_bytes(to);
            }
            Write::Add { key, delta } => {
                trace.add(3 ^ *delta as u64);
                trace.add_bytes(key);
            }
        }
    }
    trace.value()
}

/// What a request says, for whoever has to know it again.
#[must_use]
pub fn of_schedule(command: &Schedule) -> u64 {
    let plain = Schedule { fingerprint: 0, ..command.clone() };
    let mut trace = Trace::default();
    trace.add_bytes(&prost::Message::encode_to_vec(&plain));
    trace.value()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red when a value, a key or the order does not count.
    #[test]
    fn everything_counts() {
        let put = |key: &[u8], value: &[u8]| Write::Put { key: key.to_vec(), value: value.to_vec() };
        let lists = [
            vec![put(b"a", b"1"), put(b"b", b"2")],
            vec![put(b"b", b"2"), put(b"a", b"1")],
            vec![put(b"a", b"1"), put(b"b", b"3")],
            vec![put(b"a1", b""), put(b"b", b"2")],
            vec![Write::Delete { key: b"a".to_vec() }],
            vec![Write::Add { key: b"a".to_vec(), delta: 1 }],
            vec![Write::Add { key: b"a".to_vec(), delta: -1 }],
        ];
        let digests: std::collections::BTreeSet<u64> = lists.iter().map(|list| of_writes(list)).collect();
        assert_eq!(digests.len(), lists.len());
    }
}
