//! The settings of the gift executors, as a TOML file.
//!
//! ```toml
//! # Default: those whose providers are configured: payment.* with [toss], gift.* and notify.* with any other.
//! topics = ["gift.send", "gift.find", "notify.sms"]
//! # What operators read: "ko" (default) or "en".
//! operator_language = "ko"
//! # How long a provider that lists what it took may take to list it: 0..=20,000 ms. Default 10,000.
//! settle_ms = 10000
//!
//! [toss]
//! secret_key_file = "toss.key"            # test_sk_… or live_sk_…
//! # base_url, timeout_ms (default 10,000), ca_file, rate_per_s: as below
//!
//! [solapi]                                # SMS; Kakao too, with kakao_pf_id
//! api_key = "NCS…"
//! api_secret_file = "solapi.secret"
//! sender = "02-123-4567"                  # a number registered there
//! kakao_pf_id = "KA01PF…"
//! rate_per_s = 100                        # calls of this process per channel; 1..=100,000. Default: no limit
//!
//! [fcm]                                   # push
//! service_account_file = "firebase.json"
//!
//! [smtp]                                  # e-mail
//! host = "smtp.example.com"
//! port = 465                              # default 465, with starttls 587, with none 25
//! tls = "implicit"                        # default; "starttls"; "none" to loopback hosts only
//! user = "gifts"
//! password_file = "smtp.password"
//! sender = "보신각 <gifts@example.com>"
//! timeout_ms = 30000                      # default
//! connections_max = 4                     # default
//!
//! [slack]                                 # the operators' room
//! webhook_file = "slack.url"
//!
//! [templates.gift.ko]                     # Kakao: one per subject and language
//! id = "KA01TP…"
//! variables = { "보낸사람" = "sender", "상품" = "product" }
//! ```
//!
//! Files are relative to the directory of the settings. Subjects are the [names](Subject::name) of [`Subject::ALL`]; what goes into
//! the gaps of a template is one of [`TEMPLATE_FIELDS`](super::TEMPLATE_FIELDS). HTTP providers also take `base_url` (`https://…`,
//! or `http://` to a loopback address), `timeout_ms` (100..=120,000) and `ca_file` (PEM; default: what the system trusts).
//!
//! A channel without a provider is skipped, as if it had refused. A line that is not known is an error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use client::Client;
use serde::Deserialize;

use crate::providers::message::Language;
use crate::providers::{self, EndpointConfig, fcm::Fcm, slack::Slack, smtp, smtp::Smtp, solapi::Solapi, toss::Toss};
use crate::providers::{fcm, slack, solapi, toss};

use super::{MESSAGE_TOPICS, PAYMENT_TOPICS, Services, Subject, TemplateConfig};

const SETTLE_MS_MAX: u64 = 20_000;
const RATE_MAX: u32 = 100_000;

/// What is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct Error {
    /// Which setting, as in `smtp.port`.
    pub key: String,
    /// What is wrong with it, and what was expected.
    pub message: String,
}

impl Error {
    fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Error { key: key.into(), message: message.into() }
    }

    /// Of an adapter, whose settings are those of this section.
    fn of(section: &str, error: providers::Error) -> Self {
        let field = match error.field {
            "timeout" => "timeout_ms",
            "pf_id" => "kakao_pf_id",
            field => field,
        };
        Error::new(format!("{section}.{field}"), error.message)
    }
}

/// The settings, read and not yet tried. See the [module](self).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    topics: Option<Vec<String>>,
    operator_language: Option<String>,
    settle_ms: Option<u64>,
    toss: Option<TossSection>,
    solapi: Option<SolapiSection>,
    fcm: Option<FcmSection>,
    smtp: Option<SmtpSection>,
    slack: Option<SlackSection>,
    #[serde(default)]
    templates: BTreeMap<String, BTreeMap<String, TemplateSection>>,
    /// Where relative files are.
    #[serde(skip)]
    directory: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TossSection {
    base_url: Option<String>,
    timeout_ms: Option<u64>,
    ca_file: Option<PathBuf>,
    rate_per_s: Option<u32>,
    secret_key_file: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SolapiSection {
    base_url: Option<String>,
    timeout_ms: Option<u64>,
    ca_file: Option<PathBuf>,
    rate_per_s: Option<u32>,
    api_key: String,
    api_secret_file: PathBuf,
    sender: String,
    kakao_pf_id: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FcmSection {
    base_url: Option<String>,
    timeout_ms: Option<u64>,
    ca_file: Option<PathBuf>,
    rate_per_s: Option<u32>,
    service_account_file: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SmtpSection {
    host: String,
    port: Option<u16>,
    tls: Option<Tls>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    sender: String,
    timeout_ms: Option<u64>,
    connections_max: Option<usize>,
    rate_per_s: Option<u32>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tls {
    Implicit,
    Starttls,
    None,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SlackSection {
    webhook_file: PathBuf,
    timeout_ms: Option<u64>,
    ca_file: Option<PathBuf>,
    rate_per_s: Option<u32>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TemplateSection {
    id: String,
    #[serde(default)]
    variables: BTreeMap<String, String>,
}

impl Config {
    /// Reads a file. Looks at no other and calls nobody.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is no TOML, or has a setting that is not known: its name and place.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text =
            std::fs::read_to_string(path).map_err(|error| Error::new(path.display().to_string(), error.to_string()))?;
        let mut config = Config::parse(&text)?;
        config.directory = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(config)
    }

    /// Reads a text, whose relative files are those of the working directory.
    ///
    /// # Errors
    ///
    /// As those of [`Config::read`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        toml::from_str(text)
            .map_err(|error: toml::de::Error| Error::new("settings", error.to_string().trim().to_owned()))
    }

    /// Makes the providers, which read their secrets and call nobody, and the topics to be worked on.
    ///
    /// # Errors
    ///
    /// The first setting that is wrong, and what was expected.
    pub fn services(&self, client: Client) -> Result<(Services, Vec<String>), Error> {
        let mut services = Services::new(client);
        services.operators = match self.operator_language.as_deref() {
            None | Some("ko") => Language::Korean,
            Some("en") => Language::English,
            Some(other) => return Err(Error::new("operator_language", format!("ko or en expected, not {other:?}"))),
        };
        if let Some(ms) = self.settle_ms {
            if ms > SETTLE_MS_MAX {
                return Err(Error::new("settle_ms", format!("{ms}; at most {SETTLE_MS_MAX} expected")));
            }
            services.settle = Duration::from_millis(ms);
        }
        self.payments(&mut services)?;
        self.messengers(&mut services)?;
        self.templates(&mut services)?;
        let topics = self.topics(&services)?;
        Ok((services, topics))
    }

    fn payments(&self, services: &mut Services) -> Result<(), Error> {
        let Some(section) = &self.toss else { return Ok(()) };
        let mut config = toss::Config::new(self.file(&section.secret_key_file));
        self.endpoint(&mut config.endpoint, &section.base_url, section.timeout_ms, &section.ca_file);
        let toss = Toss::new(&config).map_err(|error| Error::of("toss", error))?;
        let rate = rate("toss", section.rate_per_s)?;
        services.payments = std::mem::take(&mut services.payments).with(toss, rate);
        Ok(())
    }

    fn messengers(&self, services: &mut Services) -> Result<(), Error> {
        let mut messengers = std::mem::take(&mut services.messengers);
        if let Some(section) = &self.solapi {
            let secret = self.file(&section.api_secret_file);
            let mut config = solapi::Config::new(&section.api_key, secret, &section.sender);
            self.endpoint(&mut config.endpoint, &section.base_url, section.timeout_ms, &section.ca_file);
            let rate = rate("solapi", section.rate_per_s)?;
            let wrong = |error| Error::of("solapi", error);
            let account = Solapi::new(config).map_err(wrong)?;
            if let Some(pf_id) = &section.kakao_pf_id {
                messengers = messengers.with(account.kakao(pf_id).map_err(wrong)?, rate);
            }
            messengers = messengers.with(account.sms(), rate);
        }
        if let Some(section) = &self.fcm {
            let mut config = fcm::Config::new(self.file(&section.service_account_file));
            self.endpoint(&mut config.endpoint, &section.base_url, section.timeout_ms, &section.ca_file);
            let fcm = Fcm::new(config).map_err(|error| Error::of("fcm", error))?;
            messengers = messengers.with(fcm, rate("fcm", section.rate_per_s)?);
        }
        if let Some(section) = &self.smtp {
            let smtp = Smtp::new(self.smtp(section)).map_err(|error| Error::of("smtp", error))?;
            messengers = messengers.with(smtp, rate("smtp", section.rate_per_s)?);
        }
        if let Some(section) = &self.slack {
            let mut config = slack::Config::new(self.file(&section.webhook_file));
            if let Some(ms) = section.timeout_ms {
                config.timeout = Duration::from_millis(ms);
            }
            config.ca_file = section.ca_file.as_ref().map(|file| self.file(file));
            let slack = Slack::new(config).map_err(|error| Error::of("slack", error))?;
            messengers = messengers.with(slack, rate("slack", section.rate_per_s)?);
        }
        services.messengers = messengers;
        Ok(())
    }

    fn smtp(&self, section: &SmtpSection) -> smtp::Config {
        let mut config = smtp::Config::new(&section.host, &section.sender);
        let (tls, port) = match section.tls {
            None | Some(Tls::Implicit) => (smtp::Tls::Implicit, 465),
            Some(Tls::Starttls) => (smtp::Tls::StartTls, 587),
            Some(Tls::None) => (smtp::Tls::None, 25),
        };
        config.tls = tls;
        config.port = section.port.unwrap_or(port);
        config.user.clone_from(&section.user);
        config.password_file = section.password_file.as_ref().map(|file| self.file(file));
        if let Some(ms) = section.timeout_ms {
            config.timeout = Duration::from_millis(ms);
        }
        if let Some(connections) = section.connections_max {
            config.connections_max = connections;
        }
        config
    }

    fn templates(&self, services: &mut Services) -> Result<(), Error> {
        for (name, languages) in &self.templates {
            let Some(subject) = Subject::ALL.into_iter().find(|subject| subject.name() == name) else {
                let names = Subject::ALL.map(Subject::name).join(", ");
                return Err(Error::new(format!("templates.{name}"), format!("one of {names} expected")));
            };
            for (tag, section) in languages {
                let key = format!("templates.{name}.{tag}");
                let language = match tag.as_str() {
                    "ko" => Language::Korean,
                    "en" => Language::English,
                    _ => return Err(Error::new(key, "ko or en expected")),
                };
                let template = TemplateConfig { id: section.id.clone(), variables: section.variables.clone() };
                let templates = std::mem::take(&mut services.templates);
                services.templates =
                    templates.with(subject, language, template).map_err(|message| Error::new(key, message))?;
            }
        }
        Ok(())
    }

    fn topics(&self, services: &Services) -> Result<Vec<String>, Error> {
        let Some(topics) = &self.topics else {
            let mut topics: Vec<String> = Vec::new();
            if !services.payments.is_empty() {
                topics.extend(PAYMENT_TOPICS.map(str::to_owned));
            }
            if !services.messengers.is_empty() {
                topics.extend(MESSAGE_TOPICS.map(str::to_owned));
            }
            if topics.is_empty() {
                let message = "at least one of [toss], [solapi], [fcm], [smtp], [slack] expected";
                return Err(Error::new("settings", message));
            }
            return Ok(topics);
        };
        for topic in topics {
            let needs = if PAYMENT_TOPICS.contains(&topic.as_str()) {
                services.payments.is_empty().then_some("a payment provider, [toss]")
            } else if MESSAGE_TOPICS.contains(&topic.as_str()) {
                services.messengers.is_empty().then_some("a message provider: [solapi], [fcm], [smtp] or [slack]")
            } else {
                let known = [&PAYMENT_TOPICS[..], &MESSAGE_TOPICS[..]].concat().join(", ");
                return Err(Error::new("topics", format!("some of {known} expected, not {topic:?}")));
            };
            if let Some(needs) = needs {
                return Err(Error::new("topics", format!("{topic} needs {needs}")));
            }
        }
        match topics.is_empty() {
            true => Err(Error::new("topics", "at least one expected; leave the line out for all")),
            false => Ok(topics.clone()),
        }
    }

    fn file(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }

    fn endpoint(
        &self,
        endpoint: &mut EndpointConfig,
        base_url: &Option<String>,
        timeout_ms: Option<u64>,
        ca_file: &Option<PathBuf>,
    ) {
        if let Some(base_url) = base_url {
            endpoint.base_url.clone_from(base_url);
        }
        if let Some(ms) = timeout_ms {
            endpoint.timeout = Duration::from_millis(ms);
        }
        endpoint.ca_file = ca_file.as_ref().map(|file| self.file(file));
    }
}

fn rate(section: &str, per_s: Option<u32>) -> Result<Option<u32>, Error> {
    match per_s {
        Some(rate) if !(1..=RATE_MAX).contains(&rate) => {
            Err(Error::new(format!("{section}.rate_per_s"), format!("{rate}; 1..={RATE_MAX} expected")))
        }
        rate => Ok(rate),
    }
}

#[cfg(test)]
mod tests;
