//! Every command, run as a user runs it, against a server that knows one of everything.

mod fake;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use serde_json::Value;

struct Server {
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let (address, runtime) = fake::start();
    Server { address, _runtime: runtime }
});

fn bosingak(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bosingak"));
    command
        .args(args)
        .env("BOSINGAK_ADDRESS", format!("http://{}", SERVER.address))
        .env_remove("BOSINGAK_NAMESPACE")
        .env_remove("BOSINGAK_LOG")
        .env_remove("CI")
        .stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    bosingak(args).output().expect("it starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("output is text")
}

fn fed(args: &[&str], stdin: &str) -> Output {
    let mut child =
        bosingak(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(stdin.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

const RESERVE: &[&str] = &[
    "gift-1",
    "--product",
    "coffee",
    "--sender",
    "kim",
    "--to-phone",
    "010-1",
    "--at",
    "2027-02-14",
    "--payment-key",
    "k",
];

/// Arguments of a call of every command, its exit code, and a pointer that must be in its JSON.
const COMMANDS: &[(&str, &[&str], i32, &str)] = &[
    ("trigger schedule", &["--topic", "gift", "--id", "x", "--in", "5m", "--payload", "hi"], 0, "/receipt/logIndex"),
    ("trigger get", &["x"], 0, "/payloadText"),
    ("trigger list", &["--topic", "gift", "--state", "scheduled", "-l", "a=b"], 0, "/triggers/4/id"),
    ("trigger cancel", &["x", "y"], 0, "/results/1/ok/receipt/outcome"),
    ("trigger reschedule", &["x", "--at", "2027-02-14T00:00 Asia/Seoul"], 0, "/generation"),
    ("trigger watch", &["--count", "1"], 0, "/trigger/id"),
    ("trigger run-now", &["x"], 0, "/receipt/firedIndex"),
    ("dead-letter list", &["--topic", "gift"], 0, "/triggers/0/lastError"),
    ("dead-letter requeue", &["x"], 0, "/results/0/ok/generation"),
    ("dead-letter drop", &["x", "--yes"], 0, "/results/0/ok/receipt"),
    ("topic list", &[], 0, "/topics/0/counts/scheduled"),
    ("topic get", &["gift"], 0, "/limits/ratePerSecond"),
    ("topic update", &["gift", "--lease", "1m", "--rate", "5", "--max-attempts", "3"], 0, "/limits/lease"),
    ("topic pause", &["gift"], 0, "/paused"),
    ("topic resume", &["gift"], 0, "/version"),
    ("forecast", &["--step", "1m", "--span", "1h"], 0, "/cells/0/topics/0/count"),
    // There is an alarm.
    ("cluster status", &[], 5, "/partitions/0/lag/3"),
    ("cluster transfer-leader", &["0", "--to", "2"], 0, "/leader"),
    ("cluster add-node", &["4", "--endpoint", "http://n:7300", "--peer-endpoint", "http://n:7301"], 0, "/partitions"),
    ("cluster remove-node", &["3", "-y"], 0, "/partitions"),
    // A node did not answer.
    ("cluster late", &[], 5, "/triggers/0/cause"),
    ("cluster drain", &["3"], 0, "/partitions"),
    ("cluster undrain", &["3"], 0, "/partitions"),
    ("cluster accept-clock", &["0", "-y"], 0, "/accepted"),
    ("executor list", &[], 0, "/executors/0/topics/0"),
    ("executor run", &["--topic", "gift", "--exec", "cat >/dev/null", "--count", "1"], 0, "/accepted"),
    ("top", &["--interval", "100ms", "--count", "1"], 0, "/partitions/0/leader"),
    ("product put", &["coffee", "--brand", "B", "--name", "N", "--price", "4500"], 0, "/version"),
    ("product get", &["coffee"], 0, "/priceWon"),
    ("product list", &[], 0, "/products/1/id"),
    ("gift reserve", RESERVE, 0, "/payment/capturedWon"),
    ("gift get", &["gift-1"], 0, "/events/0/what"),
    ("gift list", &["--sender", "kim"], 0, "/gifts/1/id"),
    ("gift edit", &["gift-1", "--message", "hi"], 0, "/receipt/logIndex"),
    ("gift cancel", &["gift-1"], 0, "/receipt/logIndex"),
    ("gift watch", &["gift-1", "--count", "1"], 0, "/state"),
    ("gift open", &["http://127.0.0.1:7300/g/AbC"], 0, "/code"),
    ("gift redeem", &["ABCD", "--shop", "종로점"], 0, "/gift/product/priceWon"),
    ("gift attention", &[], 0, "/gifts/0/trouble"),
    ("gift resolve", &["gift-1", "--not-sent", "--operator", "lee", "--yes"], 0, "/state"),
    ("payment get", &["gift-1"], 0, "/refund"),
    ("payment reconcile", &["--days"], 0, "/days/0/change/capturedWon"),
    ("clock advance", &["30d"], 0, "/fired"),
    ("api-key new", &["orders", "--role", "service"], 0, "/sha256"),
    ("api-key node-secret", &[], 0, "/nodeSecret"),
    ("version", &[], 0, "/version"),
];

/// Red when a command prints a table whatever the form asked for.
#[test]
fn every_command_speaks_json() {
    for (command, args, code, pointer) in COMMANDS {
        for form in ["json", "jsonl"] {
            let mut words: Vec<&str> = command.split(' ').collect();
            words.extend(*args);
            words.extend(["-o", form]);
            let output = run(&words);
            let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
            assert_eq!(output.status.code(), Some(*code), "{words:?}: {stderr}");
            let mut documents = serde_json::Deserializer::from_str(stdout).into_iter::<Value>();
            let first = documents.next().expect("something is printed").expect("it is JSON");
            let rest: Vec<Value> = documents.map(|rest| rest.expect("it is JSON")).collect();
            if form == "json" {
                assert!(rest.is_empty(), "{words:?}: one document");
                assert!(first.pointer(pointer).is_some(), "{words:?}: {pointer} in {first}");
            } else {
                assert_eq!(stdout.lines().count(), 1 + rest.len(), "{words:?}: one object on each line");
            }
        }
    }
}

#[test]
fn every_command_speaks_to_people() {
    for (command, args, code, _) in COMMANDS {
        let mut words: Vec<&str> = command.split(' ').collect();
        words.extend(*args);
        let output = run(&words);
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(*code), "{words:?}: {stderr}");
        assert!(!stdout.is_empty() || !stderr.is_empty(), "{words:?}");
        assert!(!stdout.contains('\x1b'), "{words:?}: neither colour on a pipe nor the tricks of a payload");
    }
}

/// The leaves of the help, so that no command can be forgotten above.
#[test]
fn no_command_is_left_out() {
    fn leaves(path: &mut Vec<String>, found: &mut BTreeSet<String>) {
        let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
        args.push("--help");
        let output = run(&args);
        let help = text(&output.stdout);
        let commands = help.split("\nCommands:\n").nth(1).and_then(|rest| rest.split("\n\n").next());
        let Some(commands) = commands else {
            found.insert(path.join(" "));
            return;
        };
        for line in commands.lines() {
            let Some(name) = line.strip_prefix("  ").and_then(|line| line.split(' ').next()) else {
                continue;
            };
            if !name.is_empty() && name != "help" {
                path.push(name.to_owned());
                leaves(path, found);
                path.pop();
            }
        }
    }
    let mut found = BTreeSet::new();
    leaves(&mut Vec::new(), &mut found);
    // Its output is a script, not data.
    assert!(found.remove("completion"));
    let listed: BTreeSet<String> = COMMANDS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(found, listed);
}

/// Red when a script that pays for gifts goes on after one was declined, or after books that do not add up.
#[test]
fn what_went_wrong_with_money_is_no_success() {
    let declined: Vec<&str> = ["gift", "reserve", "declined"].into_iter().chain(RESERVE[1..].iter().copied()).collect();
    let output = run(&declined);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("REJECT_CARD_PAYMENT"));
    let output = run(&["payment", "reconcile", "--as-of", "2027-02-13T15:00:00Z"]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("does not add up: 100 won"), "{}", text(&output.stdout));
    let passed_on = run(&["gift", "open", "old"]);
    assert!(text(&passed_on.stdout).contains("passed on"), "{}", text(&passed_on.stdout));
}

#[test]
fn exit_codes_tell_what_kind_of_failure_it_was() {
    for (args, code, said) in [
        (&["trigger", "get", "missing"][..], 3, "try: `bosingak trigger list`"),
        (&["trigger", "reschedule", "fired", "--in", "1s"], 4, "FIRED at log index 20 of partition 1"),
        (&["trigger", "run-now", "moved"], 4, "VERSION_MISMATCH"),
        (&["trigger", "get", "denied"], 7, "refused"),
        (&["trigger", "get", "wrong"], 2, "id: has a space in it"),
        (&["trigger", "get", "down", "--timeout", "300ms"], 6, "NO_QUORUM"),
        (
            &["trigger", "get", "x", "--address", "http://127.0.0.1:1", "--timeout", "300ms"],
            6,
            "try: is a server there?",
        ),
        (&["trigger", "get", "x", "--address", "nowhere"], 2, "has no port"),
        (&["trigger", "schedule", "--topic", "t"], 2, "--at: say when it is due"),
        (&["trigger", "schedule", "--topic", "t", "--at", "2027-02-14T00:00"], 2, "names no time zone"),
        (&["trigger", "schedule", "--topic", "t", "--in", "5"], 2, "no length of time"),
        (&["dead-letter", "drop", "x"], 2, "try: the same with --yes"),
        (&["gift", "get", "missing"], 3, "refused"),
        (&["gift", "cancel", "moved"], 4, "VERSION_MISMATCH"),
        (&["gift", "edit", "gift-1"], 2, "say what is to be another"),
        (&["gift", "edit", "gift-1", "--at", "tomorrow"], 2, "--at: "),
        (&["gift", "open", "/"], 2, "LINK: expected a link"),
        (&["gift", "resolve", "gift-1", "--operator", "lee", "--yes"], 2, "--sent"),
        (&["gift", "resolve", "gift-1", "--sent", "--operator", "lee"], 2, "try: the same with --yes"),
        (&["payment", "reconcile", "--as-of", "yesterday"], 2, "--as-of: "),
        (&["executor", "run", "--topic", "t"], 2, "say what to do"),
        (&["executor", "run", "--topic", "t", "--http", "https://x"], 2, "only http://"),
        (
            &["cluster", "add-node", "4", "--endpoint", "n:7300", "--peer-endpoint", "https://n:7301"],
            2,
            "expected HOST:PORT",
        ),
        (&["nonsense"], 2, "unrecognized subcommand"),
        (&["trigger", "cancel", "x", "missing"], 5, "missing: refused"),
        (&["trigger", "cancel", "missing"], 3, "missing: refused"),
    ] {
        let output = run(args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(said), "{args:?}: {stderr}");
    }
}

#[test]
fn failures_are_json_too() {
    let output = run(&["trigger", "reschedule", "fired", "--in", "1s", "-o", "json"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(output.stdout.is_empty());
    let failure: Value = serde_json::from_slice(&output.stderr).expect("it is JSON");
    assert_eq!(failure["error"]["reason"], "ALREADY_FIRED");
    assert_eq!(failure["error"]["receipt"]["outcome"], "OUTCOME_FIRED");
    assert_eq!(failure["error"]["exitCode"], 4);
}

#[test]
fn local_times_reach_the_server_as_they_were_said() {
    let args =
        ["trigger", "schedule", "--topic", "t", "--at", "2027-02-14T00:00 Asia/Seoul", "--local-policy", "reject"];
    let output = bosingak(&args).args(["-o", "json"]).output().expect("it starts");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(answer["localTime"]["dateTime"], "2027-02-14T00:00");
    assert_eq!(answer["localTime"]["timeZone"], "Asia/Seoul");
    assert_eq!(answer["localTime"]["policy"], "LOCAL_TIME_POLICY_REJECT");
    assert_eq!(answer["namespace"], "default");
    assert_eq!(answer["id"].as_str().map(str::len), Some(36));
}

#[test]
fn batches_come_from_standard_input_and_fail_in_part() {
    let lines = r#"
        {"topic":"t","id":"a","in":"5m","payloadText":"hi"}
        {"topic":"t","id":"wrong","in":"5m"}
    "#;
    let output = fed(&["trigger", "schedule", "--batch", "-", "-o", "jsonl"], lines);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    let results: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
    assert_eq!(results[0]["ok"]["id"], "a");
    assert_eq!(results[1]["error"]["fields"][0]["field"], "id");

    let typo = fed(&["trigger", "schedule", "--batch", "-"], "{\"topic\":\"t\",\"in\":\"5m\"}\n{\"topik\":1}");
    assert_eq!(typo.status.code(), Some(2));
    assert!(text(&typo.stderr).contains("line 2: "), "{}", text(&typo.stderr));
    assert!(typo.stdout.is_empty(), "nothing was sent");

    let cancelled = fed(&["trigger", "cancel", "-", "-o", "json"], "a\n\nb\n");
    let results: Value = serde_json::from_slice(&cancelled.stdout).expect("it is JSON");
    assert_eq!(results["results"].as_array().map(Vec::len), Some(2));
}

#[test]
fn lists_end_at_their_limit_and_say_how_to_go_on() {
    let output = run(&["trigger", "list", "--limit", "2", "-o", "json"]);
    let page: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(page["triggers"].as_array().map(Vec::len), Some(2));
    assert_eq!(page["nextPageToken"], "2");
    let output = run(&["trigger", "list", "--limit", "0", "--page-token", "2", "-q"]);
    assert_eq!(text(&output.stdout), "선물-2\n선물-3\n선물-4\n");
    let output = run(&["trigger", "list", "--limit", "4"]);
    assert!(text(&output.stderr).contains("--page-token 4"), "{}", text(&output.stderr));
    let output = run(&["trigger", "list", "--limit", "4", "-o", "jsonl"]);
    assert_eq!(text(&output.stdout).lines().count(), 4);
}

#[test]
fn columns_line_up_under_wide_letters() {
    let output = run(&["trigger", "list", "--limit", "1"]);
    let stdout = text(&output.stdout);
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(lines[0].starts_with("ID      TOPIC  STATE"), "{stdout}");
    assert!(lines[1].starts_with("선물-0  gift   SCHEDULED"), "{stdout}");
}

#[test]
fn cluster_status_is_one_screen_with_the_worst_first() {
    let output = run(&["cluster", "status"]);
    let stdout = text(&output.stdout);
    assert!(stdout.starts_with("cluster demo: 1 alarms"), "{stdout}");
    for said in ["! node 3 is unreachable", "UNREACHABLE", "99/100", "3:12", "OVERDUE:41s", "e-1"] {
        assert!(stdout.contains(said), "{said}: {stdout}");
    }
    assert!(stdout.lines().count() <= 24, "{stdout}");
}

/// Turns red when the causes are not shown by name, or a node that did not answer is not mentioned.
#[test]
fn late_triggers_are_listed_with_their_causes() {
    let output = run(&["cluster", "late"]);
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(5), "a node is missing: {}", text(&output.stderr));
    assert!(text(&output.stderr).contains("node 3 did not answer"), "{}", text(&output.stderr));
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(lines[1].contains("2500") && lines[1].contains("NO_LEADER") && lines[1].contains("g-2"), "{stdout}");
    assert!(lines[2].contains("RATE_LIMIT") && lines[2].contains("paused"), "{stdout}");
    let output = run(&["cluster", "late", "--node", "2", "--limit", "1", "-o", "jsonl"]);
    let line: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert_eq!(
        (&line["id"], &line["cause"], &line["node"]),
        (&"g-2".into(), &"LATE_CAUSE_NO_LEADER".into(), &"2".into())
    );
    let output = run(&["cluster", "late", "-o", "json"]);
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["triggers"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_forecast_is_a_chart() {
    let output = run(&["forecast"]);
    let stdout = text(&output.stdout);
    let bars: Vec<usize> = stdout.lines().map(|line| line.matches('█').count()).collect();
    assert_eq!(&bars[..3], [40, 20, 0], "{stdout}");
    assert!(stdout.contains("later: 12"), "{stdout}");
}

#[test]
fn deliveries_can_be_printed() {
    let args = ["executor", "run", "--topic", "gift", "--print", "--count", "1", "-o", "jsonl"];
    let output = run(&args);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let delivery: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(delivery["id"], "delivered");
    assert_eq!(delivery["payloadText"], "종");
}

#[test]
fn a_pipe_that_closes_is_no_error() {
    let mut child = bosingak(&["trigger", "list", "--limit", "0", "-o", "jsonl"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[test]
fn shells_get_their_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completion", shell]);
        assert!(text(&output.stdout).contains("dead-letter"), "{shell}");
    }
}
