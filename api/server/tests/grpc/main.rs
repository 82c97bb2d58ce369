//! The server in the test's process, over its own gRPC port: one node, three nodes, the whole surface.

mod canary;
mod keys;
mod late;
mod metrics;
mod single_node;
mod support;
mod surface;
mod three_nodes;
