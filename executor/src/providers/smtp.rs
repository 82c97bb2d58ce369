//! SMTP: e-mail by way of a relay.
//!
//! What the protocol says (RFC 5321, RFC 3463 for the codes with dots), and what follows here:
//!
//! - A message is the relay's from the moment it answers the end of the content with 250. What breaks before that end is sent was not
//!   taken; what breaks after it may have been, and nobody can be asked.
//! - 4xx means later, 5xx never; 5xx with 5.1.1, 5.1.6, 5.1.10 or 5.2.1 for the recipient means that nobody has this address.
//! - `Message-ID` is made of [`tag`](super::message::tag), the same for every attempt: mail boxes of the larger providers show one that comes
//!   twice once. That is a habit of theirs and no promise, hence [`Idempotency::None`].
//!
//! Connections are kept for the next message, a few at most, and asked with NOOP before they are used again.

mod content;
mod session;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::address::Address;
use super::message::{Channel, FindOutcome, Idempotency, InvalidMessage, Message, MessageProvider, SendOutcome};
use super::{Error, Secret};
use content::Content;
use session::{Broken, Stage, judge};

/// How the way to the relay is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// From the first byte; port 465.
    Implicit,
    /// After STARTTLS, which the relay has to offer; port 587.
    StartTls,
    /// Not at all; loopback hosts only.
    None,
}

/// Settings of a relay.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name or address of the relay.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the way there is protected.
    pub tls: Tls,
    /// The user to log in as, if any; needs `password_file`.
    pub user: Option<String>,
    /// A file with the password and nothing else.
    pub password_file: Option<PathBuf>,
    /// Who the messages are from: `gifts@example.com` or `보신각 <gifts@example.com>`.
    pub sender: String,
    /// For connecting and everything up to the content together, and once more for the content; 100 ms to 120 s.
    pub timeout: Duration,
    /// Connections at a time, 1 to 100; further messages wait for one.
    pub connections_max: usize,
}

impl Config {
    /// With TLS from the first byte on port 465, without log-in, 30 s and 4 connections.
    pub fn new(host: impl Into<String>, sender: impl Into<String>) -> Self {
        Config {
            host: host.into(),
            port: 465,
            tls: Tls::Implicit,
            user: None,
            password_file: None,
            sender: sender.into(),
            timeout: Duration::from_secs(30),
            connections_max: 4,
        }
    }
}

/// E-mail by way of one relay. Cheap to clone.
#[derive(Clone)]
pub struct Smtp(Arc<Relay>);

struct Relay {
    host: String,
    port: u16,
    tls: Tls,
    parameters: Option<TlsParameters>,
    credentials: Option<Credentials>,
    sender: Mailbox,
    hello: ClientId,
    timeout: Duration,
    places: Semaphore,
    /// Never more than there are places.
    idle: Mutex<Vec<AsyncSmtpConnection>>,
}

impl Smtp {
    /// Reads the password; calls nobody.
    pub fn new(config: Config) -> Result<Self, Error> {
        let Config { host, port, tls, user, password_file, sender, timeout, connections_max } = config;
        let name = |b: u8| b.is_ascii_alphanumeric() || b"-.:".contains(&b);
        if host.is_empty() || !host.bytes().all(name) {
            return Err(Error::new("host", "a name or an address is expected"));
        }
        if tls == Tls::None && !is_loopback(&host) {
            return Err(Error::new("tls", "none is allowed to loopback hosts only"));
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(120)).contains(&timeout) {
            return Err(Error::new("timeout", format!("100 ms to 120 s are expected, not {timeout:?}")));
        }
        if !(1..=100).contains(&connections_max) {
            return Err(Error::new("connections_max", format!("1 to 100 are expected, not {connections_max}")));
        }
        let sender: Mailbox =
            sender.parse().map_err(|_| Error::new("sender", "an e-mail address is expected, or `name <address>`"))?;
        let credentials = match (user, password_file) {
            (Some(user), Some(file)) => {
                Some(Credentials::new(user, Secret::from_file("password_file", &file)?.expose().to_owned()))
            }
            (None, None) => None,
            (Some(_), None) => {
                return Err(Error::new("password_file", "a file is expected where a user is given"));
            }
            (None, Some(_)) => return Err(Error::new("user", "a user is expected where a password is given")),
        };
        let parameters = match tls {
            Tls::Implicit | Tls::StartTls => {
                Some(TlsParameters::new_rustls(host.clone()).map_err(|error| Error::new("tls", error.to_string()))?)
            }
            Tls::None => None,
        };
        let hello = ClientId::Domain(sender.email.domain().to_owned());
        Ok(Smtp(Arc::new(Relay {
            host,
            port,
            tls,
            parameters,
            credentials,
            sender,
            hello,
            timeout,
            places: Semaphore::new(connections_max),
            idle: Mutex::default(),
        })))
    }

    async fn send_once(&self, message: &Message) -> SendOutcome {
        let relay = &self.0;
        let content = match Content::new(&relay.sender, message) {
            Ok(content) => content,
            Err(invalid) => return invalid.into(),
        };
        let place = timeout(relay.timeout, relay.places.acquire()).await;
        let Ok(Ok(_place)) = place else {
            return SendOutcome::Later { after: None, error: "no connection was free in time".to_owned() };
        };
        match relay.attempt(&content).await {
            Ok(()) => SendOutcome::Accepted { provider_id: content.message_id },
            Err(broken) => judge(broken, &message.to),
        }
    }
}

impl std::fmt::Debug for Smtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Relay { host, port, tls, .. } = &*self.0;
        f.debug_struct("Smtp").field("host", host).field("port", port).field("tls", tls).finish_non_exhaustive()
    }
}

impl MessageProvider for Smtp {
    fn name(&self) -> &'static str {
        "smtp"
    }

    fn channel(&self) -> Channel {
        Channel::Email
    }

    fn idempotency(&self) -> Idempotency {
        Idempotency::None
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, SendOutcome> {
        Box::pin(self.send_once(message))
    }

    fn query<'a>(&'a self, _: &'a str, _: &'a Address, _: SystemTime) -> BoxFuture<'a, FindOutcome> {
        Box::pin(async { FindOutcome::CannotTell { reason: "SMTP has no way to ask for a message".to_owned() } })
    }
}

impl Relay {
    /// One message over one connection. A connection is kept only if everything went well.
    async fn attempt(&self, content: &Content) -> Result<(), Broken> {
        let mut stage = Stage::Connect;
        let prepared = timeout(self.timeout, self.announce(content, &mut stage)).await;
        let mut connection = match prepared {
            Ok(connection) => connection.map_err(|error| Broken::of(stage, &error))?,
            Err(_) => return Err(Broken::out_of_time(stage)),
        };
        let taken = timeout(self.timeout, connection.message(&content.bytes)).await;
        match taken {
            Ok(answer) => answer.map_err(|error| Broken::of(Stage::Content, &error))?,
            Err(_) => return Err(Broken::out_of_time(Stage::Content)),
        };
        self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(connection);
        Ok(())
    }

    /// Everything up to the permission to send the content.
    async fn announce(
        &self,
        content: &Content,
        stage: &mut Stage,
    ) -> Result<AsyncSmtpConnection, lettre::transport::smtp::Error> {
        let mut connection = match self.kept().await {
            Some(connection) => connection,
            None => self.connect(stage).await?,
        };
        *stage = Stage::Sender;
        connection.command(Mail::new(Some(self.sender.email.clone()), vec![])).await?;
        *stage = Stage::Recipient;
        connection.command(Rcpt::new(content.to.clone(), vec![])).await?;
        *stage = Stage::Data;
        connection.command(Data).await?;
        Ok(connection)
    }

    /// A connection from before that still answers.
    async fn kept(&self) -> Option<AsyncSmtpConnection> {
        loop {
            let mut connection = self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).pop()?;
            if connection.test_connected().await {
                return Some(connection);
            }
        }
    }

    async fn connect(&self, stage: &mut Stage) -> Result<AsyncSmtpConnection, lettre::transport::smtp::Error> {
        let implicit = self.parameters.clone().filter(|_| self.tls == Tls::Implicit);
        let server = (self.host.as_str(), self.port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, Some(self.timeout), &self.hello, implicit, None).await?;
        if let (Tls::StartTls, Some(parameters)) = (self.tls, &self.parameters) {
            connection.starttls(parameters.clone(), &self.hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            *stage = Stage::LogIn;
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }
}

/// Whether this is a name or address of this machine.
fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn recipient(message: &Message) -> Result<lettre::Address, InvalidMessage> {
    let expected = || InvalidMessage::new("to", format!("an e-mail address is expected, not {}", message.to.kind()));
    message.to.as_email().and_then(|address| address.parse().ok()).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_settings_are_named() {
        let field = |change: fn(&mut Config)| {
            let mut config = Config::new("mail.example.com", "보신각 <gifts@example.com>");
            change(&mut config);
            Smtp::new(config).map(|_| "").unwrap_or_else(|error| error.field)
        };
        assert_eq!(field(|_| ()), "");
        assert_eq!(field(|c| c.host = "mail example".into()), "host");
        assert_eq!(field(|c| c.tls = Tls::None), "tls");
        assert_eq!(field(|c| (c.tls, c.host) = (Tls::None, "127.0.0.1".into())), "");
        assert_eq!(field(|c| c.sender = "gifts".into()), "sender");
        assert_eq!(field(|c| c.user = Some("u".into())), "password_file");
        assert_eq!(field(|c| c.password_file = Some("/nowhere".into())), "user");
        assert_eq!(field(|c| c.timeout = Duration::ZERO), "timeout");
        assert_eq!(field(|c| c.connections_max = 0), "connections_max");
    }
}
