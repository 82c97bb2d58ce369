//! `bosingak` against a real cluster.

use std::process::Stdio;
use std::time::Duration;

use e2e::Scene;
use serde_json::Value;
use tokio::process::Command;

/// What a command came to.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub error: String,
}

/// Runs a command to its end; one that hangs is a failure.
pub async fn bosingak(scene: &Scene, arguments: &[&str]) -> Said {
    let binary = harness::binary::find("bosingak").unwrap();
    let running = Command::new(binary)
        .args(["--address", &scene.cluster.endpoints().join(",")])
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(30), running)
        .await
        .unwrap_or_else(|_| panic!("{arguments:?} hangs"))
        .unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        error: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The JSON document a command prints.
pub async fn json(scene: &Scene, arguments: &[&str]) -> Value {
    let said = bosingak(scene, &[arguments, &["-o", "json"]].concat()).await;
    assert_eq!(said.code, 0, "{arguments:?}: {}{}", said.out, said.error);
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", said.out))
}

/// Every noun answers, for people and as JSON that parses; one trigger goes through its whole life by command line.
///
/// Red when a command prints a remark to standard output, where programs read JSON.
#[tokio::test]
async fn the_command_line_does_a_whole_life() {
    let scene = Scene::three().await.unwrap();
    let scheduled = json(
        &scene,
        &[
            "trigger",
            "schedule",
            "--topic",
            "cli",
            "--id",
            "cli-1",
            "--at",
            "2027-02-14T00:00 Asia/Seoul",
            "--payload",
            "hello",
        ],
    )
    .await;
    assert_eq!(scheduled["id"], "cli-1");
    assert_eq!(scheduled["due"], "2027-02-13T15:00:00Z", "{scheduled}");
    json(&scene, &["trigger", "schedule", "--topic", "cli", "--id", "cli-2", "--in", "1h"]).await;
    let one = json(&scene, &["trigger", "get", "cli-1"]).await;
    assert_eq!(one["state"], "TRIGGER_STATE_SCHEDULED", "{one}");
    let list = json(&scene, &["trigger", "list", "--topic", "cli"]).await;
    assert_eq!(list["triggers"].as_array().map(Vec::len), Some(2), "{list}");
    json(&scene, &["trigger", "reschedule", "cli-2", "--in", "2h"]).await;
    json(&scene, &["trigger", "cancel", "cli-2"]).await;
    json(&scene, &["trigger", "run-now", "cli-1"]).await;
    let worked =
        bosingak(&scene, &["executor", "run", "--topic", "cli", "--print", "--count", "1", "-o", "jsonl"]).await;
    assert_eq!(worked.code, 0, "{}{}", worked.out, worked.error);
    assert!(worked.out.contains("cli-1"), "{}", worked.out);
    let done = json(&scene, &["trigger", "get", "cli-1"]).await;
    assert_eq!(done["state"], "TRIGGER_STATE_COMPLETED", "{done}");

    for arguments in [
        &["topic", "update", "cli", "--lease", "5s"][..],
        &["topic", "list"],
        &["topic", "get", "cli"],
        &["topic", "pause", "cli"],
        &["topic", "resume", "cli"],
        &["dead-letter", "list"],
        &["forecast"],
        &["executor", "list"],
        &["version"],
    ] {
        json(&scene, arguments).await;
    }
    let status = json(&scene, &["cluster", "status"]).await;
    assert_eq!(status["partitions"].as_array().map(Vec::len), Some(4), "{status}");
    let table = bosingak(&scene, &["trigger", "list"]).await;
    assert!(table.out.starts_with("ID"), "{}", table.out);
}

/// Failures have the exit codes that scripts branch on, and nothing of them is on standard output.
///
/// Red when every failure exits with 1.
#[tokio::test]
async fn failures_have_their_exit_codes() {
    let scene = Scene::with(harness::cluster::Options { nodes: 1, ..Default::default() }).await.unwrap();
    json(&scene, &["trigger", "schedule", "--topic", "cli", "--id", "taken", "--in", "1h"]).await;
    let cases: [(&[&str], i32); 4] = [
        (&["trigger", "get", "nobody"], 3),
        (&["trigger", "schedule", "--topic", "cli", "--id", "taken", "--in", "2h"], 4),
        (&["trigger", "schedule", "--topic", "a/b", "--in", "1h"], 2),
        (&["no-such-noun"], 2),
    ];
    for (arguments, code) in cases {
        let said = bosingak(&scene, arguments).await;
        assert_eq!(said.code, code, "{arguments:?}: {}{}", said.out, said.error);
        assert!(said.out.is_empty() && !said.error.is_empty(), "{arguments:?}: {}", said.out);
    }
}
