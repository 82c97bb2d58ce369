//! A business domain for tests: a shelf with items, one to a buyer.

use bytes::Bytes;
use scheduler::command::{Cancel, Reschedule, Schedule, When};
use scheduler::domain::{Domain, DomainContext, DomainError};

/// Table of what is left, and table of who bought.
const LEFT: u8 = 0x80;
const BOUGHT: u8 = 0x81;
/// Table of what is counted.
pub const COUNTED: u8 = 0x82;
/// Table of whose trigger was given up.
pub const GIVEN_UP: u8 = 0x83;

/// Commands are text: `stock ITEM COUNT`, `buy ITEM USER`, `hold ITEM USER MS` (buys and schedules the id `hold-USER`),
/// `leave USER` (cancels it), `move USER MS` (moves it), `count ITEM DELTA` (adds to a counter, and tells watchers). A `hold-USER` that
/// becomes a dead letter gives up: `USER` is noted, and `after-USER` scheduled where there is room; `hold-stubborn` refuses to.
#[derive(Debug, Default)]
pub struct Stock;

fn key(table: u8, parts: &[&str]) -> Vec<u8> {
    let mut key = vec![table];
    key.extend_from_slice(parts.join("/").as_bytes());
    key
}

fn refused<T>(why: &'static str) -> Result<T, DomainError> {
    Err(DomainError::Refused(Bytes::from_static(why.as_bytes())))
}

impl Stock {
    fn buy(&self, cx: &mut DomainContext<'_, '_, '_>, item: &str, user: &str) -> Result<Bytes, DomainError> {
        let left = cx.get(&key(LEFT, &[item]))?.map_or(0, |value| value[0]);
        // Written before it is checked, so that only the savepoint keeps a refusal from leaving something.
        cx.put(&key(BOUGHT, &[item, user]), vec![1])?;
        if left == 0 {
            return refused("sold-out");
        }
        cx.put(&key(LEFT, &[item]), vec![left - 1])?;
        Ok(Bytes::from_static(b"sold"))
    }
}

impl Domain for Stock {
    fn apply(&self, cx: &mut DomainContext<'_, '_, '_>, namespace: &str, body: &Bytes) -> Result<Bytes, DomainError> {
        let text = String::from_utf8_lossy(body).into_owned();
        match text.split(' ').collect::<Vec<_>>()[..] {
            ["stock", item, count] => {
                let Ok(count) = count.parse() else { return refused("count") };
                cx.put(&key(LEFT, &[item]), vec![count])?;
                Ok(Bytes::from_static(b"stocked"))
            }
            ["buy", item, user] => self.buy(cx, item, user),
            ["hold", item, user, ms] => {
                let after = When::After(ms.parse().unwrap_or(0));
                let schedule = Schedule {
                    namespace: namespace.to_owned(),
                    id: format!("hold-{user}"),
                    topic: "hold".to_owned(),
                    when: Some(after),
                    ..Schedule::default()
                };
                if cx.schedule(schedule)?.is_err() {
                    return refused("held");
                }
                self.buy(cx, item, user)
            }
            ["leave", user] => {
                let cancel =
                    Cancel { namespace: namespace.to_owned(), id: format!("hold-{user}"), ..Cancel::default() };
                if cx.cancel(cancel)?.is_err() { refused("too-late") } else { Ok(Bytes::from_static(b"left")) }
            }
            ["move", user, ms] => {
                let when = Some(When::After(ms.parse().unwrap_or(0)));
                let (namespace, id) = (namespace.to_owned(), format!("hold-{user}"));
                match cx.reschedule(Reschedule { namespace, id, when, ..Reschedule::default() })? {
                    Ok(_) => Ok(Bytes::from_static(b"moved")),
                    Err(_) => refused("too-late"),
                }
            }
            ["count", item, delta] => {
                cx.add(&key(COUNTED, &[item]), delta.parse().unwrap_or(0))?;
                cx.changed(namespace, &format!("item {item}"));
                // Written before it is checked, as above.
                if *item == *"none" { refused("none") } else { Ok(Bytes::from_static(b"counted")) }
            }
            ["foreign"] => cx.put(&[0x11, 1], vec![]).map(|()| Bytes::new()),
            _ => refused("unknown"),
        }
    }

    fn dead_lettered(&self, cx: &mut DomainContext<'_, '_, '_>, namespace: &str, id: &str) -> Result<(), DomainError> {
        let Some(user) = id.strip_prefix("hold-") else { return Ok(()) };
        cx.put(&key(GIVEN_UP, &[user]), vec![1])?;
        if user == "stubborn" {
            return refused("never");
        }
        let (namespace, id, topic) = (namespace.to_owned(), format!("after-{user}"), "hold".to_owned());
        let when = Some(When::After(1_000));
        // Where there is no room it is left out: that it was given up is a fact.
        let _ = cx.schedule(Schedule { namespace, id, topic, when, ..Schedule::default() })?;
        Ok(())
    }
}
