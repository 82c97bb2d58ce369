//! `bosingakd verify`: what is wrong with a data directory that no node has open, for a human or for a machine.
//!
//! Files, the log and checksums are `raft`'s to look through, what rows mean is the core's; here the two are put together and told.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use raft::verify::{Finding, Partition};
use scheduler::machine::FEATURE_LEVEL;
use scheduler::verify::{Problem, Summary};
use serde_json::{Value, json};

use crate::machine::Rows;

/// Problems with rows of one partition that are kept to be shown. One damaged record can make as many as there are triggers.
const SHOWN_MAX: usize = 1_000;

/// What to do about rows that disagree.
const ROWS_REMEDY: &str = "keep the directory. If verify finds nothing on the other nodes, replace this one under a new number; \
    if it says the same everywhere, it is a bug of the program: report it";

/// Why a data directory cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no directory that can be read, or a node has it open.
    #[error(transparent)]
    Directory(#[from] raft::verify::Error),
    /// What its rows mean is not known to this build.
    #[error("{} holds rows of feature level {level}, this build knows {FEATURE_LEVEL}: use the newer build", dir.display())]
    Newer {
        /// The directory.
        dir: PathBuf,
        /// Of its rows.
        level: u32,
    },
}

/// What was found in a data directory.
#[derive(Debug)]
pub struct Report {
    dir: PathBuf,
    files: raft::verify::Summary,
    findings: Vec<Finding>,
    partitions: Vec<Checked>,
}

/// The rows of one partition.
#[derive(Debug)]
struct Checked {
    number: u32,
    path: PathBuf,
    summary: Summary,
    /// The first of them.
    problems: Vec<Problem>,
    /// Why the rows could not be read to their end.
    failed: Option<String>,
}

/// Looks through `dir`; nothing in it is changed. Takes as long as reading everything once, and a random read for each trigger.
///
/// # Errors
///
/// A node has it open, it is none of a node's, it cannot be read at all, or a newer build wrote it.
pub fn verify(dir: &Path) -> Result<Report, Error> {
    let (mut findings, mut partitions, mut newer) = (Vec::new(), Vec::new(), None);
    let files = raft::verify::directory(dir, &mut |finding| findings.push(finding), &mut |partition| {
        // A record that cannot be read is told with the other rows.
        let level = scheduler::read::status(&Rows(partition.store)).map_or(0, |meta| meta.feature_level);
        if level > FEATURE_LEVEL {
            newer = Some(Error::Newer { dir: dir.to_owned(), level });
        } else {
            partitions.push(rows(&partition));
        }
    })?;
    if let Some(newer) = newer {
        return Err(newer);
    }
    Ok(Report { dir: dir.to_owned(), files, findings, partitions })
}

fn rows(partition: &Partition<'_>) -> Checked {
    let mut problems = Vec::new();
    let mut keep = |problem| {
        if problems.len() < SHOWN_MAX {
            problems.push(problem);
        }
    };
    let result = scheduler::verify::rows(&Rows(partition.store), &mut keep);
    let (mut summary, failed) = match result {
        Ok(summary) => (summary, None),
        Err(error) => (Summary::default(), Some(error.to_string())),
    };
    if summary.applied > partition.applied {
        summary.problems += 1;
        keep(Problem {
            key: Vec::new(),
            row: "the record about the partition".to_owned(),
            wrong: format!("says entry {} is applied, and the replica is at {}", summary.applied, partition.applied),
            means: "entries would be applied a second time",
        });
    }
    Checked { number: partition.number, path: partition.path.to_owned(), summary, problems, failed }
}

impl Report {
    /// Whether nothing is damaged and all rows agree.
    pub fn is_fine(&self) -> bool {
        self.findings.iter().all(|finding| finding.damage.is_none()) && self.partitions.iter().all(Checked::is_fine)
    }

    /// For a human: a line for what is fine, a few for each thing that is not.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let dir = self.dir.display();
        match &self.files.owner {
            Some((cluster, node, partitions)) => {
                writeln!(out, "{dir}: node {node} of cluster {cluster:?}, {partitions} partitions")?;
            }
            None => writeln!(out, "{dir}: of an unknown node")?,
        }
        writeln!(out, "log: {} segments, {} records", self.files.log_segments, self.files.log_records)?;
        writeln!(out, "tables: {}, {} bytes", self.files.tables, self.files.table_bytes)?;
        for partition in &self.partitions {
            let Summary { applied, triggers, ids, completed_in_runs, ended, rows, problems, .. } = partition.summary;
            write!(
                out,
                "partition {}: entry {applied}, {rows} rows: {triggers} triggers, {ids} ids, ",
                partition.number
            )?;
            write!(out, "{completed_in_runs} completed in runs, {ended} ended; ")?;
            match (&partition.failed, problems) {
                (Some(_), _) => writeln!(out, "not readable to the end")?,
                (None, 0) => writeln!(out, "fine")?,
                (None, problems) => writeln!(out, "{problems} problems")?,
            }
        }
        for finding in &self.findings {
            let at = finding.offset.map_or_else(String::new, |offset| format!(" at offset {offset}"));
            let path = if finding.path.as_os_str().is_empty() { Path::new(".") } else { &finding.path };
            match finding.damage {
                None => writeln!(out, "\nharmless: {}{at}: {}", path.display(), finding.what)?,
                Some(damage) => {
                    writeln!(out, "\nDAMAGE: {}{at}: {}", path.display(), finding.what)?;
                    writeln!(out, "  means: {}\n  to do: {}", damage.means(), damage.remedy())?;
                }
            }
        }
        for partition in &self.partitions {
            if let Some(reason) = &partition.failed {
                writeln!(out, "\nDAMAGE: {}: rows cannot be read: {reason}", partition.path.display())?;
            }
            for problem in &partition.problems {
                writeln!(out, "\nWRONG: partition {}, {}: {}", partition.number, problem.row, problem.wrong)?;
                writeln!(out, "  means: {}", problem.means)?;
            }
            let hidden = partition.summary.problems.saturating_sub(partition.problems.len() as u64);
            if hidden > 0 {
                writeln!(out, "\npartition {}: {hidden} more problems", partition.number)?;
            }
        }
        if !self.partitions.iter().all(Checked::is_fine) {
            writeln!(out, "\nrows that disagree, to do: {ROWS_REMEDY}")?;
        }
        writeln!(out, "\n{}", if self.is_fine() { "fine" } else { "not fine: do not start a node on this directory" })
    }

    /// For a machine: one object.
    pub fn json(&self) -> Value {
        let findings = self.findings.iter().map(|finding| {
            json!({
                "path": finding.path.display().to_string(),
                "offset": finding.offset,
                "what": finding.what,
                "damage": finding.damage.is_some(),
                "means": finding.damage.map(raft::verify::Damage::means),
                "to_do": finding.damage.map(raft::verify::Damage::remedy),
            })
        });
        let owner = self.files.owner.as_ref();
        json!({
            "dir": self.dir.display().to_string(),
            "fine": self.is_fine(),
            "owner": owner.map(|(cluster, node, partitions)| {
                json!({ "cluster": cluster, "node": node, "partitions": partitions })
            }),
            "log": { "segments": self.files.log_segments, "records": self.files.log_records },
            "tables": { "files": self.files.tables, "bytes": self.files.table_bytes },
            "partitions": self.partitions.iter().map(Checked::json).collect::<Vec<_>>(),
            "findings": findings.collect::<Vec<_>>(),
        })
    }

    /// Writes it to standard output, as one line of JSON or for a human.
    pub fn print(&self, as_json: bool) -> std::io::Result<()> {
        let text = if as_json { format!("{}\n", self.json()) } else { self.text() };
        std::io::stdout().write_all(text.as_bytes())
    }
}

impl Checked {
    fn is_fine(&self) -> bool {
        self.failed.is_none() && self.summary.problems == 0
    }

    fn json(&self) -> Value {
        let problems = self.problems.iter().map(|problem| {
            let key: String = problem.key.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "key": key, "row": problem.row, "wrong": problem.wrong, "means": problem.means })
        });
        json!({
            "partition": self.number,
            "path": self.path.display().to_string(),
            "applied": self.summary.applied,
            "watermark_ms": self.summary.watermark.as_millis(),
            "rows": self.summary.rows,
            "topics": self.summary.topics,
            "triggers": self.summary.triggers,
            "ids": self.summary.ids,
            "completed_in_runs": self.summary.completed_in_runs,
            "ended": self.summary.ended,
            "unreadable": self.failed,
            "problems_total": self.summary.problems,
            "problems": problems.collect::<Vec<_>>(),
        })
    }
}
