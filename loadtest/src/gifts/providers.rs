//! The process of the providers, from the outside: it is told who pays, and tells what arrived on whose phone.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use harness::proc_stat::{self, Usage};
use harness::process::{Process, Program};
use tokio::sync::{oneshot, watch};

use super::SharedGifts;
use super::lines::{Asked, Ledger, Said};
use super::provider_worker::ROLE;

/// Nothing that is asked of the providers takes as long.
const WITHIN: Duration = Duration::from_secs(30);

/// The providers; the process ends with this value.
#[derive(Debug)]
pub struct Providers {
    process: Process,
    stdin: Mutex<ChildStdin>,
    waiting: Arc<Mutex<Waiting>>,
    addresses: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct Waiting {
    payments: HashMap<String, oneshot::Sender<Result<String, String>>>,
    ledgers: VecDeque<oneshot::Sender<Ledger>>,
}

impl Providers {
    /// Starts the process and waits until it listens. Messages are told to `gifts`.
    ///
    /// # Errors
    ///
    /// When it cannot be started or does not say where it listens.
    pub async fn start(log_in: &Path, gifts: &SharedGifts) -> anyhow::Result<Self> {
        let mut process = Process::start(Program {
            name: "providers".into(),
            log: log_in.join("providers.log"),
            binary: std::env::current_exe()?,
            arguments: vec![ROLE.into()],
            environment: Vec::new(),
            piped: true,
        })?;
        let (stdin, stdout) = process.pipes().context("providers without pipes")?;
        let waiting: Arc<Mutex<Waiting>> = Arc::default();
        let (ready, mut is_ready) = watch::channel(None);
        std::thread::spawn({
            let (waiting, gifts) = (waiting.clone(), gifts.clone());
            move || listen(stdout, &waiting, &gifts, &ready)
        });
        let addresses = tokio::time::timeout(WITHIN, is_ready.wait_for(Option::is_some)).await;
        let addresses = match addresses {
            Ok(Ok(addresses)) => addresses.clone().unwrap_or_default(),
            _ => bail!("the providers do not start: {}", process.log_tail(5)),
        };
        Ok(Self { process, stdin: Mutex::new(stdin), waiting, addresses })
    }

    /// Where a provider is, as `127.0.0.1:…`.
    ///
    /// # Errors
    ///
    /// When there is none of this name.
    pub fn address(&self, provider: &str) -> anyhow::Result<&str> {
        self.addresses.get(provider).map(String::as_str).with_context(|| format!("no provider {provider}"))
    }

    /// Somebody pays for an order in the browser; returns the key that the merchant confirms.
    ///
    /// # Errors
    ///
    /// What the provider says, or that it does not answer.
    pub async fn pay(&self, order: &str, won: u64) -> anyhow::Result<String> {
        let (told, answer) = oneshot::channel();
        lock(&self.waiting).payments.insert(order.to_owned(), told);
        self.ask(&Asked::Pay { order, won })?;
        let answer = tokio::time::timeout(WITHIN, answer).await.context("no answer from the providers")?;
        answer.context("the providers are gone")?.map_err(|reason| anyhow!("payment of {order}: {reason}"))
    }

    /// What the payment provider's books say.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn ledger(&self) -> anyhow::Result<Ledger> {
        let (told, answer) = oneshot::channel();
        lock(&self.waiting).ledgers.push_back(told);
        self.ask(&Asked::Ledger)?;
        let answer = tokio::time::timeout(WITHIN, answer).await.context("no answer from the providers")?;
        answer.context("the providers are gone")
    }

    /// What the process has used.
    #[must_use]
    pub fn usage(&self) -> Usage {
        proc_stat::usage(self.process.pid())
    }

    /// Refuses when the process has exited.
    ///
    /// # Errors
    ///
    /// How, and the end of its log.
    pub fn none_exited(&mut self) -> anyhow::Result<()> {
        match self.process.exited()? {
            Some(status) => bail!("the providers exited, {status}: {}", self.process.log_tail(5)),
            None => Ok(()),
        }
    }

    fn ask(&self, asked: &Asked<'_>) -> anyhow::Result<()> {
        let mut stdin = lock(&self.stdin);
        writeln!(stdin, "{asked}").context("the providers do not listen")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads lines until the process is gone; gifts are locked once per piece that arrived.
fn listen(
    mut stdout: ChildStdout,
    waiting: &Mutex<Waiting>,
    gifts: &SharedGifts,
    ready: &watch::Sender<Option<BTreeMap<String, String>>>,
) {
    let mut addresses = BTreeMap::new();
    let (mut piece, mut rest) = (vec![0; 256 << 10], Vec::new());
    while let Ok(length @ 1..) = stdout.read(&mut piece) {
        rest.extend_from_slice(&piece[..length]);
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { continue };
        let lines = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest.drain(..=end);
        let mut gifts = lock(gifts);
        for said in lines.lines().filter_map(Said::read) {
            match said {
                Said::At { provider, address } => drop(addresses.insert(provider.to_owned(), address.to_owned())),
                Said::Ready => drop(ready.send_replace(Some(std::mem::take(&mut addresses)))),
                Said::Payment { order, key } => answer(waiting, order, Ok(key.to_owned())),
                Said::NoPayment { order, reason } => answer(waiting, order, Err(reason.to_owned())),
                Said::Ledger(ledger) => {
                    if let Some(told) = lock(waiting).ledgers.pop_front() {
                        // Whoever asked may have given up.
                        let _ = told.send(ledger);
                    }
                }
                Said::Message { at_us, to, template, link } => gifts.hear(at_us, to, template, link),
            }
        }
    }
}

fn answer(waiting: &Mutex<Waiting>, order: &str, answer: Result<String, String>) {
    if let Some(told) = lock(waiting).payments.remove(order) {
        drop(told.send(answer));
    }
}
