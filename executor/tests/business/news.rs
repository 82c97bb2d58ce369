//! News: to whom, by which channel, how often.

use std::time::Duration;

use executor::business::{Notify, Services};
use executor::{Handler, Outcome};
use fakes::switches::{Failure, Mode, Reach, Switch};
use fakes::{fcm, inbox::OPERATORS, slack, smtp, solapi};
use proto::gift::v1::{Channel, Party};
use proto::notification::v1::{News, Notice, Told};

use crate::world::*;

fn notify(services: &Services) -> Notify {
    let Services { client, messengers, templates, operators, settle, .. } = services.clone();
    Notify::new(client, messengers, templates, operators, settle)
}

/// The channel that took it, and the provider's name for the message.
fn told(outcome: &Outcome) -> (Channel, String) {
    let told: Told = result(outcome);
    assert_eq!((told.gift.as_str(), told.moot), ("g", false));
    (told.channel(), told.provider_id)
}

impl World {
    async fn tell(&self, notice: &Notice, attempt: u32) -> Outcome {
        notify(&self.services).handle(delivery("notify.push", notice, attempt)).await
    }
}

fn notice(news: News, channels: &[Channel]) -> Notice {
    Notice {
        gift: "g".into(),
        news: news.into(),
        to: Some(Party { push_token: DEVICE.into(), ..person() }),
        channels: channels.iter().map(|channel| (*channel).into()).collect(),
        product: "아메리카노".into(),
        brand: "보신 커피".into(),
        price_won: 4_500,
        sender_name: "박선물".into(),
        recipient_name: "김받음".into(),
        send_at_ms: 1_802_530_800_000,
        expires_at_ms: 1_805_122_800_000,
        ..Notice::default()
    }
}

#[tokio::test]
async fn every_channel_brings_its_news() {
    let world = World::open().await;
    world.cluster.add("g", person());
    for (news, channel, address, name, word) in [
        (News::Reserved, Channel::Push, DEVICE, "push", "4,500원"),
        (News::ExpiresSoon, Channel::Kakao, PHONE, "kakao", "2027년 3월 16일 00:00"),
        (News::Received, Channel::Sms, PHONE, "sms", "아메리카노"),
        (News::Refunded, Channel::Email, EMAIL, "email", "4,500원"),
        (News::Attention, Channel::Operator, OPERATORS, "operator", "선물 g"),
    ] {
        let (by, provider_id) = told(&world.tell(&notice(news, &[channel]), 1).await);
        assert_eq!((by, provider_id.is_empty()), (channel, false), "{provider_id:?}");
        let received = world.inbox(address).pop().expect("a message");
        assert_eq!(received.channel, name);
        assert!(received.body.contains(word), "{name}: {}", received.body);
        let links: Vec<_> = received.links.iter().map(|link| link.url.as_str()).collect();
        let expected: &[&str] = if news == News::ExpiresSoon { &["https://gift.example/g/g"] } else { &[] };
        assert_eq!(links, expected, "{name}");
    }
    world.close().await;
}

/// Red when a report about no gift is made: the cluster would refuse it, and the operators be told again and again.
#[tokio::test]
async fn operators_are_told_of_a_terminal_that_is_locked() {
    let world = World::open().await;
    let (shop, terminal) = ("gangnam-1".into(), "till-2".into());
    let gift = String::new();
    let locked = Notice { gift, shop, terminal, ..notice(News::TerminalLocked, &[Channel::Operator]) };
    assert_eq!(world.tell(&locked, 1).await, Outcome::Success);
    let received = world.inbox(OPERATORS).pop().expect("a message");
    assert!(received.body.contains("gangnam-1") && received.body.contains("till-2"), "{}", received.body);
    world.close().await;
}

#[tokio::test]
async fn a_channel_that_refuses_makes_way_for_the_next() {
    let world = World::open().await;
    let news = notice(News::Sent, &[Channel::Push, Channel::Kakao, Channel::Sms]);
    world.switch(Switch::new(fcm::NAME, Mode::Fail(Failure::new(404, "UNREGISTERED"))).call("send")).await;
    assert_eq!(told(&world.tell(&news, 1).await).0, Channel::Sms);
    assert_eq!((world.inbox(PHONE).len(), world.inbox(PHONE)[0].channel), (1, "sms"));

    world.switch(Switch::new(solapi::NAME, Mode::Fail(Failure::new(400, "ValidationError")))).await;
    let error = failure(world.tell(&news, 1).await);
    assert!(
        error.starts_with("no channel takes it: CHANNEL_PUSH: UNREGISTERED, CHANNEL_KAKAO: NO_TEMPLATE"),
        "{error}"
    );
    assert!(error.contains("CHANNEL_SMS: ValidationError") && !error.contains("1234"), "{error}");
    world.close().await;
}

#[tokio::test]
async fn later_is_later_and_not_another_channel() {
    let world = World::open().await;
    let news = notice(News::Sent, &[Channel::Push, Channel::Sms]);
    let busy = Mode::Fail(Failure::new(429, "QUOTA_EXCEEDED").retry_after(7));
    world.switch(Switch::new(fcm::NAME, busy).call("send").reach(Reach::Next(1))).await;
    assert_eq!(retry(world.tell(&news, 1).await).0, Some(Duration::from_secs(7)));
    assert_eq!(told(&world.tell(&news, 2).await).0, Channel::Push);
    assert_eq!((world.inbox(DEVICE).len(), world.inbox(PHONE).len()), (1, 0));
    // An e-mail that was put off is told by the next attempt, though a relay cannot be asked.
    let mail = notice(News::Sent, &[Channel::Email]);
    world.switch(Switch::new(smtp::NAME, Mode::Refuse)).await;
    retry(world.tell(&mail, 1).await);
    world.fakes.switches().reset(smtp::NAME).await.expect("a switch");
    assert_eq!(told(&world.tell(&mail, 2).await).0, Channel::Email);
    assert_eq!(world.inbox(EMAIL).len(), 1);
    world.close().await;
}

/// Red when an answer that was lost is followed by a second message.
#[tokio::test]
async fn an_answer_that_is_lost_costs_no_second_message() {
    let world = World::open().await;
    let lost = |provider| Switch::new(provider, Mode::ResetAfterAccept).call("send").reach(Reach::Next(1));
    world.switch(lost(smtp::NAME)).await;
    let by_email = world.tell(&notice(News::Sent, &[Channel::Email]), 1).await;
    assert_eq!(told(&by_email), (Channel::Email, String::new()), "nobody knows its name");
    assert_eq!(world.inbox(EMAIL).len(), 1);
    world.switch(lost(solapi::NAME)).await;
    let (by, provider_id) = told(&world.tell(&notice(News::Sent, &[Channel::Sms]), 1).await);
    assert_eq!((by, provider_id.is_empty()), (Channel::Sms, false), "the provider was asked");
    assert_eq!(world.inbox(PHONE).len(), 1);
    // A push replaces itself, and a line for the operators is read twice rather than never.
    for (provider, channel) in [(fcm::NAME, Channel::Push), (slack::NAME, Channel::Operator)] {
        world.switch(Switch::new(provider, Mode::ResetAfterAccept).call("send").reach(Reach::Next(1))).await;
        retry(world.tell(&notice(News::Attention, &[channel]), 1).await);
        assert_eq!(told(&world.tell(&notice(News::Attention, &[channel]), 2).await).0, channel);
    }
    let tags: Vec<_> = world.inbox(DEVICE).into_iter().map(|message| message.tag).collect();
    assert!(tags.iter().all(|tag| tag.is_some() && *tag == tags[0]), "{tags:?}");
    world.close().await;
}

#[tokio::test]
async fn an_executor_that_dies_leaves_one_text_message() {
    let world = World::open().await;
    let news = notice(News::Sent, &[Channel::Sms]);
    let slow = Mode::Slow { ms: 600_000 };
    world.switch(Switch::new(solapi::NAME, slow).call("send").reach(Reach::Next(1))).await;
    let first = working(&notify(&world.services), delivery("notify.push", &news, 1));
    world.until_received(PHONE, 1).await;
    die(first).await;
    let (by, provider_id) = told(&world.tell(&news, 2).await);
    assert_eq!((by, provider_id.is_empty()), (Channel::Sms, false));
    assert_eq!(world.inbox(PHONE).len(), 1);
    world.close().await;
}

#[tokio::test]
async fn news_of_a_gift_whose_link_is_void_is_no_news() {
    let world = World::open().await;
    world.cluster.add("g", person());
    world.cluster.change("g", |gift| gift.void = true);
    let over: Told = result(&world.tell(&notice(News::ExpiresSoon, &[Channel::Sms]), 1).await);
    assert_eq!(over, Told { gift: "g".into(), moot: true, ..Told::default() });
    assert!(world.inbox(PHONE).is_empty());
    let unknown = Notice { news: 99, ..notice(News::Sent, &[Channel::Sms]) };
    assert!(retry(world.tell(&unknown, 1).await).1.ends_with("not 99"));
    world.close().await;
}
