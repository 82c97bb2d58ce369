//! Brings kept inputs to libFuzzer, which wants a file for each, and back: `bosingak-fuzz unpack|pack TARGET DIR`.

use std::path::Path;
use std::process::ExitCode;

use fuzz::corpus;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["unpack", target, dir] => unpack(target, Path::new(dir)),
        ["pack", target, dir] => pack(target, Path::new(dir)),
        _ => {
            eprintln!("usage: bosingak-fuzz unpack|pack TARGET DIR");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes a file for each input that is kept.
fn unpack(target: &str, dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    for (number, input) in corpus::read(target).iter().enumerate() {
        std::fs::write(dir.join(format!("kept-{number:05}")), input)?;
    }
    Ok(())
}

/// Adds every file to the inputs that are kept.
fn pack(target: &str, dir: &Path) -> std::io::Result<()> {
    let mut inputs = corpus::read(target);
    for entry in std::fs::read_dir(dir)? {
        inputs.push(std::fs::read(entry?.path())?);
    }
    corpus::write(target, &inputs);
    Ok(())
}
