//! The executor runtime of Bosingak: it asks partition leaders for fired triggers, runs a handler for each, and reports
//! what became of it until the report is known to be durable.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use executor::{Delivery, Executor, Outcome};
//!
//! let client = client::Client::connect("http://127.0.0.1:7300").await?;
//! Executor::builder(client)
//!     .handler("orders", |delivery: Delivery| async move {
//!         println!("{} is due", delivery.id());
//!         Outcome::Success
//!     })
//!     .build()?
//!     .run(async { tokio::signal::ctrl_c().await.unwrap_or(()) })
//!     .await;
//! # Ok(())
//! # }
//! ```
//!
//! Delivery is at least once: a handler may see a (id, generation) again after a lease that ran out or a leader that
//! was lost, and hands [`Delivery::idempotency_key`] or [`Delivery::fencing_token`] to whatever must not happen twice.
//!
//! Every decision (credit, leases, what is held, what must be reported again, where to connect) is made by
//! [`engine::Engine`], a calculation without clock and I/O; the rest carries it out.

mod builder;
pub mod business;
mod delivery;
pub mod engine;
mod handler;
pub mod handlers;
pub mod options;
mod outbound;
mod outcome;
pub mod providers;
mod runtime;

pub use builder::{Builder, Error};
pub use delivery::Delivery;
pub use engine::Settled;
pub use handler::Handler;
pub use outcome::Outcome;
pub use runtime::{Executor, Summary};
