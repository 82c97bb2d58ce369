//! Gifts under load: providers and executors in processes of their own, and what is known of every gift.

mod calibrate;
mod clock;
mod executors;
mod lines;
mod oracle;
pub mod provider_worker;
mod providers;
mod read;
mod reserve;
mod wish;
mod world;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use calibrate::confirms_per_s;
pub use oracle::Gifts;
pub use read::{accept_some, books, ledger, settle};
pub use reserve::{Patience, reserve};
pub use world::{Spent, World};

/// What is known of the gifts of a run, shared by callers and readers.
pub type SharedGifts = Arc<Mutex<Gifts>>;

/// Locks it.
pub fn lock(gifts: &SharedGifts) -> MutexGuard<'_, Gifts> {
    gifts.lock().unwrap_or_else(PoisonError::into_inner)
}
