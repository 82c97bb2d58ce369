//! Logs: text for people, one JSON object a line for machines.

use std::io::{self, Write};
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::Config;

/// Sends logs to standard error from now on, as the configuration says. As JSON every line begins with `cluster` and
/// `node`, so that lines of several nodes can be told apart wherever they are collected.
///
/// # Errors
///
/// `log.filter` is none.
pub fn start(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.log_filter)
        .map_err(|error| anyhow::anyhow!("log.filter = {:?}: {error}", config.log_filter))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    match config.log_json {
        true => {
            let lines = Lines { origin: origin(&config.cluster, config.node) };
            builder.json().flatten_event(true).with_writer(lines).init();
        }
        false => builder.with_writer(io::stderr).init(),
    }
    Ok(())
}

/// Members of a JSON object that say where a line is from, a comma behind them.
fn origin(cluster: &str, node: u64) -> Arc<str> {
    format!("\"cluster\":{},\"node\":{node},", serde_json::Value::from(cluster)).into()
}

/// Puts members in front of those of every line.
struct Lines {
    origin: Arc<str>,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<io::Stderr>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { origin: self.origin.clone(), out: io::stderr() }
    }
}

struct Line<W> {
    origin: Arc<str>,
    out: W,
}

impl<W: Write> Write for Line<W> {
    /// Takes whole lines, which is how they are handed over.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match line.strip_prefix(b"{") {
            Some(members) => self.out.write_all(&[b"{", self.origin.as_bytes(), members].concat())?,
            None => self.out.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_where_it_is_from() {
        let mut line = Line { origin: origin("a \"b\"", 3), out: Vec::new() };
        line.write_all(b"{\"level\":\"INFO\",\"message\":\"{}\"}\n").expect("memory takes it");
        let read: serde_json::Value = serde_json::from_slice(&line.out).expect("JSON");
        assert_eq!(read, serde_json::json!({"cluster": "a \"b\"", "node": 3, "level": "INFO", "message": "{}"}),);
    }
}
