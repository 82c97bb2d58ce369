//! `bosingak-loadtest`: load scenarios, each a whole measurement with an oracle and a verdict.

mod arguments;
mod echo;
mod etcd;
mod executor_worker;
mod executors;
mod generate;
mod histogram;
mod lines;
mod load;
mod meter;
mod oracle;
mod progress;
mod report;
mod router;
mod scenario;
mod target;

use std::process::ExitCode;

use arguments::{Arguments, Refusal};
use report::Report;

/// Wrong usage, or something that cannot be measured.
const EXIT_USAGE: u8 = 2;
/// Interrupted, as shells say it.
const EXIT_INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let role = words.next();
    let rest: Vec<String> = words.collect();
    let result = match role.as_deref() {
        Some(executor_worker::ROLE) => on_runtime(executor_worker::run(&rest)),
        Some(echo::ROLE) => on_runtime(echo::run(&rest)),
        _ => return measure(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&format!("{error:#}")),
    }
}

fn measure() -> ExitCode {
    let arguments = match Arguments::read(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(Refusal::Shown(text)) => {
            println!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(Refusal::Wrong(line)) => return refuse(&line),
    };
    match on_runtime(run(&arguments)) {
        Ok(Some(report)) => {
            println!("{}", report.table());
            if report.problems().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Ok(None) => {
            eprintln!("interrupted");
            EXIT_INTERRUPTED.into()
        }
        Err(error) => refuse(&format!("{error:#}")),
    }
}

fn refuse(line: &str) -> ExitCode {
    eprintln!("error: {line}");
    EXIT_USAGE.into()
}

/// Runs to the end or until interrupted; either way every process started is gone when this returns.
async fn run(arguments: &Arguments) -> anyhow::Result<Option<Report>> {
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let report = tokio::select! {
        report = scenario::run(arguments) => report?,
        _ = tokio::signal::ctrl_c() => return Ok(None),
        _ = terminated.recv() => return Ok(None),
    };
    if let Some(file) = &arguments.report {
        report.write(file)?;
    }
    Ok(Some(report))
}

fn on_runtime<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(work)
}
