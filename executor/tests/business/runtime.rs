//! All of it together: settings, registration, a stream, a delivery, a report.

#[path = "../fake/mod.rs"]
#[expect(dead_code, reason = "the tests of the runtime itself use the rest")]
mod fake;

use std::time::Duration;

use executor::Executor;
use executor::business::{MESSAGE_TOPICS, PAYMENT_TOPICS};
use fakes::toss::NewPayment;
use prost::Message;
use proto::payment::v1::{PayWork, PaymentOutcome, payment_outcome::Kind};
use proto::v1::{Deliveries, Delivery, FencingToken, delivery_outcome, work_response};

use crate::world::World;
use fake::Net;

/// Red when a handler is on the wrong topic.
#[tokio::test]
async fn a_payment_goes_all_the_way() {
    let world = World::open().await;
    let mut net = Net::with(&["a:1"]);
    net.lead(0, "a:1", 1);
    let topics = [&PAYMENT_TOPICS[..], &MESSAGE_TOPICS[..]].concat();
    let builder = world.services.register(Executor::builder(net.client(&["a:1"])), &topics);
    let executor = builder.drain_timeout(Duration::from_secs(5)).build().expect("settings");
    let mut sorted = topics.clone();
    sorted.sort_unstable();
    assert_eq!(executor.topics(), sorted);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(executor.run(async { stopped.await.unwrap_or(()) }));

    let mut session = net.session().await;
    session.welcome();
    let payment_key = world.fakes.toss().pay_as(NewPayment::new("order-1", 4_500)).expect("a payment");
    let work = PayWork {
        payment: "g".into(),
        provider: "toss".into(),
        payment_key,
        order_id: "order-1".into(),
        amount_won: 4_500,
        idempotency_key: "default/g/1/confirm".into(),
    };
    let delivery = Delivery {
        namespace: "default".into(),
        id: "bosingak.gift.{g}.pay.7".into(),
        topic: "payment.confirm".into(),
        payload: work.encode_to_vec().into(),
        generation: 7,
        attempt: 1,
        lease: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
        token: Some(FencingToken { epoch: 1, term: 1, counter: 1 }),
        ..Delivery::default()
    };
    session.say(work_response::Message::Deliveries(Deliveries { deliveries: vec![delivery] }));
    let outcomes = session.outcomes().await;
    let Some(delivery_outcome::Outcome::Success(success)) = &outcomes[0].outcome else { panic!("{outcomes:?}") };
    let result = success.result.as_ref().expect("a result");
    assert_eq!(result.type_url, "type.googleapis.com/bosingak.payment.v1.PaymentOutcome");
    let outcome = PaymentOutcome::decode(result.value.as_slice()).expect("its bytes");
    assert_eq!((outcome.kind(), outcome.captured_won), (Kind::Captured, 4_500));
    session.accept(&outcomes);
    stop.send(()).expect("it runs");
    let summary = running.await.expect("it does not panic");
    assert_eq!((summary.accepted, summary.left), (1, 0));
    world.close().await;
}
