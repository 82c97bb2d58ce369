//! Whose data directory this is, and which replicas this node has ever heard from.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, RwLock};

use crate::error::Error;
use crate::progress::lock;
use crate::store::{sync_dir, write_atomic};

/// Format of everything below the directory. A newer one is refused; an older one would be converted here.
const FORMAT: u32 = 1;

const NODE: &str = "NODE";
const HEARD: &str = "HEARD";

/// The data directory, held open by this process alone.
pub(crate) struct Identity {
    dir: PathBuf,
    heard: RwLock<HashSet<u64>>,
    ledger: Mutex<File>,
    _lock: File,
}

impl Identity {
    /// Opens the directory, writing who owns it if it is empty; refuses one of another cluster, node, format or number of partitions.
    pub(crate) fn open(dir: &Path, cluster: &str, node: u64, partitions: u32) -> Result<Self, Error> {
        let io = |what: &str| {
            let what = format!("{what} in {}", dir.display());
            move |e| Error::io(what, e)
        };
        let foreign = |reason: String| Error::Foreign {
            dir: dir.to_owned(),
            reason,
        };
        fs::create_dir_all(dir).map_err(io("create the data directory"))?;
        let held = File::create(dir.join("LOCK")).map_err(io("create LOCK"))?;
        match held.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(foreign("another process has it open".into())),
            Err(TryLockError::Error(e)) => return Err(io("lock LOCK")(e)),
        }
        let ours = format!("format {FORMAT}\nnode {node}\npartitions {partitions}\ncluster {cluster}\n");
        match fs::read_to_string(dir.join(NODE)) {
            Ok(found) => compare(&found, &ours).map_err(foreign)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                write_atomic(dir, NODE, ours.as_bytes()).map_err(io("write NODE"))?;
            }
            Err(e) => return Err(io("read NODE")(e)),
        }

        let path = dir.join(HEARD);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(io("read HEARD")(e)),
        };
        // A last line without its end was never used.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let mut heard = HashSet::new();
        for line in text[..whole].lines() {
            let replica = line
                .parse()
                .map_err(|_| foreign(format!("HEARD has the line {line:?}")))?;
            heard.insert(replica);
        }
        let ledger = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(io("open HEARD"))?;
        ledger.set_len(whole as u64).map_err(io("cut HEARD"))?;
        sync_dir(dir).map_err(io("sync the data directory"))?;
        Ok(Identity {
            dir: dir.to_owned(),
            heard: RwLock::new(heard),
            ledger: Mutex::new(ledger),
            _lock: held,
        })
    }

    /// Where one partition's rows are.
    pub(crate) fn state_dir(&self, partition: u32) -> PathBuf {
        self.dir.join("state").join(partition.to_string())
    }

    /// Where the log is.
    pub(crate) fn log_dir(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Whether this replica ever answered or asked anything here.
    ///
    /// A replica whose disk was lost has forgotten its votes and what it acknowledged; whoever heard from it can tell it from one that
    /// never lived.
    pub(crate) fn has_heard(&self, replica: u64) -> bool {
        self.heard
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .contains(&replica)
    }

    /// Notes it durably; one sync in a replica's life.
    pub(crate) fn hear(&self, replica: u64) -> io::Result<()> {
        if self.has_heard(replica) {
            return Ok(());
        }
        let mut ledger = lock(&self.ledger);
        if self.has_heard(replica) {
            return Ok(());
        }
        ledger.write_all(format!("{replica}\n").as_bytes())?;
        ledger.sync_data()?;
        self.heard
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(replica);
        Ok(())
    }
}

fn compare(found: &str, ours: &str) -> Result<(), String> {
    for ours in ours.lines() {
        let (name, value) = ours.split_once(' ').unwrap_or((ours, ""));
        let theirs = found
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .ok_or_else(|| format!("its file NODE does not say which {name}"))?;
        if theirs != value {
            let newer = name == "format"
                && theirs.parse::<u32>().is_ok_and(|theirs| theirs > FORMAT);
            let hint = if newer { ", written by a newer version" } else { "" };
            return Err(format!(
                "it is of {name} {theirs:?}{hint}, and this is {name} {value:?}"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(dir: &Path, cluster: &str, node: u64, partitions: u32) -> String {
        match Identity::open(dir, cluster, node, partitions) {
            Ok(_) => panic!("opened"),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn a_foreign_directory_is_refused_by_what_differs() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        drop(Identity::open(dir, "berlin", 1, 4).unwrap());
        drop(Identity::open(dir, "berlin", 1, 4).unwrap());
        assert!(refused(dir, "paris", 1, 4).contains(r#"cluster "berlin""#));
        assert!(refused(dir, "berlin", 2, 4).contains(r#"node "1""#));
        assert!(refused(dir, "berlin", 1, 8).contains(r#"partitions "4""#));
        let newer = fs::read_to_string(dir.join(NODE)).unwrap().replace("format 1", "format 2");
        fs::write(dir.join(NODE), newer).unwrap();
        assert!(refused(dir, "berlin", 1, 4).contains("newer version"));
    }

    #[test]
    fn a_directory_in_use_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let _held = Identity::open(dir.path(), "berlin", 1, 4).unwrap();
        assert!(refused(dir.path(), "berlin", 1, 4).contains("another process"));
    }

    #[test]
    fn what_was_heard_is_remembered_and_a_torn_line_was_not() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Identity::open(dir.path(), "berlin", 1, 4).unwrap();
        open().hear(12).unwrap();
        fs::write(dir.path().join(HEARD), "12\n34").unwrap();
        let identity = open();
        assert!(identity.has_heard(12) && !identity.has_heard(3) && !identity.has_heard(34));
        identity.hear(56).unwrap();
        drop(identity);
        assert!(open().has_heard(56));
    }
}
