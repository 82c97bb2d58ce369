//! What became of a delivery, as a handler says it.

use std::fmt::Display;
use std::time::Duration;

use proto::v1::{Failure, Success, delivery_outcome};

/// Characters of an error text that are kept.
const ERROR_CHARS_MAX: usize = 1_024;

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; the trigger is completed.
    Success,
    /// Done, and this came of it: a message of the business services, applied in the same step as the completion. When it is refused,
    /// the trigger is delivered again.
    Result(prost_types::Any),
    /// Not done this time: again after the policy's backoff, or after `after` when given, until attempts are used up.
    Retry {
        /// For a human: 1,024 characters are kept.
        error: String,
        /// Replaces the policy's backoff.
        after: Option<Duration>,
    },
    /// Never to be done: to the dead letters at once.
    Fail {
        /// For a human: 1,024 characters are kept.
        error: String,
    },
}

impl Outcome {
    /// Not done this time, for this reason.
    pub fn retry(error: impl Display) -> Self {
        Outcome::Retry { error: error.to_string(), after: None }
    }

    /// Never to be done, for this reason.
    pub fn fail(error: impl Display) -> Self {
        Outcome::Fail { error: error.to_string() }
    }

    pub(crate) fn into_proto(self) -> delivery_outcome::Outcome {
        let cut = |error: String| match error.char_indices().nth(ERROR_CHARS_MAX) {
            Some((end, _)) => error[..end].to_owned(),
            None => error,
        };
        match self {
            Outcome::Success => delivery_outcome::Outcome::Success(Success { result: None }),
            Outcome::Result(result) => delivery_outcome::Outcome::Success(Success { result: Some(result) }),
            Outcome::Retry { error, after } => delivery_outcome::Outcome::Retry(Failure {
                error: cut(error),
                retry_after: after.and_then(|after| after.try_into().ok()),
            }),
            Outcome::Fail { error } => {
                delivery_outcome::Outcome::Fail(Failure { error: cut(error), retry_after: None })
            }
        }
    }
}

impl<E: Display> From<Result<(), E>> for Outcome {
    /// An error is taken for a passing one; say [`Outcome::fail`] for one that is not.
    fn from(result: Result<(), E>) -> Self {
        match result {
            Ok(()) => Outcome::Success,
            Err(error) => Outcome::retry(error),
        }
    }
}

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Outcome::Success
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        let proto = Outcome::fail("종".repeat(2_000)).into_proto();
        let delivery_outcome::Outcome::Fail(failure) = proto else { panic!("a failure") };
        assert_eq!(failure.error.chars().count(), ERROR_CHARS_MAX);
    }
}
