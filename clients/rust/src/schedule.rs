//! Describing a trigger in a chain of words.

use std::time::Duration;

use bytes::Bytes;
use proto::v1::{
    LatePolicy, LocalTime, LocalTimePolicy, Priority, RetryPolicy, ScheduleRequest, ScheduleResponse, When, when,
};

use crate::call::Client;
use crate::error::Error;
use crate::stream::StreamScheduler;

/// A trigger being described; nothing happens before [`Schedule::send`].
#[must_use = "nothing is scheduled before send().await"]
pub struct Schedule<'a> {
    via: Via<'a>,
    request: ScheduleRequest,
    wrong: Option<Error>,
}

/// What takes the finished request.
#[derive(Clone, Copy)]
pub(crate) enum Via<'a> {
    Client(&'a Client),
    Stream(&'a StreamScheduler),
}

impl<'a> From<&'a Client> for Via<'a> {
    fn from(client: &'a Client) -> Self {
        Via::Client(client)
    }
}

impl<'a> Schedule<'a> {
    pub(crate) fn new(via: Via<'a>, topic: String, id: String) -> Self {
        let request = ScheduleRequest { topic, id, ..ScheduleRequest::default() };
        Schedule { via, request, wrong: None }
    }

    /// Due at this moment; one in the past fires at once. Milliseconds count; what is finer is rounded up.
    pub fn at(mut self, moment: impl Into<prost_types::Timestamp>) -> Self {
        self.request.when = Some(When { when: Some(when::When::At(moment.into())) });
        self
    }

    /// Due this long after the moment the log takes the command.
    pub fn after(mut self, delay: Duration) -> Self {
        match delay.try_into() {
            Ok(delay) => {
                self.request.when = Some(When { when: Some(when::When::After(delay)) });
            }
            Err(_) => self.wrong = Some(Error::invalid("after", "is too long")),
        }
        self
    }

    /// Due at a wall-clock time such as `2027-02-14T00:00` in an IANA zone such as `Asia/Seoul`. A time that a clock
    /// change skipped moves later, one it doubled means the earlier; see [`Schedule::local_policy`].
    pub fn at_local(mut self, date_time: impl Into<String>, time_zone: impl Into<String>) -> Self {
        let local = LocalTime { date_time: date_time.into(), time_zone: time_zone.into(), ..LocalTime::default() };
        self.request.when = Some(When { when: Some(when::When::Local(local)) });
        self
    }

    /// What a skipped or doubled local time means. After [`Schedule::at_local`]; without one it is refused by `send`.
    pub fn local_policy(mut self, policy: LocalTimePolicy) -> Self {
        match &mut self.request.when {
            Some(When { when: Some(when::When::Local(local)) }) => local.policy = policy.into(),
            _ => self.wrong = Some(Error::invalid("local_policy", "needs at_local before it")),
        }
        self
    }

    /// Tenant boundary; the client's default otherwise.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.request.namespace = namespace.into();
        self
    }

    /// What the executor gets: at most 64 KiB.
    pub fn payload(mut self, payload: impl Into<Bytes>) -> Self {
        self.request.payload = payload.into();
        self
    }

    /// Adds a label; at most 16.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.request.labels.insert(key.into(), value.into());
        self
    }

    /// Decides which executor gets it; the id otherwise.
    pub fn shard_key(mut self, shard_key: impl Into<String>) -> Self {
        self.request.shard_key = shard_key.into();
        self
    }

    /// Class within the topic; normal otherwise.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.request.priority = priority.into();
        self
    }

    /// What happens after a failure; the topic's policy otherwise.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.request.retry = Some(policy);
        self
    }

    /// Dead-letter it instead of firing when it would be later than this (1 s to 30 d).
    pub fn skip_when_later_than(mut self, lateness: Duration) -> Self {
        match lateness.try_into() {
            Ok(lateness) => {
                self.request.late = Some(LatePolicy { skip_when_later_than: Some(lateness) });
            }
            Err(_) => self.wrong = Some(Error::invalid("skip_when_later_than", "is too long")),
        }
        self
    }

    /// The request as it stands, for batches.
    pub fn into_request(self) -> Result<ScheduleRequest, Error> {
        match self.wrong {
            Some(wrong) => Err(wrong),
            None if self.request.when.is_none() => {
                Err(Error::invalid("when", "say when it is due: at, after or at_local"))
            }
            None => Ok(self.request),
        }
    }

    /// Schedules it. `Ok` means durable on a majority.
    pub async fn send(self) -> Result<ScheduleResponse, Error> {
        let via = self.via;
        let request = self.into_request()?;
        match via {
            Via::Client(client) => client.schedule_request(request).await,
            Via::Stream(stream) => stream.schedule_request(request).await,
        }
    }
}
