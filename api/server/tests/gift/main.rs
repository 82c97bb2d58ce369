//! Gifts over the server's own gRPC port, with executors that the tests play: from the reservation to the shop, and back.

mod notifications;
mod over_http;
mod refusals;
mod shops;
mod story;
#[path = "../grpc/support.rs"]
#[expect(dead_code, reason = "shared with the tests of the scheduler, which use more of it")]
mod support;
mod world;
