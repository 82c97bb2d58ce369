//! A gift business on one machine: nodes and gift executors as processes of their own, and stand-ins for the payment and message
//! providers on loopback. For end-to-end tests, load runs and the demo.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use gifts::{Options, World};
//!
//! let world = World::start(Options::default()).await?;
//! world.put_on_sale("coffee", "별다방", "아메리카노", 4_500).await?;
//! let payment = world.pay("gift-1", 4_500)?;
//! // … reserve it with world.reserve(…), or anything else with world.client() …
//! world.clock().advance_by(jiff::SignedDuration::from_hours(24)).await?;
//! println!("{}", world.gift("gift-1").await?.state().as_str_name());
//! world.end().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Whatever was started here ends with the [`World`], also when it is dropped or its process is killed.

mod business;
mod clock;
mod nodes;
mod settings;
mod texts;
mod world;

pub use business::{Books, links};
pub use clock::ClusterClock;
pub use settings::Providers;
pub use world::{Options, Time, World};
