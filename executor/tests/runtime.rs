//! The runtime under a paused clock, against a server that is late, wrong or gone, and handlers that are no better.

mod fake;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use executor::{Builder, Delivery, Executor, Outcome, Summary};
use fake::Net;
use proto::v1::{delivery_outcome, work_request};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// An executor at work, and the way to stop it.
struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Summary>,
}

fn run(builder: Builder) -> Running {
    let executor = builder.build().expect("settings are right");
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async { stopped.await.unwrap_or(()) };
    Running { stop, task: tokio::spawn(executor.run(shutdown)) }
}

impl Running {
    async fn stop(self) -> Summary {
        self.stop.send(()).expect("it runs");
        self.task.await.expect("it does not panic")
    }
}

fn retry_text(outcome: &proto::v1::DeliveryOutcome) -> &str {
    match &outcome.outcome {
        Some(delivery_outcome::Outcome::Retry(failure)) => &failure.error,
        other => panic!("not a retry: {other:?}"),
    }
}

async fn succeed(_: Delivery) -> Outcome {
    Outcome::Success
}

/// Red when a handler is awaited instead of spawned (`Driver::start`).
#[tokio::test(start_paused = true)]
async fn handlers_that_panic_hang_or_are_late_delay_nobody() {
    let mut net = Net::with(&["a:1"]);
    net.lead(0, "a:1", 1);
    let handler = |delivery: Delivery| async move {
        match delivery.id() {
            "panics" => panic!("the bell is broken"),
            "hangs" => std::future::pending().await,
            "late" => tokio::time::sleep(Duration::from_secs(60)).await,
            _ => {}
        }
        Outcome::Success
    };
    let running = run(Executor::builder(net.client(&["a:1"])).handler("t", handler));
    let mut session = net.session().await;
    session.welcome();
    let begun = Instant::now();
    for id in ["panics", "hangs", "late", "fine-1", "fine-2"] {
        session.deliver("t", id, 1);
    }
    let mut outcomes = Vec::new();
    while outcomes.len() < 3 {
        outcomes.extend(session.outcomes().await);
    }
    assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
    session.accept(&outcomes);
    let panicked = outcomes.iter().find(|o| o.id == "panics").expect("it was reported");
    assert_eq!(retry_text(panicked), "handler panicked: the bell is broken");
    assert_eq!(outcomes.iter().filter(|o| o.id.starts_with("fine")).count(), 2);

    let mut expired = Vec::new();
    while expired.len() < 2 {
        expired.extend(session.outcomes().await);
    }
    assert_eq!(begun.elapsed().as_millis() / 100, 95, "{:?}", begun.elapsed());
    expired.iter().for_each(|o| assert_eq!(retry_text(o), "not done within its lease of 10 s"));
    session.accept(&expired);
    let summary = running.stop().await;
    assert_eq!((summary.started, summary.accepted, summary.aborted, summary.left), (5, 5, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_report_follows_the_leadership() {
    let mut net = Net::with(&["a:1", "b:1"]);
    net.lead(0, "a:1", 1);
    let running = run(Executor::builder(net.client(&["a:1", "b:1"])).handler("t", succeed));
    let mut session = net.session().await;
    session.welcome();
    session.deliver("t", "x", 1);
    let first = session.outcomes().await;
    // Killed before it answers; the election takes a while.
    net.kill("a:1");
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_millis(800)).await;
    net.lead(0, "b:1", 2);
    let mut session = net.session().await;
    assert_eq!(session.node, "b:1");
    assert_eq!(session.hello.held[0].id, "x");
    // In virtual time: the longest pause between two tries is 400 ms, between two questions for leaders no more.
    assert!(begun.elapsed() <= Duration::from_secs(2), "{:?}", begun.elapsed());
    session.welcome();
    let again = session.outcomes().await;
    assert_eq!(again, first);
    session.accept(&again);
    let summary = running.stop().await;
    assert_eq!((summary.accepted, summary.started, summary.left), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_stopped_but_connected_is_left() {
    let mut net = Net::with(&["a:1", "b:1"]);
    net.lead(0, "a:1", 1);
    let running = run(Executor::builder(net.client(&["b:1"])).handler("t", succeed));
    let old = net.session().await;
    old.welcome();
    net.lead(0, "b:1", 2);
    let begun = Instant::now();
    let new = net.session().await;
    assert_eq!(new.node, "b:1");
    assert!(begun.elapsed() <= Duration::from_secs(2), "{:?}", begun.elapsed());
    new.welcome();
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_greets_is_tried_again() {
    let mut net = Net::with(&["a:1"]);
    net.lead(0, "a:1", 1);
    let running = run(Executor::builder(net.client(&["a:1"])).handler("t", succeed));
    let silent = net.session().await;
    let begun = Instant::now();
    let second = net.session().await;
    assert!((4..6).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    drop(silent);
    second.welcome();
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_there_at_first_is_waited_for() {
    let mut net = Net::with(&["a:1"]);
    let running = run(Executor::builder(net.client(&["a:1"])).handler("t", succeed));
    tokio::time::sleep(Duration::from_secs(30)).await;
    for partition in 0..3 {
        net.lead(partition, "a:1", 1);
    }
    let mut partitions = Vec::new();
    for _ in 0..3 {
        let session = net.session().await;
        session.welcome();
        partitions.push(session.hello.partition);
    }
    partitions.sort();
    assert_eq!(partitions, [0, 1, 2]);
    running.stop().await;
}

/// Red when `Engine::drain` is left out of the shutdown: the report would be lost with the process.
#[tokio::test(start_paused = true)]
async fn a_shutdown_finishes_what_is_in_hand() {
    let mut net = Net::with(&["a:1"]);
    net.lead(0, "a:1", 1);
    let handler = |_: Delivery| async {
        tokio::time::sleep(Duration::from_secs(5)).await;
    };
    let running = run(Executor::builder(net.client(&["a:1"])).handler("t", handler));
    let mut session = net.session().await;
    session.welcome();
    session.deliver("t", "x", 1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let stopping = tokio::spawn(running.stop());
    assert!(matches!(session.heard().await, Some(work_request::Message::Drain(_))));
    let outcomes = session.outcomes().await;
    assert!(!stopping.is_finished(), "the report is not durable yet");
    session.accept(&outcomes);
    let summary = stopping.await.expect("it does not panic");
    assert_eq!((summary.accepted, summary.left), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_takes_too_long_is_given_up() {
    let mut net = Net::with(&["a:1"]);
    net.lead(0, "a:1", 1);
    let builder = Executor::builder(net.client(&["a:1"])).handler("t", succeed);
    let running = run(builder.drain_timeout(Duration::from_secs(3)));
    let mut session = net.session().await;
    session.welcome();
    session.deliver("t", "x", 1);
    session.outcomes().await;
    let begun = Instant::now();
    let summary = running.stop().await;
    assert_eq!((begun.elapsed().as_secs(), summary.left), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn many_outcomes_share_messages_and_credit_comes_back() {
    let mut net = Net::with(&["a:1"]);
    net.lead(0, "a:1", 1);
    let started = Arc::new(AtomicUsize::new(0));
    let count = started.clone();
    let handler = move |_: Delivery| {
        count.fetch_add(1, Ordering::Relaxed);
        async { tokio::time::sleep(Duration::from_millis(20)).await }
    };
    let builder = Executor::builder(net.client(&["a:1"])).handler("t", handler);
    let running = run(builder.concurrency(200).max_in_flight(200));
    let mut session = net.session().await;
    assert_eq!(session.hello.max_in_flight, 200);
    session.welcome();
    for n in 0..200 {
        session.deliver("t", &format!("x-{n}"), 1);
    }
    let (mut reports, mut outcomes, mut credit) = (0, Vec::new(), 0);
    while outcomes.len() < 200 || credit < 200 {
        match session.heard().await.expect("the executor is there") {
            work_request::Message::Outcomes(report) => {
                reports += 1;
                outcomes.extend(report.outcomes);
            }
            work_request::Message::Credit(more) => credit += more.deliveries,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((outcomes.len(), credit, started.load(Ordering::Relaxed)), (200, 200, 200));
    assert!(reports <= 20, "{reports} messages for 200 outcomes");
    session.accept(&outcomes);
    assert_eq!(running.stop().await.accepted, 200);
}

#[tokio::test(start_paused = true)]
async fn settings_that_cannot_be_are_refused_with_the_numbers() {
    let net = Net::with(&["a:1"]);
    let builder = || Executor::builder(net.client(&["a:1"])).handler("t", succeed);
    let error = builder().concurrency(0).build().err().expect("refused").to_string();
    assert_eq!(error, "concurrency: 0 is not in 1..65536");
    let error = builder().max_in_flight(70_000).build().err().expect("refused").to_string();
    assert_eq!(error, "max_in_flight: 70000 is not in 1..65536");
    let error = Executor::builder(net.client(&["a:1"])).build().err().expect("refused").to_string();
    assert!(error.contains("at least one topic"), "{error}");
}
