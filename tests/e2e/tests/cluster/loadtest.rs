//! The load generator as a program: its reports, its exit codes, and what it leaves behind.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use harness::process::{Process, Program};
use harness::wait;
use serde_json::Value;
use tokio::process::Command;

/// On a disk: the load generator refuses to measure in memory.
const DISK: &str = env!("CARGO_TARGET_TMPDIR");

/// Nothing here takes as long, on whatever machine.
const WITHIN: Duration = Duration::from_secs(120);

/// A run with its arguments, to its end.
async fn loadtest(arguments: &[&str]) -> Output {
    let running = Command::new(harness::binary::find("bosingak-loadtest").unwrap())
        .args(arguments)
        .args(["--dir", DISK])
        // The server that was built with this test, not one built by the run.
        .env(harness::binary::BINARIES, harness::binary::directory().unwrap())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    tokio::time::timeout(WITHIN, running).await.unwrap_or_else(|_| panic!("{arguments:?} hangs")).unwrap()
}

/// The report of a run whose verdict is good.
async fn good(arguments: &[&str]) -> Value {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("report.json");
    let output = loadtest(&[arguments, &["--report", file.to_str().unwrap()]].concat()).await;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
    let report: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
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
        "throughput_per_s",
        "latency_ms",
        "lateness_ms",
        "drain_s",
        "redelivered",
        "bytes_written_per_trigger",
        "rss_bytes_max",
        "cpu_s",
        "file_system",
        "sync_p50_ms",
    ] {
        assert!(report.get(field).is_some(), "{field} is not in {report}");
    }
    assert_eq!(report["scenario"], arguments[0]);
    report
}

fn number(report: &Value, field: &str) -> u64 {
    report[field].as_u64().unwrap_or_else(|| panic!("{field} in {report}"))
}

/// Turns red when a cancelled hold fires, or a hold neither fires nor is cancelled.
#[tokio::test]
async fn churn_is_good_on_one_node_and_on_three() {
    for nodes in ["1", "3"] {
        let report = good(&["churn", "--spawn", nodes, "--seconds", "3", "--rate", "200"]).await;
        assert_eq!((number(&report, "count"), number(&report, "ok")), (600, 600), "{report}");
        let (cancelled, fired) = (number(&report, "cancelled"), number(&report, "fired"));
        assert_eq!(cancelled + fired, 600, "{report}");
        // 570 are meant to be cancelled in time, 24 to fire; a busy machine may make some cancels late.
        assert!(cancelled >= 400 && fired >= 24, "{report}");
        assert_eq!(number(&report, "read_at_the_end"), 600);
    }
}

/// Turns red when something of a day is lost, or its peaks are not measured apart.
#[tokio::test]
async fn mixed_is_good_on_one_node_and_on_three() {
    for nodes in ["1", "3"] {
        let report = good(&["mixed", "--spawn", nodes, "--seconds", "6", "--rate", "40"]).await;
        assert!(number(&report, "count") > 400, "{report}");
        assert_eq!(number(&report, "count"), number(&report, "ok"), "{report}");
        for histogram in ["latency_ms_at_1_times", "latency_ms_at_10_times", "latency_ms_at_50_times"] {
            assert!(report[histogram]["p99"].as_f64().is_some_and(|p99| p99 > 0.0), "{histogram} in {report}");
        }
    }
}

/// Turns red when a soak loses anything, or its report does not set its first third beside its last.
#[tokio::test]
async fn soak_is_good_on_one_node_and_on_three() {
    for nodes in ["1", "3"] {
        let report = good(&["soak", "--spawn", nodes, "--seconds", "6", "--rate", "100"]).await;
        assert_eq!((number(&report, "count"), number(&report, "ok")), (600, 600), "{report}");
        for figure in ["memory_bytes", "disk_bytes"] {
            for third in ["first", "last"] {
                assert!(number(&report, &format!("{figure}_{third}_third")) > 0, "{report}");
            }
        }
        assert!(report["lateness_ms_last_third"]["p50"].as_f64().is_some_and(|p50| p50 > 0.0), "{report}");
    }
}

/// Turns red when a gift is lost or sent twice, or the books differ, from the reservation to the code behind the link.
#[tokio::test]
async fn gift_midnight_is_good_on_one_node_and_on_three() {
    for nodes in ["1", "3"] {
        let report = good(&["gift-midnight", "--spawn", nodes, "--count", "300", "--executors", "1"]).await;
        assert_eq!((number(&report, "count"), number(&report, "ok")), (300, 300), "{report}");
        assert_eq!((number(&report, "gift_messages"), number(&report, "reserved")), (300, 300), "{report}");
        // A hundred of each product: 4,500, 32,000 and 50,000 won.
        assert_eq!((number(&report, "won_delivered"), number(&report, "won_held")), (8_650_000, 0), "{report}");
        assert_eq!(number(&report, "won_captured_by_the_provider"), 8_650_000, "{report}");
        assert!(number(&report, "links_opened_and_accepted") >= 200, "{report}");
        assert!(report["latency_ms"]["p99"].as_f64().is_some_and(|p99| p99 > 0.0), "{report}");
        assert!(report["commands_per_gift_sending"].as_f64().is_some_and(|commands| commands > 1.0), "{report}");
    }
}

/// Turns red when reserving at a peak loses what is sent meanwhile, or a gift for later is sent.
#[tokio::test]
async fn valentine_is_good_on_one_node() {
    let report = good(&["valentine", "--spawn", "1", "--count", "150", "--seconds", "2", "--executors", "1"]).await;
    // 500,000 a day, ten times that, for two seconds.
    assert_eq!(number(&report, "count"), 150 + 115, "{report}");
    assert_eq!((number(&report, "ok"), number(&report, "gift_messages")), (265, 150), "{report}");
    assert!(number(&report, "won_held") > 0 && number(&report, "won_that_differ") == 0, "{report}");
    assert!(report["limit"].is_string() && report["processors"]["nodes"].is_number(), "{report}");
}

/// Turns red when a wrong usage ends with another code than 2, says more than a line, or starts anything.
#[tokio::test]
async fn what_cannot_be_run_is_refused_in_one_line() {
    for (arguments, named) in [
        (&["no-such-scenario"][..], "no-such-scenario"),
        (&["schedule", "--endpoint", "http://127.0.0.1:9"], "http://127.0.0.1:9"),
        (&["schedule", "--endpoint", "no url"], "no url"),
        (&["mixed", "--seconds", "1"], "--seconds"),
        (&["soak", "--minutes", "0"], "--minutes"),
        (&["churn", "--rate", "0"], "--rate"),
        (&["failover", "--spawn", "1"], "--spawn"),
        (&["gift-midnight", "--endpoint", "http://127.0.0.1:9"], "--endpoint"),
        (&["valentine", "--factor", "0"], "--factor"),
    ] {
        let output = loadtest(arguments).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(said.lines().count() == 1 && said.contains(named), "{arguments:?}: {said}");
    }
}

/// Turns red when a run that is ended by a signal leaves a server, an executor or its directory behind, or ends with
/// another code; and when one that is killed leaves processes behind.
#[tokio::test]
async fn an_interrupted_run_leaves_nothing_behind() {
    for (signal, code) in [(libc::SIGINT, Some(130)), (libc::SIGTERM, Some(143)), (libc::SIGKILL, None)] {
        let place = tempfile::tempdir_in(DISK).unwrap();
        let mut run = start(place.path());
        let pid = run.pid();
        // Three nodes and two executors, in the middle of the work.
        wait::until("five processes at work", WITHIN, || async {
            let log = run_log(place.path());
            let children = children(pid);
            if children.len() == 5 && log.contains("triggers per second") { Ok(()) } else { Err((children, log)) }
        })
        .await
        .unwrap();
        let children = children(pid);
        run.signal(signal).unwrap();
        let status = wait::until("end of the run", WITHIN, || {
            let exited = run.exited();
            async move { exited.map_err(|error| error.to_string())?.ok_or_else(|| "it runs".to_owned()) }
        })
        .await
        .unwrap();
        assert_eq!(status.code(), code, "{}", run_log(place.path()));
        // Whoever is killed cannot wait for those it takes with it.
        wait::until("end of all it had started", WITHIN, || async {
            let left: Vec<u32> = children.iter().copied().filter(|child| is_there(*child)).collect();
            if left.is_empty() { Ok(()) } else { Err(left) }
        })
        .await
        .unwrap();
        if code.is_some() {
            let log = run_log(place.path());
            assert!(log.contains("node 3") && log.contains("executor-2"), "it does not say what it ended: {log}");
            let left: Vec<_> =
                std::fs::read_dir(place.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
            assert_eq!(left, ["log"], "directories are left");
        }
    }
}

/// Starts a run that goes on for ten minutes.
fn start(place: &Path) -> Process {
    let arguments =
        ["lateness", "--spawn", "3", "--executors", "2", "--seconds", "600", "--dir", place.to_str().unwrap()];
    Process::start(Program {
        name: "loadtest".into(),
        binary: harness::binary::find("bosingak-loadtest").unwrap(),
        arguments: arguments.map(Into::into).to_vec(),
        environment: vec![(
            harness::binary::BINARIES.into(),
            harness::binary::directory().unwrap().to_str().unwrap().into(),
        )],
        log: place.join("log"),
        piped: false,
    })
    .unwrap()
}

fn run_log(place: &Path) -> String {
    std::fs::read_to_string(place.join("log")).unwrap_or_default()
}

/// Processes whose parent is `parent`, as /proc says.
fn children(parent: u32) -> BTreeSet<u32> {
    let numbers =
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|child| stat(*child).is_some_and(|(_, of)| of == parent)).collect()
}

/// Whether a process runs; one that has ended and is not waited for by whoever inherited it does not.
fn is_there(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

/// State and parent of a process.
fn stat(pid: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold spaces.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
