//! Where values come from, and which of them counts.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::options::{self, Kind, OPTIONS};
use super::{Error, units};

/// Environment variables of ours start with this. Two underscores, because Kubernetes injects `BOSINGAK_PORT` for a
/// Service of our name.
const PREFIX: &str = "BOSINGAK__";

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: the default.
    Default,
    /// In this file.
    File(String),
    /// In the environment, by this variable.
    Environment(String),
    /// On the command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(file) => write!(f, "file {file}"),
            Origin::Environment(variable) => write!(f, "environment variable {variable}"),
            Origin::Flag => f.write_str("command line"),
        }
    }
}

/// A value for every option, not checked yet. What is set later wins: file, then environment, then flags.
#[derive(Clone, Debug)]
pub struct Values(BTreeMap<String, (String, Origin)>);

impl Values {
    /// Every option at its default.
    pub fn defaults() -> Values {
        Values(OPTIONS.iter().map(|option| (option.key.into(), (option.default.into(), Origin::Default))).collect())
    }

    /// Reads a TOML file over what is there.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is no TOML, or holds a key that is no option.
    pub fn read_file(&mut self, file: &str) -> Result<(), Error> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| Error::File { file: file.into(), reason: error.to_string() })?;
        self.read_text(file, &text)
    }

    /// Like [`read_file`](Self::read_file), with the text of the file.
    pub fn read_text(&mut self, file: &str, text: &str) -> Result<(), Error> {
        let table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| Error::File { file: file.into(), reason: error.to_string() })?;
        let origin = Origin::File(file.into());
        for (section, values) in &table {
            let toml::Value::Table(values) = values else {
                return Err(unknown(section, origin));
            };
            for (key, value) in values {
                let key = format!("{section}.{key}");
                let Some(option) = options::find(&key) else {
                    return Err(unknown(&key, origin));
                };
                let refused = || Error::Value {
                    origin: origin.clone(),
                    key: key.clone(),
                    value: value.to_string(),
                    expected: option.kind.expectation(),
                };
                let text = match (value, option.kind) {
                    (toml::Value::String(text), kind) if !matches!(kind, Kind::List | Kind::Integer(..)) => {
                        text.clone()
                    }
                    (toml::Value::Integer(number), Kind::Integer(..)) => number.to_string(),
                    (toml::Value::Boolean(flag), Kind::OneOf(_)) => flag.to_string(),
                    (toml::Value::Array(items), Kind::List) => {
                        let items: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
                        items.ok_or_else(refused)?.join(",")
                    }
                    _ => return Err(refused()),
                };
                self.0.insert(key, (text, origin.clone()));
            }
        }
        Ok(())
    }

    /// Takes the variables that begin with `BOSINGAK__`.
    ///
    /// # Errors
    ///
    /// One of them names no option.
    pub fn read_environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) -> Result<(), Error> {
        for (variable, value) in variables {
            let Some(name) = variable.strip_prefix(PREFIX) else { continue };
            let key = name.to_ascii_lowercase().replacen("__", ".", 1);
            let origin = Origin::Environment(variable.clone());
            if options::find(&key).is_none() {
                return Err(unknown(&key, origin));
            }
            self.0.insert(key, (value, origin));
        }
        Ok(())
    }

    /// Sets an option of the command line, given as `section.key=value`.
    ///
    /// # Errors
    ///
    /// It has another shape, or names no option.
    pub fn read_flag(&mut self, text: &str) -> Result<(), Error> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        if options::find(key).is_none() {
            return Err(unknown(key, Origin::Flag));
        }
        self.set(key, value.into(), Origin::Flag);
        Ok(())
    }

    /// Sets one value.
    ///
    /// # Panics
    ///
    /// If there is no such option.
    pub fn set(&mut self, key: &str, value: String, origin: Origin) {
        assert!(options::find(key).is_some(), "no option {key}");
        self.0.insert(key.into(), (value, origin));
    }

    /// The error that says a value is not the expected one.
    pub fn refuse(&self, key: &str, expected: String) -> Error {
        let (value, origin) = self.raw(key);
        Error::Value { origin: origin.clone(), key: key.into(), value: format!("{value:?}"), expected }
    }

    pub(super) fn integer(&self, key: &str) -> Result<u64, Error> {
        self.parsed(key, |text, kind| match kind {
            Kind::Integer(min, max) => text.trim().parse().ok().filter(|value| (min..=max).contains(value)),
            _ => None,
        })
    }

    pub(super) fn duration(&self, key: &str) -> Result<Duration, Error> {
        self.parsed(key, |text, kind| match kind {
            Kind::Duration(min, max) => units::parse_duration(text)
                .filter(|value| (u128::from(min)..=u128::from(max)).contains(&value.as_millis())),
            _ => None,
        })
    }

    pub(super) fn size(&self, key: &str) -> Result<u64, Error> {
        self.parsed(key, |text, kind| match kind {
            Kind::Size(min, max) => units::parse_size(text).filter(|value| (min..=max).contains(value)),
            _ => None,
        })
    }

    pub(super) fn address(&self, key: &str) -> Result<SocketAddr, Error> {
        self.parsed(key, |text, _| text.trim().parse().ok())
    }

    pub(crate) fn text(&self, key: &str) -> Result<String, Error> {
        self.parsed(key, |text, kind| match kind {
            Kind::OneOf(words) => words.contains(&text).then(|| text.to_string()),
            _ => Some(text.to_string()),
        })
    }

    pub(super) fn list(&self, key: &str) -> Result<Vec<String>, Error> {
        self.parsed(key, |text, _| {
            Some(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(String::from).collect())
        })
    }

    fn parsed<T>(&self, key: &str, parse: impl FnOnce(&str, Kind) -> Option<T>) -> Result<T, Error> {
        let kind = options::find(key).unwrap_or_else(|| panic!("no option {key}")).kind;
        parse(&self.raw(key).0, kind).ok_or_else(|| self.refuse(key, kind.expectation()))
    }

    fn raw(&self, key: &str) -> &(String, Origin) {
        self.0.get(key).unwrap_or_else(|| panic!("no option {key}"))
    }
}

fn unknown(key: &str, origin: Origin) -> Error {
    let near = OPTIONS
        .iter()
        .map(|option| (crate::text::distance(option.key, key), option.key))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    let hint = near.map(|(_, near)| format!("; did you mean {near}?")).unwrap_or_default();
    Error::Unknown { origin, key: key.into(), hint }
}
