//! How a client is set up.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};

use crate::call::Client;
use crate::connection::ApiKey;
use crate::error::Error;
use crate::gathered::Gathered;
use crate::retry::{Backoff, Policy};

/// Makes the connection of an endpoint; the default dials TCP when first used.
pub(crate) type Dial = Arc<dyn Fn(Endpoint) -> Channel + Send + Sync>;
/// Makes request ids.
pub(crate) type Ids = Arc<dyn Fn() -> String + Send + Sync>;

/// Settings of a [`Client`], each with its default.
#[derive(Clone)]
pub struct Builder {
    pub(crate) endpoints: Vec<String>,
    pub(crate) namespace: String,
    pub(crate) policy: Policy,
    pub(crate) connect_timeout: Duration,
    pub(crate) routing: bool,
    pub(crate) api_key: ApiKey,
    given_key: Option<String>,
    pub(crate) dial: Dial,
    pub(crate) ids: Ids,
}

impl Default for Builder {
    fn default() -> Self {
        Builder {
            endpoints: Vec::new(),
            namespace: String::new(),
            policy: Policy::default(),
            connect_timeout: Duration::from_secs(1),
            routing: true,
            api_key: ApiKey::default(),
            given_key: None,
            dial: Arc::new(|endpoint| endpoint.connect_with_connector_lazy(tower::service_fn(dial))),
            ids: Arc::new(crate::ids::new_id),
        }
    }
}

/// Connects to where a URI points; the time limit is the endpoint's.
async fn dial(uri: Uri) -> io::Result<TokioIo<Gathered>> {
    let host = uri.host().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "an address without a host"))?;
    // A URI has brackets around an IPv6 address, a resolver has not.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(80))).await?;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(Gathered::new(stream)))
}

impl Builder {
    /// Nodes to begin with: `http://host:port`, or `host:port`; several in one string are separated by commas. One
    /// living node is enough, all of them are better.
    pub fn endpoints<T: AsRef<str>>(mut self, endpoints: impl IntoIterator<Item = T>) -> Self {
        for text in endpoints {
            let parts = text.as_ref().split(',').map(str::trim).filter(|part| !part.is_empty());
            self.endpoints.extend(parts.map(normal));
        }
        self
    }

    /// Namespace of calls that name none. Default: the server's default, `default`.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// How long a call may take over all its tries. Default 10 s. A single try is cut to it.
    pub fn timeout(mut self, total: Duration) -> Self {
        self.policy.total = total;
        self
    }

    /// How long one try may take before another node is asked. Default 3 s.
    pub fn attempt_timeout(mut self, attempt: Duration) -> Self {
        self.policy.attempt = attempt;
        self
    }

    /// How many tries a call may make; 1 means no retry. Default 32.
    pub fn attempts_max(mut self, attempts: u32) -> Self {
        self.policy.attempts_max = attempts.max(1);
        self
    }

    /// Waits between tries. Default 50 ms doubling up to 1 s, half of it jitter.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.policy.backoff = backoff;
        self
    }

    /// How long making a connection may take. Default 1 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Whether calls go straight to the leader of their id. Default true; false sends all to one node, which forwards.
    pub fn routing(mut self, routing: bool) -> Self {
        self.routing = routing;
        self
    }

    /// The API key that is shown with every call, `ID.SECRET`. Default: none.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.given_key = Some(key.into());
        self
    }

    /// How a configured endpoint becomes a channel. Default: dial TCP at first use. For tests and simulations, which
    /// connect through memory.
    pub fn dial(mut self, dial: impl Fn(Endpoint) -> Channel + Send + Sync + 'static) -> Self {
        self.dial = Arc::new(dial);
        self
    }

    /// What makes request ids and the ids of triggers that have none. Default: UUIDv7 of the system's clock. A program
    /// that runs on a virtual clock gives one that reads that.
    pub fn ids(mut self, ids: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.ids = Arc::new(ids);
        self
    }

    /// A client that connects when it is first used. Fails only on endpoints that cannot be right.
    pub fn connect_lazy(mut self) -> Result<Client, Error> {
        if let Some(given) = self.given_key.take() {
            self.api_key = ApiKey::new(&given)?;
        }
        if self.endpoints.is_empty() {
            return Err(Error::invalid("endpoints", "at least one is needed, as in http://127.0.0.1:7300"));
        }
        if self.policy.total.is_zero() || self.policy.attempt.is_zero() {
            return Err(Error::invalid("timeout", "must be longer than nothing"));
        }
        for endpoint in &self.endpoints {
            checked(endpoint)?;
        }
        Ok(Client::new(self))
    }

    /// A client that has asked a node who leads what. Fails when no node answered in time.
    pub async fn connect(self) -> Result<Client, Error> {
        let client = self.connect_lazy()?;
        client.leaders().await?;
        Ok(client)
    }
}

/// With the scheme that goes without saying: one endpoint has one name.
pub(crate) fn normal(text: &str) -> String {
    let text = text.trim_end_matches('/');
    if text.contains("://") { text.to_owned() } else { format!("http://{text}") }
}

/// Refuses what cannot be dialled. Hints of servers come through here too.
pub(crate) fn checked(endpoint: &str) -> Result<Endpoint, Error> {
    let invalid = |message: &str| Error::invalid("endpoint", format!("{endpoint:?} {message}"));
    let dialled = Endpoint::from_shared(normal(endpoint)).map_err(|_| invalid("is no address"))?;
    let uri = dialled.uri();
    match (uri.scheme_str(), uri.port_u16()) {
        (Some("http"), Some(_)) => Ok(dialled),
        (Some("http"), None) => Err(invalid("has no port; the server's default is 7300")),
        _ => Err(invalid("is not http://host:port")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_addresses_is_split_and_completed() {
        let builder = Builder::default().endpoints(["a:1, http://b:2/", "c:3"]);
        assert_eq!(builder.endpoints, ["http://a:1", "http://b:2", "http://c:3"]);
    }

    #[tokio::test]
    async fn what_cannot_be_an_address_is_refused() {
        for (endpoints, said) in [
            (vec![], "at least one"),
            (vec!["host"], "no port"),
            (vec!["ftp://host:1"], "not http://"),
            (vec!["http://[:1"], "no address"),
        ] {
            let refused = Builder::default().endpoints(endpoints.iter()).connect_lazy();
            let error = refused.err().expect("refused").to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
