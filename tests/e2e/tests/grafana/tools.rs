//! Finds the programs and files these tests need.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A directory with `prometheus` and `promtool`, or `skip` where they cannot be had.
const WHERE: &str = "BOSINGAK_PROMETHEUS";

/// A file of this repository.
pub fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Its text.
pub fn text(path: &str) -> String {
    let path = file(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of a directory of this repository with this ending, by name without it, in order.
pub fn names(directory: &str, ending: &str) -> Vec<String> {
    let entries = std::fs::read_dir(file(directory)).unwrap_or_else(|error| panic!("{directory}: {error}"));
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(ending).map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// `prometheus` or `promtool`; `None` after saying so where the environment says that they cannot be had.
///
/// # Panics
///
/// If it is nowhere and nobody said that this is all right.
pub fn find(name: &str) -> Option<PathBuf> {
    let mut places = Vec::new();
    match std::env::var_os(WHERE) {
        Some(skip) if skip == "skip" => {
            eprintln!("skipped: {WHERE}=skip, so nothing was checked with {name}");
            return None;
        }
        Some(place) => places.push(PathBuf::from(place)),
        None => {}
    }
    // Where ./dev puts them, beside the target directory.
    if let Ok(binaries) = harness::binary::directory() {
        places.push(binaries.join("../../prometheus/usr/bin"));
    }
    places.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    let found = places.iter().map(|place| place.join(name)).find(|path| path.is_file());
    Some(found.unwrap_or_else(|| {
        panic!("{name} is not installed: `./dev test` sees to it; or set {WHERE} to its directory, or to \"skip\"")
    }))
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs a command that must succeed; its standard output.
pub fn succeed(command: &mut Command) -> String {
    let output = run(command);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}{err}", output.status);
    out.into_owned()
}
