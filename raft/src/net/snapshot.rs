//! A snapshot on its way: the files of a checkpoint, resumed where the last attempt broke off, checked and synced before they count.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::client::Client;
use super::{Host, link};
use crate::adapter::{MarkedCheckpoint, Rows, SnapshotData};
use crate::crash;
use crate::metrics;
use crate::replica::Replica;
use crate::store::sync_dir;
use crate::types::Vote;
use crate::wire::snapshot_frame::Body;
use crate::wire::{
    self, Refusal, SnapshotBegin, SnapshotData as Chunk, SnapshotEnd, SnapshotFile, SnapshotFrame, SnapshotHave,
    SnapshotInstalled,
};

const CHUNK_BYTES: usize = 256 << 10;
const FILES_MAX: usize = 100_000;

/// How long either side waits for the other's next frame. Checking and installing may take as long as the caller allows.
const IDLE: Duration = Duration::from_secs(30);

fn frame(body: Body) -> SnapshotFrame {
    SnapshotFrame { body: Some(body) }
}

/// Sends the rows as they are now; returns the receiver's vote once they are installed there.
pub(super) async fn send(client: &Client, vote: Vote, rows: Arc<Rows>) -> Result<Vote, String> {
    let partition = client.partition;
    let made = tokio::task::spawn_blocking(move || {
        let made = rows.checkpoint()?;
        let files = list(&made.checkpoint.dir)?;
        Ok::<_, io::Error>((made, files))
    });
    let (made, files) = made.await.map_err(|e| e.to_string())?.map_err(|e| format!("checkpoint: {e}"))?;
    let MarkedCheckpoint { checkpoint, mark } = made;
    crash::point("snapshot-made");
    // The rows may have moved on under another leader since this replica led; no receiver may take them for what `vote` owns.
    if mark.applied.is_some_and(|id| id.leader_id.term > vote.leader_id.term) {
        return Err("the leadership ended".into());
    }
    let total: u64 = files.iter().map(|f| f.size).sum();
    tracing::info!(partition, files = files.len(), bytes = total, applied = ?mark.applied, "sending a snapshot");

    let (out, frames) = mpsc::channel(8);
    let begin = SnapshotBegin {
        group: partition,
        to: client.target,
        from: client.me,
        vote: Some(vote.into()),
        last: mark.applied.map(Into::into),
        membership: Some((&mark.membership).into()),
        files: files.clone(),
    };
    push(&out, Body::Begin(begin)).await?;
    let mut peer = link::connect(&client.address).await?;
    let request = client.links.introduction().request(ReceiverStream::new(frames));
    let mut answers = peer.snapshot(request).await.map_err(|e| e.message().to_owned())?.into_inner();

    let have = match tokio::time::timeout(IDLE, next(&mut answers)).await {
        Ok(Ok(Body::Have(have))) if have.bytes.len() == files.len() => have.bytes,
        Ok(Ok(_)) => return Err("an answer to something else".into()),
        Ok(Err(reason)) => return Err(reason),
        Err(_) => return Err(format!("no answer within {IDLE:?}")),
    };
    let sending = async {
        let sent = send_files(&out, &checkpoint.dir, &files, &have).await;
        drop(out);
        // A receiver that gave up says why; the broken pipe alone does not.
        match sent {
            Ok(bytes) => Ok(bytes),
            Err(e) => Err(e),
        }
    };
    let sent = sending.await;
    let vote = match next(&mut answers).await {
        Ok(Body::Installed(SnapshotInstalled { vote: Some(vote) })) => vote.into(),
        Ok(_) => return Err("an answer to something else".into()),
        Err(reason) => return Err(sent.err().map_or(reason.clone(), |e| format!("{e}: {reason}"))),
    };
    let bytes = sent?;
    client.host.heard(client.target)?;
    metrics::snapshot_sent(partition, bytes);
    tracing::info!(partition, bytes, resumed = total - bytes, "a snapshot was installed by its receiver");
    Ok(vote)
}

async fn push(out: &mpsc::Sender<SnapshotFrame>, body: Body) -> Result<(), String> {
    match tokio::time::timeout(IDLE, out.send(frame(body))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err("the receiver hung up".into()),
        Err(_) => Err(format!("the receiver took nothing for {IDLE:?}")),
    }
}

async fn next(answers: &mut Streaming<SnapshotFrame>) -> Result<Body, String> {
    match answers.next().await {
        Some(Ok(SnapshotFrame { body: Some(Body::Refusal(refusal)) })) => Err(refusal.reason),
        Some(Ok(SnapshotFrame { body: Some(body) })) => Ok(body),
        Some(Ok(_)) => Err("an empty frame".into()),
        Some(Err(status)) => Err(status.message().to_owned()),
        None => Err("the peer closed the connection".into()),
    }
}

async fn send_files(
    out: &mpsc::Sender<SnapshotFrame>,
    dir: &Path,
    files: &[SnapshotFile],
    have: &[u64],
) -> Result<u64, String> {
    let mut sent = 0;
    for (number, (file, &have)) in files.iter().zip(have).enumerate() {
        let number = u32::try_from(number).map_err(|_| "too many files")?;
        let mut offset = have.min(file.size);
        let mut source = {
            let path = dir.join(&file.name);
            let mut source = File::open(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            source.seek(SeekFrom::Start(offset)).map_err(|e| e.to_string())?;
            source
        };
        while offset < file.size {
            let (back, data) = tokio::task::spawn_blocking(move || {
                let mut data = Vec::with_capacity(CHUNK_BYTES);
                let read = (&mut source).take(CHUNK_BYTES as u64).read_to_end(&mut data);
                read.map(|_| (source, data))
            })
            .await
            .map_err(|e| e.to_string())?
            .map_err(|e| e.to_string())?;
            source = back;
            if data.is_empty() {
                return Err(format!("{} became shorter", file.name));
            }
            let length = data.len() as u64;
            let chunk = Chunk { file: number, offset, data: Bytes::from(data) };
            push(out, Body::Data(chunk)).await?;
            offset += length;
            sent += length;
            crash::point("snapshot-half-sent");
        }
    }
    push(out, Body::End(SnapshotEnd {})).await?;
    Ok(sent)
}

fn list(dir: &Path) -> io::Result<Vec<SnapshotFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if !path.is_file() || !is_plain(name) || is_scratch(name) {
            continue;
        }
        files.push(SnapshotFile { name: name.to_owned(), size: path.metadata()?.len(), crc32: checksum(&path)? });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Files that RocksDB makes anew and nobody needs: the lock and its own diagnostics.
fn is_scratch(name: &str) -> bool {
    name == "LOCK" || name.starts_with("LOG")
}

fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !name.is_empty() && name.len() <= 128 && !name.starts_with('.') && name.chars().all(plain)
}

fn checksum(path: &Path) -> io::Result<u32> {
    let mut file = File::open(path)?;
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

type Outgoing = mpsc::Sender<Result<SnapshotFrame, Status>>;

/// Serves one transfer.
pub(super) async fn receive<H: Host>(host: Arc<H>, mut frames: Streaming<SnapshotFrame>, out: Outgoing) {
    let body = match take(&*host, &mut frames, &out).await {
        Ok(vote) => Body::Installed(SnapshotInstalled { vote: Some(vote.into()) }),
        Err(reason) => {
            tracing::warn!(reason, "a snapshot was not taken");
            Body::Refusal(Refusal { reason })
        }
    };
    let _ = out.send(Ok(frame(body))).await;
}

/// One transfer per replica at a time.
struct Turn(Arc<Replica>);

impl Turn {
    fn take(replica: Arc<Replica>) -> Result<Turn, String> {
        let busy = &replica.rows.progress.installing;
        if busy.swap(true, Ordering::AcqRel) {
            return Err("another snapshot is being received".into());
        }
        Ok(Turn(replica))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.rows.progress.installing.store(false, Ordering::Release);
    }
}

async fn take<H: Host>(host: &H, frames: &mut Streaming<SnapshotFrame>, out: &Outgoing) -> Result<Vote, String> {
    let Ok(Body::Begin(begin)) = within(frames).await? else {
        return Err("a transfer begins with its list of files".into());
    };
    let vote: Vote = begin.vote.ok_or("no vote")?.into();
    let meta = wire::snapshot_meta(begin.last, begin.membership).map_err(|e| e.to_string())?;
    let last = meta.last_log_id.ok_or("an empty snapshot")?;
    if last.leader_id.term > vote.leader_id.term {
        return Err(format!(
            "rows of term {} cannot come from a leader of term {}",
            last.leader_id.term, vote.leader_id.term
        ));
    }
    let names: HashSet<&str> = begin.files.iter().map(|f| f.name.as_str()).collect();
    if begin.files.len() > FILES_MAX || names.len() != begin.files.len() || !names.iter().all(|n| is_plain(n)) {
        return Err("the list of files is malformed".into());
    }
    let replica = host.replica(begin.group, begin.to)?;
    host.heard(begin.from)?;
    let turn = Turn::take(replica)?;
    let replica = turn.0.clone();
    // Asked before anything is deleted or written: a leader of the past must not disturb what a newer one sends.
    if replica.current_vote() > vote {
        return Ok(replica.current_vote());
    }
    if replica.holds(&vote, &last) {
        tracing::info!(
            partition = begin.group,
            ?last,
            "a snapshot of entries that are here already; nothing to install"
        );
        return Ok(vote);
    }

    let dir = replica.rows.place.incoming();
    let files = begin.files;
    let (have, writer) = {
        let (dir, files) = (dir.clone(), files.clone());
        tokio::task::spawn_blocking(move || Writer::open(dir, files))
            .await
            .map_err(|e| e.to_string())?
            .map_err(|e| format!("prepare for a snapshot: {e}"))?
    };
    let reply = Body::Have(SnapshotHave { bytes: have });
    out.send(Ok(frame(reply))).await.map_err(|_| "the sender hung up")?;

    let (chunks, inbox) = mpsc::channel(8);
    let writing = tokio::task::spawn_blocking(move || writer.run(inbox));
    let complete = loop {
        match within(frames).await? {
            Ok(Body::Data(chunk)) => {
                if chunks.send(chunk).await.is_err() {
                    break false;
                }
            }
            Ok(Body::End(_)) => break true,
            Ok(_) => return Err("neither data nor the end".into()),
            Err(reason) => return Err(reason),
        }
    };
    drop(chunks);
    writing.await.map_err(|e| e.to_string())?.map_err(|e| format!("write a snapshot: {e}"))?;
    if !complete {
        return Err("the writer stopped early".into());
    }
    crash::point("snapshot-received");
    let checked = dir.clone();
    tokio::task::spawn_blocking(move || seal(&checked, &files))
        .await
        .map_err(|e| e.to_string())?
        .map_err(|e| format!("check a snapshot: {e}"))?;
    crash::point("snapshot-sealed");
    let snapshot = openraft::Snapshot { meta, snapshot: SnapshotData::Received { dir } };
    let response = replica.raft.install_full_snapshot(vote, snapshot).await;
    Ok(response.map_err(|e| e.to_string())?.vote)
}

async fn within(frames: &mut Streaming<SnapshotFrame>) -> Result<Result<Body, String>, String> {
    tokio::time::timeout(IDLE, next(frames)).await.map_err(|_| format!("the sender sent nothing for {IDLE:?}"))
}

/// Puts chunks where they belong.
struct Writer {
    dir: PathBuf,
    files: Vec<SnapshotFile>,
    open: HashMap<u32, (File, u64)>,
}

impl Writer {
    /// Keeps of an earlier attempt what fits the list, and tells how much that is.
    fn open(dir: PathBuf, files: Vec<SnapshotFile>) -> io::Result<(Vec<u64>, Writer)> {
        fs::create_dir_all(&dir)?;
        let wanted: HashMap<&str, &SnapshotFile> = files.iter().map(|f| (f.name.as_str(), f)).collect();
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            let length = path.metadata()?.len();
            let keep = wanted.get(name).is_some_and(|file| {
                if length == file.size {
                    checksum(&path).is_ok_and(|crc| crc == file.crc32)
                } else {
                    // Only table files never change under their name, so only of them half a file is worth keeping.
                    length < file.size && name.ends_with(".sst")
                }
            });
            if path.is_dir() {
                fs::remove_dir_all(&path)?;
            } else if !keep {
                fs::remove_file(&path)?;
            }
        }
        let length = |f: &SnapshotFile| dir.join(&f.name).metadata().map_or(0, |m| m.len());
        let have = files.iter().map(length).collect();
        let open = HashMap::new();
        Ok((have, Writer { dir, files, open }))
    }

    fn run(mut self, mut chunks: mpsc::Receiver<Chunk>) -> io::Result<()> {
        while let Some(chunk) = chunks.blocking_recv() {
            self.write(&chunk)?;
        }
        for file in &self.files {
            // An empty file has no chunks.
            OpenOptions::new().create(true).append(true).open(self.dir.join(&file.name))?;
        }
        for (file, _) in self.open.values() {
            file.sync_all()?;
        }
        sync_dir(&self.dir)
    }

    fn write(&mut self, chunk: &Chunk) -> io::Result<()> {
        let odd = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let file = self.files.get(chunk.file as usize).ok_or_else(|| odd("a chunk of a file that is not listed"))?;
        let (target, length) = match self.open.entry(chunk.file) {
            std::collections::hash_map::Entry::Occupied(found) => found.into_mut(),
            std::collections::hash_map::Entry::Vacant(room) => {
                let path = self.dir.join(&file.name);
                let target = OpenOptions::new().create(true).append(true).open(path)?;
                let length = target.metadata()?.len();
                room.insert((target, length))
            }
        };
        let end = length.saturating_add(chunk.data.len() as u64);
        if chunk.offset != *length || end > file.size {
            return Err(odd("a chunk that does not follow the one before"));
        }
        target.write_all(&chunk.data)?;
        crash::point("snapshot-half-received");
        *length = end;
        Ok(())
    }
}

/// Every file is there, whole and durable; what is not is deleted, to be sent again.
fn seal(dir: &Path, files: &[SnapshotFile]) -> io::Result<()> {
    for file in files {
        let path = dir.join(&file.name);
        if path.metadata()?.len() != file.size || checksum(&path)? != file.crc32 {
            fs::remove_file(&path)?;
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} arrived damaged", file.name)));
        }
        // Those kept from an earlier attempt may never have been synced.
        File::open(&path)?.sync_all()?;
    }
    sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, content: &[u8]) -> SnapshotFile {
        SnapshotFile { name: name.into(), size: content.len() as u64, crc32: crc32fast::hash(content) }
    }

    /// Turns red when `Writer::open` keeps a whole file without comparing its checksum.
    #[test]
    fn an_attempt_is_resumed_from_what_fits() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("1.sst"), b"whole").unwrap();
        fs::write(at("2.sst"), b"ha").unwrap();
        fs::write(at("3.sst"), b"other").unwrap();
        fs::write(at("MANIFEST-4"), b"ha").unwrap();
        fs::write(at("9.sst"), b"stranger").unwrap();
        let files =
            vec![file("1.sst", b"whole"), file("2.sst", b"half"), file("3.sst", b"wrong"), file("MANIFEST-4", b"half")];
        let (have, mut writer) = Writer::open(dir.path().to_owned(), files.clone()).unwrap();
        assert_eq!(have, [5, 2, 0, 0]);
        assert!(!at("9.sst").exists());
        for (file, offset, data) in [(1, 2, "lf"), (2, 0, "wrong"), (3, 0, "half")] {
            let data = Bytes::from_static(data.as_bytes());
            writer.write(&Chunk { file, offset, data }).unwrap();
        }
        seal(dir.path(), &files).unwrap();
    }

    #[test]
    fn chunks_out_of_place_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let files = vec![file("1.sst", b"whole")];
        let (_, mut writer) = Writer::open(dir.path().to_owned(), files).unwrap();
        let chunk = |file, offset, data: &'static [u8]| Chunk { file, offset, data: Bytes::from_static(data) };
        assert!(writer.write(&chunk(1, 0, b"x")).is_err(), "not listed");
        assert!(writer.write(&chunk(0, 1, b"x")).is_err(), "a gap");
        assert!(writer.write(&chunk(0, 0, b"too long")).is_err());
    }

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        for name in ["", ".", "..", "../x", "a/b", "a\\b", "a\0"] {
            assert!(!is_plain(name), "{name:?}");
        }
        assert!(is_plain("MANIFEST-000005") && is_plain("000123.sst"));
    }

    #[test]
    fn damage_is_found_before_it_counts() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("1.sst"), b"whale").unwrap();
        assert!(seal(dir.path(), &[file("1.sst", b"whole")]).is_err());
        assert!(!dir.path().join("1.sst").exists(), "sent again next time");
    }
}
