//! The short form of a chaos run: every fault once, whatever time that takes; and what the program says to nonsense.

use std::path::Path;
use std::process::{Command, Output};

/// What the program exits with where namespaces, TUN or disks of its own are not permitted.
const NOT_PERMITTED: i32 = 3;

fn chaos(arguments: &[&str], directory: &Path) -> Output {
    // Found beside the other binaries, as the servers are.
    let mut command = Command::new(env!("CARGO_BIN_EXE_bosingak-chaos"));
    command.args(arguments).arg("--dir").arg(directory);
    command.output().unwrap()
}

/// The report of a run that proves what it is about; `None` where the platform does not permit it.
fn proven(arguments: &[&str]) -> Option<serde_json::Value> {
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("report.json");
    let output = chaos(&[arguments, &["--report", report.to_str().unwrap()]].concat(), directory.path());
    let said = format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    if output.status.code() == Some(NOT_PERMITTED) {
        eprintln!("skipped: {said}");
        return None;
    }
    println!("{said}");
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_eq!(report["verdict"], "PROVEN", "{report:#}");
    Some(report)
}

/// Every fault that is listed, once, under load, with a fixed seed: every promise holds.
///
/// Red when an append is acknowledged before its sync (a power cut loses it), when a leader that was cut off goes on delivering,
/// or when a change of members cannot be finished after the leader died.
#[test]
fn every_fault_once() {
    let Some(report) = proven(&["--minutes", "0", "--seed", "7"]) else { return };
    for kind in ["delayed", "lost", "cut"] {
        assert!(report["packets"][kind].as_u64().unwrap() > 0, "{kind}: {report:#}");
    }
    assert!(
        Command::new("ip")
            .arg("netns")
            .output()
            .is_ok_and(|list| { !String::from_utf8_lossy(&list.stdout).contains("bosingak-") })
    );
}

/// Nodes whose syncs do nothing lose what they acknowledged when the power goes everywhere, and the run says so.
///
/// Red when a power cut takes nothing, or a loss is not seen.
#[test]
fn a_disk_that_lies_is_found_out() {
    let directory = tempfile::tempdir().unwrap();
    let output = chaos(&["--minutes", "0", "--lie-about-syncs", "--only", "power-cut-all"], directory.path());
    let said = format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    if output.status.code() == Some(NOT_PERMITTED) {
        eprintln!("skipped: {said}");
        return;
    }
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("BROKEN (seed 1)"), "{said}");
}

/// Red when nonsense is taken, or starts anything.
#[test]
fn nonsense_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for nonsense in [["--only", "flood"], ["--minutes", "soon"], ["--allow-skip", "everything"]] {
        let output = chaos(&nonsense, directory.path());
        assert_eq!(output.status.code(), Some(2), "{nonsense:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(nonsense[1]));
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    // Not taken for a platform that permits nothing, which would skip the run.
    let nowhere = chaos(&["--minutes", "0"], &directory.path().join("nowhere"));
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("nowhere: expected a directory that is there"));
}

/// A node dies at every place between a write and what follows it, in one of two ways each, and comes back.
///
/// Red when an entry is answered before its sync, when the log is cut before a checkpoint is in files, when a torn write is taken for a whole
/// one, or when a snapshot that is half taken over is taken for rows.
#[test]
fn a_death_at_every_place() {
    let Some(report) = proven(&["--crash-points", "--minutes", "0", "--seed", "5"]) else { return };
    assert!(report["crashes"].as_object().unwrap().len() > 20, "{report:#}");
}
