//! Short sweeps, the same every time.

use fuzz::allocations::Counted;
use prost::Message;
use proto::v1;

use super::*;

#[global_allocator]
static COUNTED: Counted = Counted;

fn input(which: u8, message: &impl Message) -> Vec<u8> {
    [&[which], &message.encode_to_vec()[..]].concat()
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn when(when: v1::when::When) -> Option<v1::When> {
    Some(v1::When { when: Some(when) })
}

fn local() -> v1::when::When {
    v1::when::When::Local(v1::LocalTime {
        date_time: "2027-02-14T00:00".into(),
        time_zone: "Asia/Seoul".into(),
        policy: 1,
        ..Default::default()
    })
}

fn schedule(id: &str, when: Option<v1::When>) -> v1::ScheduleRequest {
    v1::ScheduleRequest {
        namespace: "shop".into(),
        id: id.into(),
        topic: "mail".into(),
        when,
        shard_key: "customer-9".into(),
        payload: "보신각".into(),
        labels: [("kind".to_owned(), "gift".to_owned())].into(),
        priority: 2,
        retry: Some(retry()),
        late: Some(v1::LatePolicy { skip_when_later_than: seconds(60) }),
    }
}

fn retry() -> v1::RetryPolicy {
    v1::RetryPolicy {
        max_attempts: 5,
        initial_backoff: seconds(1),
        max_backoff: seconds(60),
        multiplier_percent: 200,
        jitter_percent: 20,
    }
}

/// Red when the edge accepts what the core calls invalid, or an error cannot be told.
#[test]
fn any_request_that_writes_is_taken_or_refused() {
    let at = || when(v1::when::When::At(prost_types::Timestamp { seconds: 1_900_000_000, nanos: 1 }));
    let (namespace, id) = ("shop".to_owned(), "order-1".to_owned());
    let request_id = "01890a5d-ac96-774b-bcce-b302099a8057".to_owned();
    let token = Some(v1::FencingToken { epoch: 1, term: 2, counter: 3 });
    let held = v1::HeldLease { namespace: namespace.clone(), id: id.clone(), generation: 4_096, token, attempt: 1 };
    let outcome = |sequence, outcome| v1::DeliveryOutcome {
        sequence,
        namespace: "shop".into(),
        id: "order-1".into(),
        generation: 4_096,
        token,
        attempt: 1,
        partition: 1,
        outcome: Some(outcome),
    };
    use v1::delivery_outcome::Outcome;
    let outcomes = vec![
        outcome(1, Outcome::Success(Default::default())),
        outcome(2, Outcome::Retry(v1::Failure { error: "busy".into(), retry_after: seconds(9) })),
        outcome(3, Outcome::Fail(v1::Failure { error: "never".into(), ..Default::default() })),
    ];
    let hello = v1::Hello {
        executor: "e-1".into(),
        namespace: namespace.clone(),
        topics: vec!["mail".into()],
        max_in_flight: 8,
        held: vec![held.clone()],
        ..Default::default()
    };
    let limits = v1::TopicLimits {
        lease: seconds(30),
        retry: Some(retry()),
        rate_per_second: Some(7),
        max_concurrency: Some(3),
        retention: seconds(86_400),
    };
    let valid = [
        input(0, &schedule("order-1", at())),
        input(0, &schedule("", when(v1::when::When::After(prost_types::Duration { seconds: 5, nanos: 0 })))),
        input(0, &schedule("seat-{concert-7}-A12", when(local()))),
        input(1, &v1::CancelRequest { id: id.clone(), request_id: request_id.clone(), ..Default::default() }),
        input(2, &v1::RescheduleRequest { id: id.clone(), when: when(local()), ..Default::default() }),
        input(3, &v1::RunNowRequest { id: id.clone(), expected_generation: 4_096, ..Default::default() }),
        input(4, &v1::RequeueDeadLetterRequest { id: id.clone(), ..Default::default() }),
        input(5, &v1::DropDeadLetterRequest { id, request_id, ..Default::default() }),
        input(6, &v1::UpdateTopicRequest { name: "mail".into(), limits: Some(limits), ..Default::default() }),
        input(7, &v1::CompleteRequest { outcomes, ..Default::default() }),
        input(8, &hello.clone()),
        input(9, &held),
        input(10, &v1::BatchScheduleRequest { items: vec![schedule("a", at()), schedule("b", when(local()))] }),
        input(11, &v1::WorkRequest { message: Some(v1::work_request::Message::Hello(hello)) }),
    ];
    fuzz::sweep(&REQUESTS, &valid);
}

/// Red when a token of a page is believed that none was handed out for, or a page goes nowhere.
#[test]
fn any_request_that_reads_is_answered_or_refused() {
    let filter = Some(v1::TriggerFilter {
        topic: "topic-1".into(),
        states: vec![1, 2],
        due_from: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 }),
        due_to: Some(prost_types::Timestamp { seconds: 1_800_000_030, nanos: 0 }),
        labels: [("kind".to_owned(), "1".to_owned())].into(),
    });
    let token = "0000000100000009000001a3185c5000000000000000100a".to_owned();
    let dead = "00000002000001a3185c5000000000000000100a".to_owned();
    let cursor = "0000000000000000000000070000000000000fa0".to_owned();
    let valid = [
        input(0, &v1::ListRequest { filter: filter.clone(), page_size: 3, ..Default::default() }),
        input(0, &v1::ListRequest { page_token: token, page_size: 3, ..Default::default() }),
        input(1, &v1::ListDeadLettersRequest { topic: "mail".into(), page_token: dead, ..Default::default() }),
        input(2, &v1::WatchRequest { filter, cursor, ..Default::default() }),
        input(3, &v1::ForecastRequest { step: seconds(60), span: seconds(3_600), ..Default::default() }),
        vec![5, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0, 1, 0],
    ];
    fuzz::sweep(&READS, &valid);
}

/// Red when text is sliced inside a character, or a moment means another one when it is asked for again.
#[test]
fn any_local_time_is_resolved_or_refused() {
    let valid = [
        "2027-02-14T00:00\nAsia/Seoul\n0",
        "2027-03-14T02:30\nAmerica/New_York\n1",
        "2027-11-07T01:30:00.5\nAmerica/New_York\n2",
        "9999-12-30T00:00\nUTC\n3",
        "0001-01-01T00:00:00.000000001\nEurope/Berlin\n1",
    ];
    fuzz::sweep(&LOCAL_TIME, &valid.map(|text| text.as_bytes().to_vec()));
}

#[test]
fn any_configuration_is_taken_or_refused() {
    let members = "[cluster]\nmembers = [\"1=a:1/a:2\", \"2=b:1/b:2\"]\n[node]\nid = 2\n[canary]\ninterval = \"0ms\"\n";
    fuzz::sweep(&CONFIG, &[crate::config::reference().into_bytes(), members.as_bytes().to_vec()]);
}

#[test]
fn any_length_or_size_is_read_or_refused() {
    fuzz::sweep(&UNITS, &["500ms", "90s", "5m", "2h", "7d", "64MiB", "3 KiB"].map(|text| text.as_bytes().to_vec()));
}
