//! Where a provider is, and how it is called.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use reqwest::{Client, RequestBuilder, Response, Url};

use crate::outbound::{self, Roots, cause_of, retry_after};
use crate::providers::Error;

/// Bytes of an answer that are read; no provider here says more.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Connections that wait for the next call.
const IDLE_CONNECTIONS_MAX: usize = 32;
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
const TIMEOUT_MAX: Duration = Duration::from_secs(120);

/// Where a provider is.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// `https://…`, or `http://…` for a loopback address. What a provider publishes is appended to its path.
    pub base_url: String,
    /// From the first byte of connecting to the last of the answer, of which connecting may take half. 100 ms..=120 s. Default: 10 s.
    pub timeout: Duration,
    /// A PEM file with the only certificates to be trusted. Default: those the system trusts.
    pub ca_file: Option<PathBuf>,
}

impl EndpointConfig {
    /// This URL, and the defaults.
    pub fn new(base_url: impl Into<String>) -> Self {
        EndpointConfig { base_url: base_url.into(), timeout: Duration::from_secs(10), ca_file: None }
    }
}

/// A provider that can be called.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    client: Client,
    base: Url,
    timeout: Duration,
}

/// What a provider answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// Nobody was there to take the request: no name, no connection, no TLS.
    NotReached(String),
    /// The request may have arrived.
    Unknown(String),
}

impl Endpoint {
    pub(crate) fn new(config: &EndpointConfig) -> Result<Self, Error> {
        let base = base_url(&config.base_url)?;
        if !(TIMEOUT_MIN..=TIMEOUT_MAX).contains(&config.timeout) {
            let message = format!("{:?}; {TIMEOUT_MIN:?}..={TIMEOUT_MAX:?} expected", config.timeout);
            return Err(Error::new("timeout", message));
        }
        let roots = match (&config.ca_file, base.scheme()) {
            (Some(path), _) => Roots::File(path.clone()),
            (None, "https") => Roots::System,
            (None, _) => Roots::Nobody,
        };
        let client = outbound::client(roots).map_err(|message| Error::new("ca_file", message))?;
        let client = client
            .connect_timeout(config.timeout / 2)
            .timeout(config.timeout)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build()
            .map_err(|error| Error::new("base_url", cause_of(&error)))?;
        Ok(Endpoint { client, base, timeout: config.timeout })
    }

    pub(crate) fn get(&self, segments: &[&str]) -> RequestBuilder {
        self.client.get(self.url(segments))
    }

    pub(crate) fn post(&self, segments: &[&str]) -> RequestBuilder {
        self.client.post(self.url(segments))
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Answer, NoAnswer> {
        match request.send().await {
            Ok(response) => self.read(response).await,
            // Builder: it could not even be written down.
            Err(error) if error.is_connect() || error.is_builder() => Err(NoAnswer::NotReached(self.text_of(&error))),
            Err(error) => Err(NoAnswer::Unknown(self.text_of(&error))),
        }
    }

    async fn read(&self, mut response: Response) -> Result<Answer, NoAnswer> {
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers(), SystemTime::now());
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(None) => return Ok(Answer { status, retry_after, body }),
                Ok(Some(chunk)) if body.len() + chunk.len() > ANSWER_BYTES_MAX => {
                    return Err(NoAnswer::Unknown(format!("HTTP {status} with more than {ANSWER_BYTES_MAX} bytes")));
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Err(error) => {
                    let what = self.text_of(&error);
                    return Err(NoAnswer::Unknown(format!("HTTP {status}, and the answer broke off: {what}")));
                }
            }
        }
    }

    /// Each segment is escaped: a key with a slash in it names no other path.
    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        // Of URLs that are no base there is none here (`base_url`).
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    fn text_of(&self, error: &reqwest::Error) -> String {
        match (error.is_timeout(), error.is_connect()) {
            (true, true) => format!("no connection within {:?}", self.timeout / 2),
            (true, false) => format!("no answer within {:?}", self.timeout),
            (false, _) => cause_of(error),
        }
    }
}

fn base_url(text: &str) -> Result<Url, Error> {
    let wrong = |what: &str| Error::new("base_url", format!("{text:?}: {what}"));
    let url: Url = text.parse().map_err(|error| wrong(&format!("a URL expected: {error}")))?;
    // First, for the text of an error must not show them.
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::new("base_url", "a URL without user and password expected; secrets are read from files"));
    }
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => return Err(wrong("http:// is for loopback addresses only; https:// expected")),
        _ => return Err(wrong("https:// expected")),
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("a URL without query and fragment expected"));
    }
    Ok(url)
}

/// An address of this machine, or the name every system gives it.
fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_goes_without_encryption() {
        for good in [
            "https://api.tosspayments.com",
            "https://gateway.example/toss/",
            "http://127.0.0.1:7391",
            "http://[::1]:7391",
            "http://localhost:7391",
        ] {
            base_url(good).expect(good);
        }
        for bad in [
            "http://api.tosspayments.com",
            "http://127.0.0.1.example.org",
            "http://localhost.example.org",
            "ftp://127.0.0.1",
            "data:text/plain,x",
            "no url",
            "https://host/?a=b",
            "https://host/#a",
        ] {
            assert_eq!(base_url(bad).expect_err(bad).field, "base_url");
        }
        let error = base_url("https://me:hush@host").expect_err("a password");
        assert!(!error.message.contains("hush"), "{error}");
    }

    #[test]
    fn segments_stay_segments() {
        let endpoint = |base: &str| Endpoint::new(&EndpointConfig::new(base)).expect("an endpoint");
        let url = endpoint("http://127.0.0.1:1/toss/").url(&["v1", "payments", "a/../b?c#d", "cancel"]);
        assert_eq!(url.as_str(), "http://127.0.0.1:1/toss/v1/payments/a%2F..%2Fb%3Fc%23d/cancel");
        assert_eq!(endpoint("http://127.0.0.1:1").url(&["v1"]).as_str(), "http://127.0.0.1:1/v1");
    }

    #[test]
    fn times_out_of_range_are_refused_with_both_numbers() {
        let config = EndpointConfig { timeout: Duration::from_secs(121), ..EndpointConfig::new("http://127.0.0.1:1") };
        let error = Endpoint::new(&config).expect_err("too long");
        assert_eq!(error.to_string(), "timeout: 121s; 100ms..=120s expected");
    }
}
