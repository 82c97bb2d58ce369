//! What any bytes may be given to: requests, tokens of pages, local times, configuration.
//!
//! Only in this crate's own tests and with the feature `fuzzing`, which the workspace's own build never has.

mod requests;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use fuzz::Target;

use crate::config::units::{format_duration, format_size, parse_duration, parse_size};
use crate::config::{Config, Values};
use crate::local_time::Zones;

/// Every target of this crate.
pub const TARGETS: &[Target] = &[REQUESTS, READS, LOCAL_TIME, CONFIG, UNITS];

/// Requests that become commands or sessions: which of them says the first byte.
pub const REQUESTS: Target = Target::new("server-requests", requests::writes).rounds(10_000).allocates(2 << 20);

/// Requests that read: filters, tokens of pages, cursors, spans. Which of them says the first byte.
pub const READS: Target = Target::new("server-reads", requests::reads).rounds(10_000).allocates(2 << 20);

/// A date and time, a zone and a number of a policy, on a line each.
pub const LOCAL_TIME: Target =
    Target::new("server-local-time", local_time).rounds(1_500).understood(3).allocates(8 << 20);

/// A configuration file.
pub const CONFIG: Target = Target::new("server-config", config).rounds(4_000).allocates(4 << 20);

/// Durations and sizes.
pub const UNITS: Target = Target::new("server-units", units);

/// The zones that are built in: the same on every machine.
static ZONES: LazyLock<Zones> = LazyLock::new(Zones::bundled);

fn local_time(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let mut lines = text.split('\n');
    let (date_time, zone) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let policy = lines.next().unwrap_or_default().parse().unwrap_or_default();
    match ZONES.resolve(date_time, zone, policy) {
        Ok(found) => {
            let again = ZONES.resolve(&found.date_time, &found.zone, found.policy as i32);
            assert_eq!(again.as_ref(), Ok(&found), "what was understood means the same");
            true
        }
        Err(error) => {
            assert!(error.to_string().len() < 1_024 && !error.field().is_empty(), "an error that can be told");
            false
        }
    }
}

fn config(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let mut values = Values::defaults();
    let read = values.read_text("node.toml", text).and_then(|()| Config::check(&values).map(drop));
    let mut lines = text.lines();
    if let (Some(flag), Some(variable)) = (lines.next(), lines.next()) {
        let mut values = Values::defaults();
        let _ = values.read_flag(flag).and_then(|()| Config::check(&values).map(drop));
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        let mut values = Values::defaults();
        let variable = (format!("BOSINGAK__{name}"), value.to_owned());
        let _ = values.read_environment([variable]).and_then(|()| Config::check(&values).map(drop));
    }
    match read {
        Ok(()) => true,
        Err(error) => {
            assert!(!error.to_string().is_empty(), "an error says what is wrong");
            false
        }
    }
}

fn units(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let (duration, size) = (parse_duration(text), parse_size(text));
    if let Some(duration) = duration {
        assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
    }
    if let Some(size) = size {
        assert_eq!(parse_size(&format_size(size)), Some(size));
    }
    duration.is_some() || size.is_some()
}
