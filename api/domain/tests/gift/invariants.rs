//! What is true after every entry, whatever was asked.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use domain::gift::{Gift, State};
use domain::ledger::report;
use domain::notification::{self, Fate};
use domain::payment::{Payment, PaymentState, RefundState};
use domain::shop::{FAILURES_MAX, Shop, Terminal};
use domain::triggers::{self, Purpose};
use domain::{keys, stored};
use prost::Message;
use scheduler::memory::MemoryStore;
use scheduler::read::TriggerView;
use scheduler::reply::Outcome;
use scheduler::store::Read;
use scheduler::time::Timestamp;

use crate::world::{SHOP, list, list_all};

/// Rows of a table: what stands behind the namespace, and the value.
fn rows(store: &MemoryStore, tag: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (from, to) = keys::namespace_range(tag, SHOP);
    let mut rows = Vec::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        rows.push((key[from.len()..].to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    store.scan(&from, &to, &mut visit).expect("read");
    rows
}

fn records<M: Message + Default>(store: &MemoryStore, tag: u8) -> BTreeMap<String, M> {
    let named = |(key, value): (Vec<u8>, Vec<u8>)| {
        (String::from_utf8(key).expect("an id"), stored::decode("record", &value).expect("a record"))
    };
    rows(store, tag).into_iter().map(named).collect()
}

pub fn gifts(store: &MemoryStore) -> BTreeMap<String, Gift> {
    records(store, keys::GIFT)
}

pub fn live(store: &MemoryStore) -> Vec<TriggerView> {
    list(store)
}

/// Everything that must hold, `commands` after `before`.
pub fn check(before: &MemoryStore, store: &MemoryStore, now: u64, commands: usize) {
    let (earlier, gifts) = (gifts(before), gifts(store));
    let payments: BTreeMap<String, Payment> = records(store, keys::PAYMENT);
    transitions(&earlier, &gifts, commands);
    money(store, &gifts, &payments, now);
    secrets(store, &gifts);
    lists(store, &gifts);
    progress(store, &gifts, &payments);
    news(store, &gifts);
    shops(store, now);
}

/// Only ways of [`State::next`]. One command goes one of them.
fn transitions(before: &BTreeMap<String, Gift>, after: &BTreeMap<String, Gift>, commands: usize) {
    if commands > 1 {
        return;
    }
    for (id, gift) in after {
        let from = before.get(id).map_or(State::Unspecified, Gift::state);
        assert!(from == gift.state() || from.leads_to(gift.state()), "{id}: {from:?} → {:?}", gift.state());
        let version = before.get(id).map_or(0, |gift| gift.version);
        assert!(gift.version >= version, "{id}: version {version} → {}", gift.version);
        assert!(before.get(id) == Some(gift) || gift.version > version, "{id} changed and kept its version");
    }
    for (id, gift) in before {
        assert!(after.contains_key(id) || gift.state() == State::PendingPayment, "{id} is gone, it was {gift:?}");
    }
}

/// The ledger says what the gifts and payments say.
fn money(store: &MemoryStore, gifts: &BTreeMap<String, Gift>, payments: &BTreeMap<String, Payment>, now: u64) {
    let report = report(store, SHOP, Timestamp::from_millis(now)).expect("read");
    assert_eq!(report.difference(), 0, "{report:?}");
    let (mut held, mut in_transit, mut delivered, mut refunded) = (0, 0, 0, 0);
    assert_eq!(gifts.keys().collect::<Vec<_>>(), payments.keys().collect::<Vec<_>>());
    for (id, payment) in payments {
        let (gift, won) = (&gifts[id], payment.captured_won as i64);
        let account = match (payment.refund(), gift.state()) {
            (RefundState::Done, State::Refunded) => &mut refunded,
            (RefundState::Requested | RefundState::Failed, State::Failed | State::Cancelled | State::Expired) => {
                &mut in_transit
            }
            (RefundState::None, State::Reserved) => &mut held,
            (RefundState::None, State::Sending | State::SendUnknown) => &mut in_transit,
            (RefundState::None, State::Sent | State::Accepted | State::Used) => &mut delivered,
            (RefundState::None, State::PendingPayment | State::Failed) if won == 0 => continue,
            other => panic!("{id}: {other:?} with {won} won"),
        };
        *account += won;
        let paid = payment.state() == PaymentState::Done;
        assert!(!paid || payment.captured_won == payment.amount_won, "{payment:?}");
        assert_eq!(payment.is_open(), gift.state() == State::PendingPayment, "{payment:?}");
    }
    let said = [report.held, report.in_transit, report.delivered, report.refunded];
    assert_eq!(said, [held, in_transit, delivered, refunded], "the ledger, and the sum over gifts");
}

/// A gift has one live code and one link that is its own; rows lead to gifts that are there.
fn secrets(store: &MemoryStore, gifts: &BTreeMap<String, Gift>) {
    let owner = |value: Vec<u8>| String::from_utf8(value).expect("an id");
    let mut with_code = BTreeSet::new();
    for (hash, id) in rows(store, keys::CODE) {
        let id = owner(id);
        let code = gifts[&id].draw.as_ref().and_then(|draw| draw.code.as_ref()).expect("a code");
        assert_eq!(code.hash, hash, "{id}: a code that is not its own");
        assert!(with_code.insert(id.clone()), "{id} has two codes");
    }
    let mut with_link = BTreeSet::new();
    let mut links: BTreeMap<String, usize> = BTreeMap::new();
    for (hash, id) in rows(store, keys::LINK) {
        let id = owner(id);
        let link = gifts[&id].draw.as_ref().and_then(|draw| draw.link.as_ref()).expect("a link");
        if link.hash == hash {
            with_link.insert(id.clone());
        }
        *links.entry(id).or_default() += 1;
    }
    for (id, gift) in gifts {
        // What could not be sent has lost both; what was, keeps them for whoever looks.
        let may_have_none = matches!(gift.state(), State::Failed | State::Refunded);
        let has = gift.draw.is_some() && (with_code.contains(id) || !may_have_none);
        assert_eq!(with_code.contains(id), has, "{id}: its code");
        assert_eq!(with_link.contains(id), has, "{id}: its link");
        let expected = if has { 1 + usize::from(gift.transferred) } else { 0 };
        assert_eq!(links.get(id).copied().unwrap_or(0), expected, "{id}: links");
        let drawn = !matches!(gift.state(), State::PendingPayment | State::Reserved | State::Cancelled);
        assert!(gift.draw.is_none() || drawn, "{id} has a code in {:?}", gift.state());
        let usable = matches!(gift.state(), State::Sending | State::SendUnknown | State::Sent | State::Accepted);
        assert!(!usable || has, "{id} has no code in {:?}", gift.state());
    }
}

/// Lists hold what they are of, and records stay small.
fn lists(store: &MemoryStore, gifts: &BTreeMap<String, Gift>) {
    let waiting: BTreeSet<String> =
        rows(store, keys::ATTENTION).into_iter().map(|(id, _)| String::from_utf8(id).expect("an id")).collect();
    let flagged: BTreeSet<String> = gifts.values().filter(|gift| gift.attention).map(|gift| gift.id.clone()).collect();
    assert_eq!(waiting, flagged, "the list of what waits for a human, and the gifts");
    assert_eq!(rows(store, keys::GIFT_OF_SENDER).len(), gifts.len(), "the lists of senders");
    for gift in gifts.values() {
        assert!(gift.events.len() <= 48 && gift.requests.len() <= 8, "{gift:?}");
        assert!(gift.sending.as_ref().is_none_or(|sending| sending.rejected.len() <= 3), "{gift:?}");
    }
}

/// Nothing is stuck: a live trigger moves it on, or a human is told. And there are few triggers.
fn progress(store: &MemoryStore, gifts: &BTreeMap<String, Gift>, payments: &BTreeMap<String, Payment>) {
    let live = live(store);
    let ids: BTreeSet<&str> = live.iter().map(|view| view.id.as_str()).collect();
    let mut of: BTreeMap<String, Vec<(Purpose, Outcome)>> = BTreeMap::new();
    for view in &live {
        let named = triggers::parse(&view.id).expect("a trigger of a gift");
        of.entry(named.gift).or_default().push((named.purpose, view.state));
    }
    for (id, gift) in gifts {
        let payment = &payments[id];
        let own = of.get(id).map_or(&[][..], Vec::as_slice);
        let any = |wanted: Purpose| own.iter().any(|(purpose, _)| *purpose == wanted);
        let moved = match gift.state() {
            State::PendingPayment => ids.contains(payment.trigger.as_str()),
            State::Reserved | State::Sending => ids.contains(gift.send_trigger.as_str()),
            State::SendUnknown => any(Purpose::Find),
            State::Sent | State::Accepted => ids.contains(gift.clock_trigger.as_str()),
            State::Failed | State::Cancelled | State::Expired => {
                payment.refund() == RefundState::None || any(Purpose::Refund)
            }
            State::Used | State::Refunded | State::Unspecified => true,
        };
        assert!(moved || gift.attention, "{id} is stuck in {:?}: {own:?}", gift.state());
        let waiting =
            |(purpose, state): &&(Purpose, Outcome)| *purpose != Purpose::Notify && *state == Outcome::Scheduled;
        assert!(own.iter().filter(waiting).count() <= 2, "{id} holds {own:?}");
        let clocks = own.iter().filter(|(purpose, state)| {
            matches!(purpose, Purpose::Remind | Purpose::Expire) && *state == Outcome::Scheduled
        });
        assert!(clocks.count() <= 1, "{id} holds {own:?}");
    }
}

/// Whatever is to be told is known, until it is one of too many; and nothing is known of gifts that are gone.
fn news(store: &MemoryStore, gifts: &BTreeMap<String, Gift>) {
    for (id, _) in rows(store, keys::NOTIFICATIONS) {
        let id = String::from_utf8(id).expect("an id");
        assert!(gifts.contains_key(&id), "news about {id}, which is gone");
        let kept = notification::list(store, SHOP, &id).expect("read");
        assert!((1..=notification::KEPT_MAX).contains(&kept.len()), "{id}: {} pieces of news", kept.len());
        assert!(kept.is_sorted_by(|a, b| a.number < b.number), "{kept:?}");
        for one in &kept {
            assert_eq!(one.fate() == Fate::Open, one.since == 0, "{one:?}");
            assert!(one.fate() == Fate::Told || one.provider_id.is_empty(), "{one:?}");
            assert!(!one.ways.is_empty() && one.ways.iter().all(|way| !way.address.contains("1234")), "{one:?}");
        }
    }
    for view in live(store) {
        let named = triggers::parse(&view.id).expect("a trigger of a gift");
        if named.purpose == Purpose::Notify && gifts.contains_key(&named.gift) {
            let kept = notification::list(store, SHOP, &named.gift).expect("read");
            let known = kept.iter().any(|one| one.number == named.number);
            assert!(known || kept.len() == notification::KEPT_MAX, "nobody knows of {}: {kept:?}", view.id);
        }
    }
}

/// Terminals are counted and bounded, and whoever is locked out is told about, unless it is over.
fn shops(store: &MemoryStore, now: u64) {
    let shops: BTreeMap<String, Shop> = records(store, keys::SHOP);
    let mut of: BTreeMap<String, u32> = BTreeMap::new();
    for (_, value) in rows(store, keys::TERMINAL) {
        let terminal: Terminal = stored::decode("terminal", &value).expect("a record");
        *of.entry(terminal.shop.clone()).or_default() += 1;
        assert_eq!(terminal.revoked == 0, !terminal.secret.is_empty(), "{terminal:?}");
        assert!(terminal.counted.len() <= FAILURES_MAX, "{terminal:?}");
        assert!(terminal.counted.is_sorted_by(|a, b| a.number < b.number && a.at <= b.at), "{terminal:?}");
        assert_eq!(terminal.alert.is_empty(), terminal.counted.len() < FAILURES_MAX, "{terminal:?}");
        let now = Timestamp::from_millis(now);
        let locked = terminal.locked_until(now).is_some();
        assert_eq!(locked, terminal.failures(now) == FAILURES_MAX, "{terminal:?}");
    }
    let said: BTreeMap<String, u32> =
        shops.iter().map(|(id, shop)| (id.clone(), shop.terminals)).filter(|(_, count)| *count > 0).collect();
    assert_eq!(of, said, "terminals of each shop");
    for view in list_all(store) {
        let id = view.id.strip_prefix("bosingak.shop.{").and_then(|rest| rest.split_once('}')).map(|(id, _)| id);
        assert!(id.is_none_or(|id| shops.contains_key(id)), "{} is about no shop", view.id);
    }
}
