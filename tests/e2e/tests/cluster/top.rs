//! `bosingak top` against a real cluster: as data, and on a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use e2e::Scene;
use harness::wait;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::cli::{bosingak, json};

/// Nothing here takes as long, on whatever machine.
const WITHIN: Duration = Duration::from_secs(30);

/// `top` puts together what every node says, as one document or a line for each interval; with a node down it says which
/// and shows what the others know.
///
/// Red when one node is asked for all, whose figures of partitions it does not lead are those of a follower.
#[tokio::test]
async fn top_asks_every_node() {
    let mut scene = Scene::three().await.unwrap();
    let worker = scene.worker("top-worker", "top", |_| harness::worker::Act::Succeed).await.unwrap();
    worker.connected(e2e::PATIENCE).await.unwrap();
    scene.schedule("top", 20, e2e::in_ms(0)).await;
    scene.finished().await.unwrap();
    for id in ["later-1", "later-2"] {
        json(&scene, &["trigger", "schedule", "--topic", "top", "--id", id, "--in", "30m"]).await;
    }
    let snapshot = json(&scene, &["top", "--interval", "200ms"]).await;
    assert_eq!(snapshot["pending"], 2, "{snapshot}");
    assert_eq!(snapshot["overdue"], 0, "{snapshot}");
    assert_eq!(snapshot["notes"], serde_json::json!([]), "{snapshot}");
    assert!(snapshot["completedPerS"].is_number() && snapshot["intervalMs"].as_u64() >= Some(200), "{snapshot}");
    let partitions = snapshot["partitions"].as_array().unwrap();
    assert_eq!(partitions.len(), 4);
    for partition in partitions {
        // Only a leader says so of itself: whoever asked a single node would see hearsay.
        assert!(matches!(partition["health"].as_str(), Some("ok" | "LAGGING")), "{snapshot}");
        assert!(partition["leader"].as_u64() > Some(0) && partition["appliedIndex"].as_u64() > Some(0), "{snapshot}");
    }
    let nodes = snapshot["nodes"].as_array().unwrap();
    assert!(nodes.len() == 3 && nodes.iter().all(|node| node["answers"] == true), "{snapshot}");
    let executors = snapshot["executors"].as_array().unwrap();
    assert_eq!(executors[0]["executor"], "top-worker", "{snapshot}");
    assert!(executors[0]["partitions"] == 4 && executors[0]["credit"].as_u64() > Some(0), "{snapshot}");
    let due: u64 = snapshot["forecast"]["hour"]["counts"].as_array().unwrap().iter().filter_map(Value::as_u64).sum();
    assert_eq!(due, 2, "{snapshot}");

    let lines = bosingak(&scene, &["top", "--interval", "200ms", "--count", "2", "-o", "jsonl"]).await;
    assert_eq!((lines.code, lines.out.lines().count()), (0, 2), "{}{}", lines.out, lines.error);
    let text = bosingak(&scene, &["top", "--interval", "200ms"]).await;
    assert!(text.code == 0 && text.out.contains("3 of 3 nodes answer"), "{}{}", text.out, text.error);

    let down = scene.cluster.busiest_leader().await.unwrap();
    scene.cluster.kill(down).unwrap();
    scene.cluster.ready().await.unwrap();
    let snapshot = json(&scene, &["top", "--interval", "200ms"]).await;
    let silent = format!("node {down} at ");
    let named = |note: &Value| note.as_str().is_some_and(|note| note.starts_with(&silent));
    assert!(snapshot["notes"].as_array().unwrap().iter().any(named), "{snapshot}");
    assert_eq!(snapshot["pending"], 2, "{snapshot}");
    assert_eq!(snapshot["partitions"].as_array().map(Vec::len), Some(4), "{snapshot}");
}

/// What happens between two snapshots is in the later one: how much was handed out, how late, and how much completed.
///
/// Red when counts of a leader are taken for those of an interval, or those of one partition for all.
#[tokio::test]
async fn top_counts_what_happened_since() {
    let scene = Scene::three().await.unwrap();
    let worker = scene.worker("top-worker", "rate", |_| harness::worker::Act::Succeed).await.unwrap();
    worker.connected(e2e::PATIENCE).await.unwrap();
    // Before anybody looks.
    scene.schedule("rate", 10, e2e::in_ms(0)).await;
    scene.finished().await.unwrap();
    let mut top = tokio::process::Command::new(harness::binary::find("bosingak").unwrap())
        .args(["--address", &scene.cluster.endpoints().join(",")])
        .args(["top", "--interval", "200ms", "-o", "jsonl"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(top.stdout.take().unwrap()).lines();
    let mut next = async || -> Value {
        let line = tokio::time::timeout(WITHIN, lines.next_line()).await.expect("a snapshot in time").unwrap();
        serde_json::from_str(&line.expect("a snapshot")).unwrap()
    };
    let quiet = next().await;
    assert_eq!((&quiet["latenessMs"]["count"], &quiet["latenessMs"]["p50"]), (&0.into(), &Value::Null), "{quiet}");
    for number in 0..40 {
        let id = format!("since-{number}");
        scene.session(1).schedule(harness::record::request(&id, "rate", e2e::in_ms(50))).await.unwrap();
    }
    let (mut handed_out, mut completed) = (0, 0.0);
    while handed_out < 40 || completed < 39.5 {
        let snapshot = next().await;
        let count = snapshot["latenessMs"]["count"].as_u64().unwrap();
        handed_out += count;
        completed += snapshot["completedPerS"].as_f64().unwrap() * snapshot["intervalMs"].as_f64().unwrap() / 1_000.0;
        if count > 0 {
            assert!(snapshot["latenessMs"]["p50"].as_u64() <= snapshot["latenessMs"]["p99"].as_u64(), "{snapshot}");
        }
    }
    // Intervals are cut to milliseconds, so sums of rates are near.
    assert!(handed_out == 40 && completed < 40.5, "{handed_out} handed out, {completed} completed");
}

/// The view fills the screen of a terminal, and leaves the terminal as it was: by key, by Ctrl-C, by SIGTERM.
///
/// Red when the other screen or the raw mode is not left again, or a key is not heard.
#[tokio::test]
async fn top_leaves_the_terminal_as_it_was() {
    let scene = Scene::with(harness::cluster::Options { nodes: 1, ..Default::default() }).await.unwrap();
    type Leave = fn(&mut Terminal);
    let ways: [(&str, Leave, i32); 3] = [
        ("q", |terminal| terminal.press(b"q"), 0),
        ("Ctrl-C", |terminal| terminal.press(b"\x03"), 0),
        ("SIGTERM", Terminal::terminate, 143),
    ];
    for (way, leave, code) in ways {
        let mut terminal = Terminal::open();
        let before = terminal.mode();
        terminal.start(&scene.cluster.endpoints().join(","));
        terminal.shows("1 of 1 nodes answer").await;
        assert!(terminal.seen().contains(OTHER_SCREEN), "{way}: {:?}", terminal.seen());
        assert_ne!(terminal.mode(), before, "{way}: keys would wait for the end of a line");
        terminal.press(b"?");
        // A word of the help, in one piece however little of the screen is written anew.
        terminal.shows("HEARSAY").await;
        leave(&mut terminal);
        assert_eq!(terminal.ended().await, code, "{way}");
        terminal.shows(FIRST_SCREEN).await;
        assert_eq!(terminal.mode(), before, "{way}");
    }
}

/// What a program sends to get a screen of its own, and to give it back.
const OTHER_SCREEN: &str = "\x1b[?1049h";
const FIRST_SCREEN: &str = "\x1b[?1049l";

/// A terminal of 100 by 30, the program on it, and everything that was ever written to it.
struct Terminal {
    ours: File,
    theirs: OwnedFd,
    seen: Arc<Mutex<Vec<u8>>>,
    program: Option<Child>,
}

impl Terminal {
    fn open() -> Terminal {
        let (mut ours, mut theirs) = (-1, -1);
        let size = libc::winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        #[expect(
            unsafe_code,
            reason = "openpty has no safe form in std; both numbers are written before they are read"
        )]
        let (ours, theirs) = unsafe {
            let opened =
                libc::openpty(&raw mut ours, &raw mut theirs, std::ptr::null_mut(), std::ptr::null(), &raw const size);
            assert_eq!(opened, 0, "{}", std::io::Error::last_os_error());
            (File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs))
        };
        let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (mut screen, all) = (ours.try_clone().unwrap(), seen.clone());
        std::thread::spawn(move || {
            let mut piece = [0; 4_096];
            // Reading fails when the last program has closed the terminal.
            while let Ok(length @ 1..) = screen.read(&mut piece) {
                all.lock().unwrap().extend_from_slice(&piece[..length]);
            }
        });
        Terminal { ours, theirs, seen, program: None }
    }

    fn start(&mut self, addresses: &str) {
        let side = || self.theirs.try_clone().unwrap();
        let program = Command::new(harness::binary::find("bosingak").unwrap())
            .args(["--address", addresses, "top", "--interval", "200ms"])
            .env("TERM", "xterm-256color")
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .unwrap();
        self.program = Some(program);
    }

    fn press(&mut self, keys: &[u8]) {
        self.ours.write_all(keys).unwrap();
    }

    fn terminate(&mut self) {
        let pid = libc::pid_t::try_from(self.program.as_ref().unwrap().id()).unwrap();
        #[expect(unsafe_code, reason = "kill has no safe form in std; the child has not been waited for")]
        let sent = unsafe { libc::kill(pid, libc::SIGTERM) };
        assert_eq!(sent, 0);
    }

    fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    /// Waits until a text was written, whatever moves of the cursor and colours lie around it.
    async fn shows(&self, text: &str) {
        wait::until(text, WITHIN, || async {
            let seen = self.seen();
            if seen.contains(text) { Ok(()) } else { Err(seen) }
        })
        .await
        .unwrap();
    }

    async fn ended(&mut self) -> i32 {
        let program = self.program.as_mut().unwrap();
        wait::until("end of the program", WITHIN, || {
            let ended = program.try_wait().unwrap();
            async move { ended.ok_or("it runs") }
        })
        .await
        .unwrap()
        .code()
        .unwrap_or(-1)
    }

    /// Whether letters are shown as they are typed, and read by the line.
    fn mode(&self) -> libc::tcflag_t {
        #[expect(unsafe_code, reason = "tcgetattr has no safe form in std; it fills what it is given or fails")]
        let mode = unsafe {
            let mut mode: libc::termios = std::mem::zeroed();
            assert_eq!(libc::tcgetattr(self.theirs.as_raw_fd(), &raw mut mode), 0);
            mode
        };
        mode.c_lflag & (libc::ECHO | libc::ICANON | libc::ISIG)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(mut program) = self.program.take() {
            drop(program.kill());
            drop(program.wait());
        }
    }
}
