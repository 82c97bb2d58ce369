//! What nobody may read.

use std::fmt;
use std::path::Path;

use crate::providers::Error;

/// Bytes of a secret: a private key in PEM fits.
const SECRET_BYTES_MAX: u64 = 64 * 1_024;

/// A key or password. Its `Debug` says nothing.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Reads the file, without white space at either end. `field` is the setting an error names.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is empty, or holds anything but printable ASCII and line ends, a byte order mark for example. The
    /// error names the file and nothing of what is in it.
    pub fn from_file(field: &'static str, path: &Path) -> Result<Self, Error> {
        let wrong = |what: &str| Error::new(field, format!("{}: {what}", path.display()));
        let size = std::fs::metadata(path).map_err(|error| wrong(&error.to_string()))?.len();
        if size > SECRET_BYTES_MAX {
            return Err(wrong(&format!("{size} bytes; at most {SECRET_BYTES_MAX} expected of a file with a secret")));
        }
        let bytes = std::fs::read(path).map_err(|error| wrong(&error.to_string()))?;
        let text = bytes.trim_ascii();
        if text.is_empty() {
            return Err(wrong("a secret expected, and the file is empty"));
        }
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n' | b'\r');
        match std::str::from_utf8(text) {
            Ok(plain) if text.iter().all(is_plain) => Ok(Secret(plain.to_owned())),
            _ => Err(wrong("printable ASCII expected, without a byte order mark")),
        }
    }

    /// The secret itself, to be sent and never to be shown.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Secret, Error> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key");
        std::fs::write(&path, bytes).expect("a file");
        Secret::from_file("secret_key_file", &path)
    }

    #[test]
    fn the_end_of_the_line_is_no_part_of_it() {
        let secret = read(b"test_sk_1\n").expect("a secret");
        assert_eq!(secret.expose(), "test_sk_1");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    #[test]
    fn what_is_no_secret_is_refused_without_being_told() {
        for bytes in [&b""[..], b" \n", "\u{feff}test_sk_1".as_bytes(), b"test\0sk", b"\xff\xfe", "열쇠".as_bytes()] {
            let error = read(bytes).expect_err("no secret");
            assert_eq!(error.field, "secret_key_file");
            assert!(!error.message.contains("sk"), "{error}");
        }
        assert!(read(&[b'k'; 65_537]).is_err());
        let missing = Secret::from_file("secret_key_file", Path::new("/no/such/file")).expect_err("no file");
        assert!(missing.message.contains("/no/such/file"));
    }
}
