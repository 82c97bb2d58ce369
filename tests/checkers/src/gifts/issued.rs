//! One code and one link per holder: never a second one for a gift that was not passed on, never an earlier holder's that still
//! counts, never one that two gifts share.

use std::collections::{BTreeMap, BTreeSet};

use super::About;
use super::history::{Kind, Outcome, Request};
use crate::history::Key;
use crate::verdict::Violation;

pub(crate) const PROMISE: &str = "one code and one link per holder";

/// Looks at every link that was sent or taken, and every code that was shown or taken.
#[must_use]
pub fn check(about: &[About<'_>]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut owners: BTreeMap<(&str, u64), &Key> = BTreeMap::new();
    for gift in about {
        let mut wrong = Vec::new();
        let links = links(gift);
        let codes: BTreeSet<u64> = shown(gift).map(|(_, code)| code).collect();
        numbers(gift, &links, &codes, &mut wrong);
        earlier_holder(gift, &mut wrong);
        for (what, secret) in links.iter().map(|link| ("link", *link)).chain(codes.iter().map(|code| ("code", *code))) {
            let owner = owners.entry((what, secret)).or_insert(gift.gift);
            if *owner != gift.gift {
                wrong.push(format!("it has the {what} of {owner}"));
            }
        }
        violations.extend(wrong.into_iter().map(|detail| gift.broken(PROMISE, detail)));
    }
    violations
}

/// Links in messages about a gift.
fn links(gift: &About<'_>) -> BTreeSet<u64> {
    gift.messages.iter().filter_map(|message| message.link).collect()
}

/// Codes that holders were shown, with the entry that decided it.
fn shown<'a>(gift: &'a About<'_>) -> impl Iterator<Item = (u64, u64)> + 'a {
    gift.calls.iter().filter_map(|call| match &call.outcome {
        Outcome::Done(answer) => Some((answer.log_index, answer.code?)),
        _ => None,
    })
}

fn numbers(gift: &About<'_>, links: &BTreeSet<u64>, codes: &BTreeSet<u64>, wrong: &mut Vec<String>) {
    let passed_on = gift.at_end.is_some_and(|end| end.transferred)
        || gift.calls.iter().any(|call| {
            matches!(call.request, Request::Transfer { .. })
                && matches!(call.outcome, Outcome::Done(_) | Outcome::Unknown { .. })
        });
    let holders = 1 + usize::from(passed_on);
    let sent = |message: &&&super::history::Message| message.kind == Kind::Gift;
    let first: BTreeSet<u64> = gift.messages.iter().filter(sent).filter_map(|message| message.link).collect();
    if first.len() > 1 {
        wrong.push(format!("{} links were sent to one holder", first.len()));
    } else if links.len() > holders {
        wrong.push(format!("{} links were sent to {holders} holders", links.len()));
    }
    if codes.len() > holders {
        wrong.push(format!("{} codes were shown to {holders} holders", codes.len()));
    }
}

/// From the entry on that passed it on, the old link and the old code are dead.
fn earlier_holder(gift: &About<'_>, wrong: &mut Vec<String>) {
    let passed_on = gift.calls.iter().find_map(|call| match (&call.request, &call.outcome) {
        (Request::Transfer { link }, Outcome::Done(answer)) if answer.log_index > 0 => Some((*link, answer.log_index)),
        _ => None,
    });
    let Some((old_link, at)) = passed_on else { return };
    let old_codes: BTreeSet<u64> = shown(gift).filter(|(index, _)| *index < at).map(|(_, code)| code).collect();
    for call in &gift.calls {
        let Outcome::Done(answer) = &call.outcome else { continue };
        if answer.replayed || answer.log_index <= at {
            continue;
        }
        match &call.request {
            Request::Accept { link } if *link == old_link => {
                wrong.push(format!("an earlier holder's link was taken at entry {}", answer.log_index));
            }
            Request::Redeem { code, .. } if old_codes.contains(code) => {
                wrong.push(format!("an earlier holder's code was taken at entry {}", answer.log_index));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gifts::fixture::{self, CODE, LINK, SEND_AT_MS, accepted, call, done, message};
    use crate::gifts::history::{Gifts, State};

    fn found(gifts: &Gifts) -> usize {
        check(&About::all(gifts)).len()
    }

    /// Red when a second draw for the same holder passes.
    #[test]
    fn rejects_two_links_or_codes_for_one_holder() {
        let mut gifts = fixture::used();
        gifts.messages.push(message("g", Kind::Gift, LINK + 1, SEND_AT_MS + 9));
        assert_eq!(found(&gifts), 1);
        let mut gifts = fixture::used();
        gifts.messages.push(message("g", Kind::News, LINK + 1, SEND_AT_MS + 9));
        assert_eq!(found(&gifts), 1);
        let mut gifts = fixture::used();
        gifts.calls.push(call("g", SEND_AT_MS + 11, Request::Accept { link: LINK }, accepted(21, CODE + 1)));
        assert_eq!(found(&gifts), 1);
    }

    /// Red when a transfer leaves the old link or code alive.
    #[test]
    fn rejects_an_earlier_holders_link_and_code() {
        let mut gifts = fixture::passed_on();
        gifts.calls[3].request = Request::Accept { link: LINK };
        assert_eq!(found(&gifts), 1);
        let mut gifts = fixture::passed_on();
        gifts.calls[4].request = Request::Redeem { code: CODE, shop: "s-1".into() };
        assert_eq!(found(&gifts), 1);
    }

    /// Red when codes of two gifts may meet.
    #[test]
    fn rejects_a_code_that_two_gifts_have() {
        let mut gifts = fixture::used();
        gifts.calls.push(call("h", SEND_AT_MS, Request::Accept { link: 5 }, accepted(22, CODE)));
        gifts.calls.push(call("h", SEND_AT_MS, Request::Cancel, done(State::Cancelled, 23)));
        assert_eq!(found(&gifts), 1);
    }
}
