//! A snapshot from a peer that says anything: nothing is written outside its directory, and only what is whole counts.

use fuzz::Target;
use prost::Message;

use super::*;
use crate::fuzzing::{Scratch, Several, snapshot_frame};

/// The frames of a transfer.
pub const SNAPSHOT: Target = Target::new("raft-snapshot", transfer).rounds(3_000).allocates(1 << 20);

/// Files of one input.
const FILES: usize = 8;

fn transfer(input: &[u8]) -> bool {
    let Ok(frames) = Several::decode(input) else { return false };
    let mut frames = frames.each.iter().map(|frame| snapshot_frame(frame));
    let Some(Some(Body::Begin(begin))) = frames.next() else { return false };
    let _ = wire::snapshot_meta(begin.last, begin.membership);
    let names: HashSet<&str> = begin.files.iter().map(|f| f.name.as_str()).collect();
    if names.len() != begin.files.len() || begin.files.len() > FILES || !names.iter().all(|n| is_plain(n)) {
        return false;
    }
    let scratch = Scratch::new("snapshot");
    let dir = scratch.path().join("incoming");
    let files = begin.files.clone();
    let Ok((have, mut writer)) = Writer::open(dir.clone(), files.clone()) else { return false };
    assert!(have.iter().zip(&files).all(|(have, file)| *have <= file.size), "kept more than the whole");
    let mut taken = true;
    for frame in frames {
        let Some(Body::Data(chunk)) = frame else { break };
        if writer.write(&chunk).is_err() {
            taken = false;
            break;
        }
    }
    drop(writer);
    let sealed = seal(&dir, &files).is_ok();
    for entry in fs::read_dir(&dir).expect("the directory of a transfer") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let file = files.iter().find(|file| file.name == name).expect("only what was listed is there");
        let bytes = fs::read(&path).expect("a file that was written");
        assert!(bytes.len() as u64 <= file.size, "a file grew beyond its size");
        if sealed {
            assert_eq!((bytes.len() as u64, crc32fast::hash(&bytes)), (file.size, file.crc32), "damage was sealed");
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::tests::golden;

    fn file(name: &str, content: &[u8]) -> SnapshotFile {
        SnapshotFile { name: name.into(), size: content.len() as u64, crc32: crc32fast::hash(content) }
    }

    /// Red when a chunk is written where it does not belong, or a name leaves the directory.
    #[test]
    fn any_transfer_is_taken_or_refused() {
        let begin = |files| {
            let Some(Body::Begin(begin)) =
                snapshot_frame(&golden("peer", |name| name.starts_with("snapshot-begin"))[0])
            else {
                panic!("the kept beginning of a transfer")
            };
            Body::Begin(SnapshotBegin { files, ..begin })
        };
        let data =
            |file, offset, data: &'static [u8]| Body::Data(Chunk { file, offset, data: Bytes::from_static(data) });
        let all = |bodies: Vec<Body>| {
            let each = bodies.into_iter().map(|body| Bytes::from(frame(body).encode_to_vec())).collect();
            Several { each }.encode_to_vec()
        };
        let files = vec![file("000001.sst", b"whole"), file("MANIFEST-000002", b"half"), file("CURRENT", b"")];
        let whole = vec![
            begin(files.clone()),
            data(0, 0, b"who"),
            data(0, 3, b"le"),
            data(1, 0, b"half"),
            Body::End(SnapshotEnd {}),
        ];
        fuzz::sweep(&SNAPSHOT, &[all(whole), all(vec![begin(files), Body::End(SnapshotEnd {})])]);
    }
}
