//! RocksDB's `CURRENT` and MANIFEST, as whoever verifies a directory reads them.

use fuzz::Target;

use super::manifest;
use crate::fuzzing::Scratch;

/// The bytes of a MANIFEST.
pub const MANIFEST: Target = Target::new("raft-manifest", check).rounds(4_000);

fn check(input: &[u8]) -> bool {
    let scratch = Scratch::new("manifest");
    let dir = scratch.path();
    std::fs::write(dir.join("CURRENT"), "MANIFEST-000001\n").expect("a file can be written");
    std::fs::write(dir.join("MANIFEST-000001"), input).expect("a file can be written");
    match manifest::check(dir) {
        Ok(None) => true,
        Ok(Some((_, end, torn))) => {
            assert!(torn > 0 && end + torn == input.len() as u64, "{end} and {torn} of {}", input.len());
            // What is not torn is whole.
            std::fs::write(dir.join("MANIFEST-000001"), &input[..end as usize]).expect("a file can be written");
            assert!(matches!(manifest::check(dir), Ok(None)), "the part that counts is whole");
            true
        }
        Err(bad) => {
            assert!(bad.offset.is_none_or(|offset| offset < input.len() as u64), "the place is in the file");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Batch, Store, StoreConfig};

    #[test]
    fn any_manifest_is_read_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig { memory_bytes: 8 << 20, write_buffer_bytes: 1 << 20, background_threads: 1 };
        let store = Store::open_alone(dir.path(), &config, None).unwrap();
        let mut batch = Batch::default();
        batch.put(b"key", b"value");
        store.write(batch).unwrap();
        store.flush().unwrap();
        drop(store);
        let name = std::fs::read_to_string(dir.path().join("CURRENT")).unwrap();
        fuzz::sweep(&MANIFEST, &[std::fs::read(dir.path().join(name.trim_end())).unwrap()]);
    }
}
