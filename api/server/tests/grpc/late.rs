//! Late triggers: what is listed, of whom, and why.

use std::time::Duration;

use proto::admin::v1 as admin;
use tonic::Code;

use crate::support::{One, after, reason, success, until};

/// Turns red when the list is not of what was late most recently first, when canaries are in it, or when a bound of the request is not
/// looked at.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_late_is_listed_with_its_cause() {
    let bound = Duration::from_millis(50);
    let one = One::start_with(|config| {
        config.late_bound = bound;
        config.canary_interval = Some(Duration::from_secs(1));
    })
    .await;
    let list = async |request: admin::ListLateRequest| one.admin().list_late(request).await;
    assert!(list(admin::ListLateRequest::default()).await.expect("answered").into_inner().triggers.is_empty());
    let scheduled =
        one.scheduler().schedule(after("first", "t", Duration::ZERO)).await.expect("scheduled").into_inner();
    let partition = scheduled.receipt.expect("a receipt").partition;
    // Nobody is there until it is late by far.
    let due = scheduled.due.expect("due");
    let due_ms = due.seconds * 1_000 + i64::from(due.nanos / 1_000_000);
    until(async || {
        let now_ms = one.server.node().clock().wall().as_millis() as i64;
        (now_ms > due_ms + 4 * bound.as_millis() as i64).then_some(())
    })
    .await;
    let mut streams = one.work("worker", "t").await;
    let work = &mut streams[partition as usize];
    let deliveries = work.deliveries().await;
    work.report(deliveries.iter().map(success).collect()).await;
    work.results().await;

    let listed = until(async || {
        let answer = list(admin::ListLateRequest { node: 1, limit: 10 }).await.expect("answered").into_inner();
        assert!(answer.missing.is_empty());
        (!answer.triggers.is_empty()).then_some(answer.triggers)
    })
    .await;
    let [late] = &listed[..] else { panic!("once, though it was completed late too: {listed:?}") };
    assert_eq!((late.id.as_str(), late.topic.as_str(), late.namespace.as_str()), ("first", "t", "default"));
    assert_eq!((late.node, late.partition, late.due), (1, partition, Some(due)));
    assert_eq!((late.cause(), late.detail.as_str()), (admin::LateCause::NoCredit, "no executor"));
    let by = late.late.expect("a duration");
    assert!(by.seconds > 0 || i128::from(by.nanos) > bound.as_nanos() as i128, "{by:?}");

    let unknown = list(admin::ListLateRequest { node: 7, limit: 1 }).await;
    assert_eq!(reason(unknown), (Code::NotFound, "UNKNOWN_NODE".into()));
    let many = list(admin::ListLateRequest { node: 0, limit: 10_001 }).await;
    assert_eq!(reason(many), (Code::InvalidArgument, "INVALID_FIELD".into()));
    one.stop().await;
}
