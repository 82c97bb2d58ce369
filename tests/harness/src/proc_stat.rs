//! What a process has used, as /proc says; and what its disk is.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Resources of one process since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Largest resident set so far.
    pub rss_bytes_max: u64,
    /// Resident set now.
    pub rss_bytes: u64,
    /// Processor time in user and kernel.
    pub cpu_s: f64,
}

/// What `pid` has used; zeros when it is gone.
#[must_use]
pub fn usage(pid: u32) -> Usage {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let status = read("status");
    let stat = read("stat");
    // The name in brackets may hold spaces; times follow it.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    Usage {
        rss_bytes_max: number(&status, "VmHWM:") * 1_024,
        rss_bytes: number(&status, "VmRSS:") * 1_024,
        // USER_HZ is 100 on every Linux we run on.
        cpu_s: (ticks(11) + ticks(12)) / 100.0,
    }
}

/// Processor time of everybody on the machine since it started, in user and kernel; zero when the system does not say.
#[must_use]
pub fn machine_cpu_s() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    // user, nice, system, idle, iowait, irq, softirq; what guests take is counted in the first.
    let ticks = fields.take(7).enumerate().filter(|(at, _)| !matches!(at, 3 | 4));
    ticks.filter_map(|(_, ticks)| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Whether every thread of `pid` stands still, as after SIGSTOP.
///
/// # Errors
///
/// When there is no such process.
pub fn stands_still(pid: u32) -> crate::Result<bool> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))?;
    let state = |stat: &str| stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    // A thread that has ended since runs no more.
    let stats = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("stat")).ok());
    Ok(stats.into_iter().all(|stat| state(&stat) == Some('T')))
}

fn number(text: &str, label: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(label))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// Bytes the disk below a directory has written since the machine started, by whoever; 0 when the system does not say.
///
/// What /proc counts per process will not do: it takes a whole folio of the page cache, up to megabytes, for every small
/// append to one.
#[must_use]
pub fn disk_written_bytes(directory: &Path) -> u64 {
    let Ok(metadata) = fs::metadata(directory) else { return 0 };
    let device = metadata.dev();
    let place = format!("/sys/dev/block/{}:{}/stat", libc::major(device), libc::minor(device));
    let stat = fs::read_to_string(place).unwrap_or_default();
    // Sectors of 512 bytes, whatever the disk's own are.
    stat.split_whitespace().nth(6).and_then(|sectors| sectors.parse::<u64>().ok()).unwrap_or(0) * 512
}

/// Bytes that the files below a directory take on its disk, each once however many names it has.
#[must_use]
pub fn used_bytes(directory: &Path) -> u64 {
    let (mut bytes, mut seen, mut places) = (0, HashSet::new(), vec![directory.to_path_buf()]);
    while let Some(place) = places.pop() {
        // Whatever is taken away while we look does not count.
        for entry in fs::read_dir(&place).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                places.push(entry.path());
            } else if seen.insert((metadata.dev(), metadata.ino())) {
                bytes += metadata.blocks() * 512;
            }
        }
    }
    bytes
}

/// The file system a directory lies on, as /proc/mounts names it.
#[must_use]
pub fn file_system(directory: &Path) -> String {
    let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_path_buf());
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(mount, _)| directory.starts_with(mount))
        .max_by_key(|(mount, _)| mount.len())
        .map_or_else(|| "unknown".to_owned(), |(_, kind)| kind.to_owned())
}

/// Median time of `fdatasync` after 4 KiB appended, over 100 of them.
///
/// # Errors
///
/// When the directory cannot be written.
pub fn sync_p50(directory: &Path) -> std::io::Result<Duration> {
    use std::io::Write;
    let mut file = tempfile::tempfile_in(directory)?;
    let mut times = Vec::with_capacity(100);
    for _ in 0..100 {
        file.write_all(&[7; 4_096])?;
        let start = Instant::now();
        file.sync_data()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red when a column of /proc is taken for another.
    #[test]
    fn we_use_memory_and_time() {
        let usage = usage(std::process::id());
        assert!(usage.rss_bytes > 1 << 20 && usage.rss_bytes <= usage.rss_bytes_max, "{usage:?}");
        assert!(usage.cpu_s < 600.0, "{usage:?}");
        assert_ne!(file_system(Path::new("/proc/self")), "unknown");
        assert_eq!(file_system(Path::new("/proc/self/fd")), "proc");
        let before = disk_written_bytes(&std::env::temp_dir());
        assert!(sync_p50(&std::env::temp_dir()).unwrap() > Duration::ZERO);
        // A hundred synced appends of 4 KiB, unless the temporary directory has no disk.
        let written = disk_written_bytes(&std::env::temp_dir()) - before;
        assert!(before == 0 || written >= 100 * 4_096, "{written}");
    }

    /// Turns red when a file with two names counts twice, or one in a directory below does not count.
    #[test]
    fn files_take_their_bytes_once() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(used_bytes(directory.path()), 0);
        let below = directory.path().join("below");
        fs::create_dir(&below).unwrap();
        fs::write(below.join("file"), vec![7; 64 << 10]).unwrap();
        let once = used_bytes(directory.path());
        assert!(once >= 64 << 10, "{once}");
        fs::hard_link(below.join("file"), directory.path().join("again")).unwrap();
        assert_eq!(used_bytes(directory.path()), once);
    }
}
