//! Gifts at the end of a run, and what their checkers say.

use std::ops::ControlFlow;

use checkers::gifts::history::{self, Books, FinalGift, State};
use checkers::gifts::{self, Options};
use domain::gift::{self, Gift};
use domain::notification::Channel;
use domain::{keys, ledger, payment};
use scheduler::store::{Read, StoreError};
use scheduler::time::Timestamp;

use crate::world::World;

/// Reads all gifts and asks their checkers; what is broken.
pub fn judge(world: &mut World, leader: usize) -> Vec<(String, String)> {
    let Some(of) = &world.gifts else { return Vec::new() };
    let now = world.nodes[leader].machine.watermark();
    let (at_end, books) = match read(&world.nodes[leader].store, now) {
        Ok(found) => found,
        Err(error) => return vec![("core".to_owned(), format!("gifts cannot be read at the end: {error}"))],
    };
    let mut record = history::Gifts {
        calls: of.calls.clone(),
        captures: of.provider.captures.clone(),
        refunds: of.provider.refunds.clone(),
        messages: of.provider.messages.iter().map(|(message, _)| message.clone()).collect(),
        at_end,
        books,
    };
    // What was asked for and is not there was withdrawn, or lost.
    for id in &of.known {
        if !record.at_end.iter().any(|end| end.gift.id == *id) {
            record.at_end.push(absent(id));
        }
    }
    for end in &record.at_end {
        world.trace.add(end.state as u64);
    }
    count(world, &record);
    let options = Options { end_ms: now.as_millis() as i64, clock_error_us: 0 };
    let found = gifts::check(&record, &options);
    found.into_iter().map(|one| (one.promise.to_owned(), format!("{}: {}", one.trigger, one.detail))).collect()
}

fn count(world: &mut World, record: &history::Gifts) {
    let coverage = &mut world.coverage;
    let of = |state: State| record.at_end.iter().filter(|end| end.state == state).count() as u64;
    coverage.gifts += record.at_end.len() as u64;
    coverage.gifts_withdrawn += of(State::Absent);
    coverage.gifts_expired += record.at_end.iter().filter(|end| end.expired).count() as u64;
    coverage.gifts_unknown += record.at_end.iter().filter(|end| end.attention).count() as u64;
    coverage.gifts_refunded += of(State::Refunded);
    coverage.gifts_sent += record.messages.iter().filter(|message| message.kind == history::Kind::Gift).count() as u64;
}

fn read(rows: &dyn Read, now: Timestamp) -> Result<(Vec<FinalGift>, Books), StoreError> {
    let (from, to) = keys::namespace_range(keys::GIFT, super::NAMESPACE);
    let mut ids = Vec::new();
    rows.scan(&from, &to, &mut |key, _| {
        ids.push(String::from_utf8_lossy(&key[from.len()..]).into_owned());
        ControlFlow::Continue(())
    })?;
    let mut at_end = Vec::new();
    for id in ids {
        let payment = payment::get(rows, super::NAMESPACE, &id)?.unwrap_or_default();
        let found = gift::get(rows, super::NAMESPACE, &id)?;
        at_end.extend(found.map(|gift| last(gift, payment.captured_won)));
    }
    let report = ledger::report(rows, super::NAMESPACE, now)?;
    let books = Books {
        captured: report.captured,
        held: report.held,
        in_transit: report.in_transit,
        delivered: report.delivered,
        refunded: report.refunded,
    };
    Ok((at_end, books))
}

fn last(gift: Gift, captured_won: u64) -> FinalGift {
    let sent = gift.sending.as_ref().and_then(|sending| sending.sent.as_ref());
    FinalGift {
        gift: super::key(&gift.id),
        state: State::from_name(gift.state().name()).unwrap_or(State::Absent),
        captured_won,
        send_at_ms: gift.send_at as i64,
        transferred: gift.transferred,
        expired: gift.events.iter().any(|event| event.state == gift::State::Expired as i32),
        attention: gift.attention,
        by_sender: sent.is_some_and(|sent| sent.channel() == Channel::Unspecified),
        shop: gift.shop,
    }
}

fn absent(id: &str) -> FinalGift {
    FinalGift {
        gift: super::key(id),
        state: State::Absent,
        captured_won: 0,
        send_at_ms: 0,
        transferred: false,
        expired: false,
        attention: false,
        by_sender: false,
        shop: String::new(),
    }
}
