//! The midnight, while everything breaks; judged by the checkers of gifts.

use std::sync::Arc;
use std::time::Duration;

use ::gifts::{Options, World};
use checkers::gifts::history::Request;
use fakes::solapi;
use fakes::switches::{Mode, Switch};
use futures::StreamExt;
use harness::wait;
use harness::worker::{Act, Reported, Setup, Sink, Worker};
use jiff::{SignedDuration, Timestamp};
use proto::gift::v1 as gift;
use proto::gift::v1::GiftState;
use proto::v1;

use crate::record::Record;

/// Price of everything.
const WON: u64 = 4_500;
/// How long the midnight may take until some of it is seen.
const PATIENCE: Duration = Duration::from_secs(60);
/// Minutes of the cluster's time that leases, retries and questions may take after everything was mended.
const MINUTES_MAX: usize = 240;

/// A gift, and where its recipient gets it.
fn named(number: usize) -> (String, String) {
    (format!("midnight-{number:03}"), format!("010-7000-{number:04}"))
}

async fn reserve(world: &World, record: &Record, number: usize, send_at: Timestamp) {
    let (id, phone) = named(number);
    let at = prost_types::Timestamp { seconds: send_at.as_second(), nanos: send_at.subsec_nanosecond() };
    let party = |id: &str, phone: &str| gift::Party {
        id: id.into(),
        name: "김보신".into(),
        phone: phone.into(),
        ..Default::default()
    };
    let request = gift::ReserveRequest {
        gift_id: id.clone(),
        product_id: "coffee".into(),
        sender: Some(party("kim", "010-1111-2222")),
        recipient: Some(party("", &phone)),
        message: "자정에 열어 봐 🔔".into(),
        send: Some(gift::SendTime { when: Some(gift::send_time::When::At(at)) }),
        payment: Some(world.pay(&id, WON).expect("paid")),
        ..Default::default()
    };
    let gift = world.reserve(request).await.expect("reserved");
    let index = gift.events.last().map_or(0, |event| event.log_index);
    let asked = Request::Reserve { won: WON, send_at_ms: send_at.as_millisecond() };
    record.add(&id, asked, Ok((Some(gift), index, false)));
}

async fn cancel(world: &World, record: &Record, number: usize) {
    let (id, _) = named(number);
    let answer =
        world.client().cancel_gift(gift::CancelGiftRequest { gift_id: id.clone(), ..Default::default() }).await;
    let answer = answer.map(|done| (done.gift, done.receipt.unwrap_or_default().log_index, done.replayed));
    record.add(&id, Request::Cancel, answer);
}

/// Reserves so many gifts for an hour from now, on the whole millisecond.
async fn midnight(world: &World, record: &Record, gifts: usize) -> Timestamp {
    world.put_on_sale("coffee", "별다방", "아메리카노 Tall", WON).await.expect("on sale");
    let at = world.clock().now().await.expect("a time") + SignedDuration::from_mins(61);
    let at = Timestamp::from_second(at.as_second()).expect("a moment");
    futures::stream::iter(0..gifts).for_each_concurrent(16, |number| reserve(world, record, number, at)).await;
    at
}

/// Lets the cluster's time go on until no gift is on its way any more.
async fn settle(world: &World, gifts: usize) {
    for _ in 0..MINUTES_MAX {
        let mut on_its_way = 0;
        for number in 0..gifts {
            let state = world.gift(&named(number).0).await.expect("it is there").state();
            on_its_way += usize::from(!matches!(state, GiftState::Sent | GiftState::Refunded));
        }
        if on_its_way == 0 {
            return;
        }
        world.clock().advance_by(SignedDuration::from_mins(1)).await.expect("moved");
    }
}

fn recipients(gifts: usize) -> Vec<(String, String)> {
    (0..gifts).map(named).collect()
}

/// Messages with gifts that have arrived.
fn arrived(world: &World, gifts: usize) -> usize {
    recipients(gifts).iter().map(|(_, phone)| world.fakes().inbox().at(phone).len()).sum()
}

async fn until_arrived(world: &World, gifts: usize, wanted: usize) {
    let seen = || {
        let arrived = arrived(world, gifts);
        std::future::ready(if arrived >= wanted { Ok(()) } else { Err(arrived) })
    };
    wait::until("gifts that arrived", PATIENCE, seen)
        .await
        .unwrap_or_else(|error| panic!("{error}\n{}", world.logs(40)));
}

/// Red when an executor sends without asking whether its predecessor has, when a turn draws another code, or when a gift that was
/// being sent is forgotten by whoever leads next.
#[tokio::test(flavor = "multi_thread")]
async fn every_node_and_an_executor_are_killed_while_200_gifts_are_sent() {
    const GIFTS: usize = 200;
    const TAKEN_BACK: usize = 20;
    let options = Options { executors: 3, concurrency: 8, ..Options::default() };
    let mut world = World::start(options).await.expect("started");
    let record = Record::default();
    let at = midnight(&world, &record, GIFTS).await;
    for number in 0..TAKEN_BACK {
        cancel(&world, &record, number).await;
    }
    // So that many are on their way at any moment: taken, and not answered yet.
    world.fakes().switches().set(Switch::new(solapi::NAME, Mode::Slow { ms: 300 })).await.expect("a switch");
    let clock = world.clock().clone();
    let moving = tokio::spawn(async move { clock.advance_to(at).await });
    until_arrived(&world, GIFTS, 30).await;
    world.kill_executor("executor-1").expect("killed");
    until_arrived(&world, GIFTS, 60).await;
    world.kill_nodes().expect("killed");
    let seen = arrived(&world, GIFTS);
    assert!(seen < GIFTS - TAKEN_BACK, "all {seen} were sent before anything broke");
    // The move of the clock went down with them.
    moving.abort();
    for number in 0..TAKEN_BACK {
        assert!(world.fakes().inbox().at(&named(number).1).is_empty(), "what was taken back is not sent");
    }
    world.restart_nodes().await.expect("they come back");
    world.fakes().switches().reset(solapi::NAME).await.expect("a switch");
    world.start_executor("executor-4").expect("started");
    world.at_work().await.expect("at work");
    world.clock().advance_to(at).await.expect("moved");
    settle(&world, GIFTS).await;
    let violations = record.judge(&world, &recipients(GIFTS)).await;
    assert!(violations.is_empty(), "{violations:#?}\n{}", world.logs(40));
    assert_eq!(arrived(&world, GIFTS), GIFTS - TAKEN_BACK, "each once");
    assert_eq!(world.books().await.expect("books").differences(), [""; 0]);
    world.end().await.expect("ends");
}

/// An executor nobody has to hear of.
struct Unheard;

impl Sink for Unheard {
    fn delivered(&self, _: &str, _: &v1::Delivery, _: i64) {}
    fn answered(&self, _: &str, _: &Reported, _: &v1::OutcomeResult, _: i64) {}
}

/// Red when gifts use up their retries while their provider is down, or stand in the way of other work.
#[tokio::test(flavor = "multi_thread")]
async fn provider_down_for_an_hour() {
    const GIFTS: usize = 20;
    let world = World::start(Options::default()).await.expect("started");
    let record = Record::default();
    let at = midnight(&world, &record, GIFTS).await;
    let _plain = Worker::start(Setup {
        name: "plain".into(),
        namespace: String::new(),
        topics: vec!["plain".into()],
        max_in_flight: 4,
        endpoints: world.addresses().iter().map(|address| format!("http://{address}")).collect(),
        script: Arc::new(|_| Act::Succeed),
        sink: Arc::new(Unheard),
    })
    .await
    .expect("at work");
    let due = at + SignedDuration::from_mins(30);
    let moment = prost_types::Timestamp { seconds: due.as_second(), nanos: 0 };
    world.client().schedule("plain", "plain-1").at(moment).send().await.expect("scheduled");
    world.fakes().switches().set(Switch::new(solapi::NAME, Mode::Refuse)).await.expect("a switch");
    for minutes in [0, 30, 60] {
        world.clock().advance_to(at + SignedDuration::from_mins(minutes)).await.expect("moved");
        for number in 0..GIFTS {
            let gift = world.gift(&named(number).0).await.expect("it is there");
            assert_eq!(gift.state(), GiftState::Sending, "after {minutes} minutes: {gift:?}");
        }
    }
    assert_eq!(arrived(&world, GIFTS), 0);
    let plain =
        world.client().get(v1::GetRequest { id: "plain-1".into(), ..Default::default() }).await.expect("it is there");
    let receipt = plain.receipt.clone().unwrap_or_default();
    assert_eq!(
        (plain.state(), receipt.fired, receipt.decided),
        (v1::TriggerState::Completed, Some(moment), Some(moment))
    );
    world.fakes().switches().reset(solapi::NAME).await.expect("a switch");
    settle(&world, GIFTS).await;
    let violations = record.judge(&world, &recipients(GIFTS)).await;
    assert!(violations.is_empty(), "{violations:#?}\n{}", world.logs(40));
    assert_eq!(arrived(&world, GIFTS), GIFTS, "each once");
    world.end().await.expect("ends");
}
