//! Money: taken, asked after, given back, by the rules of `executor/src/business/{confirm,query,refund}.rs`.

use domain::Kind;
use domain::payment::{Outcome as Paid, PayWork, RefundOutcome, RefundWork, Settle, SettleRefund};
use scheduler::planted::{self, Bug};

use super::executors::{Happened, Next};
use super::provider::{Request, Said};
use crate::events::SECOND;

/// Attempts in which a provider has to say that it knows no such payment before it is believed.
const NOT_FOUND_ATTEMPTS: u32 = 4;

/// What is done about a payment.
#[derive(Debug)]
pub enum Paying {
    /// It is taken.
    Confirm(PayWork),
    /// Somebody asks what became of it.
    Query(PayWork),
    /// It is given back: how much, and whether the provider was asked to.
    Refund(RefundWork, bool),
}

impl Paying {
    /// Gives a payment back.
    #[must_use]
    pub fn refund(work: RefundWork) -> Paying {
        Paying::Refund(work, false)
    }

    /// What follows from what happened.
    pub fn next(&mut self, attempt: u32, is_first: bool, what: Happened) -> Next {
        match self {
            Paying::Confirm(work) => confirm(work, is_first, what),
            Paying::Query(work) => query(work, attempt, what),
            Paying::Refund(work, asked) => refund(work, asked, attempt, what),
        }
    }
}

fn settle(work: &PayWork, outcome: Paid, captured_won: u64) -> Next {
    let (payment, method, error) = (work.payment.clone(), String::new(), String::new());
    Next::report(Kind::SettlePayment(Settle { payment, outcome: outcome.into(), captured_won, method, error }))
}

fn confirm(work: &PayWork, is_first: bool, what: Happened) -> Next {
    let said = match what {
        Happened::Begun => {
            let (key, order) = (work.payment_key.clone(), work.order_id.clone());
            return Next::Provider(Request::Confirm(key, order, work.amount_won));
        }
        Happened::Provided(said) => said,
        _ => return Next::again("out of order", None),
    };
    match said {
        Said::Captured(won) => settle(work, Paid::Captured, won),
        Said::Declined => settle(work, Paid::Declined, 0),
        Said::NotReached if is_first => settle(work, Paid::NotReached, 0),
        Said::Nothing if planted::is(Bug::TakesSilenceForAbsence) => settle(work, Paid::NotReached, 0),
        // An executor that had it before may have found somebody.
        _ => settle(work, Paid::Unknown, 0),
    }
}

fn query(work: &PayWork, attempt: u32, what: Happened) -> Next {
    let said = match what {
        Happened::Begun => return Next::Provider(Request::Query(work.payment_key.clone())),
        Happened::Provided(said) => said,
        _ => return Next::again("out of order", None),
    };
    match said {
        Said::Captured(won) => settle(work, Paid::Captured, won),
        Said::Declined | Said::Back => settle(work, Paid::Declined, 0),
        Said::NotFound if attempt < NOT_FOUND_ATTEMPTS => Next::again("not known yet", Some(60 * SECOND)),
        Said::NotFound => settle(work, Paid::Declined, 0),
        _ => settle(work, Paid::Unknown, 0),
    }
}

fn refund(work: &RefundWork, asked: &mut bool, attempt: u32, what: Happened) -> Next {
    let settled = |outcome: RefundOutcome| {
        let (payment, error) = (work.payment.clone(), String::new());
        Next::report(Kind::SettleRefund(SettleRefund { payment, outcome: outcome.into(), error }))
    };
    let look = || Next::Provider(Request::Query(work.payment_key.clone()));
    let give = || Next::Provider(Request::Cancel(work.payment_key.clone(), work.amount_won));
    match what {
        // Every attempt but the first begins with a look at the balance.
        Happened::Begun if attempt > 1 => look(),
        Happened::Begun => {
            *asked = true;
            give()
        }
        Happened::Provided(Said::Back) => settled(RefundOutcome::Done),
        Happened::Provided(Said::Refused) => settled(RefundOutcome::Refused),
        Happened::Provided(Said::Captured(_)) if !*asked => {
            *asked = true;
            give()
        }
        // It may be there already: looked at once more, then again later.
        Happened::Provided(Said::Nothing) if *asked => look(),
        _ => Next::again("not now", Some(2 * SECOND)),
    }
}
