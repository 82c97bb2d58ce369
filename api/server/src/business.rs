//! Commands of the business domains: proposed here, answered in the domains' words.

use bytes::Bytes;
use domain::{Command, Kind, Refusal, Reply};
use prost::Message;
use scheduler::command::{Business, Kind as Proposed};
use scheduler::reply::{Refusal as Refused, Reply as Answer};

use crate::error::Error;
use crate::partition::Partition;
use crate::services::Services;

impl Services {
    /// Proposes one command and waits for its reply; a refusal is an error. The command is durable on a majority when this answers.
    pub(crate) async fn business(&self, partition: &Partition, namespace: &str, kind: Kind) -> Result<Reply, Error> {
        let command = Proposed::Business(Business { namespace: namespace.to_owned(), body: encode(kind) });
        let number = partition.number();
        let answer = partition.proposer().propose(command)?.answer().await?.accepted(number);
        match answer.map_err(refused)? {
            Answer::Business(body) => Reply::decode(body)
                .map_err(|error| Error::Internal(format!("the reply of a domain cannot be read: {error}"))),
            other => Err(Error::Internal(format!("a business command was answered {other:?}"))),
        }
    }
}

/// The bytes of a command.
pub fn encode(kind: Kind) -> Bytes {
    Command { kind: Some(kind) }.encode_to_vec().into()
}

/// A refusal in the domain's own words.
pub fn refused(error: Error) -> Error {
    match error {
        Error::Refused { partition, refusal: Refused::Business(body) } => of_domain(partition, body),
        other => other,
    }
}

/// What a domain said when it refused.
pub fn of_domain(partition: u32, body: Bytes) -> Error {
    match Refusal::decode(body) {
        Ok(refusal) => Error::Domain { partition, refusal },
        Err(error) => Error::Internal(format!("the refusal of a domain cannot be read: {error}")),
    }
}
