//! `Idempotency-Key`: what makes a repeated request the same request.
//!
//! A key is 1 to 128 printable ASCII characters without spaces, with or without the quotes of the IETF draft. What it means is
//! said by the call:
//!
//! - Calls that create something have an id of the caller's choice, and that id is what a repeat is known by. There the key stands
//!   for an id that is left out ([`IdempotencyKey::or_id`]); beside an id it has to be equal to it.
//! - Calls that change something are known by a request id, a UUID of version 7, and the key is that
//!   ([`IdempotencyKey::request_id`]). A repeat within the window gets the first answer.
//!
//! Either way it is stored with what it did, on a majority, and survives every node.

use axum::extract::FromRequestParts;
use axum::http::HeaderName;
use axum::http::request::Parts;

use super::problem::Problem;

/// The name of the header.
pub const HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// Set to `true` on an answer that a repeated request got again.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Longest key in characters.
const CHARS_MAX: usize = 128;

/// The key of a request, if it has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdempotencyKey(Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut given = parts.headers.get_all(HEADER).iter();
        let Some(value) = given.next() else { return Ok(IdempotencyKey(None)) };
        if given.next().is_some() {
            return Err(Problem::field("Idempotency-Key", "expected one, got several"));
        }
        let text = String::from_utf8_lossy(value.as_bytes());
        let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(&text);
        if !(1..=CHARS_MAX).contains(&bare.len()) || !bare.bytes().all(|b| b.is_ascii_graphic()) {
            let expected = format!("expected 1 to {CHARS_MAX} printable ASCII characters without spaces");
            return Err(Problem::field("Idempotency-Key", expected));
        }
        Ok(IdempotencyKey(Some(bare.to_owned())))
    }
}

impl IdempotencyKey {
    /// The request id of a call that changes something; empty when there is none.
    ///
    /// # Errors
    ///
    /// The key is no UUID of version 7.
    pub fn request_id(self) -> Result<String, Problem> {
        let Some(key) = self.0 else { return Ok(String::new()) };
        match uuid::Uuid::try_parse(&key) {
            Ok(id) if id.get_version_num() == 7 => Ok(key),
            _ => Err(Problem::field(
                "Idempotency-Key",
                "expected a UUID of version 7, such as 019a9d3c-5b4e-7c3a-9d2f-0a1b2c3d4e5f, for a call that changes something",
            )),
        }
    }

    /// The id of what is created: the one given, or else the key; empty when there is neither, and then every repeat creates
    /// another.
    ///
    /// # Errors
    ///
    /// Both are there, and they differ.
    pub fn or_id(self, id: String) -> Result<String, Problem> {
        match self.0 {
            None => Ok(id),
            Some(key) if id.is_empty() || id == key => Ok(key),
            Some(_) => {
                let expected = "expected the id or nothing: what is created is known by its id";
                Err(Problem::field("Idempotency-Key", expected))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    async fn key(text: &str) -> Result<IdempotencyKey, Problem> {
        let request = Request::builder().header(HEADER, text).body(()).expect("a request");
        let (mut parts, ()) = request.into_parts();
        IdempotencyKey::from_request_parts(&mut parts, &()).await
    }

    #[tokio::test]
    async fn a_key_is_short_and_printable_with_quotes_or_without() {
        let expected = IdempotencyKey(Some("order-1".into()));
        assert_eq!(key("order-1").await.expect("a key"), expected);
        assert_eq!(key("\"order-1\"").await.expect("a key"), expected);
        for text in ["", "\"\"", "two words", "주문", &"x".repeat(129)] {
            assert!(key(text).await.is_err(), "{text}");
        }
        assert!(key(&"x".repeat(128)).await.is_ok());
    }

    #[tokio::test]
    async fn a_request_id_is_a_uuid_of_version_7() {
        let id = uuid::Uuid::now_v7().to_string();
        assert_eq!(key(&id).await.expect("a key").request_id().expect("a request id"), id);
        assert_eq!(IdempotencyKey(None).request_id().expect("none"), "");
        assert!(key("550e8400-e29b-41d4-a716-446655440000").await.expect("a key").request_id().is_err());
    }

    #[tokio::test]
    async fn an_id_may_be_left_out_and_not_contradicted() {
        assert_eq!(key("a").await.expect("a key").or_id(String::new()).expect("the key"), "a");
        assert_eq!(key("a").await.expect("a key").or_id("a".into()).expect("both"), "a");
        assert_eq!(IdempotencyKey(None).or_id("a".into()).expect("the id"), "a");
        assert!(key("a").await.expect("a key").or_id("b".into()).is_err());
    }
}
