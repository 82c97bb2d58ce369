//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::faults::Fault;

/// Breaks a real cluster under load, and says which promises held.
///
/// Three nodes, each in a network namespace and on an ext4 of its own. Needs root, TUN, loop devices and, for steps of clocks, a C
/// compiler. Exit code 0: every promise held and every fault was injected; 1: a promise was broken, or the run proves too
/// little; 2: wrong usage; 3: the platform does not permit it.
#[derive(Clone, Debug, Parser)]
#[command(name = "bosingak-chaos", version)]
pub struct Arguments {
    /// How long faults are injected; every fault once takes about two minutes and a half, however short this is.
    #[arg(long, default_value_t = 10.0, value_parser = minutes)]
    pub minutes: f64,
    /// Decides the order of faults, whom they hit and how long they last.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Faults that need not be injected, separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = fault)]
    pub allow_skip: Vec<Fault>,
    /// Only these faults, separated by commas; the others count as skipped on purpose.
    #[arg(long, value_delimiter = ',', value_parser = fault)]
    pub only: Vec<Fault>,
    /// Instead of faults: nodes die at every place where they can be made to, killed or without power. Once each however short
    /// --minutes is, then again the other way. Needs the binary bosingakd-next, which `./dev chaos` builds.
    #[arg(long, conflicts_with_all = ["only", "allow_skip", "lie_about_syncs"])]
    pub crash_points: bool,
    /// Syncs of the nodes do nothing: a power cut must then break a promise. Shows that a run can fail.
    #[arg(long)]
    pub lie_about_syncs: bool,
    /// Where disks and logs are kept meanwhile; needs some 2 GiB. What failed stays there.
    #[arg(long, default_value = ".")]
    pub dir: PathBuf,
    /// Writes the verdict and the table here as JSON.
    #[arg(long)]
    pub report: Option<PathBuf>,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| format!("expected minutes, got {text:?}"))?;
    if (0.0..=1_440.0).contains(&minutes) {
        Ok(minutes)
    } else {
        Err(format!("expected 0 to 1440 minutes, got {text}"))
    }
}

fn fault(text: &str) -> Result<Fault, String> {
    let known = || Fault::ALL.map(Fault::name).join(", ");
    Fault::named(text).ok_or_else(|| format!("no fault {text:?}; there are {}", known()))
}

impl Arguments {
    /// Faults to be injected, each of which must be.
    #[must_use]
    pub fn listed(&self) -> Vec<Fault> {
        let listed = |fault: &Fault| self.only.is_empty() || self.only.contains(fault);
        Fault::ALL.into_iter().filter(|fault| !self.crash_points && listed(fault)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Arguments, String> {
        Arguments::try_parse_from([&["bosingak-chaos"], words].concat()).map_err(|error| error.to_string())
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        assert!(read(&["--only", "flood"]).unwrap_err().contains("no fault \"flood\"; there are kill-leader"));
        assert!(read(&["--minutes", "ten"]).unwrap_err().contains("expected minutes, got \"ten\""));
        assert!(read(&["--minutes", "-1"]).is_err());
    }

    #[test]
    fn only_some_faults_can_be_listed() {
        let some = read(&["--only", "pause,kill-all"]).unwrap();
        assert_eq!(some.listed(), [Fault::KillAll, Fault::Pause]);
        assert_eq!(read(&[]).unwrap().listed(), Fault::ALL);
    }
}
