//! HTTP/JSON over the client port of a server in the test's process. Every answer is checked against the OpenAPI document.

mod browser;
mod calls;
mod document;
mod gifts;
mod page;
mod pages;
mod payments;
mod port;
mod products;
mod refusals;
#[path = "../grpc/support.rs"]
#[expect(dead_code, reason = "what only the tests over gRPC need")]
mod server_support;
mod support;
mod three_nodes;
#[path = "../../../pages/tests/tools/mod.rs"]
mod tools;
mod watch;
#[path = "../gift/world.rs"]
#[expect(dead_code, reason = "what only the tests over gRPC need")]
mod world;
