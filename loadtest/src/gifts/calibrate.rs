//! How fast the providers are when nothing else is at work: what a run cannot be faster than.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::providers::Providers;

/// Calls of a calibration.
const CALLS: usize = 2_000;
/// Connections they are made over.
const CONNECTIONS: usize = 16;
/// Won of each payment: the least a card takes.
const WON: u64 = 100;
/// What a calibration leaves in the provider's books.
pub const WON_IN_ALL: u64 = CALLS as u64 * WON;

/// Confirms payments of nobody's gifts, as the executors do; returns how many a second.
///
/// # Errors
///
/// When a provider does not do what it is there for.
pub async fn confirms_per_s(providers: &Providers) -> anyhow::Result<f64> {
    let address = providers.address(fakes::toss::NAME)?.to_owned();
    let mut payments = Vec::new();
    for number in 0..CALLS {
        let order = format!("calibration-{number}");
        payments.push((providers.pay(&order, WON).await?, order));
    }
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for share in payments.chunks(CALLS.div_ceil(CONNECTIONS)) {
        callers.spawn(confirm(address.clone(), share.to_vec()));
    }
    while let Some(confirmed) = callers.join_next().await {
        confirmed??;
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = CALLS as f64 / began.elapsed().max(Duration::from_micros(1)).as_secs_f64();
    Ok(rate)
}

/// One connection, one payment after the other.
async fn confirm(address: String, payments: Vec<(String, String)>) -> anyhow::Result<()> {
    let mut stream = BufReader::new(TcpStream::connect(&address).await?);
    // The key and a colon, as Toss Payments has it.
    let authorization = BASE64_STANDARD.encode(format!("{}:", fakes::toss::SECRET_KEY));
    for (key, order) in payments {
        let body = serde_json::json!({ "paymentKey": key, "orderId": order, "amount": WON }).to_string();
        let head = format!(
            "POST /v1/payments/confirm HTTP/1.1\r\nhost: {address}\r\nauthorization: Basic {authorization}\r\n\
             content-type: application/json\r\nidempotency-key: {order}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await?;
        let (status, body) = answer(&mut stream).await?;
        ensure!(status == 200, "a payment was not confirmed: {status} {body}");
    }
    Ok(())
}

/// Status and body of an answer with a length.
async fn answer(stream: &mut BufReader<TcpStream>) -> anyhow::Result<(u16, String)> {
    let (mut status, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        ensure!(stream.read_line(&mut line).await? > 0, "the provider hung up");
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        match (status, line.split_once(": ")) {
            (None, _) => status = line.split(' ').nth(1).and_then(|code| code.parse().ok()),
            (_, Some(("content-length", text))) => length = text.parse().context("content-length")?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((status.context("no status")?, String::from_utf8_lossy(&body).into_owned()))
}
