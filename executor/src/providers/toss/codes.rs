//! What each error code of Toss Payments means for money.
//!
//! Read from <https://docs.tosspayments.com/reference/error-codes> (confirm, query, cancel) and, for the two about idempotency
//! keys, <https://docs.tosspayments.com/reference/using-api/authorization>. The status is no guide: `PROVIDER_ERROR` is a 400 and
//! may have moved money, `REFUND_REJECTED` is a 400 and has not. What is not in a table is judged by [`Unlisted`].

/// What a code says about a confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConfirmCode {
    /// Not captured, for good.
    Declined,
    /// Not captured, for now.
    Later,
    /// Captured or not.
    Unknown,
    /// Captured or over; a query tells.
    Processed,
}

/// What a code says about a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CancelCode {
    /// Nothing is left to be given back.
    AlreadyDone,
    /// Not given back, for good.
    Refused,
    /// Not given back, for now.
    Later,
    /// Given back or not.
    Unknown,
    /// More than there is, or all was given back bit by bit before; a query tells.
    Amount,
}

/// What an answer without a listed code says, by its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unlisted {
    /// 429: turned away before anything was done, whoever did it.
    TooMany,
    /// 4xx with a code: the provider said no, in a word that is new to us.
    No,
    /// Everything else, 4xx without a code too: who knows who answered, and what was done before.
    Unknown,
}

pub(super) fn unlisted(status: u16, has_code: bool) -> Unlisted {
    match status {
        429 => Unlisted::TooMany,
        400..=499 if has_code => Unlisted::No,
        _ => Unlisted::Unknown,
    }
}

/// Whether a code is about the merchant's settings (key, terminal, contract): a human has to mend them, and every call fails alike
/// until then. Worth an alert.
pub fn is_configuration(code: &str) -> bool {
    CONFIGURATION.contains(&code)
}

pub(super) fn confirm(code: &str) -> Option<ConfirmCode> {
    find(
        code,
        &[
            (&CONFIGURATION, ConfirmCode::Declined),
            (&CONFIRM_DECLINED, ConfirmCode::Declined),
            (&CONFIRM_LATER, ConfirmCode::Later),
            (&CONFIRM_UNKNOWN, ConfirmCode::Unknown),
            (&CONFIRM_PROCESSED, ConfirmCode::Processed),
        ],
    )
}

pub(super) fn cancel(code: &str) -> Option<CancelCode> {
    find(
        code,
        &[
            (&CANCEL_DONE, CancelCode::AlreadyDone),
            (&CANCEL_REFUSED, CancelCode::Refused),
            // The money is owed to a customer whatever our settings are: it is not given up.
            (&CONFIGURATION, CancelCode::Later),
            (&CANCEL_LATER, CancelCode::Later),
            (&CANCEL_UNKNOWN, CancelCode::Unknown),
            (&CANCEL_AMOUNT, CancelCode::Amount),
        ],
    )
}

/// Whether a code of a query says that there is no such payment. Every other one says that it could not be found out.
pub(super) fn is_not_found(code: &str) -> bool {
    matches!(code, "NOT_FOUND_PAYMENT" | "NOT_FOUND")
}

fn find<T: Copy>(code: &str, tables: &[(&[&str], T)]) -> Option<T> {
    tables.iter().find(|(codes, _)| codes.contains(&code)).map(|(_, meaning)| *meaning)
}

const CONFIGURATION: [&str; 7] = [
    "INVALID_API_KEY",
    "UNAUTHORIZED_KEY",
    "INCORRECT_BASIC_AUTH_FORMAT",
    "FORBIDDEN_REQUEST",
    "NOT_FOUND_TERMINAL_ID",
    "INVALID_UNREGISTERED_SUBMALL",
    "NOT_REGISTERED_BUSINESS",
];

/// The card, the account, the customer or the request is at fault, or the ten minutes to confirm are over.
const CONFIRM_DECLINED: [&str; 35] = [
    "EXCEED_MAX_CARD_INSTALLMENT_PLAN",
    "INVALID_REQUEST",
    "NOT_ALLOWED_POINT_USE",
    "INVALID_REJECT_CARD",
    "BELOW_MINIMUM_AMOUNT",
    "INVALID_CARD_EXPIRATION",
    "INVALID_STOPPED_CARD",
    "EXCEED_MAX_DAILY_PAYMENT_COUNT",
    "NOT_SUPPORTED_INSTALLMENT_PLAN_CARD_OR_MERCHANT",
    "INVALID_CARD_INSTALLMENT_PLAN",
    "NOT_SUPPORTED_MONTHLY_INSTALLMENT_PLAN",
    "NOT_SUPPORTED_MONTHLY_INSTALLMENT_PLAN_BELOW_AMOUNT",
    "EXCEED_MAX_PAYMENT_AMOUNT",
    "INVALID_AUTHORIZE_AUTH",
    "INVALID_CARD_LOST_OR_STOLEN",
    "RESTRICTED_TRANSFER_ACCOUNT",
    "INVALID_CARD_NUMBER",
    "EXCEED_MAX_ONE_DAY_WITHDRAW_AMOUNT",
    "EXCEED_MAX_ONE_TIME_WITHDRAW_AMOUNT",
    "EXCEED_MAX_AMOUNT",
    "INVALID_ACCOUNT_INFO_RE_REGISTER",
    "EXCEED_MAX_MONTHLY_PAYMENT_AMOUNT",
    "REJECT_ACCOUNT_PAYMENT",
    "REJECT_CARD_PAYMENT",
    "REJECT_CARD_COMPANY",
    "REJECT_TOSSPAY_INVALID_ACCOUNT",
    "EXCEED_MAX_AUTH_COUNT",
    "EXCEED_MAX_ONE_DAY_AMOUNT",
    "INVALID_PASSWORD",
    "FDS_ERROR",
    "NOT_FOUND_PAYMENT",
    "NOT_FOUND_PAYMENT_SESSION",
    "INVALID_IDEMPOTENCY_KEY",
    "PAY_PROCESS_CANCELED",
    "PAY_PROCESS_ABORTED",
];

/// Turned away: too many requests for this payment, or outside the hours of bank or provider.
const CONFIRM_LATER: [&str; 3] = ["FORBIDDEN_CONSECUTIVE_REQUEST", "NOT_AVAILABLE_PAYMENT", "NOT_AVAILABLE_BANK"];

/// Failed on the way, beyond which point nobody says.
const CONFIRM_UNKNOWN: [&str; 9] = [
    "PROVIDER_ERROR",
    "CARD_PROCESSING_ERROR",
    "COMMON_ERROR",
    "FAILED_PAYMENT_INTERNAL_SYSTEM_PROCESSING",
    "FAILED_INTERNAL_SYSTEM_PROCESSING",
    "UNKNOWN_PAYMENT_ERROR",
    // "An order that is not yet approved": the documentation says no more than that.
    "UNAPPROVED_ORDER_ID",
    // An earlier request is under way.
    "ALREADY_PROCESSING_REQUEST",
    "IDEMPOTENT_REQUEST_PROCESSING",
];

const CONFIRM_PROCESSED: [&str; 3] = ["ALREADY_PROCESSED_PAYMENT", "ALREADY_COMPLETED_PAYMENT", "DUPLICATED_ORDER_ID"];

const CANCEL_DONE: [&str; 2] = ["ALREADY_CANCELED_PAYMENT", "ALREADY_REFUND_PAYMENT"];

const CANCEL_REFUSED: [&str; 15] = [
    "INVALID_REFUND_ACCOUNT_INFO",
    "EXCEED_CANCEL_AMOUNT_DISCOUNT_AMOUNT",
    "EXCEED_CANCEL_LIMIT",
    "INVALID_REQUEST",
    "INVALID_REFUND_ACCOUNT_NUMBER",
    "INVALID_BANK",
    "REFUND_REJECTED",
    "FORBIDDEN_BANK_REFUND_REQUEST",
    "NOT_CANCELABLE_PAYMENT",
    "EXCEED_MAX_REFUND_DUE",
    "NOT_ALLOWED_PARTIAL_REFUND_WAITING_DEPOSIT",
    "NOT_ALLOWED_PARTIAL_REFUND",
    "NOT_CANCELABLE_PAYMENT_FOR_DORMANT_USER",
    "NOT_FOUND_PAYMENT",
    "INVALID_IDEMPOTENCY_KEY",
];

const CANCEL_LATER: [&str; 2] = ["FORBIDDEN_CONSECUTIVE_REQUEST", "NOT_AVAILABLE_BANK"];

const CANCEL_UNKNOWN: [&str; 9] = [
    "PROVIDER_ERROR",
    "COMMON_ERROR",
    "FAILED_INTERNAL_SYSTEM_PROCESSING",
    "FAILED_PAYMENT_INTERNAL_SYSTEM_PROCESSING",
    "FAILED_REFUND_PROCESS",
    "FAILED_METHOD_HANDLING_CANCEL",
    "FAILED_PARTIAL_REFUND",
    // The balance is another than was thought: somebody else is refunding.
    "NOT_MATCHES_REFUNDABLE_AMOUNT",
    "IDEMPOTENT_REQUEST_PROCESSING",
];

const CANCEL_AMOUNT: [&str; 1] = ["NOT_CANCELABLE_AMOUNT"];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_code_means_one_thing() {
        let confirm: [&[&str]; 5] =
            [&CONFIGURATION, &CONFIRM_DECLINED, &CONFIRM_LATER, &CONFIRM_UNKNOWN, &CONFIRM_PROCESSED];
        let cancel: [&[&str]; 6] =
            [&CONFIGURATION, &CANCEL_DONE, &CANCEL_REFUSED, &CANCEL_LATER, &CANCEL_UNKNOWN, &CANCEL_AMOUNT];
        for tables in [&confirm[..], &cancel[..]] {
            let mut seen = HashSet::new();
            for code in tables.iter().copied().flatten() {
                assert!(seen.insert(code), "{code} is listed twice");
            }
        }
    }

    #[test]
    fn the_status_is_no_guide() {
        assert_eq!(confirm("PROVIDER_ERROR"), Some(ConfirmCode::Unknown));
        assert_eq!(confirm("REJECT_CARD_PAYMENT"), Some(ConfirmCode::Declined));
        assert_eq!(cancel("REFUND_REJECTED"), Some(CancelCode::Refused));
        assert_eq!(cancel("FAILED_REFUND_PROCESS"), Some(CancelCode::Unknown));
        assert_eq!(confirm("UNAUTHORIZED_KEY"), Some(ConfirmCode::Declined));
        assert_eq!(cancel("UNAUTHORIZED_KEY"), Some(CancelCode::Later));
        assert!(is_configuration("UNAUTHORIZED_KEY") && !is_configuration("REJECT_CARD_PAYMENT"));
        assert_eq!(confirm("A_CODE_OF_NEXT_YEAR"), None);
    }

    #[test]
    fn what_is_new_is_judged_by_status() {
        assert_eq!(unlisted(400, true), Unlisted::No);
        assert_eq!(unlisted(400, false), Unlisted::Unknown);
        assert_eq!(unlisted(429, false), Unlisted::TooMany);
        for status in [100, 204, 302, 500, 503, 600] {
            assert_eq!(unlisted(status, true), Unlisted::Unknown, "{status}");
        }
    }
}
