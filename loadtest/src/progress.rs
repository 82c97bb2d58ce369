//! Bars and a live line on standard error; nothing when that is no terminal.

use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use crate::executors::{SharedOracle, lock};
use crate::report::grouped;

/// The display of a run.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    bars: MultiProgress,
}

impl Progress {
    /// Says what begins. On a terminal above the bars, else as a line.
    pub fn say(&self, text: &str) {
        if self.bars.is_hidden() {
            eprintln!("{text}");
        } else {
            drop(self.bars.println(text));
        }
    }

    /// A bar of `length` things called `name`.
    #[must_use]
    pub fn bar(&self, name: &'static str, length: u64) -> ProgressBar {
        let style = ProgressStyle::with_template("  {prefix:12} {bar:40} {human_pos}/{human_len} {per_sec}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        self.bars.add(ProgressBar::new(length).with_style(style).with_prefix(name))
    }

    /// A line that shows what the oracle knows, four times a second, until dropped.
    #[must_use]
    pub fn live(&self, oracle: &SharedOracle) -> Live {
        let style = ProgressStyle::with_template("  {spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let line = self.bars.add(ProgressBar::no_length().with_style(style));
        let task = tokio::spawn({
            let (line, oracle, hidden) = (line.clone(), oracle.clone(), self.bars.is_hidden());
            async move {
                let mut said = Instant::now();
                loop {
                    tokio::time::sleep(Duration::from_millis(250)).await;
                    let text = describe(&oracle);
                    line.set_message(text.clone());
                    line.tick();
                    // Somebody reading a file wants to see that it moves, not every step.
                    if hidden && said.elapsed() > Duration::from_secs(5) {
                        eprintln!("  {text}");
                        said = Instant::now();
                    }
                }
            }
        });
        Live { line, task }
    }
}

fn describe(oracle: &SharedOracle) -> String {
    let oracle = lock(oracle);
    let (acknowledged, fired, completed) = oracle.progress();
    let (single, burst) = oracle.lateness();
    let mut lateness = single.clone();
    lateness.merge(burst);
    let lateness = lateness.percentiles();
    format!(
        "pending {}  fired {}  completed {}  lateness p50 {:.1} p99 {:.1} max {:.1} ms",
        grouped(acknowledged.saturating_sub(fired + oracle.cancels().0)),
        grouped(fired),
        grouped(completed),
        lateness.p50,
        lateness.p99,
        lateness.max
    )
}

/// The live line, while it lives.
#[derive(Debug)]
pub struct Live {
    line: ProgressBar,
    task: JoinHandle<()>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.task.abort();
        self.line.finish_and_clear();
    }
}
