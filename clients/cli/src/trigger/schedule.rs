//! `bosingak trigger schedule`: one trigger by flags, or many by lines of JSON.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use client::new_id;
use proto::v1::{LatePolicy, Priority, RetryPolicy, ScheduleRequest, ScheduleResponse, When, when};
use serde_json::{Map, Value};

use crate::context::Context;
use crate::failure::Failure;
use crate::output::remark;
use crate::table::clean;
use crate::trigger::batch::Results;
use crate::trigger::list::label;
use crate::when::WhenOptions;
use crate::{duration, json, moment, when as words};

/// Items of one call.
const BATCH: usize = 1_000;

/// One trigger by flags, or many from a file.
#[derive(clap::Args)]
pub struct Options {
    /// Name of the handler it is for.
    #[arg(long, required_unless_present = "batch")]
    topic: Option<String>,
    /// Idempotency key: the same again changes nothing. Made when left out.
    #[arg(long)]
    id: Option<String>,
    #[command(flatten)]
    when: WhenOptions,
    /// What the executor gets, as text.
    #[arg(long, value_name = "TEXT", group = "what")]
    payload: Option<String>,
    /// What the executor gets, from a file; - is standard input.
    #[arg(long, value_name = "FILE", group = "what")]
    payload_file: Option<PathBuf>,
    /// A label, as in customer=42; may be given more than once.
    #[arg(short = 'l', long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Decides which executor gets it; the id otherwise.
    #[arg(long)]
    shard_key: Option<String>,
    /// Class within the topic.
    #[arg(long, value_enum)]
    priority: Option<Class>,
    /// Attempts before it is a dead letter; 1 means no retry.
    #[arg(long, value_name = "N")]
    max_attempts: Option<u32>,
    /// Delay before the second attempt.
    #[arg(long, value_name = "LENGTH", value_parser = duration::parse)]
    initial_backoff: Option<Duration>,
    /// Upper bound of the delay.
    #[arg(long, value_name = "LENGTH", value_parser = duration::parse)]
    max_backoff: Option<Duration>,
    /// Dead-letter it instead when it would be later than this.
    #[arg(long, value_name = "LENGTH", value_parser = duration::parse)]
    skip_when_later_than: Option<Duration>,
    /// Many at once: a file with a request in JSON on each line; - is standard input. Beside the fields of the
    /// protocol, a line may have `at` and `in` as on the command line and `payloadText`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["topic", "id", "what", "when", "labels", "shard_key",
        "priority", "max_attempts", "initial_backoff", "max_backoff", "skip_when_later_than", "local_policy"])]
    batch: Option<PathBuf>,
}

/// Class within a topic.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Class {
    /// First.
    High,
    /// The default.
    Normal,
    /// Last.
    Low,
}

pub async fn run(context: &mut Context, options: Options) -> Result<u8, Failure> {
    if let Some(file) = &options.batch {
        return batch(context, file).await;
    }
    let request = options.request()?;
    let answer = context.client.schedule_request(request).await?;
    if context.out.is_json() {
        context.out.message(&answer)?;
    } else {
        context.out.line(&sentence(&answer))?;
    }
    Ok(0)
}

impl Options {
    fn request(self) -> Result<ScheduleRequest, Failure> {
        let payload = match (self.payload, &self.payload_file) {
            (Some(text), _) => Bytes::from(text),
            (None, Some(file)) => read(file, "--payload-file")?,
            (None, None) => Bytes::new(),
        };
        let any_retry = self.max_attempts.is_some() || self.initial_backoff.is_some() || self.max_backoff.is_some();
        let retry = any_retry.then(|| RetryPolicy {
            max_attempts: self.max_attempts.unwrap_or(0),
            initial_backoff: self.initial_backoff.map(duration::proto),
            max_backoff: self.max_backoff.map(duration::proto),
            ..RetryPolicy::default()
        });
        let priority = match self.priority {
            None => Priority::Unspecified,
            Some(Class::High) => Priority::High,
            Some(Class::Normal) => Priority::Normal,
            Some(Class::Low) => Priority::Low,
        };
        Ok(ScheduleRequest {
            topic: self.topic.unwrap_or_default(),
            id: self.id.unwrap_or_else(new_id),
            when: Some(self.when.required()?),
            shard_key: self.shard_key.unwrap_or_default(),
            payload,
            labels: self.labels.into_iter().collect(),
            priority: priority.into(),
            retry,
            late: self
                .skip_when_later_than
                .map(|lateness| LatePolicy { skip_when_later_than: Some(duration::proto(lateness)) }),
            ..ScheduleRequest::default()
        })
    }
}

fn sentence(answer: &ScheduleResponse) -> String {
    let again = if answer.replayed { " (scheduled before)" } else { "" };
    format!("{} is due {}, generation {}{again}", clean(&answer.id), moment::both(answer.due), answer.generation)
}

async fn batch(context: &mut Context, file: &Path) -> Result<u8, Failure> {
    let text = read(file, "--batch")?;
    let text = std::str::from_utf8(&text)
        .map_err(|_| Failure::usage("--batch", "is not UTF-8 text", "one request in JSON on each line"))?;
    let mut items = Vec::new();
    // All lines are read before the first is sent: a typo in the last should not schedule the others.
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        items.push(item(line).map_err(|failure| {
            let message = format!("line {}: {}", number + 1, failure.message());
            Failure::usage("--batch", message, r#"{"topic":"orders","id":"order-1","in":"5m","payloadText":"hi"}"#)
        })?);
    }
    let mut results = Results::new();
    for chunk in items.chunks(BATCH) {
        let answers = match context.client.batch_schedule(chunk.to_vec()).await {
            Ok(answers) => answers,
            Err(error) => {
                // Their ids are on their lines or made here, so that the same file may be sent again.
                chunk.iter().for_each(|item| results.failed(&item.id, error.clone()));
                continue;
            }
        };
        for (item, answer) in chunk.iter().zip(answers) {
            match answer {
                Ok(answer) => results.done(&answer.id, json::value(&answer)?, sentence(&answer)),
                Err(error) => results.failed(&item.id, error),
            }
        }
    }
    remark(context.out.format, &format!("{} scheduled, {} refused", results.done, results.refused()));
    results.print(&mut context.out)
}

/// One line of a batch.
fn item(line: &str) -> Result<ScheduleRequest, Failure> {
    let wrong = |message: String| Failure::error(message);
    let mut object: Map<String, Value> =
        serde_json::from_str(line).map_err(|error| wrong(format!("not an object of JSON: {error}")))?;
    let mut text = |key: &str| match object.remove(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(wrong(format!("{key}: {other} is not text"))),
    };
    let (at, after, payload) = (text("at")?, text("in")?, text("payloadText")?);
    let mut request: ScheduleRequest = json::message(Value::Object(object)).map_err(wrong)?;
    if let Some(payload) = payload {
        request.payload = payload.into();
    }
    let when = match (at, after) {
        (Some(_), Some(_)) => return Err(wrong("at and in exclude each other".to_owned())),
        (Some(at), None) => Some(words::at(&at)?),
        (None, Some(after)) => {
            let after = duration::parse(&after).map_err(wrong)?;
            Some(when::When::After(duration::proto(after)))
        }
        (None, None) => None,
    };
    if when.is_some() {
        request.when = Some(When { when });
    }
    if request.when.is_none() {
        return Err(wrong("says not when it is due: at, in or when".to_owned()));
    }
    if request.topic.is_empty() {
        return Err(wrong("topic: is missing".to_owned()));
    }
    if request.id.is_empty() {
        request.id = new_id();
    }
    Ok(request)
}

/// A file, or standard input.
fn read(file: &Path, flag: &str) -> Result<Bytes, Failure> {
    let read = if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    let failed = |error: std::io::Error| {
        Failure::usage(flag, format!("{}: {error}", file.display()), "a file that can be read, or -")
    };
    read.map(Bytes::from).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_may_be_short_or_in_full() {
        let short = item(r#"{"topic":"t","id":"x","in":"5m","payloadText":"종"}"#).expect("it is right");
        assert_eq!(short.payload, "종".as_bytes());
        let full = r#"{"topic":"t","id":"x","when":{"after":"300s"},"payload":"7KKF"}"#;
        assert_eq!(item(full).expect("it is right"), short);
        assert_eq!(item(r#"{"topic":"t","in":"1s"}"#).expect("it is right").id.len(), 36);
    }

    #[test]
    fn lines_that_are_wrong_say_how() {
        for (line, said) in [
            ("[]", "not an object"),
            (r#"{"topic":"t"}"#, "says not when"),
            (r#"{"in":"5m"}"#, "topic: is missing"),
            (r#"{"topic":"t","in":5}"#, "in: 5 is not text"),
            (r#"{"topic":"t","in":"5m","at":"2027-02-14 UTC"}"#, "exclude each other"),
            (r#"{"topic":"t","in":"5m","prio":1}"#, "prio"),
        ] {
            let failure = item(line).expect_err(line);
            assert!(failure.message().contains(said), "{line}: {}", failure.message());
        }
    }
}
