//! The ways between replicas: messages that stand for themselves, and connections.
//!
//! What is sent over a connection arrives in order, however late, or the connection breaks and nothing of it arrives any
//! more. A link that is cut holds it up; when that lasts too long, or the process at the other end is gone, it breaks.

use std::collections::{BTreeMap, VecDeque};

use super::frame::{Body, Frame, Lane};
use super::types::node_of;
use crate::events::{MS, Micros};
use crate::world::{Event, World};

/// What was held up is sent again after this.
const AGAIN: Micros = 200 * MS;
/// A connection over which nothing came through for this long is given up: what keep-alives of the product come to.
const KEPT_ALIVE: Micros = 4_000 * MS;

/// A connection: the lane, the node that opened it, and the other.
pub type Name = (Lane, usize, usize);

/// One connection after the other between the same two nodes.
#[derive(Debug, Default)]
pub struct Line {
    /// Which it is.
    number: u64,
    /// From the node that opened it, and back.
    ways: [Way; 2],
}

#[derive(Debug, Default)]
struct Way {
    /// When the last frame arrives.
    last: Micros,
    /// Held up, in order.
    stuck: VecDeque<Frame>,
    since: Micros,
}

/// All connections.
pub type Lines = BTreeMap<Name, Line>;

impl World {
    /// A replica sends a frame.
    pub fn send_frame(&mut self, node: usize, lane: Lane, frame: Frame) {
        let to = node_of(frame.to);
        if lane == Lane::Control {
            return self.send(node, to, || Event::Frame(lane, 0, Box::new(frame.clone())));
        }
        let back = frame.body.is_answer();
        let name = if back { (lane, to, node) } else { (lane, node, to) };
        let now = self.now();
        let Some(cluster) = &mut self.cluster else { return };
        let line = cluster.lines.entry(name).or_default();
        let way = &mut line.ways[usize::from(back)];
        way.stuck.push_back(frame);
        if way.stuck.len() == 1 {
            way.since = now;
            let number = line.number;
            self.push_line(name, back, number);
        }
    }

    /// Sends what is held up, as far as the link lets it through.
    pub fn push_line(&mut self, name: Name, back: bool, number: u64) {
        let now = self.now();
        let (lane, client, server) = name;
        let (from, to) = if back { (server, client) } else { (client, server) };
        let Some(cluster) = &mut self.cluster else { return };
        let slow = cluster.setting.snapshot;
        let Some(line) = cluster.lines.get_mut(&name).filter(|line| line.number == number) else { return };
        let way = &mut line.ways[usize::from(back)];
        if way.stuck.is_empty() {
            return;
        }
        if self.net.is_cut(from, to) {
            if now >= way.since + KEPT_ALIVE {
                return self.break_line(name);
            }
            return self.queue.at(now + AGAIN, Event::Stuck(name, back, number));
        }
        for frame in std::mem::take(&mut way.stuck) {
            let travels = if matches!(frame.body, Body::Rows(..)) { self.rng.below(slow) } else { 0 };
            if let Some(at) = self.net.stream(now, way.last, from, to) {
                way.last = at + travels;
                self.queue.at(way.last, Event::Frame(lane, number, Box::new(frame)));
            }
        }
    }

    /// A frame arrives at its node.
    pub fn frame_arrives(&mut self, lane: Lane, number: u64, frame: Frame) {
        let (from, to) = (node_of(frame.from), node_of(frame.to));
        let name = if frame.body.is_answer() { (lane, to, from) } else { (lane, from, to) };
        let Some(cluster) = &self.cluster else { return };
        if lane != Lane::Control && cluster.lines.get(&name).is_none_or(|line| line.number != number) {
            return;
        }
        if self.nodes[to].up {
            return self.deliver(to, lane, frame);
        }
        // Nobody listens there, which the machine tells at once.
        match lane {
            Lane::Control if !frame.body.is_answer() => {
                let refusal = frame.answer(Body::Refusal("refused".into()));
                self.send(to, from, || Event::Frame(lane, 0, Box::new(refusal.clone())));
            }
            Lane::Control => {}
            Lane::Log | Lane::Bulk => self.break_line(name),
        }
    }

    /// A connection is over; the next frame opens another.
    pub fn break_line(&mut self, name: Name) {
        let (lane, client, server) = name;
        let Some(cluster) = &mut self.cluster else { return };
        let number = cluster.lines.get(&name).map_or(0, |line| line.number);
        cluster.lines.insert(name, Line { number: number + 1, ways: Default::default() });
        self.coverage.lines_broken += 1;
        cluster.seats[client].port.broken(server, lane);
        if lane == Lane::Log {
            cluster.seats[server].sessions.retain(|(from, _), _| node_of(*from) != client);
        }
    }

    /// A process died: every connection it had is over.
    pub fn break_lines_of(&mut self, node: usize) {
        let Some(cluster) = &self.cluster else { return };
        let names: Vec<Name> =
            cluster.lines.keys().filter(|(_, client, server)| *client == node || *server == node).copied().collect();
        for name in names {
            self.break_line(name);
        }
    }
}
