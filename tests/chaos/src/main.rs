//! `bosingak-chaos`: see the library.

use std::process::ExitCode;

use chaos::arguments::Arguments;
use chaos::outcome::{LastWord, Outcome};
use chaos::run::{self, Ground};
use clap::Parser;

/// Wrong usage, or the cluster could not be started at all.
const EXIT_USAGE: u8 = 2;
/// The platform does not permit it.
const EXIT_NOT_PERMITTED: u8 = 3;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.dir.is_dir() {
        eprintln!("error: --dir {}: expected a directory that is there", arguments.dir.display());
        return EXIT_USAGE.into();
    }
    // Before there are threads: they stay in the namespace they are started in.
    let ground = match Ground::prepare(&arguments) {
        Ok(ground) => ground,
        Err(error) => {
            eprintln!("error: this platform does not permit namespaces, TUN and disks of our own: {error}");
            return EXIT_NOT_PERMITTED.into();
        }
    };
    match on_runtime(&arguments, ground) {
        Ok(outcome) => {
            print!("{outcome}");
            if outcome.last_word() == LastWord::Proven { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {error}");
            EXIT_USAGE.into()
        }
    }
}

fn on_runtime(arguments: &Arguments, ground: Ground) -> Result<Outcome, harness::Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(async {
        let mut interrupted = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
        let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        // Dropped on a signal, and with it processes, mounts and namespaces.
        let ran = std::pin::pin!(run::run(arguments, ground));
        tokio::select! {
            outcome = ran => outcome,
            _ = interrupted.recv() => Err(harness::Error::new("interrupted; nothing is left running")),
            _ = terminated.recv() => Err(harness::Error::new("terminated; nothing is left running")),
        }
    })?;
    if let Some(file) = &arguments.report {
        std::fs::write(file, format!("{:#}\n", outcome.json()))?;
    }
    Ok(outcome)
}
