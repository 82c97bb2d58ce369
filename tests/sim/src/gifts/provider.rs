//! The providers outside: one that takes money, three that take messages, of the three classes there are.

use std::collections::{BTreeMap, BTreeSet};

use checkers::gifts::history::{Capture, Kind, Message, Refund};
use domain::notification::Channel;

use crate::events::{MS, Micros};
use crate::rng::Rng;
use crate::world::{Event, WorkerEvent, World};

/// How long an executor waits for an answer.
pub const TIMEOUT: Micros = 800 * MS;
/// A request arrives within this, or never.
pub const LATE_MAX: Micros = 1_500 * MS;

/// What a provider of messages does about repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Takes a message once per key.
    Keyed,
    /// Can be asked whether it has one.
    Listed,
    /// Neither.
    Blind,
}

/// What executors ask of a provider.
#[derive(Clone, Debug)]
pub enum Request {
    /// Capture a payment: its key, the order, won.
    Confirm(String, String, u64),
    /// What became of the payment with this key?
    Query(String),
    /// Give so much back, which is all there is.
    Cancel(String, u64),
    /// Take a message.
    Send(Sent),
    /// Is there a message with this key, on this channel?
    Find(String, Channel),
}

/// A message, as it is handed over.
#[derive(Clone, Debug)]
pub struct Sent {
    /// About which gift.
    pub gift: String,
    /// What it is.
    pub kind: Kind,
    /// By which channel.
    pub channel: Channel,
    /// Digest of the link in it, and the link's hash.
    pub link: Option<bytes::Bytes>,
    /// Its key.
    pub key: String,
}

/// What a provider says, or what an executor makes of silence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Captured: so much.
    Captured(u64),
    /// It never will be.
    Declined,
    /// All of it is back.
    Back,
    /// Not known there.
    NotFound,
    /// Nothing can be done with that balance.
    Refused,
    /// The message is taken, or was.
    Accepted,
    /// Not for this recipient.
    Rejected,
    /// Not now.
    Later,
    /// It cannot be asked.
    CannotTell,
    /// Nobody is there.
    NotReached,
    /// No answer.
    Nothing,
}

/// A payment the provider knows.
#[derive(Clone, Debug)]
struct Paid {
    gift: String,
    won: u64,
    left: u64,
}

/// All providers.
#[derive(Debug)]
pub struct Provider {
    payments: BTreeMap<String, Paid>,
    /// What was captured.
    pub captures: Vec<Capture>,
    /// What was given back.
    pub refunds: Vec<Refund>,
    /// What was taken, and the hash of the link in it.
    pub messages: Vec<(Message, Option<bytes::Bytes>)>,
    keys: BTreeSet<String>,
    classes: [Class; 3],
    /// Nobody is there from and until.
    pub down: Option<(Micros, Micros)>,
    /// So many in a million requests are lost before they take effect,
    pub lost_ppm: u32,
    /// or their answers are,
    pub unanswered_ppm: u32,
    /// or nobody is there.
    pub refused_ppm: u32,
    /// On their way: who asked and what.
    under_way: BTreeMap<u64, Asked>,
    asked: u64,
}

/// A request on its way.
#[derive(Clone, Debug)]
struct Asked {
    request: Request,
    /// Whom to answer, and when at the latest; `None`: the answer is lost.
    to: Option<(Asker, Micros)>,
}

/// A step of a piece of work of an executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Which executor,
    pub worker: usize,
    /// in which of its lives,
    pub boot: u32,
    /// which piece of work,
    pub work: u64,
    /// and which of its steps.
    pub step: u64,
}

impl Provider {
    /// Of a run.
    pub fn new(rng: &mut Rng) -> Provider {
        let mut classes = [Class::Keyed, Class::Listed, Class::Blind];
        classes.rotate_left(rng.below(3) as usize);
        let often = |rng: &mut Rng| if rng.coin() { rng.below(150_000) as u32 } else { 0 };
        Provider {
            payments: BTreeMap::new(),
            captures: Vec::new(),
            refunds: Vec::new(),
            messages: Vec::new(),
            keys: BTreeSet::new(),
            classes,
            down: None,
            lost_ppm: often(rng),
            unanswered_ppm: often(rng),
            refused_ppm: often(rng),
            under_way: BTreeMap::new(),
            asked: 0,
        }
    }

    /// What the provider of a channel does about repeats. Push and the operators' room replace what they have.
    #[must_use]
    pub fn class(&self, channel: Channel) -> Class {
        match channel {
            Channel::Kakao => self.classes[0],
            Channel::Sms => self.classes[1],
            Channel::Email => self.classes[2],
            Channel::Push | Channel::Operator | Channel::Unspecified => Class::Keyed,
        }
    }

    /// A request takes effect.
    fn take(&mut self, request: Request, at_us: i64) -> Said {
        match request {
            Request::Confirm(key, order, won) => {
                if key.ends_with("-declined") {
                    return Said::Declined;
                }
                let known = self.payments.get(&key).map(|paid| paid.won);
                Said::Captured(known.unwrap_or_else(|| {
                    self.captures.push(Capture { gift: super::key(&order), won });
                    self.payments.insert(key, Paid { gift: order, won, left: won });
                    won
                }))
            }
            Request::Query(key) => match self.payments.get(&key) {
                Some(Paid { left: 0, .. }) => Said::Back,
                Some(paid) => Said::Captured(paid.left),
                None if key.ends_with("-declined") => Said::Declined,
                None => Said::NotFound,
            },
            Request::Cancel(key, balance) => match self.payments.get_mut(&key) {
                Some(paid) if paid.left == balance => {
                    paid.left = 0;
                    self.refunds.push(Refund { gift: super::key(&paid.gift), won: balance });
                    Said::Back
                }
                Some(Paid { left: 0, .. }) => Said::Back,
                Some(_) => Said::Refused,
                None => Said::NotFound,
            },
            Request::Send(sent) => self.send(sent, at_us),
            Request::Find(key, channel) => match self.class(channel) {
                Class::Blind => Said::CannotTell,
                Class::Keyed | Class::Listed if self.keys.contains(&key) => Said::Accepted,
                Class::Keyed | Class::Listed => Said::NotFound,
            },
        }
    }

    fn send(&mut self, sent: Sent, at_us: i64) -> Said {
        // KakaoTalk does not reach everybody.
        if sent.channel == Channel::Kakao && sent.gift.ends_with("-nokakao") {
            return Said::Rejected;
        }
        let known = !self.keys.insert(sent.key.clone());
        if known && self.class(sent.channel) == Class::Keyed {
            return Said::Accepted;
        }
        let message = Message {
            gift: super::key(&sent.gift),
            kind: sent.kind,
            channel: sent.channel.name().to_owned(),
            link: sent.link.as_deref().map(super::digest),
            key: sent.key,
            delivered: true,
            at_us,
        };
        self.messages.push((message, sent.link));
        Said::Accepted
    }
}

impl World {
    /// An executor asks a provider; it is answered, or left without an answer, within [`TIMEOUT`].
    pub fn ask_provider(&mut self, asker: Asker, request: Request) {
        let (now, quiet) = (self.now(), self.quiet);
        let Some(gifts) = &mut self.gifts else { return };
        let provider = &mut gifts.provider;
        let down = provider.down.is_some_and(|(from, to)| (from..to).contains(&now)) && !quiet;
        let (lost, unanswered, refused) = match quiet {
            true => (false, false, false),
            false => (
                gifts.rng.chance(provider.lost_ppm),
                gifts.rng.chance(provider.unanswered_ppm),
                gifts.rng.chance(provider.refused_ppm),
            ),
        };
        if down || refused {
            self.coverage.providers_not_reached += 1;
            return self.tell_asker(asker, now + MS, Said::NotReached);
        }
        if lost {
            self.coverage.providers_silent += 1;
            return self.tell_asker(asker, now + TIMEOUT, Said::Nothing);
        }
        let slow = !quiet && gifts.rng.chance(30_000);
        let takes = if slow { gifts.rng.below(LATE_MAX) } else { MS + gifts.rng.below(40 * MS) };
        provider.asked += 1;
        let number = provider.asked;
        let to = (!unanswered).then_some((asker, now + TIMEOUT));
        provider.under_way.insert(number, Asked { request, to });
        if unanswered {
            self.coverage.providers_silent += 1;
            self.tell_asker(asker, now + TIMEOUT, Said::Nothing);
        }
        self.queue.at(now + takes, Event::Provider(number));
    }

    /// A request reaches its provider.
    pub fn reach_provider(&mut self, number: u64) {
        let (now, at_us) = (self.now(), self.recorded_us());
        let Some(gifts) = &mut self.gifts else { return };
        let Some(asked) = gifts.provider.under_way.remove(&number) else { return };
        let said = gifts.provider.take(asked.request, at_us);
        if let Some((asker, until)) = asked.to {
            let at = now + MS;
            match at <= until {
                true => self.tell_asker(asker, at, said),
                false => self.tell_asker(asker, until, Said::Nothing),
            }
        }
    }

    /// Everything that is on its way to a provider is there.
    pub fn arrive_all(&mut self) {
        let numbers: Vec<u64> =
            self.gifts.as_ref().map(|gifts| gifts.provider.under_way.keys().copied().collect()).unwrap_or_default();
        for number in numbers {
            self.reach_provider(number);
        }
    }

    fn tell_asker(&mut self, asker: Asker, at: Micros, said: Said) {
        let Asker { worker, boot, work, step } = asker;
        self.queue.at(at, Event::Worker(worker, boot, WorkerEvent::Provider(work, step, said)));
    }
}
