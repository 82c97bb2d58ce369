//! A cluster of one node on a virtual clock, and executors that do what a test tells them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use prost::Message;
use proto::admin::v1 as admin;
use proto::gift::v1 as gift;
use proto::gift::v1::gift_delivery_service_client::GiftDeliveryServiceClient;
use proto::gift::v1::gift_service_client::GiftServiceClient;
use proto::notification::v1 as notification;
use proto::payment::v1 as payment;
use proto::payment::v1::payment_service_client::PaymentServiceClient;
use proto::product::v1 as product;
use proto::product::v1::product_service_client::ProductServiceClient;
use proto::v1;
use scheduler::time::Timestamp;
use server::clock::Clock;
use tonic::transport::Channel;

use crate::support::{One, Work, outcome, within};

/// 2027-02-13T12:00:00+09:00, twelve hours before the bell.
pub const NOON_BEFORE: u64 = 1_802_487_600_000;

/// What executors are to say, and what they saw.
#[derive(Debug, Default)]
pub struct Script {
    /// Of payments; captured unless said.
    pub payments: BTreeMap<String, payment::payment_outcome::Kind>,
    /// Of questions about payments; captured unless said.
    pub queries: BTreeMap<String, payment::payment_outcome::Kind>,
    /// Links as they were sent, by gift, in order.
    pub links: BTreeMap<String, Vec<String>>,
    /// News by gift, in order.
    pub news: BTreeMap<String, Vec<notification::News>>,
    /// Won that were given back, by gift.
    pub refunds: BTreeMap<String, u64>,
    /// Terminals that operators were told about: shop and terminal.
    pub locked: Vec<(String, String)>,
    /// News that cannot be told: the provider's words. All others are told by their first channel.
    pub untold: BTreeMap<notification::News, String>,
}

/// The cluster and its executors.
pub struct World {
    pub one: One,
    pub script: Arc<Mutex<Script>>,
}

impl World {
    pub async fn start() -> World {
        let dir = tempfile::tempdir().expect("a directory");
        let key = dir.path().join("gift.key");
        let clock = Clock::standing_at(Timestamp::from_millis(NOON_BEFORE));
        let one = One::open(dir, clock, |config| {
            config.gift_key_file = Some(key);
            config.gift_link_base = "https://gift.test/g/".into();
        })
        .await;
        let world = World { one, script: Arc::default() };
        for topic in [
            "payment.confirm",
            "payment.query",
            "payment.refund",
            "gift.send",
            "notify.kakao",
            "notify.sms",
            "notify.push",
            "notify.email",
            "notify.operator",
        ] {
            for work in world.one.work(&format!("executor-of-{topic}"), topic).await {
                tokio::spawn(play(work, world.one.channel.clone(), world.script.clone()));
            }
        }
        world.put_product("coffee", 4_500).await;
        world
    }

    pub fn gifts(&self) -> GiftServiceClient<Channel> {
        GiftServiceClient::new(self.one.channel.clone())
    }

    pub async fn put_product(&self, id: &str, price_won: u64) {
        let product = product::Product {
            id: id.into(),
            name: "아메리카노 Tall".into(),
            brand: "별다방".into(),
            price_won,
            on_sale: true,
            ..Default::default()
        };
        let request = product::PutProductRequest { product: Some(product), ..Default::default() };
        let mut products = ProductServiceClient::new(self.one.channel.clone());
        within(products.put_product(request)).await.expect("stored");
    }

    pub async fn get(&self, id: &str) -> gift::Gift {
        let request = gift::GetGiftRequest { gift_id: id.into(), ..Default::default() };
        within(self.gifts().get_gift(request)).await.expect("there").into_inner().gift.expect("a gift")
    }

    /// Moves time, until everything that falls due on the way is done. Answers the time it is then, in seconds.
    pub async fn advance(&self, seconds: i64) -> i64 {
        self.move_clock(admin::advance_clock_request::Target::By(prost_types::Duration { seconds, nanos: 0 })).await
    }

    /// Moves time to this many seconds before the midnight of the 14th.
    pub async fn until_midnight_less(&self, seconds: i64) {
        let to = prost_types::Timestamp { seconds: (NOON_BEFORE / 1_000) as i64 + 43_200 - seconds, nanos: 0 };
        self.move_clock(admin::advance_clock_request::Target::To(to)).await;
    }

    async fn move_clock(&self, target: admin::advance_clock_request::Target) -> i64 {
        let request = admin::AdvanceClockRequest { target: Some(target) };
        let answer = within(self.one.admin().advance_clock(request)).await.expect("advanced").into_inner();
        answer.now.expect("a moment").seconds
    }

    /// Waits for a state that is reached without anybody moving time.
    pub async fn until_state(&self, id: &str, state: gift::GiftState) -> gift::Gift {
        crate::support::until(async || Some(self.get(id).await).filter(|gift| gift.state() == state)).await
    }

    pub async fn reconciled(&self) -> payment::Balance {
        let now = self.advance(0).await;
        // A partition where nothing happens comes to know the time with its next canary.
        let answer = crate::support::until(async || {
            self.advance(10).await;
            let mut payments = PaymentServiceClient::new(self.one.channel.clone());
            let answer = within(payments.reconcile(payment::ReconcileRequest::default())).await.expect("reconciled");
            Some(answer.into_inner()).filter(|answer| answer.as_of.is_some_and(|as_of| as_of.seconds > now))
        })
        .await;
        assert_eq!(answer.difference_won, 0);
        let sum = |of: fn(&payment::Balance) -> i64| {
            answer.days.iter().filter_map(|day| day.change.as_ref()).map(of).sum::<i64>()
        };
        let total = answer.total.expect("a total");
        assert_eq!(
            (sum(|day| day.captured_won), sum(|day| day.refunded_won), sum(|day| day.delivered_won)),
            (total.captured_won, total.refunded_won, total.delivered_won),
            "the days add up"
        );
        total
    }

    /// The token of the newest link that was sent.
    pub fn token(&self, id: &str) -> String {
        let script = self.script.lock().expect("not poisoned");
        let link = script.links[id].last().expect("a link").clone();
        link.strip_prefix("https://gift.test/g/").expect("begins as configured").to_owned()
    }

    pub fn news(&self, id: &str) -> Vec<notification::News> {
        self.script.lock().expect("not poisoned").news.get(id).cloned().unwrap_or_default()
    }
}

/// A gift of one coffee for the 14th of February.
pub fn wish(id: &str) -> gift::ReserveRequest {
    gift::ReserveRequest {
        gift_id: id.into(),
        product_id: "coffee".into(),
        sender: Some(party("kim", "김보신", "010-1111-2222")),
        recipient: Some(party("", "이종각", "+82 10 3333 4444")),
        message: "밸런타인데이 축하해 🎁".into(),
        send: Some(on("2027-02-14")),
        payment: Some(gift::PaymentRequest {
            payment_key: format!("key-of-{id}"),
            amount_won: 4_500,
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub fn party(id: &str, name: &str, phone: &str) -> gift::Party {
    gift::Party { id: id.into(), name: name.into(), phone: phone.into(), ..Default::default() }
}

/// On a day, or at a time of a day, in the recipient's zone.
pub fn on(date_time: &str) -> gift::SendTime {
    let local = v1::LocalTime { date_time: date_time.into(), ..Default::default() };
    gift::SendTime { when: Some(gift::send_time::When::Local(local)) }
}

/// Does the work of one stream.
async fn play(mut work: Work, channel: Channel, script: Arc<Mutex<Script>>) {
    loop {
        let message = match work.answers.message().await {
            Ok(Some(answer)) => answer.message,
            // The server has stopped.
            _ => return,
        };
        let Some(v1::work_response::Message::Deliveries(found)) = message else { continue };
        for delivery in found.deliveries {
            let came = match done(&delivery, &channel, &script).await {
                Ok(result) => v1::delivery_outcome::Outcome::Success(v1::Success { result }),
                Err(error) => v1::delivery_outcome::Outcome::Fail(v1::Failure { error, retry_after: None }),
            };
            work.report(vec![outcome(&delivery, came)]).await;
            let credit = v1::work_request::Message::Credit(v1::Credit { deliveries: 1 });
            if work.requests.send(crate::support::request(credit)).await.is_err() {
                return;
            }
        }
    }
}

async fn done(
    delivery: &v1::Delivery,
    channel: &Channel,
    script: &Mutex<Script>,
) -> Result<Option<prost_types::Any>, String> {
    let payload = &delivery.payload[..];
    match delivery.topic.as_str() {
        topic @ ("payment.confirm" | "payment.query") => {
            let work = payment::PayWork::decode(payload).expect("work");
            assert_eq!(work.payment_key, format!("key-of-{}", work.payment));
            let script = script.lock().expect("not poisoned");
            let said = if topic == "payment.confirm" { &script.payments } else { &script.queries };
            let kind = said.get(&work.payment).copied().unwrap_or(payment::payment_outcome::Kind::Captured);
            let captured_won = if kind == payment::payment_outcome::Kind::Captured { work.amount_won } else { 0 };
            let (payment, method) = (work.payment, "카드".to_owned());
            let error = "REJECT_CARD_PAYMENT".to_owned();
            let outcome = payment::PaymentOutcome { payment, kind: kind.into(), captured_won, method, error };
            Ok(Some(any("bosingak.payment.v1.PaymentOutcome", &outcome)))
        }
        "payment.refund" => {
            let work = payment::RefundWork::decode(payload).expect("work");
            let before = script.lock().expect("not poisoned").refunds.insert(work.payment.clone(), work.amount_won);
            assert_eq!(before, None, "money goes back once");
            let kind = payment::refund_outcome::Kind::Done.into();
            let outcome = payment::RefundOutcome { payment: work.payment, kind, error: String::new() };
            Ok(Some(any("bosingak.payment.v1.RefundOutcome", &outcome)))
        }
        "gift.send" => {
            let work = gift::SendWork::decode(payload).expect("work");
            let request =
                gift::BeginSendRequest { gift_id: work.gift.clone(), round: work.round, ..Default::default() };
            let mut client = GiftDeliveryServiceClient::new(channel.clone());
            let turn = within(client.begin_send(request)).await.expect("a turn").into_inner();
            if turn.over {
                return Ok(None);
            }
            script.lock().expect("not poisoned").links.entry(work.gift.clone()).or_default().push(turn.link);
            let provider_id = "message-1".to_owned();
            let sent = gift::Sent { gift: work.gift, round: work.round, channel: turn.channel, provider_id };
            Ok(Some(any("bosingak.gift.v1.Sent", &sent)))
        }
        _ => {
            let notice = notification::Notice::decode(payload).expect("news");
            if notice.news() == notification::News::TerminalLocked {
                script.lock().expect("not poisoned").locked.push((notice.shop, notice.terminal));
                return Ok(None);
            }
            if let Some(error) = script.lock().expect("not poisoned").untold.get(&notice.news()) {
                return Err(error.clone());
            }
            if notice.news() == notification::News::Arrived {
                let request = gift::GetLinkRequest { gift_id: notice.gift.clone(), ..Default::default() };
                let mut client = GiftDeliveryServiceClient::new(channel.clone());
                let link = within(client.get_link(request)).await.expect("a link").into_inner().link;
                script.lock().expect("not poisoned").links.entry(notice.gift.clone()).or_default().push(link);
            }
            script.lock().expect("not poisoned").news.entry(notice.gift.clone()).or_default().push(notice.news());
            let provider_id = format!("message-of-{}", notice.news().as_str_name());
            let channel = notice.channels.first().copied().unwrap_or_default();
            let told = notification::Told { gift: notice.gift, channel, provider_id, moot: false };
            Ok(Some(any("bosingak.notification.v1.Told", &told)))
        }
    }
}

fn any(name: &str, message: &impl Message) -> prost_types::Any {
    prost_types::Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}
