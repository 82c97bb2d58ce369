//! The wire between the namespaces: takes every packet out of one and puts it into another, late, not at all, or only one way.
//!
//! Kernels without netem have no other way to delay and to lose.

use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The largest packet the interfaces send.
pub const MTU: usize = 8_000;

/// What happens to packets from one port to another.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Line {
    /// None arrives.
    pub cut: bool,
    /// They arrive so much later.
    pub delay: Duration,
    /// And up to so much later still, so that they overtake each other.
    pub jitter: Duration,
    /// So many of 1,000 are lost.
    pub loss_per_mille: u32,
}

/// Packets that did not simply pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Passed on, sooner or later.
    pub passed: u64,
    /// Of those, later.
    pub delayed: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Lost because the line was cut.
    pub cut: u64,
}

struct State {
    lines: Vec<Vec<Line>>,
    /// What lines are when nothing is broken.
    weather: Vec<Vec<Line>>,
    dice: StdRng,
    counts: Counts,
    late: BinaryHeap<Late>,
    order: u64,
}

struct Late {
    at: Instant,
    order: u64,
    to: usize,
    packet: Vec<u8>,
}

impl PartialEq for Late {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Late {}

impl PartialOrd for Late {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Late {
    /// The earliest is the greatest, as the heap wants it.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

struct Shared {
    ports: Vec<(u8, File)>,
    state: Mutex<State>,
    more: Condvar,
}

/// The switch; its threads run until the process ends.
#[derive(Clone)]
pub struct Switch(Arc<Shared>);

impl std::fmt::Debug for Switch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Switch").field("ports", &self.0.ports.len()).finish_non_exhaustive()
    }
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Now,
    After(Duration),
    Gone,
}

impl Switch {
    /// Connects TUN files; each is known by the last byte of the IPv4 address behind it. The seed decides what is lost.
    #[must_use]
    pub fn start(ports: Vec<(u8, File)>, seed: u64) -> Switch {
        let lines = vec![vec![Line::default(); ports.len()]; ports.len()];
        let state = State {
            weather: lines.clone(),
            lines,
            dice: StdRng::seed_from_u64(seed),
            counts: Counts::default(),
            late: BinaryHeap::new(),
            order: 0,
        };
        let switch = Switch(Arc::new(Shared { ports, state: Mutex::new(state), more: Condvar::new() }));
        for port in 0..switch.0.ports.len() {
            let shared = switch.0.clone();
            std::thread::spawn(move || shared.forward(port));
        }
        let shared = switch.0.clone();
        std::thread::spawn(move || shared.deliver_late());
        switch
    }

    /// Sets the line from one port to another, in that direction only.
    pub fn set(&self, from: u8, to: u8, line: Line) {
        if let (Some(from), Some(to)) = (self.0.port(from), self.0.port(to)) {
            self.0.lock().lines[from][to] = line;
        }
    }

    /// Sets what the line from one port to another is now, and again whenever it is healed.
    pub fn set_weather(&self, from: u8, to: u8, line: Line) {
        if let (Some(from), Some(to)) = (self.0.port(from), self.0.port(to)) {
            let mut state = self.0.lock();
            state.weather[from][to] = line;
            state.lines[from][to] = line;
        }
    }

    /// All lines are as new, but for the weather.
    pub fn heal(&self) {
        let state = &mut *self.0.lock();
        state.lines.clone_from(&state.weather);
    }

    /// What happened to packets so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.lock().counts
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn port(&self, address: u8) -> Option<usize> {
        self.ports.iter().position(|(last, _)| *last == address)
    }

    fn forward(&self, from: usize) {
        let mut buffer = vec![0; MTU + 100];
        loop {
            // An interface that is taken down says so; the namespace is about to go.
            let Ok(length) = (&self.ports[from].1).read(&mut buffer) else { return };
            let packet = &buffer[..length];
            let Some(to) = destination(packet).and_then(|last| self.port(last)) else { continue };
            let fate = self.lock().fate(from, to);
            match fate {
                Fate::Gone => {}
                Fate::Now => self.put(to, packet),
                Fate::After(delay) => {
                    let mut state = self.lock();
                    state.order += 1;
                    let late = Late { at: Instant::now() + delay, order: state.order, to, packet: packet.to_vec() };
                    state.late.push(late);
                    self.more.notify_one();
                }
            }
        }
    }

    fn put(&self, to: usize, packet: &[u8]) {
        // A full queue of the interface loses packets, as a switch does.
        drop((&self.ports[to].1).write(packet));
    }

    fn deliver_late(&self) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let wait = state.late.peek().map(|late| late.at.saturating_duration_since(now));
            state = match wait {
                Some(Duration::ZERO) => {
                    if let Some(late) = state.late.pop() {
                        drop(state);
                        self.put(late.to, &late.packet);
                        state = self.lock();
                    }
                    state
                }
                Some(wait) => self.more.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0,
                None => self.more.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl State {
    fn fate(&mut self, from: usize, to: usize) -> Fate {
        let line = self.lines[from][to];
        if line.cut {
            self.counts.cut += 1;
            return Fate::Gone;
        }
        if line.loss_per_mille > 0 && self.dice.random_range(0..1_000) < line.loss_per_mille {
            self.counts.lost += 1;
            return Fate::Gone;
        }
        self.counts.passed += 1;
        if line.delay.is_zero() && line.jitter.is_zero() {
            return Fate::Now;
        }
        self.counts.delayed += 1;
        Fate::After(line.delay + line.jitter.mul_f64(self.dice.random_range(0.0..1.0)))
    }
}

/// The last byte of the address an IPv4 packet goes to.
fn destination(packet: &[u8]) -> Option<u8> {
    (packet.first()? >> 4 == 4).then(|| packet.get(19).copied())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(line: Line) -> State {
        State {
            lines: vec![vec![Line::default(), line], vec![Line::default(); 2]],
            weather: vec![vec![Line::default(); 2]; 2],
            dice: StdRng::seed_from_u64(7),
            counts: Counts::default(),
            late: BinaryHeap::new(),
            order: 0,
        }
    }

    /// Red when a cut works in both directions, or not at all.
    #[test]
    fn a_cut_is_one_way() {
        let mut state = state(Line { cut: true, ..Line::default() });
        assert_eq!((state.fate(0, 1), state.fate(1, 0)), (Fate::Gone, Fate::Now));
        assert_eq!(state.counts, Counts { passed: 1, cut: 1, ..Counts::default() });
    }

    /// Red when loss is not about what was asked for, or nothing is late.
    #[test]
    fn packets_are_lost_and_late_as_asked() {
        let delay = Duration::from_millis(20);
        let mut state = state(Line { delay, jitter: delay, loss_per_mille: 100, cut: false });
        let fates: Vec<Fate> = (0..10_000).map(|_| state.fate(0, 1)).collect();
        let lost = fates.iter().filter(|fate| **fate == Fate::Gone).count();
        assert!((800..1_200).contains(&lost), "{lost}");
        let late = |fate: &Fate| matches!(fate, Fate::After(by) if (delay..delay * 2).contains(by));
        assert!(fates.iter().all(|fate| *fate == Fate::Gone || late(fate)));
        assert_eq!(state.counts.delayed, 10_000 - lost as u64);
    }

    /// Red when the heap gives the latest first.
    #[test]
    fn the_earliest_comes_first() {
        let begin = Instant::now();
        let mut heap = BinaryHeap::new();
        for (order, ms) in [(1, 30), (2, 10), (3, 20), (4, 10)] {
            let at = begin + Duration::from_millis(ms);
            heap.push(Late { at, order, to: 0, packet: Vec::new() });
        }
        let orders: Vec<u64> = std::iter::from_fn(|| heap.pop()).map(|late| late.order).collect();
        assert_eq!(orders, [2, 4, 3, 1]);
    }

    #[test]
    fn only_ipv4_is_passed_on() {
        let mut packet = vec![0; 20];
        packet[0] = 0x45;
        packet[19] = 3;
        assert_eq!(destination(&packet), Some(3));
        packet[0] = 0x60;
        assert_eq!(destination(&packet), None);
        assert_eq!(destination(&[0x45, 0, 0]), None);
    }
}
