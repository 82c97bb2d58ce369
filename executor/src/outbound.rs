//! What every HTTP call to the outside has in common.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, ClientBuilder};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

/// The longest wait a Retry-After may ask for.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Whose certificates are trusted.
#[derive(Clone, Debug)]
pub(crate) enum Roots {
    /// Nobody's: for `http://`, where the system need not have any.
    Nobody,
    /// Those the system trusts.
    System,
    /// Those in this PEM file, and no others.
    File(PathBuf),
}

/// A builder of clients that follow no redirects. The text of an error says what is wrong with the certificates.
///
/// The configuration of TLS is always ours: left to itself, reqwest panics unless the process has installed a provider of ciphers.
pub(crate) fn client(roots: Roots) -> Result<ClientBuilder, String> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config = match roots {
        Roots::Nobody => config.with_root_certificates(RootCertStore::empty()),
        Roots::System => config.with_platform_verifier().map_err(|error| error.to_string())?,
        Roots::File(path) => {
            let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let mut store = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(&path).map_err(|error| wrong(&error))? {
                let certificate = certificate.map_err(|error| wrong(&error))?;
                store.add(certificate).map_err(|error| wrong(&error))?;
            }
            if store.is_empty() {
                return Err(wrong(&"a PEM file with at least one certificate expected"));
            }
            config.with_root_certificates(store)
        }
    };
    Ok(Client::builder()
        .tls_backend_preconfigured(config.with_no_client_auth())
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("bosingak-executor/", env!("CARGO_PKG_VERSION"))))
}

/// Seconds, or a date. What is neither, or past, asks for nothing.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).ok()?,
    };
    Some(wait.min(RETRY_AFTER_MAX)).filter(|wait| !wait.is_zero())
}

/// The innermost cause says what happened; the outer ones name the URL, which may hold what is nobody's business.
pub(crate) fn cause_of(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_read_in_both_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().expect("a value"));
            retry_after(&headers, now)
        };
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(read("Fri, 15 Jan 2027 08:01:00 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(read("Fri, 15 Jan 2027 07:59:00 GMT"), None);
        assert_eq!(read("soon"), None);
        assert_eq!(read("99999999999"), Some(RETRY_AFTER_MAX));
    }

    #[test]
    fn clients_need_nothing_installed() {
        for roots in [Roots::Nobody, Roots::System] {
            client(roots).expect("a configuration").build().expect("a client");
        }
        let error = client(Roots::File("/no/such/file.pem".into())).expect_err("no file");
        assert!(error.contains("/no/such/file.pem"), "{error}");
    }
}
