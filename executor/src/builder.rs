//! How an executor is set up.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::Client;

use crate::engine::{Settings, Settled};
use crate::handler::Handler;
use crate::runtime::Executor;

/// Called with every answered report.
pub(crate) type Observer = Arc<dyn Fn(&Settled) + Send + Sync>;

/// Topics one executor may name.
const TOPICS_MAX: usize = 64;
/// Deliveries one stream may hold.
const IN_FLIGHT_MAX: u32 = 65_536;

/// What is wrong with the settings of an executor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Error {
    /// Which setting.
    pub field: &'static str,
    /// What is wrong with it.
    pub message: String,
}

/// Settings of an [`Executor`], each with its default.
pub struct Builder {
    client: Client,
    handlers: HashMap<String, Arc<dyn Handler>>,
    settings: Settings,
    max_in_flight: Option<u32>,
    drain_timeout: Duration,
    observer: Option<Observer>,
}

impl Builder {
    pub(crate) fn new(client: Client) -> Self {
        Builder {
            client,
            handlers: HashMap::new(),
            settings: Settings::default(),
            max_in_flight: None,
            drain_timeout: Duration::from_secs(30),
            observer: None,
        }
    }

    /// The cluster it will work for.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Works on the triggers of a topic with this handler. At most 64 topics.
    pub fn handler(mut self, topic: impl Into<String>, handler: impl Handler) -> Self {
        self.handlers.insert(topic.into(), Arc::new(handler));
        self
    }

    /// Stable name of this process, 1..128 characters: it decides which shards it gets. Default: a fresh id, so that
    /// shards move with every restart.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// Namespace whose triggers it works on. Default `default`.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.settings.namespace = namespace.into();
        self
    }

    /// Handlers that run at the same time. Default 64.
    pub fn concurrency(mut self, handlers: usize) -> Self {
        self.settings.concurrency = handlers;
        self
    }

    /// Deliveries held at the same time, over all partitions: those being worked on, those waiting for a free handler
    /// and those whose report is not yet durable. Default four times the concurrency.
    pub fn max_in_flight(mut self, deliveries: u32) -> Self {
        self.max_in_flight = Some(deliveries);
        self
    }

    /// A handler is dropped this long before its lease ends, so that the report arrives in time. Default 500 ms, at most
    /// a quarter of the lease.
    pub fn lease_margin(mut self, margin: Duration) -> Self {
        self.settings.lease_margin = margin;
        self
    }

    /// Extends leases while a handler runs, until it has taken this long in all. Default: never extended, a handler has
    /// the topic's lease.
    pub fn extend_leases(mut self, longest: Duration) -> Self {
        self.settings.extend_up_to = Some(longest);
        self
    }

    /// How long a shutdown waits for handlers and for their reports to be durable. Default 30 s. What is left then is
    /// delivered again when its lease ends.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// Is told of every answered report, in the runtime's own task: it should return at once.
    pub fn observe(mut self, observer: impl Fn(&Settled) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Checks the settings.
    pub fn build(mut self) -> Result<Executor, Error> {
        let refuse = |field, message: String| Err(Error { field, message });
        if self.handlers.is_empty() {
            return refuse("handler", "at least one topic needs a handler".to_owned());
        }
        if self.handlers.len() > TOPICS_MAX {
            let given = self.handlers.len();
            return refuse("handler", format!("{given} topics, at most {TOPICS_MAX}"));
        }
        if self.settings.name.is_empty() {
            self.settings.name = format!("executor-{}", uuid::Uuid::now_v7().simple());
        }
        if self.settings.name.chars().count() > 128 {
            return refuse("name", "longer than 128 characters".to_owned());
        }
        let concurrency = self.settings.concurrency;
        if !(1..=IN_FLIGHT_MAX as usize).contains(&concurrency) {
            return refuse("concurrency", format!("{concurrency} is not in 1..{IN_FLIGHT_MAX}"));
        }
        let default = u32::try_from(concurrency).unwrap_or(IN_FLIGHT_MAX).saturating_mul(4);
        let in_flight = self.max_in_flight.unwrap_or(default.min(IN_FLIGHT_MAX));
        if !(1..=IN_FLIGHT_MAX).contains(&in_flight) {
            return refuse("max_in_flight", format!("{in_flight} is not in 1..{IN_FLIGHT_MAX}"));
        }
        self.settings.max_in_flight = in_flight;
        self.settings.topics = self.handlers.keys().cloned().collect();
        self.settings.topics.sort();
        Ok(Executor::new(self.client, self.settings, self.handlers, self.drain_timeout, self.observer))
    }
}
