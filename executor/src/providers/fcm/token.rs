//! Tokens of OAuth 2 for a service account.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::providers::Error;
use crate::providers::endpoint::{Answer, Endpoint, EndpointConfig, NoAnswer};

const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The longest an assertion may be good for.
const ASSERTION_LIFE: Duration = Duration::from_secs(3_600);
/// A token is not used in the last part of its life, for requests under way with it.
const MARGIN: Duration = Duration::from_secs(300);

/// What the file of a service account says.
pub(super) struct ServiceAccount {
    project_id: String,
    client_email: String,
    key_id: String,
    token_uri: String,
    key: RsaKeyPair,
}

#[derive(Deserialize)]
struct File {
    project_id: String,
    client_email: String,
    #[serde(default)]
    private_key_id: String,
    private_key: String,
    token_uri: String,
}

impl ServiceAccount {
    pub(super) fn from_file(path: &Path) -> Result<Self, Error> {
        let wrong = |what: String| Error::new("service_account_file", format!("{}: {what}", path.display()));
        let text = std::fs::read(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        // Errors of serde name place and kind only; those of keys nothing at all.
        let file: File =
            serde_json::from_slice(&text).map_err(|error| wrong(format!("no service account: {error}")))?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
        if file.project_id.is_empty() || !file.project_id.bytes().all(plain) {
            return Err(wrong("project_id: letters, digits and hyphens are expected".into()));
        }
        let der = PrivatePkcs8KeyDer::from_pem_slice(file.private_key.as_bytes())
            .map_err(|_| wrong("private_key: a key in PEM (PKCS #8) is expected".into()))?;
        let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der())
            .map_err(|_| wrong("private_key: an RSA key of 2,048 bits or more is expected".into()))?;
        let File { project_id, client_email, private_key_id, token_uri, .. } = file;
        Ok(ServiceAccount { project_id, client_email, key_id: private_key_id, token_uri, key })
    }

    pub(super) fn project_id(&self) -> &str {
        &self.project_id
    }

    /// The signed statement a token is given for.
    fn assertion(&self, now: SystemTime) -> Result<String, String> {
        let issued = now.duration_since(UNIX_EPOCH).map_err(|_| "the clock is before 1970".to_owned())?.as_secs();
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": self.key_id });
        let claims = json!({
            "iss": self.client_email,
            "scope": SCOPE,
            "aud": self.token_uri,
            "iat": issued,
            "exp": issued + ASSERTION_LIFE.as_secs(),
        });
        let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| "the assertion could not be signed".to_owned())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccount").field("project_id", &self.project_id).finish_non_exhaustive()
    }
}

/// A token that is good for now.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token(Arc<str>);

impl Token {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

/// Why there is no token. No message was sent for want of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenError {
    /// The account or its key is not good.
    Refused { code: String, message: String },
    /// Nobody there, or not now.
    Later { after: Option<Duration>, error: String },
}

/// The current token, fetched by one call at a time while others wait for it.
#[derive(Debug)]
pub(super) struct Tokens {
    endpoint: Endpoint,
    account: ServiceAccount,
    current: Mutex<Option<(Token, Instant)>>,
}

impl Tokens {
    /// `settings` are those of the API; where tokens are given, the account says.
    pub(super) fn new(settings: &EndpointConfig, account: ServiceAccount) -> Result<Self, Error> {
        let settings = EndpointConfig { base_url: account.token_uri.clone(), ..settings.clone() };
        let wrong = |error: Error| Error::new("service_account_file", format!("token_uri: {}", error.message));
        let endpoint = Endpoint::new(&settings).map_err(wrong)?;
        Ok(Tokens { endpoint, account, current: Mutex::new(None) })
    }

    /// A token that is good for some minutes more; fetches one if there is none.
    pub(super) async fn get(&self) -> Result<Token, TokenError> {
        let mut current = self.current.lock().await;
        if let Some((token, until)) = &*current
            && Instant::now() < *until
        {
            return Ok(token.clone());
        }
        let (token, life) = self.fetch().await?;
        *current = Some((token.clone(), Instant::now() + usable(life)));
        Ok(token)
    }

    /// Drops a token that was refused, unless another has taken its place.
    pub(super) async fn forget(&self, refused: &Token) {
        self.current.lock().await.take_if(|(token, _)| token == refused);
    }

    async fn fetch(&self) -> Result<(Token, Duration), TokenError> {
        let later = |error| TokenError::Later { after: None, error };
        let assertion = self.account.assertion(SystemTime::now()).map_err(later)?;
        // Both values consist of letters that a form leaves as they are, but for the colons.
        let body = format!("grant_type={}&assertion={assertion}", GRANT.replace(':', "%3A"));
        let request = self.endpoint.post(&[]).header("content-type", "application/x-www-form-urlencoded");
        match self.endpoint.send(request.body(body)).await {
            Ok(answer) => judge(&answer),
            // A token too many harms nobody.
            Err(NoAnswer::NotReached(error) | NoAnswer::Unknown(error)) => Err(later(format!("no token: {error}"))),
        }
    }
}

fn usable(life: Duration) -> Duration {
    life.saturating_sub(MARGIN.min(life / 2))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenAnswer {
    access_token: String,
    expires_in: u64,
    error: Option<String>,
    error_description: Option<String>,
}

/// Texts of answers are not passed on where they could be a token.
fn judge(answer: &Answer) -> Result<(Token, Duration), TokenError> {
    let Answer { status, retry_after, body } = answer;
    let facts: TokenAnswer = serde_json::from_slice(body).unwrap_or_default();
    let plain = facts.access_token.bytes().all(|b| b.is_ascii_graphic());
    match status {
        200 if !facts.access_token.is_empty() && plain => {
            Ok((Token(facts.access_token.into()), Duration::from_secs(facts.expires_in.min(86_400))))
        }
        400 | 401 | 403 => Err(TokenError::Refused {
            code: facts.error.unwrap_or_else(|| format!("HTTP {status}")),
            message: format!("no token: {}", facts.error_description.as_deref().unwrap_or("refused")),
        }),
        _ => Err(TokenError::Later { after: *retry_after, error: format!("no token: HTTP {status}") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let judge = |status, body: &str| judge(&Answer { status, retry_after: None, body: body.as_bytes().to_vec() });
        let (token, life) = judge(200, r#"{"access_token":"ya29.x","expires_in":3599}"#).expect("a token");
        assert_eq!((token.as_str(), life), ("ya29.x", Duration::from_secs(3_599)));
        assert!(!format!("{token:?}").contains("ya29"));
        let refused = judge(400, r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#);
        assert!(matches!(refused, Err(TokenError::Refused { code, .. }) if code == "invalid_grant"));
        for (status, body) in [(200, "{}"), (200, r#"{"access_token":"a\nb"}"#), (500, ""), (429, ""), (404, "<html>")]
        {
            assert!(matches!(judge(status, body), Err(TokenError::Later { .. })), "{status} {body}");
        }
    }

    #[test]
    fn tokens_are_left_before_they_end() {
        assert_eq!(usable(Duration::from_secs(3_600)), Duration::from_secs(3_300));
        assert_eq!(usable(Duration::from_secs(60)), Duration::from_secs(30));
        assert_eq!(usable(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn what_is_no_service_account_is_said_without_the_key() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("account.json");
        let error = |text: &str| {
            std::fs::write(&path, text).expect("written");
            ServiceAccount::from_file(&path).expect_err("refused").to_string()
        };
        assert!(error("{}").contains("project_id"));
        let with = |project: &str, uri: &str| {
            error(&format!(
                r#"{{"project_id":"{project}","client_email":"a@b.c","private_key":"S3CR3T","token_uri":"{uri}"}}"#
            ))
        };
        assert!(with("../x", "https://a").contains("project_id"));
        let key = with("p", "https://example.com");
        assert!(key.contains("private_key") && !key.contains("S3CR3T"), "{key}");
    }
}
