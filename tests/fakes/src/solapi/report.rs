//! Reports of what became of messages, posted to whoever asked, as often as they asked for: providers repeat themselves.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Uri, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Reports that wait to be posted; more are dropped, with a warning.
const WAITING_MAX: usize = 10_000;
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
struct Receiver {
    uri: Uri,
    copies: usize,
}

pub(super) struct Reporter {
    receiver: Arc<Mutex<Option<Receiver>>>,
    queue: mpsc::Sender<(Receiver, Value)>,
}

impl Reporter {
    /// Posts from a task of the current runtime, one report after the other, until this is dropped.
    pub(super) fn start() -> Self {
        let (queue, mut reports) = mpsc::channel::<(Receiver, Value)>(WAITING_MAX);
        tokio::spawn(async move {
            while let Some((receiver, message)) = reports.recv().await {
                let body = json!([message]).to_string();
                for _ in 0..receiver.copies {
                    let posted = tokio::time::timeout(TIMEOUT, post(&receiver.uri, body.clone())).await;
                    if !matches!(posted, Ok(Ok(()))) {
                        tracing::warn!(uri = %receiver.uri, ?posted, "a report was not taken");
                    }
                }
            }
        });
        Reporter { receiver: Arc::default(), queue }
    }

    pub(super) fn set(&self, url: Option<&str>, copies: usize) -> Result<(), (&'static str, &'static str)> {
        if !(1..=10).contains(&copies) {
            return Err(("copies", "1..=10 expected"));
        }
        let loopback = ["127.0.0.1", "localhost", "[::1]"];
        let receiver = match url.map(str::parse::<Uri>) {
            None => None,
            Some(Ok(uri))
                if uri.scheme_str() == Some("http")
                    && uri.host().is_some_and(|host| loopback.contains(&host))
                    && uri.port().is_some() =>
            {
                Some(Receiver { uri, copies })
            }
            Some(_) => return Err(("url", "http:// with a loopback host and a port expected")),
        };
        *self.receiver.lock().unwrap_or_else(PoisonError::into_inner) = receiver;
        Ok(())
    }

    pub(super) fn report(&self, message: Value) {
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(receiver) = receiver else { return };
        if self.queue.try_send((receiver, message)).is_err() {
            tracing::warn!("a report was dropped: {WAITING_MAX} wait already");
        }
    }
}

async fn post(uri: &Uri, body: String) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or_default());
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, port)).await.map_err(|error| text(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    let request = Request::post(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, uri.authority().map_or("", |authority| authority.as_str()))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .map_err(|error| text(&error))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| text(&error))?;
        if response.status().is_success() { Ok(()) } else { Err(format!("HTTP {}", response.status())) }
    };
    tokio::select! {
        biased;
        answer = answer => answer,
        ended = connection => Err(format!("the connection ended: {ended:?}")),
    }
}
