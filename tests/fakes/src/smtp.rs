//! A mail relay, as a sender sees it (RFC 5321): EHLO, AUTH PLAIN, MAIL, RCPT, DATA, RSET, NOOP, QUIT, one command at a time.
//!
//! | route | |
//! |---|---|
//! | `POST /fake/smtp/unregister` | `{address}`: nobody has this box; 550 5.1.1 |
//!
//! Calls in switches are `send`, decided once per message when its first recipient is named. A failure is answered to that recipient: its
//! status is the code of three digits, its code the one with dots, such as 450 and `4.2.1`. With `timeout` the content is
//! read and never answered; with `reset_after_accept` it is delivered before the connection is reset.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use mail_parser::MessageParser;
use serde::Deserialize;
use tokio::io::{self, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::control::{parse, refusal};
use crate::inbox::{self, Inbox};
use crate::switches::{Mode, Switches};

/// Its name in switches and on the command line.
pub const NAME: &str = "smtp";
/// The only user; nobody has to log in.
pub const USER: &str = "bosingak";
/// The user's password.
pub const PASSWORD: &str = "password_of_the_fakes";

const LINE_BYTES_MAX: u64 = 1_024;
const CONTENT_BYTES_MAX: usize = 1 << 20;
const RECIPIENTS_MAX: usize = 100;
const UNREGISTERED_MAX: usize = 100_000;

/// The relay, in memory. Clones are the same relay.
#[derive(Clone)]
pub(crate) struct Smtp(Arc<Inner>);

struct Inner {
    switches: Switches,
    inbox: Inbox,
    unregistered: Mutex<BTreeSet<String>>,
}

impl Smtp {
    pub(crate) fn new(switches: Switches, inbox: Inbox) -> Self {
        Smtp(Arc::new(Inner { switches, inbox, unregistered: Mutex::default() }))
    }

    pub(crate) fn control(&self) -> Router {
        Router::new().route("/fake/smtp/unregister", post(unregister)).with_state(self.clone())
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve(&self, stream: TcpStream) {
        let mut session = Session { relay: self.clone(), stream: BufReader::new(stream), mail: None };
        // How a connection ended concerns its caller only.
        let _ = session.run().await;
    }

    fn unregistered(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.unregistered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver(&self, recipients: &[String], content: &[u8]) -> String {
        let parsed = MessageParser::default().parse(content);
        let text = |value: Option<&str>| value.unwrap_or_default().trim().to_owned();
        let (mut id, mut from, mut title, mut body) = (String::new(), String::new(), String::new(), String::new());
        if let Some(message) = &parsed {
            id = text(message.message_id());
            title = text(message.subject());
            body = text(message.body_text(0).as_deref());
            let sender = message.from().and_then(|from| from.first());
            from = sender.map_or_else(String::new, |sender| text(sender.name().or(sender.address())));
        }
        for to in recipients {
            self.0.inbox.deliver(inbox::Message {
                provider: NAME,
                channel: "email",
                provider_id: format!("<{id}>"),
                to: inbox::normal(to),
                from: from.clone(),
                title: Some(title.clone()).filter(|title| !title.is_empty()),
                body: body.replace("\r\n", "\n"),
                links: Vec::new(),
                tag: id.split_once('@').map(|(tag, _)| tag.to_owned()),
                at: self.0.inbox.clock().now(),
            });
        }
        id
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Gone {
    address: String,
}

async fn unregister(State(smtp): State<Smtp>, body: Bytes) -> Response {
    let Gone { address } = match parse(&body) {
        Ok(gone) => gone,
        Err(response) => return *response,
    };
    let mut unregistered = smtp.unregistered();
    if unregistered.len() == UNREGISTERED_MAX {
        return refusal(StatusCode::BAD_REQUEST, "address", "at most 100000 addresses expected");
    }
    unregistered.insert(inbox::normal(&address));
    StatusCode::NO_CONTENT.into_response()
}

struct Session {
    relay: Smtp,
    stream: BufReader<TcpStream>,
    mail: Option<Mail>,
}

/// What MAIL began.
#[derive(Default)]
struct Mail {
    recipients: Vec<String>,
    /// What happens to it, once its first recipient is named.
    mode: Option<Mode>,
}

impl Session {
    async fn run(&mut self) -> io::Result<()> {
        self.say("220 fakes ESMTP").await?;
        while let Some(line) = self.line().await? {
            let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match verb.to_ascii_uppercase().as_str() {
                "EHLO" | "HELO" => {
                    self.mail = None;
                    self.say(
                        "250-fakes\r\n250-SIZE 1048576\r\n250-8BITMIME\r\n250-AUTH PLAIN\r\n250 ENHANCEDSTATUSCODES",
                    )
                    .await?;
                }
                "AUTH" => self.log_in(rest).await?,
                "MAIL" if address(rest, "FROM:").is_none() => {
                    self.say("501 5.5.4 MAIL FROM:<address> expected").await?
                }
                "MAIL" if self.mail.is_some() => self.say("503 5.5.1 one message at a time").await?,
                "MAIL" => {
                    self.mail = Some(Mail::default());
                    self.say("250 2.1.0 ok").await?;
                }
                "RCPT" => self.recipient(rest).await?,
                "DATA" => {
                    if !self.content().await? {
                        return Ok(());
                    }
                }
                "RSET" => {
                    self.mail = None;
                    self.say("250 2.0.0 ok").await?;
                }
                "NOOP" => self.say("250 2.0.0 ok").await?,
                "QUIT" => return self.say("221 2.0.0 bye").await,
                _ => self.say("502 5.5.1 no such command").await?,
            }
        }
        Ok(())
    }

    async fn recipient(&mut self, rest: &str) -> io::Result<()> {
        let Some(mail) = &mut self.mail else { return self.say("503 5.5.1 MAIL first").await };
        let Some(to) = address(rest, "TO:").filter(|to| to.contains('@')) else {
            return self.say("501 5.1.3 RCPT TO:<address> expected").await;
        };
        if mail.recipients.len() == RECIPIENTS_MAX {
            return self.say("452 4.5.3 too many recipients").await;
        }
        let mode = mail.mode.get_or_insert_with(|| self.relay.0.switches.decide(NAME, "send"));
        if let Mode::Fail(failure) = mode {
            let answer = format!("{} {} {}", failure.status, failure.code, failure.message);
            self.mail = None;
            return self.say(&answer).await;
        }
        if self.relay.unregistered().contains(&inbox::normal(&to)) {
            return self.say(&format!("550 5.1.1 <{to}>: nobody has this box")).await;
        }
        mail.recipients.push(to);
        self.say("250 2.1.5 ok").await
    }

    /// Whether the connection goes on.
    async fn content(&mut self) -> io::Result<bool> {
        if self.mail.as_ref().is_none_or(|mail| mail.recipients.is_empty()) {
            self.say("503 5.5.1 RCPT first").await?;
            return Ok(true);
        }
        self.say("354 go on").await?;
        let Some(content) = self.read_content().await? else {
            self.mail = None;
            self.say("552 5.3.4 at most 1048576 bytes expected").await?;
            return Ok(true);
        };
        let Mail { recipients, mode } = self.mail.take().unwrap_or_default();
        match mode.unwrap_or_default() {
            Mode::Timeout => {
                // Until the caller gives up.
                io::copy(&mut self.stream, &mut io::sink()).await?;
                return Ok(false);
            }
            Mode::Refuse => return Ok(false),
            Mode::ResetAfterAccept => {
                self.relay.deliver(&recipients, &content);
                rustix::net::sockopt::set_socket_linger(self.stream.get_ref(), Some(Duration::ZERO))?;
                return Ok(false);
            }
            Mode::Slow { ms } => {
                let id = self.relay.deliver(&recipients, &content);
                tokio::time::sleep(Duration::from_millis(ms)).await;
                self.say(&format!("250 2.0.0 taken as {id}")).await?;
            }
            Mode::Ok | Mode::Fail(_) => {
                let id = self.relay.deliver(&recipients, &content);
                self.say(&format!("250 2.0.0 taken as {id}")).await?;
            }
        }
        Ok(true)
    }

    /// Up to the line with a dot alone; `None` when it is too long.
    async fn read_content(&mut self) -> io::Result<Option<Vec<u8>>> {
        let (mut content, mut too_long) = (Vec::new(), false);
        loop {
            let mut line = Vec::new();
            (&mut self.stream).take(CONTENT_BYTES_MAX as u64).read_until(b'\n', &mut line).await?;
            if line.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line == b".\r\n" {
                return Ok((!too_long).then_some(content));
            }
            // A dot that begins a line was doubled on the way.
            let line = line.strip_prefix(b".").unwrap_or(&line);
            too_long |= content.len() + line.len() > CONTENT_BYTES_MAX;
            if !too_long {
                content.extend_from_slice(line);
            }
        }
    }

    async fn log_in(&mut self, rest: &str) -> io::Result<()> {
        let Some(("PLAIN", answer)) = rest.split_once(' ') else {
            return self.say("504 5.5.4 AUTH PLAIN with its answer expected").await;
        };
        let expected = format!("\0{USER}\0{PASSWORD}");
        let is_right = BASE64_STANDARD.decode(answer.trim()).is_ok_and(|given| given == expected.as_bytes());
        self.say(if is_right { "235 2.7.0 welcome" } else { "535 5.7.8 wrong user or password" }).await
    }

    async fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        (&mut self.stream).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
        if !line.ends_with(b"\n") {
            return Ok(None);
        }
        Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()))
    }

    async fn say(&mut self, answer: &str) -> io::Result<()> {
        self.stream.write_all(format!("{answer}\r\n").as_bytes()).await
    }
}

/// The address in `FROM:<address> …`.
fn address(rest: &str, word: &str) -> Option<String> {
    let named = rest.get(..word.len()).filter(|start| start.eq_ignore_ascii_case(word)).map(|_| &rest[word.len()..])?;
    let (address, _) = named.trim_start().strip_prefix('<')?.split_once('>')?;
    Some(address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_out_of_commands() {
        assert_eq!(address("FROM:<a@b.c> BODY=8BITMIME", "FROM:").as_deref(), Some("a@b.c"));
        assert_eq!(address("to: <a@b.c>", "TO:").as_deref(), Some("a@b.c"));
        assert_eq!(address("FROM:<>", "FROM:").as_deref(), Some(""));
        for wrong in ["", "FROM", "FROM:a@b.c", "FROM:<a@b.c", "한글:<a>"] {
            assert_eq!(address(wrong, "FROM:"), None, "{wrong}");
        }
    }
}
