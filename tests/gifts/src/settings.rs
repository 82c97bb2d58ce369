//! The settings of the gift executors, as an operator would write them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fakes::Fakes;

use crate::texts;

/// Where the providers' stand-ins are.
#[derive(Clone, Debug)]
pub struct Providers {
    /// Toss Payments.
    pub toss: SocketAddr,
    /// SOLAPI: KakaoTalk and text messages.
    pub solapi: SocketAddr,
    /// Push.
    pub fcm: SocketAddr,
    /// The operators' room.
    pub slack: SocketAddr,
    /// The mail relay.
    pub smtp: SocketAddr,
}

impl Providers {
    /// Those of fakes in this process.
    pub fn of(fakes: &Fakes) -> Self {
        Providers {
            toss: fakes.addr_of(fakes::toss::NAME),
            solapi: fakes.addr_of(fakes::solapi::NAME),
            fcm: fakes.addr_of(fakes::fcm::NAME),
            slack: fakes.addr_of(fakes::slack::NAME),
            smtp: fakes.addr_of(fakes::smtp::NAME),
        }
    }

    /// Writes the file for `bosingak-executor --gift`, and the secrets it names beside it; returns where it is.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn write(&self, directory: &Path) -> Result<PathBuf> {
        let Providers { toss, solapi, fcm, slack, smtp } = self;
        let slack = format!("http://{slack}{}", fakes::slack::PATH);
        let account = fakes::fcm::service_account_file(&format!("http://{fcm}/token"));
        for (name, content) in [
            ("toss.key", fakes::toss::SECRET_KEY),
            ("solapi.secret", fakes::solapi::API_SECRET),
            ("slack.url", slack.as_str()),
            ("firebase.json", account.as_str()),
        ] {
            std::fs::write(directory.join(name), content).with_context(|| format!("write {name}"))?;
        }
        let mut text = format!(
            r#"# A stand-in lists at once what it took.
settle_ms = 100

[toss]
secret_key_file = "toss.key"
base_url = "http://{toss}"

[solapi]
api_key = "{key}"
api_secret_file = "solapi.secret"
sender = "{sender}"
kakao_pf_id = "{channel}"
base_url = "http://{solapi}"

[fcm]
service_account_file = "firebase.json"
base_url = "http://{fcm}"

[smtp]
host = "{smtp_host}"
port = {smtp_port}
tls = "none"
sender = "보신각 <gifts@example.com>"

[slack]
webhook_file = "slack.url"
"#,
            key = fakes::solapi::API_KEY,
            sender = fakes::solapi::SENDER,
            channel = fakes::solapi::PF_ID,
            smtp_host = smtp.ip(),
            smtp_port = smtp.port(),
        );
        for approved in texts::APPROVED {
            text.push_str(&approved.setting());
        }
        let file = directory.join("gift.toml");
        std::fs::write(&file, text).context("write gift.toml")?;
        Ok(file)
    }
}
