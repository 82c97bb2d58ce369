//! `bosingak` against a real cluster.
