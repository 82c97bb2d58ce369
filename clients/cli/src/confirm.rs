//! Asking before something that cannot be taken back.

use std::io::{BufRead, IsTerminal, Write};

use crate::failure::Failure;

/// `--yes`.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Confirm {
    /// Do it without asking. Also when the environment has CI.
    #[arg(short, long)]
    yes: bool,
}

impl Confirm {
    /// Asks, where there is somebody to ask; refuses where there is not.
    pub fn ask(self, what: &str) -> Result<(), Failure> {
        if self.yes || std::env::var_os("CI").is_some() {
            return Ok(());
        }
        let refuse = |message: &str| Err(Failure::usage("--yes", message, "the same with --yes"));
        if !std::io::stdin().is_terminal() {
            return refuse(&format!("{what} cannot be taken back, and there is nobody to ask"));
        }
        let mut stderr = std::io::stderr();
        write!(stderr, "{what} cannot be taken back. Go on? [y/N] ")?;
        stderr.flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => refuse("not confirmed, nothing was done"),
        }
    }
}
