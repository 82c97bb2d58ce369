//! `bosingak-sim`: seeds, one or many, and planted mistakes.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use sim::coverage::Agreement;
use sim::run::{self, Outcome};
use sim::sweep::Sweep;

/// Runs the core over a simulated network, disk and clock, and judges what it did.
#[derive(Parser)]
#[command(name = "bosingak-sim", version)]
struct Arguments {
    /// openraft agrees on the log, and not rules of its own with elections decided by an onlooker.
    #[arg(long)]
    openraft: bool,
    /// How many seeds: 3,000 unless said, and 300 with openraft.
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed; alone, only this one is run, and told at length.
    #[arg(long)]
    seed: Option<u64>,
    /// Seeds from here on, when --seed is not given.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Plants every known mistake in turn and says how many seeds it takes to find it. Needs a build with the feature
    /// planted-bugs.
    #[arg(long)]
    bugs: bool,
    /// Only this mistake; with --seed, in that seed.
    #[arg(long, value_name = "NAME")]
    bug: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // What panics inside a run is told as a finding.
    std::panic::set_hook(Box::new(|_| {}));
    if arguments.bugs || arguments.bug.is_some() {
        return bugs(&arguments);
    }
    let agreement = arguments.agreement();
    match arguments.seed {
        Some(seed) => one(agreement, seed),
        None => {
            let usual = if arguments.openraft { 300 } else { 3_000 };
            many(agreement, arguments.from, arguments.seeds.unwrap_or(usual))
        }
    }
}

impl Arguments {
    fn agreement(&self) -> Agreement {
        if self.openraft { Agreement::Openraft } else { Agreement::Ideal }
    }
}

fn one(agreement: Agreement, seed: u64) -> ExitCode {
    let outcome = run::run_as(agreement, seed);
    say(&format!("seed {seed}: trace {:016x}\n{}", outcome.trace, outcome.coverage));
    report(agreement, &outcome)
}

fn many(agreement: Agreement, first: u64, seeds: u64) -> ExitCode {
    let sweep = Sweep::run(agreement, first, seeds, |outcome| {
        if !outcome.violations.is_empty() {
            report(agreement, outcome);
        }
    });
    let seconds = sweep.took.as_secs_f64();
    let runs = sweep.seeds + sweep.again;
    say(&format!(
        "{} seeds in {seconds:.1} s: {:.0} a minute; {} run twice; {:.0} operations and {:.1} faults a seed",
        sweep.seeds,
        runs as f64 * 60.0 / seconds,
        sweep.again,
        sweep.coverage.operations as f64 / sweep.seeds as f64,
        sweep.coverage.faults as f64 / sweep.seeds as f64,
    ));
    say(&sweep.coverage.to_string());
    let problems = sweep.problems();
    problems.iter().take(40).for_each(|problem| say(&format!("FAILED: {problem}")));
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Tells what a run broke, and how to see it again.
fn report(agreement: Agreement, outcome: &Outcome) -> ExitCode {
    if outcome.violations.is_empty() {
        return ExitCode::SUCCESS;
    }
    for (promise, detail) in outcome.violations.iter().take(5) {
        say(&format!("seed {}: {promise}: {detail}", outcome.seed));
    }
    let with = if agreement == Agreement::Openraft { "--openraft " } else { "" };
    say(&format!("replay: ./dev sim {with}--seed {}", outcome.seed));
    ExitCode::FAILURE
}

#[cfg(feature = "planted-bugs")]
fn bugs(arguments: &Arguments) -> ExitCode {
    use std::time::{Duration, Instant};

    use sim::bugs::{PLANTED, hunt};

    const WITHIN: Duration = Duration::from_secs(120);
    let mut survived = 0;
    let chosen = |name: &str| arguments.bug.as_deref().is_none_or(|bug| bug == name);
    let agreement = arguments.agreement();
    let here = PLANTED.iter().filter(|planted| planted.agreement == agreement);
    for planted in here.filter(|planted| chosen(planted.name)) {
        let began = Instant::now();
        let first = arguments.seed.unwrap_or(arguments.from);
        let bound = if arguments.seed.is_some() { 1 } else { u64::MAX };
        let kill = hunt(planted, first, |seeds| seeds < bound && began.elapsed() < WITHIN);
        let seconds = began.elapsed().as_secs_f64();
        match kill {
            Some(kill) => {
                let (promise, detail) = &kill.violation;
                let short: String = detail.chars().take(100).collect();
                say(&format!(
                    "{:26} found after {:4} seeds, {seconds:6.2} s, by seed {}: {promise}: {short}",
                    planted.name, kill.seeds, kill.seed
                ));
            }
            None => {
                survived += 1;
                say(&format!("{:26} SURVIVED {seconds:.0} s", planted.name));
            }
        }
    }
    if survived == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(feature = "planted-bugs"))]
fn bugs(_arguments: &Arguments) -> ExitCode {
    say("this build has no planted mistakes: ./dev sim --bugs makes one that has");
    ExitCode::from(2)
}

fn say(line: &str) {
    // A reader that has gone away needs no answer.
    let _ = writeln!(std::io::stdout(), "{line}");
}
