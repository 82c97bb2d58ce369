//! One node over its own gRPC port: schedule, fire, deliver, complete, and everything a caller can get wrong.

use std::time::Duration;

use crate::support::{One, Work, after, outcome, reason, schedule, success, until, within};
use proto::v1;
use tonic::Code;

const HOUR: Duration = Duration::from_secs(3_600);

async fn get(one: &One, id: &str) -> v1::Trigger {
    let request = v1::GetRequest { id: id.into(), ..Default::default() };
    one.scheduler().get(request).await.expect("found").into_inner().trigger.expect("a trigger")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_is_scheduled_fired_delivered_and_completed() {
    let one = One::start().await;
    let mut streams = one.work("worker-1", "greet").await;
    let request = after("order-1", "greet", Duration::from_millis(50));
    let scheduled = within(one.scheduler().schedule(request.clone())).await.expect("scheduled").into_inner();
    let receipt = scheduled.receipt.clone().expect("a receipt");
    assert_eq!(receipt.outcome(), v1::Outcome::Scheduled);
    assert!(!scheduled.replayed);

    let work = &mut streams[receipt.partition as usize];
    let deliveries = work.deliveries().await;
    let [delivery] = &deliveries[..] else { panic!("{deliveries:?}") };
    assert_eq!((delivery.id.as_str(), delivery.attempt), ("order-1", 1));
    assert_eq!(&delivery.payload[..], b"hello");
    assert_eq!(delivery.due, scheduled.due);
    assert!(get(&one, "order-1").await.delivered, "it is handed out");
    let due = delivery.due.expect("due");
    let fired = delivery.fired.expect("fired");
    assert!((fired.seconds, fired.nanos) >= (due.seconds, due.nanos), "fired {fired:?} before {due:?}");

    work.report(vec![success(delivery)]).await;
    let results = work.results().await;
    assert_eq!(results[0].verdict(), v1::OutcomeVerdict::Accepted);
    let decided = results[0].receipt.clone().expect("a receipt");

    let trigger = get(&one, "order-1").await;
    assert_eq!(trigger.state(), v1::TriggerState::Completed);
    assert!(!trigger.delivered);
    let receipt = trigger.receipt.expect("a receipt");
    assert_eq!(receipt, decided, "the same whoever asks");
    assert_eq!((receipt.executor.as_str(), receipt.attempt), ("worker-1", 1));
    assert!(receipt.fired_index > 0 && receipt.log_index > receipt.fired_index);

    // The id is the idempotency key.
    let again = one.scheduler().schedule(request).await.expect("replayed").into_inner();
    assert!(again.replayed);
    assert_eq!((again.generation, again.due), (scheduled.generation, scheduled.due));
    let other = after("order-1", "greet", HOUR);
    assert_eq!(reason(one.scheduler().schedule(other).await), (Code::AlreadyExists, "ALREADY_EXISTS".into()));
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_fired_can_be_cancelled_and_moved() {
    let one = One::start().await;
    let mut client = one.scheduler();
    let first = client.schedule(after("a", "t", HOUR)).await.expect("scheduled").into_inner();
    let moved = v1::RescheduleRequest {
        id: "a".into(),
        when: after("a", "t", 2 * HOUR).when,
        expected_generation: first.generation,
        ..Default::default()
    };
    let second = client.reschedule(moved.clone()).await.expect("moved").into_inner();
    assert!(second.generation > first.generation);
    assert!(second.due.expect("due").seconds > first.due.expect("due").seconds);
    assert_eq!(reason(client.reschedule(moved).await), (Code::Aborted, "VERSION_MISMATCH".into()));

    let cancel = v1::CancelRequest { id: "a".into(), ..Default::default() };
    let cancelled = client.cancel(cancel.clone()).await.expect("cancelled").into_inner();
    assert_eq!(cancelled.receipt.expect("a receipt").outcome(), v1::Outcome::Cancelled);
    assert_eq!(get(&one, "a").await.state(), v1::TriggerState::Cancelled);
    let again = reason(client.cancel(cancel).await);
    assert_eq!(again, (Code::FailedPrecondition, "ALREADY_ENDED".into()));

    client.schedule(after("b", "t", Duration::ZERO)).await.expect("scheduled");
    let cancel = v1::CancelRequest { id: "b".into(), ..Default::default() };
    assert_eq!(reason(client.cancel(cancel).await), (Code::FailedPrecondition, "ALREADY_FIRED".into()));
    let run = v1::RunNowRequest { id: "missing".into(), ..Default::default() };
    assert_eq!(reason(client.run_now(run).await), (Code::NotFound, "NOT_FOUND".into()));
    client.schedule(after("c", "t", HOUR)).await.expect("scheduled");
    let run = v1::RunNowRequest { id: "c".into(), ..Default::default() };
    client.run_now(run).await.expect("runs");
    assert_eq!(get(&one, "c").await.state(), v1::TriggerState::Fired);
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_are_refused_with_the_field() {
    use tonic_types::StatusExt;
    let one = One::start().await;
    let mut client = one.scheduler();
    let local = |date_time: &str, time_zone: &str, policy: v1::LocalTimePolicy| {
        let local = v1::LocalTime {
            date_time: date_time.into(),
            time_zone: time_zone.into(),
            policy: policy as i32,
            ..Default::default()
        };
        schedule("x", "t", v1::when::When::Local(local))
    };
    let reject = v1::LocalTimePolicy::Reject;
    let far = prost_types::Timestamp { seconds: 9_000_000_000, nanos: 0 };
    let cases = [
        (after("with space", "t", HOUR), "id", "INVALID_FIELD"),
        (after("x", "", HOUR), "topic", "INVALID_FIELD"),
        (v1::ScheduleRequest { when: None, ..after("x", "t", HOUR) }, "when", "INVALID_FIELD"),
        (v1::ScheduleRequest { payload: vec![0; 65_537].into(), ..after("x", "t", HOUR) }, "payload", "INVALID_FIELD"),
        (local("2027-02-14T00:00", "KST", reject), "when.local.time_zone", "INVALID_FIELD"),
        (local("2027-03-14T02:30", "America/New_York", reject), "when.local.date_time", "INVALID_FIELD"),
        (local("2027-11-07T01:30", "America/New_York", reject), "when.local.date_time", "INVALID_FIELD"),
        (schedule("x", "t", v1::when::When::At(far)), "when", "BEYOND_HORIZON"),
        (after("x", "t", Duration::from_secs(400_000_000)), "when.after", "INVALID_FIELD"),
    ];
    for (request, field, expected) in cases {
        let status = client.schedule(request).await.expect_err(field);
        assert_eq!(status.code(), Code::InvalidArgument, "{field}");
        assert_eq!(server::status::reason_of(&status).as_deref(), Some(expected), "{field}");
        let fields = status.get_details_bad_request().expect(field).field_violations;
        assert_eq!(fields.iter().map(|one| one.field.as_str()).collect::<Vec<_>>(), [field]);
    }
    let seoul = local("2027-02-14T00:00", "asia/seoul", reject);
    let answer = client.schedule(seoul).await.expect("scheduled").into_inner();
    assert_eq!(answer.due.expect("due").seconds, 1_802_530_800, "2027-02-13T15:00:00Z");
    assert_eq!(answer.local_time.expect("local").time_zone, "Asia/Seoul");
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_trigger_is_retried_and_ends_in_the_dead_letters() {
    use proto::v1::dead_letter_service_client::DeadLetterServiceClient;
    let one = One::start().await;
    let mut streams = one.work("worker-1", "fails").await;
    let request = v1::ScheduleRequest {
        retry: Some(v1::RetryPolicy {
            max_attempts: 2,
            initial_backoff: Some(prost_types::Duration { seconds: 0, nanos: 20_000_000 }),
            ..Default::default()
        }),
        ..after("poison", "fails", Duration::ZERO)
    };
    let scheduled = one.scheduler().schedule(request).await.expect("scheduled").into_inner();
    let work = &mut streams[scheduled.receipt.expect("a receipt").partition as usize];
    let failure = v1::Failure { error: "no luck".into(), retry_after: None };
    let mut tokens = Vec::new();
    for attempt in 1..=2 {
        let deliveries = work.deliveries().await;
        assert_eq!(deliveries[0].attempt, attempt);
        tokens.push(deliveries[0].token.expect("a token"));
        let retry = v1::delivery_outcome::Outcome::Retry(failure.clone());
        work.report(vec![outcome(&deliveries[0], retry)]).await;
        assert_eq!(work.results().await[0].verdict(), v1::OutcomeVerdict::Accepted);
    }
    assert!(tokens[1].counter > tokens[0].counter && tokens[1].term == tokens[0].term);

    let mut dead = DeadLetterServiceClient::new(one.channel.clone());
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListDeadLettersRequest { page_token, ..Default::default() };
        let page = dead.list_dead_letters(request).await.expect("listed").into_inner();
        found.extend(page.triggers);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].id.as_str(), found[0].last_error.as_str()), ("poison", "no luck"));
    let requeue = v1::RequeueDeadLetterRequest { id: "poison".into(), ..Default::default() };
    dead.requeue_dead_letter(requeue).await.expect("requeued");
    let deliveries = work.deliveries().await;
    assert_eq!((deliveries[0].id.as_str(), deliveries[0].attempt), ("poison", 1));
    work.report(vec![success(&deliveries[0])]).await;
    work.results().await;
    assert_eq!(get(&one, "poison").await.state(), v1::TriggerState::Completed);
    let drop = v1::DropDeadLetterRequest { id: "poison".into(), ..Default::default() };
    assert_eq!(reason(dead.drop_dead_letter(drop).await), (Code::FailedPrecondition, "NOT_DEAD_LETTERED".into()));
    one.stop().await;
}

/// Turns red when a dispatcher begins at the watermark its term began with, though entries were applied since.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_scheduled_as_a_term_begins_is_delivered() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().expect("a directory");
        let one = One::opening(dir, server::clock::Clock::real(), |_| {}).await;
        let mut client = one.scheduler();
        let request = after("first", "early", Duration::ZERO);
        let scheduled = until(async || client.schedule(request.clone()).await.ok()).await.into_inner();
        // Nothing else happens in this partition.
        let partition = scheduled.receipt.expect("a receipt").partition;
        let mut work = Work::open(one.executor(), "worker-1", "early", partition, Vec::new()).await;
        assert_eq!(work.deliveries().await[0].id, "first");
        one.stop().await;
    }
}

/// Turns red when a leader that ended its term is not prepared to be the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_lone_node_goes_on_in_a_new_term() {
    let one = One::start().await;
    for partition in one.server.node().partitions() {
        let mut leadership = partition.group().leadership();
        let term = leadership.borrow().term;
        partition.group().end_term(term).await.expect("it serves");
        within(leadership.wait_for(|now| now.we_lead && now.term > term)).await.expect("it serves");
        partition.group().end_term(term).await.expect("not asked of this term");
        assert!(leadership.borrow_and_update().we_lead);
    }
    let mut streams = one.work("worker-1", "again").await;
    let scheduled = until(async || one.scheduler().schedule(after("x", "again", Duration::ZERO)).await.ok()).await;
    let partition = scheduled.into_inner().receipt.expect("a receipt").partition as usize;
    assert_eq!(streams[partition].deliveries().await[0].id, "x");
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_what_was_acknowledged() {
    let one = One::start().await;
    let scheduled = one.scheduler().schedule(after("kept", "t", HOUR)).await.expect("scheduled").into_inner();
    one.scheduler().schedule(after("due", "t", Duration::from_millis(1))).await.expect("scheduled");
    let dir = one.stop().await;
    let one = One::open(dir, server::clock::Clock::real(), |_| {}).await;
    let kept = get(&one, "kept").await;
    assert_eq!((kept.state(), kept.generation), (v1::TriggerState::Scheduled, scheduled.generation));
    let fired = until(async || {
        let trigger = get(&one, "due").await;
        (trigger.state() == v1::TriggerState::Fired).then_some(trigger)
    });
    fired.await;
    one.stop().await;
}
