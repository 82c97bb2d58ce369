//! Streams between executors and nodes: in order, or broken.

use proto::v1;

use crate::events::{MS, Micros};
use crate::world::{Event, Stream, World};

/// Who sent into a link that is cut finds out within this.
const NOTICED_WITHIN: Micros = 4_000 * MS;

impl World {
    /// An executor opens a stream; returns its number.
    pub fn open_stream(&mut self, worker: usize, id: u64, node: usize) -> u64 {
        self.streams_made += 1;
        let stream = Stream {
            worker,
            worker_boot: self.workers[worker].boot,
            id,
            node,
            node_boot: self.nodes[node].boot,
            up_at: 0,
            down_at: 0,
            broken: false,
        };
        self.streams.insert(self.streams_made, stream);
        self.streams_made
    }

    /// Sends to the node.
    pub fn send_up(&mut self, number: u64, request: v1::WorkRequest) {
        let now = self.now();
        let Some(stream) = self.streams.get(&number) else { return };
        let (from, to) = (self.worker_address(stream.worker), stream.node);
        let alive = self.nodes[to].up && self.nodes[to].boot == stream.node_boot && !stream.broken;
        match alive.then(|| self.net.stream(now, stream.up_at, from, to)).flatten() {
            Some(at) => {
                if let Some(stream) = self.streams.get_mut(&number) {
                    stream.up_at = at;
                }
                self.queue.at(at, Event::Up(number, request));
            }
            None => self.break_stream(number),
        }
    }

    /// Sends to the executor.
    pub fn send_down(&mut self, number: u64, message: v1::work_response::Message) {
        let now = self.now();
        let Some(stream) = self.streams.get(&number) else { return };
        let (from, to) = (stream.node, self.worker_address(stream.worker));
        if !self.nodes[from].up || self.nodes[from].boot != stream.node_boot {
            return;
        }
        let sent = if stream.broken { None } else { self.net.stream(now, stream.down_at, from, to) };
        match sent {
            Some(at) => {
                if let Some(stream) = self.streams.get_mut(&number) {
                    stream.down_at = at;
                }
                self.queue.at(at, Event::Down(number, v1::WorkResponse { message: Some(message) }));
            }
            None => self.break_stream(number),
        }
    }

    /// Nothing sent from here on arrives; both ends find out, each in its own time.
    pub fn break_stream(&mut self, number: u64) {
        let now = self.now();
        let Some(stream) = self.streams.get_mut(&number) else { return };
        if std::mem::replace(&mut stream.broken, true) {
            return;
        }
        let (up_at, down_at) = (stream.up_at, stream.down_at);
        self.coverage.streams_broken += 1;
        let at = (now + 1 + self.rng.below(NOTICED_WITHIN)).max(up_at);
        self.queue.at(at, Event::HungUp(number));
        let at = (now + 1 + self.rng.below(NOTICED_WITHIN)).max(down_at);
        self.queue.at(at, Event::Broken(number));
    }

    /// The executor hangs up.
    pub fn hang_up(&mut self, number: u64) {
        let now = self.now();
        let Some(stream) = self.streams.get_mut(&number) else { return };
        stream.broken = true;
        let (up_at, from, to) = (stream.up_at, stream.worker, stream.node);
        let from = self.worker_address(from);
        let at = self.net.stream(now, up_at, from, to);
        let at = at.unwrap_or_else(|| now + self.rng.below(NOTICED_WITHIN));
        self.queue.at(at, Event::HungUp(number));
    }

    /// A node died: the other ends of its streams find out.
    pub fn cut_streams_of_node(&mut self, node: usize) {
        let boot = self.nodes[node].boot;
        let of_node = self.streams.iter().filter(|(_, stream)| stream.node == node && stream.node_boot < boot);
        for number in of_node.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.break_stream(number);
        }
    }

    /// An executor died: the nodes it talked to find out.
    pub fn cut_streams_of_worker(&mut self, worker: usize) {
        let of_worker = self.streams.iter().filter(|(_, stream)| stream.worker == worker);
        for number in of_worker.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.break_stream(number);
        }
    }
}
