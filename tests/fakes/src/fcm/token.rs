//! The token end: an assertion signed by the account's key, for a token.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use serde_json::{Value, json};

use super::PROJECT_ID;

/// The account's key. It is in the repository because it opens nothing: only this fake believes it.
const KEY_FILE: &str = include_str!("service-account.pem");
const KEY_ID: &str = "fakes-1";
const CLIENT_EMAIL: &str = "sender@bosingak-fakes.iam.gserviceaccount.com";
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
/// Seconds a token is good for.
const LIFE: i64 = 3_600;
/// Tokens that are remembered.
const TOKENS_MAX: usize = 10_000;

/// The tokens that were given, with their ends.
#[derive(Default)]
pub(super) struct Tokens {
    given: VecDeque<(String, Timestamp)>,
    count: u64,
}

/// The file without the line above the key.
fn pem() -> &'static str {
    KEY_FILE.split_once('\n').map_or(KEY_FILE, |(_, pem)| pem)
}

pub(super) fn service_account(token_uri: &str) -> Value {
    json!({
        "type": "service_account",
        "project_id": PROJECT_ID,
        "private_key_id": KEY_ID,
        "private_key": pem(),
        "client_email": CLIENT_EMAIL,
        "token_uri": token_uri,
    })
}

fn key() -> Result<RsaKeyPair, String> {
    let base64: String = pem().lines().filter(|line| !line.starts_with("-----")).collect();
    let der = BASE64_STANDARD.decode(base64).map_err(|error| error.to_string())?;
    RsaKeyPair::from_pkcs8(&der).map_err(|error| error.to_string())
}

impl Tokens {
    /// Answers a form with an assertion.
    pub(super) fn grant(&mut self, form: &[u8], now: Timestamp) -> Result<Value, String> {
        let form = std::str::from_utf8(form).map_err(|_| "a form expected")?;
        let field = |name: &str| form.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
        let grant = field("grant_type").map_or("", |(_, value)| value);
        if grant.replace("%3A", ":") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
            return Err("grant_type: jwt-bearer expected".into());
        }
        check(field("assertion").map_or("", |(_, value)| value), now)?;
        self.count += 1;
        let token = format!("ya29.fakes-{}", self.count);
        if self.given.len() == TOKENS_MAX {
            self.given.pop_front();
        }
        self.given.push_back((token.clone(), now + jiff::SignedDuration::from_secs(LIFE)));
        Ok(json!({ "access_token": token, "expires_in": LIFE - 1, "token_type": "Bearer" }))
    }

    pub(super) fn is_good(&self, token: &str, now: Timestamp) -> bool {
        self.given.iter().any(|(given, until)| given == token && now < *until)
    }

    pub(super) fn revoke(&mut self) {
        self.given.clear();
    }
}

/// Signature and claims of an assertion.
fn check(assertion: &str, now: Timestamp) -> Result<(), String> {
    let (signed, signature) = assertion.rsplit_once('.').ok_or("Invalid JWT: three parts expected")?;
    let (header, claims) = signed.split_once('.').ok_or("Invalid JWT: three parts expected")?;
    let decode =
        |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| "Invalid JWT: base64url expected".to_owned());
    let key = key()?;
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
    public.verify(signed.as_bytes(), &decode(signature)?).map_err(|_| "Invalid JWT Signature.")?;
    let json = |part: &str| serde_json::from_slice::<Value>(&decode(part)?).map_err(|error| error.to_string());
    let (header, claims) = (json(header)?, json(claims)?);
    if header["alg"] != "RS256" || header["kid"] != KEY_ID {
        return Err("Invalid JWT: RS256 and the account's key id expected".into());
    }
    if claims["iss"] != CLIENT_EMAIL {
        return Err("Invalid grant: account not found".into());
    }
    if claims["scope"] != SCOPE {
        return Err("Invalid scope".into());
    }
    if !claims["aud"].as_str().is_some_and(|aud| aud.ends_with("/token")) {
        return Err("Invalid JWT: the token address expected as aud".into());
    }
    let (issued, expires) = (claims["iat"].as_i64().unwrap_or_default(), claims["exp"].as_i64().unwrap_or_default());
    let now = now.as_second();
    if !(now - LIFE..=now + 300).contains(&issued) || expires <= now || expires > issued + LIFE {
        return Err("Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assertion(change: fn(&mut Value), now: i64) -> String {
        let mut claims = json!({ "iss": CLIENT_EMAIL, "scope": SCOPE, "aud": "http://127.0.0.1:1/token", "iat": now, "exp": now + LIFE });
        change(&mut claims);
        let encode = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(json!({ "alg": "RS256", "kid": KEY_ID })), encode(claims));
        let key = key().expect("a key");
        let mut signature = vec![0; key.public().modulus_len()];
        let random = ring::rand::SystemRandom::new();
        key.sign(&ring::signature::RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).expect("signed");
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    #[test]
    fn only_the_account_gets_a_token() {
        let now = Timestamp::from_second(1_800_000_000).expect("a moment");
        let check = |change: fn(&mut Value)| check(&assertion(change, now.as_second()), now);
        assert_eq!(check(|_| ()), Ok(()));
        assert!(check(|claims| claims["iss"] = json!("other")).is_err());
        assert!(check(|claims| claims["scope"] = json!("other")).is_err());
        assert!(check(|claims| claims["exp"] = json!(1)).is_err());
        assert!(check(|claims| claims["aud"] = json!("x")).is_err());
        let mut spoiled = assertion(|_| (), now.as_second());
        spoiled.replace_range(40..41, if &spoiled[40..41] == "A" { "B" } else { "A" });
        assert!(super::check(&spoiled, now).is_err_and(|error| error.contains("Signature")));
        assert!(super::check("a.b", now).is_err() && super::check("", now).is_err());
    }
}
