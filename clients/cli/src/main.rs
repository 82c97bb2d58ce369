//! `bosingak`: the command line. Speaks the public protocol and links no storage.

mod api_key;
mod args;
mod clock;
mod cluster;
mod confirm;
mod context;
mod dead_letter;
mod duration;
mod executor;
mod failure;
mod forecast;
#[cfg(test)]
mod fuzzing;
mod gift;
mod json;
mod moment;
mod money;
mod output;
mod payment;
mod product;
mod table;
mod top;
mod topic;
mod trigger;
mod when;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Args, Command};
use context::Context;
use failure::Failure;
use output::Output;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version go to stdout; a pipe that is closed is nobody's error.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { failure::USAGE } else { 0 });
        }
    };
    let live = matches!(args.command, Command::Top(_)) && top::is_live(args.global.output);
    // A line of a log in the middle of the live view would only be in the way.
    log(if live { "off" } else { args.global.quiet_logs() });
    let format = args.global.output;
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::error(format!("cannot start: {error}")))
        .and_then(|runtime| {
            let outcome = runtime.block_on(run(args));
            // A read of stdin that is still blocked must not keep the process.
            runtime.shutdown_background();
            outcome
        });
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.print(format, &mut std::io::stderr());
            ExitCode::from(failure.code())
        }
    }
}

async fn run(args: Args) -> Result<u8, Failure> {
    let mut out = Output::new(args.global.output);
    match args.command {
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "bosingak", &mut script);
            out.bytes(&script)?;
        }
        Command::ApiKey(verb) => api_key::run(&mut out, verb)?,
        Command::Version => {
            let version = env!("CARGO_PKG_VERSION");
            match out.is_json() {
                true => out.json(&serde_json::json!({ "version": version }))?,
                false => out.line(&format!("bosingak {version}"))?,
            }
        }
        Command::Top(options) => {
            let context = Context::new(&args.global, out)?;
            return top::run(context, options).await;
        }
        command => {
            let mut context = Context::new(&args.global, out)?;
            let code = match command {
                Command::Trigger(verb) => trigger::run(&mut context, verb).await?,
                Command::DeadLetter(verb) => dead_letter::run(&mut context, verb).await?,
                Command::Topic(verb) => topic::run(&mut context, verb).await?,
                Command::Forecast(options) => forecast::run(&mut context, options).await?,
                Command::Cluster(verb) => cluster::run(&mut context, verb).await?,
                Command::Executor(verb) => executor::run(&mut context, *verb).await?,
                Command::Product(verb) => product::run(&mut context, verb).await?,
                Command::Gift(verb) => gift::run(&mut context, *verb).await?,
                Command::Payment(verb) => payment::run(&mut context, verb).await?,
                Command::Clock(verb) => clock::run(&mut context, verb).await?,
                Command::ApiKey(_) | Command::Completion { .. } | Command::Version | Command::Top(_) => 0,
            };
            context.out.flush()?;
            return Ok(code);
        }
    }
    out.flush()?;
    Ok(0)
}

/// Warnings of the client and the executor, on stderr. `BOSINGAK_LOG` says more or less.
fn log(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("BOSINGAK_LOG");
    let colour = std::env::var_os("NO_COLOR").is_none() && std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_env_filter(filter.unwrap_or_else(|_| default.into()))
        .init();
    let _ = std::io::stderr().flush();
}
