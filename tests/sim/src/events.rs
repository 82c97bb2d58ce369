//! Virtual time, and what is to happen when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Microseconds since the run began: the time of the world, which no node can read.
pub type Micros = u64;

/// A millisecond.
pub const MS: Micros = 1_000;
/// A second.
pub const SECOND: Micros = 1_000_000;

/// Events in order of time; those of one microsecond in the order in which they were put in.
#[derive(Debug)]
pub struct Queue<E> {
    now: Micros,
    sequence: u64,
    order: BinaryHeap<Reverse<(Micros, u64, usize)>>,
    /// The events themselves stay where they are while the heap is sorted.
    slots: Vec<Option<E>>,
    free: Vec<usize>,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Queue { now: 0, sequence: 0, order: BinaryHeap::new(), slots: Vec::new(), free: Vec::new() }
    }
}

impl<E> Queue<E> {
    /// The present.
    pub fn now(&self) -> Micros {
        self.now
    }

    /// Lets `event` happen at `at`, or now if that has passed.
    pub fn at(&mut self, at: Micros, event: E) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = Some(event);
                slot
            }
            None => {
                self.slots.push(Some(event));
                self.slots.len() - 1
            }
        };
        self.sequence += 1;
        self.order.push(Reverse((at.max(self.now), self.sequence, slot)));
    }

    /// Moves to the next event that is to happen by `end` and takes it.
    pub fn next(&mut self, end: Micros) -> Option<E> {
        let &Reverse((at, _, slot)) = self.order.peek()?;
        if at > end {
            return None;
        }
        self.order.pop();
        self.now = at;
        self.free.push(slot);
        self.slots[slot].take()
    }

    /// Moves to a moment at which nothing happens.
    pub fn advance(&mut self, to: Micros) {
        self.now = self.now.max(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red when the heap alone decides between events of one moment.
    #[test]
    fn events_of_one_moment_keep_their_order() {
        let mut queue = Queue::default();
        for number in 0..100 {
            queue.at(5 + u64::from(number % 3 == 0), number);
        }
        queue.at(1, 1_000);
        let order: Vec<u32> = std::iter::from_fn(|| queue.next(10)).collect();
        assert_eq!(order[0], 1_000);
        assert!(order[1..67].is_sorted() && order[67..].is_sorted());
        assert_eq!(queue.now(), 6);
    }

    #[test]
    fn nothing_happens_behind_the_end_or_before_now() {
        let mut queue = Queue::default();
        queue.at(7, 'a');
        assert_eq!(queue.next(6), None);
        assert_eq!(queue.next(7), Some('a'));
        queue.at(3, 'b');
        assert_eq!((queue.next(7), queue.now()), (Some('b'), 7));
    }
}
