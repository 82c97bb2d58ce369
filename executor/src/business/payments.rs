//! The payment providers there are, by name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::outcome::Outcome;
use crate::providers::payment::PaymentProvider;

use super::pace::Pace;

/// Characters of an error that are worth reporting: the domain keeps as many.
const ERROR_CHARS_MAX: usize = 256;

/// The payment providers there are, by name. Clones share them.
#[derive(Clone, Default)]
pub struct Payments(BTreeMap<&'static str, Entry>);

#[derive(Clone)]
struct Entry {
    provider: Arc<dyn PaymentProvider>,
    pace: Pace,
}

impl Payments {
    /// None.
    pub fn new() -> Self {
        Payments::default()
    }

    /// With this one too, which is asked at most `rate_per_s` times a second by this process; `None`: as often as there is work.
    /// Another of the same name is replaced.
    pub fn with(mut self, provider: impl PaymentProvider, rate_per_s: Option<u32>) -> Self {
        let entry = Entry { provider: Arc::new(provider), pace: Pace::new(rate_per_s) };
        self.0.insert(entry.provider.name(), entry);
        self
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one a payment names, once it may be called. One that is not known here may be known to another executor, but nothing says
    /// that there is one: it goes to the dead letters, where a human sees the name.
    pub(super) async fn named(&self, name: &str) -> Result<Arc<dyn PaymentProvider>, Outcome> {
        match self.0.get(name) {
            Some(entry) => {
                entry.pace.turn().await;
                Ok(entry.provider.clone())
            }
            None => {
                let known: Vec<_> = self.0.keys().copied().collect();
                Err(Outcome::fail(format!("provider: one of {known:?} expected, not {name:?}")))
            }
        }
    }
}

/// Again, not before the provider wants to be asked.
pub(super) fn later(after: Option<Duration>, error: String) -> Outcome {
    Outcome::Retry { error, after }
}

/// A provider's code and words, as they are kept.
pub(super) fn words(code: &str, message: &str) -> String {
    cut(format!("{code}: {message}"))
}

/// As much of a text as is kept.
pub(super) fn cut(text: String) -> String {
    match text.char_indices().nth(ERROR_CHARS_MAX) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}
