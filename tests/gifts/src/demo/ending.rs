//! What came of it: each promise with what was seen of it, the messages as phones show them, and the books.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use gifts::{Books, World};
use jiff::Timestamp;
use proto::payment::v1::Balance;
use serde_json::{Value, json};

use super::cast::{DAD, DOYUN, EMMA, HAYOON, MINJUN, ROLES, Role, SENDER_PHONE};
use super::timeline::{Timeline, say, wrap};

/// A promise, and what was seen of it.
struct Check {
    what: String,
    is_kept: bool,
    seen: String,
}

/// How the story ended.
pub struct Ending {
    checks: Vec<Check>,
    gifts: Vec<(Role, String)>,
    books: Books,
    days: Vec<(String, Balance)>,
    phones: Vec<(&'static str, fakes::inbox::Message)>,
    timeline: Value,
    refusals: Vec<String>,
    ended: Timestamp,
}

/// When it is midnight for whom.
pub struct Midnights {
    /// In Seoul.
    pub seoul: Timestamp,
    /// In New York.
    pub new_york: Timestamp,
}

impl Ending {
    /// Looks at everything.
    pub async fn of(
        world: &World,
        timeline: &Timeline,
        books: Books,
        codes: &BTreeMap<&'static str, Vec<String>>,
        refusals: &[String],
        midnights: &Midnights,
    ) -> Result<Self> {
        let mut gifts = Vec::new();
        let mut checks = Vec::new();
        let mut check =
            |what: &str, is_kept: bool, seen: String| checks.push(Check { what: what.into(), is_kept, seen });
        for role in ROLES {
            let state = world.gift(role.id).await?.state();
            check(&format!("{} ends {}", role.id, name(role.end)), state == role.end, name(state));
            gifts.push((role, name(state)));
        }
        for role in ROLES.iter().filter(|role| !role.address.is_empty()) {
            let midnight = if role.id == EMMA.id { midnights.new_york } else { midnights.seoul };
            let (sent, early) = first_messages(world, role.address, midnight);
            let what = match role.messages() {
                0 => format!("{} is never sent", role.id),
                _ => format!("{} is sent once, not before midnight there", role.id),
            };
            check(&what, sent == role.messages() && early == 0, format!("{sent} messages, {early} too early"));
        }
        for (id, codes) in codes {
            let different: BTreeSet<_> = codes.iter().collect();
            check(&format!("{id} has one code"), different.len() == 1, format!("{} codes", different.len()));
        }
        let all: BTreeSet<_> = codes.values().flatten().collect();
        check(
            "no two gifts share a code",
            all.len() == codes.len(),
            format!("{} codes, {} gifts", all.len(), codes.len()),
        );
        for (name, address) in [("도윤", DOYUN.1), (EMMA.name, EMMA.address)] {
            let reminders = reminders(world, address, midnights);
            let what = format!("{name} is reminded on D-3 and D-1 at ten o'clock there");
            check(&what, reminders.as_slice() == ["D-3 10:00", "D-1 10:00"], reminders.join(", "));
        }
        let links: Vec<String> = world.links(SENDER_PHONE);
        check(&format!("the sender gets the link to {}", DAD.id), links.len() == 1, format!("{} links", links.len()));
        let differences = books.differences();
        let seen = if differences.is_empty() { "to the won".to_owned() } else { differences.join("; ") };
        check("the books agree with the provider's", differences.is_empty(), seen);
        let expected: i64 = ROLES
            .iter()
            .filter(|role| role.end == proto::gift::v1::GiftState::Refunded)
            .map(|role| role.won() as i64)
            .sum();
        let refunded = books.theirs.1;
        check("what was not used is paid back", refunded == expected, format!("{refunded} of {expected} won"));
        let twice =
            world.fakes().toss().ledger(100).payments.into_iter().filter(|one| one.refunded_won > one.captured_won);
        let twice: Vec<String> = twice.map(|one| one.order_id).collect();
        check("nothing is paid back twice", twice.is_empty(), twice.join(", "));
        let days = books.ours.days.iter().map(|day| (day.date.clone(), day.change.unwrap_or_default())).collect();
        Ok(Ending {
            checks,
            gifts,
            days,
            phones: phones(world),
            timeline: timeline.to_json(),
            refusals: refusals.to_vec(),
            ended: world.clock().now().await?,
            books,
        })
    }

    /// Whether every promise was kept.
    pub fn is_good(&self) -> bool {
        self.checks.iter().all(|check| check.is_kept)
    }

    /// For people.
    pub fn print(&self) {
        say("\nAs phones show it");
        for (name, message) in &self.phones {
            say(&format!("  {name} ({})", message.channel));
            let title = message.title.iter().map(String::as_str);
            let links = message.links.iter().map(|link| format!("[{}] {}", link.label, hidden(&link.url)));
            let lines = title.chain(message.body.lines()).map(hidden).chain(links);
            for line in lines.flat_map(|line| wrap(&line, 66)).filter(|line| !line.trim().is_empty()) {
                say(&format!("  │ {line}"));
            }
        }
        say("\nBooks, in won");
        say(&row("", &["captured", "held", "in transit", "delivered", "refunded"].map(str::to_owned)));
        for (date, change) in &self.days {
            say(&row(date, &cells(change)));
        }
        let total = self.books.ours.total.unwrap_or_default();
        say(&row("in all", &cells(&total)));
        let (captured, refunded) = self.books.theirs;
        let (none, captured, refunded) = (String::new(), won(captured), won(refunded));
        say(&row("provider", &[captured, none.clone(), none.clone(), none, refunded]));
        say("\nPromises");
        for check in &self.checks {
            let mark = if check.is_kept { "✓" } else { "✗" };
            let seen = if check.is_kept { String::new() } else { format!(": {}", check.seen) };
            for line in wrap(&format!("  {mark} {}{seen}", check.what), 78) {
                say(&line);
            }
        }
        let kept = self.checks.iter().filter(|check| check.is_kept).count();
        let verdict = if self.is_good() { "as it should be" } else { "NOT AS IT SHOULD BE" };
        say(&format!("\n{kept} of {} promises kept: {verdict}", self.checks.len()));
    }

    /// For tools.
    pub fn to_json(&self) -> Value {
        let balance = |balance: &Balance| {
            json!({ "capturedWon": balance.captured_won, "heldWon": balance.held_won, "inTransitWon": balance.in_transit_won,
                    "deliveredWon": balance.delivered_won, "refundedWon": balance.refunded_won })
        };
        let gifts =
            self.gifts.iter().map(|(role, state)| json!({ "id": role.id, "priceWon": role.won(), "state": state }));
        let checks = self.checks.iter();
        let checks = checks.map(|one| json!({ "what": one.what, "kept": one.is_kept, "seen": one.seen }));
        let days = self.days.iter().map(|(date, change)| json!({ "date": date, "change": balance(change) }));
        json!({
            "good": self.is_good(),
            "ended": self.ended.to_string(),
            "gifts": gifts.collect::<Value>(),
            "refusals": self.refusals,
            "books": {
                "ours": balance(&self.books.ours.total.unwrap_or_default()),
                "differenceWon": self.books.ours.difference_won,
                "days": days.collect::<Value>(),
                "provider": { "capturedWon": self.books.theirs.0, "refundedWon": self.books.theirs.1 },
            },
            "checks": checks.collect::<Value>(),
            "timeline": self.timeline,
        })
    }
}

fn name(state: proto::gift::v1::GiftState) -> String {
    state.as_str_name().trim_start_matches("GIFT_STATE_").to_owned()
}

/// Messages with a link that arrived on the first day, and those that arrived before it began.
fn first_messages(world: &World, address: &str, midnight: Timestamp) -> (usize, usize) {
    let messages = world.fakes().inbox().at(address);
    let with_link = messages.iter().filter(|message| !gifts::links(message).is_empty());
    let day = midnight.as_second()..midnight.as_second() + 86_400;
    with_link.fold((0, 0), |(sent, early), message| {
        let at = message.at.as_second();
        (sent + usize::from(day.contains(&at)), early + usize::from(at < day.start))
    })
}

/// When reminders arrived, as days before the last one and the hour there, to the minute.
fn reminders(world: &World, address: &str, midnights: &Midnights) -> Vec<String> {
    let midnight = if address == EMMA.address { midnights.new_york } else { midnights.seoul };
    let zone = if address == EMMA.address { "America/New_York" } else { "Asia/Seoul" };
    let Ok(zone) = jiff::tz::TimeZone::get(zone) else { return Vec::new() };
    let sent_on = midnight.to_zoned(zone.clone()).date();
    let messages = world.fakes().inbox().at(address);
    let later = messages.iter().map(|message| message.at.to_zoned(zone.clone()));
    let later = later.filter(|at| at.date() > sent_on);
    later
        .map(|at| {
            let day = (at.date() - sent_on).get_days();
            format!("D-{} {}", 30 - day, at.strftime("%H:%M"))
        })
        .collect()
}

/// A few messages, one of each kind.
fn phones(world: &World) -> Vec<(&'static str, fakes::inbox::Message)> {
    let first = |address: &str| world.fakes().inbox().at(address).into_iter().next();
    let people = [
        ("보신, who gives", SENDER_PHONE),
        (MINJUN.name, MINJUN.address),
        (HAYOON.name, HAYOON.address),
        (EMMA.name, EMMA.address),
    ];
    people.into_iter().filter_map(|(name, address)| Some((name, first(address)?))).collect()
}

/// A text without the secret of a link.
fn hidden(text: &str) -> String {
    match text.split_once("/g/") {
        Some((before, after)) => {
            let shown: String = after.chars().take(4).collect();
            format!("{before}/g/{shown}…")
        }
        None => text.to_owned(),
    }
}

fn row(label: &str, cells: &[String; 5]) -> String {
    let cells: String = cells.iter().map(|cell| format!("{cell:>11}")).collect();
    format!("  {label:<11}{cells}").trim_end().to_owned()
}

fn cells(balance: &Balance) -> [String; 5] {
    [balance.captured_won, balance.held_won, balance.in_transit_won, balance.delivered_won, balance.refunded_won]
        .map(won)
}

fn won(amount: i64) -> String {
    let digits = amount.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if amount < 0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_links_are_shown_as_people_may_see_them() {
        assert_eq!((won(0), won(-4_500), won(1_234_567)), ("0".into(), "-4,500".into(), "1,234,567".into()));
        assert_eq!(hidden("[열기] http://127.0.0.1:1/g/AbCdEfGh"), "[열기] http://127.0.0.1:1/g/AbCd…");
    }
}
