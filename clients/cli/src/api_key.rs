//! `bosingak api-key`: what callers show to a cluster that asks them.

use std::path::Path;

use clap::{Subcommand, ValueEnum};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::failure::Failure;
use crate::output::Output;

/// Bytes of a secret: too many to be guessed, so that a plain hash of it can be kept.
const SECRET_BYTES: usize = 32;

#[derive(Subcommand)]
pub enum Verb {
    /// Makes a key, and says what of it belongs into the servers' api.keys_file. Calls nobody.
    New {
        /// Its name in logs: a to z, 0 to 9, - and _.
        id: String,
        /// What it is for.
        #[arg(long, value_enum)]
        role: Role,
    },
    /// Makes a secret that nodes show each other, for node_secrets in api.keys_file. Calls nobody.
    NodeSecret,
}

/// What a key is for. What each may call is a table of the server.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Role {
    /// Everything.
    Operator,
    /// A business: schedules, cancels, reserves, asks.
    Service,
    /// Does the work.
    Executor,
    /// Takes codes of gifts.
    Shop,
    /// Reads what is about no person.
    Reader,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::Operator => "operator",
            Role::Service => "service",
            Role::Executor => "executor",
            Role::Shop => "shop",
            Role::Reader => "reader",
        }
    }
}

/// Answers without a server.
pub fn run(out: &mut Output, verb: Verb) -> Result<(), Failure> {
    let secret = hex(&rand::random::<[u8; SECRET_BYTES]>());
    match verb {
        Verb::New { id, role } => {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
            if id.is_empty() || id.len() > 64 || !id.chars().all(plain) || id == "node" {
                let message = format!("{id:?} is no name: expected 1 to 64 of a-z, 0-9, - and _, and not \"node\"");
                return Err(Failure::usage("ID", message, "bosingak api-key new orders --role service"));
            }
            let hash = hex(&Sha256::digest(secret.as_bytes()));
            let key = format!("{id}.{secret}");
            if out.is_json() {
                return out.json(&json!({ "key": key, "id": id, "sha256": hash, "role": role.name() }));
            }
            out.line("# for the caller, in a file that nobody else can read; it is not shown again")?;
            out.line(&key)?;
            out.line("# for api.keys_file of every node")?;
            out.line(&format!("[[keys]]\nid = \"{id}\"\nsha256 = \"{hash}\"\nrole = \"{}\"", role.name()))
        }
        Verb::NodeSecret if out.is_json() => out.json(&json!({ "nodeSecret": secret })),
        Verb::NodeSecret => out.line(&format!("node_secrets = [\"{secret}\"]")),
    }
}

/// The key in a file.
pub fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        let message = format!("{}: {error}", path.display());
        Failure::usage("--api-key-file", message, "bosingak api-key new orders --role service")
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
