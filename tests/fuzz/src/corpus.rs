//! Inputs that are kept: a file for each target, an input on each line in hexadecimal digits, in order.
//!
//! Valid ones for libFuzzer to begin with, those by which it reached more code, and every one that found something.

use std::fs;
use std::path::{Path, PathBuf};

/// The file of a target.
pub fn file(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(format!("{target}.hex"))
}

/// An input as it stands in a file.
pub fn line(input: &[u8]) -> String {
    let digits = golden::hex(input).replace('\n', "");
    // An empty line would look like an accident.
    if digits.is_empty() { "-".to_owned() } else { digits }
}

/// What is kept for a target; nothing where it has no file.
///
/// # Panics
///
/// If a line is no input.
pub fn read(target: &str) -> Vec<Vec<u8>> {
    let Ok(text) = fs::read_to_string(file(target)) else { return Vec::new() };
    let input = |line: &str| if line == "-" { Some(Vec::new()) } else { golden::unhex(line) };
    text.lines().map(|line| input(line).unwrap_or_else(|| panic!("{target}: {line:?} is no input"))).collect()
}

/// Keeps inputs, and no others.
///
/// # Panics
///
/// If the file cannot be written.
pub fn write(target: &str, inputs: &[Vec<u8>]) {
    let mut lines: Vec<String> = inputs.iter().map(|input| line(input)).collect();
    lines.sort_by_key(|line| (line.len(), line.clone()));
    lines.dedup();
    fs::write(file(target), lines.join("\n") + "\n").expect("the file of a target can be written");
}
