//! Bad input is refused with the field's name, and never takes a node down.

use e2e::{Scene, in_ms};
use harness::call::Problem;
use harness::cluster::Options;
use harness::{caller, record};
use proto::v1;
use tonic::Code;

const YEAR_MS: i64 = 366 * 86_400_000;

async fn refused(scene: &Scene, request: v1::ScheduleRequest) -> Problem {
    let answer = scene
        .caller
        .call(|channel| {
            let request = request.clone();
            async move { caller::scheduler(channel).schedule(request).await }
        })
        .await;
    match answer {
        Err(problem) => problem,
        Ok(response) => panic!("accepted: {request:?} as {response:?}"),
    }
}

fn local(date_time: &str, time_zone: &str) -> Option<v1::When> {
    Some(v1::When {
        when: Some(v1::when::When::Local(v1::LocalTime {
            date_time: date_time.into(),
            time_zone: time_zone.into(),
            policy: v1::LocalTimePolicy::Reject.into(),
            tzdb_version: String::new(),
        })),
    })
}

/// Due too far, payload too large, unknown zone, skipped or doubled local time under REJECT, illegal id and the rest:
/// INVALID_ARGUMENT, naming the field.
///
/// Red when one check of `validate` is left out.
#[tokio::test]
async fn bad_fields_are_named() {
    let scene = Scene::with(Options { nodes: 1, ..Options::default() }).await.unwrap();
    let good = || record::request("good", "good", in_ms(3_600_000));
    let cases: Vec<(&str, v1::ScheduleRequest)> = vec![
        ("id", v1::ScheduleRequest { id: "with space".into(), ..good() }),
        ("id", v1::ScheduleRequest { id: "x".repeat(129), ..good() }),
        ("id", v1::ScheduleRequest { id: "탁구".into(), ..good() }),
        ("namespace", v1::ScheduleRequest { namespace: "Upper".into(), ..good() }),
        ("topic", v1::ScheduleRequest { topic: String::new(), ..good() }),
        ("topic", v1::ScheduleRequest { topic: "a/b".into(), ..good() }),
        ("payload", v1::ScheduleRequest { payload: vec![0; (64 << 10) + 1].into(), ..good() }),
        ("shard_key", v1::ScheduleRequest { shard_key: "k".repeat(129), ..good() }),
        (
            "labels",
            v1::ScheduleRequest { labels: (0..17).map(|n| (format!("k{n}"), String::new())).collect(), ..good() },
        ),
        ("when", v1::ScheduleRequest { when: None, ..good() }),
        ("when", v1::ScheduleRequest { when: Some(v1::When { when: None }), ..good() }),
        ("when", v1::ScheduleRequest { when: Some(record::at(in_ms(11 * YEAR_MS))), ..good() }),
        ("when", v1::ScheduleRequest { when: local("2027-02-14T00:00", "Asia/Nowhere"), ..good() }),
        ("when", v1::ScheduleRequest { when: local("2027-02-30T00:00", "Asia/Seoul"), ..good() }),
        // Skipped, and doubled.
        ("when", v1::ScheduleRequest { when: local("2027-03-28T02:30", "Europe/Berlin"), ..good() }),
        ("when", v1::ScheduleRequest { when: local("2027-10-31T02:30", "Europe/Berlin"), ..good() }),
        ("priority", v1::ScheduleRequest { priority: 77, ..good() }),
        (
            "retry",
            v1::ScheduleRequest { retry: Some(v1::RetryPolicy { max_attempts: 101, ..Default::default() }), ..good() },
        ),
        (
            "late",
            v1::ScheduleRequest {
                late: Some(v1::LatePolicy {
                    skip_when_later_than: Some(prost_types::Duration { seconds: 0, nanos: 1 }),
                }),
                ..good()
            },
        ),
    ];
    for (field, request) in cases {
        let problem = refused(&scene, request.clone()).await;
        assert_eq!(problem.code, Code::InvalidArgument, "{field}: {problem}");
        assert_eq!(problem.domain, "bosingak", "{field}: {problem}");
        let named = problem
            .fields
            .iter()
            .any(|one| one == field || one.starts_with(&format!("{field}.")) || one.starts_with(&format!("{field}[")));
        let beyond = problem.reason == "BEYOND_HORIZON";
        assert!(named || beyond && problem.message.contains("when"), "{field}: {problem} names {:?}", problem.fields);
    }
    // Nothing of that broke anything.
    scene.session(1).schedule(good()).await.unwrap();
}

/// Illegal transitions: FAILED_PRECONDITION; unknown ids NOT_FOUND; another version ABORTED; the answer of a batch is
/// per item.
///
/// Red when an expected generation is compared only if the trigger is of another caller.
#[tokio::test]
async fn refusals_have_their_codes() {
    let scene = Scene::with(Options { nodes: 1, ..Options::default() }).await.unwrap();
    let session = scene.session(1);
    let unknown = session.cancel("default", "nobody").await.unwrap_err();
    assert_eq!((unknown.code, unknown.reason.as_str()), (Code::NotFound, "NOT_FOUND"));

    let scheduled = session.schedule(record::request("one", "codes", in_ms(3_600_000))).await.unwrap();
    let stale = session.reschedule("default", "one", in_ms(7_200_000), scheduled.generation + 1).await.unwrap_err();
    assert_eq!((stale.code, stale.reason.as_str()), (Code::Aborted, "VERSION_MISMATCH"));
    session.cancel("default", "one").await.unwrap();
    let ended = session.reschedule("default", "one", in_ms(7_200_000), 0).await.unwrap_err();
    assert_eq!((ended.code, ended.reason.as_str()), (Code::FailedPrecondition, "ALREADY_ENDED"));

    session.schedule(record::request("two", "codes", in_ms(-1_000))).await.unwrap();
    let fired = session.cancel("default", "two").await.unwrap_err();
    assert_eq!((fired.code, fired.reason.as_str()), (Code::FailedPrecondition, "ALREADY_FIRED"));
    let receipt = fired.receipt.expect("the receipt of what fired");
    assert!(receipt.fired.is_some() && receipt.fired_index > 0, "{receipt:?}");

    let requeue = scene
        .caller
        .call(|channel| async move {
            let request =
                v1::RequeueDeadLetterRequest { namespace: "default".into(), id: "two".into(), ..Default::default() };
            caller::dead_letters(channel).requeue_dead_letter(request).await
        })
        .await
        .unwrap_err();
    assert_eq!((requeue.code, requeue.reason.as_str()), (Code::FailedPrecondition, "NOT_DEAD_LETTERED"));

    let items = vec![
        record::request("batch-ok", "codes", in_ms(3_600_000)),
        record::request("not ok", "codes", in_ms(3_600_000)),
        record::request("batch-fine", "codes", in_ms(3_600_000)),
    ];
    let channel = caller::channel(&scene.cluster.node(1).endpoint()).unwrap();
    let answer = caller::scheduler(channel.clone()).batch_schedule(v1::BatchScheduleRequest { items }).await.unwrap();
    let results = answer.into_inner().results;
    let is_ok: Vec<bool> =
        results.iter().map(|one| matches!(one.result, Some(v1::batch_schedule_result::Result::Ok(_)))).collect();
    assert_eq!(is_ok, [true, false, true]);

    // A token nobody made, and a request that is none.
    let list = v1::ListRequest { namespace: "default".into(), page_token: "nonsense".into(), ..Default::default() };
    let problem = Problem::from(caller::scheduler(channel.clone()).list(list).await.unwrap_err());
    assert_eq!(problem.code, Code::InvalidArgument, "{problem}");
    let cancel = v1::CancelRequest {
        namespace: "default".into(),
        id: "one".into(),
        request_id: "no uuid".into(),
        ..Default::default()
    };
    let problem = Problem::from(caller::scheduler(channel).cancel(cancel).await.unwrap_err());
    assert_eq!((problem.code, problem.fields), (Code::InvalidArgument, vec!["request_id".to_owned()]));
}

/// A watch goes on from a cursor of a process that was killed, as long as what changed since is kept; then it cannot:
/// OUT_OF_RANGE.
///
/// Red when changes are kept only while somebody watches, or when one that is no longer kept is passed over.
#[tokio::test]
async fn a_stale_cursor_is_out_of_range() {
    let mut scene = Scene::with(Options { nodes: 1, partitions: 1, ..Options::default() }).await.unwrap();
    scene.schedule("watched", 3, in_ms(3_600_000)).await;
    let watch = |cursor: String| v1::WatchRequest { namespace: "default".into(), cursor, ..Default::default() };
    let channel = caller::channel(&scene.cluster.node(1).endpoint()).unwrap();
    let mut events = caller::scheduler(channel).watch(watch(String::new())).await.unwrap().into_inner();
    let mut cursor = String::new();
    let mut listed = 0;
    while let Some(event) = events.message().await.unwrap() {
        cursor = event.cursor.clone();
        match event.kind() {
            v1::WatchEventKind::Listed => listed += 1,
            _ => break,
        }
    }
    assert_eq!(listed, 3);
    scene.cluster.kill(1).unwrap();
    scene.cluster.spawn(1).unwrap();
    scene.cluster.ready().await.unwrap();
    scene.schedule("more", 3, in_ms(3_600_000)).await;
    let channel = caller::channel(&scene.cluster.node(1).endpoint()).unwrap();
    let mut events = caller::scheduler(channel).watch(watch(cursor.clone())).await.unwrap().into_inner();
    for number in 0..3 {
        let event = events.message().await.unwrap().expect("not ended");
        assert_eq!(event.kind(), v1::WatchEventKind::Changed);
        assert_eq!(event.trigger.expect("a trigger").id, format!("more-{number}"));
    }
    drop(events);
    let channel = caller::channel(&scene.cluster.node(1).endpoint()).unwrap();
    for batch in 0..17 {
        let request = |item| record::request(format!("many-{batch}-{item}"), "many", in_ms(3_600_000));
        let items = (0..1_000).map(request).collect();
        caller::scheduler(channel.clone()).batch_schedule(v1::BatchScheduleRequest { items }).await.unwrap();
    }
    let resumed = caller::scheduler(channel).watch(watch(cursor)).await;
    let problem = match resumed {
        Err(status) => Problem::from(status),
        Ok(stream) => match stream.into_inner().message().await {
            Err(status) => Problem::from(status),
            Ok(event) => panic!("resumed with {event:?}"),
        },
    };
    assert_eq!((problem.code, problem.reason.as_str()), (Code::OutOfRange, "STALE_CURSOR"), "{problem}");
}
