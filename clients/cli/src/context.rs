//! What every command has at hand.

use std::time::Duration;

use client::Client;

use crate::args::Global;
use crate::failure::Failure;
use crate::output::Output;

/// The connection, and where results go.
pub struct Context {
    pub client: Client,
    pub namespace: String,
    pub out: Output,
}

impl Context {
    pub fn new(global: &Global, out: Output) -> Result<Self, Failure> {
        // A name that is off by a comma should not take ten seconds to be told.
        let attempt = (global.timeout / 3).max(Duration::from_millis(200));
        let client = Client::builder()
            .endpoints([&global.address])
            .namespace(&global.namespace)
            .timeout(global.timeout)
            .attempt_timeout(attempt.min(global.timeout))
            .connect_lazy()
            .map_err(|error| Failure::from(error).or_hint("--address http://127.0.0.1:7300"))?;
        Ok(Context { client, namespace: global.namespace.clone(), out })
    }
}
