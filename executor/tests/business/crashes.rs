//! An executor dies after the provider took the message and before it said so; another one gets the work. One test per class of
//! providers, and one for a report the cluster refuses.

use executor::Outcome;
use fakes::switches::{Mode, Reach, Switch};
use fakes::{smtp, solapi};
use proto::gift::v1::{Channel, Party, SendUnknown, Sent};

use crate::carrier::{Carrier, Say};
use crate::gifts::send;
use crate::world::*;

/// The executor of round 1 dies when the message has arrived.
async fn dies_when_received(world: &World, provider: &str, address: &str) {
    // It does what it should, and is never heard of again.
    let slow = Mode::Slow { ms: 600_000 };
    world.switch(Switch::new(provider, slow).call("send").reach(Reach::Next(1))).await;
    let first = working(&send(&world.services), delivery("gift.send", &send_work("g", 1), 1));
    world.until_received(address, 1).await;
    die(first).await;
}

fn sent(outcome: &Outcome) -> (Channel, String) {
    let sent: Sent = result(outcome);
    (sent.channel(), sent.provider_id)
}

/// Red when the key is made anew for each attempt.
#[tokio::test]
async fn a_provider_that_honours_keys_is_given_the_same_one() {
    let mut world = World::open().await;
    let carrier = Carrier::keyed();
    world.only(&carrier);
    world.cluster.add("g", Party { kakao: String::new(), ..person() });
    carrier.say(Say::NothingAfterAll);
    let first = working(&send(&world.services), delivery("gift.send", &send_work("g", 1), 1));
    carrier.took.notified().await;
    die(first).await;
    let outcome = world.send("g", 1, 2).await;
    assert_eq!(sent(&outcome).0, Channel::Sms);
    // Sent twice, delivered once, and nobody had to be asked.
    assert_eq!((carrier.delivered(), carrier.calls()), (1, (2, 0)));
    world.close().await;
}

/// Red when `resumed` is not looked at.
#[tokio::test]
async fn kakao_is_asked_and_finds_it() {
    let world = World::open().await;
    world.cluster.add("g", person());
    dies_when_received(&world, solapi::NAME, PHONE).await;
    let outcome = world.send("g", 1, 2).await;
    assert_eq!(sent(&outcome), (Channel::Kakao, world.inbox(PHONE)[0].provider_id.clone()));
    assert_eq!(world.inbox(PHONE).len(), 1);
    world.close().await;
}

#[tokio::test]
async fn text_messages_are_asked_for_and_found() {
    let world = World::open().await;
    // Without a template in English there is the text message only.
    world.cluster.add("g", Party { language: "en".into(), ..person() });
    dies_when_received(&world, solapi::NAME, PHONE).await;
    let outcome = world.send("g", 1, 2).await;
    assert_eq!(sent(&outcome), (Channel::Sms, world.inbox(PHONE)[0].provider_id.clone()));
    assert_eq!((world.inbox(PHONE).len(), world.inbox(PHONE)[0].channel), (1, "sms"));
    world.close().await;
}

/// Red when an e-mail that may have been sent is sent again.
#[tokio::test]
async fn a_relay_cannot_be_asked_and_is_not_called_again() {
    let world = World::open().await;
    world.cluster.add("g", correspondent());
    dies_when_received(&world, smtp::NAME, EMAIL).await;
    let outcome = world.send("g", 1, 2).await;
    let unknown: SendUnknown = result(&outcome);
    assert_eq!((unknown.gift.as_str(), unknown.round), ("g", 1));
    world.cluster.apply(&outcome);
    assert_eq!(world.send("g", 1, 3).await, Outcome::Success);
    assert_eq!(world.inbox(EMAIL).len(), 1);
    world.close().await;
}

/// Before the provider was called nothing was sent: the one that comes after sends it.
#[tokio::test]
async fn an_executor_that_dies_before_the_call_is_replaced() {
    let world = World::open().await;
    world.cluster.add("g", person());
    // The turn was given, and nobody made use of it.
    let begin = proto::gift::v1::BeginSendRequest { gift_id: "g".into(), round: 1, ..Default::default() };
    let turn = world.services.client.begin_send(begin).await.expect("a turn");
    assert!(!turn.resumed);
    assert_eq!(sent(&world.send("g", 1, 2).await).0, Channel::Kakao);
    assert_eq!(world.inbox(PHONE).len(), 1);
    world.close().await;
}

/// Red when an executor takes its own report for granted. The cluster refuses it and delivers again, as often as it likes.
#[tokio::test]
async fn a_report_that_is_refused_sends_nothing_again() {
    let mut world = World::open().await;
    world.cluster.add("g", person());
    let first = sent(&world.send("g", 1, 1).await);
    for attempt in 2..5 {
        assert_eq!(sent(&world.send("g", 1, attempt).await), first);
    }
    assert_eq!(world.inbox(PHONE).len(), 1);

    world.cluster.add("mail", correspondent());
    let outcome = world.send("mail", 1, 1).await;
    assert_eq!(sent(&outcome).0, Channel::Email);
    let _: SendUnknown = result(&world.send("mail", 1, 2).await);
    assert_eq!(world.inbox(EMAIL).len(), 1);

    let carrier = Carrier::keyed();
    world.only(&carrier);
    world.cluster.add("text", person());
    for attempt in 1..4 {
        assert_eq!(sent(&world.send("text", 1, attempt).await).0, Channel::Sms);
    }
    assert_eq!(carrier.delivered(), 1);
    world.close().await;
}
