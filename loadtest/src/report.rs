//! What a run came to: for people, for programs, and as an exit code.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::histogram::Percentiles;
use crate::oracle::Tally;

/// The report of a scenario, as it is written to JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Which scenario.
    pub scenario: String,
    /// Nodes of the cluster.
    pub nodes: u64,
    /// Its partitions.
    pub partitions: u32,
    /// Triggers asked for.
    pub count: u64,
    /// Those that ended as they should: acknowledged, and completed or cancelled where the scenario lets them fire.
    pub ok: u64,
    /// Calls that failed for good, by reason.
    pub errors: BTreeMap<String, u64>,
    /// Acknowledged and not there or not completed at the end.
    pub lost: u64,
    /// Completed twice.
    pub duplicates: u64,
    /// Fired or delivered before due.
    pub early: u64,
    /// Answers to cancels that what happened contradicts: cancelled and fired, or neither.
    pub contradicted: u64,
    /// What the scenario is about, per second.
    pub throughput_per_s: f64,
    /// Calls, from when they were to be made to their answer.
    pub latency_ms: Percentiles,
    /// Deliveries, from due to received.
    pub lateness_ms: Percentiles,
    /// From the due time of a burst to its last durable completion.
    pub drain_s: f64,
    /// Deliveries beyond the first of each trigger; allowed.
    pub redelivered: u64,
    /// Bytes the disk wrote during the run, per trigger and node.
    pub bytes_written_per_trigger: f64,
    /// Largest resident set of a node.
    pub rss_bytes_max: u64,
    /// Processor seconds of all nodes.
    pub cpu_s: f64,
    /// Whatever else a scenario measures, and what it ran on.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
    /// Further reasons for a red verdict, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
    /// Of 1,000 things tried so many have to do well.
    #[serde(skip)]
    pub success_per_mille: u64,
    /// Nodes were killed: failed calls are then no fault.
    #[serde(skip)]
    pub faults: bool,
}

impl Report {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(scenario: &str, nodes: u64, partitions: u32) -> Self {
        Self {
            scenario: scenario.to_owned(),
            nodes,
            partitions,
            count: 0,
            ok: 0,
            errors: BTreeMap::new(),
            lost: 0,
            duplicates: 0,
            early: 0,
            contradicted: 0,
            throughput_per_s: 0.0,
            latency_ms: Percentiles::default(),
            lateness_ms: Percentiles::default(),
            drain_s: 0.0,
            redelivered: 0,
            bytes_written_per_trigger: 0.0,
            rss_bytes_max: 0,
            cpu_s: 0.0,
            more: BTreeMap::new(),
            findings: Vec::new(),
            success_per_mille: 990,
            faults: false,
        }
    }

    /// Takes over what the oracle counted.
    pub fn take(&mut self, tally: &Tally) {
        self.count = tally.count;
        self.ok = tally.ended.saturating_sub(tally.failed_changes);
        self.lost = tally.lost;
        self.duplicates = tally.duplicates;
        self.early = tally.early;
        self.contradicted = tally.contradicted;
        self.redelivered = tally.redelivered;
    }

    /// Adds a figure of this scenario alone.
    pub fn add(&mut self, name: &str, value: impl Into<Value>) {
        self.more.insert(name.to_owned(), value.into());
    }

    /// Why the verdict is red; empty when it is not.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.lost > 0 {
            problems.push(format!("{} acknowledged triggers were lost", self.lost));
        }
        if self.duplicates > 0 {
            problems.push(format!("{} triggers were completed twice, or never asked for", self.duplicates));
        }
        if self.early > 0 {
            problems.push(format!("{} triggers fired early", self.early));
        }
        if self.contradicted > 0 {
            problems.push(format!("{} answers to cancels contradict what happened", self.contradicted));
        }
        if self.count == 0 {
            problems.push("nothing was tried".into());
        }
        if !self.faults && self.ok * 1_000 < self.count * self.success_per_mille {
            let (percent, tenth) = (self.success_per_mille / 10, self.success_per_mille % 10);
            let least = if tenth == 0 { format!("{percent} %") } else { format!("{percent}.{tenth} %") };
            problems.push(format!("{} of {} succeeded, less than {least}", self.ok, self.count));
        }
        problems.extend(self.findings.iter().cloned());
        problems
    }

    /// Writes it as JSON.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write(&self, file: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(file, text + "\n").map_err(|error| anyhow::anyhow!("cannot write {}: {error}", file.display()))
    }

    /// The table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut rows: Vec<(String, String)> = vec![
            ("scenario".into(), self.scenario.clone()),
            ("nodes / partitions".into(), format!("{} / {}", self.nodes, self.partitions)),
            ("asked for".into(), grouped(self.count)),
            ("ok".into(), grouped(self.ok)),
        ];
        for (reason, count) in &self.errors {
            rows.push((format!("failed: {reason}"), grouped(*count)));
        }
        rows.push(("lost".into(), grouped(self.lost)));
        rows.push(("completed twice".into(), grouped(self.duplicates)));
        rows.push(("early".into(), grouped(self.early)));
        if self.contradicted > 0 {
            rows.push(("cancelled and fired".into(), grouped(self.contradicted)));
        }
        rows.push(("redelivered (allowed)".into(), grouped(self.redelivered)));
        if self.throughput_per_s > 0.0 {
            rows.push(("per second".into(), format!("{:.0}", self.throughput_per_s)));
        }
        if self.latency_ms != Percentiles::default() {
            rows.push(("latency of calls".into(), self.latency_ms.to_string()));
        }
        if self.lateness_ms != Percentiles::default() {
            rows.push(("lateness".into(), self.lateness_ms.to_string()));
        }
        if self.drain_s > 0.0 {
            rows.push(("burst drained after".into(), format!("{:.3} s", self.drain_s)));
        }
        if self.rss_bytes_max > 0 {
            rows.push(("disk bytes per trigger, node".into(), format!("{:.0} bytes", self.bytes_written_per_trigger)));
            rows.push(("largest memory of a node".into(), format!("{} MiB", self.rss_bytes_max >> 20)));
            rows.push(("processor time of nodes".into(), format!("{:.1} s", self.cpu_s)));
        }
        for (name, value) in &self.more {
            rows.push((name.replace('_', " "), shown(value)));
        }
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for (name, value) in rows {
            text.push_str(&format!("  {name:<width$}  {value}\n"));
        }
        let problems = self.problems();
        if problems.is_empty() {
            text.push_str("verdict: good\n");
        }
        for problem in problems {
            text.push_str(&format!("verdict: BAD: {problem}\n"));
        }
        text
    }
}

/// A figure for people.
fn shown(value: &Value) -> String {
    match value {
        Value::Number(number) => match (number.as_u64(), number.as_f64()) {
            (Some(whole), _) => grouped(whole),
            (None, Some(float)) => format!("{float:.3}"),
            _ => number.to_string(),
        },
        Value::String(text) => text.clone(),
        Value::Object(fields) if fields.contains_key("p999") => {
            let at = |name: &str| fields.get(name).and_then(Value::as_f64).unwrap_or(0.0);
            let percentiles =
                Percentiles { p50: at("p50"), p95: at("p95"), p99: at("p99"), p999: at("p999"), max: at("max") };
            percentiles.to_string()
        }
        other => other.to_string(),
    }
}

/// With commas between thousands.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red when a field of the report is renamed: programs read it.
    #[test]
    fn the_report_has_its_fields() {
        let mut report = Report::new("growth", 3, 4);
        report.add("schedule_ratio", 0.97);
        let json = serde_json::to_value(&report).unwrap();
        for field in [
            "scenario",
            "nodes",
            "partitions",
            "count",
            "ok",
            "errors",
            "lost",
            "duplicates",
            "early",
            "contradicted",
            "throughput_per_s",
            "latency_ms",
            "lateness_ms",
            "drain_s",
            "redelivered",
            "bytes_written_per_trigger",
            "rss_bytes_max",
            "cpu_s",
            "schedule_ratio",
        ] {
            assert!(json.get(field).is_some(), "{field}");
        }
        for field in ["p50", "p95", "p99", "p999", "max"] {
            assert!(json["latency_ms"].get(field).is_some(), "{field}");
        }
    }

    /// Red when failed calls are forgiven without faults.
    #[test]
    fn less_than_99_in_100_is_bad() {
        let mut report = Report::new("schedule", 3, 4);
        assert!(!report.problems().is_empty());
        (report.count, report.ok) = (1_000, 990);
        assert!(report.problems().is_empty());
        report.ok = 989;
        assert!(!report.problems().is_empty());
        report.success_per_mille = 999;
        report.ok = 998;
        assert_eq!(report.problems(), ["998 of 1000 succeeded, less than 99.9 %"]);
        report.faults = true;
        assert!(report.problems().is_empty());
        report.findings.push("the books differ".into());
        assert_eq!(report.problems(), ["the books differ"]);
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
