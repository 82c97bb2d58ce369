//! What every command has at hand.

use std::time::Duration;

use client::Client;
use client::retry::Policy;

use crate::api_key;
use crate::args::Global;
use crate::failure::Failure;
use crate::output::Output;

/// How long a call may take when nothing is said: the default of `--timeout`.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a call may take that waits for what it set going, when nothing is said.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// The connection, and where results go.
pub struct Context {
    pub client: Client,
    /// As they were given.
    pub addresses: String,
    pub namespace: String,
    pub out: Output,
}

impl Context {
    pub fn new(global: &Global, out: Output) -> Result<Self, Failure> {
        // A name that is off by a comma should not take ten seconds to be told.
        let attempt = (global.timeout / 3).max(Duration::from_millis(200));
        let builder = match &global.api_key_file {
            Some(path) => Client::builder().api_key(api_key::read(path)?),
            None => Client::builder(),
        };
        let client = builder
            .endpoints([&global.address])
            .namespace(&global.namespace)
            .timeout(global.timeout)
            .attempt_timeout(attempt.min(global.timeout))
            .connect_lazy()
            .map_err(|error| Failure::from(error).or_hint("--address http://127.0.0.1:7300"))?;
        Ok(Context { client, addresses: global.address.clone(), namespace: global.namespace.clone(), out })
    }

    /// A client for calls that take as long as what they set going: to move a virtual clock, to bring a node up to date. One
    /// attempt has all the time there is, and the default time-out, which is for calls that answer at once, is not meant.
    pub fn patient(&self) -> Client {
        let policy = self.client.policy();
        let total = if policy.total == TIMEOUT { PATIENCE } else { policy.total };
        self.client.with_policy(Policy { total, attempt: total, ..policy })
    }
}
