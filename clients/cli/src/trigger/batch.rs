//! Commands about many triggers: each has its own result.

use std::io::BufRead;

use client::Error;
use proto::v1::CancelRequest;
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::{Failure, PARTIAL};
use crate::json;
use crate::output::{Format, Output, remark};
use crate::table::clean;

/// Items of one call.
const BATCH: usize = 1_000;

/// Which triggers to cancel.
#[derive(clap::Args)]
pub struct CancelOptions {
    /// Ids; a single - reads them from standard input, one on each line.
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Only if this is still the generation; for a single id.
    #[arg(long, default_value_t = 0, value_name = "GENERATION")]
    expected: u64,
}

pub async fn cancel(context: &mut Context, options: CancelOptions) -> Result<u8, Failure> {
    let ids = match options.ids.as_slice() {
        [dash] if dash == "-" => lines()?,
        ids => ids.to_vec(),
    };
    if options.expected != 0 && ids.len() != 1 {
        return Err(Failure::usage("--expected", "is about a single trigger", "one id"));
    }
    let mut results = Results::new();
    for chunk in ids.chunks(BATCH) {
        let item = |id: &String| CancelRequest {
            id: id.clone(),
            expected_generation: options.expected,
            ..CancelRequest::default()
        };
        match context.client.batch_cancel(chunk.iter().map(item).collect()).await {
            Ok(answers) => {
                for (id, answer) in chunk.iter().zip(answers) {
                    match answer {
                        Ok(answer) => results.done(id, json::value(&answer)?, format!("{} is cancelled", clean(id))),
                        Err(error) => results.failed(id, error),
                    }
                }
            }
            Err(error) => chunk.iter().for_each(|id| results.failed(id, error.clone())),
        }
    }
    if ids.len() > 1 {
        remark(context.out.format, &format!("{} cancelled, {} refused", results.done, results.refused()));
    }
    results.print(&mut context.out)
}

fn lines() -> Result<Vec<String>, Failure> {
    let mut ids = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        if !line.trim().is_empty() {
            ids.push(line.trim().to_owned());
        }
    }
    Ok(ids)
}

/// An answer, and the same for people.
type Done = (Value, String);

/// What became of each of many, in order.
pub struct Results {
    rows: Vec<(String, Result<Done, Failure>)>,
    /// How many succeeded.
    pub done: usize,
}

impl Results {
    /// None yet.
    pub fn new() -> Self {
        Results { rows: Vec::new(), done: 0 }
    }

    /// One succeeded: its answer, and the same for people.
    pub fn done(&mut self, id: &str, answer: Value, sentence: String) {
        self.done += 1;
        self.rows.push((id.to_owned(), Ok((answer, sentence))));
    }

    /// One did not.
    pub fn failed(&mut self, id: &str, error: Error) {
        self.rows.push((id.to_owned(), Err(Failure::from(error))));
    }

    /// How many did not succeed.
    pub fn refused(&self) -> usize {
        self.rows.len() - self.done
    }

    /// Prints all of them; the exit code. When nothing succeeded it is that of the failure, when some did it is
    /// "in part".
    pub fn print(self, out: &mut Output) -> Result<u8, Failure> {
        let first = self.rows.iter().find_map(|(_, result)| result.as_ref().err()).map(Failure::code);
        let code = match first {
            None => 0,
            Some(_) if self.done > 0 => PARTIAL,
            Some(code) => code,
        };
        if out.format == Format::Table {
            for (id, result) in self.rows {
                match result {
                    Ok((_, sentence)) => out.line(&sentence)?,
                    Err(failure) => {
                        // In the order of the results, though it goes elsewhere.
                        out.flush()?;
                        failure.about(&clean(&id)).print(out.format, &mut std::io::stderr());
                    }
                }
            }
            return Ok(code);
        }
        let values = self.rows.into_iter().map(|(id, result)| match result {
            Ok((answer, _)) => json!({ "id": id, "ok": answer }),
            Err(failure) => json!({ "id": id, "error": failure.to_json() }),
        });
        out.list("results", values.collect(), None)?;
        Ok(code)
    }
}
