//! What the process of the providers and the one that measures tell each other, a line each.

/// One line of the providers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// Where a provider listens.
    At {
        /// Its name.
        provider: &'a str,
        /// `127.0.0.1:…`.
        address: &'a str,
    },
    /// All addresses were told.
    Ready,
    /// A payment is ready to be confirmed.
    Payment {
        /// Its order.
        order: &'a str,
        /// What the provider's widget answers the payer.
        key: &'a str,
    },
    /// A payment was not made.
    NoPayment {
        /// Its order.
        order: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// The provider's books.
    Ledger(Ledger),
    /// A message arrived on a phone.
    Message {
        /// Microseconds since the Unix epoch, by the clock of the machine.
        at_us: i64,
        /// The number, as it is dialled in Korea.
        to: &'a str,
        /// The template it was made of.
        template: &'a str,
        /// Where its button leads; empty when it has none.
        link: &'a str,
    },
}

/// What the payment provider's books say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Won that were captured, refunded ones included.
    pub captured_won: u64,
    /// Won that were refunded.
    pub refunded_won: u64,
}

impl std::fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::At { provider, address } => write!(f, "A {provider} {address}"),
            Self::Ready => write!(f, "R"),
            Self::Payment { order, key } => write!(f, "K {order} {key}"),
            Self::NoPayment { order, reason } => write!(f, "N {order} {reason}"),
            Self::Ledger(Ledger { captured_won, refunded_won }) => write!(f, "L {captured_won} {refunded_won}"),
            Self::Message { at_us, to, template, link } => write!(f, "M {at_us} {to} {template} {link}"),
        }
    }
}

impl<'a> Said<'a> {
    /// Understands a line; `None` when it is none of ours.
    #[must_use]
    pub fn read(line: &'a str) -> Option<Self> {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut fields = rest.split(' ');
        let said = match kind {
            "A" => Self::At { provider: fields.next()?, address: fields.next()? },
            "R" => Self::Ready,
            "K" => Self::Payment { order: fields.next()?, key: fields.next()? },
            "N" => {
                let (order, reason) = rest.split_once(' ')?;
                Self::NoPayment { order, reason }
            }
            "L" => Self::Ledger(Ledger {
                captured_won: fields.next()?.parse().ok()?,
                refunded_won: fields.next()?.parse().ok()?,
            }),
            "M" => Self::Message {
                at_us: fields.next()?.parse().ok()?,
                to: fields.next()?,
                template: fields.next()?,
                link: fields.next()?,
            },
            _ => return None,
        };
        Some(said)
    }
}

/// What the providers are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    /// Somebody pays for an order in the browser.
    Pay {
        /// The order.
        order: &'a str,
        /// How much.
        won: u64,
    },
    /// What the books say.
    Ledger,
}

impl std::fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pay { order, won } => write!(f, "P {order} {won}"),
            Self::Ledger => write!(f, "L"),
        }
    }
}

impl<'a> Asked<'a> {
    /// Understands a line; `None` when it is none of ours.
    #[must_use]
    pub fn read(line: &'a str) -> Option<Self> {
        let mut fields = line.split(' ');
        match fields.next()? {
            "P" => Some(Self::Pay { order: fields.next()?, won: fields.next()?.parse().ok()? }),
            "L" => Some(Self::Ledger),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red when a field is written and read in another order.
    #[test]
    fn lines_come_back() {
        for said in [
            Said::At { provider: "toss", address: "127.0.0.1:1" },
            Said::Ready,
            Said::Payment { order: "g-1", key: "k" },
            Said::NoPayment { order: "g-1", reason: "the books are full" },
            Said::Ledger(Ledger { captured_won: 1, refunded_won: 2 }),
            Said::Message { at_us: 1, to: "01012345678", template: "gift", link: "http://a/g/x" },
            Said::Message { at_us: 1, to: "01012345678", template: "sent", link: "" },
        ] {
            assert_eq!(Said::read(&said.to_string()), Some(said));
        }
        for asked in [Asked::Pay { order: "g-1", won: 5 }, Asked::Ledger] {
            assert_eq!(Asked::read(&asked.to_string()), Some(asked));
        }
        for line in ["", "X", "M x 1 gift ", "K order", "L 1"] {
            assert_eq!(Said::read(line), None, "{line}");
        }
        assert_eq!(Asked::read("P order much"), None);
    }
}
