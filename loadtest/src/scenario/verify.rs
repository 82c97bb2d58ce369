//! Looks whether acknowledged triggers that do not fire during the run are there at the end.

use futures::{StreamExt, stream};
use harness::caller::{self, Caller};
use harness::record;
use proto::v1;

use crate::executors::lock;
use crate::load::Load;
use crate::report::Report;

/// More than this is not listed but sampled.
const LISTED_MAX: usize = 1_000_000;
/// How many are read of those.
const SAMPLED: usize = 50_000;

/// Marks what is there; what is acknowledged and not there counts as lost. The report says how it was found out.
///
/// # Errors
///
/// When the cluster does not answer.
pub async fn all_there(endpoints: &[String], load: &Load, report: &mut Report) -> anyhow::Result<()> {
    let caller = Caller::new(endpoints)?;
    let acknowledged: Vec<u64> = lock(&load.oracle).acknowledged().collect();
    let lost = if acknowledged.len() <= LISTED_MAX {
        report.add("verified", "every acknowledged id, by list");
        listed(&caller, load).await?;
        lock(&load.oracle).missing(i64::MAX).len()
    } else {
        report.add("verified", format!("{SAMPLED} acknowledged ids, by get"));
        let step = acknowledged.len().div_ceil(SAMPLED);
        let sample = acknowledged.iter().copied().step_by(step);
        let mut reads = stream::iter(sample)
            .map(|number| {
                let caller = &caller;
                async move { (number, record::get(caller, "default", &load.id(number)).await) }
            })
            .buffer_unordered(64);
        let mut lost = 0;
        while let Some((number, read)) = reads.next().await {
            match read {
                Ok(_) => {}
                Err(problem) if problem.reason == "NOT_FOUND" => {
                    eprintln!("lost: {}", load.id(number));
                    lost += 1;
                }
                Err(problem) => return Err(problem.into()),
            }
        }
        let mut oracle = lock(&load.oracle);
        acknowledged.iter().for_each(|number| oracle.seen(*number));
        lost
    };
    let tally = lock(&load.oracle).tally(i64::MAX);
    report.take(&tally);
    report.lost = lost as u64;
    report.ok = tally.completed.saturating_sub(if acknowledged.len() > LISTED_MAX { lost as u64 } else { 0 });
    report.errors = lock(&load.oracle).errors().clone();
    Ok(())
}

async fn listed(caller: &Caller, load: &Load) -> anyhow::Result<()> {
    let mut page_token = String::new();
    loop {
        let request = v1::ListRequest {
            namespace: "default".into(),
            filter: Some(v1::TriggerFilter { topic: load.topic.clone(), ..Default::default() }),
            page_size: 1_000,
            page_token: page_token.clone(),
        };
        let page = caller
            .call(|channel| {
                let request = request.clone();
                async move { caller::scheduler(channel).list(request).await }
            })
            .await?;
        let mut oracle = lock(&load.oracle);
        for trigger in &page.triggers {
            if let Some(number) = oracle.number(&trigger.id) {
                oracle.seen(number);
            }
        }
        drop(oracle);
        if page.next_page_token.is_empty() {
            return Ok(());
        }
        anyhow::ensure!(page.next_page_token != page_token, "the list does not move on");
        page_token = page.next_page_token;
    }
}
