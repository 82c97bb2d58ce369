//! `./dev demo gift`, as whoever tries it out runs it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// The whole story, on a machine that does other things too.
const WITHIN: Duration = Duration::from_secs(200);

fn demo(directory: &Path) -> Command {
    let mut command = Command::new(harness::binary::find("bosingak-gift-demo").expect("built"));
    command.env("TMPDIR", directory).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// What the demo has left of its own.
fn left(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    // Ports are locked by whoever starts processes, and the locks stay.
    names.filter(|name| name != "bosingak-ports").collect()
}

/// Red when a gift is not where the story says, a message or a code is made twice, the books are not the provider's, or the demo
/// leaves something behind.
#[tokio::test]
async fn the_demo_tells_the_whole_story() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = tokio::time::timeout(WITHIN, demo(directory.path()).arg("--json").output()).await.expect("in time");
    let output = output.expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{error}\n{}", output.status, String::from_utf8_lossy(&output.stdout));
    let told: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(told["good"], true);
    let state = |id: &str| {
        let gifts = told["gifts"].as_array().expect("gifts");
        gifts.iter().find(|gift| gift["id"] == id).map(|gift| gift["state"].clone()).unwrap_or_default()
    };
    for (id, expected) in [
        ("coffee-minjun", "USED"),
        ("coffee-hayoon", "USED"),
        ("cake-emma", "USED"),
        ("coffee-seoyeon", "REFUNDED"),
        ("coffee-jiho", "REFUNDED"),
        ("coffee-sua", "REFUNDED"),
        ("coffee-dad", "REFUNDED"),
        ("cake-yejun", "FAILED"),
    ] {
        assert_eq!(state(id), expected, "{id}");
    }
    let (ours, provider) = (&told["books"]["ours"], &told["books"]["provider"]);
    assert_eq!((&ours["capturedWon"], &ours["refundedWon"]), (&59_000.into(), &18_000.into()), "{ours}");
    assert_eq!(
        (&ours["deliveredWon"], &ours["heldWon"], &ours["inTransitWon"]),
        (&41_000.into(), &0.into(), &0.into())
    );
    assert_eq!((&provider["capturedWon"], &provider["refundedWon"]), (&59_000.into(), &18_000.into()), "{provider}");
    let timeline = told["timeline"].as_array().expect("a timeline");
    for text in
        ["sms → 하윤", "email → Emma", "executor-1 and all three nodes are killed", "the recipient was reminded"]
    {
        let found = timeline.iter().any(|entry| entry["text"].as_str().is_some_and(|told| told.contains(text)));
        assert!(found, "{text:?} is not in the timeline: {timeline:#?}");
    }
    assert_eq!(left(directory.path()), [""; 0]);
}

/// Red when an interrupted demo leaves a process or a directory.
#[tokio::test]
async fn an_interrupted_demo_leaves_nothing_behind() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut child = demo(directory.path()).stdout(Stdio::piped()).spawn().expect("it runs");
    let pid = child.id().expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    // By then everything is started.
    loop {
        let line = tokio::time::timeout(WITHIN, lines.next_line()).await.expect("in time").expect("it can be read");
        if line.expect("the demo ended before it was interrupted").contains("reserve") {
            break;
        }
    }
    let children = children_of(pid);
    assert!(children.len() >= 3, "{children:?}");
    let signal = Command::new("kill").args(["-INT", &pid.to_string()]).status().await.expect("there is a kill");
    assert!(signal.success());
    let status = tokio::time::timeout(WITHIN, child.wait()).await.expect("in time").expect("it ends");
    assert_eq!(status.code(), Some(130));
    let there: Vec<_> = children.iter().filter(|child| Path::new(&format!("/proc/{child}")).exists()).collect();
    assert!(there.is_empty(), "{there:?} go on");
    assert_eq!(left(directory.path()), [""; 0]);
}

fn children_of(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let children = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
    children
        .flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|id| id.parse().ok())
        .collect()
}
