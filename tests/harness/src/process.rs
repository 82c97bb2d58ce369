//! Child processes that die with us, whatever happens to us.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// A running child. Dropping it kills it and waits.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
    exited: Option<ExitStatus>,
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Program {
    /// For messages.
    pub name: String,
    /// Path of the binary.
    pub binary: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Added to our own environment.
    pub environment: Vec<(String, String)>,
    /// Where standard error goes, and standard output unless piped; appended to.
    pub log: PathBuf,
    /// Pipe standard input and output to us.
    pub piped: bool,
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// When the binary cannot be started or the log not opened.
    pub fn start(program: Program) -> Result<Self> {
        let log = File::options().create(true).append(true).open(&program.log)?;
        let mut command = Command::new(&program.binary);
        command.args(&program.arguments);
        command.envs(program.environment.iter().cloned());
        command.stderr(log.try_clone()?);
        if program.piped {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        } else {
            command.stdin(Stdio::null()).stdout(log);
        }
        let child =
            spawn(command).map_err(|error| Error(format!("cannot start {}: {error}", program.binary.display())))?;
        started().insert(child.id(), program.name.clone());
        Ok(Self { child, name: program.name, log: program.log, exited: None })
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The pipes of a piped program, once.
    pub fn pipes(&mut self) -> Option<(ChildStdin, ChildStdout)> {
        Some((self.child.stdin.take()?, self.child.stdout.take()?))
    }

    /// Whether and how it has exited.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        if self.exited.is_none() {
            self.exited = self.child.try_wait()?;
            if self.exited.is_some() {
                started().remove(&self.child.id());
            }
        }
        Ok(self.exited)
    }

    /// Sends a signal; to a process that has exited, nothing is sent.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn signal(&mut self, signal: i32) -> Result<()> {
        if self.exited()?.is_some() {
            return Ok(());
        }
        let pid = libc::pid_t::try_from(self.child.id()).map_err(|_| Error::new("a process id beyond pid_t"))?;
        #[expect(
            unsafe_code,
            reason = "kill has no safe form in std; the child has not been waited for, so its id is its own"
        )]
        let sent = unsafe { libc::kill(pid, signal) };
        if sent == 0 {
            return Ok(());
        }
        Err(Error(format!("signal {signal} to {}: {}", self.name, std::io::Error::last_os_error())))
    }

    /// SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// When the system does not let us wait.
    pub fn kill(&mut self) -> Result<()> {
        if self.exited.is_none() {
            // Also ends a stopped process.
            drop(self.child.kill());
            self.exited = Some(self.child.wait()?);
            started().remove(&self.child.id());
        }
        Ok(())
    }

    /// SIGTERM, and waits until it is gone; SIGKILL after `within`.
    ///
    /// # Errors
    ///
    /// When it had to be killed.
    pub fn terminate(&mut self, within: Duration) -> Result<ExitStatus> {
        self.signal(libc::SIGTERM)?;
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                self.kill()?;
                return Err(Error(format!("{} did not stop within {within:?}", self.name)));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The last lines it logged.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.log, lines)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.kill());
    }
}

/// Names of the processes that were started here and are not known to have ended, in the order of their ids.
#[must_use]
pub fn running() -> Vec<String> {
    started().values().cloned().collect()
}

fn started() -> MutexGuard<'static, BTreeMap<u32, String>> {
    static STARTED: Mutex<BTreeMap<u32, String>> = Mutex::new(BTreeMap::new());
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The last lines of a file; empty when it cannot be read.
#[must_use]
pub fn tail(file: &Path, lines: usize) -> String {
    let text = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

type Job = (Command, mpsc::Sender<std::io::Result<Child>>);

/// Starts a command whose process is killed by the system when we die.
///
/// The death signal is sent when the *thread* that started the child ends, so all children come from one thread that
/// never does.
fn spawn(mut command: Command) -> std::io::Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let parent = std::process::id();
    let hook = move || {
        #[expect(unsafe_code, reason = "prctl with two integers, async-signal-safe")]
        let set = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        if set != 0 {
            return Err(std::io::Error::last_os_error());
        }
        // The parent may have died before the call above.
        if std::os::unix::process::parent_id() != parent {
            return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(())
    };
    #[expect(unsafe_code, reason = "the hook calls only async-signal-safe functions and does not allocate")]
    unsafe {
        command.pre_exec(hook);
    }
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, inbox) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, reply) in inbox {
                drop(reply.send(command.spawn()));
            }
        });
        jobs
    });
    let (reply, answer) = mpsc::channel();
    let gone = || std::io::Error::other("the spawning thread is gone");
    spawner.send((command, reply)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(directory: &Path) -> Process {
        Process::start(Program {
            name: "sleeper".into(),
            binary: "/bin/sleep".into(),
            arguments: vec!["600".into()],
            environment: Vec::new(),
            log: directory.join("log"),
            piped: false,
        })
        .unwrap()
    }

    fn is_there(pid: u32) -> bool {
        Path::new(&format!("/proc/{pid}")).exists()
    }

    /// Red when dropping does not kill, or does not wait.
    #[test]
    fn nothing_is_left_after_a_drop_or_a_panic() {
        let directory = tempfile::tempdir().unwrap();
        let process = sleeper(directory.path());
        let pid = process.pid();
        assert!(is_there(pid));
        drop(process);
        assert!(!is_there(pid));

        let process = sleeper(directory.path());
        let pid = process.pid();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _held = process;
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        assert!(!is_there(pid));
    }

    /// Red when a stopped process cannot be killed.
    #[test]
    fn a_stopped_process_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = sleeper(directory.path());
        process.signal(libc::SIGSTOP).unwrap();
        process.kill().unwrap();
        assert!(!is_there(process.pid()));
        // To nobody.
        process.signal(libc::SIGCONT).unwrap();
    }
}
