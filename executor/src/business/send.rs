//! `gift.send`: sends the gift message, once.
//!
//! # Why never twice
//!
//! Before a provider is called, [`begin_send`](client::Client::begin_send) has the cluster write down that a message may be on its way
//! on this channel, in this round. Whoever comes after, whether the executor died, its lease ran out, or its report was refused or
//! lost, is told so by `resumed`, and nothing but evidence takes that back:
//!
//! | the provider | what is done about a message that may be on its way |
//! |---|---|
//! | honours idempotency keys | sent again with the key of the first attempt, for as long as the provider remembers it; until its fate is known no new round is begun, for that has another key |
//! | can be asked (SOLAPI) | asked: found is sent; not found twice, with a pause between in which a list catches up, is not sent |
//! | neither (SMTP) | nothing: `SendUnknown`, and a human finds out |
//!
//! A report that the cluster refuses changes nothing there: the gift is still being sent, on this channel, in this round. The trigger
//! is delivered again and goes the way of `resumed`. The same holds for a report that is repeated after it counted: the next turn is
//! `over`.

use std::time::{Duration, SystemTime};

use client::Client;
use futures::future::BoxFuture;
use proto::gift::v1::{
    BeginSendRequest, BeginSendResponse, Channel, Rejection, SendLater, SendUnknown, SendWork, Sent,
};

use crate::delivery::Delivery;
use crate::handler::Handler;
use crate::outcome::Outcome;
use crate::providers::address::Address;
use crate::providers::message::{FindOutcome, Link, Message, SendOutcome};

use super::messengers::{Messenger, Messengers};
use super::payments::cut;
use super::person;
use super::result::{self, Report};
use super::texts::{self, Facts, Subject, Templates};

/// Turns of one attempt: one per channel there is, and one that says that it is over.
const TURNS_MAX: usize = 8;
/// Before an attempt whose answer was lost is repeated under its key.
const REPEAT_AFTER: Duration = Duration::from_secs(1);

/// Sends gifts: asks for a turn, calls the provider of its channel, and reports `Sent`, `SendLater` or `SendUnknown`; a channel that
/// refuses makes way for the next. See the module for what keeps it from sending twice.
#[derive(Clone)]
pub struct SendGift {
    client: Client,
    messengers: Messengers,
    templates: Templates,
    settle: Duration,
}

/// What a channel came to.
enum Step {
    End(Outcome),
    Next(Rejection),
}

/// One gift in one round.
struct Turn<'a> {
    work: &'a SendWork,
    facts: &'a BeginSendResponse,
    provider: &'a Messenger,
    to: &'a Address,
    begun: SystemTime,
    settle: Duration,
}

impl SendGift {
    /// By these providers. `settle` is how long a provider that lists what it took may take to list it.
    pub fn new(client: Client, messengers: Messengers, templates: Templates, settle: Duration) -> Self {
        SendGift { client, messengers, templates, settle }
    }

    async fn send(self, delivery: Delivery) -> Result<Outcome, Outcome> {
        let work: SendWork = result::work(&delivery)?;
        let mut rejected: Vec<Rejection> = Vec::new();
        for _ in 0..TURNS_MAX {
            let request = BeginSendRequest {
                namespace: delivery.namespace().to_owned(),
                gift_id: work.gift.clone(),
                round: work.round,
                rejected: rejected.clone(),
            };
            let facts = self.client.begin_send(request).await.map_err(|error| result::refused(&error))?;
            if facts.over {
                return Ok(Outcome::Success);
            }
            match self.on_channel(&work, &facts).await {
                Step::End(outcome) => return Ok(outcome),
                Step::Next(rejection) => rejected.push(rejection),
            }
        }
        Err(Outcome::retry("the cluster asks for channels that were refused"))
    }

    async fn on_channel(&self, work: &SendWork, facts: &BeginSendResponse) -> Step {
        let channel = facts.channel();
        if channel == Channel::Unspecified {
            // Nobody to call: whoever gave it passes the link on.
            return Step::End(sent(work, channel, String::new()));
        }
        let Some(provider) = self.messengers.on(channel) else {
            if facts.resumed {
                // An executor with other settings may have sent it there.
                return Step::End(Outcome::retry(format!("no provider for {channel:?} here, and it was begun there")));
            }
            return Step::Next(rejection(channel, "NOT_CONFIGURED"));
        };
        let recipient = facts.recipient.clone().unwrap_or_default();
        let Some(to) = person::address(&recipient, channel) else {
            return Step::Next(rejection(channel, "NO_ADDRESS"));
        };
        let begun = facts.begun.and_then(|at| at.try_into().ok()).unwrap_or(SystemTime::UNIX_EPOCH);
        let turn = Turn { work, facts, provider, to: &to, begun, settle: self.settle };
        if facts.resumed
            && !provider.remembers(begun)
            && let Err(step) = turn.make_sure().await
        {
            return step;
        }
        match self.message(work, facts, &to) {
            Some(message) => turn.send(message).await,
            None => Step::Next(rejection(channel, "NO_TEMPLATE")),
        }
    }

    /// `None` when Kakao has no template for it.
    fn message(&self, work: &SendWork, facts: &BeginSendResponse, to: &Address) -> Option<Message> {
        let language = person::language(&facts.recipient.clone().unwrap_or_default());
        let known = Facts::of_turn(&work.gift, facts, language);
        let words = texts::words(Subject::Gift, &known, language, facts.channel());
        let template = match facts.channel() {
            Channel::Kakao => Some(self.templates.fill(Subject::Gift, language, &known)?),
            _ => None,
        };
        Some(Message {
            to: to.clone(),
            title: words.title,
            body: words.body,
            link: Some(Link { label: words.label.to_owned(), url: facts.link.clone() }),
            template,
            idempotency_key: facts.idempotency_key.clone(),
            language,
        })
    }
}

impl Handler for SendGift {
    fn handle(&self, delivery: Delivery) -> BoxFuture<'static, Outcome> {
        let work = self.clone().send(delivery);
        Box::pin(async move { work.await.unwrap_or_else(|outcome| outcome) })
    }
}

impl Turn<'_> {
    /// Goes on only when an attempt that was begun has certainly sent nothing.
    ///
    /// That attempt may have ended a moment ago, however long ago it began: only the second look, a pause after this one, counts.
    async fn make_sure(&self) -> Result<(), Step> {
        self.look().await?;
        tokio::time::sleep(self.settle).await;
        self.look().await
    }

    /// Goes on when the provider does not list it.
    async fn look(&self) -> Result<(), Step> {
        match self.provider.query(&self.facts.idempotency_key, self.to, self.begun).await {
            FindOutcome::NotFound => Ok(()),
            FindOutcome::Found { delivered: Some(false), .. } => Err(self.next("NOT_DELIVERED")),
            FindOutcome::Found { provider_id, .. } => Err(self.sent(provider_id)),
            // Down, as its other calls may be: the gift waits for it, and for a human when the attempts are used up.
            FindOutcome::CannotTell { reason } if self.provider.can_be_asked() => {
                Err(Step::End(Outcome::retry(reason)))
            }
            FindOutcome::CannotTell { reason } => Err(self.unknown(&reason)),
        }
    }

    async fn send(&self, message: Message) -> Step {
        // Begun before and its fate unknown: possible only where the same key is the same message.
        let repeated = self.facts.resumed && self.provider.remembers(self.begun);
        match self.provider.send(&message).await {
            SendOutcome::Accepted { provider_id } => self.sent(provider_id),
            SendOutcome::Rejected { code, .. } => self.rejected(&code, repeated).await,
            SendOutcome::Unregistered => self.rejected("UNREGISTERED", repeated).await,
            // A new round has another key; the one that may have been taken stays.
            SendOutcome::Later { after, error } if repeated => Step::End(Outcome::Retry { error, after }),
            SendOutcome::Later { after, error } => Step::End(self.later(after, error)),
            SendOutcome::Unknown { error } if self.provider.remembers(self.begun) => {
                Step::End(Outcome::Retry { error, after: Some(REPEAT_AFTER) })
            }
            SendOutcome::Unknown { error } => match self.look().await {
                Err(step) => step,
                // Not listed, or not yet: the next attempt is told that one was begun, and makes sure.
                Ok(()) => Step::End(Outcome::Retry { error, after: Some(self.settle) }),
            },
        }
    }

    /// No for this attempt. Of one before that may have been taken it says something only when that is not listed: an account
    /// without balance refuses before it looks at keys.
    async fn rejected(&self, code: &str, repeated: bool) -> Step {
        if repeated && let Err(step) = self.look().await {
            return step;
        }
        self.next(code)
    }

    fn next(&self, code: &str) -> Step {
        tracing::info!(gift = self.work.gift, provider = self.provider.name(), code, "refused; the next channel");
        Step::Next(rejection(self.facts.channel(), code))
    }

    fn sent(&self, provider_id: String) -> Step {
        Step::End(sent(self.work, self.facts.channel(), provider_id))
    }

    fn later(&self, after: Option<Duration>, error: String) -> Outcome {
        let SendWork { gift, round } = self.work.clone();
        let outage = self.provider.is_out_for_everybody();
        let after_ms = after.map_or(0, |after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        tracing::info!(gift, round, provider = self.provider.name(), outage, error, "not sent, later");
        SendLater { gift, round, error: cut(error), outage, after_ms }.report()
    }

    fn unknown(&self, reason: &str) -> Step {
        let SendWork { gift, round } = self.work.clone();
        let name = self.provider.name();
        tracing::warn!(gift, round, provider = name, reason, "it may have been sent, and nobody can tell");
        Step::End(SendUnknown { gift, round, error: cut(format!("{name}: {reason}")) }.report())
    }
}

fn sent(work: &SendWork, channel: Channel, provider_id: String) -> Outcome {
    let SendWork { gift, round } = work.clone();
    Sent { gift, round, channel: channel.into(), provider_id }.report()
}

fn rejection(channel: Channel, error: &str) -> Rejection {
    Rejection { channel: channel.into(), error: error.chars().take(128).collect() }
}
