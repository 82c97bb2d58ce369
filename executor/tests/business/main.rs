//! The executors of the gift business against providers that are right, slow, wrong or gone, over real sockets, and a cluster that
//! keeps of a gift what theirs does.

mod carrier;
mod cluster;
mod crashes;
mod finds;
mod gifts;
mod news;
mod payments;
mod runtime;
mod world;
