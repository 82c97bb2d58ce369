//! Keeps every gift of a run, and its fate.
//!
//! Independent of the product: numbers, prices and phones are made here, messages come from the providers' process with the clock of
//! the machine, and what the cluster says about gifts and money is compared with both.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use proto::gift::v1::GiftState;

use super::lines::Ledger;
use super::wish;
use crate::histogram::Times;

/// Templates of the messages, as the executors are configured with.
pub const GIFT: &str = "gift";
/// To the sender: it is reserved.
pub const RESERVED: &str = "reserved";
/// To the sender: it was sent.
pub const SENT: &str = "sent";

/// What became of one gift.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    asked: bool,
    /// Somebody was told that it is reserved.
    reserved: bool,
    /// It is sent within the run.
    due: bool,
    /// As a read says; 0 before.
    state: i32,
    /// Gift messages on the recipient's phone.
    messages: u16,
    /// Came before its moment.
    early: bool,
    /// Hash of the link in the first of them.
    link: u64,
    /// Another one came with another link.
    second_link: bool,
    /// News on the sender's phone.
    told_reserved: u8,
    told_sent: u8,
}

/// How a gift is, as a read says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its state.
    pub state: GiftState,
    /// Milliseconds from its moment to when it was SENT, in replicated time.
    pub sent_after_ms: Option<i64>,
}

/// What the cluster's books say, in won.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Taken.
    pub captured: i64,
    /// For gifts that are not sent yet.
    pub held: i64,
    /// Neither held, nor delivered, nor refunded.
    pub in_transit: i64,
    /// For gifts that were sent.
    pub delivered: i64,
    /// Given back.
    pub refunded: i64,
    /// What the report itself finds made or lost.
    pub difference: i64,
}

/// Everything that is known about a run.
#[derive(Debug)]
pub struct Gifts {
    fates: Vec<Fate>,
    /// When those that are due are to be sent, in microseconds of the machine's clock; none may be before it is known.
    moment_us: Option<i64>,
    /// Every so many-th gift's link is kept, to be opened at the end.
    sample: u64,
    links: HashMap<u64, String>,
    /// Codes seen, and whose.
    codes: HashMap<String, u64>,
    asked: u64,
    reserved: u64,
    reserved_due: u64,
    arrived: u64,
    told_reserved: u64,
    told_sent: u64,
    told_twice: u64,
    strangers: u64,
    shared_codes: u64,
    errors: BTreeMap<String, u64>,
    retries: BTreeMap<String, u64>,
    latency: Times,
    lateness: Times,
    last_message_us: i64,
    sent_after: Times,
    last_sent_ms: i64,
    findings: Vec<String>,
}

/// What a run comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Reservations tried.
    pub count: u64,
    /// Reservations that were answered with RESERVED.
    pub reserved: u64,
    /// Those of them that ended as they should: sent once at their moment, or RESERVED when they are due later.
    pub ok: u64,
    /// Reserved, and neither sent nor waiting.
    pub lost: u64,
    /// Gift messages beyond the first of each, and second links and codes.
    pub duplicates: u64,
    /// Messages before their moment.
    pub early: u64,
    /// Messages about gifts that nobody reserved, and gifts sent that are due later.
    pub contradicted: u64,
}

impl Gifts {
    /// Keeps the links of about `sample` of `expected` gifts.
    #[must_use]
    pub fn new(expected: u64, sample: u64) -> Self {
        Self {
            fates: Vec::new(),
            moment_us: None,
            sample: (expected / sample.max(1)).max(1),
            links: HashMap::new(),
            codes: HashMap::new(),
            asked: 0,
            reserved: 0,
            reserved_due: 0,
            arrived: 0,
            told_reserved: 0,
            told_sent: 0,
            told_twice: 0,
            strangers: 0,
            shared_codes: 0,
            errors: BTreeMap::new(),
            retries: BTreeMap::new(),
            latency: Times::default(),
            lateness: Times::default(),
            last_message_us: 0,
            sent_after: Times::default(),
            last_sent_ms: 0,
            findings: Vec::new(),
        }
    }

    /// A gift is about to be reserved; `due`: it is to be sent within the run. Returns its number.
    pub fn ask(&mut self, due: bool) -> u64 {
        self.fates.push(Fate { asked: true, due, ..Fate::default() });
        self.asked += 1;
        self.asked - 1
    }

    /// Its sender was told that it is reserved, so long after asking; `None`: not to be measured.
    pub fn reserve(&mut self, number: u64, latency_us: Option<i64>) {
        let Some(fate) = self.fate(number) else { return };
        let due = fate.due;
        if !std::mem::replace(&mut fate.reserved, true) {
            self.reserved += 1;
            self.reserved_due += u64::from(due);
            if let Some(us) = latency_us {
                self.latency.add_us(us);
            }
        }
    }

    /// The reservation failed for good, or nobody knows.
    pub fn fail(&mut self, reason: &str) {
        *self.errors.entry(reason.to_owned()).or_default() += 1;
    }

    /// An attempt failed and is made again.
    pub fn retry(&mut self, reason: &str) {
        *self.retries.entry(reason.to_owned()).or_default() += 1;
    }

    /// From this moment of the machine's clock on, in microseconds, gifts that are due may be sent.
    pub fn begin(&mut self, moment_us: i64) {
        self.moment_us = Some(moment_us);
    }

    /// A message arrived on a phone.
    pub fn hear(&mut self, at_us: i64, to: &str, template: &str, link: &str) {
        let number = match template {
            GIFT => wish::number_of_recipient(to),
            RESERVED | SENT => wish::number_of_sender(to),
            // News of what is not measured.
            _ => return,
        };
        let moment_us = self.moment_us;
        let Some((number, fate)) = number.and_then(|number| Some((number, self.fate(number)?))) else {
            self.strangers += 1;
            return;
        };
        match template {
            GIFT => {
                let hash = hash(link);
                fate.early |= moment_us.is_none_or(|moment_us| at_us < moment_us);
                if fate.messages == 0 {
                    fate.link = hash;
                }
                fate.second_link |= fate.link != hash || link.is_empty();
                fate.messages = fate.messages.saturating_add(1);
                let first = fate.messages == 1;
                if first {
                    self.arrived += 1;
                    self.last_message_us = self.last_message_us.max(at_us);
                    if let Some(moment_us) = moment_us {
                        self.lateness.add_us(at_us - moment_us);
                    }
                    if number % self.sample == 0 {
                        self.links.insert(number, link.to_owned());
                    }
                }
            }
            RESERVED => {
                fate.told_reserved = fate.told_reserved.saturating_add(1);
                let first = fate.told_reserved == 1;
                self.told_reserved += u64::from(first);
                self.told_twice += u64::from(!first);
            }
            _ => {
                fate.told_sent = fate.told_sent.saturating_add(1);
                let first = fate.told_sent == 1;
                self.told_sent += u64::from(first);
                self.told_twice += u64::from(!first);
            }
        }
    }

    /// How it is at the end.
    pub fn find(&mut self, number: u64, found: Found) {
        let Some(fate) = self.fate(number) else {
            self.strangers += 1;
            return;
        };
        let first = fate.state != i32::from(GiftState::Sent) && found.state == GiftState::Sent;
        fate.state = found.state.into();
        if let (true, Some(after_ms)) = (first, found.sent_after_ms) {
            fate.early |= after_ms < 0;
            self.sent_after.add_us(after_ms * 1_000);
            self.last_sent_ms = self.last_sent_ms.max(after_ms);
        }
    }

    /// Its recipient saw this code.
    pub fn see_code(&mut self, number: u64, code: &str) {
        let owner = *self.codes.entry(code.to_owned()).or_insert(number);
        self.shared_codes += u64::from(owner != number);
    }

    /// Compares the cluster's books with the provider's, and both with what became of the gifts. Returns the won that differ.
    pub fn compare(&mut self, balance: &Balance, provider: &Ledger) -> u64 {
        let price = |state: GiftState| {
            let of =
                |(number, fate): (u64, &Fate)| if fate.state == i32::from(state) { wish::price(number) } else { 0 };
            i64::try_from((0..).zip(&self.fates).map(of).sum::<u64>()).unwrap_or(i64::MAX)
        };
        let signed = |won: u64| i64::try_from(won).unwrap_or(i64::MAX);
        let pairs = [
            ("captured: the cluster's books and the provider's", balance.captured, signed(provider.captured_won)),
            ("refunded: the cluster's books and the provider's", balance.refunded, signed(provider.refunded_won)),
            (
                "delivered: the cluster's books and the price of the gifts sent",
                balance.delivered,
                price(GiftState::Sent),
            ),
            (
                "held: the cluster's books and the price of the gifts that wait",
                balance.held,
                price(GiftState::Reserved),
            ),
            (
                "refunded: the cluster's books and the price of the gifts refunded",
                balance.refunded,
                price(GiftState::Refunded),
            ),
            ("in transit: the cluster's books, and none should be", balance.in_transit, 0),
            ("made or lost, as the cluster's own report has it", balance.difference, 0),
        ];
        let mut apart = 0;
        for (what, left, right) in pairs.into_iter().filter(|(_, left, right)| left != right) {
            apart += left.abs_diff(right);
            self.findings.push(format!("the books differ, {what}: {left} won and {right} won"));
        }
        apart
    }

    /// Something else that must not be.
    pub fn note(&mut self, finding: String) {
        self.findings.push(finding);
    }

    /// What must not be, in words.
    #[must_use]
    pub fn findings(&self) -> &[String] {
        &self.findings
    }

    /// Gifts that are due and reserved, and of which no message has arrived.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        self.reserved_due.saturating_sub(self.arrived)
    }

    /// Numbers whose state is not known to be one they stay in for the rest of the run.
    #[must_use]
    pub fn unsettled(&self) -> Vec<u64> {
        let waits = |fate: &Fate| match GiftState::try_from(fate.state) {
            Ok(GiftState::Sent | GiftState::Refunded) => false,
            Ok(GiftState::Reserved) => fate.due,
            // It was withdrawn, or never was.
            Ok(GiftState::Unspecified) => fate.reserved,
            _ => true,
        };
        (0..).zip(&self.fates).filter(|(_, fate)| waits(fate)).map(|(number, _)| number).collect()
    }

    /// Links to be opened, by number.
    #[must_use]
    pub fn links(&self) -> Vec<(u64, String)> {
        let mut links: Vec<_> = self.links.iter().map(|(number, link)| (*number, link.clone())).collect();
        links.sort_unstable();
        links
    }

    /// What it all comes to.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let sent = i32::from(GiftState::Sent);
        let waiting = i32::from(GiftState::Reserved);
        let mut tally = Tally { count: self.asked, reserved: self.reserved, ..Tally::default() };
        for fate in self.fates.iter().filter(|fate| fate.asked) {
            tally.early += u64::from(fate.early);
            tally.duplicates += u64::from(fate.messages.saturating_sub(1)) + u64::from(fate.second_link);
            let well = if fate.due {
                fate.messages == 1 && fate.state == sent && !fate.early && !fate.second_link
            } else {
                fate.messages == 0 && fate.state == waiting
            };
            let gone = if fate.due { fate.messages == 0 || fate.state != sent } else { fate.state != waiting };
            tally.contradicted += u64::from(!fate.due && fate.messages > 0);
            tally.ok += u64::from(fate.reserved && well);
            tally.lost += u64::from(fate.reserved && gone);
        }
        tally.contradicted += self.strangers;
        tally.duplicates += self.shared_codes;
        tally
    }

    /// Reservations that failed, by reason.
    #[must_use]
    pub fn errors(&self) -> &BTreeMap<String, u64> {
        &self.errors
    }

    /// From now on latency is measured anew.
    pub fn forget_latency(&mut self) {
        self.latency = Times::default();
    }

    /// Attempts that were made again, by reason.
    #[must_use]
    pub fn retries(&self) -> &BTreeMap<String, u64> {
        &self.retries
    }

    /// Reserved, arrived; senders told that it is reserved, that it was sent; told twice.
    #[must_use]
    pub fn progress(&self) -> [u64; 5] {
        [self.reserved, self.arrived, self.told_reserved, self.told_sent, self.told_twice]
    }

    /// Reservations, from asking to RESERVED.
    #[must_use]
    pub fn latency(&self) -> &Times {
        &self.latency
    }

    /// Messages, from the moment to the provider; and gifts, from the moment to SENT in the log.
    #[must_use]
    pub fn lateness(&self) -> (&Times, &Times) {
        (&self.lateness, &self.sent_after)
    }

    /// Seconds from the moment to the last message, and to the last gift SENT in the log.
    #[must_use]
    pub fn drained_s(&self) -> (f64, f64) {
        let message_us = self.moment_us.map_or(0, |moment_us| self.last_message_us - moment_us);
        #[expect(clippy::cast_precision_loss, reason = "some seconds")]
        let seconds = (message_us.max(0) as f64 / 1e6, self.last_sent_ms as f64 / 1e3);
        seconds
    }

    fn fate(&mut self, number: u64) -> Option<&mut Fate> {
        self.fates.get_mut(usize::try_from(number).ok()?).filter(|fate| fate.asked)
    }
}

fn hash(text: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
