//! A watch that outlives the node it was opened at.

use futures::Stream;
use proto::v1::{WatchRequest, WatchResponse};
use std::time::Duration;

use crate::call::{Client, How};
use crate::error::Error;
use crate::retry::{Attempts, Next};
use crate::triggers::service;

/// Events of a watch. Every change is seen at least once; after a reconnection one may be seen again.
pub struct Watch {
    client: Client,
    request: WatchRequest,
    open: Option<(String, tonic::Streaming<WatchResponse>)>,
    /// Where the next opening must go, when the last answer named the leader.
    named: Option<String>,
    /// Tries since it was last open.
    attempts: Option<Attempts>,
}

impl Watch {
    pub(crate) fn new(client: Client, request: WatchRequest) -> Self {
        Watch { client, request, open: None, named: None, attempts: None }
    }

    /// Where to continue: hand it to another watch of the same request.
    pub fn cursor(&self) -> &str {
        &self.request.cursor
    }

    /// The next event. Waits for as long as nothing changes. An error means that the watch could not be continued for
    /// the whole time-out of a call, or never can be (STALE_CURSOR: begin anew without a cursor); calling again goes
    /// on trying.
    pub async fn next(&mut self) -> Result<WatchResponse, Error> {
        loop {
            let (endpoint, failure) = match self.event().await {
                Ok(event) => {
                    if !event.cursor.is_empty() {
                        self.request.cursor.clone_from(&event.cursor);
                    }
                    return Ok(event);
                }
                Err(failed) => failed,
            };
            self.open = None;
            let (policy, now) = (self.client.policy, self.client.now());
            let attempts = self.attempts.get_or_insert_with(|| Attempts::new(policy, now, true));
            match attempts.failed(now, &failure, rand::random()) {
                Next::GiveUp => {
                    self.attempts = None;
                    return Err(failure);
                }
                Next::Again { after, target } => {
                    self.named = self.client.follow(None, &endpoint, target);
                    tokio::time::sleep(after).await;
                }
            }
        }
    }

    /// The same as a stream that ends after the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<WatchResponse, Error>> {
        futures::stream::unfold(Some(self), |watch| async move {
            let mut watch = watch?;
            match watch.next().await {
                Ok(event) => Some((Ok(event), Some(watch))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    /// The next event of the open stream, opened first when there is none. Fails with the endpoint it failed at.
    async fn event(&mut self) -> Result<WatchResponse, (String, Error)> {
        let (endpoint, stream) = match self.open.take() {
            Some(open) => open,
            None => {
                let endpoint = self.next_endpoint();
                let opened = self.open_at(&endpoint).await;
                let stream = opened.map_err(|error| (endpoint.clone(), error))?;
                self.attempts = None;
                (endpoint, stream)
            }
        };
        // Put back at once: the caller may drop the future of `next` at the await.
        let stream = &mut self.open.insert((endpoint, stream)).1;
        let outcome = stream.message().await;
        let endpoint = self.open.as_ref().map(|(at, _)| at.clone()).unwrap_or_default();
        match outcome {
            Ok(Some(event)) => Ok(event),
            // A server that stops ends its streams; another one takes over.
            Ok(None) => {
                let message = "the stream ended".to_owned();
                Err((endpoint.clone(), Error::Disconnected { endpoint, message }))
            }
            Err(status) => {
                let error = Error::from_status(&status, &endpoint, Duration::ZERO);
                Err((endpoint, error))
            }
        }
    }

    fn next_endpoint(&mut self) -> String {
        let how = match self.request.id.as_str() {
            "" => How::repeatable(),
            id => self.client.about(&self.request.namespace, id),
        };
        let picked = || self.client.inner.pick(self.client.now(), how.partition);
        self.named.take().unwrap_or_else(picked)
    }

    async fn open_at(&mut self, endpoint: &str) -> Result<tonic::Streaming<WatchResponse>, Error> {
        let (policy, now) = (self.client.policy, self.client.now());
        let attempts = self.attempts.get_or_insert_with(|| Attempts::new(policy, now, true));
        let Some(timeout) = attempts.begin(now) else {
            return Err(Error::TimedOut { after: policy.total });
        };
        let mut service = service(self.client.inner.channel(endpoint)?);
        match tokio::time::timeout(timeout, service.watch(self.request.clone())).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(Error::from_status(&status, endpoint, timeout)),
            Err(_) => Err(Error::TimedOut { after: timeout }),
        }
    }
}
