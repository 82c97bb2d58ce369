//! Whose data directory this is, and which replicas this node has ever heard from.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, RwLock};

use crate::error::Error;
use crate::progress::lock;
use crate::sealed;
use crate::store::{sync_dir, write_atomic};

/// Format of everything below the directory. A newer one is refused; an older one would be converted here.
const FORMAT: u32 = 1;

const NODE: &str = "NODE";
const HEARD: &str = "HEARD";

/// Begins the last line of `NODE`, which says the checksum of those before. There is none in what was written before it was thought of.
const CHECKSUM: &str = "checksum ";

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
        let foreign = |reason: String| Error::Foreign { dir: dir.to_owned(), reason };
        fs::create_dir_all(dir).map_err(io("create the data directory"))?;
        let held = File::create(dir.join("LOCK")).map_err(io("create LOCK"))?;
        match held.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(foreign("another process has it open".into())),
            Err(TryLockError::Error(e)) => return Err(io("lock LOCK")(e)),
        }
        let ours = format!("format {FORMAT}\nnode {node}\npartitions {partitions}\ncluster {cluster}\n");
        match read_text(&dir.join(NODE)).map_err(io("read NODE"))? {
            Some(found) => {
                compare(&found, &ours).map_err(foreign)?;
                whole(&found).map_err(foreign)?;
            }
            None if dir.join("log").exists() => {
                return Err(foreign("it has a log and no file NODE that says whose".into()));
            }
            None => {
                let checksum = crc32fast::hash(ours.as_bytes());
                let text = format!("{ours}{CHECKSUM}{checksum:08x}\n");
                write_atomic(dir, NODE, text.as_bytes()).map_err(io("write NODE"))?;
            }
        }

        let path = dir.join(HEARD);
        let text = read_text(&path).map_err(io("read HEARD"))?.unwrap_or_default();
        let (heard, whole) = heard(&text).map_err(foreign)?;
        let ledger = OpenOptions::new().create(true).append(true).open(&path).map_err(io("open HEARD"))?;
        ledger.set_len(whole as u64).map_err(io("cut HEARD"))?;
        sync_dir(dir).map_err(io("sync the data directory"))?;
        Ok(Identity { dir: dir.to_owned(), heard: RwLock::new(heard), ledger: Mutex::new(ledger), _lock: held })
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
        self.heard.read().unwrap_or_else(std::sync::PoisonError::into_inner).contains(&replica)
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
        ledger.write_all(sealed::line(&replica.to_string()).as_bytes())?;
        ledger.sync_data()?;
        self.heard.write().unwrap_or_else(std::sync::PoisonError::into_inner).insert(replica);
        Ok(())
    }
}

/// The text of a file; `None` when there is none. Bytes that are no text are as wrong as other text would be.
fn read_text(path: &Path) -> io::Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Whether `NODE` is as it was written.
fn whole(found: &str) -> Result<(), String> {
    let Some(lines) = found.strip_suffix('\n') else { return Err("its file NODE ends in the middle of a line".into()) };
    let last = lines.rfind('\n').map_or(0, |at| at + 1);
    let Some(said) = lines[last..].strip_prefix(CHECKSUM) else { return Ok(()) };
    let is = format!("{:08x}", crc32fast::hash(&found.as_bytes()[..last]));
    if is == said {
        Ok(())
    } else {
        Err(format!("its file NODE is damaged: it says the checksum {said:?} and has {is}"))
    }
}

/// The replicas in `HEARD`, and how much of it counts: a last line without its end was never used.
fn heard(text: &str) -> Result<(HashSet<u64>, usize), String> {
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    let replica = |line: &str| {
        let number = sealed::open(line)?.parse().map_err(|_| format!("the line {line:?}"))?;
        Ok::<u64, String>(number)
    };
    let heard = text[..whole].lines().map(replica).collect::<Result<_, _>>();
    Ok((heard.map_err(|reason| format!("HEARD has {reason}"))?, whole))
}

/// What the files about a data directory say, without opening it for a node.
pub(crate) mod offline {
    use super::*;

    /// Whose it is.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Owner {
        /// Name of the cluster.
        pub(crate) cluster: String,
        /// Number of the node.
        pub(crate) node: u64,
        /// How many partitions the cluster has.
        pub(crate) partitions: u32,
    }

    /// Takes the directory, as a node would, without writing to it; `None` when a node has it. No `LOCK` means that no node ever had it.
    pub(crate) fn hold(dir: &Path) -> io::Result<Option<Option<File>>> {
        let file = match File::open(dir.join("LOCK")) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Some(None)),
            Err(e) => return Err(e),
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(Some(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }

    /// What `NODE` says.
    pub(crate) fn owner(dir: &Path) -> Result<Owner, String> {
        let text = read_text(&dir.join(NODE)).map_err(|e| e.to_string())?.ok_or("there is no file NODE")?;
        whole(&text)?;
        let field = |name: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            found.ok_or_else(|| format!("its file NODE does not say which {name}"))
        };
        let number =
            |name: &str| field(name)?.parse::<u64>().map_err(|_| format!("its file NODE says no number of {name}"));
        if number("format")? != u64::from(FORMAT) {
            return Err(format!("it is of format {}, this program knows {FORMAT}", number("format")?));
        }
        let partitions =
            u32::try_from(number("partitions")?).ok().filter(|n| (1..=crate::replica::PARTITIONS_MAX).contains(n));
        let partitions = partitions.ok_or("its file NODE says no possible number of partitions")?;
        Ok(Owner { cluster: field("cluster")?.to_owned(), node: number("node")?, partitions })
    }

    /// Whether `HEARD` can be read, and how many bytes of a torn last line it has.
    pub(crate) fn heard_is_whole(dir: &Path) -> Result<usize, String> {
        let text = read_text(&dir.join(HEARD)).map_err(|e| e.to_string())?.unwrap_or_default();
        heard(&text).map(|(_, whole)| text.len() - whole)
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
            let newer = name == "format" && theirs.parse::<u32>().is_ok_and(|theirs| theirs > FORMAT);
            let hint = if newer { ", written by a newer version" } else { "" };
            return Err(format!("it is of {name} {theirs:?}{hint}, and this is {name} {value:?}"));
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

    /// Red when `whole` or `heard` does not compare checksums.
    #[test]
    fn no_flipped_bit_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Identity::open(dir.path(), "berlin", 1, 4).map(drop);
        Identity::open(dir.path(), "berlin", 1, 4).unwrap().hear(12).unwrap();
        for name in [NODE, HEARD] {
            let path = dir.path().join(name);
            let original = fs::read(&path).unwrap();
            for at in 0..original.len() {
                for bit in 0..8 {
                    let mut text = original.clone();
                    text[at] ^= 1 << bit;
                    fs::write(&path, &text).unwrap();
                    // What is no line any more, or no checksum, leaves the facts as they were or is refused.
                    if open().is_ok() {
                        let node = offline::owner(dir.path());
                        assert_eq!(node.unwrap(), offline::Owner { cluster: "berlin".into(), node: 1, partitions: 4 });
                        let torn = name == HEARD && at == original.len() - 1;
                        let heard = Identity::open(dir.path(), "berlin", 1, 4).unwrap().has_heard(12);
                        assert!(heard || torn, "{name}, byte {at}, bit {bit}");
                    }
                    fs::write(&path, &original).unwrap();
                }
            }
        }
        open().unwrap();
    }

    #[test]
    fn files_without_checksums_are_read_and_a_directory_without_its_owner_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at(NODE), "format 1\nnode 1\npartitions 4\ncluster berlin\n").unwrap();
        fs::write(at(HEARD), "12\n").unwrap();
        let identity = Identity::open(dir.path(), "berlin", 1, 4).unwrap();
        assert!(identity.has_heard(12));
        drop(identity);
        fs::write(at(NODE), "format 1\nnode 1\npartitions 4\ncluster berlin").unwrap();
        assert!(refused(dir.path(), "berlin", 1, 4).contains("middle of a line"));
        fs::remove_file(at(NODE)).unwrap();
        fs::create_dir(at("log")).unwrap();
        assert!(refused(dir.path(), "berlin", 1, 4).contains("says whose"));
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
