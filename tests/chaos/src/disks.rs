//! Disks of their own: an ext4 in a file for each node, that can lose its power or run full.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::os;

/// Size of a disk. The file is sparse; a node of a run needs some 300 MiB of it.
const BYTES: u64 = 1 << 30;
/// Written at a time when a disk is filled.
const CHUNK: usize = 1 << 20;

/// One mounted disk. Dropping it unmounts it.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    mounted: PathBuf,
}

impl Disk {
    /// Makes one in `directory`, called `name`.
    ///
    /// # Errors
    ///
    /// When the platform does not permit it.
    pub fn make(directory: &Path, name: &str) -> io::Result<Disk> {
        let (image, mounted) = (directory.join(format!("{name}.ext4")), directory.join(name));
        File::create(&image)?.set_len(BYTES)?;
        std::fs::create_dir(&mounted)?;
        os::command("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=1", &image.to_string_lossy()])?;
        let disk = Disk { image, mounted };
        disk.mount()?;
        Ok(disk)
    }

    fn mount(&self) -> io::Result<()> {
        os::command("mount", &["-o", "loop", &self.image.to_string_lossy(), &self.mounted.to_string_lossy()]).map(drop)
    }

    fn unmount(&self) -> io::Result<()> {
        os::command("umount", &[&*self.mounted.to_string_lossy()]).map(drop)
    }

    /// Where a node keeps its data on it.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.mounted.join("data")
    }

    /// Loses whatever was not synced. Whoever uses the disk must stand still and be killed before [`Self::restore`].
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn cut_power(&self) -> io::Result<()> {
        os::cut_power(&self.mounted)
    }

    /// The power is back: what is on the disk is what was on it.
    ///
    /// # Errors
    ///
    /// When somebody still uses it, or ext4 cannot be repaired.
    pub fn restore(&self) -> io::Result<()> {
        self.unmount()?;
        self.mount()
    }

    fn filler(&self) -> PathBuf {
        self.mounted.join("filler")
    }

    /// Takes all room that is left.
    ///
    /// # Errors
    ///
    /// When it ends with anything but "no space".
    pub fn fill(&self) -> io::Result<()> {
        let mut filler = File::create(self.filler())?;
        let chunk = vec![0xb5; CHUNK];
        loop {
            match filler.write_all(&chunk) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives the room back.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn empty(&self) -> io::Result<()> {
        std::fs::remove_file(self.filler())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = self.unmount() {
            eprintln!("{} is left mounted: {error}", self.mounted.display());
        }
    }
}

/// Writes rubbish behind the last thing that was written to the newest segment of a log, as a write does that was torn by a
/// crash. The node must not run.
///
/// # Errors
///
/// When there is no log.
pub fn tear_tail(data: &Path, rubbish: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let newest = newest_segment(&data.join("log"))?;
    let file = File::options().read(true).write(true).open(&newest)?;
    let bytes = std::fs::read(&newest)?;
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    // The last frame may end in a number whose highest bytes are zero: it stays whole.
    let at = (end + 8).min(bytes.len().saturating_sub(rubbish.len()));
    file.write_all_at(rubbish, at as u64)?;
    file.sync_all()
}

fn newest_segment(log: &Path) -> io::Result<PathBuf> {
    let mut segments: Vec<PathBuf> = std::fs::read_dir(log)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    segments.sort();
    segments.pop().ok_or_else(|| io::Error::other(format!("no segment in {}", log.display())))
}
