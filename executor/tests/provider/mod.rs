//! A shop that uses the adapter, with a provider of its own.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use executor::providers::payment::{
    Cancel, CancelOutcome, Confirm, ConfirmOutcome, PaymentProvider, PaymentRef, QueryOutcome,
};
use executor::providers::toss::{self, Toss};
use fakes::switches::Switch;
use fakes::toss::{NAME, NewPayment};
use fakes::{Fakes, Options};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle};
use tokio_rustls::TlsAcceptor;

/// What everything costs here.
pub const WON: u64 = 10_000;
/// For the provider to answer; a test that waits for it to pass waits this long.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The adapter, and the provider it talks to.
pub struct Shop {
    pub fakes: Fakes,
    pub toss: Box<dyn PaymentProvider>,
    _key: NamedTempFile,
}

impl Shop {
    pub async fn open() -> Shop {
        let fakes = Fakes::start(Options::default()).await.expect("ports");
        let (key, config) = config(fakes.url_of(NAME), fakes::toss::SECRET_KEY);
        let toss = Toss::new(&config).expect("settings are right");
        Shop { fakes, toss: Box::new(toss), _key: key }
    }

    pub async fn close(self) {
        self.fakes.shutdown().await;
    }

    /// Settings for this provider, with this key in a file.
    pub fn config(&self, secret_key: &str) -> (NamedTempFile, toss::Config) {
        config(self.fakes.url_of(NAME), secret_key)
    }

    /// An order the customer has agreed to pay.
    pub fn order(&self, order_id: &str) -> Confirm {
        self.order_of(NewPayment::new(order_id, WON))
    }

    pub fn order_of(&self, new: NewPayment) -> Confirm {
        let order_id = new.order_id.clone();
        let payment_key = self.fakes.toss().pay_as(new).expect("a payment");
        confirm(&payment_key, &order_id)
    }

    pub fn refund(&self, of: &Confirm, won: u64, idempotency_key: &str) -> Cancel {
        refund(of, won, idempotency_key)
    }

    pub async fn confirm(&self, request: &Confirm) -> ConfirmOutcome {
        self.toss.confirm(request.clone()).await
    }

    pub async fn query(&self, of: &Confirm) -> QueryOutcome {
        self.toss.query(PaymentRef::Key(of.payment_key.clone())).await
    }

    pub async fn cancel(&self, request: &Cancel) -> CancelOutcome {
        self.toss.cancel(request.clone()).await
    }

    pub async fn switch(&self, switch: Switch) {
        self.fakes.switches().set(switch).await.expect("a switch");
    }

    /// Captures, and won.
    pub fn captured(&self) -> (u64, u64) {
        let ledger = self.fakes.toss().ledger(0);
        (ledger.captures, ledger.captured_won)
    }

    /// Refunds, and won.
    pub fn refunded(&self) -> (u64, u64) {
        let ledger = self.fakes.toss().ledger(0);
        (ledger.refunds, ledger.refunded_won)
    }

    /// Waits for what a caller did not wait for.
    pub async fn until_captured(&self, won: u64) {
        let captured = async {
            while self.captured().1 != won {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), captured).await.expect("the provider does what it accepted");
    }
}

pub fn confirm(payment_key: &str, order_id: &str) -> Confirm {
    Confirm {
        payment_key: payment_key.to_owned(),
        order_id: order_id.to_owned(),
        amount_won: WON,
        idempotency_key: format!("{order_id}/1"),
    }
}

pub fn refund(of: &Confirm, won: u64, idempotency_key: &str) -> Cancel {
    Cancel {
        payment_key: of.payment_key.clone(),
        reason: "받는 사람이 거절".to_owned(),
        amount_won: won,
        balance_won: None,
        idempotency_key: idempotency_key.to_owned(),
    }
}

pub fn key_file(secret_key: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file");
    writeln!(file, "{secret_key}").expect("written");
    file
}

fn config(base_url: String, secret_key: &str) -> (NamedTempFile, toss::Config) {
    let key = key_file(secret_key);
    let mut config = toss::Config::new(key.path());
    config.endpoint.base_url = base_url;
    config.endpoint.timeout = TIMEOUT;
    (key, config)
}

/// An adapter whose provider answers every request with these bytes and hangs up.
pub async fn says(answer: String) -> (Toss, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // The adapter may hang up first.
            let _ = say(stream, &answer).await;
        }
    });
    let (_key, config) = config(format!("http://{address}"), "test_sk_1");
    (Toss::new(&config).expect("settings are right"), serving)
}

async fn say(mut stream: TcpStream, answer: &str) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !is_whole(&request) {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Whether head and body have arrived: what is closed with something unread is reset, and the answer lost.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_none_or(|length| length.parse() == Ok(body.len()))
}

/// TLS in front of a provider, with a certificate nobody knows.
pub struct TlsFront {
    address: SocketAddr,
    certificate: NamedTempFile,
    serving: AbortHandle,
}

impl TlsFront {
    pub async fn before(provider: SocketAddr) -> TlsFront {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("a configuration");
        let mut certificate = NamedTempFile::new().expect("a file");
        certificate.write_all(cert.pem().as_bytes()).expect("written");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // Whoever does not trust us hangs up.
                    let Ok(mut inside) = acceptor.accept(stream).await else { return };
                    let Ok(mut outside) = TcpStream::connect(provider).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
                });
            }
        });
        TlsFront { address, certificate, serving: serving.abort_handle() }
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub fn ca_file(&self) -> PathBuf {
        self.certificate.path().to_owned()
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
