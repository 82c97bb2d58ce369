//! A rendered page and the headers it has to go out with.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::Language;

/// The style sheet, as it stands in every page.
pub(crate) const STYLE: &str = include_str!("../templates/style.css");

/// An answer, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case, each once. Values are visible ASCII and spaces.
    pub headers: Vec<(&'static str, String)>,
    /// A whole HTML document; empty for a redirect.
    pub body: String,
}

impl Page {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| name.eq_ignore_ascii_case(have)).map(|(_, value)| value.as_str())
    }

    /// `image_origin`: where pictures may come from, checked.
    pub(crate) fn new(status: u16, language: Language, image_origin: Option<&str>, body: String) -> Self {
        let mut headers = common();
        headers.extend([
            ("content-type", "text/html; charset=utf-8".to_owned()),
            ("content-language", language.to_string()),
            ("content-security-policy", security_policy(image_origin)),
            // What the pages do not need.
            ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=()".to_owned()),
            ("cross-origin-opener-policy", "same-origin".to_owned()),
            // For browsers that do not know frame-ancestors.
            ("x-frame-options", "DENY".to_owned()),
        ]);
        Self { status, headers, body }
    }

    /// 303: get this address, whatever brought you here.
    pub(crate) fn see_other(location: String) -> Self {
        let mut headers = common();
        headers.push(("location", location));
        Self { status: 303, headers, body: String::new() }
    }
}

/// The link is the key to the gift: nobody keeps the page, indexes it, or hears its address.
fn common() -> Vec<(&'static str, String)> {
    [
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("vary", "Accept-Language"),
        ("x-content-type-options", "nosniff"),
        ("x-robots-tag", "noindex, nofollow"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

/// Nothing but our style sheet, the product's picture, and forms to ourselves. No script.
fn security_policy(image_origin: Option<&str>) -> String {
    static STYLE_HASH: LazyLock<String> = LazyLock::new(|| STANDARD.encode(Sha256::digest(STYLE)));
    // `data:` is the empty icon, without which browsers ask for /favicon.ico.
    let images = image_origin.map(|origin| format!(" {origin}")).unwrap_or_default();
    format!(
        "default-src 'none'; style-src 'sha256-{}'; img-src data:{images}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        *STYLE_HASH
    )
}
