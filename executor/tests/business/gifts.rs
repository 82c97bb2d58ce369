//! Gifts are sent: which channel, when again, and what is said of it.

use std::time::Duration;

use executor::business::{Messengers, SendGift, Services};
use executor::providers::message::{FindOutcome, Idempotency, SendOutcome};
use executor::{Handler, Outcome};
use fakes::switches::{Failure, Mode, Reach, Switch};
use fakes::{smtp, solapi};
use proto::gift::v1::{Channel, Party, SendLater, SendUnknown, Sent};
use proto::v1::Delivery as Facts;

use crate::carrier::{Carrier, Say};
use crate::world::*;

pub fn send(services: &Services) -> SendGift {
    let Services { client, messengers, templates, settle, .. } = services.clone();
    SendGift::new(client, messengers, templates, settle)
}

impl World {
    /// The executor of this round, once.
    pub async fn send(&self, gift: &str, round: u32, attempt: u32) -> Outcome {
        send(&self.services).handle(delivery("gift.send", &send_work(gift, round), attempt)).await
    }

    /// The same with no other provider than this.
    pub fn only(&mut self, carrier: &Carrier) {
        self.services.messengers = Messengers::new().with(carrier.clone(), None);
    }
}

fn sent_by(outcome: &Outcome) -> Channel {
    let sent: Sent = result(outcome);
    assert!(!sent.provider_id.is_empty());
    sent.channel()
}

#[tokio::test]
async fn the_first_channel_that_takes_it_is_the_last() {
    let world = World::open().await;
    world.cluster.add("g", person());
    let outcome = world.send("g", 1, 1).await;
    assert_eq!(sent_by(&outcome), Channel::Kakao);
    let received = world.inbox(PHONE);
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].channel, "kakao");
    for word in ["박선물", "아메리카노", "생일 축하해"] {
        assert!(received[0].body.contains(word), "{}", received[0].body);
    }
    assert_eq!(received[0].links[0].url, "https://gift.example/g/g");
    // Reported, and delivered once more all the same.
    world.cluster.apply(&outcome);
    assert_eq!(world.send("g", 1, 2).await, Outcome::Success);
    assert_eq!(world.inbox(PHONE).len(), 1);
    world.close().await;
}

/// Red when a refusal ends it, or the order of channels is lost.
#[tokio::test]
async fn a_channel_that_refuses_makes_way() {
    let world = World::open().await;
    world.cluster.add("g", person());
    let never = Mode::Fail(Failure::new(400, "ValidationError"));
    world.switch(Switch::new(solapi::NAME, never.clone()).call("send").reach(Reach::Next(1))).await;
    assert_eq!(sent_by(&world.send("g", 1, 1).await), Channel::Sms);
    assert_eq!(world.cluster.gift("g").rejected[0].error, "ValidationError");
    assert_eq!((world.inbox(PHONE).len(), world.inbox(PHONE)[0].channel), (1, "sms"));

    world.cluster.add("mail", person());
    world.switch(Switch::new(solapi::NAME, never.clone()).call("send")).await;
    assert_eq!(sent_by(&world.send("mail", 1, 1).await), Channel::Email);
    assert_eq!((world.inbox(EMAIL).len(), world.inbox(EMAIL)[0].channel), (1, "email"));

    world.cluster.add("nobody", person());
    world.switch(Switch::new(smtp::NAME, Mode::Fail(Failure::new(550, "5.1.1")))).await;
    assert_eq!(world.send("nobody", 1, 1).await, Outcome::Success);
    let gift = world.cluster.gift("nobody");
    assert_eq!(gift.over, Some("failed"));
    let errors: Vec<_> = gift.rejected.iter().map(|one| one.error.as_str()).collect();
    assert_eq!(errors, ["ValidationError", "ValidationError", "UNREGISTERED"]);
    world.close().await;
}

#[tokio::test]
async fn what_cannot_be_tried_is_passed_over() {
    let mut world = World::open().await;
    // No template in English: the text message.
    world.cluster.add("english", Party { language: "en".into(), ..person() });
    assert_eq!(sent_by(&world.send("english", 1, 1).await), Channel::Sms);
    assert_eq!(world.cluster.gift("english").rejected[0].error, "NO_TEMPLATE");
    assert!(world.inbox(PHONE)[0].body.starts_with("[Bosingak] "), "{}", world.inbox(PHONE)[0].body);
    // An id that no directory resolved to a number is no address.
    world.cluster.add("kakao", Party { kakao: "kim".into(), ..correspondent() });
    assert_eq!(sent_by(&world.send("kakao", 1, 1).await), Channel::Email);
    assert_eq!(world.cluster.gift("kakao").rejected[0].error, "NO_ADDRESS");
    // No provider.
    world.only(&Carrier::keyed());
    world.cluster.add("less", person());
    assert_eq!(sent_by(&world.send("less", 1, 1).await), Channel::Sms);
    assert_eq!(world.cluster.gift("less").rejected[0].error, "NOT_CONFIGURED");
    world.close().await;
}

#[tokio::test]
async fn whoever_gave_it_may_pass_the_link_on() {
    let world = World::open().await;
    world.cluster.add("g", Party { name: "아무개".into(), ..Party::default() });
    let sent: Sent = result(&world.send("g", 1, 1).await);
    assert_eq!((sent.channel(), sent.provider_id.as_str()), (Channel::Unspecified, ""));
    world.close().await;
}

/// Red when the retries of a gift are used up while a provider is down.
#[tokio::test]
async fn a_provider_that_is_down_is_waited_for() {
    let world = World::open().await;
    world.cluster.add("g", person());
    world.switch(Switch::new(solapi::NAME, Mode::Refuse)).await;
    let outcome = world.send("g", 1, 1).await;
    let later: SendLater = result(&outcome);
    assert!(later.outage && later.after_ms == 0, "{later:?}");
    world.cluster.apply(&outcome);

    let busy = Mode::Fail(Failure::new(429, "TooManyRequests").retry_after(7));
    world.switch(Switch::new(solapi::NAME, busy)).await;
    let outcome = world.send("g", 2, 1).await;
    let later: SendLater = result(&outcome);
    assert!(later.outage && later.after_ms == 7_000, "{later:?}");
    world.cluster.apply(&outcome);

    world.fakes.switches().reset(solapi::NAME).await.expect("a switch");
    assert_eq!(sent_by(&world.send("g", 3, 1).await), Channel::Kakao);
    // An earlier round has nothing to say any more.
    assert_eq!(world.send("g", 2, 2).await, Outcome::Success);
    assert_eq!(world.inbox(PHONE).len(), 1);
    world.close().await;
}

/// Red when a mail box that is full is taken for a relay that is down: its gift would wait for a day.
#[tokio::test]
async fn a_mail_box_that_is_full_is_not_the_relay() {
    let world = World::open().await;
    world.cluster.add("other", correspondent());
    world.cluster.add("full", correspondent());
    let full = || Switch::new(smtp::NAME, Mode::Fail(Failure::new(452, "4.2.2"))).reach(Reach::Next(1));
    world.switch(full()).await;
    let outcome = world.send("full", 1, 1).await;
    let later: SendLater = result(&outcome);
    assert!(later.outage, "nothing shows that the relay takes anything");
    world.cluster.apply(&outcome);
    assert_eq!(sent_by(&world.send("other", 1, 1).await), Channel::Email);
    world.switch(full()).await;
    let later: SendLater = result(&world.send("full", 2, 1).await);
    assert!(!later.outage, "{later:?}");
    assert!(!later.error.contains(EMAIL), "{}", later.error);
    world.close().await;
}

#[tokio::test]
async fn an_answer_that_is_lost_is_looked_for() {
    let world = World::open().await;
    world.cluster.add("g", person());
    world.switch(Switch::new(solapi::NAME, Mode::ResetAfterAccept).call("send").reach(Reach::Next(1))).await;
    assert_eq!(sent_by(&world.send("g", 1, 1).await), Channel::Kakao);
    assert_eq!(world.inbox(PHONE).len(), 1);

    world.cluster.add("mail", correspondent());
    world.switch(Switch::new(smtp::NAME, Mode::ResetAfterAccept).reach(Reach::Next(1))).await;
    let unknown: SendUnknown = result(&world.send("mail", 1, 1).await);
    assert!(unknown.error.starts_with("smtp"), "{}", unknown.error);
    assert_eq!(world.inbox(EMAIL).len(), 1);
    world.close().await;
}

/// Red when a time-out fails a gift that nobody got: it is sent by the next attempt, which knows that the first sent nothing.
#[tokio::test]
async fn what_was_not_taken_is_sent_by_the_next_attempt() {
    let world = World::with(HASTY_MS).await;
    world.cluster.add("g", person());
    world.switch(Switch::new(solapi::NAME, Mode::Timeout).call("send").reach(Reach::Next(1))).await;
    retry(world.send("g", 1, 1).await);
    assert_eq!(sent_by(&world.send("g", 1, 2).await), Channel::Kakao);
    assert_eq!(world.inbox(PHONE).len(), 1);
    world.close().await;
}

/// Red when one look is enough: a list that lags behind has the message a moment later.
#[tokio::test]
async fn a_list_that_lags_behind_is_given_time() {
    let mut world = World::open().await;
    let carrier = Carrier::new(Idempotency::None);
    world.only(&carrier);
    world.cluster.add("g", Party { kakao: String::new(), ..person() });
    carrier.say(Say::LostAfterAll);
    carrier.list(FindOutcome::NotFound);
    retry(world.send("g", 1, 1).await);
    carrier.list(FindOutcome::NotFound);
    assert_eq!(sent_by(&world.send("g", 1, 2).await), Channel::Sms);
    assert_eq!((carrier.delivered(), carrier.calls()), (1, (1, 3)));
    world.close().await;
}

/// Red when a provider that is down for a while leaves its gifts to a human.
#[tokio::test]
async fn a_list_that_is_down_is_waited_for() {
    let world = World::open().await;
    world.cluster.add("g", person());
    world.switch(Switch::new(solapi::NAME, Mode::ResetAfterAccept)).await;
    retry(world.send("g", 1, 1).await);
    world.switch(Switch::new(solapi::NAME, Mode::Refuse)).await;
    retry(world.send("g", 1, 2).await);
    world.fakes.switches().reset(solapi::NAME).await.expect("a switch");
    assert_eq!(sent_by(&world.send("g", 1, 3).await), Channel::Kakao);
    assert_eq!(world.inbox(PHONE).len(), 1);
    world.close().await;
}

/// A message that was taken and did not reach anybody makes way for the next channel.
#[tokio::test]
async fn what_did_not_reach_anybody_goes_by_the_next_channel() {
    let mut world = World::open().await;
    let carrier = Carrier::new(Idempotency::None);
    let smtp = world.services.messengers.clone();
    // The other channels stay, but for the text messages.
    world.services.messengers = smtp.with(carrier.clone(), None);
    world.cluster.add("g", Party { language: "en".into(), ..person() });
    carrier.say(Say::LostAfterAll);
    carrier.list(FindOutcome::Found { provider_id: "1".into(), delivered: Some(false) });
    assert_eq!(sent_by(&world.send("g", 1, 1).await), Channel::Email);
    let errors: Vec<_> = world.cluster.gift("g").rejected.iter().map(|one| one.error.clone()).collect();
    assert_eq!(errors, ["NO_TEMPLATE", "NOT_DELIVERED"]);
    world.close().await;
}

/// While one attempt's fate is unknown, no other round with another key may begin.
#[tokio::test]
async fn a_round_ends_only_when_it_is_known_what_it_sent() {
    let mut world = World::open().await;
    let carrier = Carrier::keyed();
    world.only(&carrier);
    world.cluster.add("g", person());
    carrier.say(Say::LostAfterAll);
    assert_eq!(retry(world.send("g", 1, 1).await).0, Some(Duration::from_secs(1)));
    let busy = SendOutcome::Later { after: Some(Duration::from_secs(3)), error: "busy".into() };
    carrier.say(Say::Instead(busy));
    assert_eq!(retry(world.send("g", 1, 2).await), (Some(Duration::from_secs(3)), "busy".into()));
    // A refusal says nothing of what was taken before.
    carrier.say(Say::Instead(SendOutcome::Rejected { code: "NO_BALANCE".into(), message: String::new() }));
    assert_eq!(sent_by(&world.send("g", 1, 3).await), Channel::Sms);
    assert_eq!(carrier.delivered(), 1);
    world.close().await;
}

#[tokio::test]
async fn what_the_cluster_does_not_know_is_given_up_and_what_it_cannot_say_is_not() {
    let mut world = World::open().await;
    assert!(failure(world.send("nobody", 1, 1).await).contains("gift"));
    let payload = bytes::Bytes::from_static(b"\xff");
    let nonsense = executor::Delivery::from_proto(Facts { payload, ..Facts::default() });
    assert!(failure(send(&world.services).handle(nonsense).await).starts_with("payload: "));
    // Nobody listens there.
    let policy = client::retry::Policy { attempts_max: 1, ..world.services.client.policy() };
    let gone = client::Client::builder().endpoints(["http://127.0.0.1:9"]).connect_lazy().expect("an address");
    world.services.client = gone.with_policy(policy);
    retry(world.send("g", 1, 1).await);
    world.close().await;
}
