//! What callers do with gifts: senders reserve, change and take back, recipients accept and pass on what they were sent, shops take
//! codes.

use bytes::Bytes;
use checkers::gifts::history::{self, Outcome, Request, State};
use client::Error;
use domain::gift::{Accept, Cancel, Edit, Party, Redeem, Reserve, Transfer};
use domain::payment::Ask as Payment;
use domain::product::Product;
use domain::{Kind, Refusal, Reply};
use prost::Message as _;
use scheduler::command::{Business, Kind as Proposed};
use scheduler::reply::{Refusal as Refused, Reply as Answer};

use super::{Gifts, MIDNIGHT_MS};
use crate::world::{About, Ask, Said, World};

/// Price of everything.
const WON: u64 = 4_500;
/// How far before and after a midnight callers mostly take back what they have reserved.
const AROUND_MS: u64 = 1_500;

impl World {
    /// What a caller does about gifts next, and what the record calls it; `None` when it does something else.
    pub fn invent_gift(&mut self, number: usize) -> Option<(Ask, About)> {
        let now_ms = self.true_ms();
        let request = {
            let gifts = self.gifts.as_mut()?;
            gifts.rng.chance(550_000).then(|| request_id(gifts))?
        };
        let gifts = self.gifts.as_mut()?;
        let passed = now_ms.saturating_sub(gifts.began_ms);
        let near = (passed + AROUND_MS) % MIDNIGHT_MS < 2 * AROUND_MS && passed > MIDNIGHT_MS / 2;
        let what = gifts.rng.below(100);
        let reserve = gifts.known.is_empty() || if near { what < 8 } else { what < 40 };
        let chosen = if reserve {
            Some(gifts.reserve(number, now_ms, passed))
        } else if near && what < 60 || what < 48 {
            gifts.cancel(request)
        } else if what < 55 {
            gifts.edit(request, now_ms)
        } else if what < 78 {
            gifts.accept(request)
        } else if what < 84 {
            gifts.transfer(request)
        } else {
            gifts.redeem(request, number)
        };
        let (id, asked, kind) = chosen?;
        let body = super::encoded(kind);
        let ask = Ask::Decide(Proposed::Business(Business { namespace: super::NAMESPACE.to_owned(), body }));
        Some((ask, About::Gift(super::key(&id), asked)))
    }

    /// A call about a gift has ended.
    pub fn gift_answered(&mut self, call: history::Call, shown: Option<Bytes>) {
        let coverage = &mut self.coverage;
        match (&call.request, &call.outcome) {
            (Request::Cancel, Outcome::Done(_)) => coverage.gifts_cancelled += 1,
            (Request::Cancel, Outcome::Refused { reason, .. }) if reason == "TOO_LATE" => {
                coverage.gifts_too_late += 1;
            }
            (Request::Transfer { .. }, Outcome::Done(_)) => coverage.gifts_passed_on += 1,
            (Request::Redeem { .. }, Outcome::Done(_)) => coverage.gifts_used += 1,
            _ => {}
        }
        let Some(gifts) = &mut self.gifts else { return };
        if let Some(code) = shown {
            gifts.codes.push((call.gift.id.clone(), code));
        }
        gifts.calls.push(call);
    }
}

type Chosen = Option<(String, Request, Kind)>;

impl Gifts {
    /// One of the newest.
    fn any(&mut self) -> Option<String> {
        let recent = self.known.len().saturating_sub(12);
        self.rng.pick(&self.known[recent..]).cloned()
    }

    fn reserve(&mut self, number: usize, now_ms: u64, passed: u64) -> (String, Request, Kind) {
        let kind = if self.rng.chance(150_000) { "-nokakao" } else { "" };
        let id = format!("g{number}-{}{kind}", self.known.len());
        let midnight = self.began_ms + (passed / MIDNIGHT_MS + 1) * MIDNIGHT_MS;
        let at_midnight = midnight >= now_ms + 660_000 && self.rng.chance(800_000);
        let send_at = if at_midnight { midnight } else { now_ms + 660_000 + self.rng.below(2 * MIDNIGHT_MS) };
        let declined = if self.rng.chance(60_000) { "-declined" } else { "" };
        let payment = Payment {
            provider: "money".to_owned(),
            payment_key: format!("key-{id}{declined}"),
            order_id: id.clone(),
            amount_won: WON,
        };
        let command = Reserve {
            gift: id.clone(),
            sender: Some(Party { id: format!("s{number}"), push_token: "p".to_owned(), ..self.person(0) }),
            recipient: {
                let place = self.rng.below(10);
                Some(self.person(place))
            },
            message: "생일 축하해 🎂".to_owned(),
            product: Some(product()),
            send_at,
            local: None,
            fingerprint: send_at,
            payment: Some(payment),
        };
        self.known.push(id.clone());
        (id, Request::Reserve { won: WON, send_at_ms: send_at as i64 }, Kind::Reserve(command))
    }

    /// Somebody who is reached by everything, by e-mail only, or not at all.
    fn person(&mut self, place: u64) -> Party {
        let phone = if place < 7 { "+821012345678" } else { "" };
        let email = if place < 9 { "minji@example.com" } else { "" };
        Party { phone: phone.to_owned(), email: email.to_owned(), zone: "Asia/Seoul".to_owned(), ..Party::default() }
    }

    fn cancel(&mut self, request: Bytes) -> Chosen {
        let gift = self.any()?;
        let command = Cancel { gift: gift.clone(), request, expected_version: 0, sender: String::new() };
        Some((gift, Request::Cancel, Kind::Cancel(command)))
    }

    fn edit(&mut self, request: Bytes, now_ms: u64) -> Chosen {
        let gift = self.any()?;
        let send_at = now_ms + 660_000 + self.rng.below(2 * MIDNIGHT_MS);
        let recipient = self.rng.coin().then(|| self.person(0));
        let command = Edit { gift: gift.clone(), request, send_at, recipient, ..Edit::default() };
        Some((gift, Request::Edit { send_at_ms: Some(send_at as i64) }, Kind::Edit(command)))
    }

    /// A link that somebody was sent.
    fn link(&mut self) -> Option<(String, Bytes)> {
        let sent: Vec<(String, Bytes)> = self
            .provider
            .messages
            .iter()
            .rev()
            .filter_map(|(message, link)| Some((message.gift.id.clone(), link.clone()?)))
            .take(12)
            .collect();
        self.rng.pick(&sent).cloned()
    }

    fn accept(&mut self, request: Bytes) -> Chosen {
        let (gift, link) = self.link()?;
        let asked = Request::Accept { link: super::digest(&link) };
        Some((gift, asked, Kind::Accept(Accept { link, request })))
    }

    fn transfer(&mut self, request: Bytes) -> Chosen {
        let (gift, link) = self.link()?;
        let asked = Request::Transfer { link: super::digest(&link) };
        let (to, draw) = (Some(self.person(0)), Some(self.draw()));
        Some((gift, asked, Kind::Transfer(Transfer { link, request, to, draw })))
    }

    fn redeem(&mut self, request: Bytes, number: usize) -> Chosen {
        let recent = self.codes.len().saturating_sub(8);
        let (gift, code) = self.rng.pick(&self.codes[recent..]).cloned()?;
        let shop = format!("shop-{number}");
        let asked = Request::Redeem { code: super::digest(&code), shop: shop.clone() };
        Some((gift, asked, Kind::Redeem(Redeem { code, request, shop, terminal: String::new() })))
    }
}

fn request_id(gifts: &mut Gifts) -> Bytes {
    Bytes::from([gifts.rng.draw().to_be_bytes(), gifts.rng.draw().to_be_bytes()].concat())
}

fn product() -> Product {
    Product {
        id: "coffee".to_owned(),
        version: 1,
        name: "아메리카노".to_owned(),
        brand: "Bell Coffee".to_owned(),
        price_won: WON,
        valid_days: 30,
        on_sale: true,
        ..Product::default()
    }
}

/// What came of a call, and the code it showed.
#[must_use]
pub fn outcome(request: &Request, answer: &Result<Said, Error>, otherwise: Outcome) -> (Outcome, Option<Bytes>) {
    match answer {
        Ok(Said::Decided(Answer::Business(body))) => done(request, Reply::decode(body.clone()).unwrap_or_default()),
        Ok(Said::Decided(Answer::Refused(Refused::Business(body)))) => {
            let refusal = Refusal::decode(body.clone()).unwrap_or_default();
            let state = domain::gift::State::try_from(refusal.state).ok().map(|state| state.name());
            let reason = name(refusal.reason());
            (Outcome::Refused { reason, state: state.and_then(State::from_name) }, None)
        }
        _ => (otherwise, None),
    }
}

fn done(request: &Request, reply: Reply) -> (Outcome, Option<Bytes>) {
    let (log_index, replayed) = (reply.log_index, reply.replayed);
    let gift = reply.gift.unwrap_or_default();
    let shown = match request {
        Request::Accept { .. } => gift.draw.as_ref().and_then(|draw| draw.code.as_ref()).map(|code| code.hash.clone()),
        _ => None,
    };
    let state = State::from_name(gift.state().name()).unwrap_or(State::Absent);
    let code = shown.as_deref().map(super::digest);
    (Outcome::Done(history::Answer { state, log_index, replayed, code }), shown)
}

/// As the protocol writes reasons.
fn name(reason: domain::Reason) -> String {
    match reason {
        domain::Reason::TooLate => "TOO_LATE",
        domain::Reason::WrongState => "WRONG_STATE",
        domain::Reason::NotFound => "NOT_FOUND",
        domain::Reason::Stale => "STALE",
        _ => "REFUSED",
    }
    .to_owned()
}
