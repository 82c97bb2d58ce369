//! Flags that `bosingak-executor` and `bosingak executor run` share.

use std::path::PathBuf;
use std::time::Duration;

use client::Client;

use crate::builder::{Builder, Error};
use crate::business::config::Config;
use crate::handlers::{Exec, Http};
use crate::runtime::Executor;

/// What to run, and how much of it at a time.
#[derive(Clone, Debug, clap::Args)]
pub struct RunOptions {
    /// Topic to work on; may be given more than once. With --gift the file says which.
    #[arg(long = "topic", required_unless_present = "gift", conflicts_with = "gift", value_name = "TOPIC")]
    pub topics: Vec<String>,
    /// Run this line of shell per trigger: payload on standard input, facts in BOSINGAK_* variables. Exit 0 is success,
    /// 65 fails for good, everything else is retried.
    #[arg(long, value_name = "COMMAND", group = "work")]
    pub exec: Option<String>,
    /// POST the payload to this URL per trigger. 2xx is success; 408, 425, 429, 5xx and no answer are retried.
    #[arg(long, value_name = "URL", group = "work")]
    pub http: Option<String>,
    /// Do the work of the gift business (payments, messages) with the providers in this TOML file.
    #[arg(long, value_name = "FILE", group = "work")]
    pub gift: Option<PathBuf>,
    /// Stable name of this process; it decides which shards it gets. A fresh one by default.
    #[arg(long, env = "BOSINGAK_EXECUTOR", value_name = "NAME")]
    pub name: Option<String>,
    /// Handlers that run at the same time.
    #[arg(long, default_value_t = 16, value_name = "N")]
    pub concurrency: usize,
    /// Extend leases while a handler runs, up to this many seconds in all.
    #[arg(long, value_name = "SECONDS")]
    pub extend_leases: Option<u64>,
    /// How many seconds a shutdown waits for what is in hand.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub drain_timeout: u64,
}

impl RunOptions {
    /// An executor with these settings but no handlers.
    pub fn builder(&self, client: Client, namespace: &str) -> Builder {
        let mut builder = Executor::builder(client)
            .namespace(namespace)
            .concurrency(self.concurrency)
            .drain_timeout(Duration::from_secs(self.drain_timeout));
        if let Some(name) = &self.name {
            builder = builder.name(name);
        }
        if let Some(longest) = self.extend_leases {
            builder = builder.extend_leases(Duration::from_secs(longest));
        }
        builder
    }

    /// The handlers that were asked for, on every topic. `None` when neither a command, a URL nor a file was given.
    pub fn with_handlers(&self, mut builder: Builder) -> Result<Option<Builder>, Error> {
        if let Some(command) = &self.exec {
            for topic in &self.topics {
                builder = builder.handler(topic, Exec::shell(command));
            }
        } else if let Some(url) = &self.http {
            let refuse = |error: crate::handlers::UrlError| Error { field: "http", message: error.to_string() };
            let http = Http::new(url).map_err(refuse)?;
            for topic in &self.topics {
                builder = builder.handler(topic, http.clone());
            }
        } else if let Some(file) = &self.gift {
            let refuse = |error: crate::business::config::Error| Error { field: "gift", message: error.to_string() };
            let config = Config::read(file).map_err(refuse)?;
            let (services, topics) = config.services(builder.client()).map_err(refuse)?;
            let longest = self.extend_leases.map(Duration::from_secs);
            builder = services.register(builder, topics);
            if let Some(longest) = longest {
                builder = builder.extend_leases(longest);
            }
        } else {
            return Ok(None);
        }
        Ok(Some(builder))
    }
}

/// Ready at the first SIGINT or SIGTERM. The second one ends the process at once.
pub async fn shutdown_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without handlers the default applies: the process ends, leases run out, triggers are delivered again.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        std::process::exit(130);
    });
}
