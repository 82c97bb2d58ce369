//! The states of a gift, and every way from one to another.

/// Where a gift is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum State {
    /// Never stored.
    Unspecified = 0,
    /// The payment is not captured yet.
    PendingPayment = 1,
    /// Paid; it waits for its moment.
    Reserved = 2,
    /// The gifticon is drawn, an executor is sending it.
    Sending = 3,
    /// The recipient has the link.
    Sent = 4,
    /// The recipient took it and sees the code.
    Accepted = 5,
    /// A shop took the code.
    Used = 6,
    /// Nobody used it in time.
    Expired = 7,
    /// The money is back at the sender.
    Refunded = 8,
    /// The sender took it back before it was sent.
    Cancelled = 9,
    /// It was not paid, or could not be sent.
    Failed = 10,
    /// It may have been sent, or not; somebody finds out.
    SendUnknown = 11,
}

impl State {
    /// All that are stored.
    pub const ALL: [State; 11] = [
        State::PendingPayment,
        State::Reserved,
        State::Sending,
        State::Sent,
        State::Accepted,
        State::Used,
        State::Expired,
        State::Refunded,
        State::Cancelled,
        State::Failed,
        State::SendUnknown,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            State::Unspecified => "UNSPECIFIED",
            State::PendingPayment => "PENDING_PAYMENT",
            State::Reserved => "RESERVED",
            State::Sending => "SENDING",
            State::Sent => "SENT",
            State::Accepted => "ACCEPTED",
            State::Used => "USED",
            State::Expired => "EXPIRED",
            State::Refunded => "REFUNDED",
            State::Cancelled => "CANCELLED",
            State::Failed => "FAILED",
            State::SendUnknown => "SEND_UNKNOWN",
        }
    }

    /// Where a gift can go from here.
    pub fn next(self) -> &'static [State] {
        match self {
            State::Unspecified => &[State::PendingPayment],
            State::PendingPayment => &[State::Reserved, State::Failed],
            State::Reserved => &[State::Sending, State::Cancelled, State::Failed],
            State::Sending => &[State::Sent, State::Failed, State::SendUnknown],
            State::SendUnknown => &[State::Sent, State::Failed],
            State::Sent => &[State::Accepted, State::Expired],
            State::Accepted => &[State::Used, State::Expired],
            State::Expired | State::Cancelled | State::Failed => &[State::Refunded],
            State::Used | State::Refunded => &[],
        }
    }

    /// Whether a gift can go from here to there.
    pub fn leads_to(self, to: State) -> bool {
        self.next().contains(&to)
    }

    /// Whether the recipient holds it, and it is neither used nor given back.
    pub fn is_held(self) -> bool {
        matches!(self, State::Sent | State::Accepted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_reached_and_every_end_is_an_end() {
        let mut reached = vec![State::PendingPayment];
        let mut at = 0;
        while at < reached.len() {
            for &next in reached[at].next() {
                if !reached.contains(&next) {
                    reached.push(next);
                }
            }
            at += 1;
        }
        reached.sort();
        assert_eq!(reached, State::ALL);
        let ends: Vec<State> = State::ALL.into_iter().filter(|state| state.next().is_empty()).collect();
        assert_eq!(ends, [State::Used, State::Refunded]);
    }

    #[test]
    fn names_are_those_of_the_numbers() {
        for state in State::ALL {
            assert_eq!(State::try_from(state as i32), Ok(state));
            assert_eq!(state.name().replace('_', ""), format!("{state:?}").to_uppercase());
        }
    }
}
