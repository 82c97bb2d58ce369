//! `bosingak-executor`: runs a command or makes an HTTP call per trigger, or does the work of the gift business.

use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser};
use executor::options::{RunOptions, shutdown_signal};

/// Runs a command or makes an HTTP call per trigger of a topic, or does the work of the gift business.
#[derive(Parser)]
#[command(name = "bosingak-executor", version)]
struct Args {
    /// Nodes of the cluster, separated by commas.
    #[arg(long, env = "BOSINGAK_ADDRESS", default_value = "http://127.0.0.1:7300")]
    address: String,
    /// Namespace whose triggers it works on.
    #[arg(short, long, env = "BOSINGAK_NAMESPACE", default_value = "default")]
    namespace: String,
    /// File with the API key to show, ID.SECRET in one line.
    #[arg(long, env = "BOSINGAK_API_KEY_FILE", value_name = "FILE")]
    api_key_file: Option<std::path::PathBuf>,
    #[command(flatten)]
    run: RunOptions,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if args.run.exec.is_none() && args.run.http.is_none() && args.run.gift.is_none() {
        let kind = clap::error::ErrorKind::MissingRequiredArgument;
        Args::command().error(kind, "say what to do: --exec COMMAND, --http URL or --gift FILE").exit();
    }
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_env("BOSINGAK_LOG").unwrap_or_else(|_| "info".into()))
        .init();
    let mut builder = client::Client::builder().endpoints([&args.address]);
    if let Some(path) = &args.api_key_file {
        let key = std::fs::read_to_string(path);
        builder = builder.api_key(key.with_context(|| format!("--api-key-file {}", path.display()))?);
    }
    let client = builder.connect_lazy()?;
    let builder = args.run.builder(client, &args.namespace);
    let Some(builder) = args.run.with_handlers(builder)? else {
        return Ok(ExitCode::from(2));
    };
    let executor = builder.build()?;
    tracing::info!(name = executor.name(), topics = ?executor.topics(), address = args.address, "executor starts");
    let summary = executor.run(shutdown_signal()).await;
    tracing::info!(?summary, "executor ends");
    // What is left is delivered again; whoever stops us may want to know that it is.
    Ok(if summary.left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
