//! What was answered stays true: states only go forward, what was taken back in time was not too late for anybody else, a code
//! is used once and by the shop that was told so, and nothing has happened that nobody asked for.

use super::About;
use super::history::{Answer, Call, FinalGift, Outcome, Request, State};
use crate::verdict::Violation;

pub(crate) const PROMISE: &str = "what was answered about gifts stays true";

/// Compares the answers about each gift with each other and with its end.
#[must_use]
pub fn check(about: &[About<'_>]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for gift in about {
        let mut wrong = Vec::new();
        forward(gift, &mut wrong);
        once(gift, &mut wrong);
        cancels(gift, &mut wrong);
        if let Some(end) = gift.at_end {
            ends(gift, end, &mut wrong);
        }
        violations.extend(wrong.into_iter().map(|detail| gift.broken(PROMISE, detail)));
    }
    violations
}

/// What a call was, for those that were done.
fn done<'a>(gift: &About<'a>) -> impl Iterator<Item = (&'a Call, &'a Answer)> {
    gift.calls.clone().into_iter().filter_map(|call| match &call.outcome {
        Outcome::Done(answer) => Some((call, answer)),
        _ => None,
    })
}

/// Whether a call was done or may have been.
fn may_be_done(call: &Call) -> bool {
    matches!(call.outcome, Outcome::Done(_) | Outcome::Unknown { .. })
}

/// In the order of the log, states go along the ways there are, up to the last one.
fn forward(gift: &About<'_>, wrong: &mut Vec<String>) {
    // A repetition shows the gift as it is by then, and names the entry of the first time.
    let told = done(gift).filter(|(_, answer)| !answer.replayed && answer.log_index > 0);
    let mut states: Vec<(u64, State)> = told.map(|(_, answer)| (answer.log_index, answer.state)).collect();
    states.sort_unstable();
    states.extend(gift.at_end.map(|end| (u64::MAX, end.state)));
    for pair in states.windows(2) {
        let [(index, before), (_, after)] = [pair[0], pair[1]];
        if !before.may_become(after) {
            wrong.push(format!("{} was answered at entry {index}, and later it is {}", before.name(), after.name()));
        }
    }
}

/// A code is used once, a gift passed on once: each call is one request with all its retries.
fn once(gift: &About<'_>, wrong: &mut Vec<String>) {
    let redeemed: Vec<&str> = done(gift)
        .filter_map(|(call, _)| match &call.request {
            Request::Redeem { shop, .. } => Some(shop.as_str()),
            _ => None,
        })
        .collect();
    if redeemed.len() > 1 {
        wrong.push(format!("it was used at {}", redeemed.join(" and at ")));
    }
    let passed_on = done(gift).filter(|(call, _)| matches!(call.request, Request::Transfer { .. })).count();
    if passed_on > 1 {
        wrong.push(format!("it was passed on {passed_on} times"));
    }
}

/// Its trigger has fired, or it never will: what is too late for one is not in time for another.
fn cancels(gift: &About<'_>, wrong: &mut Vec<String>) {
    let of_cancel = |call: &&&Call| call.request == Request::Cancel;
    let in_time = done(gift).any(|(call, _)| call.request == Request::Cancel);
    let too_late = gift
        .calls
        .iter()
        .filter(of_cancel)
        .any(|call| matches!(&call.outcome, Outcome::Refused { reason, .. } if reason == "TOO_LATE"));
    if in_time && too_late {
        wrong.push("it was taken back in time, and it was too late to take it back".to_owned());
    }
}

fn ends(gift: &About<'_>, end: &FinalGift, wrong: &mut Vec<String>) {
    let asked = |what: fn(&Request) -> bool| gift.calls.iter().any(|call| may_be_done(call) && what(&call.request));
    let cause = match end.state {
        State::Cancelled => Some(("taken back", asked(|request| *request == Request::Cancel))),
        State::Accepted => Some(("accepted", asked(|request| matches!(request, Request::Accept { .. })))),
        State::Used => Some(("used", asked(|request| matches!(request, Request::Redeem { .. })))),
        _ => None,
    };
    if let Some((what, false)) = cause {
        wrong.push(format!("it was {what}, and nobody who asked for that may think so"));
    }
    for (call, _) in done(gift) {
        match &call.request {
            Request::Redeem { shop, .. } if end.state == State::Used && *shop != end.shop => {
                wrong.push(format!("{shop} was told that it has used it, and it was {}", end.shop));
            }
            Request::Transfer { .. } if !end.transferred => {
                wrong.push("it was passed on, and at the end it was not".to_owned());
            }
            _ => {}
        }
    }
    moment(gift, end, wrong);
}

/// The moment to be sent at is that of the newest change that was answered, or of one of which nobody knows.
fn moment(gift: &About<'_>, end: &FinalGift, wrong: &mut Vec<String>) {
    let asked = |call: &Call| match call.request {
        Request::Reserve { send_at_ms, .. } => Some(send_at_ms),
        Request::Edit { send_at_ms } => send_at_ms,
        _ => None,
    };
    // A repetition names the entry of the repetition: what it repeats was done at some time before.
    let newest = done(gift)
        .filter(|(_, answer)| !answer.replayed)
        .filter_map(|(call, answer)| Some((answer.log_index, asked(call)?)))
        .max_by_key(|(index, _)| *index);
    let Some((_, newest)) = newest.filter(|_| end.state != State::Absent) else { return };
    let unknown = gift.calls.iter().filter(|call| match &call.outcome {
        Outcome::Unknown { .. } => true,
        Outcome::Done(answer) => answer.replayed,
        Outcome::Refused { .. } | Outcome::Failed { .. } => false,
    });
    let may_be = unknown.filter_map(|call| asked(call)).any(|send_at_ms| send_at_ms == end.send_at_ms);
    if newest != end.send_at_ms && !may_be {
        wrong.push(format!("it was to be sent at {newest}, and at the end at {}", end.send_at_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gifts::fixture::{self, CODE, SEND_AT_MS, call, done, too_late, unknown};
    use crate::gifts::history::Gifts;

    fn found(gifts: &Gifts) -> usize {
        check(&About::all(gifts)).len()
    }

    /// Red when an answer is not followed to the end.
    #[test]
    fn rejects_a_gift_that_goes_back() {
        let mut gifts = fixture::used();
        gifts.at_end[0].state = State::Accepted;
        assert_eq!(found(&gifts), 1);
        let mut gifts = fixture::cancelled();
        gifts.at_end[0].state = State::Sent;
        assert_eq!(found(&gifts), 1);
    }

    /// Red when two shops may be told that they have it.
    #[test]
    fn rejects_a_gift_that_is_used_twice() {
        let mut gifts = fixture::used();
        let redeem = Request::Redeem { code: CODE, shop: "s-2".into() };
        gifts.calls.push(call("g", SEND_AT_MS + 20, redeem.clone(), done(State::Used, 31)));
        assert_eq!(found(&gifts), 2, "twice, and not by the one at the end");
        // Nobody knows of one of them: it may have been refused.
        gifts.calls[3] = call("g", SEND_AT_MS + 20, redeem, unknown());
        assert_eq!(found(&gifts), 0);
    }

    /// Red when a use that nobody was told of passes: its only request was refused.
    #[test]
    fn rejects_what_nobody_asked_for() {
        let mut gifts = fixture::used();
        gifts.calls[2].outcome = Outcome::Refused { reason: "WRONG_STATE".into(), state: Some(State::Used) };
        assert_eq!(found(&gifts), 1);
        gifts.calls[2].outcome = unknown();
        assert_eq!(found(&gifts), 0);
    }

    /// Red when the log may decide twice about one trigger.
    #[test]
    fn rejects_in_time_and_too_late() {
        let mut gifts = fixture::cancelled();
        gifts.calls.push(call("c", 210, Request::Cancel, too_late()));
        assert_eq!(found(&gifts), 1);
    }

    /// Red when a change may be lost.
    #[test]
    fn rejects_another_moment_than_the_newest_answered() {
        let mut gifts = fixture::used();
        let edit = Request::Edit { send_at_ms: Some(SEND_AT_MS / 2) };
        gifts.calls.insert(1, call("g", 150, edit.clone(), done(State::Reserved, 12)));
        assert_eq!(found(&gifts), 1);
        gifts.at_end[0].send_at_ms = SEND_AT_MS / 2;
        assert_eq!(found(&gifts), 0);
        gifts.calls[1] = call("g", 150, edit, unknown());
        assert_eq!(found(&gifts), 0, "it may have been changed");
        gifts.at_end[0].send_at_ms = SEND_AT_MS;
        assert_eq!(found(&gifts), 0, "or not");
    }

    /// Red when a transfer may be lost or repeated.
    #[test]
    fn rejects_a_transfer_undone_or_done_twice() {
        let mut gifts = fixture::passed_on();
        gifts.at_end[0].transferred = false;
        assert_eq!(found(&gifts), 1);
        let mut gifts = fixture::passed_on();
        let again = gifts.calls[2].clone();
        gifts.calls.push(again);
        assert_eq!(found(&gifts), 1);
    }
}
