//! What executors see of the cluster: turns at sending, and links. The rules are those of the domain (`gift/send.rs` there).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use client::Client;
use executor::Outcome;
use prost::Message;
use proto::gift::v1::gift_delivery_service_server::{GiftDeliveryService, GiftDeliveryServiceServer};
use proto::gift::v1::{
    BeginSendRequest, BeginSendResponse, Channel, GetLinkRequest, GetLinkResponse, Party, Rejection, SendLater,
    SendUnknown, Sent,
};
use proto::product::v1::Product;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// The cluster, until it is dropped.
pub struct Cluster {
    gifts: Gifts,
    address: String,
    serving: AbortHandle,
}

#[derive(Clone, Default)]
struct Gifts(Arc<Mutex<BTreeMap<String, Gift>>>);

/// What is known of a gift that is being sent.
#[derive(Clone, Debug)]
pub struct Gift {
    pub recipient: Party,
    pub round: u32,
    pub begun: Option<(Channel, SystemTime)>,
    pub rejected: Vec<Rejection>,
    /// Why it is not being sent any more.
    pub over: Option<&'static str>,
    /// Turns that were given.
    pub turns: u32,
    /// The link is void.
    pub void: bool,
}

impl Cluster {
    pub async fn start() -> Cluster {
        let gifts = Gifts::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let serving = tonic::transport::Server::builder()
            .add_service(GiftDeliveryServiceServer::new(gifts.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let serving = tokio::spawn(async move { serving.await.expect("it serves") }).abort_handle();
        Cluster { gifts, address, serving }
    }

    pub fn client(&self) -> Client {
        Client::builder().endpoints([&self.address]).connect_lazy().expect("an address")
    }

    pub fn add(&self, id: &str, recipient: Party) {
        let gift = Gift { recipient, round: 1, begun: None, rejected: vec![], over: None, turns: 0, void: false };
        self.gifts.lock().insert(id.to_owned(), gift);
    }

    pub fn gift(&self, id: &str) -> Gift {
        self.gifts.lock()[id].clone()
    }

    pub fn change(&self, id: &str, change: impl FnOnce(&mut Gift)) {
        change(self.gifts.lock().get_mut(id).expect("a gift"));
    }

    /// Applies what an executor reports with a completion, as the log would.
    pub fn apply(&self, outcome: &Outcome) {
        let Outcome::Result(any) = outcome else { panic!("not a result: {outcome:?}") };
        let bytes = any.value.as_slice();
        match any.type_url.rsplit('.').next() {
            Some("Sent") => {
                let sent = Sent::decode(bytes).expect("a report");
                self.in_round(&sent.gift, sent.round, |gift| (gift.over, gift.begun) = (Some("sent"), None));
            }
            Some("SendLater") => {
                let later = SendLater::decode(bytes).expect("a report");
                self.in_round(&later.gift, later.round, |gift| {
                    gift.round += 1;
                    (gift.begun, gift.rejected) = (None, vec![]);
                });
            }
            Some("SendUnknown") => {
                let unknown = SendUnknown::decode(bytes).expect("a report");
                self.in_round(&unknown.gift, unknown.round, |gift| gift.over = Some("unknown"));
            }
            other => panic!("not about sending: {other:?}"),
        }
    }

    fn in_round(&self, id: &str, round: u32, change: impl FnOnce(&mut Gift)) {
        self.change(id, |gift| {
            if gift.over.is_none() && gift.round == round {
                change(gift);
            }
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Gifts {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Gift>> {
        self.0.lock().expect("not poisoned")
    }
}

fn channels(party: &Party) -> Vec<Channel> {
    let mut channels = Vec::new();
    if !party.phone.is_empty() || !party.kakao.is_empty() {
        channels.push(Channel::Kakao);
    }
    if !party.phone.is_empty() {
        channels.push(Channel::Sms);
    }
    if !party.email.is_empty() {
        channels.push(Channel::Email);
    }
    if channels.is_empty() { vec![Channel::Unspecified] } else { channels }
}

fn key(id: &str, channel: Channel, round: u32) -> String {
    format!("default/{id}/1/send/{}/{round}", channel.as_str_name())
}

#[tonic::async_trait]
impl GiftDeliveryService for Gifts {
    async fn begin_send(&self, request: Request<BeginSendRequest>) -> Result<Response<BeginSendResponse>, Status> {
        let request = request.into_inner();
        let mut gifts = self.lock();
        let gift = gifts.get_mut(&request.gift_id).ok_or_else(|| Status::not_found("gift"))?;
        let over = || Ok(Response::new(BeginSendResponse { over: true, ..Default::default() }));
        if gift.over.is_some() || gift.round != request.round {
            return over();
        }
        for rejected in request.rejected {
            if !gift.rejected.iter().any(|known| known.channel == rejected.channel) {
                gift.rejected.push(rejected);
            }
        }
        let is_rejected = |channel: Channel| gift.rejected.iter().any(|one| one.channel() == channel);
        let Some(channel) = channels(&gift.recipient).into_iter().find(|channel| !is_rejected(*channel)) else {
            gift.over = Some("failed");
            return over();
        };
        let begun = gift.begun.filter(|(on, _)| *on == channel);
        let at = begun.map_or_else(SystemTime::now, |(_, at)| at);
        gift.begun = Some((channel, at));
        gift.turns += 1;
        Ok(Response::new(BeginSendResponse {
            over: false,
            channel: channel.into(),
            resumed: begun.is_some(),
            begun: Some(at.into()),
            idempotency_key: key(&request.gift_id, channel, gift.round),
            link: format!("https://gift.example/g/{}", request.gift_id),
            recipient: Some(gift.recipient.clone()),
            sender_name: "박선물".into(),
            message: "생일 축하해".into(),
            product: Some(Product {
                name: "아메리카노".into(),
                brand: "보신 커피".into(),
                price_won: 4_500,
                ..Product::default()
            }),
            expires_at: Some(prost_types::Timestamp { seconds: 1_805_122_800, nanos: 0 }),
        }))
    }

    async fn get_link(&self, request: Request<GetLinkRequest>) -> Result<Response<GetLinkResponse>, Status> {
        let id = request.into_inner().gift_id;
        let gifts = self.lock();
        let gift = gifts.get(&id).ok_or_else(|| Status::not_found("gift"))?;
        let link = if gift.void { String::new() } else { format!("https://gift.example/g/{id}") };
        let Some((channel, at)) = gift.begun else {
            return Ok(Response::new(GetLinkResponse { link, ..Default::default() }));
        };
        Ok(Response::new(GetLinkResponse {
            link,
            channel: channel.into(),
            begun: Some(at.into()),
            idempotency_key: key(&id, channel, gift.round),
            recipient: Some(gift.recipient.clone()),
        }))
    }
}
