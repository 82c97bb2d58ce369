//! What was recorded of gifts: what callers asked and were answered, what the providers saw, what is there at the end.
//!
//! Links and codes are here as digests, never themselves. All times come from one clock.

use serde::{Deserialize, Serialize};

use crate::history::Key;

/// State of a gift as the API shows it, and its absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// No such gift.
    Absent,
    /// Not paid yet.
    PendingPayment,
    /// Paid; it waits for its moment.
    Reserved,
    /// It is being sent.
    Sending,
    /// It may have been sent.
    SendUnknown,
    /// The recipient has the link.
    Sent,
    /// The recipient took it.
    Accepted,
    /// A shop took the code.
    Used,
    /// Nobody used it in time.
    Expired,
    /// Taken back before it was sent.
    Cancelled,
    /// Not paid, or not sent.
    Failed,
    /// The money is back.
    Refunded,
}

impl State {
    /// Every state there is.
    pub const ALL: [State; 12] = [
        State::Absent,
        State::PendingPayment,
        State::Reserved,
        State::Sending,
        State::SendUnknown,
        State::Sent,
        State::Accepted,
        State::Used,
        State::Expired,
        State::Cancelled,
        State::Failed,
        State::Refunded,
    ];

    /// As the API writes it, with or without the prefix of the protocol's enumeration; `None` for anything else.
    #[must_use]
    pub fn from_name(name: &str) -> Option<State> {
        let name = name.strip_prefix("GIFT_STATE_").unwrap_or(name);
        State::ALL.into_iter().find(|state| state.name() == name)
    }

    /// As the API writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::Absent => "ABSENT",
            State::PendingPayment => "PENDING_PAYMENT",
            State::Reserved => "RESERVED",
            State::Sending => "SENDING",
            State::SendUnknown => "SEND_UNKNOWN",
            State::Sent => "SENT",
            State::Accepted => "ACCEPTED",
            State::Used => "USED",
            State::Expired => "EXPIRED",
            State::Cancelled => "CANCELLED",
            State::Failed => "FAILED",
            State::Refunded => "REFUNDED",
        }
    }

    /// The ways of the diagram in `docs/gift.md`, and the one out of it: a payment that was never begun.
    fn next(self) -> &'static [State] {
        match self {
            State::PendingPayment => &[State::Reserved, State::Failed, State::Absent],
            State::Reserved => &[State::Sending, State::Cancelled, State::Failed],
            State::Sending => &[State::Sent, State::Failed, State::SendUnknown],
            State::SendUnknown => &[State::Sent, State::Failed],
            State::Sent => &[State::Accepted, State::Expired],
            State::Accepted => &[State::Used, State::Expired],
            State::Expired | State::Cancelled | State::Failed => &[State::Refunded],
            State::Used | State::Refunded | State::Absent => &[],
        }
    }

    /// Whether a gift that was in this state can be in that one later.
    #[must_use]
    pub fn may_become(self, later: State) -> bool {
        self == later || self.next().iter().any(|next| next.may_become(later))
    }

    /// Whether the recipient was sent the gift and has not lost it.
    #[must_use]
    pub fn is_delivered(self) -> bool {
        matches!(self, State::Sent | State::Accepted | State::Used)
    }
}

/// A call about a gift, with all its retries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Which caller.
    pub client: u64,
    /// About which gift.
    pub gift: Key,
    /// What was asked.
    pub request: Request,
    /// Before the first byte was sent, microseconds since the Unix epoch.
    pub invoked_us: i64,
    /// After the answer had been read. Unset when none came.
    pub returned_us: Option<i64>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What callers ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The sender reserves it.
    Reserve {
        /// Price.
        won: u64,
        /// When it is to be sent.
        send_at_ms: i64,
    },
    /// The sender changes it.
    Edit {
        /// The new moment, if it is changed.
        send_at_ms: Option<i64>,
    },
    /// The sender takes it back.
    Cancel,
    /// The recipient takes it.
    Accept {
        /// Digest of the link.
        link: u64,
    },
    /// The recipient passes it on.
    Transfer {
        /// Digest of the link that dies by it.
        link: u64,
    },
    /// A shop takes the code.
    Redeem {
        /// Digest of the code.
        code: u64,
        /// Which shop.
        shop: String,
    },
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Done(Answer),
    /// A rule refused it: certainly without effect.
    Refused {
        /// The reason's name, such as `TOO_LATE`.
        reason: String,
        /// The state it named, if it did.
        state: Option<State>,
    },
    /// Certainly without effect: refused before it was proposed.
    Failed {
        /// As the server said it.
        reason: String,
    },
    /// Nobody knows.
    Unknown {
        /// What happened.
        reason: String,
    },
}

/// A definite answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The gift's state in it.
    pub state: State,
    /// The entry that decided; 0 when it was not told.
    pub log_index: u64,
    /// It answers a repeated request, and shows the gift as it is by now.
    pub replayed: bool,
    /// Digest of the code that was shown.
    pub code: Option<u64>,
}

/// What the provider of payments took: one entry per capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// For which gift: the order.
    pub gift: Key,
    /// How much.
    pub won: u64,
}

/// What the provider of payments gave back: one entry per refund.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// For which gift: the order.
    pub gift: Key,
    /// How much.
    pub won: u64,
}

/// What a provider of messages took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// About which gift.
    pub gift: Key,
    /// The gift itself, or news.
    pub kind: Kind,
    /// By which channel.
    pub channel: String,
    /// Digest of the link in it.
    pub link: Option<u64>,
    /// The key it was sent with; empty where the provider sees none.
    pub key: String,
    /// It reached the recipient, as far as the provider knows.
    pub delivered: bool,
    /// When it was taken, microseconds since the Unix epoch.
    pub at_us: i64,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The gift.
    Gift,
    /// News about it.
    News,
}

/// A gift at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalGift {
    /// Which.
    pub gift: Key,
    /// Its state; [`State::Absent`] when there is none.
    pub state: State,
    /// What the books say was captured for it.
    pub captured_won: u64,
    /// When it was to be sent, after all changes.
    pub send_at_ms: i64,
    /// It was passed on.
    pub transferred: bool,
    /// It has expired, whatever came then.
    pub expired: bool,
    /// It waits for a human.
    pub attention: bool,
    /// Nobody could be reached: the sender passes the link on.
    pub by_sender: bool,
    /// Where it was redeemed.
    pub shop: String,
}

/// What the books say in all, in won.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    /// Captured, ever.
    pub captured: i64,
    /// Of that: not sent yet.
    pub held: i64,
    /// Of that: being sent, or on its way back.
    pub in_transit: i64,
    /// Of that: the recipients have the gifts.
    pub delivered: i64,
    /// Of that: back.
    pub refunded: i64,
}

/// Everything recorded about gifts in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gifts {
    /// Calls.
    pub calls: Vec<Call>,
    /// What was captured.
    pub captures: Vec<Capture>,
    /// What was given back.
    pub refunds: Vec<Refund>,
    /// What was sent.
    pub messages: Vec<Message>,
    /// Gifts at the end, at most one entry each.
    pub at_end: Vec<FinalGift>,
    /// The books at the end.
    pub books: Books,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for state in State::ALL {
            assert_eq!(State::from_name(state.name()), Some(state));
            let json = serde_json::to_string(&state).unwrap();
            assert_eq!(json, format!("\"{}\"", state.name()));
        }
        assert_eq!(State::from_name("GIFT_STATE_SENT"), Some(State::Sent));
        assert_eq!(State::from_name("SOMETHING"), None);
    }

    #[test]
    fn what_ended_stays() {
        assert!(State::PendingPayment.may_become(State::Used) && State::Failed.may_become(State::Refunded));
        assert!(!State::Cancelled.may_become(State::Sent) && !State::Used.may_become(State::Refunded));
        assert!(!State::Sent.may_become(State::Reserved) && !State::Reserved.may_become(State::Absent));
    }
}
