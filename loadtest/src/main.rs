//! `bosingak-loadtest`: load scenarios, each a whole measurement with an oracle and a verdict.

mod arguments;
mod echo;
mod etcd;
mod executor_worker;
mod executors;
mod generate;
mod gifts;
mod histogram;
mod lines;
mod load;
mod meter;
mod oracle;
mod plan;
mod progress;
mod report;
mod router;
mod scenario;
mod target;
mod trend;

use std::process::ExitCode;
use std::time::Duration;

use arguments::{Arguments, Refusal};
use report::Report;
use tokio::signal::unix::{SignalKind, signal};

/// Wrong usage, or something that cannot be measured.
const EXIT_USAGE: u8 = 2;
/// Ended by SIGINT, as shells say it.
const EXIT_INTERRUPTED: u8 = 130;
/// Ended by SIGTERM, as shells say it.
const EXIT_TERMINATED: u8 = 143;
/// Processes that were told to end are gone within this.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// What came of a run.
enum Ended {
    /// It was measured.
    Measured(Box<Report>),
    /// A signal ended it before: its name and the exit code that says so.
    Signalled(&'static str, u8),
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let role = words.next();
    let rest: Vec<String> = words.collect();
    let result = match role.as_deref() {
        Some(executor_worker::ROLE) => on_runtime(executor_worker::run(&rest)),
        Some(echo::ROLE) => on_runtime(echo::run(&rest)),
        Some(gifts::provider_worker::ROLE) => on_runtime(gifts::provider_worker::run(&rest)),
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
        Ok(Ended::Measured(report)) => {
            println!("{}", report.table());
            if report.problems().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Ok(Ended::Signalled(_, code)) => code.into(),
        Err(error) => refuse(&format!("{error:#}")),
    }
}

fn refuse(line: &str) -> ExitCode {
    eprintln!("error: {line}");
    EXIT_USAGE.into()
}

/// Runs to the end or until a signal comes; either way every process started is gone when this returns.
async fn run(arguments: &Arguments) -> anyhow::Result<Ended> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    // Dropped at the end of the block, and with it everything it has started.
    let ended = {
        let measured = std::pin::pin!(scenario::run(arguments));
        tokio::select! {
            report = measured => Ended::Measured(Box::new(report?)),
            _ = interrupted.recv() => signalled("SIGINT", EXIT_INTERRUPTED),
            _ = terminated.recv() => signalled("SIGTERM", EXIT_TERMINATED),
        }
    };
    match &ended {
        Ended::Measured(report) => {
            if let Some(file) = &arguments.report {
                report.write(file)?;
            }
        }
        Ended::Signalled(name, _) => match still_running().await.as_slice() {
            [] => eprintln!("{name}: nothing that this run started is left"),
            left => anyhow::bail!("{name}: still running: {}", left.join(", ")),
        },
    }
    Ok(ended)
}

/// What is left of what was started. Calls that were under way share it with the run; they were aborted with that, and the runtime
/// drops them a moment later.
async fn still_running() -> Vec<String> {
    let until = tokio::time::Instant::now() + ENDS_WITHIN;
    loop {
        let left = harness::process::running();
        if left.is_empty() || tokio::time::Instant::now() > until {
            return left;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Says what is about to be ended.
fn signalled(name: &'static str, code: u8) -> Ended {
    match harness::process::running().as_slice() {
        [] => eprintln!("{name}: the run is ended before it has started anything"),
        running => eprintln!("{name}: the run is ended, and with it {}", running.join(", ")),
    }
    Ended::Signalled(name, code)
}

fn on_runtime<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(work)
}
