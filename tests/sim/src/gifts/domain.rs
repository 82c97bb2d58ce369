//! What applies in a replica: the business domains, as the server composes them, beside the test of upgrades.

use bytes::Bytes;
use domain::Domains;
use scheduler::domain::{Domain, DomainContext, DomainError};

use crate::upgrade::{self, Changed};

/// The domains of a build.
#[derive(Clone, Copy, Debug)]
pub struct Composed {
    /// What changes between builds.
    pub changed: Changed,
}

impl Domain for Composed {
    fn apply(&self, cx: &mut DomainContext<'_, '_, '_>, namespace: &str, body: &Bytes) -> Result<Bytes, DomainError> {
        match namespace {
            upgrade::NAMESPACE => self.changed.apply(cx, namespace, body),
            _ => Domains.apply(cx, namespace, body),
        }
    }

    fn dead_lettered(&self, cx: &mut DomainContext<'_, '_, '_>, namespace: &str, id: &str) -> Result<(), DomainError> {
        Domains.dead_lettered(cx, namespace, id)
    }
}
