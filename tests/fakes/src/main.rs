//! `bosingak-fakes`: the providers outside, on this machine.

use std::net::IpAddr;

use clap::Parser;
use fakes::{Fakes, Options};
use tokio::signal::unix::{SignalKind, signal};

/// Serves stand-ins for the providers outside (Toss Payments, SOLAPI, FCM, Slack, a mail relay) on loopback, until it is interrupted.
///
/// `curl -X POST http://127.0.0.1:7390/fake/switches -d '{"provider":"toss","mode":"slow","ms":3000,"share":0.1}'` makes every
/// tenth call slow; GET on the same path tells where the switches are. http://127.0.0.1:7390/inbox shows what was delivered to whom.
#[derive(Parser)]
#[command(name = "bosingak-fakes", version)]
struct Args {
    /// Loopback address to listen on.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    host: IpAddr,
    /// Port of everything. Each provider also has a port of its own: those after this one, in the order in which they are told at
    /// the start. 0 has the system choose.
    #[arg(long, env = "BOSINGAK_FAKES_PORT", default_value_t = 7390, value_name = "PORT")]
    port: u16,
    /// Secret key of the merchant at Toss Payments. No secret: it opens nothing but this.
    #[arg(long, default_value = fakes::toss::SECRET_KEY, value_name = "KEY")]
    toss_secret_key: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_env("BOSINGAK_LOG").unwrap_or_else(|_| "info".into()))
        .init();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let options = Options { host: args.host, port: args.port, toss_secret_key: args.toss_secret_key };
    let fakes = Fakes::start(options).await?;
    println!("fakes http://{}", fakes.addr());
    for (provider, address) in fakes.providers() {
        let scheme = if *provider == fakes::smtp::NAME { "smtp" } else { "http" };
        println!("{provider} {scheme}://{address}");
    }
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    fakes.shutdown().await;
    Ok(())
}
