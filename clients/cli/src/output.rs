//! Where results go: data to stdout in the form asked for, everything else to stderr.

use std::io::{IsTerminal, StdoutLock, Write};

use serde_json::Value;

use crate::failure::Failure;
use crate::json::{self, Named};
use crate::table::Table;

/// Form of what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: columns, relative times.
    Table,
    /// One document, the message of the protocol in camelCase.
    Json,
    /// One object per line for lists and watches, else one line.
    Jsonl,
}

/// Standard output. Every method fails quietly, with exit code 0, once nobody reads it.
pub struct Output {
    pub format: Format,
    stdout: std::io::BufWriter<StdoutLock<'static>>,
    colour: bool,
}

impl Output {
    pub fn new(format: Format) -> Self {
        let stdout = std::io::stdout().lock();
        let colour = std::env::var_os("NO_COLOR").is_none() && stdout.is_terminal();
        Output { format, stdout: std::io::BufWriter::new(stdout), colour }
    }

    /// Whether a program reads this.
    pub fn is_json(&self) -> bool {
        self.format != Format::Table
    }

    /// One document.
    pub fn json(&mut self, value: &Value) -> Result<(), Failure> {
        match self.format {
            Format::Jsonl => writeln!(self.stdout, "{value}")?,
            Format::Json | Format::Table => writeln!(self.stdout, "{value:#}")?,
        }
        Ok(())
    }

    /// One message of the protocol.
    pub fn message(&mut self, message: &impl Named) -> Result<(), Failure> {
        let value = json::value(message)?;
        self.json(&value)
    }

    /// A list: one document under `key`, or a line for each.
    pub fn list(&mut self, key: &str, items: Vec<Value>, more: Option<&str>) -> Result<(), Failure> {
        if self.format == Format::Jsonl {
            for item in items {
                writeln!(self.stdout, "{item}")?;
            }
            return Ok(());
        }
        let mut document = serde_json::json!({ key: items });
        if let Some(token) = more {
            document["nextPageToken"] = token.into();
        }
        self.json(&document)
    }

    /// One line of a stream, told at once.
    pub fn event(&mut self, value: &Value) -> Result<(), Failure> {
        writeln!(self.stdout, "{value}")?;
        self.flush()
    }

    /// A line for people.
    pub fn line(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.stdout, "{text}")?;
        Ok(())
    }

    /// Columns for people.
    pub fn table(&mut self, table: &Table) -> Result<(), Failure> {
        write!(self.stdout, "{table}")?;
        Ok(())
    }

    /// As it is.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stdout.write_all(bytes)?;
        Ok(())
    }

    /// Everything said so far becomes visible.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush()?;
        Ok(())
    }

    /// In red, where there is colour.
    pub fn alarming(&self, text: &str) -> String {
        if self.colour { format!("\x1b[31m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A remark for people, on stderr. Programs are spared it.
pub fn remark(format: Format, text: &str) {
    if format == Format::Table {
        // Where stderr is gone, so are the people.
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}
