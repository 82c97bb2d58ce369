//! A cluster, two executors of gifts, and everybody they call.

use std::path::Path;
use std::time::Duration;

use e2e::PATIENCE;
use fakes::Fakes;
use harness::process::{Process, Program};
use harness::{binary, wait};
use proto::admin::v1 as admin;
use proto::admin::v1::cluster_service_client::ClusterServiceClient;
use proto::gift::v1 as gift;
use proto::gift::v1::gift_service_client::GiftServiceClient;
use proto::payment::v1 as payment;
use proto::payment::v1::payment_service_client::PaymentServiceClient;
use proto::product::v1 as product;
use proto::product::v1::product_service_client::ProductServiceClient;
use tonic::transport::Channel;

/// Price of everything.
pub const WON: u64 = 4_500;

pub struct Scene {
    pub fakes: Fakes,
    nodes: Process,
    executors: Vec<Process>,
    channel: Channel,
    addresses: String,
    dir: tempfile::TempDir,
}

impl Scene {
    pub async fn start() -> Scene {
        let fakes = Fakes::start(fakes::Options::default()).await.expect("ports");
        let dir = tempfile::tempdir().expect("a directory");
        let ready = dir.path().join("ready");
        let arguments = ["dev", "--nodes", "3", "--clock", "virtual", "--port", "0"].map(Into::into).into_iter();
        let places = ["--data".into(), dir.path().join("data").into(), "--ready-file".into(), ready.clone().into()];
        let nodes = Process::start(Program {
            name: "bosingakd dev".into(),
            binary: binary::find("bosingakd").expect("built"),
            arguments: arguments.chain(places).collect(),
            environment: vec![],
            log: dir.path().join("nodes.log"),
            piped: false,
        })
        .expect("starts");
        let lines = wait::until("the nodes to serve", PATIENCE, || async {
            std::fs::read_to_string(&ready).map_err(|error| error.to_string())
        })
        .await
        .expect("ready");
        let addresses: Vec<String> = lines.lines().map(client_of).collect();
        let channel = Channel::from_shared(format!("http://{}", addresses[0])).expect("an address").connect_lazy();
        settings(dir.path(), &fakes);
        let addresses = addresses.join(",");
        let mut scene = Scene { fakes, nodes, executors: Vec::new(), channel, addresses, dir };
        scene.start_executor("one");
        scene.start_executor("two");
        let product = product::Product {
            id: "coffee".into(),
            name: "아메리카노 Tall".into(),
            brand: "별다방".into(),
            price_won: WON,
            on_sale: true,
            ..Default::default()
        };
        let request = product::PutProductRequest { product: Some(product), ..Default::default() };
        ProductServiceClient::new(scene.channel.clone()).put_product(request).await.expect("stored");
        scene
    }

    pub fn start_executor(&mut self, name: &str) {
        let arguments = ["--address", &self.addresses, "--name", name, "--gift"].map(Into::into).into_iter();
        self.executors.push(
            Process::start(Program {
                name: format!("executor {name}"),
                binary: binary::find("bosingak-executor").expect("built"),
                arguments: arguments.chain([self.dir.path().join("gift.toml").into()]).collect(),
                environment: vec![],
                log: self.dir.path().join(format!("executor-{name}.log")),
                piped: false,
            })
            .expect("starts"),
        );
    }

    /// Kills an executor where it stands.
    pub fn kill_executor(&mut self, number: usize) {
        self.executors[number].kill().expect("killed");
    }

    pub fn gifts(&self) -> GiftServiceClient<Channel> {
        GiftServiceClient::new(self.channel.clone())
    }

    pub async fn get(&self, id: &str) -> gift::Gift {
        let request = gift::GetGiftRequest { gift_id: id.into(), ..Default::default() };
        self.gifts().get_gift(request).await.expect("there").into_inner().gift.expect("a gift")
    }

    /// Seconds since 1970 by the cluster.
    pub async fn now(&self) -> i64 {
        self.advance(0).await
    }

    /// Moves time, until everything that falls due on the way is done.
    pub async fn advance(&self, seconds: i64) -> i64 {
        let by = prost_types::Duration { seconds, nanos: 0 };
        let request = admin::AdvanceClockRequest { target: Some(admin::advance_clock_request::Target::By(by)) };
        let answer = ClusterServiceClient::new(self.channel.clone()).advance_clock(request).await.expect("advanced");
        answer.into_inner().now.expect("a moment").seconds
    }

    /// Pays at the provider and reserves a gift to be sent in an hour.
    pub async fn reserve(&self, id: &str, phone: &str) -> gift::Gift {
        let payment_key = self.fakes.toss().pay(id, WON).expect("a payment");
        let send_at = prost_types::Timestamp { seconds: self.now().await + 3_600, nanos: 0 };
        let request = gift::ReserveRequest {
            gift_id: id.into(),
            product_id: "coffee".into(),
            sender: Some(gift::Party {
                id: "kim".into(),
                name: "김보신".into(),
                phone: "010-1111-2222".into(),
                ..Default::default()
            }),
            recipient: Some(gift::Party { name: "이종각".into(), phone: phone.into(), ..Default::default() }),
            message: "밸런타인데이 축하해 🎁".into(),
            send: Some(gift::SendTime { when: Some(gift::send_time::When::At(send_at)) }),
            payment: Some(gift::PaymentRequest { payment_key, amount_won: WON, ..Default::default() }),
            ..Default::default()
        };
        // The first one may come before the executors do.
        wait::until("the gift to be reserved", PATIENCE, || async {
            match self.gifts().reserve(request.clone()).await {
                Ok(answer) => {
                    let gift = answer.into_inner().gift.unwrap_or_default();
                    if gift.state() == gift::GiftState::PendingPayment { Err(format!("{gift:?}")) } else { Ok(gift) }
                }
                Err(status) => Err(status.to_string()),
            }
        })
        .await
        .unwrap_or_else(|problem| panic!("{problem}\n{}", self.logs()))
    }

    pub async fn until_state(&self, id: &str, state: gift::GiftState) -> gift::Gift {
        wait::until(&format!("{id} to be {state:?}"), PATIENCE, || async {
            let gift = self.get(id).await;
            if gift.state() == state { Ok(gift) } else { Err(format!("{gift:?}")) }
        })
        .await
        .unwrap_or_else(|problem| panic!("{problem}\n{}", self.logs()))
    }

    /// What the books of the cluster say, once they are of now.
    pub async fn reconciled(&self) -> payment::Balance {
        let now = self.now().await;
        let answer = wait::until("the books of now", PATIENCE, || async {
            self.advance(10).await;
            let request = payment::ReconcileRequest::default();
            let answer = PaymentServiceClient::new(self.channel.clone()).reconcile(request).await;
            let answer = answer.map_err(|status| status.to_string())?.into_inner();
            if answer.as_of.is_some_and(|as_of| as_of.seconds > now) { Ok(answer) } else { Err(format!("{answer:?}")) }
        })
        .await
        .expect("reconciled");
        assert_eq!(answer.difference_won, 0);
        answer.total.expect("a total")
    }

    /// Links to gifts in what somebody's phone shows.
    pub fn links(&self, phone: &str) -> Vec<String> {
        let messages = self.fakes.inbox().at(phone);
        let words = messages.iter().flat_map(|message| message.body.split_whitespace());
        words.filter(|word| word.starts_with("http")).map(str::to_owned).collect()
    }

    fn logs(&self) -> String {
        let logs = self.executors.iter().map(|executor| executor.log_tail(20));
        format!("{}\n{}", self.nodes.log_tail(20), logs.collect::<Vec<_>>().join("\n"))
    }

    pub async fn end(mut self) {
        for executor in &mut self.executors {
            if executor.exited().expect("asked").is_none() {
                executor.terminate(Duration::from_secs(30)).expect("ends");
            }
        }
        self.nodes.terminate(Duration::from_secs(30)).expect("ends");
        self.fakes.shutdown().await;
    }
}

fn client_of(line: &str) -> String {
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    line["client"].as_str().expect("an address").to_owned()
}

/// As an operator would write them.
fn settings(dir: &Path, fakes: &Fakes) {
    std::fs::write(dir.join("toss.key"), fakes::toss::SECRET_KEY).expect("written");
    std::fs::write(dir.join("solapi.secret"), fakes::solapi::API_SECRET).expect("written");
    let (toss, solapi) = (fakes.url_of(fakes::toss::NAME), fakes.url_of(fakes::solapi::NAME));
    let text = format!(
        "settle_ms = 100\n\
         [toss]\nsecret_key_file = \"toss.key\"\nbase_url = \"{toss}\"\n\
         [solapi]\napi_key = \"{}\"\napi_secret_file = \"solapi.secret\"\nsender = \"{}\"\nbase_url = \"{solapi}\"\n",
        fakes::solapi::API_KEY,
        fakes::solapi::SENDER,
    );
    std::fs::write(dir.join("gift.toml"), text).expect("written");
}
