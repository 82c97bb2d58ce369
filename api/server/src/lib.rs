//! The service: gRPC and HTTP/JSON in front, the composed state machine behind, and the clock.

pub mod admin;
pub mod backlog;
pub mod business;
pub mod canary;
pub mod clock;
pub mod config;
pub mod convert;
pub mod dev;
pub mod disk;
pub mod dispatch;
pub mod error;
pub mod feed;
pub mod forward;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod gift;
pub mod grpc;
pub mod http;
pub mod internal;
pub mod late;
pub mod lateness;
pub mod leader_clock;
pub mod levels;
pub mod local_time;
pub mod logs;
pub mod machine;
pub mod metrics;
pub mod node;
pub mod pages;
pub mod partition;
pub mod payment;
pub mod peers;
pub mod product;
pub mod proposer;
pub mod records;
pub mod recount;
pub mod routing;
pub mod rows;
pub mod scrape;
pub mod services;
pub mod status;
mod text;
pub mod time_rules;
pub mod validate;
pub mod vault;
pub mod verify;
