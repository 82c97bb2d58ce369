//! What the scenarios about gifts share: reserving before midnight, the midnight, and what is true at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::task::JoinSet;

use super::{Run, until_ms};
use crate::gifts::{self, Patience, SharedGifts, Spent, World, lock};
use crate::report::{Report, grouped};

/// Reservations under way at once before midnight, unless told.
const CALLERS: usize = 64;
/// Reservations before it is measured: connections are made, the executors find their leaders.
const WARM_UP: u64 = 32;
/// From moving the clocks to midnight: time enough for the nodes to agree on the time again.
const LEAD_MS: i64 = 6_000;
/// Nothing moved for so long means that nothing will.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of 1,000 reservations so many have to do well.
const SUCCESS_PER_MILLE: u64 = 999;

/// What reserving before midnight came to.
pub struct Eve {
    /// Before the first reservation, and after the last news of one.
    pub spent: (Spent, Spent),
    /// Reservations per second.
    pub per_s: f64,
}

/// Starts the world, and says how fast the providers are alone.
pub async fn start(run: &Run, expected: u64, scenario: &str) -> anyhow::Result<(Arc<World>, Report)> {
    run.progress.say(&format!("starting {} nodes, executors and providers", run.arguments.nodes()));
    let world = World::start(&run.arguments, expected).await?;
    let mut report = world.target.report(scenario);
    report.success_per_mille = SUCCESS_PER_MILLE;
    let alone = gifts::confirms_per_s(world.providers()).await?;
    report.add("providers_alone_per_s", alone.round());
    Ok((Arc::new(world), report))
}

/// Reserves `count` gifts for midnight and waits until all senders were told.
pub async fn reserve(run: &Run, world: &Arc<World>, count: u64) -> anyhow::Result<Eve> {
    let date = world.clock.date()?;
    run.progress.say(&format!("reserving {} gifts for 00:00 of {date}", grouped(count)));
    let bar = run.progress.bar("reserved", count);
    let (next, before) = (Arc::new(AtomicU64::new(0)), world.spent().await?);
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..run.arguments.concurrency.unwrap_or(CALLERS) {
        let (world, date, next, bar) = (world.clone(), date.clone(), next.clone(), bar.clone());
        callers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return anyhow::Ok(());
                }
                // A run of a few has nothing to spare for warming up.
                let measured = number >= WARM_UP || count < 4 * WARM_UP;
                gifts::reserve(&world, &date, true, Patience::Patient, measured).await?;
                bar.inc(1);
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    bar.finish_and_clear();
    let took = began.elapsed().as_secs_f64();
    told(&world.gifts, |[reserved, _, told_reserved, ..]| reserved.saturating_sub(told_reserved)).await;
    let after = world.spent().await?;
    run.progress.say(&format!(
        "reserved in {took:.1} s; all senders told {:.1} s after the first",
        after.seconds_since(&before)
    ));
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let per_s = count as f64 / took.max(0.001);
    Ok(Eve { spent: (before, after), per_s })
}

/// Moves the clocks to shortly before midnight, and returns when that is by the machine's clock, in milliseconds. Nobody else may hold
/// the world meanwhile.
pub async fn to_midnight(world: &mut Arc<World>) -> anyhow::Result<i64> {
    let world = Arc::get_mut(world).context("the world is in use")?;
    world.none_exited()?;
    let moment_ms = harness::clock::now_ms() + LEAD_MS;
    lock(&world.gifts).begin(moment_ms * 1_000);
    let endpoints = world.target.endpoints.clone();
    world.clock.midnight_at(moment_ms, &endpoints).await?;
    until_ms(moment_ms).await;
    Ok(moment_ms)
}

/// Waits until every gift that is due has arrived; gives up when nothing moves any more.
pub async fn arrived(world: &World) -> bool {
    told(&world.gifts, |_| lock(&world.gifts).outstanding()).await
}

/// Waits until all senders were told that their gifts were sent; gives up when nothing moves any more.
pub async fn all_told(world: &World) -> bool {
    told(&world.gifts, |[_, arrived, _, told_sent, _]| arrived.saturating_sub(told_sent)).await
}

/// Waits until nothing is left; gives up when that has not become less for [`PATIENCE`].
async fn told(gifts: &SharedGifts, left: impl Fn([u64; 5]) -> u64) -> bool {
    let (mut least, mut moved) = (u64::MAX, Instant::now());
    loop {
        let progress = lock(gifts).progress();
        let left = left(progress);
        if left == 0 {
            return true;
        }
        if left < least {
            (least, moved) = (left, Instant::now());
        }
        if moved.elapsed() > PATIENCE {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks the cluster and the providers what is true, and writes everything into the report.
pub async fn judge(run: &Run, world: &mut Arc<World>, report: &mut Report) -> anyhow::Result<()> {
    run.progress.say("reading every gift, the books and some links");
    gifts::settle(world).await?;
    let balance = gifts::books(world).await?;
    let provider = gifts::ledger(world).await?;
    let differs = lock(&world.gifts).compare(&balance, &provider);
    let accepted = gifts::accept_some(world).await?;
    let warnings = world.warnings();
    if !warnings.is_empty() {
        run.progress.say(&format!("executors said last:\n{warnings}"));
    }
    {
        let gifts = lock(&world.gifts);
        let tally = gifts.tally();
        (report.count, report.ok, report.lost) = (tally.count, tally.ok, tally.lost);
        (report.duplicates, report.early, report.contradicted) = (tally.duplicates, tally.early, tally.contradicted);
        report.errors = gifts.errors().clone();
        report.findings = gifts.findings().to_vec();
        report.latency_ms = gifts.latency().percentiles();
        let (messages, sent) = gifts.lateness();
        report.lateness_ms = messages.percentiles();
        report.add("lateness_ms_until_sent_in_the_log", serde_json::to_value(sent.percentiles())?);
        let (last_message_s, last_sent_s) = gifts.drained_s();
        report.drain_s = last_message_s;
        report.add("last_gift_sent_in_the_log_after_s", last_sent_s);
        report.add("target_all_sent_within_60_s", last_sent_s <= 60.0 && tally.lost == 0);
        report.add("target_reservation_p99_below_500_ms", report.latency_ms.p99 < 500.0);
        report.add("reserved", tally.reserved);
        report.add("links_opened_and_accepted", accepted);
        let [_, arrived, told_reserved, told_sent, told_twice] = gifts.progress();
        report.add("gift_messages", arrived);
        report.add("news_reserved", told_reserved);
        report.add("news_sent", told_sent);
        report.add("news_told_twice", told_twice);
        report.add("won_captured", balance.captured);
        report.add("won_captured_by_the_provider", provider.captured_won);
        report.add("won_delivered", balance.delivered);
        report.add("won_held", balance.held);
        report.add("won_that_differ", differs);
        if !gifts.retries().is_empty() {
            report.add("retried_attempts", serde_json::json!(gifts.retries()));
        }
    }
    world.account(report);
    Ok(())
}
