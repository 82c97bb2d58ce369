//! Clocks of their own: a small library under each node adds to its wall clock what stands in a file. The same library can lie
//! about syncs.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::os;

/// See the file.
const CLOCK: &str = include_str!("../shim/clock.c");
/// See the file.
const LIE: &str = include_str!("../shim/lie.c");

/// The library, compiled for this run.
#[derive(Clone, Debug)]
pub struct Shim(PathBuf);

impl Shim {
    /// Compiles it into `directory`; `lies` makes syncs do nothing.
    ///
    /// # Errors
    ///
    /// When there is no C compiler.
    pub fn compile(directory: &Path, lies: bool) -> io::Result<Shim> {
        let (source, library) = (directory.join("shim.c"), directory.join("shim.so"));
        std::fs::write(&source, if lies { [CLOCK, LIE].concat() } else { CLOCK.to_owned() })?;
        let paths = [&library, &source].map(|path| path.to_string_lossy().into_owned());
        os::command("cc", &["-shared", "-fPIC", "-O2", "-o", &paths[0], &paths[1]])?;
        Ok(Shim(library))
    }
}

/// The wall clock of one node.
#[derive(Clone, Debug)]
pub struct NodeClock {
    shim: Shim,
    file: PathBuf,
}

impl NodeClock {
    /// A clock that is right.
    ///
    /// # Errors
    ///
    /// When its file cannot be written.
    pub fn new(shim: &Shim, directory: &Path, node: u8) -> io::Result<NodeClock> {
        let clock = NodeClock { shim: shim.clone(), file: directory.join(format!("clock-{node}")) };
        File::create(&clock.file)?;
        clock.set(0)?;
        Ok(clock)
    }

    /// From now on it is so many seconds ahead, or behind.
    ///
    /// # Errors
    ///
    /// When its file cannot be written.
    pub fn set(&self, seconds: i64) -> io::Result<()> {
        // Eight bytes of a page are seen whole or not at all.
        File::options().write(true).open(&self.file)?.write_all_at(&(seconds * 1_000_000_000).to_ne_bytes(), 0)
    }

    /// What a process needs in its environment to live by it. Its monotonic clock stays true.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        vec![("LD_PRELOAD".into(), text(&self.shim.0)), ("BOSINGAK_CHAOS_CLOCK".into(), text(&self.file))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red when a step is not seen by a process that runs, or is taken twice.
    #[test]
    fn a_process_lives_by_its_clock() {
        let directory = tempfile::tempdir().unwrap();
        let shim = Shim::compile(directory.path(), false).unwrap();
        let clock = NodeClock::new(&shim, directory.path(), 1).unwrap();
        let seconds = || -> i64 {
            let mut date = std::process::Command::new("date");
            let output = date.arg("+%s").envs(clock.environment()).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
        };
        let real = || harness::clock::now_ms() / 1_000;
        for step in [0, 3_600, -86_400, 0] {
            clock.set(step).unwrap();
            let (before, seen, after) = (real(), seconds(), real());
            assert!((before + step..=after + step).contains(&seen), "{step}: {before} {seen} {after}");
        }
    }
}
