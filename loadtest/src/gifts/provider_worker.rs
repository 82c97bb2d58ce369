//! The role of a process that stands in for the providers outside, and tells of every message and payment on standard output.

use std::io::{BufRead, BufWriter, Write};
use std::sync::mpsc;
use std::time::Duration;

use fakes::{Fakes, Options};

use super::lines::{Asked, Ledger, Said};

/// The argument that makes this binary the providers.
pub const ROLE: &str = "gift-providers";

/// Lines that wait to be written; beyond that providers answer later.
const LINES_MAX: usize = 65_536;

/// Serves until standard input ends.
///
/// # Errors
///
/// When there are no ports.
pub async fn run(_arguments: &[String]) -> anyhow::Result<()> {
    let fakes = Fakes::start(Options::default()).await?;
    let (lines, outbox) = mpsc::sync_channel::<String>(LINES_MAX);
    let writer = std::thread::spawn(move || write(&outbox));
    let messages = lines.clone();
    fakes.inbox().listen(move |message| {
        let said = Said::Message {
            at_us: message.at.as_microsecond(),
            to: &message.to,
            // A template of ours is one word; a text message has no title.
            template: message.title.as_deref().filter(|title| !title.contains(' ')).unwrap_or("-"),
            link: message.links.first().map_or("", |link| &link.url),
        };
        drop(messages.send(said.to_string()));
    });
    for (provider, address) in fakes.providers() {
        drop(lines.send(Said::At { provider, address: &address.to_string() }.to_string()));
    }
    drop(lines.send(Said::Ready.to_string()));
    let toss = fakes.toss().clone();
    let answers = lines.clone();
    let asked = tokio::task::spawn_blocking(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let answer = match Asked::read(&line) {
                Some(Asked::Pay { order, won }) => match toss.pay(order, won) {
                    Ok(key) => Said::Payment { order, key: &key }.to_string(),
                    Err(error) => Said::NoPayment { order, reason: &error.to_string() }.to_string(),
                },
                Some(Asked::Ledger) => {
                    let ledger = toss.ledger(0);
                    let (captured_won, refunded_won) = (ledger.captured_won, ledger.refunded_won);
                    Said::Ledger(Ledger { captured_won, refunded_won }).to_string()
                }
                None => continue,
            };
            if answers.send(answer).is_err() {
                return;
            }
        }
    });
    asked.await?;
    fakes.shutdown().await;
    // The listener lives in the inbox, which connections may hold; whoever started us is gone anyway.
    drop((lines, writer));
    Ok(())
}

/// Writes lines in large pieces while they come, and at once when they stop.
fn write(outbox: &mpsc::Receiver<String>) {
    let mut out = BufWriter::with_capacity(256 << 10, std::io::stdout().lock());
    loop {
        let written = match outbox.recv_timeout(Duration::from_millis(2)) {
            Ok(line) => out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n")),
            Err(mpsc::RecvTimeoutError::Timeout) => out.flush(),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                drop(out.flush());
                return;
            }
        };
        if written.is_err() {
            return;
        }
    }
}
