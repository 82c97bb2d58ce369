//! Counts the bytes that a thread allocates.

#![expect(unsafe_code, reason = "a global allocator is an unsafe trait; all of it is passed on")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Not lazy and with nothing to drop, so that the allocator may use it at any time.
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counted: `#[global_allocator] static COUNTED: Counted = Counted;`.
#[derive(Clone, Copy, Debug)]
pub struct Counted;

fn count(bytes: usize) {
    BYTES.with(|counted| counted.set(counted.get().saturating_add(bytes)));
}

// SAFETY: every call goes to the system's allocator as it came; counting neither allocates nor touches the memory.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, bytes) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What `work` returns, and how many bytes this thread allocated meanwhile, whether it gave them back or not.
pub fn during<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = BYTES.get();
    let result = work();
    (result, BYTES.get().saturating_sub(before))
}

/// Whether [`Counted`] is the allocator of this program.
pub fn are_counted() -> bool {
    during(|| drop(std::hint::black_box(Box::new(1u64)))).1 > 0
}
