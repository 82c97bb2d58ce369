//! HTTP/JSON over the client port of a server in the test's process. Every answer is checked against the OpenAPI document.

mod calls;
mod document;
mod page;
mod port;
mod refusals;
#[path = "../grpc/support.rs"]
#[expect(dead_code, reason = "what only the tests over gRPC need")]
mod server_support;
mod support;
mod three_nodes;
mod watch;
