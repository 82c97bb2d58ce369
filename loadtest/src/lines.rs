//! What executor processes tell us, one line each, cheap to write and to read.

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// It has a stream at every leader.
    Ready,
    /// A delivery was read.
    Delivered {
        /// Of the trigger.
        id: &'a str,
        /// Of the delivery.
        generation: u64,
        /// Of the delivery, counted from 1.
        attempt: u32,
        /// Of the delivery.
        partition: u32,
        /// As the delivery says.
        due_ms: i64,
        /// Replicated time it fired at.
        fired_ms: i64,
        /// Microseconds since the Unix epoch.
        received_us: i64,
    },
    /// The answer to a report was read.
    Answered {
        /// Of the trigger.
        id: &'a str,
        /// Of the delivery.
        generation: u64,
        /// What the server said.
        verdict: Verdict,
        /// Of the delivery.
        partition: u32,
        /// Term of the leader that answered.
        stream_term: u64,
        /// Microseconds since the Unix epoch.
        answered_us: i64,
    },
}

/// What a server says about a success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It decided.
    Accepted,
    /// Another report had.
    Already,
    /// It changed nothing, for any other reason.
    Other,
}

impl std::fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ready => write!(f, "R"),
            Self::Delivered { id, generation, attempt, partition, due_ms, fired_ms, received_us } => {
                write!(f, "D {id} {generation} {attempt} {partition} {due_ms} {fired_ms} {received_us}")
            }
            Self::Answered { id, generation, verdict, partition, stream_term, answered_us } => {
                let verdict = match verdict {
                    Verdict::Accepted => 'A',
                    Verdict::Already => 'D',
                    Verdict::Other => 'O',
                };
                write!(f, "C {id} {generation} {verdict} {partition} {stream_term} {answered_us}")
            }
        }
    }
}

impl<'a> Said<'a> {
    /// Understands a line; `None` when it is none of ours.
    #[must_use]
    pub fn read(line: &'a str) -> Option<Self> {
        let mut fields = line.split(' ');
        let said = match fields.next()? {
            "R" => Self::Ready,
            "D" => Self::Delivered {
                id: fields.next()?,
                generation: fields.next()?.parse().ok()?,
                attempt: fields.next()?.parse().ok()?,
                partition: fields.next()?.parse().ok()?,
                due_ms: fields.next()?.parse().ok()?,
                fired_ms: fields.next()?.parse().ok()?,
                received_us: fields.next()?.parse().ok()?,
            },
            "C" => Self::Answered {
                id: fields.next()?,
                generation: fields.next()?.parse().ok()?,
                verdict: match fields.next()? {
                    "A" => Verdict::Accepted,
                    "D" => Verdict::Already,
                    "O" => Verdict::Other,
                    _ => return None,
                },
                partition: fields.next()?.parse().ok()?,
                stream_term: fields.next()?.parse().ok()?,
                answered_us: fields.next()?.parse().ok()?,
            },
            _ => return None,
        };
        fields.next().is_none().then_some(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red when a field is written and read in another order.
    #[test]
    fn lines_come_back() {
        let delivered = Said::Delivered {
            id: "a-1",
            generation: 2,
            attempt: 3,
            partition: 4,
            due_ms: 5,
            fired_ms: 6,
            received_us: 7,
        };
        let answered = Said::Answered {
            id: "a-1",
            generation: 2,
            verdict: Verdict::Already,
            partition: 4,
            stream_term: 5,
            answered_us: 6,
        };
        for said in [Said::Ready, delivered, answered] {
            assert_eq!(Said::read(&said.to_string()), Some(said));
        }
        for line in ["", "X", "D a-1 2", "C a 1 Z 1 1 1", "R R"] {
            assert_eq!(Said::read(line), None, "{line}");
        }
    }
}
