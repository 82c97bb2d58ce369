//! Providers, a cluster, and the services of an executor that is set up from a file, as in production.

use std::fmt::Debug;
use std::time::{Duration, SystemTime};

use executor::business::Services;
use executor::business::config::Config;
use executor::{Delivery, Handler, Outcome};
use fakes::inbox::Message as Received;
use fakes::switches::Switch;
use fakes::{Fakes, Options};
use prost::Message;
use proto::gift::v1::{Party, SendWork};
use tokio::task::JoinHandle;

use crate::cluster::Cluster;

pub const PHONE: &str = "+821012345678";
pub const EMAIL: &str = "kim@example.com";
pub const DEVICE: &str = "dQw4:APA91b-_x";

pub struct World {
    pub fakes: Fakes,
    pub cluster: Cluster,
    pub services: Services,
    _files: tempfile::TempDir,
}

/// Time-outs that are never met, or met at once.
pub const PATIENT_MS: u64 = 60_000;
pub const HASTY_MS: u64 = 400;

impl World {
    pub async fn open() -> World {
        World::with(PATIENT_MS).await
    }

    pub async fn with(timeout_ms: u64) -> World {
        let fakes = Fakes::start(Options::default()).await.expect("ports");
        let cluster = Cluster::start().await;
        let files = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| std::fs::write(files.path().join(name), text).expect("written");
        write("toss.key", fakes::toss::SECRET_KEY);
        write("solapi.secret", fakes::solapi::API_SECRET);
        write("slack.url", &format!("{}{}", fakes.url_of(fakes::slack::NAME), fakes::slack::PATH));
        let token_uri = format!("{}/token", fakes.url_of(fakes::fcm::NAME));
        write("fcm.json", &fakes::fcm::service_account_file(&token_uri));
        let relay = fakes.addr_of(fakes::smtp::NAME);
        let settings = format!(
            r#"
            settle_ms = 0
            [toss]
            base_url = "{toss}"
            timeout_ms = {timeout_ms}
            secret_key_file = "toss.key"
            [solapi]
            base_url = "{solapi}"
            timeout_ms = {timeout_ms}
            api_key = "{api_key}"
            api_secret_file = "solapi.secret"
            sender = "{sender}"
            kakao_pf_id = "{pf_id}"
            [fcm]
            base_url = "{fcm}"
            timeout_ms = {timeout_ms}
            service_account_file = "fcm.json"
            [smtp]
            host = "{host}"
            port = {port}
            tls = "none"
            timeout_ms = {timeout_ms}
            sender = "보신각 <gifts@shop.example>"
            [slack]
            webhook_file = "slack.url"
            timeout_ms = {timeout_ms}
            [templates.gift.ko]
            id = "KA01TPgift"
            variables = {{ "보낸사람" = "sender", "상품" = "product", "내용" = "message" }}
            [templates.expires_soon.ko]
            id = "KA01TPexpires"
            variables = {{ "상품" = "product", "기한" = "expires_at" }}
            "#,
            toss = fakes.url_of(fakes::toss::NAME),
            solapi = fakes.url_of(fakes::solapi::NAME),
            fcm = fakes.url_of(fakes::fcm::NAME),
            api_key = fakes::solapi::API_KEY,
            sender = fakes::solapi::SENDER,
            pf_id = fakes::solapi::PF_ID,
            host = relay.ip(),
            port = relay.port(),
        );
        write("gift.toml", &settings);
        let config = Config::read(&files.path().join("gift.toml")).expect("settings");
        let (services, _) = config.services(cluster.client()).expect("settings are right");
        World { fakes, cluster, services, _files: files }
    }

    pub async fn close(self) {
        drop(self.cluster);
        self.fakes.shutdown().await;
    }

    pub async fn switch(&self, switch: Switch) {
        self.fakes.switches().set(switch).await.expect("a switch");
    }

    /// What arrived somewhere.
    pub fn inbox(&self, address: &str) -> Vec<Received> {
        self.fakes.inbox().at(address)
    }

    /// Waits for what nobody answers for.
    pub async fn until_received(&self, address: &str, messages: usize) {
        until("the message arrives", || self.inbox(address).len() == messages).await;
    }
}

/// Waits for a condition that others bring about.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let met = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), met).await.expect(what);
}

/// A delivery of this work, by the leader under which it was scheduled.
pub fn delivery(topic: &str, work: &impl Message, attempt: u32) -> Delivery {
    delivery_by(topic, work, attempt, attempt == 1)
}

/// One of which it is known that nobody had it before, or not.
pub fn delivery_by(topic: &str, work: &impl Message, attempt: u32, first: bool) -> Delivery {
    let now: prost_types::Timestamp = SystemTime::now().into();
    Delivery::from_proto(proto::v1::Delivery {
        namespace: "default".into(),
        id: format!("bosingak.gift.{{g}}.{topic}.7"),
        topic: topic.into(),
        payload: work.encode_to_vec().into(),
        generation: 7,
        attempt,
        first,
        due: Some(now),
        fired: Some(now),
        lease: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
        ..Default::default()
    })
}

/// The send trigger of a gift in a round.
pub fn send_work(gift: &str, round: u32) -> SendWork {
    SendWork { gift: gift.to_owned(), round }
}

/// An executor at work on it, which dies when the task is aborted.
pub fn working(handler: &impl Handler, delivery: Delivery) -> JoinHandle<Outcome> {
    tokio::spawn(handler.handle(delivery))
}

/// Ends an executor in the middle of its work.
pub async fn die(working: JoinHandle<Outcome>) {
    working.abort();
    assert!(working.await.is_err_and(|error| error.is_cancelled()), "it was still at work");
}

/// The result an outcome carries.
pub fn result<M: Message + Default + Debug>(outcome: &Outcome) -> M {
    let Outcome::Result(any) = outcome else { panic!("not a result: {outcome:?}") };
    let name = std::any::type_name::<M>().rsplit("::").next().expect("a name");
    assert!(any.type_url.ends_with(&format!(".{name}")), "{} is no {name}", any.type_url);
    M::decode(any.value.as_slice()).expect("its bytes")
}

/// The pause and error of a retry.
pub fn retry(outcome: Outcome) -> (Option<Duration>, String) {
    match outcome {
        Outcome::Retry { error, after } => (after, error),
        other => panic!("not a retry: {other:?}"),
    }
}

/// The error of a failure for good.
pub fn failure(outcome: Outcome) -> String {
    match outcome {
        Outcome::Fail { error } => error,
        other => panic!("not a failure: {other:?}"),
    }
}

/// Somebody with a phone and an e-mail address.
pub fn person() -> Party {
    Party { name: "김받음".into(), phone: PHONE.into(), email: EMAIL.into(), ..Party::default() }
}

/// Somebody with an e-mail address only.
pub fn correspondent() -> Party {
    Party { phone: String::new(), ..person() }
}
