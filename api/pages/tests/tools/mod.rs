//! What opens pages in a real browser: the scripts of `tests/browser` drive the system's Chromium.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory with the `node_modules` of `tests/browser`, or `skip` where no browser can be had.
const WHERE: &str = "BOSINGAK_BROWSER";

/// Node, Chromium, and what drives one from the other.
pub struct Tools {
    modules: PathBuf,
    chromium: PathBuf,
}

impl Tools {
    /// `None` after saying so where the environment says that they cannot be had.
    ///
    /// # Panics
    ///
    /// If one is nowhere and nobody said that this is all right.
    pub fn find() -> Option<Self> {
        let said = std::env::var_os(WHERE);
        if said.as_deref().is_some_and(|said| said == "skip") {
            eprintln!("skipped: {WHERE}=skip, so no page was opened in a browser");
            return None;
        }
        // Where ./dev puts them, beside the target directory: this test is target/release/deps/browser-….
        let beside = || std::env::current_exe().ok()?.ancestors().nth(4).map(|target| target.join("browser"));
        let modules = said.map(PathBuf::from).or_else(beside).filter(|dir| dir.join("node_modules/axe-core").is_dir());
        let missing = |what: &str| -> ! {
            panic!("{what} is not installed: `./dev test` sees to it; or set {WHERE} to \"skip\"")
        };
        for program in ["node", "zbarimg"] {
            if on_path(program).is_none() {
                missing(program);
            }
        }
        let chromium = ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(on_path);
        Some(Self {
            modules: modules.unwrap_or_else(|| missing("tests/browser/package.json")),
            chromium: chromium.unwrap_or_else(|| missing("chromium")),
        })
    }

    /// Runs a script of `tests/browser`, to its last check.
    ///
    /// # Panics
    ///
    /// If a check fails, with what the script said.
    pub fn run(&self, script: &str, arguments: &[String]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/browser").join(script);
        let output = Command::new("node")
            .arg(script)
            .args(arguments)
            .env("BROWSER_MODULES", &self.modules)
            .env("CHROMIUM", &self.chromium)
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
        // A script that ended early would have been content with less.
        assert!(out.trim_end().ends_with("every page, every check"), "{out}\n{err}");
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(program)).find(|path| path.is_file())
}
