//! What a node tells Prometheus.

use std::time::Duration;

use proto::v1;

use crate::support::{One, Work, after, outcome, page, until};

/// A name, and whether a value of it is sensible after what the test did.
type Expected = (&'static str, &'static str, fn(f64) -> bool);

const GAUGES: &[Expected] = &[
    ("bosingak_forecast_triggers", "hours_ahead=\"0\"", |count| count == 1.0),
    ("bosingak_forecast_triggers", "hours_ahead=\"2\"", |count| count == 2.0),
    ("bosingak_forecast_triggers", "hours_ahead=\"23\"", |count| count == 0.0),
    ("bosingak_executor_capacity", "", |credit| credit == 100.0),
    ("bosingak_dead_letters", "partition=\"0\"", |count| count == 1.0),
    ("bosingak_canary_age_seconds", "partition=\"0\"", |age| (0.0..35.0).contains(&age)),
    ("bosingak_raft_snapshot_age_seconds", "partition=\"0\"", |age| (0.0..60.0).contains(&age)),
    ("bosingak_rocksdb_block_cache_bytes", "", |bytes| bytes > 0.0),
    ("bosingak_rocksdb_compaction_pending_bytes", "", |bytes| bytes >= 0.0),
    ("bosingak_rocksdb_write_stopped", "", |stopped| stopped == 0.0),
];

const COUNTERS: &[Expected] = &[
    ("bosingak_lease_expired_total", "", |count| count >= 1.0),
    ("bosingak_late_triggers_total", "cause=\"executor\"", |count| count >= 0.0),
    ("bosingak_late_triggers_total", "cause=\"no_leader\"", |count| count >= 0.0),
];

/// Each metric is there once, described, of its type, and says what is so.
///
/// Turns red when a gauge of `scrape::page` is left out, or counts canaries.
#[tokio::test(flavor = "multi_thread")]
async fn what_prometheus_is_told_is_described_and_so() {
    let one = One::start_with(|config| {
        config.partitions = 1;
        config.late_bound = Duration::from_millis(10);
    })
    .await;
    let mut scheduler = one.scheduler();
    for (id, minutes) in [("soon", 30), ("later-1", 150), ("later-2", 160), ("tomorrow", 40 * 60)] {
        scheduler.schedule(after(id, "t", Duration::from_secs(60 * minutes))).await.expect("scheduled");
    }
    let retry = v1::RetryPolicy { max_attempts: 1, ..Default::default() };
    let once = v1::ScheduleRequest { retry: Some(retry), ..after("dead", "t", Duration::ZERO) };
    scheduler.schedule(once).await.expect("scheduled");
    scheduler.schedule(after("lost", "t", Duration::ZERO)).await.expect("scheduled");
    let mut work = Work::open(one.executor(), "worker", "t", 0, Vec::new()).await;
    let mut given = Vec::new();
    while given.len() < 2 {
        given.extend(work.deliveries().await);
    }
    let dead = given.iter().find(|delivery| delivery.id == "dead").expect("given");
    let failure = v1::Failure { error: "no luck".into(), retry_after: None };
    work.report(vec![outcome(dead, v1::delivery_outcome::Outcome::Retry(failure))]).await;
    work.results().await;
    // It comes back without what it was given: that lease is given up.
    drop(work);
    let mut work = Work::open(one.executor(), "worker", "t", 0, Vec::new()).await;
    let again = work.deliveries().await.remove(0);
    assert_eq!((again.id.as_str(), again.attempt), ("lost", 2));
    work.report(vec![crate::support::success(&again)]).await;
    work.results().await;
    let credit = v1::work_request::Message::Credit(v1::Credit { deliveries: 1 });
    work.requests.send(crate::support::request(credit)).await.expect("open");

    let kinds = [("gauge", GAUGES), ("counter", COUNTERS)];
    until(async || {
        let metrics = page(one.server.addresses().admin, "/metrics").await;
        for (kind, expected) in kinds {
            for (name, label, is_sensible) in expected {
                // Some are told by a beat of a second.
                metrics.find(&format!("# TYPE {name} "))?;
                assert_eq!(metrics.matches(&format!("# TYPE {name} {kind}\n")).count(), 1, "TYPE of {name}");
                assert_eq!(metrics.matches(&format!("# HELP {name} ")).count(), 1, "HELP of {name}");
                let line =
                    metrics.lines().find(|line| line.starts_with(&format!("{name}{{")) && line.contains(label))?;
                let value: f64 = line.rsplit_once(' ')?.1.parse().ok()?;
                if !is_sensible(value) {
                    eprintln!("{line}");
                    return None;
                }
            }
        }
        Some(())
    })
    .await;
    let metrics = page(one.server.addresses().admin, "/metrics").await;
    let hours = metrics.lines().filter(|line| line.starts_with("bosingak_forecast_triggers{"));
    assert_eq!(hours.count(), 24);
    // What was tried again after a second is late, for whatever reason.
    let late = metrics.lines().filter(|line| line.starts_with("bosingak_late_triggers_total{"));
    let late = late.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    assert!(late.sum::<f64>() >= 1.0, "{metrics}");
    assert!(!metrics.contains(" summary\n"), "a summary cannot be added up over nodes");
    one.stop().await;
}
