//! The slots of one level, by number, with occupancy words that make the next non-empty one quick to find.
//!
//! A page is 64 slots and one word. A bounded level is a ring of 64 pages under one more word, so that finding the next
//! slot in use reads two words; the hours, which reach as far as anybody schedules, are a sparse map of the same pages.

use std::collections::BTreeMap;

use super::slot::Slot;
use crate::lane::LaneId;

const PER_PAGE: u64 = 64;
const PAGES_IN_RING: u64 = 64;

/// The slots of one level. Slot `n` of a level of width `w` holds what is due in `n * w .. (n + 1) * w`.
#[derive(Debug)]
pub(super) struct Slots(Pages);

#[derive(Debug)]
enum Pages {
    Ring(Ring),
    /// Holds no empty page.
    Sparse(BTreeMap<u64, Box<Page>>),
}

/// Pages `base .. base + 64`, page `p` at place `p % 64`.
#[derive(Debug)]
struct Ring {
    base: u64,
    /// Bit `p % 64`: page `p` has a slot in use.
    occupied: u64,
    pages: Box<[Page]>,
}

#[derive(Debug)]
struct Page {
    /// Bit `n % 64`: slot `n` is in use.
    occupied: u64,
    slots: [Slot; PER_PAGE as usize],
}

impl Slots {
    /// A level whose slots in use always lie within 63 × 64 of the lowest one it was last told of by [`Self::pass`].
    pub(super) fn ring() -> Self {
        let pages = (0..PAGES_IN_RING).map(|_| Page::default()).collect();
        Slots(Pages::Ring(Ring { base: 0, occupied: 0, pages }))
    }

    /// A level without bounds.
    pub(super) fn sparse() -> Self {
        Slots(Pages::Sparse(BTreeMap::new()))
    }

    /// The slot of this number if it is in use.
    pub(super) fn get(&self, slot: u64) -> Option<&Slot> {
        let page = self.page(slot / PER_PAGE)?;
        let place = slot % PER_PAGE;
        (page.occupied >> place & 1 == 1).then(|| &page.slots[place as usize])
    }

    /// Adds to the count of a lane in a slot.
    ///
    /// # Panics
    ///
    /// If a ring does not reach the slot.
    pub(super) fn add(&mut self, slot: u64, lane: LaneId, delta: i64) {
        let (number, place) = (slot / PER_PAGE, slot % PER_PAGE);
        let page = match &mut self.0 {
            Pages::Ring(ring) => {
                assert!(
                    ring.reaches(number),
                    "slot {slot} is outside the ring of {PAGES_IN_RING} pages from slot {}",
                    ring.base * PER_PAGE
                );
                &mut ring.pages[(number % PAGES_IN_RING) as usize]
            }
            Pages::Sparse(pages) => pages.entry(number).or_default(),
        };
        page.slots[place as usize].add(lane, delta);
        if page.slots[place as usize].is_empty() {
            page.occupied &= !(1 << place);
        } else {
            page.occupied |= 1 << place;
        }
        let in_use = page.occupied != 0;
        self.mark(number, in_use);
    }

    /// Empties a slot and returns what was in it.
    pub(super) fn take(&mut self, slot: u64) -> Slot {
        let (number, place) = (slot / PER_PAGE, slot % PER_PAGE);
        let Some(page) = self.page_mut(number) else { return Slot::default() };
        page.occupied &= !(1 << place);
        let in_use = page.occupied != 0;
        let taken = std::mem::take(&mut page.slots[place as usize]);
        self.mark(number, in_use);
        taken
    }

    /// The first slot in use with this number or a higher one.
    pub(super) fn next(&self, from: u64) -> Option<(u64, &Slot)> {
        let mut from = from;
        loop {
            let number = self.next_page(from / PER_PAGE)?;
            from = from.max(number * PER_PAGE);
            let page = self.page(number)?;
            let ahead = page.occupied >> (from % PER_PAGE);
            if ahead != 0 {
                let slot = from + u64::from(ahead.trailing_zeros());
                return Some((slot, &page.slots[(slot % PER_PAGE) as usize]));
            }
            from = (number + 1) * PER_PAGE;
        }
    }

    /// Empties every slot below `low`, showing each that was in use; nothing will be asked below `low` again.
    pub(super) fn pass(&mut self, low: u64, mut passed: impl FnMut(&Slot)) {
        while let Some((slot, _)) = self.next(0)
            && slot < low
        {
            passed(&self.take(slot));
        }
        if let Pages::Ring(ring) = &mut self.0 {
            ring.base = low / PER_PAGE;
        }
    }

    fn page(&self, number: u64) -> Option<&Page> {
        match &self.0 {
            Pages::Ring(ring) => ring.reaches(number).then(|| &ring.pages[(number % PAGES_IN_RING) as usize]),
            Pages::Sparse(pages) => pages.get(&number).map(|page| &**page),
        }
    }

    fn page_mut(&mut self, number: u64) -> Option<&mut Page> {
        match &mut self.0 {
            Pages::Ring(ring) => ring.reaches(number).then(|| &mut ring.pages[(number % PAGES_IN_RING) as usize]),
            Pages::Sparse(pages) => pages.get_mut(&number).map(|page| &mut **page),
        }
    }

    /// The first page in use with this number or a higher one.
    fn next_page(&self, from: u64) -> Option<u64> {
        match &self.0 {
            Pages::Ring(ring) => {
                let from = from.max(ring.base);
                let ahead = if ring.reaches(from) {
                    // Rotated, the bit of the base page is the lowest.
                    ring.occupied.rotate_right((ring.base % PAGES_IN_RING) as u32) >> (from - ring.base)
                } else {
                    0
                };
                (ahead != 0).then(|| from + u64::from(ahead.trailing_zeros()))
            }
            Pages::Sparse(pages) => pages.range(from..).next().map(|(number, _)| *number),
        }
    }

    fn mark(&mut self, number: u64, in_use: bool) {
        match &mut self.0 {
            Pages::Ring(ring) if in_use => ring.occupied |= 1 << (number % PAGES_IN_RING),
            Pages::Ring(ring) => ring.occupied &= !(1 << (number % PAGES_IN_RING)),
            Pages::Sparse(_) if in_use => {}
            Pages::Sparse(pages) => {
                pages.remove(&number);
            }
        }
    }
}

impl Ring {
    fn reaches(&self, page: u64) -> bool {
        page >= self.base && page - self.base < PAGES_IN_RING
    }
}

impl Default for Page {
    fn default() -> Self {
        Page { occupied: 0, slots: std::array::from_fn(|_| Slot::default()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::{Class, TopicId};

    fn in_use(slots: &Slots) -> Vec<u64> {
        std::iter::successors(slots.next(0), |(n, _)| slots.next(n + 1)).map(|(n, _)| n).collect()
    }

    /// The same steps for both kinds of level: slots are found in order across pages and across the seam of the ring.
    #[test]
    fn slots_in_use_are_found_in_order() {
        let lane = LaneId::new(TopicId(1), Class::High);
        for mut slots in [Slots::ring(), Slots::sparse()] {
            slots.pass(4_000, |_| panic!("nothing was in use"));
            let numbers = [4_000, 4_031, 4_032, 4_095, 4_096, 4_100, 7_000];
            for n in numbers {
                slots.add(n, lane, 1);
            }
            assert_eq!(in_use(&slots), numbers);
            assert_eq!(slots.next(4_033).map(|(n, _)| n), Some(4_095));
            slots.add(4_095, lane, -1);
            assert_eq!(slots.next(4_033).map(|(n, _)| n), Some(4_096));
            assert!(slots.get(4_095).is_none() && slots.get(4_096).is_some());
            assert!(!slots.take(4_100).is_empty());
            let mut passed = 0;
            slots.pass(4_096, |_| passed += 1);
            assert_eq!((passed, in_use(&slots)), (3, vec![4_096, 7_000]));
        }
    }

    #[test]
    #[should_panic(expected = "slot 4096 is outside the ring of 64 pages from slot 0")]
    fn a_slot_beyond_the_ring_is_a_bug() {
        Slots::ring().add(4_096, LaneId::new(TopicId(1), Class::High), 1);
    }
}
