//! Slack's incoming webhooks, as far as a sender sees them: JSON with `text` is answered with `ok`, everything else with a word.
//!
//! | route | |
//! |---|---|
//! | `POST /services/T0/B0/fakes` | [`PATH`]; what is posted arrives in the inbox of `operators` |
//!
//! Calls in switches are `send`. The code of a failure is the word it is answered with. The limit of a line a second is left to the
//! switch.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Router, http};
use bytes::Bytes;
use serde_json::Value;

use crate::inbox::{Inbox, Link, Message, OPERATORS};
use crate::provider::Provider;
use crate::switches::Failure;

/// Its name in switches and on the command line.
pub const NAME: &str = "slack";
/// The path of the only webhook there is.
pub const PATH: &str = "/services/T0/B0/fakes";

pub(crate) fn provider(inbox: &Inbox) -> Provider {
    let api = Router::new()
        .route(PATH, post(take))
        .route("/services/{*other}", post(|| async { (StatusCode::NOT_FOUND, "no_service") }))
        .with_state(inbox.clone());
    Provider { name: NAME, api, control: Router::new(), call_of, failure }
}

fn call_of(_: &http::Method, _: &str) -> &'static str {
    "send"
}

fn failure(failure: &Failure) -> Response {
    failure.response(failure.code.clone())
}

async fn take(State(inbox): State<Inbox>, body: Bytes) -> Response {
    let Ok(payload) = serde_json::from_slice::<Value>(&body) else {
        return (StatusCode::BAD_REQUEST, "invalid_payload").into_response();
    };
    let Some(text) = payload["text"].as_str().filter(|text| !text.trim().is_empty()) else {
        return (StatusCode::BAD_REQUEST, "no_text").into_response();
    };
    let (body, links) = read(text);
    // A first line in bold is what Slack's own layouts make a headline of.
    let (title, body) = match body.strip_prefix('*').and_then(|rest| rest.split_once("*\n")) {
        Some((title, rest)) if !title.contains('\n') => (Some(title.to_owned()), rest.to_owned()),
        _ => (None, body),
    };
    inbox.deliver(Message {
        provider: NAME,
        channel: "operator",
        provider_id: String::new(),
        to: OPERATORS.to_owned(),
        from: "bosingak".to_owned(),
        title,
        body,
        links,
        tag: None,
        at: inbox.clock().now(),
    });
    "ok".into_response()
}

/// The text as Slack shows it, and its links of the form `<address|label>`.
fn read(text: &str) -> (String, Vec<Link>) {
    let plain = |text: &str| text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let (mut shown, mut links, mut rest) = (String::new(), Vec::new(), text);
    while let Some((before, from)) = rest.split_once('<') {
        let Some((link, after)) = from.split_once('>') else { break };
        let (url, label) = link.split_once('|').unwrap_or((link, link));
        links.push(Link { label: plain(label), url: plain(url) });
        shown.push_str(&plain(before));
        rest = after;
    }
    shown.push_str(&plain(rest));
    (shown.trim().to_owned(), links)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_shown_as_slack_shows_them() {
        let (text, links) = read("*a &lt;b&gt;* &amp;amp;\n<https://x.example/?a=1&amp;b=2|runbook>");
        assert_eq!(text, "*a <b>* &amp;");
        assert_eq!(links, [Link { label: "runbook".into(), url: "https://x.example/?a=1&b=2".into() }]);
    }
}
