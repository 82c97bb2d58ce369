//! The business domains: what the state machine knows beside triggers.
//!
//! Each domain is a folder: records, commands, and what applying them does. A command is applied in the same log entry as
//! the triggers it schedules or cancels, over the rows of one partition, so that "reserve the gift" and "send it at 00:00"
//! cannot come apart. Like the scheduler this is a calculation: no asynchrony, I/O, clock, randomness or hash-map order.
//! Whatever has to be drawn or looked up (codes, links, local times) is drawn before proposing and travels in the command.

pub mod command;
pub mod gift;
pub mod gifticon;
pub mod keys;
pub mod ledger;
pub mod notification;
pub mod payment;
pub mod product;
pub mod refusal;
pub mod shop;
pub mod stored;
pub mod triggers;

mod context;

pub use command::{Command, Kind, Reply};
pub use context::Context;
pub use refusal::{Reason, Refusal};

use bytes::Bytes;
use prost::Message;
use scheduler::domain::{Domain, DomainContext, DomainError};

/// All domains, composed with the scheduler's machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Domains;

impl Domain for Domains {
    fn apply(&self, cx: &mut DomainContext<'_, '_, '_>, namespace: &str, body: &Bytes) -> Result<Bytes, DomainError> {
        let command = Command::decode(body.clone())
            .map_err(|error| DomainError::Halt(format!("business command cannot be decoded: {error}")))?;
        let Some(kind) = command.kind else {
            return Err(DomainError::Halt("business command of a kind this build does not know".to_owned()));
        };
        // What no tenant can be called would get keys among those of others, or triggers that cannot be.
        let allowed = namespace.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !allowed || !(1..=64).contains(&namespace.len()) {
            return Err(Refusal::invalid("namespace", "1..64 characters of [a-z0-9-]").into());
        }
        let reply = command::apply(&mut Context::new(cx, namespace), kind)?;
        Ok(reply.encode_to_vec().into())
    }

    fn dead_lettered(&self, cx: &mut DomainContext<'_, '_, '_>, namespace: &str, id: &str) -> Result<(), DomainError> {
        match triggers::parse(id) {
            Some(trigger) => gift::given_up(&mut Context::of_fact(cx, namespace), id, &trigger),
            None => Ok(()),
        }
    }
}
