//! What was told about gifts can be seen, and told again when it could not be.

use proto::gift::v1 as gift;
use proto::gift::v1::Channel;
use proto::notification::v1 as notification;
use proto::notification::v1::notification_service_client::NotificationServiceClient;
use proto::notification::v1::{News, Notification, NotificationState};
use proto::payment::v1::payment_outcome::Kind;
use proto::v1;
use proto::v1::dead_letter_service_client::DeadLetterServiceClient;

use crate::support::{reason, until, within};
use crate::world::{NOON_BEFORE, World, wish};

const HALF_A_DAY: i64 = 43_200;

impl World {
    fn notifications(&self) -> NotificationServiceClient<tonic::transport::Channel> {
        NotificationServiceClient::new(self.one.channel.clone())
    }

    async fn list(&self, gift_id: &str) -> Vec<Notification> {
        let request = notification::ListNotificationsRequest { gift_id: gift_id.into(), ..Default::default() };
        within(self.notifications().list_notifications(request)).await.expect("listed").into_inner().notifications
    }

    async fn one(&self, id: &str) -> Notification {
        let request = notification::GetNotificationRequest { id: id.into(), ..Default::default() };
        let found = within(self.notifications().get_notification(request)).await.expect("there").into_inner();
        found.notification.expect("one")
    }

    /// Waits until a piece of news has come to a state.
    async fn until_news(&self, gift_id: &str, news: News, state: NotificationState) -> Notification {
        until(async || self.list(gift_id).await.into_iter().find(|one| one.news() == news && one.state() == state))
            .await
    }

    fn untold(&self, news: News, error: Option<&str>) {
        let mut script = self.script.lock().expect("not poisoned");
        match error {
            Some(error) => script.untold.insert(news, error.into()),
            None => script.untold.remove(&news),
        };
    }
}

/// Red when who is told what by which channel is not said, or more of a person is than needed.
#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_told_can_be_seen() {
    let world = World::start().await;
    within(world.gifts().reserve(wish("g"))).await.expect("reserved");
    let reserved = world.until_news("g", News::Reserved, NotificationState::Told).await;
    assert_eq!((reserved.to.as_str(), reserved.gift_id.as_str()), ("김***", "g"));
    let ways: Vec<_> = reserved.ways.iter().map(|way| (way.channel(), way.address.as_str())).collect();
    assert_eq!(ways, [(Channel::Kakao, "***22"), (Channel::Sms, "***22")]);
    assert_eq!((reserved.channel(), reserved.provider_id.as_str()), (Channel::Kakao, "message-of-NEWS_RESERVED"));
    assert!(reserved.created.is_some() && reserved.ended.is_some() && reserved.next_attempt.is_none());
    assert_eq!(world.one(&reserved.id).await, reserved);

    let version = world.get("g").await.version;
    world.advance(HALF_A_DAY).await;
    let sent = world.until_state("g", gift::GiftState::Sent).await;
    world.until_news("g", News::Sent, NotificationState::Told).await;
    assert_eq!(world.list("g").await.iter().map(Notification::news).collect::<Vec<_>>(), [News::Reserved, News::Sent]);
    assert!(sent.version > version);
    assert_eq!(world.get("g").await.version, sent.version, "that it was told does not change the gift");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_told_is_tried_again_when_somebody_says_so() {
    let world = World::start().await;
    world.untold(News::Reserved, Some("no channel takes it: CHANNEL_KAKAO: 3104"));
    let reserved = within(world.gifts().reserve(wish("g"))).await.expect("reserved").into_inner().gift.expect("a gift");
    let dead = world.until_news("g", News::Reserved, NotificationState::Dead).await;
    assert_eq!(dead.last_error, "no channel takes it: CHANNEL_KAKAO: 3104");
    assert!(dead.ended.is_some() && dead.failures == 1, "{dead:?}");
    assert_eq!(world.get("g").await, reserved, "news never change a gift");

    // The way for other dead letters is closed to it.
    let requeue = v1::RequeueDeadLetterRequest { id: dead.id.clone(), ..Default::default() };
    let mut letters = DeadLetterServiceClient::new(world.one.channel.clone());
    assert_eq!(reason(letters.requeue_dead_letter(requeue).await).1, "INVALID_FIELD");

    world.untold(News::Reserved, None);
    // Made at the cluster's time, which stands in another year.
    let request_id = uuid::Builder::from_unix_timestamp_millis(NOON_BEFORE, &[7; 10]).into_uuid().to_string();
    let again = notification::RetryNotificationRequest { id: dead.id.clone(), request_id, ..Default::default() };
    within(world.notifications().retry_notification(again.clone())).await.expect("again");
    let told = world.until_news("g", News::Reserved, NotificationState::Told).await;
    assert_eq!((told.id.as_str(), told.last_error.as_str()), (dead.id.as_str(), ""));
    assert_eq!(world.news("g"), [News::Reserved]);
    // The same request has the same answer, and is not told once more; another one has nothing to try again.
    within(world.notifications().retry_notification(again)).await.expect("repeated");
    let other = notification::RetryNotificationRequest { id: dead.id, ..Default::default() };
    assert_eq!(reason(world.notifications().retry_notification(other).await).1, "NOT_DEAD_LETTERED");
    assert_eq!(world.news("g"), [News::Reserved]);
}

/// The answer to the reservation was PENDING_PAYMENT.
///
/// Red when nobody tells the sender.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_is_declined_later_is_told() {
    let world = World::start().await;
    {
        let mut script = world.script.lock().expect("not poisoned");
        script.payments.insert("g".into(), Kind::Unknown);
        script.queries.insert("g".into(), Kind::Declined);
    }
    let pending = within(world.gifts().reserve(wish("g"))).await.expect("answered").into_inner().gift.expect("a gift");
    assert_eq!(pending.state(), gift::GiftState::PendingPayment);
    world.advance(10).await;
    world.until_state("g", gift::GiftState::Failed).await;
    let told = world.until_news("g", News::Declined, NotificationState::Told).await;
    assert_eq!(told.to, "김***");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_notification_is_refused() {
    let world = World::start().await;
    within(world.gifts().reserve(wish("g"))).await.expect("reserved");
    let list = |gift_id: &str, sender_id: &str| notification::ListNotificationsRequest {
        gift_id: gift_id.into(),
        sender_id: sender_id.into(),
        ..Default::default()
    };
    let mut client = world.notifications();
    assert!(within(client.list_notifications(list("g", "kim"))).await.is_ok());
    assert_eq!(reason(client.list_notifications(list("g", "lee")).await).1, "NOT_FOUND");
    assert_eq!(reason(client.list_notifications(list("h", "")).await).1, "NOT_FOUND");
    assert_eq!(reason(client.list_notifications(list("a b", "")).await).1, "INVALID_FIELD");
    for (id, expected) in [
        ("", "INVALID_FIELD"),
        ("mine", "INVALID_FIELD"),
        ("bosingak.gift.{g}.send.7", "INVALID_FIELD"),
        ("bosingak.gift.{g}.notify.7", "NOT_FOUND"),
        ("bosingak.gift.{h}.notify.7", "NOT_FOUND"),
    ] {
        let get = notification::GetNotificationRequest { id: id.into(), ..Default::default() };
        assert_eq!(reason(client.get_notification(get).await).1, expected, "{id}");
        let retry = notification::RetryNotificationRequest { id: id.into(), ..Default::default() };
        assert_eq!(reason(client.retry_notification(retry).await).1, expected, "{id}");
    }
    let id = "bosingak.gift.{g}.notify.7".into();
    let retry = notification::RetryNotificationRequest { id, request_id: "x".into(), ..Default::default() };
    assert_eq!(reason(client.retry_notification(retry).await).1, "INVALID_FIELD");
}
