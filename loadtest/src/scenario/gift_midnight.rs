//! Many gifts due at one midnight: how long a reservation takes, how late the last gift is, and whether each was sent once.

use super::{Run, gifts};
use crate::report::{Report, grouped};

pub async fn run(run: &Run) -> anyhow::Result<Report> {
    let count = run.arguments.count.unwrap_or(200_000);
    let (mut world, mut report) = gifts::start(run, count, "gift-midnight").await?;
    let eve = gifts::reserve(run, &world, count).await?;
    gifts::to_midnight(&mut world).await?;
    run.progress.say(&format!("it is midnight: {} gifts are due", grouped(count)));
    let before = world.spent().await?;
    let complete = gifts::arrived(&world).await;
    let arrived = world.spent().await?;
    let told = gifts::all_told(&world).await;
    let after = world.spent().await?;
    if !complete || !told {
        run.progress.say("not everything arrived; nothing has moved for a minute");
    }
    gifts::judge(run, &mut world, &mut report).await?;
    report.throughput_per_s = eve.per_s;
    #[expect(clippy::cast_precision_loss, reason = "rates for people")]
    {
        let gifts = count.max(1) as f64;
        report.add("gifts_sent_per_s", gifts / report.drain_s.max(0.001));
        report.add("commands_per_gift_reserving", eve.spent.1.commands_since(&eve.spent.0) as f64 / gifts);
        report.add("commands_per_gift_sending", after.commands_since(&before) as f64 / gifts);
    }
    report.add("processors_reserving", eve.spent.1.processors_since(&eve.spent.0));
    report.add("processors_sending", arrived.processors_since(&before));
    report.add("limit_reserving", eve.spent.1.limit_since(&eve.spent.0, world.target.sync_p50()));
    report.add("limit_sending", arrived.limit_since(&before, world.target.sync_p50()));
    report.add("news_of_sending_told_after_s", after.seconds_since(&before));
    Ok(report)
}
