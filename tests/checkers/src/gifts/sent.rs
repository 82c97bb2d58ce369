//! Never sent twice, never early, and never both sent and given back; and what is called sent was sent.

use super::history::{Kind, Message, Outcome, Request, State};
use super::{About, Options};
use crate::verdict::Violation;

pub(crate) const PROMISE: &str = "sent once, at its moment, or not at all";

/// Compares what providers of messages took with what became of each gift.
#[must_use]
pub fn check(about: &[About<'_>], options: &Options) -> Vec<Violation> {
    let mut violations = Vec::new();
    for gift in about {
        let mut wrong = Vec::new();
        one(gift, options, &mut wrong);
        violations.extend(wrong.into_iter().map(|detail| gift.broken(PROMISE, detail)));
    }
    violations
}

fn one(gift: &About<'_>, options: &Options, wrong: &mut Vec<String>) {
    let arrived: Vec<&Message> =
        gift.messages.iter().copied().filter(|message| message.kind == Kind::Gift && message.delivered).collect();
    if arrived.len() > 1 {
        let keys: Vec<&str> = arrived.iter().map(|message| message.key.as_str()).collect();
        wrong.push(format!("it was sent {} times: {}", arrived.len(), keys.join(", ")));
    }
    let in_time =
        gift.calls.iter().any(|call| call.request == Request::Cancel && matches!(call.outcome, Outcome::Done(_)));
    if in_time && !gift.messages.iter().all(|message| message.kind == Kind::News) {
        wrong.push("it was taken back in time, and it was sent".to_owned());
    }
    let Some(end) = gift.at_end else { return };
    for message in &arrived {
        let early_us = end.send_at_ms * 1_000 - options.clock_error_us - message.at_us;
        if early_us > 0 {
            wrong.push(format!("it was sent {} ms before its moment", early_us / 1_000));
        }
    }
    let has_arrived = !arrived.is_empty();
    if end.state.is_delivered() && !has_arrived && !end.by_sender {
        wrong.push(format!("it is {}, and no provider has taken it", end.state.name()));
    }
    // What has expired was sent, and is given back too.
    let given_back = end.state == State::Refunded && !end.expired;
    let not_sent =
        given_back || matches!(end.state, State::Absent | State::Reserved | State::Cancelled | State::Failed);
    if not_sent && has_arrived && !end.attention {
        wrong.push(format!("it is {}, and it was sent", end.state.name()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gifts::fixture::{self, LINK, SEND_AT_MS, message, options};
    use crate::gifts::history::Gifts;

    fn found(gifts: &Gifts) -> usize {
        check(&About::all(gifts), &options()).len()
    }

    /// Red when the same link counts as the same message.
    #[test]
    fn rejects_a_gift_sent_twice() {
        let mut gifts = fixture::used();
        gifts.messages.push(message("g", Kind::Gift, LINK, SEND_AT_MS + 9));
        assert_eq!(found(&gifts), 1);
        // A channel that took it and could not reach anybody makes way for the next.
        gifts.messages[0].delivered = false;
        assert_eq!(found(&gifts), 0);
    }

    /// Red when a message is not compared with the answer to the cancellation.
    #[test]
    fn rejects_a_gift_that_was_taken_back_and_sent() {
        let mut gifts = fixture::cancelled();
        gifts.messages.push(message("c", Kind::Gift, LINK, SEND_AT_MS + 9));
        assert_eq!(found(&gifts), 2, "whatever came of the money, and given back");
        gifts.messages[0].delivered = false;
        assert_eq!(found(&gifts), 1);
    }

    #[test]
    fn rejects_an_early_message() {
        let mut gifts = fixture::used();
        gifts.messages[0].at_us = SEND_AT_MS * 1_000 - 1;
        assert_eq!(found(&gifts), 1);
        let clock_error_us = 1;
        assert!(check(&About::all(&gifts), &Options { clock_error_us, ..options() }).is_empty());
    }

    /// Red when the state is believed.
    #[test]
    fn rejects_sent_that_was_not_and_failed_that_was() {
        let mut gifts = fixture::used();
        gifts.messages.clear();
        assert_eq!(found(&gifts), 1);
        gifts.at_end[0].by_sender = true;
        assert_eq!(found(&gifts), 0);
        let mut gifts = fixture::used();
        gifts.at_end[0].state = State::Failed;
        assert_eq!(found(&gifts), 1);
    }

    /// Red when money may go back for a gift that somebody has.
    #[test]
    fn rejects_what_was_given_back_and_sent_unless_it_expired() {
        let mut gifts = fixture::used();
        gifts.at_end[0].state = State::Refunded;
        assert_eq!(found(&gifts), 1);
        gifts.at_end[0].expired = true;
        assert_eq!(found(&gifts), 0);
    }
}
