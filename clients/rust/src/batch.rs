//! Batches: items that failed in a way that a repeat may cure are sent again, alone, until the call's time is up.

use std::time::Duration;

use proto::v1::{
    BatchCancelRequest, BatchScheduleRequest, CancelRequest, CancelResponse, ScheduleRequest, ScheduleResponse,
    batch_cancel_result, batch_schedule_result,
};

use crate::call::{Client, How};
use crate::error::{Error, Repeat};
use crate::triggers::service;

/// Results so far of the items of a batch, in the order they were given.
struct Results<T> {
    results: Vec<Option<Result<T, Error>>>,
    /// Index of each item of the round under way.
    round: Vec<usize>,
}

impl<T> Results<T> {
    fn new(items: usize) -> Self {
        Results { results: (0..items).map(|_| None).collect(), round: (0..items).collect() }
    }

    /// Takes the answer to a round; the next round is what is worth another try. A server that answers fewer items than
    /// asked leaves the rest to be asked again.
    fn answered(&mut self, answers: impl IntoIterator<Item = Result<T, Error>>) {
        let round = std::mem::take(&mut self.round);
        let mut answers = answers.into_iter();
        for index in round {
            let answer = answers.next();
            if answer.as_ref().is_none_or(|a| a.as_ref().is_err_and(Error::is_retryable)) {
                self.round.push(index);
            }
            if let Some(answer) = answer {
                self.results[index] = Some(answer);
            }
        }
    }

    /// How long the items of the next round ask to be left alone.
    fn asked_wait(&self) -> Option<Duration> {
        let errors = self.round.iter().filter_map(|&i| self.results[i].as_ref()?.as_ref().err());
        errors.filter_map(Error::retry_after).max()
    }

    fn finish(self, missing: impl Fn() -> Error) -> Vec<Result<T, Error>> {
        self.results.into_iter().map(|result| result.unwrap_or_else(|| Err(missing()))).collect()
    }
}

impl Client {
    /// Schedules up to 1,000 triggers; the results are in the order of the items. Not atomic. Every `Ok` is durable.
    /// Items refused for a passing reason are sent again within the call's time. The outer error means that the outcome
    /// of no item is known.
    pub async fn batch_schedule(
        &self,
        mut items: Vec<ScheduleRequest>,
    ) -> Result<Vec<Result<ScheduleResponse, Error>>, Error> {
        for item in &mut items {
            self.fill(&mut item.namespace, &mut item.id);
        }
        let send = |items: Vec<ScheduleRequest>| async {
            let request = BatchScheduleRequest { items };
            let answer = self
                .call(How::repeatable(), request, |channel, request| async move {
                    service(channel).batch_schedule(request).await
                })
                .await?;
            let results = answer.results.into_iter();
            Ok(results
                .map(|result| match result.result {
                    Some(batch_schedule_result::Result::Ok(ok)) => Ok(ok),
                    Some(batch_schedule_result::Result::Error(error)) => Err(Error::from_item(&error)),
                    None => Err(no_answer()),
                })
                .collect())
        };
        self.in_rounds(items, send).await
    }

    /// Cancels up to 1,000 triggers; the results are in the order of the items. Otherwise as
    /// [`Client::batch_schedule`].
    pub async fn batch_cancel(
        &self,
        mut items: Vec<CancelRequest>,
    ) -> Result<Vec<Result<CancelResponse, Error>>, Error> {
        for item in &mut items {
            self.fill(&mut item.namespace, &mut item.request_id);
        }
        let send = |items: Vec<CancelRequest>| async {
            let request = BatchCancelRequest { items };
            let answer = self
                .call(How::repeatable(), request, |channel, request| async move {
                    service(channel).batch_cancel(request).await
                })
                .await?;
            let results = answer.results.into_iter();
            Ok(results
                .map(|result| match result.result {
                    Some(batch_cancel_result::Result::Ok(ok)) => Ok(ok),
                    Some(batch_cancel_result::Result::Error(error)) => Err(Error::from_item(&error)),
                    None => Err(no_answer()),
                })
                .collect())
        };
        self.in_rounds(items, send).await
    }

    async fn in_rounds<Item, T, F, Fut>(&self, items: Vec<Item>, send: F) -> Result<Vec<Result<T, Error>>, Error>
    where
        Item: Clone,
        F: Fn(Vec<Item>) -> Fut,
        Fut: Future<Output = Result<Vec<Result<T, Error>>, Error>>,
    {
        let deadline = self.now().saturating_add(self.policy.total);
        let mut results = Results::new(items.len());
        for failures in 1.. {
            let round: Vec<Item> = results.round.iter().map(|&i| items[i].clone()).collect();
            if round.is_empty() {
                break;
            }
            match send(round).await {
                Ok(answers) => results.answered(answers),
                // What earlier rounds settled is known; the rest keeps its last error.
                Err(_) if failures > 1 => break,
                Err(error) => return Err(error),
            }
            let backoff = self.policy.backoff.delay(failures, rand::random());
            let wait = results.asked_wait().unwrap_or_default().saturating_add(backoff);
            if results.round.is_empty()
                || failures >= self.policy.attempts_max
                || self.now().saturating_add(wait) >= deadline
            {
                break;
            }
            tokio::time::sleep(wait).await;
        }
        Ok(results.finish(no_answer))
    }
}

/// An item the server said nothing about: as unknown as a call that timed out.
fn no_answer() -> Error {
    let error = Error::Disconnected {
        endpoint: "the server".to_owned(),
        message: "the answer leaves this item out".to_owned(),
    };
    debug_assert_eq!(error.repeat(), Repeat::MaybeExecuted);
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_cured_is_sent_again_and_order_is_kept() {
        let mut results = Results::new(4);
        let passing = || Error::TimedOut { after: Duration::ZERO };
        results.answered([Ok('a'), Err(passing()), Err(Error::Closed)]);
        assert_eq!(results.round, [1, 3]);
        results.answered([Ok('b'), Err(passing())]);
        assert_eq!(results.round, [3]);
        let shown: Vec<String> = results
            .finish(no_answer)
            .iter()
            .map(|r| r.as_ref().map_or_else(|e| e.to_string(), |c| c.to_string()))
            .collect();
        assert_eq!(shown, ["a", "b", "closed", "no answer within 0 ms"]);
    }
}
