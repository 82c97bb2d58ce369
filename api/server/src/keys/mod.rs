//! API keys: who may call the client port, and for what. Without a file of keys everybody may do everything.
//!
//! ```toml
//! # What nodes show each other when they pass a call on: 32 to 128 characters, the same list on all nodes. The first is shown,
//! # all are taken, so that one can be replaced while the cluster runs.
//! node_secrets = ["…"]
//!
//! [[keys]]
//! id = "orders"          # in logs; 1 to 64 of a-z, 0-9, - and _
//! sha256 = "…"           # of the secret, 64 hexadecimal digits; `bosingak api-key new` prints it
//! role = "service"       # operator, service, executor, shop or reader
//! ```
//!
//! A caller shows `authorization: Bearer ID.SECRET`. Secrets are random (256 bits), so a plain hash of them cannot be guessed. The
//! file is a secret all the same: whoever shows one of its `node_secrets` is taken for a node, which may call everything. It
//! is read again when it changes; one with a mistake is reported and not taken. A key is not bound to a namespace.

mod http_routes;
mod layer;
mod roles;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::{Request, Status};

pub(crate) use layer::authenticate;
pub use roles::Role;

use crate::error::Error;

/// How often the file is looked at.
const REREAD_EVERY: Duration = Duration::from_secs(2);
/// Name under which nodes call each other.
const NODE: &str = "node";

/// The keys of a node; cheap to clone. Without a file every caller may do everything.
#[derive(Clone, Default)]
pub struct Keys(Option<Arc<Held>>);

struct Held {
    path: PathBuf,
    current: RwLock<Arc<KeyFile>>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Keys" } else { "NoKeys" })
    }
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Id of the key.
    pub id: String,
    pub role: Role,
}

/// A file of keys that was found right.
#[derive(Debug)]
struct KeyFile {
    node_secrets: Vec<String>,
    keys: HashMap<String, Key>,
}

#[derive(Debug)]
struct Key {
    hash: [u8; 32],
    role: Role,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFile {
    node_secrets: Vec<String>,
    #[serde(default)]
    keys: Vec<WrittenKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenKey {
    id: String,
    sha256: String,
    role: Role,
}

impl Keys {
    /// Those in the file; `None`: there is none.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or says something wrong.
    pub fn open(path: Option<&Path>) -> anyhow::Result<Keys> {
        let Some(path) = path else { return Ok(Keys::default()) };
        let current = RwLock::new(Arc::new(read(path)?));
        Ok(Keys(Some(Arc::new(Held { path: path.to_path_buf(), current }))))
    }

    /// Whether callers have to show a key.
    pub fn are_asked_for(&self) -> bool {
        self.0.is_some()
    }

    /// Reads the file again whenever it changes, until dropped.
    pub async fn keep_reading(&self) {
        let Some(held) = &self.0 else { return std::future::pending().await };
        let written = |path: &Path| std::fs::metadata(path).and_then(|about| about.modified()).ok();
        let mut seen = written(&held.path);
        loop {
            tokio::time::sleep(REREAD_EVERY).await;
            let now = written(&held.path);
            if now == seen {
                continue;
            }
            seen = now;
            match read(&held.path) {
                Ok(file) => {
                    tracing::info!(keys = file.keys.len(), "api.keys_file was read again");
                    *held.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(file);
                }
                Err(error) => tracing::error!(%error, "api.keys_file is not taken, the keys of before stay"),
            }
        }
    }

    /// Who shows this `authorization`. `None` without a file.
    pub(crate) fn caller(&self, authorization: Option<&[u8]>) -> Result<Option<Caller>, Error> {
        let Some(held) = &self.0 else { return Ok(None) };
        let unknown = |why| Error::Unauthenticated { why };
        let shown = authorization.ok_or(unknown("no authorization: expected `Bearer ID.SECRET`"))?;
        let shown = std::str::from_utf8(shown).ok().and_then(bearer);
        let (id, secret) = shown.ok_or(unknown("the authorization is no `Bearer ID.SECRET`"))?;
        let file = held.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        if id == NODE {
            let known = file
                .node_secrets
                .iter()
                .fold(false, |known, one| known | bool::from(one.as_bytes().ct_eq(secret.as_bytes())));
            return if known {
                Ok(Some(Caller { id: NODE.into(), role: Role::Node }))
            } else {
                Err(unknown("the key is not known"))
            };
        }
        let hash: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
        match file.keys.get(id) {
            Some(key) if bool::from(key.hash.ct_eq(&hash)) => Ok(Some(Caller { id: id.into(), role: key.role })),
            _ => Err(unknown("the key is not known")),
        }
    }

    /// What this node shows to others.
    fn node_secret(&self) -> Option<String> {
        let file = self.0.as_ref()?.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        file.node_secrets.first().cloned()
    }
}

/// Shows the node's secret with every call that is passed on.
#[derive(Clone, Debug)]
pub(crate) struct Credential(pub Keys);

impl Interceptor for Credential {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(secret) = self.0.node_secret() {
            let mut value = MetadataValue::try_from(format!("Bearer {NODE}.{secret}"))
                .map_err(|error| Error::Internal(format!("a secret of nodes cannot be sent: {error}")))?;
            value.set_sensitive(true);
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

/// Id and secret of `Bearer ID.SECRET`; the scheme in any case (RFC 9110, section 11.1).
fn bearer(text: &str) -> Option<(&str, &str)> {
    let (scheme, shown) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    shown.trim_start().split_once('.')
}

fn read(path: &Path) -> anyhow::Result<KeyFile> {
    let wrong = |what: String| anyhow::anyhow!("api.keys_file = {}: {what}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    // The text may hold secrets: the parser's message quotes the line it stumbled over.
    let written: WrittenFile = toml::from_str(&text).map_err(|error| wrong(error.message().into()))?;
    check(written).map_err(wrong)
}

fn check(written: WrittenFile) -> Result<KeyFile, String> {
    let printable =
        |secret: &String| (32..=128).contains(&secret.len()) && secret.bytes().all(|b| b.is_ascii_graphic());
    if written.node_secrets.is_empty() || !written.node_secrets.iter().all(printable) {
        return Err("node_secrets: expected at least one, each of 32 to 128 printable ASCII characters".into());
    }
    let mut keys = HashMap::new();
    for (number, WrittenKey { id, sha256, role }) in written.keys.into_iter().enumerate() {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if id.is_empty() || id.len() > 64 || !id.bytes().all(plain) || id == NODE {
            return Err(format!("keys[{number}].id: expected 1 to 64 of a-z, 0-9, - and _, and not {NODE:?}"));
        }
        let hash = unhex(&sha256).ok_or_else(|| format!("keys[{number}].sha256: expected 64 hexadecimal digits"))?;
        if role == Role::Node {
            return Err(format!("keys[{number}].role: nodes have node_secrets"));
        }
        if keys.insert(id, Key { hash, role }).is_some() {
            return Err(format!("keys[{number}].id: expected every id once"));
        }
    }
    Ok(KeyFile { node_secrets: written.node_secrets, keys })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn hash_of(secret: &str) -> String {
        Sha256::digest(secret.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn file(text: &str) -> Result<Keys, String> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("keys.toml");
        std::fs::write(&path, text).expect("written");
        Keys::open(Some(&path)).map_err(|error| error.to_string())
    }

    fn keys() -> Keys {
        let text = format!(
            "node_secrets = [\"{SECRET}\", \"{}\"]\n[[keys]]\nid = \"orders\"\nsha256 = \"{}\"\nrole = \"service\"\n",
            "n".repeat(40),
            hash_of("s3cret")
        );
        file(&text).expect("right")
    }

    #[test]
    fn a_key_is_its_id_and_its_secret() {
        let keys = keys();
        let caller = |shown: &str| keys.caller(Some(shown.as_bytes()));
        let orders = Caller { id: "orders".into(), role: Role::Service };
        assert_eq!(caller("Bearer orders.s3cret").expect("known"), Some(orders.clone()));
        assert_eq!(caller("bearer orders.s3cret").expect("known"), Some(orders));
        for node in [SECRET, &"n".repeat(40)] {
            assert_eq!(caller(&format!("Bearer node.{node}")).expect("known").expect("a caller").role, Role::Node);
        }
        for wrong in [
            "",
            "Bearer",
            "Bearer orders",
            "Bearer orders.",
            "Bearer orders.S3cret",
            "Bearer x.s3cret",
            "Basic b3JkZXJz",
        ] {
            assert!(matches!(caller(wrong), Err(Error::Unauthenticated { .. })), "{wrong}");
        }
        assert!(matches!(keys.caller(None), Err(Error::Unauthenticated { .. })));
        assert!(matches!(keys.caller(Some(b"Bearer \xff")), Err(Error::Unauthenticated { .. })));
        assert_eq!(Keys::default().caller(None).expect("nobody is asked"), None);
    }

    #[test]
    fn nodes_show_each_other_what_they_take() {
        let keys = keys();
        let shown = Credential(keys.clone()).call(Request::new(())).expect("passed on");
        let shown = shown.metadata().get("authorization").expect("shown");
        assert!(shown.is_sensitive());
        assert_eq!(keys.caller(Some(shown.as_bytes())).expect("taken").expect("a caller").role, Role::Node);
        let open = Credential(Keys::default()).call(Request::new(())).expect("passed on");
        assert!(open.metadata().is_empty());
    }

    #[test]
    fn a_file_with_a_mistake_says_which_and_no_secret() {
        let hash = "a".repeat(64);
        let one = |id: &str, hash: &str, role: &str| {
            format!("node_secrets = [\"{SECRET}\"]\n[[keys]]\nid = \"{id}\"\nsha256 = \"{hash}\"\nrole = \"{role}\"\n")
        };
        for (text, expected) in [
            (String::new(), "node_secrets"),
            ("node_secrets = []".into(), "node_secrets: expected at least one"),
            ("node_secrets = [\"short-secret\"]".into(), "32 to 128"),
            (one("", &hash, "service"), "keys[0].id"),
            (one("Orders", &hash, "service"), "keys[0].id"),
            (one("node", &hash, "service"), "keys[0].id"),
            (one("orders", "abc", "service"), "keys[0].sha256: expected 64"),
            (one("orders", &hash, "king"), "king"),
            (one("orders", &hash, "node"), "keys[0].role"),
            (
                format!("{}[[keys]]\nid = \"a\"\nsha256 = \"{hash}\"\nrole = \"shop\"\n", one("a", &hash, "shop")),
                "every id once",
            ),
            (format!("{}\ncolour = 1\n", one("a", &hash, "shop")), "colour"),
        ] {
            let error = file(&text).expect_err(expected);
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains(SECRET) && !error.contains("short-secret"), "{error}");
        }
        assert!(Keys::open(Some(Path::new("/nowhere/keys.toml"))).is_err());
    }
}
