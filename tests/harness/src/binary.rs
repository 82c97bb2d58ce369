//! Finds our binaries: beside the running one, as Cargo leaves them.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Directory to look in first, for binaries built elsewhere.
pub const BINARIES: &str = "BOSINGAK_BIN_DIR";

/// Path of the binary `name`.
///
/// # Errors
///
/// When it is not there; the error says how to build it.
pub fn find(name: &str) -> Result<PathBuf> {
    let places = places()?;
    for place in &places {
        let path = place.join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    let looked: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    let build = match name {
        // Built with features that no server that is meant to serve has.
        "bosingakd-next" => "cargo build --release --workspace --features bosingak-server/next --bin bosingakd-next",
        _ => "cargo build --release --workspace --bins",
    };
    Err(Error(format!("{name} is not in {}; build it with `{build}`", looked.join(" nor "))))
}

/// The directory of the running binary; test binaries live one level below.
///
/// # Errors
///
/// When the system does not say where the running binary is.
pub fn directory() -> Result<PathBuf> {
    let running = std::env::current_exe()?;
    let parent = running.parent().unwrap_or(Path::new("."));
    Ok(match parent.file_name() {
        Some(name) if name == "deps" => parent.parent().unwrap_or(parent).to_path_buf(),
        _ => parent.to_path_buf(),
    })
}

fn places() -> Result<Vec<PathBuf>> {
    let mut places = Vec::new();
    if let Some(place) = std::env::var_os(BINARIES) {
        places.push(place.into());
    }
    places.push(directory()?);
    Ok(places)
}
