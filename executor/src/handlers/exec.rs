//! Runs a command per trigger.

use std::ffi::OsString;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, Command};

use crate::delivery::Delivery;
use crate::handler::Handler;
use crate::handlers::{rfc3339, token_text};
use crate::outcome::Outcome;

/// Exit code of sysexits.h for input that will never be right: the trigger fails for good.
const EX_DATAERR: i32 = 65;
/// How much of the end of standard error is kept for the error text.
const STDERR_TAIL_BYTES: usize = 2_048;
/// A command that has ended may have left others with its standard error open; they are not waited for.
const STDERR_GRACE: Duration = Duration::from_millis(200);

/// Runs a command per trigger: the payload is its standard input, facts are in its environment as `BOSINGAK_*`.
///
/// Exit 0 is success, 65 (EX_DATAERR) fails for good, everything else, as 75 (EX_TEMPFAIL), is retried; the end of
/// standard error is the error text. Standard output is that of the executor. The command leads a process group of its
/// own, which is killed when the lease ends.
///
/// Environment: `BOSINGAK_NAMESPACE`, `_ID`, `_TOPIC`, `_SHARD_KEY`, `_PARTITION`, `_GENERATION`, `_ATTEMPT`, `_DUE` and
/// `_FIRED` (RFC 3339, UTC), `_FENCING_TOKEN` (`epoch.term.counter`), `_IDEMPOTENCY_KEY`, `_LEASE_MS` (time left) and
/// `_LABELS` (a JSON object).
#[derive(Clone, Debug)]
pub struct Exec {
    program: OsString,
    args: Vec<OsString>,
}

impl Exec {
    /// Runs a program with arguments.
    pub fn new(program: impl Into<OsString>, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Exec { program: program.into(), args: args.into_iter().map(Into::into).collect() }
    }

    /// Runs a line of shell: `sh -c LINE`.
    pub fn shell(line: impl Into<OsString>) -> Self {
        Exec::new("sh", [OsString::from("-c"), line.into()])
    }

    async fn run(self, delivery: Delivery) -> Outcome {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .envs(environment(&delivery))
            .stdin(Stdio::piped())
            .stdout(Stdio::inherit())
            .stderr(Stdio::piped())
            .process_group(0);
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                return Outcome::retry(format!("{}: {error}", self.program.to_string_lossy()));
            }
        };
        let mut group = Group { child };
        let (stdin, stderr) = (group.child.stdin.take(), group.child.stderr.take());
        let payload = delivery.payload().clone();
        let feed = async move {
            if let Some(mut stdin) = stdin {
                // A command need not read what it is given.
                let _ = stdin.write_all(&payload).await;
            }
        };
        let mut tail = Vec::new();
        let status = {
            let read = read_tail(stderr, &mut tail);
            tokio::pin!(read);
            let ended = async { tokio::join!(group.child.wait(), feed).0 };
            tokio::pin!(ended);
            tokio::select! {
                status = &mut ended => {
                    let _ = tokio::time::timeout(STDERR_GRACE, read).await;
                    status
                }
                () = &mut read => ended.await,
            }
        };
        match status {
            Ok(status) => outcome(status, &tail),
            Err(error) => Outcome::retry(format!("waiting for the command: {error}")),
        }
    }
}

impl Handler for Exec {
    fn handle(&self, delivery: Delivery) -> BoxFuture<'static, Outcome> {
        Box::pin(self.clone().run(delivery))
    }
}

/// A command and everything it started; killed when dropped before its end.
struct Group {
    child: Child,
}

impl Drop for Group {
    fn drop(&mut self) {
        // `id` is none once the command was waited for: its number may be somebody else's by now.
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(rustix::process::Pid::from_raw) {
            // It may be gone in this very moment.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

/// Reads to the end, keeps the tail, and passes everything on to the executor's standard error.
async fn read_tail(stderr: Option<ChildStderr>, tail: &mut Vec<u8>) {
    let Some(mut stderr) = stderr else { return };
    let mut passed_on = tokio::io::stderr();
    let mut chunk = [0u8; 4_096];
    while let Ok(count) = stderr.read(&mut chunk).await {
        if count == 0 {
            return;
        }
        // Where nobody reads the executor's standard error, the command is not to suffer.
        let _ = passed_on.write_all(&chunk[..count]).await;
        tail.extend_from_slice(&chunk[..count]);
        let excess = tail.len().saturating_sub(STDERR_TAIL_BYTES);
        tail.drain(..excess);
    }
}

fn outcome(status: ExitStatus, stderr: &[u8]) -> Outcome {
    use std::os::unix::process::ExitStatusExt;
    if status.success() {
        return Outcome::Success;
    }
    let ended = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended abnormally".to_owned(),
    };
    let text = String::from_utf8_lossy(stderr);
    // The end says more than the beginning: 900 characters of it, below the bound of an error text.
    let from = text.char_indices().rev().nth(899).map_or(0, |(at, _)| at);
    let said = text[from..].trim();
    let error = if said.is_empty() { ended } else { format!("{ended}: {said}") };
    if status.code() == Some(EX_DATAERR) { Outcome::fail(error) } else { Outcome::retry(error) }
}

fn environment(delivery: &Delivery) -> Vec<(&'static str, String)> {
    vec![
        ("BOSINGAK_NAMESPACE", delivery.namespace().to_owned()),
        ("BOSINGAK_ID", delivery.id().to_owned()),
        ("BOSINGAK_TOPIC", delivery.topic().to_owned()),
        ("BOSINGAK_SHARD_KEY", delivery.shard_key().to_owned()),
        ("BOSINGAK_PARTITION", delivery.partition().to_string()),
        ("BOSINGAK_GENERATION", delivery.generation().to_string()),
        ("BOSINGAK_ATTEMPT", delivery.attempt().to_string()),
        ("BOSINGAK_DUE", rfc3339(delivery.due())),
        ("BOSINGAK_FIRED", rfc3339(delivery.fired())),
        ("BOSINGAK_FENCING_TOKEN", token_text(delivery.fencing_token())),
        ("BOSINGAK_IDEMPOTENCY_KEY", delivery.idempotency_key()),
        ("BOSINGAK_LEASE_MS", delivery.time_left().as_millis().to_string()),
        ("BOSINGAK_LABELS", serde_json::json!(delivery.labels()).to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::v1::FencingToken;
    use std::sync::Arc;
    use tokio::time::Instant;

    fn delivery(payload: &'static str) -> Delivery {
        let facts = proto::v1::Delivery {
            namespace: "shop".into(),
            id: "order-1".into(),
            generation: 8192,
            attempt: 2,
            payload: payload.into(),
            token: Some(FencingToken { epoch: 1, term: 2, counter: 3 }),
            due: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 5_000_000 }),
            labels: [("k".to_owned(), "v\"".to_owned())].into(),
            ..Default::default()
        };
        Delivery::new(Arc::new(facts), Instant::now() + Duration::from_secs(30))
    }

    async fn shell(line: &str, payload: &'static str) -> Outcome {
        Exec::shell(line).handle(delivery(payload)).await
    }

    #[tokio::test]
    async fn exit_codes_decide() {
        assert_eq!(shell("exit 0", "").await, Outcome::Success);
        assert_eq!(shell("echo bad >&2; exit 65", "").await, Outcome::fail("exit code 65: bad"));
        assert_eq!(shell("echo busy >&2; exit 75", "").await, Outcome::retry("exit code 75: busy"));
        assert_eq!(shell("exit 1", "").await, Outcome::retry("exit code 1"));
        assert_eq!(shell("kill -9 $$", "").await, Outcome::retry("killed by signal 9"));
        let Outcome::Retry { error, .. } = Exec::new("/no/such", [""; 0]).handle(delivery("")).await else {
            panic!("a command that is missing may be installed later")
        };
        assert!(error.starts_with("/no/such: "), "{error}");
    }

    #[tokio::test]
    async fn payload_and_facts_arrive() {
        let line = r#"
            test "$(cat)" = "three words here" || exit 65
            test "$BOSINGAK_IDEMPOTENCY_KEY" = shop/order-1/8192 || exit 66
            test "$BOSINGAK_FENCING_TOKEN" = 1.2.3 || exit 67
            test "$BOSINGAK_DUE" = 2027-01-15T08:00:00.005Z || exit 68
            test "$BOSINGAK_LABELS" = '{"k":"v\""}' || exit 69
            test "$BOSINGAK_ATTEMPT" = 2 || exit 70"#;
        assert_eq!(shell(line, "three words here").await, Outcome::Success);
    }

    #[tokio::test]
    async fn a_command_need_not_read_and_may_write_a_lot() {
        let outcome = shell("yes 0123456789 | head -c 300000 >&2; echo 끝 >&2; exit 3", "unread").await;
        let Outcome::Retry { error, .. } = outcome else { panic!("{outcome:?}") };
        assert!(error.starts_with("exit code 3: ") && error.ends_with('끝'), "{error}");
        assert!(error.chars().count() <= 1_024);
    }

    #[tokio::test]
    async fn one_that_leaves_children_behind_is_not_waited_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let pid_file = directory.path().join("pid");
        let line = format!("sleep 60 & echo $! > {}", pid_file.display());
        let begun = Instant::now();
        assert_eq!(shell(&line, "").await, Outcome::Success);
        assert!(begun.elapsed() < Duration::from_secs(30));
        let text = std::fs::read_to_string(&pid_file).expect("it was written");
        let child = rustix::process::Pid::from_raw(text.trim().parse().expect("a number"));
        rustix::process::kill_process(child.expect("not zero"), rustix::process::Signal::KILL)
            .expect("it was left alone");
    }

    /// Red when `process_group(0)` is taken away: the grandchild lives on.
    #[tokio::test]
    async fn dropping_kills_the_whole_group() {
        let directory = tempfile::tempdir().expect("a directory");
        let pid_file = directory.path().join("pid");
        let line = format!("sh -c 'echo $$ > {}; exec sleep 60'; true", pid_file.display());
        let mut work = Exec::shell(line).handle(delivery(""));
        let pid: i32 = loop {
            // Driven a little at a time, until the grandchild has said its number.
            let driven = tokio::time::timeout(Duration::from_millis(5), &mut work).await;
            assert!(driven.is_err(), "it sleeps for a minute");
            let text = std::fs::read_to_string(&pid_file).unwrap_or_default();
            if text.ends_with('\n') {
                break text.trim().parse().expect("a number");
            }
        };
        drop(work);
        let grandchild = rustix::process::Pid::from_raw(pid).expect("not zero");
        let deadline = Instant::now() + Duration::from_secs(10);
        // Gone, or a zombie that waits for a parent that will not come.
        while rustix::process::test_kill_process(grandchild).is_ok() {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if stat.contains(") Z ") {
                break;
            }
            assert!(Instant::now() < deadline, "still alive: {stat}");
            tokio::task::yield_now().await;
        }
    }
}
