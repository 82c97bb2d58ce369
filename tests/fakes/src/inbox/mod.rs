//! What arrived, as the one it was for would see it on a phone, and as JSON for tests.
//!
//! | route | |
//! |---|---|
//! | `GET /inbox` | every address that got something |
//! | `GET /inbox/{address}` | what arrived there; a phone number as dialled, an e-mail address, a registration token, or `operators` |
//! | `GET /fake/messages?to=&channel=&tag=&limit=` | the same as JSON, oldest first, the newest `limit` (1,000 unless said) |
//!
//! The newest [`MESSAGES_MAX`] are kept; who wants to know of all of them [listens](Inbox::listen). The page shows a notification or an e-mail that came twice once, as devices and mail boxes
//! do; JSON tells both.

mod page;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::Clock;

/// Messages that are kept; older ones are dropped and counted.
pub const MESSAGES_MAX: usize = 100_000;
/// Where lines for the operators arrive.
pub const OPERATORS: &str = "operators";
/// Messages on a page and, unless said otherwise, in one answer of JSON.
const SHOWN_MAX: usize = 1_000;

/// Something that arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Which provider brought it, by its name in switches.
    pub provider: &'static str,
    /// `kakao`, `sms`, `email`, `push` or `operator`.
    pub channel: &'static str,
    /// The provider's name for it.
    pub provider_id: String,
    /// Where it arrived, as [`normal`] writes it.
    pub to: String,
    /// Who it is from, as shown.
    pub from: String,
    /// Subject or first line, if it has one.
    pub title: Option<String>,
    /// The text.
    pub body: String,
    /// Buttons and links below the text.
    pub links: Vec<Link>,
    /// What the sender marked it with, by which one that was sent twice is recognized.
    pub tag: Option<String>,
    /// When it was accepted.
    pub at: Timestamp,
}

/// A button or link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Its text.
    pub label: String,
    /// Where it leads.
    pub url: String,
}

/// Everything that arrived. Clones are the same inbox.
#[derive(Clone, Default)]
pub struct Inbox(Arc<Inner>, Clock);

#[derive(Default)]
struct Inner {
    kept: Mutex<Kept>,
    listener: OnceLock<Listener>,
}

type Listener = Box<dyn Fn(&Message) + Send + Sync>;

#[derive(Default)]
struct Kept {
    messages: VecDeque<Message>,
    dropped: u64,
}

/// An address as it is kept: a phone number as dialled in Korea without hyphens, everything else in lower case but registration tokens.
pub fn normal(address: &str) -> String {
    let address = address.trim();
    if address.contains('@') {
        return address.to_ascii_lowercase();
    }
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | ' ');
    if !address.is_empty() && address.chars().all(is_number) {
        let digits: String = address.chars().filter(char::is_ascii_digit).collect();
        return match digits.strip_prefix("82") {
            Some(rest) => format!("0{}", rest.trim_start_matches('0')),
            None => digits,
        };
    }
    address.to_owned()
}

impl Inbox {
    /// What arrived at an address, oldest first.
    pub fn at(&self, address: &str) -> Vec<Message> {
        let address = normal(address);
        self.kept().messages.iter().filter(|message| message.to == address).cloned().collect()
    }

    /// Everything that is kept, oldest first.
    pub fn all(&self) -> Vec<Message> {
        self.kept().messages.iter().cloned().collect()
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.1
    }

    /// Tells `listener` of every message from now on, before the provider answers, however many are kept. There is one listener: a
    /// second one is not taken, and the answer is false.
    pub fn listen(&self, listener: impl Fn(&Message) + Send + Sync + 'static) -> bool {
        self.0.listener.set(Box::new(listener)).is_ok()
    }

    pub(crate) fn deliver(&self, message: Message) {
        if let Some(listener) = self.0.listener.get() {
            listener(&message);
        }
        let mut kept = self.kept();
        if kept.messages.len() == MESSAGES_MAX {
            kept.messages.pop_front();
            kept.dropped += 1;
        }
        kept.messages.push_back(message);
    }

    pub(crate) fn router(&self) -> Router {
        Router::new()
            .route("/inbox", get(index))
            .route("/inbox/{address}", get(phone))
            .route("/fake/messages", get(list))
            .with_state(self.clone())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing between lock and unlock leaves it half done.
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    to: Option<String>,
    channel: Option<String>,
    tag: Option<String>,
    limit: Option<usize>,
}

async fn list(State(inbox): State<Inbox>, Query(filter): Query<Filter>) -> Json<Value> {
    let to = filter.to.as_deref().map(normal);
    let kept = inbox.kept();
    let fits = |message: &&Message| {
        to.as_ref().is_none_or(|to| message.to == *to)
            && filter.channel.as_ref().is_none_or(|channel| message.channel == channel)
            && filter.tag.as_ref().is_none_or(|tag| message.tag.as_ref() == Some(tag))
    };
    let total = kept.messages.iter().filter(fits).count();
    let skipped = total.saturating_sub(filter.limit.unwrap_or(SHOWN_MAX));
    let messages: Vec<_> = kept.messages.iter().filter(fits).skip(skipped).collect();
    Json(json!({ "total": total, "dropped": kept.dropped, "messages": messages }))
}

async fn index(State(inbox): State<Inbox>) -> Response {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for message in &inbox.kept().messages {
        *counts.entry(message.to.clone()).or_default() += 1;
    }
    show(page::index(&counts))
}

async fn phone(State(inbox): State<Inbox>, Path(address): Path<String>) -> Response {
    let address = normal(&address);
    let mut messages = once(inbox.at(&address));
    messages.drain(..messages.len().saturating_sub(SHOWN_MAX));
    show(page::phone(&address, &messages))
}

/// One that came twice with the same tag replaces the one before, where the receiving end does so.
fn once(messages: Vec<Message>) -> Vec<Message> {
    let mut shown: Vec<Message> = Vec::with_capacity(messages.len());
    let mut places: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for message in messages {
        let replaces = matches!(message.channel, "push" | "email");
        let Some(tag) = message.tag.clone().filter(|_| replaces) else {
            shown.push(message);
            continue;
        };
        let at = *places.entry((message.channel, tag)).or_insert(shown.len());
        match shown.get_mut(at) {
            Some(before) => *before = message,
            None => shown.push(message),
        }
    }
    shown
}

fn show(page: String) -> Response {
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        // Nothing is loaded and nothing runs; the style is in the page.
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, Html(page)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(channel: &'static str, tag: &str, body: &str) -> Message {
        Message {
            provider: "test",
            channel,
            provider_id: "1".into(),
            to: "01012345678".into(),
            from: "0212345678".into(),
            title: None,
            body: body.into(),
            links: Vec::new(),
            tag: Some(tag.into()),
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn addresses_are_one_however_they_are_written() {
        for (text, kept) in [
            ("+82 10-1234-5678", "01012345678"),
            ("010 1234 5678", "01012345678"),
            ("Kim@Example.com", "kim@example.com"),
            ("operators", "operators"),
            ("dQw4:APA91b-_x", "dQw4:APA91b-_x"),
        ] {
            assert_eq!(normal(text), kept);
        }
    }

    #[test]
    fn the_oldest_go_when_it_is_full() {
        let inbox = Inbox::default();
        let heard = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = heard.clone();
        assert!(inbox.listen(move |_| {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }));
        assert!(!inbox.listen(|_| {}), "there is one already");
        for number in 0..MESSAGES_MAX + 2 {
            inbox.deliver(message("sms", "t", &number.to_string()));
        }
        assert_eq!(heard.load(std::sync::atomic::Ordering::Relaxed), MESSAGES_MAX + 2, "who listens hears all");
        let kept = inbox.kept();
        assert_eq!((kept.messages.len(), kept.dropped), (MESSAGES_MAX, 2));
        assert_eq!(kept.messages[0].body, "2");
    }

    #[test]
    fn notifications_replace_themselves_and_texts_do_not() {
        let shown = once(vec![
            message("push", "a", "1"),
            message("sms", "a", "2"),
            message("push", "b", "3"),
            message("push", "a", "4"),
            message("sms", "a", "5"),
        ]);
        let bodies: Vec<_> = shown.iter().map(|message| message.body.as_str()).collect();
        assert_eq!(bodies, ["4", "2", "3", "5"]);
    }
}
