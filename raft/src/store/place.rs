//! Where a replica's rows lie, and how one directory takes another's place in one step.
//!
//! `CURRENT` names the replica and the directory of its rows, and says its own checksum, because a digit that flipped would name another
//! directory and have the right one deleted; it is replaced by renaming a synced file over it. Every other directory
//! is left over from a crash and deleted at start, except `incoming`, where a snapshot on its way can be resumed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::crash;
use crate::error::Error;
use crate::sealed;

const CURRENT: &str = "CURRENT";
const INCOMING: &str = "incoming";
const OUTGOING: &str = "outgoing";

/// What `CURRENT` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Current {
    /// The replica.
    pub(crate) replica: u64,
    /// How many replicas of the group this directory has had, from 1: each has a log of its own.
    pub(crate) incarnation: u32,
    /// Counts the directories of rows.
    pub(crate) epoch: u64,
}

/// The directory of one group.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    dir: PathBuf,
}

impl Place {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Place { dir }
    }

    /// What is here; `None` when no replica is. Deletes what a crash left over.
    pub(crate) fn open(&self) -> Result<Option<Current>, Error> {
        fs::create_dir_all(&self.dir).map_err(|e| Error::io(format!("create {}", self.dir.display()), e))?;
        let current = self.read()?;
        let keep = current.as_ref().map(|c| self.rows(c));
        self.sweep(keep.as_deref()).map_err(|e| Error::io(format!("sweep {}", self.dir.display()), e))?;
        Ok(current)
    }

    /// What `CURRENT` says; `None` when there is none.
    pub(crate) fn read(&self) -> Result<Option<Current>, Error> {
        let path = self.dir.join(CURRENT);
        match fs::read_to_string(&path) {
            Ok(text) => parse(&text).map(Some).map_err(|reason| Error::Foreign { dir: path, reason }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(format!("read {}", path.display()), e)),
        }
    }

    fn sweep(&self, keep: Option<&Path>) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let incoming = keep.is_some() && path.file_name() == Some(INCOMING.as_ref());
            if path.is_dir() && Some(path.as_path()) != keep && !incoming {
                fs::remove_dir_all(path)?;
            }
        }
        Ok(())
    }

    /// The directory of the rows.
    pub(crate) fn rows(&self, current: &Current) -> PathBuf {
        self.dir.join(format!("rows-{}", current.epoch))
    }

    /// The file that says which rows count.
    pub(crate) fn current_file(&self) -> PathBuf {
        self.dir.join(CURRENT)
    }

    /// Every directory of rows, whether it counts or not.
    pub(crate) fn all_rows(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut rows: Vec<PathBuf> =
            entries.filter(|e| e.file_name().to_string_lossy().starts_with("rows-")).map(|e| e.path()).collect();
        rows.sort();
        rows
    }

    /// Where checkpoints for other replicas are made.
    pub(crate) fn outgoing_dir(&self) -> PathBuf {
        self.dir.join(OUTGOING)
    }

    /// Where a snapshot from the leader is gathered.
    pub(crate) fn incoming(&self) -> PathBuf {
        self.dir.join(INCOMING)
    }

    /// Where a checkpoint for another replica may be made; a new name each time.
    pub(crate) fn outgoing(&self, serial: u64) -> io::Result<PathBuf> {
        let dir = self.outgoing_dir();
        fs::create_dir_all(&dir)?;
        Ok(dir.join(serial.to_string()))
    }

    /// Makes `current` what is here, durably: before this returns the old is, after it the new.
    pub(crate) fn set(&self, current: &Current) -> io::Result<()> {
        let text = sealed::line(&format!("{} {} {}", current.replica, current.incarnation, current.epoch));
        write_atomic(&self.dir, CURRENT, text.as_bytes())
    }

    /// Removes the replica, keeping only how many there were.
    pub(crate) fn vacate(&self, current: &Current) -> io::Result<()> {
        self.set(&Current { replica: 0, incarnation: current.incarnation, epoch: current.epoch + 1 })?;
        self.sweep(None)
    }
}

fn parse(text: &str) -> Result<Current, String> {
    let odd = || format!("expected \"replica incarnation epoch\", found {text:?}");
    let line = text.strip_suffix('\n').filter(|line| !line.contains('\n')).ok_or_else(odd)?;
    let mut words = sealed::open(line)?.split(' ').map(|word| word.parse::<u64>().ok());
    let mut number = || words.next().flatten().ok_or_else(odd);
    let (replica, incarnation, epoch) = (number()?, number()?, number()?);
    let incarnation = u32::try_from(incarnation).map_err(|_| odd())?;
    if words.next().is_some() { Err(odd()) } else { Ok(Current { replica, incarnation, epoch }) }
}

/// Writes a small file so that a crash leaves the old content or the new.
pub(crate) fn write_atomic(dir: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let tmp = dir.join(format!("{name}.tmp"));
    let mut file = File::create(&tmp)?;
    file.write_all(content)?;
    file.sync_all()?;
    crash::point("file-written");
    fs::rename(&tmp, dir.join(name))?;
    crash::point("file-renamed");
    sync_dir(dir)
}

/// Makes names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crash_left_over_is_deleted_and_what_is_current_stays() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path().join("0"));
        assert_eq!(place.open().unwrap(), None);
        let current = Current { replica: 1 << 32 | 1, incarnation: 1, epoch: 3 };
        place.set(&current).unwrap();
        for name in ["rows-2", "rows-3", "rows-4", "incoming", "outgoing"] {
            fs::create_dir(dir.path().join("0").join(name)).unwrap();
        }
        assert_eq!(place.open().unwrap(), Some(current.clone()));
        let mut left: Vec<String> = fs::read_dir(dir.path().join("0"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["CURRENT", "incoming", "rows-3"]);
    }

    #[test]
    fn a_file_that_says_something_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["what", "1 2 x\n", "1 2 3 4\n", "1 2 3", "1 4294967296 3\n", "1 2 3\n4 5 6\n", "", "\n"] {
            fs::write(dir.path().join("CURRENT"), text).unwrap();
            assert!(matches!(Place::new(dir.path().to_owned()).open(), Err(Error::Foreign { .. })), "{text:?}");
        }
    }

    /// Red when `parse` does not compare the checksum: the epoch of another directory has this one's rows deleted.
    #[test]
    fn no_flipped_bit_is_believed_and_no_rows_are_deleted_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path().to_owned());
        let current = Current { replica: 7 << 32 | 1, incarnation: 2, epoch: 13 };
        place.set(&current).unwrap();
        fs::create_dir(place.rows(&current)).unwrap();
        let path = dir.path().join(CURRENT);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut text = whole.clone();
                text[at] ^= 1 << bit;
                fs::write(&path, text).unwrap();
                assert!(place.open().is_err(), "byte {at}, bit {bit}");
            }
        }
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(place.open().is_err(), "cut to {length} bytes");
        }
        assert!(place.rows(&current).exists());
        fs::write(&path, &whole).unwrap();
        assert_eq!(place.open().unwrap(), Some(current.clone()));
        // As it was written before it had a checksum.
        fs::write(&path, format!("{} 2 13\n", 7u64 << 32 | 1)).unwrap();
        assert_eq!(place.open().unwrap(), Some(current));
    }
}
