//! The message providers there are, by channel.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use proto::gift::v1::Channel;
use tokio::time::Instant;

use crate::providers::address::Address;
use crate::providers::message::{self, FindOutcome, Idempotency, Message, MessageProvider, SendOutcome};

use super::pace::Pace;

/// How long a provider that took something is known to work.
const WORKED_WITHIN: Duration = Duration::from_secs(60);
/// Kept between now and the end of the time a provider remembers a key: a call takes its time, and clocks differ.
const REMEMBERED_MARGIN: Duration = Duration::from_secs(180);

/// The message providers there are: one per channel. Clones share them.
#[derive(Clone, Default)]
pub struct Messengers(BTreeMap<Channel, Messenger>);

/// A provider, and what is known of how it does.
#[derive(Clone)]
pub(super) struct Messenger {
    provider: Arc<dyn MessageProvider>,
    pace: Pace,
    worked: Arc<Mutex<Option<Instant>>>,
}

impl Messengers {
    /// None.
    pub fn new() -> Self {
        Messengers::default()
    }

    /// With this one too, on its channel, called at most `rate_per_s` times a second by this process; `None`: as often as there is
    /// work. Another on the same channel is replaced.
    pub fn with(mut self, provider: impl MessageProvider, rate_per_s: Option<u32>) -> Self {
        let channel = match provider.channel() {
            message::Channel::Kakao => Channel::Kakao,
            message::Channel::Sms => Channel::Sms,
            message::Channel::Email => Channel::Email,
            message::Channel::Push => Channel::Push,
            message::Channel::Operator => Channel::Operator,
        };
        let pace = Pace::new(rate_per_s);
        self.0.insert(channel, Messenger { provider: Arc::new(provider), pace, worked: Arc::default() });
        self
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn on(&self, channel: Channel) -> Option<&Messenger> {
        self.0.get(&channel)
    }
}

impl Messenger {
    pub(super) fn name(&self) -> &'static str {
        self.provider.name()
    }

    /// Whether a key that was first used at this moment may be used again now without a second message.
    pub(super) fn remembers(&self, first_used: SystemTime) -> bool {
        match self.provider.idempotency() {
            Idempotency::Honoured { within } => {
                // A clock that is behind that of the cluster: it was just now.
                let age = SystemTime::now().duration_since(first_used).unwrap_or_default();
                age + REMEMBERED_MARGIN < within
            }
            Idempotency::None => false,
        }
    }

    pub(super) async fn send(&self, message: &Message) -> SendOutcome {
        self.pace.turn().await;
        let outcome = self.provider.send(message).await;
        if matches!(outcome, SendOutcome::Accepted { .. } | SendOutcome::Rejected { .. } | SendOutcome::Unregistered) {
            *self.worked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        outcome
    }

    pub(super) async fn query(&self, key: &str, to: &Address, not_before: SystemTime) -> FindOutcome {
        self.pace.turn().await;
        self.provider.query(key, to, not_before).await
    }

    /// Whether it has a way to be asked at all, so that no answer is a passing thing.
    pub(super) fn can_be_asked(&self) -> bool {
        // SOLAPI lists what it took; relays, FCM and webhooks have no call for it.
        matches!(self.provider.channel(), message::Channel::Kakao | message::Channel::Sms)
    }

    /// Whether a provider that says "later" says so to everybody.
    ///
    /// Those with an API say it when they are down or have too much to do, never of one message. A mail relay also says it of one
    /// mail box (full, greylisted): then others get theirs meanwhile.
    pub(super) fn is_out_for_everybody(&self) -> bool {
        let worked = *self.worked.lock().unwrap_or_else(PoisonError::into_inner);
        let works = worked.is_some_and(|at| at.elapsed() < WORKED_WITHIN);
        self.provider.channel() != message::Channel::Email || !works
    }
}
