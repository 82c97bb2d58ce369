//! The Rust client of Bosingak.
//!
//! ```no_run
//! # async fn example() -> Result<(), client::Error> {
//! let client = client::Client::connect("http://127.0.0.1:7300").await?;
//! let scheduled = client
//!     .schedule("orders", "order-42-expiry")
//!     .after(std::time::Duration::from_secs(300))
//!     .payload("order-42")
//!     .send()
//!     .await?;
//! println!("due {:?}, generation {}", scheduled.due, scheduled.generation);
//! # Ok(())
//! # }
//! ```
//!
//! What it takes off its user: finding the leader of a partition, repeating a call whose outcome is unknown (with the
//! same ids, so that the answer is the one the first would have got), waiting as long as an overloaded server asks, and
//! putting many concurrent [`schedule`](StreamScheduler::schedule) calls on a few streams.
//!
//! Decisions are pure modules (events in, decisions out; no clock, no I/O, no dice): [`retry`], [`leaders`],
//! [`route`], [`window`].

mod batch;
mod builder;
mod call;
mod cluster;
mod connection;
mod dead_letters;
mod error;
pub mod gathered;
mod gift_delivery;
mod gifts;
mod ids;
pub mod leaders;
mod pages;
mod payments;
mod products;
pub mod retry;
pub mod route;
mod schedule;
mod stream;
mod topics;
mod triggers;
mod watch;
pub mod window;
mod work;

pub use builder::Builder;
pub use call::Client;
pub use error::{Error, FieldViolation, Reason, Refusal, Repeat};
pub use gifts::GiftWatch;
pub use ids::new_id;
pub use proto;
pub use schedule::Schedule;
pub use stream::{StreamOptions, StreamScheduler};
pub use watch::Watch;
pub use work::WorkStream;
