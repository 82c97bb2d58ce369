//! `bosingak-gift-demo`: the story of a few gifts, from the wish to the books, on a virtual clock.

mod demo;

use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use demo::Story;

/// Starts three nodes on a virtual clock, executors and the providers' stand-ins, and tells the story of eight gifts: paid, changed,
/// taken back, sent at midnight while an executor and every node are killed, accepted, passed on, used, forgotten, paid back.
///
/// Exits with 1 and a line that says so when the books differ, a code or a message was made twice, or a gift is not where the story
/// says. Everything that was started ends with it.
#[derive(Parser)]
#[command(name = "bosingak-gift-demo", version)]
struct Args {
    /// One JSON document instead of the story.
    #[arg(long)]
    json: bool,
    /// Leave everything running until Ctrl-C, with one more gift to open, and say where it is.
    #[arg(long, conflicts_with = "json")]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let (mut interrupt, mut terminate) = match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("bosingak-gift-demo: {error}");
            return ExitCode::FAILURE;
        }
    };
    // Whatever a story has started ends when it is dropped, also half told.
    let told = tokio::select! {
        told = tell(&args) => told,
        _ = interrupt.recv() => return ExitCode::from(130),
        _ = terminate.recv() => return ExitCode::from(143),
    };
    match told {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bosingak-gift-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything is as the story says.
async fn tell(args: &Args) -> anyhow::Result<bool> {
    let story = Story::begin(!args.json).await?;
    let (ending, story) = story.tell().await?;
    if args.json {
        println!("{:#}", ending.to_json());
    } else {
        ending.print();
    }
    if args.keep {
        story.stay_open().await?;
        std::future::pending::<()>().await;
    }
    story.end().await?;
    Ok(ending.is_good())
}
