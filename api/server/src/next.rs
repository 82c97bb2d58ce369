//! `bosingakd-next`: the same program, built with features that no server that is meant to serve has.

#[path = "main.rs"]
mod program;

fn main() -> std::process::ExitCode {
    program::main()
}
