//! A provider of text messages of a class that none of the real ones is of, or that says what a test has it say: it honours
//! idempotency keys, lists what it took late, or refuses in between.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use executor::providers::address::Address;
use executor::providers::message::{Channel, FindOutcome, Idempotency, Message, MessageProvider, SendOutcome};
use futures::future::BoxFuture;
use tokio::sync::Notify;

/// Clones are the same carrier.
#[derive(Clone)]
pub struct Carrier {
    state: Arc<Mutex<State>>,
    idempotency: Idempotency,
    /// Told when a message was taken.
    pub took: Arc<Notify>,
}

#[derive(Default)]
struct State {
    /// Keys of what was delivered, in order.
    delivered: Vec<String>,
    /// Calls of send.
    sends: u32,
    /// Calls of query.
    queries: u32,
    /// What the next calls of send say instead.
    says: VecDeque<Say>,
    /// What the next calls of query say instead.
    lists: VecDeque<FindOutcome>,
}

/// What a call does other than it should.
pub enum Say {
    /// Delivers, and never answers.
    NothingAfterAll,
    /// Delivers, and the answer is lost.
    LostAfterAll,
    /// Delivers nothing and says this.
    Instead(SendOutcome),
}

impl Carrier {
    pub fn new(idempotency: Idempotency) -> Self {
        Carrier { state: Arc::default(), idempotency, took: Arc::default() }
    }

    /// One that honours keys for a day.
    pub fn keyed() -> Self {
        Carrier::new(Idempotency::Honoured { within: Duration::from_secs(24 * 3_600) })
    }

    pub fn say(&self, say: Say) {
        self.state.lock().expect("not poisoned").says.push_back(say);
    }

    pub fn list(&self, found: FindOutcome) {
        self.state.lock().expect("not poisoned").lists.push_back(found);
    }

    pub fn delivered(&self) -> usize {
        self.state.lock().expect("not poisoned").delivered.len()
    }

    /// Calls of send and of query.
    pub fn calls(&self) -> (u32, u32) {
        let state = self.state.lock().expect("not poisoned");
        (state.sends, state.queries)
    }

    fn take(&self, key: &str) -> SendOutcome {
        let mut state = self.state.lock().expect("not poisoned");
        let known = state.delivered.iter().any(|delivered| delivered == key);
        if !known || self.idempotency == Idempotency::None {
            state.delivered.push(key.to_owned());
        }
        SendOutcome::Accepted { provider_id: format!("carrier/{key}") }
    }
}

impl MessageProvider for Carrier {
    fn name(&self) -> &'static str {
        "carrier"
    }

    fn channel(&self) -> Channel {
        Channel::Sms
    }

    fn idempotency(&self) -> Idempotency {
        self.idempotency
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, SendOutcome> {
        Box::pin(async move {
            let say = {
                let mut state = self.state.lock().expect("not poisoned");
                state.sends += 1;
                state.says.pop_front()
            };
            match say {
                None => self.take(&message.idempotency_key),
                Some(Say::Instead(outcome)) => outcome,
                Some(Say::LostAfterAll) => {
                    self.take(&message.idempotency_key);
                    SendOutcome::Unknown { error: "reset".into() }
                }
                Some(Say::NothingAfterAll) => {
                    self.take(&message.idempotency_key);
                    self.took.notify_one();
                    std::future::pending().await
                }
            }
        })
    }

    fn query<'a>(&'a self, key: &'a str, _: &'a Address, _: SystemTime) -> BoxFuture<'a, FindOutcome> {
        Box::pin(async move {
            let mut state = self.state.lock().expect("not poisoned");
            state.queries += 1;
            if let Some(found) = state.lists.pop_front() {
                return found;
            }
            match state.delivered.iter().find(|delivered| *delivered == key) {
                Some(key) => FindOutcome::Found { provider_id: format!("carrier/{key}"), delivered: None },
                None => FindOutcome::NotFound,
            }
        })
    }
}
