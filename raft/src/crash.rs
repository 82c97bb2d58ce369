//! Places where a test can have the process die: between a write and its sync, a sync and its answer, a flush and the mark that it is done.
//!
//! They do nothing, and cost nothing, in a build without the feature `crash-points`, which no server that is meant to serve has. With it, the file that
//! `BOSINGAK_CRASH_FILE` names is looked at each time such a place is reached; it says `POINT kill` or `POINT stop`. Killed means
//! that the process is gone and what it wrote is with the system; stopped, that it stands still right there, until somebody takes
//! its power away. `tests/chaos` walks through all of them.

/// The variable of the environment that names the file.
pub const FILE: &str = "BOSINGAK_CRASH_FILE";

/// Every place, in about the order in which an entry comes by.
pub const POINTS: [&str; 28] = [
    // The log: `log::writer`.
    "log-encoded",
    "log-half-written",
    "log-written",
    "log-synced",
    "log-told",
    "vote-written",
    "vote-synced",
    "segment-taken",
    "segment-created",
    "purge-written",
    "segment-condemned",
    "segment-dropped",
    // Rows: `apply`, and `adapter` for what brings them into files.
    "apply-begun",
    "apply-decided",
    "apply-written",
    "checkpoint-begun",
    "checkpoint-flushed",
    "checkpoint-marked",
    // A snapshot: `net::snapshot` on either side, then `adapter`.
    "snapshot-made",
    "snapshot-half-sent",
    "snapshot-half-received",
    "snapshot-received",
    "snapshot-sealed",
    "install-renamed",
    "install-opened",
    "install-current",
    // Small files: `store::place`.
    "file-written",
    "file-renamed",
];

#[cfg(not(feature = "crash-points"))]
mod armed {
    /// Nothing, in this build.
    #[inline(always)]
    pub(crate) fn point(_name: &'static str) {}

    /// Never, in this build.
    #[inline(always)]
    pub(crate) fn is_armed(_name: &'static str) -> bool {
        false
    }
}

#[cfg(feature = "crash-points")]
mod armed {
    use super::POINTS;

    /// Does not return if the file says that this is the place.
    pub(crate) fn point(name: &'static str) {
        debug_assert!(POINTS.contains(&name));
        let Some(order) = order() else { return };
        let signal = match order.trim().split_once(' ') {
            Some((at, "kill")) if at == name => libc::SIGKILL,
            Some((at, "stop")) if at == name => libc::SIGSTOP,
            _ => return,
        };
        eprintln!("crash point {name} reached");
        #[expect(unsafe_code, reason = "two integers; the process means itself")]
        // SAFETY: neither call takes a pointer.
        unsafe {
            libc::kill(libc::getpid(), signal);
        }
        // The signal stops the process as a whole; this thread may be the last it reaches.
        loop {
            std::thread::park();
        }
    }

    /// Whether the next [`point`] of that name will not return.
    pub(crate) fn is_armed(name: &'static str) -> bool {
        order().is_some_and(|order| order.split(' ').next() == Some(name))
    }

    fn order() -> Option<String> {
        std::fs::read_to_string(std::env::var_os(super::FILE)?).ok()
    }
}

pub(crate) use armed::{is_armed, point};

#[cfg(test)]
mod tests {
    use super::*;

    /// Red when a place is renamed in one of the two, or is listed and nowhere in the code: no test could reach it.
    #[test]
    fn every_place_is_somewhere_in_the_code_once_and_no_other_is() {
        let mut called = Vec::new();
        let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("crash.rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let calls = text.split("crash::point(\"").skip(1);
                    called.extend(calls.map(|call| call.split('"').next().unwrap_or_default().to_owned()));
                }
            }
        }
        called.sort();
        let mut listed: Vec<String> = POINTS.map(str::to_owned).into();
        listed.sort();
        assert_eq!(called, listed);
    }
}
