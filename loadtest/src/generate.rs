//! Ways to schedule: single calls, batches, streams, open loop.

mod change;
mod open;
mod stream;

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::call::Problem;
use harness::caller;
use proto::v1;
use tokio::task::JoinSet;

pub use change::{cancel, found, reschedule, settle_cancel, settle_cancels};
pub use open::at_their_moments;
pub use stream::streams;

use crate::executors::lock;
use crate::histogram::Times;
use crate::load::Load;
use crate::meter::Meter;
use crate::plan;
use crate::router::Router;

/// How long a call is repeated before it counts as failed.
const CALL_WITHIN: Duration = Duration::from_secs(30);

/// Schedules one, with repeats, and tells the oracle.
pub async fn one(router: &Router, load: &Load, number: u64, due_ms: i64, burst: bool) -> bool {
    load.ask(&[number], |_| due_ms, burst);
    let request = load.request(number, due_ms);
    let partition = router.partition(&request.id);
    let answer = router
        .call(
            partition,
            CALL_WITHIN,
            |reason| lock(&load.oracle).retry(reason),
            |channel| {
                let request = request.clone();
                async move { caller::scheduler(channel).schedule(request).await }
            },
        )
        .await;
    match answer {
        Ok(response) => {
            acknowledge(load, number, &response);
            true
        }
        Err(problem) => {
            lock(&load.oracle).fail(&problem.label());
            false
        }
    }
}

fn acknowledge(load: &Load, number: u64, response: &v1::ScheduleResponse) {
    let due_ms = checkers::convert::millis(response.due.as_ref());
    lock(&load.oracle).acknowledge(number, response.generation, due_ms);
}

/// `concurrency` callers, each making one call after the other until the meter is over.
pub async fn singles(
    router: &Arc<Router>,
    load: &Arc<Load>,
    meter: &Arc<Meter>,
    concurrency: usize,
    due_ms: impl Fn(u64) -> i64 + Copy + Send + Sync + 'static,
) {
    let mut callers = JoinSet::new();
    for _ in 0..concurrency {
        let (router, load, meter) = (router.clone(), load.clone(), meter.clone());
        callers.spawn(async move {
            let mut latency = Times::default();
            while !meter.is_over() {
                let number = load.any();
                let asked = Instant::now();
                if one(&router, &load, number, due_ms(number), false).await {
                    meter.count(1, asked, &mut latency);
                }
            }
            meter.keep(&latency);
        });
    }
    while callers.join_next().await.is_some() {}
}

/// Schedules a batch of one partition, with repeats of what did not get a definite answer; returns how many did well.
pub async fn batch(router: &Router, load: &Load, partition: u32, mut items: Vec<(u64, i64)>, burst: bool) -> u64 {
    {
        let mut oracle = lock(&load.oracle);
        items.iter().for_each(|(number, due_ms)| oracle.ask(*number, *due_ms, burst));
    }
    let deadline = Instant::now() + CALL_WITHIN;
    let mut done = 0;
    while !items.is_empty() {
        let request = v1::BatchScheduleRequest {
            items: items.iter().map(|(number, due_ms)| load.request(*number, *due_ms)).collect(),
        };
        let answer = router
            .call(
                partition,
                deadline.saturating_duration_since(Instant::now()),
                |reason| lock(&load.oracle).retry(reason),
                |channel| {
                    let request = request.clone();
                    async move { caller::scheduler(channel).batch_schedule(request).await }
                },
            )
            .await;
        let results = match answer {
            Ok(response) => response.results,
            Err(problem) => {
                let mut oracle = lock(&load.oracle);
                items.iter().for_each(|_| oracle.fail(&problem.label()));
                return done;
            }
        };
        let (well, again, pause) = settle(load, &items, results, Instant::now() < deadline);
        done += well;
        items = again;
        if !items.is_empty() {
            router.kick();
            tokio::time::sleep(pause).await;
        }
    }
    done
}

/// Tells the oracle what became of the items of a batch. Returns how many did well, what is to be sent again, and when.
fn settle(
    load: &Load,
    items: &[(u64, i64)],
    results: Vec<v1::BatchScheduleResult>,
    may_repeat: bool,
) -> (u64, Vec<(u64, i64)>, Duration) {
    use v1::batch_schedule_result::Result;
    let (mut done, mut again, mut pause) = (0, Vec::new(), Duration::ZERO);
    let mut oracle = lock(&load.oracle);
    for ((number, due_ms), result) in items.iter().zip(results) {
        match result.result {
            Some(Result::Ok(response)) => {
                let due_ms = checkers::convert::millis(response.due.as_ref());
                oracle.acknowledge(*number, response.generation, due_ms);
                done += 1;
            }
            Some(Result::Error(status)) => {
                let problem = Problem::from(&status);
                if problem.may_retry() && may_repeat {
                    oracle.retry(&problem.label());
                    pause = pause.max(problem.retry_after.unwrap_or(Duration::from_millis(20)));
                    again.push((*number, *due_ms));
                } else {
                    oracle.fail(&problem.label());
                }
            }
            None => oracle.fail("EMPTY_RESULT"),
        }
    }
    (done, again, pause)
}

/// `concurrency` callers of batches until the meter is over.
pub async fn batches(
    router: &Arc<Router>,
    load: &Arc<Load>,
    meter: &Arc<Meter>,
    concurrency: usize,
    size: usize,
    due_ms: impl Fn(u64) -> i64 + Copy + Send + Sync + 'static,
) {
    let mut callers = JoinSet::new();
    for turn in 0..concurrency {
        let (router, load, meter) = (router.clone(), load.clone(), meter.clone());
        callers.spawn(async move {
            let mut latency = Times::default();
            let mut partition = u32::try_from(turn).unwrap_or(0) % router.partitions();
            while !meter.is_over() {
                let items = load.of(partition, size).into_iter().map(|number| (number, due_ms(number))).collect();
                let asked = Instant::now();
                let done = batch(&router, &load, partition, items, false).await;
                meter.count(done, asked, &mut latency);
                partition = (partition + 1) % router.partitions();
            }
            meter.keep(&latency);
        });
    }
    while callers.join_next().await.is_some() {}
}

/// Schedules `count` triggers in batches as fast as it goes; `moved` hears of every batch.
pub async fn preload(
    router: &Arc<Router>,
    load: &Arc<Load>,
    count: u64,
    burst: bool,
    due_ms: impl Fn(u64) -> i64 + Copy + Send + Sync + 'static,
    moved: impl Fn(u64) + Clone + Send + 'static,
) {
    const CALLERS: u32 = 16;
    const SIZE: u64 = 200;
    let partitions = u64::from(router.partitions());
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS.max(router.partitions()) {
        let partition = caller % router.partitions();
        // Equal shares per partition, and of those per caller of the partition.
        let sharing = u64::from((CALLERS.max(router.partitions()) - partition).div_ceil(router.partitions()));
        let part = share(count, partitions, u64::from(partition));
        let mut left = share(part, sharing, u64::from(caller / router.partitions()));
        let (router, load, moved) = (router.clone(), load.clone(), moved.clone());
        callers.spawn(async move {
            while left > 0 {
                let size = usize::try_from(left.min(SIZE)).unwrap_or(0);
                let items = load.of(partition, size).into_iter().map(|number| (number, due_ms(number))).collect();
                batch(&router, &load, partition, items, burst).await;
                moved(size as u64);
                left -= size as u64;
            }
        });
    }
    while callers.join_next().await.is_some() {}
}

/// The share of the `at`-th of `among` in `whole`.
fn share(whole: u64, among: u64, at: u64) -> u64 {
    whole / among + u64::from(at < whole % among)
}

/// Schedules `rate` triggers per second on time, whether or not earlier calls have been answered, until the meter is
/// over; latency counts from the moment the call was to be made.
pub async fn open_loop(
    router: &Arc<Router>,
    load: &Arc<Load>,
    meter: &Arc<Meter>,
    rate: u64,
    due_ms: impl Fn(u64) -> i64,
) {
    let start = Instant::now();
    let left = meter.end().saturating_duration_since(start).as_millis();
    let seconds = u64::try_from(left.div_ceil(1_000)).unwrap_or(0);
    at_their_moments(start, plan::steady(rate, seconds), |asked, _| {
        let number = load.any();
        let due_ms = due_ms(number);
        let (router, load, meter) = (router.clone(), load.clone(), meter.clone());
        async move {
            if one(&router, &load, number, due_ms, false).await {
                let mut latency = Times::default();
                meter.count(1, asked, &mut latency);
                meter.keep(&latency);
            }
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red when shares do not add up.
    #[test]
    fn shares_add_up() {
        for whole in [0, 1, 7, 100] {
            for among in 1..9 {
                assert_eq!((0..among).map(|at| share(whole, among, at)).sum::<u64>(), whole);
            }
        }
    }
}
