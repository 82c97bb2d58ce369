//! The state machine: by scripts, by named cases, and against a model.

mod harness;
mod model;
mod named;
mod random;
mod script;
mod stock;
