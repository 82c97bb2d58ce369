//! `notify.*`: tells people news.

use std::time::Duration;

use client::Client;
use futures::future::BoxFuture;
use proto::gift::v1::{Channel, GetLinkRequest};
use proto::notification::v1::{Notice, Told};

use crate::delivery::Delivery;
use crate::handler::Handler;
use crate::outcome::Outcome;
use crate::providers::address::Address;
use crate::providers::message::{FindOutcome, Language, Link, Message, SendOutcome};

use super::messengers::{Messenger, Messengers};
use super::person;
use super::result::{self, Report};
use super::texts::{self, Facts, Subject, Templates};

/// Tells news: the channels in their order, until one takes it.
///
/// A refused channel makes way for the next; when all have refused, the news goes to the dead letters with what each said. Later is
/// later.
///
/// A provider that gave no answer may have taken it. News is not worth a second message that costs money and wakes somebody up: by
/// Kakao, SMS and e-mail it is told **at most once** in that case. The provider is asked whether it has it; if it cannot tell, the news
/// counts as told, with a warning. A push replaces itself on the device and a second line in the operators' room harms nobody, so
/// these are told **at least once**.
///
/// What came of it goes with the completion, as a `Told`: which channel took it, and the provider's name for the message where there is
/// one.
///
/// A redelivery first asks the provider whether it was told already. Where that cannot be asked it is told again: most
/// redeliveries come after "later", and news that was put off once would never arrive otherwise. So an executor that dies between
/// sending an e-mail and reporting it leaves a second one, with the same Message-ID.
#[derive(Clone)]
pub struct Notify {
    client: Client,
    messengers: Messengers,
    templates: Templates,
    operators: Language,
    settle: Duration,
}

/// What a channel came to.
enum Step {
    /// A provider took it, or may have; with its name for the message, or nothing.
    Told(String),
    End(Outcome),
    /// It does not take it, in so many words.
    Next(String),
}

impl Notify {
    /// By these providers. `operators` is what operators read; `settle` is how long a provider that lists what it took may take to
    /// list it.
    pub fn new(
        client: Client,
        messengers: Messengers,
        templates: Templates,
        operators: Language,
        settle: Duration,
    ) -> Self {
        Notify { client, messengers, templates, operators, settle }
    }

    async fn notify(self, delivery: Delivery) -> Result<Outcome, Outcome> {
        let notice: Notice = result::work(&delivery)?;
        let Some(subject) = Subject::of(notice.news()) else {
            // An executor of a newer version knows it.
            return Err(Outcome::retry(format!("news: one of those there are expected, not {}", notice.news)));
        };
        let link = if subject.has_link() { self.link(&delivery, &notice).await? } else { String::new() };
        if subject.has_link() && link.is_empty() {
            // The gift is over: there is nothing left to tell.
            return Ok(Told { gift: notice.gift, moot: true, ..Told::default() }.report());
        }
        let mut refused = Vec::new();
        for channel in notice.channels() {
            match self.on_channel(&delivery, &notice, subject, channel, &link).await {
                // Of a terminal that is locked nothing is kept.
                Step::Told(_) if notice.gift.is_empty() => return Ok(Outcome::Success),
                Step::Told(provider_id) => {
                    let gift = notice.gift;
                    return Ok(Told { gift, channel: channel.into(), provider_id, moot: false }.report());
                }
                Step::End(outcome) => return Ok(outcome),
                Step::Next(why) => refused.push(format!("{}: {why}", channel.as_str_name())),
            }
        }
        Err(Outcome::fail(format!("no channel takes it: {}", refused.join(", "))))
    }

    async fn link(&self, delivery: &Delivery, notice: &Notice) -> Result<String, Outcome> {
        let request = GetLinkRequest { namespace: delivery.namespace().to_owned(), gift_id: notice.gift.clone() };
        Ok(self.client.get_link(request).await.map_err(|error| result::refused(&error))?.link)
    }

    async fn on_channel(
        &self,
        delivery: &Delivery,
        notice: &Notice,
        subject: Subject,
        channel: Channel,
        link: &str,
    ) -> Step {
        let Some(provider) = self.messengers.on(channel) else { return Step::Next("NOT_CONFIGURED".to_owned()) };
        let reader = notice.to.clone().unwrap_or_default();
        let Some(to) = person::address(&reader, channel) else { return Step::Next("NO_ADDRESS".to_owned()) };
        let language = if channel == Channel::Operator { self.operators } else { person::language(&reader) };
        let facts = Facts::of_notice(notice, language);
        let template = match channel {
            Channel::Kakao => match self.templates.fill(subject, language, &facts) {
                None => return Step::Next("NO_TEMPLATE".to_owned()),
                template => template,
            },
            _ => None,
        };
        let words = texts::words(subject, &facts, language, channel);
        let has_link = !link.is_empty();
        let message = Message {
            to,
            title: words.title,
            body: words.body,
            link: has_link.then(|| Link { label: words.label.to_owned(), url: link.to_owned() }),
            template,
            // Of this piece of news, by whichever attempt.
            idempotency_key: format!("{}/{}", delivery.idempotency_key(), channel.as_str_name()),
            language,
        };
        self.tell(delivery, provider, channel, &message).await
    }

    async fn tell(&self, delivery: &Delivery, provider: &Messenger, channel: Channel, message: &Message) -> Step {
        let since = delivery.due();
        if delivery.attempt() > 1 && !provider.remembers(delivery.fired()) {
            let found = provider.query(&message.idempotency_key, &message.to, since).await;
            if let Some(step) = told(provider, found) {
                return step;
            }
        }
        match provider.send(message).await {
            SendOutcome::Accepted { provider_id } => Step::Told(provider_id),
            SendOutcome::Rejected { code, message } => Step::Next(format!("{code} {message}")),
            SendOutcome::Unregistered => Step::Next("UNREGISTERED".to_owned()),
            SendOutcome::Later { after, error } => Step::End(Outcome::Retry { error, after }),
            SendOutcome::Unknown { error } => {
                let harmless = matches!(channel, Channel::Push | Channel::Operator);
                if harmless || provider.remembers(delivery.fired()) {
                    return Step::End(Outcome::retry(error));
                }
                self.after_no_answer(delivery, provider, &message.idempotency_key, &message.to, error).await
            }
        }
    }

    async fn after_no_answer(
        &self,
        delivery: &Delivery,
        provider: &Messenger,
        key: &str,
        to: &Address,
        error: String,
    ) -> Step {
        match provider.query(key, to, delivery.due()).await {
            // Not listed, or not yet: the next attempt asks again before it sends.
            FindOutcome::NotFound => Step::End(Outcome::Retry { error, after: Some(self.settle) }),
            FindOutcome::CannotTell { reason } if !provider.can_be_asked() => {
                let (id, name) = (delivery.id(), provider.name());
                tracing::warn!(id, provider = name, error, reason, "news that may not have been told counts as told");
                Step::Told(String::new())
            }
            found => told(provider, found).unwrap_or(Step::Told(String::new())),
        }
    }
}

impl Handler for Notify {
    fn handle(&self, delivery: Delivery) -> BoxFuture<'static, Outcome> {
        let work = self.clone().notify(delivery);
        Box::pin(async move { work.await.unwrap_or_else(|outcome| outcome) })
    }
}

/// What follows when a provider has it or may have it; `None` when it is to be told.
fn told(provider: &Messenger, found: FindOutcome) -> Option<Step> {
    match found {
        FindOutcome::Found { delivered: Some(false), .. } => Some(Step::Next("NOT_DELIVERED".to_owned())),
        FindOutcome::Found { provider_id, .. } => Some(Step::Told(provider_id)),
        FindOutcome::CannotTell { reason } if provider.can_be_asked() => Some(Step::End(Outcome::retry(reason))),
        FindOutcome::NotFound | FindOutcome::CannotTell { .. } => None,
    }
}
