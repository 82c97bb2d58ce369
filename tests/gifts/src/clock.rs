//! The time of the cluster, and of the providers that have to keep up with it.

use std::time::Duration;

use anyhow::{Context, Result};
use client::Client;
use client::retry::Policy;
use jiff::{SignedDuration, Timestamp};
use proto::admin::v1::{AdvanceClockRequest, advance_clock_request::Target};

/// How long everything may take that falls due while time is moved.
const ADVANCE_WITHIN: Duration = Duration::from_secs(300);

/// Moves and reads the time of a cluster. Cheap to clone.
#[derive(Clone)]
pub struct ClusterClock {
    client: Client,
    providers: fakes::Clock,
    is_virtual: bool,
}

impl ClusterClock {
    pub(crate) fn new(client: &Client, providers: fakes::Clock, is_virtual: bool) -> Self {
        // A move that is not answered is not repeated, and it takes as long as what falls due on the way.
        let policy = Policy { total: ADVANCE_WITHIN, attempt: ADVANCE_WITHIN, ..client.policy() };
        ClusterClock { client: client.with_policy(policy), providers, is_virtual }
    }

    /// Whether it can be moved.
    pub fn is_virtual(&self) -> bool {
        self.is_virtual
    }

    /// The present moment: of a virtual clock where it stands, else of this machine.
    ///
    /// # Errors
    ///
    /// When no node answers.
    pub async fn now(&self) -> Result<Timestamp> {
        if !self.is_virtual {
            return Ok(Timestamp::now());
        }
        self.moved(Target::By(prost_types::Duration::default())).await.context("read the cluster's clock")
    }

    /// Moves a virtual clock to this moment. Whatever falls due on the way is done when it returns: fired at its own moment and
    /// worked off by executors. Moments that have passed change nothing. The providers' clock goes along.
    ///
    /// # Errors
    ///
    /// The clock is real, or no node answers within five minutes.
    pub async fn advance_to(&self, to: Timestamp) -> Result<Timestamp> {
        // Before: what is sent on the way must not be older at the provider than the turn it was sent in. It cannot be newer than
        // the moment all this ends at.
        self.providers.set(to);
        let at = prost_types::Timestamp { seconds: to.as_second(), nanos: to.subsec_nanosecond() };
        self.moved(Target::To(at)).await.with_context(|| format!("move the cluster's clock to {to}"))
    }

    /// The same, by so much.
    ///
    /// # Errors
    ///
    /// As [`ClusterClock::advance_to`].
    pub async fn advance_by(&self, by: SignedDuration) -> Result<Timestamp> {
        self.advance_to(self.now().await? + by).await
    }

    async fn moved(&self, target: Target) -> Result<Timestamp> {
        let answer = self.client.advance_clock(AdvanceClockRequest { target: Some(target) }).await?;
        let now = answer.now.unwrap_or_default();
        Ok(Timestamp::new(now.seconds, now.nanos)?)
    }
}
