//! RocksDB's `CURRENT` and MANIFEST, record by record.
//!
//! RocksDB takes a record that is longer than the file for a torn write and one of zeros for padding, and goes on with fewer or older
//! tables than there are. The records are `masked crc32c | length | type | payload` in blocks of 32 KiB.

use std::fs;
use std::path::{Path, PathBuf};

const BLOCK: usize = 32 << 10;
const HEAD: usize = 7;
/// The types with a number of the log behind the head, which a file that is reused has.
const RECYCLABLE: std::ops::RangeInclusive<u8> = 5..=8;

/// Damage.
pub(super) struct Bad {
    pub(super) path: PathBuf,
    pub(super) offset: Option<u64>,
    pub(super) what: String,
}

/// Reads both. The end of the MANIFEST when that is torn: where it begins and how long it is.
pub(super) fn check(dir: &Path) -> Result<Option<(PathBuf, u64, u64)>, Bad> {
    let bad = |path: &Path, offset, what: String| Bad { path: path.to_owned(), offset, what };
    let current = dir.join("CURRENT");
    let text = fs::read(&current).map_err(|e| bad(&current, None, format!("cannot be read: {e}")))?;
    let name = std::str::from_utf8(&text).ok().and_then(|text| text.strip_suffix('\n'));
    let name =
        name.filter(|name| name.strip_prefix("MANIFEST-").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit())));
    let Some(name) = name else {
        return Err(bad(&current, None, format!("names no MANIFEST: {:?}", String::from_utf8_lossy(&text))));
    };
    let path = dir.join(name);
    let bytes =
        fs::read(&path).map_err(|e| bad(&path, None, format!("CURRENT names it, and it cannot be read: {e}")))?;
    match records(&bytes) {
        Ok(end) if end == bytes.len() => Ok(None),
        Ok(end) => Ok(Some((path, end as u64, (bytes.len() - end) as u64))),
        Err((offset, what)) => Err(bad(&path, Some(offset as u64), what.to_owned())),
    }
}

/// Where the whole records end; what is behind is a record cut off by the end of the file.
fn records(bytes: &[u8]) -> Result<usize, (usize, &'static str)> {
    let mut at = 0;
    // A record may be in several pieces: none of it counts before the last is there.
    let mut whole = 0;
    let mut inside = false;
    while at < bytes.len() {
        let left = BLOCK - at % BLOCK;
        if left < HEAD {
            let padding = &bytes[at..bytes.len().min(at + left)];
            if padding.iter().any(|byte| *byte != 0) {
                return Err((at, "the end of a block is not empty"));
            }
            at += padding.len();
            continue;
        }
        let Some(head) = bytes.get(at..at + HEAD) else { break };
        let (length, kind) = (usize::from(u16::from_le_bytes([head[4], head[5]])), head[6]);
        let size = HEAD + length + if RECYCLABLE.contains(&kind) { 4 } else { 0 };
        if !(1..=8).contains(&kind) {
            return Err((at, "no record is there"));
        }
        if size > left {
            return Err((at, "a record is longer than its block"));
        }
        let Some(record) = bytes.get(at..at + size) else { break };
        let stored = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        if masked(crc32c(&record[6..])) != stored {
            return Err((at, "wrong checksum"));
        }
        let (begins, ends) = (matches!(kind, 1 | 2 | 5 | 6), matches!(kind, 1 | 4 | 5 | 8));
        if begins == inside {
            return Err((at, "a piece of a record is missing"));
        }
        inside = !ends;
        at += size;
        if ends {
            whole = at;
        }
    }
    // Padding behind the last record belongs to it.
    Ok(if inside || at < bytes.len() { whole } else { bytes.len() })
}

/// As RocksDB stores it, so that a checksum of something that holds checksums is still one.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// CRC-32 with Castagnoli's polynomial; `crc32fast` has the other one.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut covered = vec![kind];
        covered.extend_from_slice(payload);
        let mut record = masked(crc32c(&covered)).to_le_bytes().to_vec();
        record.extend_from_slice(&(payload.len() as u16).to_le_bytes());
        record.extend_from_slice(&covered);
        record
    }

    /// Red when a record of zeros is passed over, or a checksum is not compared.
    #[test]
    fn every_flip_is_told_or_takes_the_end_for_torn() {
        let file = [record(1, b"first"), record(2, b"second"), record(4, b"'s end"), record(1, b"third")].concat();
        assert_eq!(records(&file), Ok(file.len()));
        let last = file.len() - record(1, b"third").len();
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut flipped = file.clone();
                flipped[at] ^= 1 << bit;
                // A length beyond the end is what a torn record looks like too.
                let found = records(&flipped);
                assert!(found.is_err() || found.is_ok_and(|end| end < file.len()), "byte {at}, bit {bit}: {found:?}");
            }
        }
        assert_eq!(records(&file[..file.len() - 1]), Ok(last));
        assert_eq!(records(&file[..last - 1]), Ok(record(1, b"first").len()), "no half of the second record counts");
        let mut zeroed = file.clone();
        zeroed[..12].fill(0);
        assert!(records(&zeroed).is_err());
    }
}
