//! Gifts on their way: sent, and looked for, by the rules of `executor/src/business/{send,find}.rs`.

use bytes::Bytes;
use checkers::gifts::history::Kind as Sort;
use domain::Kind;
use domain::gift::{Attempt, BeginSend, Found, Gift, ResolveSend, SendLater, SendUnknown, SendWork, Sent};
use domain::notification::Channel;
use executor::Outcome;
use scheduler::planted::{self, Bug};

use super::Gifts;
use super::executors::{Happened, Next, Refused};
use super::provider::{Class, LATE_MAX, Request, Said, Sent as Handed};
use crate::coverage::Coverage;
use crate::events::{Micros, SECOND};

/// How long a provider may take to list what it took: longer than a request may be on its way.
const SETTLE: Micros = LATE_MAX + SECOND;
/// Attempts in which a provider may fail to answer before a human is asked.
const FIND_ATTEMPTS_MAX: u32 = 19;

/// A gift that is being sent.
#[derive(Debug)]
pub struct Sending {
    work: SendWork,
    rejected: Vec<Attempt>,
    turn: Option<Turn>,
    at: Place,
}

/// What the cluster told about the turn.
#[derive(Clone, Debug)]
struct Turn {
    channel: Channel,
    resumed: bool,
    key: String,
    link: Option<Bytes>,
}

/// Where sending is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A turn is asked for.
    Asks,
    /// The provider is asked for the first time whether it has the message.
    LooksFirst,
    /// A pause, in which its list catches up.
    Rests,
    /// It is asked again.
    LooksAgain,
    /// The message is handed over.
    Hands,
    /// No answer came: it is asked whether it has the message.
    LooksAfter,
}

impl Sending {
    /// The work of a trigger.
    #[must_use]
    pub fn new(work: SendWork) -> Sending {
        Sending { work, rejected: Vec::new(), turn: None, at: Place::Asks }
    }

    /// What follows from what happened.
    pub fn next(&mut self, gifts: &mut Gifts, coverage: &mut Coverage, what: Happened, true_ms: u64) -> Next {
        match what {
            Happened::Begun => self.ask(gifts, true_ms),
            Happened::Decided(Ok(reply)) => self.begin(gifts, coverage, *reply),
            Happened::Decided(Err(Refused(why))) | Happened::Read(Err(Refused(why))) => Next::again(&why, None),
            Happened::Rested => self.look(Place::LooksAgain),
            Happened::Provided(said) => self.heard(gifts, said, true_ms),
            Happened::Read(Ok(_)) => Next::again("out of order", None),
        }
    }

    fn ask(&mut self, gifts: &mut Gifts, true_ms: u64) -> Next {
        self.at = Place::Asks;
        let expires_at = true_ms + gifts.rng.between(90, 400) * 60_000;
        Next::Command(Box::new(Kind::BeginSend(BeginSend {
            gift: self.work.gift.clone(),
            round: self.work.round,
            rejected: self.rejected.clone(),
            draw: Some(gifts.draw()),
            expires_at,
            remind_at: vec![expires_at - 3_600_000, expires_at - 1_800_000],
        })))
    }

    fn begin(&mut self, gifts: &Gifts, coverage: &mut Coverage, reply: domain::Reply) -> Next {
        let (turn, gift) = (reply.turn.unwrap_or_default(), reply.gift.unwrap_or_default());
        if turn.over {
            return Next::End(Outcome::Success);
        }
        let channel = turn.channel();
        let key = key_of(&gift, channel);
        let link = gift.draw.and_then(|draw| draw.link).map(|link| link.hash);
        self.turn = Some(Turn { channel, resumed: turn.resumed, key, link });
        coverage.turns_resumed += u64::from(turn.resumed);
        if channel == Channel::Unspecified {
            return self.sent(channel);
        }
        let remembers = gifts.provider.class(channel) == Class::Keyed;
        if turn.resumed && !remembers && !planted::is(Bug::SendsAgainUnseen) {
            return self.look(Place::LooksFirst);
        }
        self.hand()
    }

    fn look(&mut self, at: Place) -> Next {
        self.at = at;
        match &self.turn {
            Some(turn) => Next::Provider(Request::Find(turn.key.clone(), turn.channel)),
            None => Next::again("no turn", None),
        }
    }

    fn hand(&mut self) -> Next {
        self.at = Place::Hands;
        let Some(Turn { channel, key, link, .. }) = self.turn.clone() else { return Next::again("no turn", None) };
        Next::Provider(Request::Send(Handed { gift: self.work.gift.clone(), kind: Sort::Gift, channel, link, key }))
    }

    fn heard(&mut self, gifts: &mut Gifts, said: Said, true_ms: u64) -> Next {
        let Some(turn) = self.turn.clone() else { return Next::again("no turn", None) };
        let class = gifts.provider.class(turn.channel);
        // Only where the same key is the same message may it be on its way from before.
        let repeated = turn.resumed && class == Class::Keyed;
        match (self.at, said) {
            (_, Said::Accepted) => self.sent(turn.channel),
            (Place::LooksFirst, Said::NotFound) => {
                self.at = Place::Rests;
                Next::Rest(SETTLE)
            }
            (Place::LooksAgain, Said::NotFound) => self.hand(),
            // Not listed, or not yet: the next attempt is told that one was begun, and makes sure.
            (Place::LooksAfter, Said::NotFound) => Next::again("no answer", Some(SETTLE)),
            (Place::Hands, Said::Rejected) => {
                self.rejected.push(Attempt { channel: turn.channel.into(), ..Attempt::default() });
                self.ask(gifts, true_ms)
            }
            // A new round has another key; the one that may have been taken stays.
            (Place::Hands, Said::NotReached | Said::Later) if repeated => Next::again("later", None),
            (Place::Hands, Said::NotReached) => self.later(true),
            (Place::Hands, Said::Later) => self.later(false),
            (Place::Hands, _) if class == Class::Keyed => Next::again("no answer", Some(SECOND)),
            (Place::Hands, _) => self.look(Place::LooksAfter),
            (_, Said::CannotTell) => {
                let SendWork { gift, round } = self.work.clone();
                Next::report(Kind::SendUnknown(SendUnknown { gift, round, error: "no answer".to_owned() }))
            }
            // It gives no answer: the gift waits for it, and for a human when the attempts are used up.
            (_, _) if class == Class::Blind => {
                let SendWork { gift, round } = self.work.clone();
                Next::report(Kind::SendUnknown(SendUnknown { gift, round, error: "no answer".to_owned() }))
            }
            (_, _) => Next::again("it cannot be asked", None),
        }
    }

    fn sent(&self, channel: Channel) -> Next {
        let SendWork { gift, round } = self.work.clone();
        Next::report(Kind::Sent(Sent { gift, round, channel: channel.into(), provider_id: String::new() }))
    }

    fn later(&self, outage: bool) -> Next {
        let SendWork { gift, round } = self.work.clone();
        Next::report(Kind::SendLater(SendLater { gift, round, error: "later".to_owned(), outage, after_ms: 0 }))
    }
}

/// A gift of which nobody knows whether it was sent.
#[derive(Debug)]
pub struct Finding {
    work: SendWork,
    /// A pause was made since the provider was first asked.
    rested: bool,
    asked: Option<(String, Channel)>,
}

impl Finding {
    /// The work of a trigger.
    #[must_use]
    pub fn new(work: SendWork) -> Finding {
        Finding { work, rested: false, asked: None }
    }

    /// What follows from what happened.
    pub fn next(&mut self, gifts: &Gifts, attempt: u32, what: Happened) -> Next {
        let said = match what {
            Happened::Begun => return Next::Gift(self.work.gift.clone()),
            Happened::Read(Ok(gift)) => return self.look(gifts, gift.map(|gift| *gift).unwrap_or_default()),
            Happened::Rested => return self.ask(),
            Happened::Provided(said) => said,
            Happened::Read(Err(Refused(why))) | Happened::Decided(Err(Refused(why))) => return Next::again(&why, None),
            Happened::Decided(Ok(_)) => return Next::again("out of order", None),
        };
        match said {
            Said::Accepted => self.found(Found::Sent),
            Said::NotFound if self.rested => self.found(Found::NotSent),
            Said::NotFound => {
                self.rested = true;
                Next::Rest(SETTLE)
            }
            Said::CannotTell => self.found(Found::Nothing),
            _ if attempt < FIND_ATTEMPTS_MAX => Next::again("no answer", None),
            _ => self.found(Found::Nothing),
        }
    }

    fn look(&mut self, gifts: &Gifts, gift: Gift) -> Next {
        let begun = gift.sending.as_ref().and_then(|sending| sending.begun.clone());
        let Some(channel) = begun.map(|begun| begun.channel()).filter(|channel| *channel != Channel::Unspecified)
        else {
            return self.found(Found::Nothing);
        };
        if gifts.provider.class(channel) == Class::Blind {
            return self.found(Found::Nothing);
        }
        self.asked = Some((key_of(&gift, channel), channel));
        self.ask()
    }

    fn ask(&self) -> Next {
        match self.asked.clone() {
            Some((key, channel)) => Next::Provider(Request::Find(key, channel)),
            None => Next::again("out of order", None),
        }
    }

    fn found(&self, found: Found) -> Next {
        let (gift, by) = (self.work.gift.clone(), "provider".to_owned());
        Next::report(Kind::ResolveSend(ResolveSend { gift, found: found.into(), provider_id: String::new(), by }))
    }
}

/// The same for every attempt of a gift on a channel in a round.
fn key_of(gift: &Gift, channel: Channel) -> String {
    let round = gift.sending.as_ref().map_or(0, |sending| sending.round);
    format!("{}/{}/{}/send/{}/{round}", super::NAMESPACE, gift.id, gift.made, channel.name())
}
