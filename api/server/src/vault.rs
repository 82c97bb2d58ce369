//! Secrets of gifts: codes and link tokens are stored sealed, and found by keyed hashes. All nodes of a cluster have one key.
//!
//! Sealing is XChaCha20-Poly1305 with a random nonce of 24 bytes (draft-irtf-cfrg-xchacha), so that nonces need no counting; the
//! names of the record are authenticated with it, so that one record's secret cannot be put into another's. Hashes and nonces of
//! pages are HMAC-SHA-256 (RFC 2104), cut to 16 bytes. Each use has a key of its own, derived from the one in the file.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Bytes of the key in the file.
const KEY_BYTES: usize = 32;
/// The one format of sealed texts there is so far.
const FORMAT: u8 = 1;
/// Bytes of a nonce.
const NONCE_BYTES: usize = 24;
/// Bytes of a hash.
const HASH_BYTES: usize = 16;

/// The keys of a cluster; cheap to clone. Shows nothing of them.
#[derive(Clone)]
pub struct Vault(Arc<Keys>);

struct Keys {
    seal: XChaCha20Poly1305,
    find: [u8; KEY_BYTES],
    nonce: [u8; KEY_BYTES],
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}

/// A sealed text that cannot be opened: another cluster's, another record's, or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sealed text cannot be opened: another key was used, or it is damaged")]
pub struct Unreadable;

impl Vault {
    /// With the key in a file of 64 hexadecimal digits. `create` makes one when there is none, readable by nobody else.
    ///
    /// # Errors
    ///
    /// The file cannot be read or made, or holds something else.
    pub fn open(path: &Path, create: bool) -> anyhow::Result<Vault> {
        let told = |error: std::io::Error| anyhow::anyhow!("gift.key_file = {}: {error}", path.display());
        let mut text = String::new();
        match std::fs::File::open(path) {
            Ok(mut file) => {
                file.read_to_string(&mut text).map_err(told)?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound && create => {
                text = hex(&rand::random::<[u8; KEY_BYTES]>());
                let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
                match made {
                    Ok(mut file) => {
                        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(told)?;
                    }
                    // Another node of this process was first.
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                        text = std::fs::read_to_string(path).map_err(told)?;
                    }
                    Err(error) => return Err(told(error)),
                }
            }
            Err(error) => return Err(told(error)),
        }
        let key = unhex(text.trim());
        let key =
            key.ok_or_else(|| anyhow::anyhow!("gift.key_file = {}: expected 64 hexadecimal digits", path.display()))?;
        Ok(Vault::new(key))
    }

    fn new(key: [u8; KEY_BYTES]) -> Vault {
        let derived = |name: &str| -> [u8; KEY_BYTES] { mac(&key, &[b"bosingak", name.as_bytes()]) };
        Vault(Arc::new(Keys {
            seal: XChaCha20Poly1305::new(&Key::from(derived("seal"))),
            find: derived("find"),
            nonce: derived("nonce"),
        }))
    }

    /// Seals a text under the names of its record.
    pub fn seal(&self, names: &[&str], text: &str) -> Bytes {
        let nonce = rand::random::<[u8; NONCE_BYTES]>();
        let aad = joined(names);
        let payload = Payload { msg: text.as_bytes(), aad: &aad };
        // Fails for texts of 256 GiB only.
        let sealed = self.0.seal.encrypt(&XNonce::from(nonce), payload).unwrap_or_default();
        [&[FORMAT][..], &nonce, &sealed].concat().into()
    }

    /// The text that was sealed under these names.
    ///
    /// # Errors
    ///
    /// It was not, or not with this key.
    pub fn open_sealed(&self, names: &[&str], sealed: &[u8]) -> Result<String, Unreadable> {
        let (format, rest) = sealed.split_first().ok_or(Unreadable)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(Unreadable)?;
        if *format != FORMAT {
            return Err(Unreadable);
        }
        let aad = joined(names);
        let text =
            self.0.seal.decrypt(&XNonce::from(*nonce), Payload { msg: rest, aad: &aad }).map_err(|_| Unreadable)?;
        String::from_utf8(text).map_err(|_| Unreadable)
    }

    /// The hash a secret is found by.
    pub fn hash(&self, names: &[&str], text: &str) -> Bytes {
        let mac = mac(&self.0.find, &[&joined(names), text.as_bytes()]);
        Bytes::copy_from_slice(&mac[..HASH_BYTES])
    }

    /// A word that only this cluster can have made for these names.
    pub fn nonce(&self, names: &[&str]) -> String {
        hex(&mac(&self.0.nonce, &[&joined(names)])[..HASH_BYTES])
    }

    /// Whether this is the word of [`nonce`](Self::nonce); takes as long for any wrong one.
    pub fn is_nonce(&self, names: &[&str], given: &str) -> bool {
        use subtle::ConstantTimeEq;
        self.nonce(names).as_bytes().ct_eq(given.as_bytes()).into()
    }
}

/// Names with zero bytes between them, which none of them holds.
fn joined(names: &[&str]) -> Vec<u8> {
    names.join("\0").into_bytes()
}

fn mac(key: &[u8; KEY_BYTES], parts: &[&[u8]]) -> [u8; KEY_BYTES] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
        mac.update(&[0]);
    }
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    if text.len() != 2 * KEY_BYTES || !text.is_ascii() {
        return None;
    }
    for (at, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_opened_under_its_names_and_key_only() {
        let vault = Vault::new([7; 32]);
        let sealed = vault.seal(&["shop", "g-1", "code"], "가나다");
        assert_eq!(vault.open_sealed(&["shop", "g-1", "code"], &sealed).as_deref(), Ok("가나다"));
        assert_eq!(vault.open_sealed(&["shop", "g-2", "code"], &sealed), Err(Unreadable));
        assert_eq!(Vault::new([8; 32]).open_sealed(&["shop", "g-1", "code"], &sealed), Err(Unreadable));
        for at in 0..sealed.len() {
            let mut damaged = sealed.to_vec();
            damaged[at] ^= 1;
            assert_eq!(vault.open_sealed(&["shop", "g-1", "code"], &damaged), Err(Unreadable), "byte {at}");
            assert_eq!(vault.open_sealed(&["shop", "g-1", "code"], &sealed[..at]), Err(Unreadable));
        }
        assert_ne!(sealed, vault.seal(&["shop", "g-1", "code"], "가나다"), "nonces differ");
    }

    #[test]
    fn hashes_are_the_same_again_and_nonces_are_checked() {
        let vault = Vault::new([7; 32]);
        assert_eq!(vault.hash(&["shop"], "A"), vault.hash(&["shop"], "A"));
        assert_ne!(vault.hash(&["shop"], "A"), vault.hash(&["other"], "A"));
        let nonce = vault.nonce(&["g-1", "2"]);
        assert!(vault.is_nonce(&["g-1", "2"], &nonce));
        assert!(!vault.is_nonce(&["g-1", "3"], &nonce) && !vault.is_nonce(&["g-1", "2"], ""));
    }

    #[test]
    fn the_key_is_made_once_and_nobody_else_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("gift.key");
        assert!(Vault::open(&path, false).is_err());
        let sealed = Vault::open(&path, true).expect("made").seal(&[], "x");
        assert_eq!(Vault::open(&path, true).expect("read").open_sealed(&[], &sealed).as_deref(), Ok("x"));
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "secret").expect("written");
        let error = Vault::open(&path, true).expect_err("no key").to_string();
        assert!(error.contains("64 hexadecimal digits"), "{error}");
    }
}
