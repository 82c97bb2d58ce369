//! Executor processes of a run, and what they tell the oracle.

use std::io::Read;
use std::process::{ChildStdin, ChildStdout};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::process::{Process, Program};

use crate::executor_worker::ROLE;
use crate::lines::Said;
use crate::oracle::Oracle;

/// Deliveries an executor may hold at once, per partition.
const IN_FLIGHT: u32 = 8_192;

/// The processes; they end with this value.
#[derive(Debug)]
pub struct Executors {
    processes: Vec<Process>,
    _stdins: Vec<ChildStdin>,
}

/// The oracle of a run, shared by callers and readers.
pub type SharedOracle = Arc<Mutex<Oracle>>;

/// Locks the oracle.
pub fn lock(oracle: &SharedOracle) -> std::sync::MutexGuard<'_, Oracle> {
    oracle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Executors {
    /// Starts processes for a topic and waits until each has a stream at every leader.
    ///
    /// # Errors
    ///
    /// When one cannot be started, exits, or is not connected within 30 s.
    pub async fn start(
        count: usize,
        topic: &str,
        endpoints: &[String],
        log_in: &std::path::Path,
        oracle: &SharedOracle,
    ) -> anyhow::Result<Self> {
        let ready = Arc::new(AtomicUsize::new(0));
        let mut executors = Self { processes: Vec::new(), _stdins: Vec::new() };
        for number in 1..=count {
            let name = format!("executor-{number}");
            let mut arguments = vec![ROLE.into(), name.clone().into(), topic.into(), IN_FLIGHT.to_string().into()];
            arguments.extend(endpoints.iter().map(Into::into));
            let mut process = Process::start(Program {
                log: log_in.join(format!("{name}.log")),
                name,
                binary: std::env::current_exe()?,
                arguments,
                environment: Vec::new(),
                piped: true,
            })?;
            let (stdin, stdout) = process.pipes().ok_or_else(|| anyhow::anyhow!("executor without pipes"))?;
            executors._stdins.push(stdin);
            executors.processes.push(process);
            let (oracle, ready) = (oracle.clone(), ready.clone());
            std::thread::spawn(move || listen(stdout, &oracle, &ready));
        }
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while ready.load(Ordering::Acquire) < count {
            executors.none_exited()?;
            if std::time::Instant::now() > deadline {
                anyhow::bail!("{} of {count} executors connected within 30 s", ready.load(Ordering::Acquire));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(executors)
    }

    /// Refuses when an executor process has exited.
    ///
    /// # Errors
    ///
    /// Which one, and the end of its log.
    pub fn none_exited(&mut self) -> anyhow::Result<()> {
        for (number, process) in (1..).zip(&mut self.processes) {
            if let Some(status) = process.exited()? {
                anyhow::bail!("executor {number} exited, {status}: {}", process.log_tail(5));
            }
        }
        Ok(())
    }
}

/// Reads lines until the process is gone; the oracle is locked once per piece that arrived.
fn listen(mut stdout: ChildStdout, oracle: &SharedOracle, ready: &AtomicUsize) {
    let mut piece = vec![0; 256 << 10];
    let mut rest = Vec::new();
    while let Ok(length @ 1..) = stdout.read(&mut piece) {
        rest.extend_from_slice(&piece[..length]);
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else {
            continue;
        };
        let lines = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest.drain(..=end);
        let mut oracle = lock(oracle);
        for said in lines.lines().filter_map(Said::read) {
            if said == Said::Ready {
                ready.fetch_add(1, Ordering::Release);
            } else {
                oracle.hear(&said);
            }
        }
    }
}
