//! Power failures at every step of the log: what was not synced may be there, in part or not at all.

mod log_support;

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use log_support::*;
use openraft::RaftLogReader;
use openraft::storage::RaftLogStorage;
use raft::log::{Error, Log, LogConfig, LogFile, LogIo};

const SECTOR_BYTES: u64 = 512;

/// A small generator, so that a failure is repeated by its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A disk in memory that knows what a power failure may take.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<Inner>>);

#[derive(Clone, Debug, Default)]
struct Inner {
    files: Vec<Contents>,
    /// Names as the process sees them, and changes of names that are not durable: name, file before.
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Calls that change something; the power fails at number `fails_at`.
    calls: u64,
    fails_at: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    current: Vec<u8>,
    durable: Vec<u8>,
    /// Written since the last sync, by sector.
    dirty: Vec<(u64, Vec<u8>)>,
}

impl Disk {
    /// Counts a change, or refuses it when the power is off.
    fn change(&self) -> io::Result<std::sync::MutexGuard<'_, Inner>> {
        let mut inner = self.0.lock().expect("a disk");
        inner.calls += 1;
        match inner.fails_at {
            Some(at) if inner.calls >= at => Err(io::Error::other("no power")),
            _ => Ok(inner),
        }
    }

    /// What is found when the power is back.
    fn after_power_failure(&self, dice: &mut Dice) -> Disk {
        let inner = self.0.lock().expect("a disk");
        let files = inner.files.iter().map(|file| {
            let mut durable = file.durable.clone();
            for (at, bytes) in &file.dirty {
                for (n, sector) in bytes.chunks(SECTOR_BYTES as usize).enumerate() {
                    if dice.below(2) == 0 {
                        let at = *at as usize + n * SECTOR_BYTES as usize;
                        durable.resize(durable.len().max(at + sector.len()), 0);
                        durable[at..at + sector.len()].copy_from_slice(sector);
                    }
                }
            }
            Contents { current: durable.clone(), durable, dirty: Vec::new() }
        });
        let files = files.collect();
        // The directory was written or it was not.
        let names = if dice.below(2) == 0 { &inner.names } else { &inner.durable_names };
        let inner = Inner { files, names: names.clone(), durable_names: names.clone(), ..Inner::default() };
        Disk(Arc::new(Mutex::new(inner)))
    }
}

impl LogIo for Disk {
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn LogFile>> {
        let mut inner = self.change()?;
        let zeros = vec![0; bytes as usize];
        inner.files.push(Contents { current: zeros.clone(), durable: zeros, dirty: Vec::new() });
        let id = inner.files.len() - 1;
        inner.names.insert(path.to_owned(), id);
        Ok(Box::new(File { disk: self.clone(), id }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let id = *self.0.lock().expect("a disk").names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(File { disk: self.clone(), id }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.change()?;
        let id = inner.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        inner.names.insert(to.to_owned(), id);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change()?.names.remove(path).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut inner = self.change()?;
        inner.durable_names = inner.names.clone();
        Ok(())
    }

    fn list(&self, _dir: &Path) -> io::Result<Vec<PathBuf>> {
        let inner = self.0.lock().expect("a disk");
        Ok(inner.names.keys().map(|path| path.file_name().expect("a name").into()).collect())
    }

    fn lock(&self, _dir: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        Ok(Some(Box::new(())))
    }
}

#[derive(Debug)]
struct File {
    disk: Disk,
    id: usize,
}

impl LogFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().expect("a disk").files[self.id].current.len() as u64)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let inner = self.disk.0.lock().expect("a disk");
        let bytes = inner.files[self.id].current.get(offset as usize..offset as usize + buf.len());
        buf.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let mut inner = self.disk.change()?;
        let file = &mut inner.files[self.id];
        file.current[offset as usize..offset as usize + buf.len()].copy_from_slice(buf);
        // Whole sectors go to the disk, with what was in them before.
        let start = offset / SECTOR_BYTES * SECTOR_BYTES;
        let end = (offset + buf.len() as u64).next_multiple_of(SECTOR_BYTES).min(file.current.len() as u64);
        let sectors = file.current[start as usize..end as usize].to_vec();
        file.dirty.push((start, sectors));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.disk.change()?;
        let file = &mut inner.files[self.id];
        file.durable = file.current.clone();
        file.dirty.clear();
        Ok(())
    }
}

/// What may be found of a group.
#[derive(Clone, Debug, Default)]
struct Known {
    vote: u64,
    /// Entries that must be there, unless purged: index and term.
    entries: BTreeMap<u64, u64>,
    /// Highest purge asked for.
    purged: u64,
    /// Highest index ever appended.
    highest: u64,
    /// Terms an entry ever had, by index.
    ever: BTreeMap<u64, Vec<u64>>,
}

const GROUPS: u32 = 3;

fn size(gid: u32) -> usize {
    [1500, 200, 4000][gid as usize]
}

fn config() -> LogConfig {
    LogConfig { segments_max: 2, cache_bytes: 8_000, ..small() }
}

/// All groups let go of everything at once, so that segments become free while purges are still queued.
async fn purge_all(log: &Log, known: &mut [Known]) -> io::Result<()> {
    for (gid, known) in (0..).zip(known) {
        let mut group = log.group(gid);
        if let Some(last) = group.get_log_state().await?.last_log_id {
            known.purged = known.purged.max(last.index);
            group.purge(last).await?;
        }
    }
    Ok(())
}

/// Appends, truncates, purges and votes until the power fails.
async fn work(log: &Log, known: &mut [Known], dice: &mut Dice, steps: u64) {
    for _ in 0..steps {
        if dice.below(25) == 0 && purge_all(log, known).await.is_err() {
            return;
        }
        let gid = dice.below(u64::from(GROUPS)) as u32;
        let (mut group, known) = (log.group(gid), &mut known[gid as usize]);
        let state = group.get_log_state().await.expect("reads");
        let next = state.last_log_id.map_or(1, |id| id.index + 1);
        let purged = state.last_purged_log_id.map_or(0, |id| id.index);
        let failed = match dice.below(10) {
            0 => {
                let term = known.vote + 1;
                let saved = group.save_vote(&vote(term)).await;
                known.vote += u64::from(saved.is_ok());
                saved.is_err()
            }
            // The group that is written least keeps what it has, so that it has to be copied.
            1 | 2 if gid != 1 || dice.below(10) == 0 => {
                let upto = purged + (next - purged) / 2;
                known.purged = known.purged.max(upto);
                group.purge(log_id(1, upto)).await.is_err()
            }
            3 => {
                let after = next.saturating_sub(1 + dice.below(3)).max(purged);
                known.entries.split_off(&(after + 1));
                let term = state.last_log_id.map_or(1, |id| id.leader_id.term);
                group.truncate_after((after > 0).then(|| log_id(term, after))).await.is_err()
            }
            4 => group.save_committed(state.last_log_id).await.is_err(),
            _ => {
                let term = state.last_log_id.map_or(1, |id| id.leader_id.term) + dice.below(2);
                let count = 1 + dice.below(3);
                for index in next..next + count {
                    known.ever.entry(index).or_default().push(term);
                }
                known.highest = known.highest.max(next + count - 1);
                let entries = (next..next + count).map(|i| entry(term, i, payload(gid, term, i, size(gid)))).collect();
                let appended = append(&mut group, entries).await;
                if appended.is_ok() {
                    known.entries.extend((next..next + count).map(|index| (index, term)));
                }
                appended.is_err()
            }
        };
        if failed {
            return;
        }
    }
}

/// Everything acknowledged is there, and nothing that was never appended.
async fn check(log: &Log, known: &mut [Known], what: &str) {
    for (gid, known) in (0..).zip(known) {
        let mut group = log.group(gid);
        let vote = group.read_vote().await.expect("reads").map_or(0, |vote| vote.leader_id.term);
        assert!(vote == known.vote || vote == known.vote + 1, "{what}: group {gid} has vote {vote}, {known:?}");
        known.vote = vote;
        let state = group.get_log_state().await.expect("reads");
        let purged = state.last_purged_log_id.map_or(0, |id| id.index);
        assert!(purged <= known.purged, "{what}: group {gid} is purged up to {purged}, {known:?}");
        let found: BTreeMap<u64, Entry> = read(&group).await.into_iter().map(|e| (e.log_id.index, e)).collect();
        for (index, term) in known.entries.range(purged + 1..) {
            let term_found = found.get(index).map(|e| e.log_id.leader_id.term);
            assert_eq!(term_found, Some(*term), "{what}: group {gid} entry {index}, {known:?}");
        }
        for (index, entry) in &found {
            let term = entry.log_id.leader_id.term;
            assert!(known.ever[index].contains(&term), "{what}: group {gid} has a strange entry {index}");
            let expected = log_support::entry(term, *index, payload(gid, term, *index, size(gid)));
            assert_eq!(entry, &expected, "{what}: group {gid} entry {index}");
        }
        // From here on what was found counts.
        known.entries = found.iter().map(|(index, e)| (*index, e.log_id.leader_id.term)).collect();
        known.purged = known.purged.max(purged);
    }
}

/// Red when `collect` in `log/writer.rs` drops a segment without waiting for `handled` or without the flush, when
/// `settle` in `log/recover.rs` does not zero the rest, when `Segment::create` renames before the sync, or when
/// `Spares::recycle` does not sync the directory.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_power_failure_at_any_call_loses_nothing_acknowledged() {
    let mut dropped = 0;
    for seed in 1..=250u64 {
        let dice = &mut Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut disk = Disk::default();
        let mut known = vec![Known::default(); GROUPS as usize];
        // Several failures of the same disk, one after the other, each later in the work.
        for life in 0..4 {
            let what = format!("seed {seed}, life {life}");
            let fails_at = 2 + dice.below(if life == 0 { 30 } else { 500 });
            disk.0.lock().expect("a disk").fails_at = Some(fails_at);
            match Log::open("/log", config(), Box::new(disk.clone())) {
                Ok(log) => {
                    check(&log, &mut known, &what).await;
                    work(&log, &mut known, dice, 400).await;
                }
                Err(Error::Io { source, .. }) if source.to_string() == "no power" => {}
                Err(error) => panic!("{what}: {error}"),
            }
            disk = disk.after_power_failure(dice);
        }
        let log = Log::open("/log", config(), Box::new(disk.clone())).expect("opens after a power failure");
        check(&log, &mut known, &format!("seed {seed}, end")).await;
        let oldest = disk.list(Path::new("/log")).expect("lists").into_iter().min().expect("a segment");
        dropped += u64::from(!oldest.ends_with("segment-0000000001.log"));
    }
    assert!(dropped > 100, "old segments were dropped in {dropped} of 250 runs only");
}
