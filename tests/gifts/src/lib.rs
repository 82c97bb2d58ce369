//! A gift business on one machine: nodes and gift executors as processes of their own, and stand-ins for the payment and message
//! providers on loopback. For end-to-end tests, load runs and the demo.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use gifts::{Options, World};
//!
//! let world = World::start(Options::default()).await?;
//! let payment_key = world.fakes().toss().pay("gift-1", 4_500)?;
//! // … reserve with world.client() …
//! world.clock().advance_to(world.clock().now().await? + jiff::SignedDuration::from_hours(24)).await?;
//! world.end().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Whatever was started here ends with the [`World`], also when it is dropped or its process is killed.

mod clock;
mod nodes;
mod settings;
mod texts;
mod world;

pub use clock::ClusterClock;
pub use settings::Providers;
pub use world::{Options, Time, World};
