//! Dashboards, rules and runbooks: that they fit each other, and that they fit what a real cluster exports, as a real
//! Prometheus sees it.

mod dashboards;
mod faults;
mod healthy;
mod layout;
mod prometheus;
mod rules;
mod runbooks;
mod selectors;
mod tools;
