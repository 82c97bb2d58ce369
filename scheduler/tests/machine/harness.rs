//! A machine with its rows, and short names for what tests say to it.

use bytes::Bytes;
use prost::Message;
use scheduler::command::*;
use scheduler::lane::{Generation, Position};
use scheduler::machine::{Applied, Halt, Machine};
use scheduler::memory::MemoryStore;
use scheduler::overlay::Overlay;
use scheduler::read::{self, TriggerView};
use scheduler::reply::{Receipt, Refusal, Reply};
use scheduler::time::Timestamp;

use crate::stock::Stock;

pub const NAMESPACE: &str = "shop";

/// A replica.
pub struct Replica {
    pub machine: Machine<Stock>,
    pub store: MemoryStore,
}

impl Default for Replica {
    fn default() -> Self {
        Replica { machine: Machine::new(Stock), store: MemoryStore::default() }
    }
}

pub fn entry(time: u64, commands: Vec<Kind>) -> Bytes {
    let commands = commands.into_iter().map(|kind| Command { kind: Some(kind) }).collect();
    Entry { time, commands, level: 1 }.encode_to_vec().into()
}

impl Replica {
    pub fn of(store: MemoryStore) -> Self {
        Replica { machine: Machine::open(Stock, &store).unwrap(), store }
    }

    pub fn apply_bytes(&mut self, index: u64, entry: Bytes) -> Result<Applied, Halt> {
        let mut overlay = Overlay::new(&self.store);
        let applied = self.machine.apply(index, entry, &mut overlay)?;
        let writes = overlay.into_writes();
        self.store.write(writes);
        Ok(applied)
    }

    /// Applies the commands in the next entry.
    pub fn at(&mut self, time: u64, commands: Vec<Kind>) -> Vec<Reply> {
        let index = self.machine.applied() + 1;
        self.apply_bytes(index, entry(time, commands)).unwrap().replies
    }

    /// Applies one command in the next entry.
    pub fn one(&mut self, time: u64, command: Kind) -> Reply {
        self.at(time, vec![command]).remove(0)
    }

    pub fn get(&self, id: &str) -> Option<TriggerView> {
        read::get(&self.store, NAMESPACE, id).unwrap()
    }
}

pub fn schedule(id: &str, at: u64) -> Schedule {
    Schedule {
        namespace: NAMESPACE.into(),
        id: id.into(),
        topic: "mail".into(),
        when: Some(When::At(at)),
        priority: 1,
        fingerprint: 1,
        payload: Bytes::from_static(b"hello"),
        ..Schedule::default()
    }
}

pub fn cancel(id: &str) -> Kind {
    Kind::Cancel(Cancel { namespace: NAMESPACE.into(), id: id.into(), ..Cancel::default() })
}

pub fn token(counter: u64) -> Option<Token> {
    Some(Token { epoch: 1, term: 1, counter })
}

pub fn report(id: &str, generation: Generation, attempt: u32) -> Option<Report> {
    Some(Report {
        namespace: NAMESPACE.into(),
        id: id.into(),
        generation: generation.number(),
        token: token(attempt.into()),
        attempt,
        executor: "e1".into(),
    })
}

pub fn complete(id: &str, generation: Generation, attempt: u32) -> Kind {
    Kind::Complete(Complete { report: report(id, generation, attempt), business: Bytes::new() })
}

pub fn retry(id: &str, generation: Generation, attempt: u32) -> Kind {
    Kind::Retry(Retry { report: report(id, generation, attempt), error: "no answer".into(), ..Retry::default() })
}

/// A run of successes by one executor.
pub fn run(lane: u32, positions: &[Position]) -> Kind {
    let mut command = CompleteRun {
        lane,
        executors: vec!["e1".into()],
        executor_counts: vec![positions.len() as u32],
        token: token(100),
        counter_deltas: vec![1; positions.len().saturating_sub(1)],
        ..CompleteRun::default()
    };
    let (mut due, mut generation) = (0, 0i64);
    for position in positions {
        command.due_deltas.push(position.due.as_millis().wrapping_sub(due));
        command.generation_deltas.push(position.generation.number() as i64 - generation);
        (due, generation) = (position.due.as_millis(), position.generation.number() as i64);
    }
    Kind::CompleteRun(command)
}

pub fn at(due: u64, generation: Generation) -> Position {
    Position { due: Timestamp::from_millis(due), generation }
}

/// A UUIDv7 of this moment.
pub fn request(number: u8, time: u64) -> Bytes {
    let mut request = [number; 16];
    request[..6].copy_from_slice(&time.to_be_bytes()[2..]);
    request[6] = 0x70;
    Bytes::copy_from_slice(&request)
}

/// The receipt in a reply or refusal.
pub fn receipt(reply: &Reply) -> &Receipt {
    match reply {
        Reply::Scheduled { receipt, .. } | Reply::Moved(receipt) | Reply::Ended(receipt) => receipt,
        Reply::Decided(receipt) | Reply::AlreadyDecided(receipt) => receipt,
        Reply::Refused(Refusal::AlreadyExists(receipt) | Refusal::AlreadyFired(receipt)) => receipt,
        Reply::Refused(Refusal::AlreadyEnded(receipt) | Refusal::NotDeadLettered(receipt)) => receipt,
        other => panic!("no receipt in {other:?}"),
    }
}
