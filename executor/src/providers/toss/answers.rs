//! From what Toss Payments answered to what became of the money. Pure: no input panics, and none is `Done` unless payment, order
//! and amount are those that were asked.

use std::time::SystemTime;

use serde::Deserialize;

use super::codes::{self, CancelCode, ConfirmCode, Unlisted};
use crate::providers::cut;
use crate::providers::endpoint::{Answer, NoAnswer};
use crate::providers::payment::{
    Cancel, CancelOutcome, Captured, Confirm, ConfirmOutcome, Mismatch, PaymentRef, QueryOutcome,
};

/// What is to be done after an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    /// It says what became of it.
    Say(T),
    /// Only the payment itself says that.
    Query {
        /// The code of the answer.
        code: String,
        /// Its message.
        message: String,
    },
}

/// The payment object, as far as it matters here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payment {
    payment_key: String,
    order_id: String,
    status: String,
    currency: String,
    method: Option<String>,
    total_amount: u64,
    balance_amount: u64,
    approved_at: Option<String>,
    last_transaction_key: Option<String>,
    cancels: Option<Vec<Refund>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Refund {
    cancel_amount: u64,
    canceled_at: String,
    transaction_key: Option<String>,
    cancel_status: Option<String>,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    #[serde(default)]
    message: String,
}

pub(super) fn confirm(asked: &Confirm, answer: Result<Answer, NoAnswer>) -> Next<ConfirmOutcome> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(NoAnswer::NotReached(error)) => return Next::Say(ConfirmOutcome::NotReached { error }),
        Err(NoAnswer::Unknown(error)) => return Next::Say(ConfirmOutcome::Unknown { error }),
    };
    if answer.status == 200 {
        return Next::Say(match done(&answer) {
            Ok(captured) => captured.judge(asked),
            Err(error) => ConfirmOutcome::Unknown { error },
        });
    }
    let problem = problem(&answer);
    let error = text_of(&answer, problem.as_ref());
    let after = answer.retry_after;
    let code = problem.as_ref().and_then(|problem| codes::confirm(&problem.code));
    match (code, codes::unlisted(answer.status, problem.is_some()), problem) {
        (Some(ConfirmCode::Processed), _, Some(Problem { code, message })) => Next::Query { code, message },
        (Some(ConfirmCode::Declined), _, Some(Problem { code, message }))
        | (None, Unlisted::No, Some(Problem { code, message })) => {
            Next::Say(ConfirmOutcome::Declined { code, message })
        }
        (Some(ConfirmCode::Later), ..) | (None, Unlisted::TooMany, _) => {
            Next::Say(ConfirmOutcome::Later { after, error })
        }
        _ => Next::Say(ConfirmOutcome::Unknown { error }),
    }
}

/// A confirm of a payment that was processed before: what became of it says whether that was ours.
pub(super) fn confirm_processed(asked: &Confirm, code: String, message: String, found: QueryOutcome) -> ConfirmOutcome {
    match found {
        // Somebody brought the key of another order's payment.
        QueryOutcome::Done(captured) if captured.order_id != asked.order_id => {
            ConfirmOutcome::Declined { code, message: "the payment belongs to another order".to_owned() }
        }
        QueryOutcome::Done(captured) => captured.judge(asked),
        QueryOutcome::Cancelled { captured, .. } if captured.order_id != asked.order_id => {
            ConfirmOutcome::Declined { code, message: "the payment belongs to another order".to_owned() }
        }
        QueryOutcome::Cancelled { remaining_won: 0, .. } => {
            ConfirmOutcome::Declined { code, message: "the payment was captured and given back".to_owned() }
        }
        QueryOutcome::Cancelled { mut captured, remaining_won, .. } => {
            captured.amount_won = remaining_won;
            ConfirmOutcome::Mismatch(Mismatch {
                captured,
                asked_order_id: asked.order_id.clone(),
                asked_amount_won: asked.amount_won,
            })
        }
        QueryOutcome::Ended { status } => ConfirmOutcome::Declined { code: status, message },
        QueryOutcome::Open { status } => {
            ConfirmOutcome::Unknown { error: format!("{code}, and yet the payment is {status}") }
        }
        QueryOutcome::NotFound => {
            ConfirmOutcome::Unknown { error: format!("{code}, and yet there is no such payment") }
        }
        QueryOutcome::Unknown { error } => ConfirmOutcome::Unknown { error: format!("{code}, and the query: {error}") },
    }
}

pub(super) fn query(asked: &PaymentRef, answer: Result<Answer, NoAnswer>) -> QueryOutcome {
    let answer = match answer {
        Ok(answer) => answer,
        Err(NoAnswer::NotReached(error) | NoAnswer::Unknown(error)) => return QueryOutcome::Unknown { error },
    };
    if answer.status != 200 {
        let problem = problem(&answer);
        return match problem {
            Some(problem) if codes::is_not_found(&problem.code) => QueryOutcome::NotFound,
            problem => QueryOutcome::Unknown { error: text_of(&answer, problem.as_ref()) },
        };
    }
    match payment(&answer).and_then(|payment| state_of(asked, payment)) {
        Ok(outcome) => outcome,
        Err(error) => QueryOutcome::Unknown { error },
    }
}

fn state_of(asked: &PaymentRef, payment: Payment) -> Result<QueryOutcome, String> {
    let is_asked = match asked {
        PaymentRef::Key(key) => payment.payment_key == *key,
        PaymentRef::Order(order) => payment.order_id == *order,
    };
    if !is_asked {
        return Err("the answer is about another payment".to_owned());
    }
    let status = payment.status.clone();
    match status.as_str() {
        "DONE" => captured(payment).map(QueryOutcome::Done),
        // A virtual account that was closed before anything was paid in.
        "CANCELED" if payment.approved_at.is_none() => Ok(QueryOutcome::Ended { status }),
        "CANCELED" | "PARTIAL_CANCELED" => {
            let (total, remaining_won) = (payment.total_amount, payment.balance_amount);
            let is_whole = status == "CANCELED";
            let refunded_won =
                total.checked_sub(remaining_won).filter(|won| *won > 0 && is_whole == (remaining_won == 0));
            let Some(refunded_won) = refunded_won else {
                return Err(format!("status {status}, and {remaining_won} of {total} won are left"));
            };
            captured(payment).map(|captured| QueryOutcome::Cancelled { captured, refunded_won, remaining_won })
        }
        "READY" | "IN_PROGRESS" | "WAITING_FOR_DEPOSIT" => Ok(QueryOutcome::Open { status }),
        "ABORTED" | "EXPIRED" => Ok(QueryOutcome::Ended { status }),
        other => Err(format!("a payment of status {:?}", cut(other))),
    }
}

pub(super) fn cancel(asked: &Cancel, answer: Result<Answer, NoAnswer>) -> Next<CancelOutcome> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(NoAnswer::NotReached(error)) => return Next::Say(CancelOutcome::Later { after: None, error }),
        Err(NoAnswer::Unknown(error)) => return Next::Say(CancelOutcome::Unknown { error }),
    };
    if answer.status == 200 {
        return Next::Say(match refunded(asked, &answer) {
            Ok((refunded_won, at)) => CancelOutcome::Done { refunded_won, at },
            Err(error) => CancelOutcome::Unknown { error },
        });
    }
    let problem = problem(&answer);
    let error = text_of(&answer, problem.as_ref());
    let after = answer.retry_after;
    let code = problem.as_ref().and_then(|problem| codes::cancel(&problem.code));
    match (code, codes::unlisted(answer.status, problem.is_some()), problem) {
        (Some(CancelCode::AlreadyDone), ..) => Next::Say(CancelOutcome::AlreadyDone),
        (Some(CancelCode::Amount), _, Some(Problem { code, message })) => Next::Query { code, message },
        (Some(CancelCode::Refused), _, Some(Problem { code, message }))
        | (None, Unlisted::No, Some(Problem { code, message })) => Next::Say(CancelOutcome::Refused { code, message }),
        (Some(CancelCode::Later), ..) | (None, Unlisted::TooMany, _) => {
            Next::Say(CancelOutcome::Later { after, error })
        }
        _ => Next::Say(CancelOutcome::Unknown { error }),
    }
}

/// A cancel whose amount was refused: of what was given back bit by bit, that means that nothing is left.
pub(super) fn cancel_of_amount(code: String, message: String, found: QueryOutcome) -> CancelOutcome {
    match found {
        QueryOutcome::Cancelled { remaining_won: 0, .. } => CancelOutcome::AlreadyDone,
        QueryOutcome::Unknown { error } => CancelOutcome::Unknown { error: format!("{code}, and the query: {error}") },
        QueryOutcome::Done(_)
        | QueryOutcome::Cancelled { .. }
        | QueryOutcome::Open { .. }
        | QueryOutcome::Ended { .. }
        | QueryOutcome::NotFound => CancelOutcome::Refused { code, message },
    }
}

fn done(answer: &Answer) -> Result<Captured, String> {
    let payment = payment(answer)?;
    if payment.status != "DONE" {
        return Err(format!("HTTP 200 with a payment of status {:?}", cut(&payment.status)));
    }
    captured(payment)
}

fn captured(payment: Payment) -> Result<Captured, String> {
    if payment.currency != "KRW" {
        return Err(format!("a payment in {:?}, KRW expected", cut(&payment.currency)));
    }
    let Some(approved_at) = payment.approved_at else {
        return Err(format!("a payment of status {:?} without approvedAt", cut(&payment.status)));
    };
    Ok(Captured {
        payment_key: payment.payment_key,
        order_id: payment.order_id,
        amount_won: payment.total_amount,
        method: cut(&payment.method.unwrap_or_default()),
        approved_at: moment("approvedAt", &approved_at)?,
    })
}

/// The refund that was asked, out of a payment that lists all there were.
fn refunded(asked: &Cancel, answer: &Answer) -> Result<(u64, SystemTime), String> {
    let payment = payment(answer)?;
    if payment.payment_key != asked.payment_key {
        return Err("the answer is about another payment".to_owned());
    }
    if payment.currency != "KRW" {
        return Err(format!("a payment in {:?}, KRW expected", cut(&payment.currency)));
    }
    let newest = payment.last_transaction_key.as_deref().filter(|key| !key.is_empty());
    let cancels = payment.cancels.unwrap_or_default();
    let is_newest = |refund: &&Refund| newest.is_some() && refund.transaction_key.as_deref() == newest;
    let Some(refund) = cancels.iter().find(is_newest).or(cancels.last()) else {
        return Err(format!("HTTP 200 with a payment of status {:?} and without cancels", cut(&payment.status)));
    };
    if let Some(status) = refund.cancel_status.as_deref().filter(|status| *status != "DONE") {
        return Err(format!("a refund of status {:?}", cut(status)));
    }
    if refund.cancel_amount != asked.amount_won {
        return Err(format!("{} won given back, {} asked", refund.cancel_amount, asked.amount_won));
    }
    Ok((refund.cancel_amount, moment("canceledAt", &refund.canceled_at)?))
}

fn payment(answer: &Answer) -> Result<Payment, String> {
    serde_json::from_slice(&answer.body)
        .map_err(|error| cut(&format!("HTTP {} without a readable payment: {error}", answer.status)))
}

fn moment(field: &str, text: &str) -> Result<SystemTime, String> {
    let wrong = || format!("{field} {:?} is no moment", cut(text));
    text.parse::<jiff::Timestamp>().map(SystemTime::from).map_err(|_| wrong())
}

fn problem(answer: &Answer) -> Option<Problem> {
    let problem: Problem = serde_json::from_slice(&answer.body).ok()?;
    let is_code =
        |code: &str| !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_code(&problem.code).then(|| Problem { code: cut(&problem.code), message: cut(&problem.message) })
}

fn text_of(answer: &Answer, problem: Option<&Problem>) -> String {
    match problem {
        Some(Problem { code, message }) => format!("HTTP {} {code}: {message}", answer.status),
        // What somebody else says in the provider's place may be long, and about anybody.
        None => format!("HTTP {} without a code, {} bytes", answer.status, answer.body.len()),
    }
}
