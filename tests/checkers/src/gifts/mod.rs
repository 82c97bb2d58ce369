//! Gifts: what is promised beyond triggers, from the point of view of callers and of the providers outside.
//!
//! | file | promise |
//! |---|---|
//! | [`lost`] | no gift is lost: each ends, or a human was told |
//! | [`answers`] | what was answered stays true: in time is never sent, used is used once |
//! | [`issued`] | one code and one link per holder |
//! | [`sent`] | never sent twice, never early, never both sent and given back |
//! | [`money`] | the books are the provider's |

pub mod answers;
pub mod history;
pub mod issued;
pub mod lost;
pub mod money;
pub mod sent;

#[cfg(test)]
mod fixture;

use std::collections::BTreeMap;

use crate::history::Key;
use crate::verdict::Violation;
use history::{Call, FinalGift, Gifts, Message};

/// Every promise about gifts, in the order of their checkers.
pub const PROMISES: [&str; 5] = [lost::PROMISE, answers::PROMISE, issued::PROMISE, sent::PROMISE, money::PROMISE];

/// What a run allows.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Replicated time at the end, in milliseconds: what is to be sent later may still wait.
    pub end_ms: i64,
    /// How far the clock of whoever recorded messages may be behind that of the cluster, in microseconds.
    pub clock_error_us: i64,
}

/// Runs every checker.
#[must_use]
pub fn check(gifts: &Gifts, options: &Options) -> Vec<Violation> {
    let about = About::all(gifts);
    let mut violations = lost::check(&about, options);
    violations.extend(answers::check(&about));
    violations.extend(issued::check(&about));
    violations.extend(sent::check(&about, options));
    violations.extend(money::check(&about, gifts.books));
    violations
}

/// Everything about one gift.
#[derive(Debug)]
pub struct About<'a> {
    /// Which.
    pub gift: &'a Key,
    /// Calls, in the order of the record.
    pub calls: Vec<&'a Call>,
    /// Captures, in won.
    pub captures: Vec<u64>,
    /// Refunds, in won.
    pub refunds: Vec<u64>,
    /// Messages, in the order of the record.
    pub messages: Vec<&'a Message>,
    /// At the end; `None` when it was not read.
    pub at_end: Option<&'a FinalGift>,
}

impl<'a> About<'a> {
    /// Everything, by gift, in the order of their keys.
    #[must_use]
    pub fn all(gifts: &'a Gifts) -> Vec<About<'a>> {
        let mut all: BTreeMap<&'a Key, About<'a>> = BTreeMap::new();
        for call in &gifts.calls {
            About::of(&mut all, &call.gift).calls.push(call);
        }
        for capture in &gifts.captures {
            About::of(&mut all, &capture.gift).captures.push(capture.won);
        }
        for refund in &gifts.refunds {
            About::of(&mut all, &refund.gift).refunds.push(refund.won);
        }
        for message in &gifts.messages {
            About::of(&mut all, &message.gift).messages.push(message);
        }
        for end in &gifts.at_end {
            About::of(&mut all, &end.gift).at_end = Some(end);
        }
        all.into_values().collect()
    }

    fn of<'m>(all: &'m mut BTreeMap<&'a Key, About<'a>>, gift: &'a Key) -> &'m mut About<'a> {
        all.entry(gift).or_insert_with(|| About {
            gift,
            calls: Vec::new(),
            captures: Vec::new(),
            refunds: Vec::new(),
            messages: Vec::new(),
            at_end: None,
        })
    }

    fn broken(&self, promise: &'static str, detail: impl Into<String>) -> Violation {
        Violation { promise, trigger: self.gift.clone(), detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_lives_break_nothing() {
        for gifts in fixture::good() {
            assert_eq!(check(&gifts, &fixture::options()), Vec::new(), "{gifts:#?}");
        }
    }

    /// Red when a record loses a field on its way through a file.
    #[test]
    fn a_record_survives_its_file() {
        let gifts = fixture::used();
        let json = serde_json::to_string(&gifts).unwrap();
        assert_eq!(serde_json::from_str::<Gifts>(&json).unwrap(), gifts);
    }
}
