//! Looks through a data directory that no node has open, without writing to it, and says what is wrong.
//!
//! - `files`: whose it is, where the rows of each partition lie, what else is there.
//! - the log (`log::verify`): record by record, as a start would read it.
//! - `manifest`: the file in which RocksDB says which tables count. RocksDB reads over some kinds of damage in it.
//! - `tables`: the checksum of every block of every table.
//!
//! What the rows mean is checked by whoever knows: [`directory`] hands out every store it could open.

mod files;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod manifest;
mod tables;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::identity::offline;
use crate::log;
use crate::replica::log_group;
use crate::store::{Current, Place, Store};

/// What was found somewhere in a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// File or directory, below the data directory.
    pub path: PathBuf,
    /// Byte offset in it, where one is known.
    pub offset: Option<u64>,
    /// What is the matter.
    pub what: String,
    /// What it means and what to do; `None` when it is harmless: a start puts it right or does not look at it.
    pub damage: Option<Damage>,
}

/// What is lost, and what can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Whose directory it is, or where its rows are, cannot be told.
    Identity,
    /// Something that this node had acknowledged may be lost.
    Log,
    /// Rows of one partition cannot be read.
    Rows,
    /// Rows of one partition are older than what the log can bring them to.
    Behind,
    /// A file cannot be read, or is missing: for the disk or its permissions to explain.
    Unreadable,
}

impl Damage {
    /// What it means.
    pub fn means(self) -> &'static str {
        match self {
            Damage::Identity => {
                "a node does not start on it, or must not: it could take up another replica's votes or delete rows"
            }
            Damage::Log => "votes or entries that this node acknowledged may be lost; a node refuses to start on it",
            Damage::Rows => "a replica that reads it halts; the other partitions are not affected",
            Damage::Behind => "the entries in between are gone here; only another replica has them",
            Damage::Unreadable => "nothing is known of what it holds",
        }
    }

    /// What to do.
    pub fn remedy(self) -> &'static str {
        match self {
            Damage::Identity | Damage::Log | Damage::Rows | Damage::Behind => {
                "keep the directory, remove the node from the cluster, and add one under a new number on an empty directory"
            }
            Damage::Unreadable => "look at the disk and at permissions; if the file is gone for good, replace the node",
        }
    }
}

/// What was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Cluster, node and number of partitions; `None` when that cannot be told.
    pub owner: Option<(String, u64, u32)>,
    /// Segments of the log.
    pub log_segments: usize,
    /// Records in them.
    pub log_records: u64,
    /// Partitions that have a replica here.
    pub replicas: usize,
    /// Tables of rows.
    pub tables: usize,
    /// Their bytes.
    pub table_bytes: u64,
}

/// Why nothing was looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A node has it open.
    #[error("{} is in use: stop the node first, or verify a copy", .0.display())]
    InUse(PathBuf),
    /// Nothing in it is what a node writes.
    #[error("{} is no data directory of a node", .0.display())]
    Foreign(PathBuf),
    /// It cannot be read at all.
    #[error("cannot read {}: {source}", dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// The rows of one partition, to be read only.
pub struct Partition<'a> {
    /// Its number.
    pub number: u32,
    /// Where they lie, below the data directory.
    pub path: &'a Path,
    /// The rows.
    pub store: &'a Store,
    /// Index of the last entry applied; 0 before the first.
    pub applied: u64,
}

/// Looks through `dir` and tells `tell` of everything, `rows` of every store that opens. Takes the directory as a node does, so that
/// none starts meanwhile.
pub fn directory(
    dir: &Path,
    tell: &mut dyn FnMut(Finding),
    rows: &mut dyn FnMut(Partition<'_>),
) -> Result<Summary, Error> {
    let unreadable = |source| Error::Io { dir: dir.to_owned(), source };
    fs::read_dir(dir).map_err(unreadable)?;
    let known = ["NODE", "HEARD", "LOCK", "log", "state"];
    if !known.iter().any(|name| dir.join(name).exists()) {
        return Err(Error::Foreign(dir.to_owned()));
    }
    let Some(_held) = offline::hold(dir).map_err(unreadable)? else { return Err(Error::InUse(dir.to_owned())) };
    let mut look = Look { dir, tell, summary: Summary::default() };
    look.owner();
    let groups = look.log();
    for (number, place) in look.places() {
        look.partition(number, &place, groups.as_ref(), rows);
    }
    Ok(look.summary)
}

type Groups = BTreeMap<u32, log::verify::Marked>;

struct Look<'a> {
    dir: &'a Path,
    tell: &'a mut dyn FnMut(Finding),
    summary: Summary,
}

impl Look<'_> {
    fn found(&mut self, path: &Path, offset: Option<u64>, what: impl Into<String>, damage: Option<Damage>) {
        let path = path.strip_prefix(self.dir).unwrap_or(path).to_owned();
        (self.tell)(Finding { path, offset, what: what.into(), damage });
    }

    /// Marks of every group of the log; `None` when they cannot be known.
    fn log(&mut self) -> Option<Groups> {
        let dir = self.dir.join("log");
        let looked = match log::verify::look(&dir) {
            Ok(looked) => looked,
            Err(error) => {
                self.found(&dir, None, format!("cannot be read: {error}"), Some(Damage::Log));
                return None;
            }
        };
        (self.summary.log_segments, self.summary.log_records) = (looked.segments, looked.records);
        if let Some((path, offset, bytes)) = &looked.torn {
            let what = format!("the last write is torn: a start drops its {bytes} bytes, which nobody was told of");
            self.found(path, Some(*offset), what, None);
        }
        for error in &looked.damage {
            let path = log::verify::path_of(error).unwrap_or(&dir);
            let (offset, what) = match error {
                log::Error::Corrupt { offset, reason, .. } => (Some(*offset), reason.clone()),
                other => (None, other.to_string()),
            };
            self.found(path, offset, what, Some(Damage::Log));
        }
        looked.groups
    }

    fn partition(&mut self, number: u32, place: &Place, groups: Option<&Groups>, rows: &mut dyn FnMut(Partition<'_>)) {
        let Some(current) = self.current(place) else { return };
        self.summary.replicas += 1;
        let dir = place.rows(&current);
        let before = self.leftovers(place, &current);
        if !dir.join("CURRENT").exists() {
            // A replica that was cut off while it began has no rows yet, and nothing in the log either.
            let empty = groups.is_some_and(|groups| !groups.contains_key(&log_group(number, current.incarnation)));
            if empty && !dir.exists() && !before {
                self.found(&dir, None, "there are no rows yet", None);
            } else {
                self.found(&dir, None, "there are no rows, though CURRENT names them", Some(Damage::Rows));
            }
            return;
        }
        if !self.rocksdb_files(&dir) {
            return;
        }
        let opened = Store::open_for_reading(&dir).and_then(|store| Ok((store.mark()?, store)));
        match opened {
            Ok((mark, store)) => {
                let applied = mark.applied.map_or(0, |id| id.index);
                self.against_the_log(number, &current, &dir, applied, groups);
                let path = dir.strip_prefix(self.dir).unwrap_or(&dir);
                rows(Partition { number, path, store: &store, applied });
            }
            Err(error) => self.found(&dir, None, format!("does not open: {}", error.0), Some(Damage::Rows)),
        }
    }

    /// Rows and log must meet: what the rows lack the log must have.
    fn against_the_log(&mut self, number: u32, current: &Current, dir: &Path, applied: u64, groups: Option<&Groups>) {
        let Some(groups) = groups else { return };
        match groups.get(&log_group(number, current.incarnation)) {
            None if applied > 0 => {
                let what = format!(
                    "has applied entry {applied}, and the log knows nothing of this replica: its votes are lost"
                );
                self.found(dir, None, what, Some(Damage::Log));
            }
            Some(marks) if marks.purged > applied => {
                let what = format!("has applied entry {applied}, and the log begins behind entry {}", marks.purged);
                self.found(dir, None, what, Some(Damage::Behind));
            }
            _ => {}
        }
    }

    /// Whether RocksDB may be asked to open it.
    fn rocksdb_files(&mut self, dir: &Path) -> bool {
        match manifest::check(dir) {
            Ok(None) => {}
            Ok(Some((path, offset, bytes))) => {
                let what = format!(
                    "its last {bytes} bytes are torn; the rows are as of the flush before, which the log brings forward"
                );
                self.found(&path, Some(offset), what, None);
            }
            Err(manifest::Bad { path, offset, what }) => {
                self.found(&path, offset, what, Some(Damage::Rows));
                return false;
            }
        }
        match tables::check(dir) {
            Ok(()) => {}
            Err(error) => {
                let (path, offset) = tables::named(&error).unwrap_or((dir.to_owned(), None));
                self.found(&path, offset, error, Some(Damage::Rows));
                return false;
            }
        }
        let tables = fs::read_dir(dir).into_iter().flatten().flatten();
        for entry in tables.filter(|entry| entry.path().extension().is_some_and(|e| e == "sst")) {
            self.summary.tables += 1;
            self.summary.table_bytes += entry.metadata().map_or(0, |m| m.len());
        }
        true
    }
}
