//! Many seeds, and what they came to together.

use std::time::{Duration, Instant};

use crate::coverage::{Agreement, Coverage};
use crate::run::{self, Outcome};

/// One seed in so many is run twice, to see that it is the same run.
fn again_every(agreement: Agreement) -> u64 {
    match agreement {
        Agreement::Ideal => 100,
        Agreement::Openraft => 20,
    }
}

/// What many runs came to.
#[derive(Clone, Debug, Default)]
pub struct Sweep {
    /// What agreed on the log.
    pub agreement: Agreement,
    /// Seeds run.
    pub seeds: u64,
    /// Seeds run twice.
    pub again: u64,
    /// What they met together.
    pub coverage: Coverage,
    /// Those that failed.
    pub failed: Vec<Outcome>,
    /// Seeds that were not the same the second time.
    pub unequal: Vec<u64>,
    /// How long it took.
    pub took: Duration,
}

impl Sweep {
    /// Runs seeds from `first` on.
    #[must_use]
    pub fn run(agreement: Agreement, first: u64, seeds: u64, mut told: impl FnMut(&Outcome)) -> Self {
        let began = Instant::now();
        let mut sweep = Sweep { agreement, ..Sweep::default() };
        for seed in first..first + seeds {
            let outcome = run::run_as(agreement, seed);
            if seed % again_every(agreement) == 0 {
                sweep.again += 1;
                if run::run_as(agreement, seed).trace != outcome.trace {
                    sweep.unequal.push(seed);
                }
            }
            told(&outcome);
            sweep.seeds += 1;
            sweep.coverage.add(&outcome.coverage);
            if !outcome.violations.is_empty() {
                sweep.failed.push(outcome);
            }
        }
        sweep.took = began.elapsed();
        sweep
    }

    /// Why the sweep is not to be believed or not to be accepted; empty when all is well.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = self
            .failed
            .iter()
            .map(|outcome| format!("seed {} broke {} promises", outcome.seed, outcome.violations.len()))
            .collect();
        problems.extend(self.unequal.iter().map(|seed| format!("seed {seed} was another run the second time")));
        problems.extend(self.coverage.vacuous(self.agreement).into_iter().map(|why| format!("vacuous: {why}")));
        problems
    }
}
