//! What requests may say: names, sizes, labels, ranges. Pure; errors name the path of the field.

use std::collections::BTreeMap;

use crate::error::{Error, Violation};

/// Longest payload in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// Longest id in characters.
pub const ID_CHARS_MAX: usize = 128;
/// Longest namespace or topic in characters.
pub const NAME_CHARS_MAX: usize = 64;
/// Longest shard key in bytes.
pub const SHARD_KEY_BYTES_MAX: usize = 128;
/// Most labels of a trigger.
pub const LABELS_MAX: usize = 16;
/// Longest label key in characters.
pub const LABEL_KEY_CHARS_MAX: usize = 63;
/// Longest label value in characters.
pub const LABEL_VALUE_CHARS_MAX: usize = 255;
/// Most items in a batch.
pub const BATCH_ITEMS_MAX: usize = 1_000;
/// Characters that are kept of an error text.
pub const ERROR_CHARS_MAX: usize = 1_024;
/// Longest name of an executor in characters.
pub const EXECUTOR_CHARS_MAX: usize = 128;
/// Most topics an executor asks for.
pub const EXECUTOR_TOPICS_MAX: usize = 64;

/// Ids, topics and executors whose names begin with this are the server's own.
pub const RESERVED: &str = "bosingak.";
/// The namespace of the server's own triggers.
pub const RESERVED_NAMESPACE: &str = "bosingak";

/// What an empty namespace means.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Collects what is wrong with a request, so that a caller learns of all of it at once.
#[derive(Debug, Default)]
pub struct Violations {
    found: Vec<Violation>,
    prefix: String,
}

impl Violations {
    /// Nothing is wrong yet.
    pub fn new() -> Violations {
        Violations::default()
    }

    /// Field paths begin with this, such as `items[3].`.
    pub fn under(prefix: impl Into<String>) -> Violations {
        Violations { found: Vec::new(), prefix: prefix.into() }
    }

    /// Records that a field is wrong.
    pub fn push(&mut self, field: &str, description: impl Into<String>) {
        let field = format!("{}{field}", self.prefix);
        self.found.push(Violation { field, description: description.into() });
    }

    /// Records it unless the condition holds.
    pub fn require(&mut self, holds: bool, field: &str, description: impl FnOnce() -> String) {
        if !holds {
            self.push(field, description());
        }
    }

    /// The value, unless something was wrong.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] with everything that was found.
    pub fn finish<T>(self, value: T) -> Result<T, Error> {
        if self.found.is_empty() { Ok(value) } else { Err(Error::Invalid(self.found)) }
    }

    /// Takes a namespace; empty means [`DEFAULT_NAMESPACE`].
    pub fn namespace(&mut self, field: &str, namespace: String) -> String {
        if namespace.is_empty() {
            return DEFAULT_NAMESPACE.into();
        }
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        self.require(namespace.len() <= NAME_CHARS_MAX && namespace.bytes().all(allowed), field, || {
            format!("expected 1 to {NAME_CHARS_MAX} characters of [a-z0-9-], got {}", shown(&namespace))
        });
        namespace
    }

    /// Checks the id of a trigger.
    pub fn id(&mut self, field: &str, id: &str) {
        let fits = (1..=ID_CHARS_MAX).contains(&id.len());
        self.require(fits && id.bytes().all(|b| b.is_ascii_graphic()), field, || {
            format!("expected 1 to {ID_CHARS_MAX} printable ASCII characters without spaces, got {}", shown(id))
        });
    }

    /// Checks the name of a topic.
    pub fn topic(&mut self, field: &str, topic: &str) {
        let fits = (1..=NAME_CHARS_MAX).contains(&topic.len());
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        self.require(fits && topic.bytes().all(allowed), field, || {
            format!("expected 1 to {NAME_CHARS_MAX} characters of [A-Za-z0-9._-], got {}", shown(topic))
        });
    }

    /// Refuses the namespace that is the server's own, which no figure of users counts.
    pub fn not_reserved_namespace(&mut self, field: &str, namespace: &str) {
        self.require(namespace != RESERVED_NAMESPACE, field, || {
            format!("expected another namespace than {RESERVED_NAMESPACE}, which is reserved")
        });
    }

    /// Refuses a name that is the server's own.
    pub fn not_reserved(&mut self, field: &str, name: &str) {
        self.require(!name.starts_with(RESERVED), field, || {
            format!("expected a name that does not begin with {RESERVED}, which is reserved, got {}", shown(name))
        });
    }

    /// Checks a shard key; empty is fine, it means the id.
    pub fn shard_key(&mut self, field: &str, key: &str) {
        self.require(key.len() <= SHARD_KEY_BYTES_MAX, field, || {
            format!("expected at most {SHARD_KEY_BYTES_MAX} bytes, got {}", key.len())
        });
    }

    /// Checks a payload.
    pub fn payload(&mut self, field: &str, payload: &[u8]) {
        self.require(payload.len() <= PAYLOAD_BYTES_MAX, field, || {
            format!("expected at most {PAYLOAD_BYTES_MAX} bytes, got {}", payload.len())
        });
    }

    /// Checks labels.
    pub fn labels(&mut self, field: &str, labels: &BTreeMap<String, String>) {
        self.require(labels.len() <= LABELS_MAX, field, || {
            format!("expected at most {LABELS_MAX} labels, got {}", labels.len())
        });
        for (key, value) in labels.iter().take(LABELS_MAX) {
            self.require((1..=LABEL_KEY_CHARS_MAX).contains(&key.chars().count()), field, || {
                format!("expected keys of 1 to {LABEL_KEY_CHARS_MAX} characters, got {}", shown(key))
            });
            self.require(value.chars().count() <= LABEL_VALUE_CHARS_MAX, &format!("{field}[{}]", shown(key)), || {
                format!("expected at most {LABEL_VALUE_CHARS_MAX} characters, got {}", value.chars().count())
            });
        }
    }

    /// Checks the name of an executor.
    pub fn executor(&mut self, field: &str, executor: &str) {
        let fits = (1..=EXECUTOR_CHARS_MAX).contains(&executor.chars().count());
        self.require(fits && !executor.chars().any(char::is_control), field, || {
            format!("expected 1 to {EXECUTOR_CHARS_MAX} characters, got {}", shown(executor))
        });
        self.not_reserved(field, executor);
    }

    /// Checks the topics an executor asks for.
    pub fn executor_topics(&mut self, field: &str, topics: &[String]) {
        self.require((1..=EXECUTOR_TOPICS_MAX).contains(&topics.len()), field, || {
            format!("expected 1 to {EXECUTOR_TOPICS_MAX} topics, got {}", topics.len())
        });
        for (i, topic) in topics.iter().enumerate().take(EXECUTOR_TOPICS_MAX) {
            self.topic(&format!("{field}[{i}]"), topic);
            self.not_reserved(&format!("{field}[{i}]"), topic);
        }
    }

    /// Checks the number of items in a batch.
    pub fn batch(&mut self, field: &str, items: usize) {
        self.require((1..=BATCH_ITEMS_MAX).contains(&items), field, || {
            format!("expected 1 to {BATCH_ITEMS_MAX} items, got {items}")
        });
    }

    /// Takes the size of a page; 0 means 100.
    pub fn page_size(&mut self, field: &str, size: u32) -> usize {
        self.require(size <= 1_000, field, || format!("expected 1 to 1000, or 0 for 100, got {size}"));
        if size == 0 { 100 } else { size as usize }
    }

    /// Takes a request id, a UUIDv7 in text; empty means there is none.
    pub fn request_id(&mut self, field: &str, text: &str) -> bytes::Bytes {
        if text.is_empty() {
            return bytes::Bytes::new();
        }
        match uuid::Uuid::try_parse(text) {
            Ok(id) if id.get_version_num() == 7 => bytes::Bytes::copy_from_slice(id.as_bytes()),
            _ => {
                self.push(field, format!("expected a UUID of version 7 or nothing, got {}", shown(text)));
                bytes::Bytes::new()
            }
        }
    }
}

/// The first characters of an error text that are kept.
pub fn kept(mut error: String) -> String {
    if let Some((end, _)) = error.char_indices().nth(ERROR_CHARS_MAX) {
        error.truncate(end);
    }
    error
}

/// A value as an error message quotes it: short, and with nothing unprintable.
fn shown(text: &str) -> String {
    let start: String = text.chars().take(40).collect();
    let more = if start.len() < text.len() { "…" } else { "" };
    format!("{start:?}{more} ({} bytes)", text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(check: impl FnOnce(&mut Violations)) -> Vec<String> {
        let mut violations = Violations::under("items[3].");
        check(&mut violations);
        match violations.finish(()) {
            Ok(()) => Vec::new(),
            Err(Error::Invalid(found)) => found.into_iter().map(|one| one.field).collect(),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn names_have_their_alphabets_and_bounds() {
        for id in ["a", "seat-{concert-7}-A12", &"x".repeat(128)] {
            assert!(fields(|v| v.id("id", id)).is_empty(), "{id}");
        }
        for id in ["", "with space", "탁구", "tab\t", &"x".repeat(129)] {
            assert_eq!(fields(|v| v.id("id", id)), ["items[3].id"], "{id}");
        }
        for topic in ["", "a/b", "한글", &"x".repeat(65)] {
            assert_eq!(fields(|v| v.topic("topic", topic)), ["items[3].topic"], "{topic}");
        }
        for namespace in ["Upper", "a_b", &"x".repeat(65)] {
            assert_eq!(fields(|v| drop(v.namespace("namespace", namespace.into()))), ["items[3].namespace"]);
        }
        assert_eq!(Violations::new().namespace("namespace", String::new()), "default");
    }

    /// Turns red when `not_reserved` compares the whole name with the prefix.
    #[test]
    fn the_servers_own_names_are_refused() {
        let canary = "bosingak.canary";
        assert_eq!(fields(|v| v.not_reserved("topic", canary)), ["items[3].topic"]);
        assert_eq!(fields(|v| v.not_reserved_namespace("namespace", "bosingak")), ["items[3].namespace"]);
        assert!(fields(|v| v.not_reserved_namespace("namespace", "bosingak-shop")).is_empty());
        assert_eq!(fields(|v| v.executor("executor", canary)), ["items[3].executor"]);
        let topics = ["mine".to_owned(), canary.to_owned()];
        assert_eq!(fields(|v| v.executor_topics("topics", &topics)), ["items[3].topics[1]"]);
        for name in ["bosingak", "bosingak-mine", "my.bosingak.canary"] {
            assert!(fields(|v| v.not_reserved("topic", name)).is_empty(), "{name}");
        }
    }

    #[test]
    fn sizes_are_bounded_to_the_byte() {
        assert!(fields(|v| v.payload("payload", &vec![0; PAYLOAD_BYTES_MAX])).is_empty());
        assert_eq!(fields(|v| v.payload("payload", &vec![0; PAYLOAD_BYTES_MAX + 1])), ["items[3].payload"]);
        let labels = |n: usize, value: usize| (0..n).map(|i| (format!("k{i}"), "v".repeat(value))).collect();
        assert!(fields(|v| v.labels("labels", &labels(16, 255))).is_empty());
        assert_eq!(fields(|v| v.labels("labels", &labels(17, 1))), ["items[3].labels"]);
        assert_eq!(fields(|v| v.labels("labels", &labels(2, 256))).len(), 2);
        assert_eq!(fields(|v| v.labels("labels", &[(String::new(), String::new())].into())), ["items[3].labels"]);
    }

    #[test]
    fn a_request_id_is_a_uuid_of_version_7() {
        let id = uuid::Uuid::now_v7();
        let mut violations = Violations::new();
        assert_eq!(violations.request_id("request_id", &id.to_string()), id.as_bytes()[..]);
        assert!(violations.request_id("request_id", "").is_empty());
        assert!(violations.finish(()).is_ok());
        for text in ["abc", "550e8400-e29b-41d4-a716-446655440000"] {
            assert_eq!(fields(|v| drop(v.request_id("request_id", text))), ["items[3].request_id"]);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            fields(|v| {
                v.id("id", &text);
                v.topic("topic", &text);
                v.executor("executor", &text);
                v.shard_key("shard_key", &text);
                drop(v.request_id("request_id", &text));
                drop(v.namespace("namespace", text.clone()));
                v.labels("labels", &[(text.clone(), text.clone())].into());
            });
            prop_assert!(kept(text).chars().count() <= ERROR_CHARS_MAX);
        }
    }
}
