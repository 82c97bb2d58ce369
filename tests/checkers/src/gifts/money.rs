//! The books are the provider's: taken once, given back once, and every account is the sum over its gifts.

use super::About;
use super::history::{Books, State};
use crate::history::Key;
use crate::verdict::Violation;

pub(crate) const PROMISE: &str = "the books are the provider's";

/// Compares the provider's captures and refunds with each gift, and the books with all of them.
#[must_use]
pub fn check(about: &[About<'_>], books: Books) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut sums = Books::default();
    for gift in about {
        violations.extend(wrong(gift).into_iter().map(|detail| gift.broken(PROMISE, detail)));
        add(gift, &mut sums);
    }
    if sums != books {
        let detail = format!("the books say {books:?}, the gifts {sums:?}");
        violations.push(Violation { promise: PROMISE, trigger: Key::new("", "books"), detail });
    }
    violations
}

fn wrong(gift: &About<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let (captured, refunded): (u64, u64) = (gift.captures.iter().sum(), gift.refunds.iter().sum());
    if gift.captures.len() > 1 {
        wrong.push(format!("the provider captured it {} times", gift.captures.len()));
    }
    if refunded > captured {
        wrong.push(format!("{captured} won were captured, and {refunded} given back"));
    }
    let Some(end) = gift.at_end else {
        if captured != refunded {
            wrong.push(format!("{captured} won were captured, {refunded} given back, and it was never read"));
        }
        return wrong;
    };
    // What a human was told of is not settled yet.
    if end.attention {
        return wrong;
    }
    if end.captured_won != captured && (end.state != State::Absent || captured != refunded) {
        wrong.push(format!(
            "it is {}, the provider captured {captured} won, the books say {}",
            end.state.name(),
            end.captured_won
        ));
    }
    let expected = if end.state == State::Refunded { captured } else { 0 };
    let on_its_way = matches!(end.state, State::Cancelled | State::Expired | State::Failed | State::Absent);
    if refunded != expected && !on_its_way {
        wrong.push(format!("it is {}, and the provider gave {refunded} of {captured} won back", end.state.name()));
    }
    wrong
}

fn add(gift: &About<'_>, sums: &mut Books) {
    let Some(end) = gift.at_end else { return };
    let won = i64::try_from(end.captured_won).unwrap_or(i64::MAX);
    sums.captured += won;
    match end.state {
        State::Reserved => sums.held += won,
        State::Sending | State::SendUnknown | State::Expired | State::Cancelled | State::Failed => {
            sums.in_transit += won;
        }
        State::Sent | State::Accepted | State::Used => sums.delivered += won,
        State::Refunded => sums.refunded += won,
        State::Absent | State::PendingPayment => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gifts::fixture::{self, WON, key};
    use crate::gifts::history::{Capture, Gifts, Refund};

    fn found(gifts: &Gifts) -> usize {
        check(&About::all(gifts), gifts.books).len()
    }

    /// Red when sums are compared and not captures.
    #[test]
    fn rejects_a_payment_taken_twice() {
        let mut gifts = fixture::used();
        gifts.captures.push(Capture { gift: key("g"), won: WON });
        gifts.refunds.push(Refund { gift: key("g"), won: WON });
        assert_eq!(found(&gifts), 3, "twice, not what the books say, and given back");
    }

    /// Red when money that was taken for a gift that is not there is passed over.
    #[test]
    fn rejects_money_for_a_gift_that_is_not_there() {
        let mut gifts = fixture::used();
        gifts.books = Books::default();
        gifts.at_end[0].state = State::Absent;
        gifts.at_end[0].captured_won = 0;
        assert_eq!(found(&gifts), 1);
        gifts.at_end.clear();
        assert_eq!(found(&gifts), 1);
    }

    /// Red when what the books call back is believed.
    #[test]
    fn rejects_a_refund_that_was_not_made() {
        let mut gifts = fixture::cancelled();
        gifts.refunds.clear();
        assert_eq!(found(&gifts), 1);
        gifts.refunds = vec![Refund { gift: key("c"), won: WON + 1 }];
        assert_eq!(found(&gifts), 2);
    }

    /// Red when an account is not compared.
    #[test]
    fn rejects_books_that_are_not_the_sum() {
        let accounts: [fn(&mut Books) -> &mut i64; 5] = [
            |books| &mut books.captured,
            |books| &mut books.held,
            |books| &mut books.in_transit,
            |books| &mut books.delivered,
            |books| &mut books.refunded,
        ];
        for account in accounts {
            let mut gifts = fixture::used();
            *account(&mut gifts.books) += 1;
            assert_eq!(found(&gifts), 1);
        }
    }
}
