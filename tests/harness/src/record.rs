//! Calls that are recorded with their times and outcomes, for the checkers.

use std::sync::{Arc, Mutex};

use checkers::convert;
use checkers::history::{Answer, Event, FinalRead, History, Key, Operation, Outcome, Refusal, Report, Request, State};
use futures::{StreamExt, stream};
use proto::v1;

use crate::call::Problem;
use crate::caller::{self, Caller};
use crate::worker::{Reported, Sink};
use crate::{Result, clock};

/// Collects a history from many tasks.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<History>>);

impl Recorder {
    /// Adds an event.
    pub fn push(&self, event: Event) {
        self.lock().push(event);
    }

    /// The history so far.
    #[must_use]
    pub fn history(&self) -> History {
        self.lock().clone()
    }

    /// Looks at the history so far.
    pub fn look<T>(&self, look: impl FnOnce(&History) -> T) -> T {
        look(&self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, History> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Sink for Recorder {
    fn delivered(&self, executor: &str, delivery: &v1::Delivery, received_us: i64) {
        self.push(Event::Delivery(convert::delivery(executor, delivery, received_us)));
    }

    fn answered(&self, executor: &str, reported: &Reported, result: &v1::OutcomeResult, answered_us: i64) {
        self.push(Event::Completion(checkers::history::Completion {
            executor: executor.to_owned(),
            trigger: Key::new(&reported.namespace, &reported.id),
            generation: reported.generation,
            attempt: reported.attempt,
            token: convert::token(reported.token.as_ref()),
            report: reported.report,
            verdict: convert::verdict(result.verdict()),
            receipt: result.receipt.as_ref().map(convert::facts),
            answered_us,
        }));
    }
}

/// One sequential caller.
#[derive(Debug)]
pub struct Session<'a> {
    /// How calls are made.
    pub caller: &'a Caller,
    /// Where they are recorded.
    pub recorder: &'a Recorder,
    /// Number of the caller.
    pub client: u64,
}

impl Session<'_> {
    /// Schedules.
    ///
    /// # Errors
    ///
    /// As [`Caller::call`].
    pub async fn schedule(&self, request: v1::ScheduleRequest) -> Result<v1::ScheduleResponse, Problem> {
        let due_ms = match request.when.as_ref().and_then(|when| when.when.as_ref()) {
            Some(v1::when::When::At(at)) => Some(convert::millis(Some(at))),
            _ => None,
        };
        let key = key(&request.namespace, &request.id);
        let invoked_us = clock::now_us();
        let answer = self
            .caller
            .call(|channel| {
                let request = request.clone();
                async move { caller::scheduler(channel).schedule(request).await }
            })
            .await;
        let outcome = outcome(&answer, |response| Answer::Scheduled {
            generation: response.generation,
            due_ms: convert::millis(response.due.as_ref()),
            decided: decided(response.receipt.as_ref()),
            replayed: response.replayed,
        });
        self.record(key, Request::Schedule { due_ms }, invoked_us, outcome);
        answer
    }

    /// Cancels whatever generation there is.
    ///
    /// # Errors
    ///
    /// As [`Caller::call`].
    pub async fn cancel(&self, namespace: &str, id: &str) -> Result<v1::CancelResponse, Problem> {
        let request = v1::CancelRequest {
            namespace: namespace.to_owned(),
            id: id.to_owned(),
            expected_generation: 0,
            request_id: uuid::Uuid::now_v7().to_string(),
        };
        let invoked_us = clock::now_us();
        let answer = self
            .caller
            .call(|channel| {
                let request = request.clone();
                async move { caller::scheduler(channel).cancel(request).await }
            })
            .await;
        let outcome = outcome(&answer, |response| Answer::Cancelled {
            generation: response.receipt.as_ref().map_or(0, |receipt| receipt.generation),
            decided: decided(response.receipt.as_ref()),
        });
        self.record(key(namespace, id), Request::Cancel { expected_generation: 0 }, invoked_us, outcome);
        answer
    }

    /// Moves to another due time.
    ///
    /// # Errors
    ///
    /// As [`Caller::call`].
    pub async fn reschedule(
        &self,
        namespace: &str,
        id: &str,
        due_ms: i64,
        expected_generation: u64,
    ) -> Result<v1::RescheduleResponse, Problem> {
        let request = v1::RescheduleRequest {
            namespace: namespace.to_owned(),
            id: id.to_owned(),
            when: Some(at(due_ms)),
            expected_generation,
            request_id: uuid::Uuid::now_v7().to_string(),
        };
        let invoked_us = clock::now_us();
        let answer = self
            .caller
            .call(|channel| {
                let request = request.clone();
                async move { caller::scheduler(channel).reschedule(request).await }
            })
            .await;
        let outcome = outcome(&answer, |response| Answer::Rescheduled {
            generation: response.generation,
            due_ms: convert::millis(response.due.as_ref()),
            decided: decided(response.receipt.as_ref()),
        });
        let request = Request::Reschedule { due_ms: Some(due_ms), expected_generation };
        self.record(key(namespace, id), request, invoked_us, outcome);
        answer
    }

    /// Reads.
    ///
    /// # Errors
    ///
    /// As [`Caller::call`].
    pub async fn get(&self, namespace: &str, id: &str) -> Result<v1::Trigger, Problem> {
        let invoked_us = clock::now_us();
        let answer = get(self.caller, namespace, id).await;
        let outcome = outcome(&answer, |trigger| Answer::Read {
            state: convert::state(trigger.state()),
            generation: trigger.generation,
            due_ms: convert::millis(trigger.due.as_ref()),
        });
        self.record(key(namespace, id), Request::Get, invoked_us, outcome);
        answer
    }

    fn record(&self, trigger: Key, request: Request, invoked_us: i64, outcome: Outcome) {
        let returned_us = match outcome {
            Outcome::Info { .. } => None,
            Outcome::Ok(_) | Outcome::Fail { .. } => Some(clock::now_us()),
        };
        self.recorder.push(Event::Operation(Operation {
            client: self.client,
            trigger,
            request,
            invoked_us,
            returned_us,
            outcome,
        }));
    }
}

/// A moment, as a request names it.
#[must_use]
pub fn at(due_ms: i64) -> v1::When {
    v1::When { when: Some(v1::when::When::At(clock::timestamp(due_ms))) }
}

/// A plain request for the default namespace.
#[must_use]
pub fn request(id: impl Into<String>, topic: &str, due_ms: i64) -> v1::ScheduleRequest {
    v1::ScheduleRequest {
        namespace: "default".into(),
        id: id.into(),
        topic: topic.into(),
        when: Some(at(due_ms)),
        ..Default::default()
    }
}

/// Reads a trigger, not recorded.
///
/// # Errors
///
/// As [`Caller::call`].
pub async fn get(caller: &Caller, namespace: &str, id: &str) -> Result<v1::Trigger, Problem> {
    let request = v1::GetRequest { namespace: namespace.to_owned(), id: id.to_owned() };
    let answer = caller
        .call(|channel| {
            let request = request.clone();
            async move { caller::scheduler(channel).get(request).await }
        })
        .await?;
    Ok(answer.trigger.unwrap_or_default())
}

/// Reads every trigger the history knows of, and records what is there.
///
/// # Errors
///
/// The first read that got no answer.
pub async fn final_reads(caller: &Caller, recorder: &Recorder) -> Result<(), Problem> {
    let keys: std::collections::BTreeSet<Key> =
        recorder.look(|history| history.operations.iter().map(|operation| operation.trigger.clone()).collect());
    let mut reads = stream::iter(keys)
        .map(|key| async move {
            match get(caller, &key.namespace, &key.id).await {
                Ok(trigger) => Ok::<FinalRead, Problem>(convert::final_read(&trigger, clock::now_us())),
                Err(problem) if problem.reason == "NOT_FOUND" => Ok(convert::absent(key, clock::now_us())),
                Err(problem) => Err(problem),
            }
        })
        .buffer_unordered(64);
    while let Some(read) = reads.next().await {
        recorder.push(Event::FinalRead(read?));
    }
    Ok(())
}

/// Whether every trigger whose schedule was acknowledged has ended, by what executors were told.
#[must_use]
pub fn unfinished(history: &History) -> usize {
    let done: std::collections::BTreeSet<&Key> = history
        .completions
        .iter()
        .filter(|completion| {
            completion.report == Report::Success
                && completion.receipt.as_ref().is_some_and(|receipt| receipt.outcome == State::Completed)
        })
        .map(|completion| &completion.trigger)
        .collect();
    history
        .operations
        .iter()
        .filter(|operation| {
            matches!(operation.outcome, Outcome::Ok(Answer::Scheduled { .. })) && !done.contains(&operation.trigger)
        })
        .count()
}

fn key(namespace: &str, id: &str) -> Key {
    Key::new(if namespace.is_empty() { "default" } else { namespace }, id)
}

fn decided(receipt: Option<&v1::Receipt>) -> checkers::history::Decided {
    receipt.map_or(checkers::history::Decided { partition: u32::MAX, index: 0 }, convert::decided)
}

fn outcome<T>(answer: &Result<T, Problem>, said: impl FnOnce(&T) -> Answer) -> Outcome {
    match answer {
        Ok(response) => Outcome::Ok(said(response)),
        Err(problem) => match Refusal::from_reason(&problem.reason) {
            Some(refusal) => Outcome::Ok(Answer::Refused(refusal)),
            None if problem.certain => Outcome::Fail { reason: problem.to_string() },
            None => Outcome::Info { reason: problem.to_string() },
        },
    }
}
