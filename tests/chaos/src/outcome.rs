//! What a run says in the end: the promises, the faults, and whether it proves anything.

use std::collections::BTreeMap;
use std::fmt;

use checkers::{PROMISES, Verdict};

use crate::faults::Fault;
use crate::nemesis::Attempt;
use crate::overlap::Beside;
use crate::switch::Counts;

/// Of each kind of fault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Injected and healed.
    pub survived: u32,
    /// Why it was not injected, the last time.
    pub skipped: Option<String>,
}

impl Tally {
    /// One more.
    pub fn count(&mut self, attempt: Attempt) {
        match attempt {
            Attempt::Survived => self.survived += 1,
            Attempt::Skipped(why) => {
                eprintln!("          not injected: {why}");
                self.skipped = Some(why);
            }
        }
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Which seed.
    pub seed: u64,
    /// By fault; listed ones are all there.
    pub faults: BTreeMap<Fault, Tally>,
    /// Where nodes died, by place; empty unless that was asked for.
    pub crashes: BTreeMap<&'static str, Tally>,
    /// What went on beside faults, and how often.
    pub beside: BTreeMap<Beside, u32>,
    /// Faults that need not have been injected.
    pub allowed: Vec<Fault>,
    /// What did not go on or did not come back.
    pub stuck: Option<String>,
    /// What is wrong with data directories.
    pub damage: Vec<String>,
    /// Of the checkers; none when the cluster did not come back.
    pub verdict: Option<Verdict>,
    /// Of the switch.
    pub packets: Counts,
}

/// The last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastWord {
    /// Every promise held under every listed fault.
    Proven,
    /// Every promise held, and something listed was never injected, or too little happened.
    NotProven,
    /// A promise was broken, or the cluster did not come back.
    Broken,
}

/// Answered calls and deliveries below which a run shows nothing.
const ENOUGH: usize = 200;

impl Outcome {
    /// Faults that had to be injected and were not, and places where no node died.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let faults = self.faults.iter().filter(|(fault, _)| !self.allowed.contains(fault));
        let all = faults.map(|(fault, tally)| (fault.name(), tally));
        let all = all.chain(self.crashes.iter().map(|(place, tally)| (*place, tally)));
        all.filter(|(_, tally)| tally.survived == 0).map(|(name, _)| name).collect()
    }

    /// See [`LastWord`].
    #[must_use]
    pub fn last_word(&self) -> LastWord {
        let fine = self.stuck.is_none() && self.damage.is_empty();
        let Some(verdict) = self.verdict.as_ref().filter(|verdict| verdict.is_good() && fine) else {
            return LastWord::Broken;
        };
        let checked = &verdict.checked;
        let enough = checked.answered >= ENOUGH && checked.deliveries >= ENOUGH && checked.completions >= ENOUGH;
        if enough && self.missing().is_empty() { LastWord::Proven } else { LastWord::NotProven }
    }

    /// For machines.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let value = |tally: &Tally| serde_json::json!({"survived": tally.survived, "skipped": tally.skipped});
        let faults: serde_json::Map<String, serde_json::Value> =
            self.faults.iter().map(|(fault, tally)| (fault.name().to_owned(), value(tally))).collect();
        let crashes: serde_json::Map<String, serde_json::Value> =
            self.crashes.iter().map(|(place, tally)| ((*place).to_owned(), value(tally))).collect();
        let beside: serde_json::Map<String, serde_json::Value> =
            self.beside.iter().map(|(beside, times)| (beside.name().to_owned(), (*times).into())).collect();
        let checked = self.verdict.as_ref().map(|verdict| verdict.checked);
        let violations = self.verdict.iter().flat_map(|verdict| &verdict.violations);
        serde_json::json!({
            "seed": self.seed,
            "verdict": self.last_word().text(),
            "faults": faults,
            "crashes": crashes,
            "beside": beside,
            "missing": self.missing(),
            "stuck": self.stuck,
            "damage": self.damage,
            "violations": violations.map(ToString::to_string).collect::<Vec<_>>(),
            "answered": checked.map(|checked| checked.answered),
            "unknown": checked.map(|checked| checked.unknown),
            "refused": checked.map(|checked| checked.refused),
            "deliveries": checked.map(|checked| checked.deliveries),
            "completions": checked.map(|checked| checked.completions),
            "final_reads": checked.map(|checked| checked.final_reads),
            "searched": checked.map(|checked| checked.searched),
            "packets": {"passed": self.packets.passed, "delayed": self.packets.delayed,
                        "lost": self.packets.lost, "cut": self.packets.cut},
        })
    }
}

impl LastWord {
    /// As it is printed.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            LastWord::Proven => "PROVEN",
            LastWord::NotProven => "NOT PROVEN",
            LastWord::Broken => "BROKEN",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<22} {:>8}", "fault", "survived")?;
        let faults = self.faults.iter().map(|(fault, tally)| (fault.name(), tally));
        for (name, tally) in faults.chain(self.crashes.iter().map(|(place, tally)| (*place, tally))) {
            write!(f, "{name:<22} {:>8}", tally.survived)?;
            match &tally.skipped {
                Some(why) if tally.survived == 0 => writeln!(f, "  not injected: {why}")?,
                _ => writeln!(f)?,
            }
        }
        let Counts { passed, delayed, lost, cut } = self.packets;
        writeln!(f, "packets: {passed} passed, {delayed} of them late; {lost} lost, {cut} cut")?;
        for (beside, times) in &self.beside {
            writeln!(f, "{beside} meanwhile: {times} times")?;
        }
        if let Some(stuck) = &self.stuck {
            writeln!(f, "stuck: {stuck}")?;
        }
        if let Some(verdict) = &self.verdict {
            for promise in PROMISES {
                let broken = verdict.violations.iter().filter(|violation| violation.promise == promise).count();
                let word = if broken == 0 { "held".to_owned() } else { format!("BROKEN {broken} times") };
                writeln!(f, "{promise:<40} {word}")?;
            }
            write!(f, "{verdict}")?;
            for damage in &self.damage {
                writeln!(f, "damaged: {damage}")?;
            }
            if self.stuck.is_none() && self.damage.is_empty() {
                writeln!(f, "{:<40} held", "data directories are whole")?;
            }
        }
        let missing = self.missing();
        if !missing.is_empty() {
            writeln!(f, "never injected: {}", missing.join(", "))?;
        }
        writeln!(f, "{} (seed {})", self.last_word().text(), self.seed)
    }
}

#[cfg(test)]
mod tests {
    use checkers::Checked;

    use super::*;

    fn outcome(survived: u32) -> Outcome {
        let checked = Checked { answered: 1_000, deliveries: 1_000, completions: 1_000, ..Checked::default() };
        let verdict = Verdict { checked, ..Verdict::default() };
        Outcome {
            seed: 1,
            faults: [(Fault::Pause, Tally { survived, skipped: None })].into(),
            crashes: BTreeMap::new(),
            beside: BTreeMap::new(),
            allowed: Vec::new(),
            stuck: None,
            damage: Vec::new(),
            verdict: Some(verdict),
            packets: Counts::default(),
        }
    }

    /// Red when a listed fault that never happened counts as survived.
    #[test]
    fn what_was_not_injected_is_not_proven() {
        assert_eq!(outcome(1).last_word(), LastWord::Proven);
        assert_eq!((outcome(0).last_word(), outcome(0).missing()), (LastWord::NotProven, vec!["pause"]));
        let allowed = Outcome { allowed: vec![Fault::Pause], ..outcome(0) };
        assert_eq!(allowed.last_word(), LastWord::Proven);
    }

    /// Red when a place where no node died counts.
    #[test]
    fn a_place_nobody_came_by_is_not_proven() {
        let died = Outcome { crashes: [("log-synced", Tally { survived: 1, skipped: None })].into(), ..outcome(1) };
        assert_eq!(died.last_word(), LastWord::Proven);
        let went_on = Outcome { crashes: [("log-synced", Tally::default())].into(), ..outcome(1) };
        assert_eq!((went_on.last_word(), went_on.missing()), (LastWord::NotProven, vec!["log-synced"]));
    }

    /// Red when a run in which nothing happened proves something.
    #[test]
    fn an_idle_run_proves_nothing() {
        let idle = Outcome { verdict: Some(Verdict::default()), ..outcome(1) };
        assert_eq!(idle.last_word(), LastWord::NotProven);
    }

    /// Red when a cluster that did not come back, or was not judged, passes.
    #[test]
    fn a_cluster_that_is_stuck_is_broken() {
        let stuck = Outcome { stuck: Some("no leader".into()), ..outcome(1) };
        assert_eq!(stuck.last_word(), LastWord::Broken);
        assert_eq!(Outcome { verdict: None, ..outcome(1) }.last_word(), LastWord::Broken);
        // Nor one whose disks are damaged.
        assert_eq!(Outcome { damage: vec!["a table".into()], ..outcome(1) }.last_word(), LastWord::Broken);
    }
}
