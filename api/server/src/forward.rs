//! Passing a call on to the node that leads the partition: once, and only once.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tonic::metadata::MetadataMap;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::error::Error;
use crate::keys::{Credential, Keys};

/// Metadata that says a call was passed on already; its receiver answers itself.
const MARKER: &str = "bosingak-forwarded";

/// Connections to the client ports of other nodes, opened when needed.
#[derive(Debug)]
pub struct Forwarder {
    channels: Mutex<HashMap<String, Channel>>,
    keys: Keys,
}

/// A connection on which calls show that a node passes them on.
pub(crate) type Passage = InterceptedService<Channel, Credential>;

impl Forwarder {
    /// None is open yet.
    pub fn new(keys: Keys) -> Forwarder {
        Forwarder { channels: Mutex::default(), keys }
    }

    /// The connection to a node.
    ///
    /// # Errors
    ///
    /// The address is none.
    pub(crate) fn channel(&self, endpoint: &str) -> Result<Passage, Error> {
        Ok(InterceptedService::new(self.open(endpoint)?, Credential(self.keys.clone())))
    }

    fn open(&self, endpoint: &str) -> Result<Channel, Error> {
        let mut channels = self.channels.lock().expect("never held over a panic");
        if let Some(channel) = channels.get(endpoint) {
            return Ok(channel.clone());
        }
        let channel = Endpoint::from_shared(format!("http://{endpoint}"))
            .map_err(|error| Error::Internal(format!("address of a node {endpoint:?}: {error}")))?
            .connect_timeout(Duration::from_secs(1))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5))
            .connect_lazy();
        channels.insert(endpoint.to_string(), channel.clone());
        Ok(channel)
    }
}

/// Whether the call was passed on to this node.
pub fn is_forwarded(metadata: &MetadataMap) -> bool {
    metadata.contains_key(MARKER)
}

/// A request that is passed on, with what is left of its time.
pub fn forwarded<T>(message: T, left: Duration) -> Request<T> {
    crate::metrics::forwarded();
    let mut request = Request::new(message);
    request.metadata_mut().insert(MARKER, tonic::metadata::MetadataValue::from_static("1"));
    request.set_timeout(left);
    request
}

/// Another node's refusal, as an error of ours. A broken connection means that the node is gone or was never reached:
/// the outcome is unknown, and the caller repeats with the same ids.
pub fn failed(status: Status) -> Error {
    if crate::status::reason_of(&status).is_some() {
        return Error::Passed(Box::new(status));
    }
    match status.code() {
        tonic::Code::Unavailable | tonic::Code::Cancelled | tonic::Code::DeadlineExceeded | tonic::Code::Unknown => {
            Error::OutcomeUnknown { reason: format!("the leader's node did not answer: {}", status.message()) }
        }
        _ => Error::Passed(Box::new(status)),
    }
}

/// How long a call may take: the caller's grpc-timeout, at most `cap`.
pub fn time_left(metadata: &MetadataMap, cap: Duration) -> Duration {
    let given = metadata.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(parse_timeout);
    given.map_or(cap, |given| given.min(cap))
}

/// `5S`, `100m`, `20u`: up to eight digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_time_counts() {
        let mut metadata = MetadataMap::new();
        let cap = Duration::from_secs(10);
        assert_eq!(time_left(&metadata, cap), cap);
        for (text, expected) in
            [("100m", 100), ("2S", 2_000), ("1H", 10_000), ("x", 10_000), ("5é", 10_000), ("", 10_000)]
        {
            let value = tonic::metadata::MetadataValue::try_from(text.as_bytes()).expect("bytes");
            metadata.insert("grpc-timeout", value);
            assert_eq!(time_left(&metadata, cap), Duration::from_millis(expected), "{text}");
        }
    }

    #[test]
    fn what_was_passed_on_says_so() {
        let request = forwarded((), Duration::from_secs(1));
        assert!(is_forwarded(request.metadata()));
        assert!(!is_forwarded(&MetadataMap::new()));
    }
}
