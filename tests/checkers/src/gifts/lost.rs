//! No gift is lost: whoever was told that it is reserved finds it at the end, and it has come to an end or a human was told.

use super::history::{Outcome, Request, State};
use super::{About, Options};
use crate::verdict::Violation;

pub(crate) const PROMISE: &str = "no gift lost";

/// Looks where each gift is at the end.
#[must_use]
pub fn check(about: &[About<'_>], options: &Options) -> Vec<Violation> {
    about.iter().filter_map(|gift| Some(gift.broken(PROMISE, wrong(gift, options)?))).collect()
}

fn wrong(gift: &About<'_>, options: &Options) -> Option<String> {
    let seen = gift.calls.iter().filter_map(|call| match &call.outcome {
        Outcome::Done(answer) => Some((&call.request, answer.state)),
        _ => None,
    });
    let Some(end) = gift.at_end else {
        let known = seen.map(|(_, state)| state).max();
        return known.map(|state| format!("{} was answered, and it was never read at the end", state.name()));
    };
    let waits = end.send_at_ms > options.end_ms;
    match end.state {
        // A payment that was never begun: as if nobody had reserved it.
        State::Absent => seen
            .filter(|(request, state)| !matches!(request, Request::Reserve { .. }) || *state != State::PendingPayment)
            .map(|(_, state)| format!("{} was answered, and it is absent at the end", state.name()))
            .next(),
        _ if end.attention => None,
        State::Sent | State::Accepted | State::Used | State::Refunded => None,
        State::Reserved if waits => None,
        State::Failed if end.captured_won == 0 => None,
        state => Some(format!("it is {} at the end, and no human was told", state.name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gifts::fixture::{self, options};
    use crate::gifts::history::Gifts;

    fn found(gifts: &Gifts) -> usize {
        check(&About::all(gifts), &options()).len()
    }

    /// Red when absence is taken for a withdrawn reservation.
    #[test]
    fn rejects_a_gift_that_is_gone() {
        let mut gifts = fixture::used();
        gifts.at_end[0].state = State::Absent;
        assert_eq!(found(&gifts), 1);
        gifts.at_end.clear();
        assert_eq!(found(&gifts), 1);
    }

    /// Red when a gift may stand still.
    #[test]
    fn rejects_a_gift_that_is_stuck() {
        for state in [State::PendingPayment, State::Sending, State::SendUnknown, State::Cancelled, State::Expired] {
            let mut gifts = fixture::used();
            gifts.calls.truncate(1);
            gifts.at_end[0].state = state;
            assert_eq!(found(&gifts), 1, "{state:?}");
            gifts.at_end[0].attention = true;
            assert_eq!(found(&gifts), 0, "a human was told of {state:?}");
        }
    }

    /// Red when a gift whose moment has passed may still wait.
    #[test]
    fn rejects_a_gift_that_was_forgotten() {
        let mut gifts = fixture::used();
        gifts.calls.truncate(1);
        gifts.at_end[0].state = State::Reserved;
        assert_eq!(found(&gifts), 1);
        gifts.at_end[0].send_at_ms = options().end_ms + 1;
        assert_eq!(found(&gifts), 0);
    }

    /// Red when money that was taken for a failed gift may stay.
    #[test]
    fn rejects_a_failed_gift_that_was_paid() {
        let mut gifts = fixture::used();
        gifts.calls.truncate(1);
        gifts.at_end[0].state = State::Failed;
        assert_eq!(found(&gifts), 1);
        gifts.at_end[0].captured_won = 0;
        assert_eq!(found(&gifts), 0);
    }
}
