//! Kept bytes: what a crate stores or sends, written to a file once and compared ever after.
//!
//! `tests/golden/NAME.1.hex` of the crate holds the bytes of format 1. A new format gets a file of its own, `NAME.2.hex`, and a case that
//! decodes to what it means; the case of the old one keeps the old bytes and then only decodes. `GOLDEN=write cargo test … golden` writes
//! the files that are missing. One that is there is never written again: a test that is red over it found a change of format.

use std::collections::BTreeSet;
use std::fmt::{Debug, Write as _};
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;

/// The kept files of one directory, and which of them had a case.
#[derive(Debug)]
pub struct Golden {
    dir: PathBuf,
    seen: BTreeSet<String>,
}

impl Golden {
    /// The files in `dir`.
    pub fn of(dir: impl Into<PathBuf>) -> Golden {
        Golden { dir: dir.into(), seen: BTreeSet::new() }
    }

    /// The bytes kept under a name; `today` becomes them where there are none and `GOLDEN=write` is set.
    ///
    /// # Panics
    ///
    /// If there are none.
    pub fn kept(&mut self, name: &str, today: &[u8]) -> Vec<u8> {
        let file = format!("{name}.1.hex");
        let path = self.dir.join(&file);
        if std::env::var_os("GOLDEN").is_some_and(|value| value == "write") && !path.exists() {
            fs::create_dir_all(&self.dir).expect("the directory of kept files can be made");
            fs::write(&path, hex(today)).expect("a kept file can be written");
        }
        self.seen.insert(file);
        read(&path)
    }

    /// Bytes that are written today: the same as those kept.
    ///
    /// # Panics
    ///
    /// If they differ.
    pub fn bytes(&mut self, name: &str, today: &[u8]) -> Vec<u8> {
        let kept = self.kept(name, today);
        assert_eq!(hex(today), hex(&kept), "{name}: what is written today differs from what was");
        kept
    }

    /// A value that is written today as it was, and that what was written still means.
    ///
    /// # Panics
    ///
    /// If one of them is otherwise.
    pub fn value<T: Debug + PartialEq>(
        &mut self,
        name: &str,
        value: T,
        encode: impl Fn(&T) -> Vec<u8>,
        decode: impl Fn(Bytes) -> T,
    ) {
        let kept = self.bytes(name, &encode(&value));
        assert_eq!(decode(Bytes::from(kept)), value, "{name}: what was written means something else today");
    }

    /// Every file has had its case.
    ///
    /// # Panics
    ///
    /// If one has not: a format that was written once must be read for ever.
    pub fn done(self) {
        let there: BTreeSet<String> = files(&self.dir).iter().map(|path| name(path)).collect();
        assert_eq!(there, self.seen, "every file has a case, and every case a file");
    }
}

/// Every kept file in `dir` by name, in order of it.
///
/// # Panics
///
/// If there is none, or one holds something else than hexadecimal digits.
pub fn all(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let all: Vec<_> = files(dir).iter().map(|path| (name(path), read(path))).collect();
    assert!(!all.is_empty(), "{} holds no kept bytes", dir.display());
    all
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry can be read").path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    files
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn read(path: &Path) -> Vec<u8> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    unhex(&text).unwrap_or_else(|| panic!("{} is not hexadecimal", path.display()))
}

/// Bytes as lines of 32 in hexadecimal digits, so that a change shows where it is.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        for byte in line {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
    }
    text
}

/// What [`hex`] wrote; `None` when it is something else.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    let (pairs, rest) = digits.as_ref()?.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_other_text_does_not() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(unhex(&hex(&bytes)), Some(bytes));
        for text in ["0", "0x", "zz"] {
            assert_eq!(unhex(text), None, "{text}");
        }
    }

    #[test]
    #[should_panic(expected = "differs from what was")]
    fn a_changed_byte_is_told() {
        let dir = tempfile::tempdir().expect("made");
        fs::write(dir.path().join("a.1.hex"), hex(b"kept")).expect("written");
        Golden::of(dir.path()).bytes("a", b"kepT");
    }

    #[test]
    #[should_panic(expected = "every file has a case")]
    fn a_file_without_a_case_is_told() {
        let dir = tempfile::tempdir().expect("made");
        fs::write(dir.path().join("b.1.hex"), hex(b"kept")).expect("written");
        Golden::of(dir.path()).done();
    }
}
