//! Runs the scripts in `tests/scripts`; `README.txt` there says how they read.
//!
//! Each case runs twice: with every entry written before the next is applied, and with all entries in one overlay.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use scheduler::command::*;
use scheduler::lane::{Class, Generation, LaneId, Position};
use scheduler::machine::Machine;
use scheduler::memory::MemoryStore;
use scheduler::overlay::Overlay;
use scheduler::read::{self, ListQuery};
use scheduler::reply::{Outcome, Receipt, Refusal, Reply};
use scheduler::store::Read;
use scheduler::time::Timestamp;

use crate::harness::{NAMESPACE, entry, request};
use crate::stock::Stock;

macro_rules! scripts {
    ($($name:ident),* $(,)?) => { $(
        mod $name {
            #[test]
            fn holds() {
                super::run_file(concat!(stringify!($name), ".script"));
            }
        }
    )* };
}

scripts!(
    schedule,
    cancel,
    reschedule,
    requests,
    outcomes,
    runs,
    pause,
    rate,
    dead_letters,
    retention,
    list,
    counts,
    business
);

/// Every script is run by a test.
#[test]
fn every_script_has_a_test() {
    let here = include_str!("script.rs");
    for file in std::fs::read_dir(folder()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        if let Some(stem) = name.strip_suffix(".script") {
            assert!(here.split(['(', ',', ')', ' ', '\n']).any(|word| word == stem), "{name} is run by no test");
        }
    }
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts")
}

/// A line with its number.
type Line<'t> = (usize, &'t str);

fn run_file(name: &str) {
    let text = std::fs::read_to_string(folder().join(name)).unwrap();
    let mut cases: Vec<(&str, Vec<Line<'_>>)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap().trim_end();
        if let Some(title) = line.strip_prefix("case: ") {
            cases.push((title, Vec::new()));
        } else if !line.is_empty() {
            cases.last_mut().expect("a case before the first line").1.push((number + 1, line));
        }
    }
    assert!(!cases.is_empty(), "{name} has no case");
    let mut failures = String::new();
    for (title, lines) in &cases {
        for together in [false, true] {
            for failure in run_case(lines, together) {
                let _ = writeln!(failures, "{name}, {title} (all in one overlay: {together}), {failure}");
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

fn run_case(lines: &[Line<'_>], together: bool) -> Vec<String> {
    let mut machine = Machine::new(Stock);
    let mut store = MemoryStore::default();
    let mut failures = Vec::new();
    let mut entries: Vec<(u64, Vec<Line<'_>>, Vec<Line<'_>>)> = Vec::new();
    for &(number, line) in lines {
        if let Some(time) = line.strip_prefix('@') {
            entries.push((
                time.parse().unwrap_or_else(|_| panic!("line {number}: time {time}")),
                Vec::new(),
                Vec::new(),
            ));
            continue;
        }
        let (_, commands, reads) =
            entries.last_mut().unwrap_or_else(|| panic!("line {number}: before the first entry"));
        match line.trim().strip_prefix("? ") {
            Some(question) => reads.push((number, question)),
            None if reads.is_empty() => commands.push((number, line.trim())),
            None => panic!("line {number}: a command behind a question, which is asked after the whole entry"),
        }
    }
    let empty = MemoryStore::default();
    let mut whole = Overlay::new(&empty);
    for (number, (time, commands, reads)) in entries.into_iter().enumerate() {
        let kinds = commands.iter().map(|&(line, text)| command(line, text, &machine)).collect();
        let bytes = entry(time, kinds);
        let index = number as u64 + 1;
        let applied = if together {
            machine.apply(index, bytes, &mut whole).unwrap()
        } else {
            let mut overlay = Overlay::new(&store);
            let applied = machine.apply(index, bytes, &mut overlay).unwrap();
            let writes = overlay.into_writes();
            store.write(writes);
            applied
        };
        for (&(line, text), reply) in commands.iter().zip(&applied.replies) {
            check(line, text, &show(reply), &mut failures);
        }
        let now: &dyn Read = if together { &whole } else { &store };
        for (line, text) in reads {
            check(line, text, &answer(line, text, now, &machine), &mut failures);
        }
    }
    failures
}

/// Every word expected must be a word found; after `==` the whole must be equal.
fn check(line: usize, text: &str, found: &str, failures: &mut Vec<String>) {
    let holds = if let Some((_, expected)) = text.split_once(" ==") {
        expected.trim() == found
    } else {
        let (_, expected) = text.split_once(" => ").unwrap_or_else(|| panic!("line {line}: nothing expected"));
        let words: Vec<&str> = found.split(' ').collect();
        expected.split_whitespace().all(|word| words.contains(&word))
    };
    if !holds {
        failures.push(format!("line {line}: {text}\n    found: {found}"));
    }
}

/// The words of a command: the first ones bare, the others `name=value`.
struct Words<'t> {
    line: usize,
    bare: Vec<&'t str>,
    named: BTreeMap<&'t str, &'t str>,
}

impl<'t> Words<'t> {
    fn of(line: usize, text: &'t str) -> Self {
        let said = text.split(" => ").next().unwrap().split(" ==").next().unwrap();
        let (named, bare): (Vec<&str>, Vec<&str>) = said.split_whitespace().partition(|word| word.contains('='));
        let named = named.iter().filter_map(|word| word.split_once('=')).collect();
        Words { line, bare, named }
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        self.named.get(name).map_or(default, |value| self.parse(value))
    }

    fn parse(&self, value: &str) -> u64 {
        value.parse().unwrap_or_else(|_| panic!("line {}: number {value}", self.line))
    }

    fn text(&self, name: &str, default: &str) -> String {
        (*self.named.get(name).unwrap_or(&default)).to_owned()
    }

    /// `index.place`.
    fn generation(&self, value: &str) -> Generation {
        let (index, place) = value.split_once('.').unwrap_or_else(|| panic!("line {}: generation {value}", self.line));
        Generation::new(self.parse(index), self.parse(place) as usize)
    }

    /// `due:index.place`.
    fn position(&self, value: &str) -> Position {
        let (due, generation) = value.split_once(':').unwrap_or_else(|| panic!("line {}: position {value}", self.line));
        Position { due: Timestamp::from_millis(self.parse(due)), generation: self.generation(generation) }
    }

    fn expected_generation(&self) -> u64 {
        self.named.get("gen").map_or(0, |value| self.generation(value).number())
    }

    /// `number@time`.
    fn request(&self) -> Bytes {
        let Some(value) = self.named.get("req") else { return Bytes::new() };
        let (number, time) = value.split_once('@').unwrap_or_else(|| panic!("line {}: request {value}", self.line));
        request(self.parse(number) as u8, self.parse(time))
    }

    fn when(&self) -> Option<When> {
        let at = self.named.get("at").map(|value| When::At(self.parse(value)));
        at.or_else(|| self.named.get("after").map(|value| When::After(self.parse(value))))
    }

    fn id(&self) -> String {
        self.bare.get(1).unwrap_or_else(|| panic!("line {}: no id", self.line)).to_string()
    }

    fn report(&self) -> Option<Report> {
        Some(Report {
            namespace: NAMESPACE.into(),
            id: self.id(),
            generation: self.expected_generation(),
            token: Some(Token { epoch: 1, term: 1, counter: self.number("token", 1) }),
            attempt: self.number("attempt", 1) as u32,
            executor: self.text("by", "e1"),
        })
    }

    /// `topic/class`.
    fn lane(&self, machine: &Machine<Stock>) -> LaneId {
        let value = self.id();
        let (topic, class) = value.split_once('/').unwrap_or_else(|| panic!("line {}: lane {value}", self.line));
        let topic =
            machine.topics().find(NAMESPACE, topic).unwrap_or_else(|| panic!("line {}: topic {topic}", self.line));
        topic.lane(class_of(class))
    }
}

fn class_of(name: &str) -> Class {
    match name {
        "high" => Class::High,
        "normal" => Class::Normal,
        "low" => Class::Low,
        "retry" => Class::Retry,
        "dead" => Class::Dead,
        _ => panic!("class {name}"),
    }
}

fn command(line: usize, text: &str, machine: &Machine<Stock>) -> Kind {
    let words = Words::of(line, text);
    let (namespace, request) = (NAMESPACE.to_owned(), words.request());
    let expected_generation = words.expected_generation();
    match words.bare[0] {
        "schedule" => Kind::Schedule(schedule(&words)),
        "cancel" => Kind::Cancel(Cancel { namespace, id: words.id(), expected_generation, request }),
        "reschedule" => Kind::Reschedule(Reschedule {
            namespace,
            id: words.id(),
            expected_generation,
            request,
            when: words.when(),
            local: None,
        }),
        "run-now" => Kind::RunNow(RunNow { namespace, id: words.id(), expected_generation, request }),
        "requeue" => Kind::Requeue(Requeue { namespace, id: words.id(), expected_generation, request }),
        "drop" => Kind::Drop(Drop { namespace, id: words.id(), expected_generation, request }),
        "complete" => {
            let business = words.text("do", "").replace('_', " ").into();
            Kind::Complete(Complete { report: words.report(), business })
        }
        "retry" => Kind::Retry(Retry {
            report: words.report(),
            error: words.text("error", ""),
            retry_after_ms: words.number("after", 0),
            lease_expired: words.bare.contains(&"expired"),
        }),
        "fail" => Kind::Fail(Fail { report: words.report(), error: words.text("error", "") }),
        "skip-late" => Kind::SkipLate(SkipLate { namespace, id: words.id(), generation: expected_generation }),
        "run" => {
            let positions: Vec<_> = words.bare[2..].iter().map(|value| words.position(value)).collect();
            crate::harness::run(words.lane(machine).number(), &positions)
        }
        "floor" => {
            let position = words.position(words.bare[2]);
            let (due, generation) = (position.due.as_millis(), position.generation.number());
            Kind::RaiseFloor(RaiseFloor { lane: words.lane(machine).number(), due, generation })
        }
        "release" => {
            let position = words.position(words.bare[2]);
            let (due, generation) = (position.due.as_millis(), position.generation.number());
            Kind::Release(Release { lane: words.lane(machine).number(), due, generation })
        }
        "topic" => Kind::SetTopic(SetTopic {
            namespace,
            topic: words.id(),
            version: words.number("version", 1),
            settings: Some(TopicSettings {
                paused: words.bare.contains(&"paused"),
                lease_ms: words.number("lease", 30_000),
                retry: Some(RetryPolicy {
                    max_attempts: words.number("attempts", 5) as u32,
                    initial_backoff_ms: 1_000,
                    max_backoff_ms: 60_000,
                    multiplier_percent: 200,
                    jitter_percent_plus_one: 1,
                }),
                rate_milli_per_second: words.number("rate", 0),
                concurrency_max: 0,
                retention_ms: words.number("retention", 604_800_000),
                rate_per_second_total: 0,
                concurrency_total: 0,
            }),
        }),
        "business" => Kind::Business(Business { namespace, body: words.bare[1..].join(" ").into() }),
        other => panic!("line {line}: command {other}"),
    }
}

fn schedule(words: &Words<'_>) -> Schedule {
    let retry = words.named.get("attempts").map(|value| RetryPolicy {
        max_attempts: words.parse(value) as u32,
        jitter_percent_plus_one: 1,
        ..RetryPolicy::default()
    });
    let label = words.named.get("label").and_then(|value| value.split_once(':'));
    Schedule {
        namespace: words.text("namespace", NAMESPACE),
        id: words.id(),
        topic: words.text("topic", "mail"),
        when: words.when(),
        payload: words.text("payload", "").into(),
        labels: label.map(|(key, value)| Label { key: key.into(), value: value.into() }).into_iter().collect(),
        priority: class_of(&words.text("class", "normal")) as u32,
        retry,
        skip_when_later_ms: words.number("skip", 0),
        fingerprint: words.number("fp", 1),
        local: words.named.get("zone").map(|&zone| LocalTime { zone: zone.into(), ..LocalTime::default() }),
        ..Schedule::default()
    }
}

fn show_receipt(receipt: &Receipt) -> String {
    let outcome = match receipt.outcome {
        Outcome::Scheduled => "scheduled",
        Outcome::Fired => "fired",
        Outcome::Completed => "completed",
        Outcome::Cancelled => "cancelled",
        Outcome::DeadLettered => "dead",
        Outcome::Retrying => "retrying",
    };
    let fired = receipt.fired.map_or("-".to_owned(), |fired| format!("{}/{}", fired.time.as_millis(), fired.index));
    let token = receipt.token.map_or("-".to_owned(), |token| token.counter.to_string());
    format!(
        "outcome={outcome} gen={}.{} due={} fired={fired} decided={}/{} by={} attempt={} token={token}",
        receipt.generation.index(),
        receipt.generation.place(),
        receipt.due.as_millis(),
        receipt.decided.as_millis(),
        receipt.log_index,
        if receipt.executor.is_empty() { "-" } else { &receipt.executor },
        receipt.attempt,
    )
}

fn show_position(position: Position) -> String {
    format!("{}:{}.{}", position.due.as_millis(), position.generation.index(), position.generation.place())
}

fn show(reply: &Reply) -> String {
    match reply {
        Reply::Scheduled { receipt, replayed, local } => {
            let again = if *replayed { "again" } else { "new" };
            let zone = local.as_ref().map_or("-", |local| &local.zone);
            format!("scheduled {again} zone={zone} {}", show_receipt(receipt))
        }
        Reply::Moved(receipt) => format!("moved {}", show_receipt(receipt)),
        Reply::Ended(receipt) => format!("ended {}", show_receipt(receipt)),
        Reply::Decided(receipt) => format!("decided {}", show_receipt(receipt)),
        Reply::AlreadyDecided(receipt) => format!("already-decided {}", show_receipt(receipt)),
        Reply::Superseded => "superseded".to_owned(),
        Reply::RunDecided { rejected } => {
            let rejected: Vec<_> = rejected.iter().map(|&position| show_position(position)).collect();
            format!("run rejected=[{}]", rejected.join(","))
        }
        Reply::Done => "done".to_owned(),
        Reply::Business(body) => format!("business {}", String::from_utf8_lossy(body)),
        Reply::Refused(refusal) => format!("refused {}", show_refusal(refusal)),
    }
}

fn show_refusal(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NotFound => "not-found".to_owned(),
        Refusal::AlreadyExists(receipt) => format!("already-exists {}", show_receipt(receipt)),
        Refusal::AlreadyFired(receipt) => format!("already-fired {}", show_receipt(receipt)),
        Refusal::AlreadyEnded(receipt) => format!("already-ended {}", show_receipt(receipt)),
        Refusal::NotDeadLettered(receipt) => format!("not-dead {}", show_receipt(receipt)),
        Refusal::VersionMismatch { found, .. } => {
            let found = Generation::from_number(*found);
            format!("version-mismatch found={}.{}", found.index(), found.place())
        }
        Refusal::RequestTooOld { window_ms } => format!("request-too-old window={window_ms}"),
        Refusal::BeyondHorizon { due, horizon } => {
            format!("beyond-horizon due={} horizon={}", due.as_millis(), horizon.as_millis())
        }
        Refusal::StaleTopicVersion { given, found } => format!("stale-version given={given} found={found}"),
        Refusal::TooManyTopics { max } => format!("too-many-topics max={max}"),
        Refusal::Invalid { field, .. } => format!("invalid {field}"),
        Refusal::Business(body) => format!("business {}", String::from_utf8_lossy(body)),
    }
}

fn outcomes(words: &Words<'_>) -> Vec<Outcome> {
    let one = |name: &str| match name {
        "scheduled" => Outcome::Scheduled,
        "fired" => Outcome::Fired,
        "completed" => Outcome::Completed,
        "cancelled" => Outcome::Cancelled,
        "dead" => Outcome::DeadLettered,
        _ => panic!("state {name}"),
    };
    words.named.get("state").map(|names| names.split(',').map(one).collect()).unwrap_or_default()
}

fn answer(line: usize, text: &str, store: &dyn Read, machine: &Machine<Stock>) -> String {
    let words = Words::of(line, text);
    match words.bare[0] {
        "get" => match read::get(store, NAMESPACE, &words.id()).unwrap() {
            None => "none".to_owned(),
            Some(view) => format!(
                "{} topic={} class={:?} failed={} created={} requested={} retry-at={} error={} content={}",
                show_receipt(&view.receipt),
                view.topic,
                view.class,
                view.attempt,
                view.created.as_millis(),
                view.requested_due.map_or("-".to_owned(), |due| due.as_millis().to_string()),
                view.retry_at.map_or("-".to_owned(), |due| due.as_millis().to_string()),
                if view.last_error.is_empty() { "-".to_owned() } else { view.last_error.replace(' ', "-") },
                if view.content.is_some() { "yes" } else { "no" },
            ),
        },
        "list" => list(&words, store),
        "dead" => {
            let mut ids = Vec::new();
            let mut after = None;
            loop {
                let limit = words.number("limit", 100) as usize;
                let page =
                    read::dead_letters(store, NAMESPACE, words.named.get("topic").copied(), after, limit, usize::MAX)
                        .unwrap();
                assert!(page.items.len() <= limit);
                ids.extend(page.items.into_iter().map(|view| view.id));
                after = page.next;
                if after.is_none() {
                    return ids.join(" ");
                }
            }
        }
        "due" => {
            let after = words.named.get("after").map_or(Position::MIN, |value| words.position(value));
            let up_to = Position::end_of(Timestamp::MAX);
            let rows =
                read::due_rows(store, words.lane(machine), after, up_to, words.number("limit", 100) as usize, 1 << 20)
                    .unwrap();
            let mut shown: Vec<_> = rows.rows.iter().map(|row| format!("{}/{}", row.id, row.attempt)).collect();
            if let Some(next) = rows.next {
                shown.push(format!("next={}", show_position(next)));
            }
            shown.join(" ")
        }
        "held" => {
            let positions = read::due_positions(
                store,
                words.lane(machine),
                Position::MIN,
                Position::end_of(machine.watermark()),
                100,
            );
            positions.unwrap().into_iter().map(show_position).collect::<Vec<_>>().join(" ")
        }
        "ended" => {
            let positions = read::ended_positions(store, words.lane(machine), Position::MIN, 100);
            positions.unwrap().into_iter().map(show_position).collect::<Vec<_>>().join(" ")
        }
        "lane" => {
            let lane = read::lane(store, words.lane(machine)).unwrap();
            assert_eq!(lane, machine.topics().lane(words.lane(machine)), "line {line}: the mirror differs");
            let released = lane.released.map_or("all".to_owned(), show_position);
            format!(
                "floor={} forgotten={} released={released}",
                show_position(lane.floor),
                show_position(lane.forgotten)
            )
        }
        "counts" => {
            let topic = read::find_topic(store, NAMESPACE, &words.id()).unwrap().unwrap();
            let counts = read::topic_counts(store, topic.id).unwrap();
            format!(
                "scheduled={} fired={} retrying={} dead={} completed={}",
                counts.scheduled, counts.fired, counts.retrying, counts.dead_lettered, counts.completed_total
            )
        }
        "minutes" => {
            let counts = read::minute_counts(store).unwrap();
            let shown: Vec<_> = counts
                .iter()
                .map(|count| format!("{}/{:?}={}", count.minute.as_millis(), count.lane.class(), count.count))
                .collect();
            shown.join(" ")
        }
        "dues" => {
            let (from, to) = (words.number("from", 0), words.number("to", u64::MAX));
            let counts = read::count_dues(store, Timestamp::from_millis(from), Timestamp::from_millis(to)).unwrap();
            let shown: Vec<_> = counts
                .iter()
                .map(|(due, lane, count)| format!("{}/{:?}={count}", due.as_millis(), lane.class()))
                .collect();
            shown.join(" ")
        }
        "topics" => read::topics(store)
            .unwrap()
            .iter()
            .map(|topic| format!("{}/{}", topic.name, topic.version))
            .collect::<Vec<_>>()
            .join(" "),
        "rows" => {
            let tag = u8::from_str_radix(&words.id(), 16).unwrap();
            let mut count = 0;
            let mut visit = |_: &[u8], _: &[u8]| {
                count += 1;
                std::ops::ControlFlow::Continue(())
            };
            store.scan(&[tag], &[tag + 1], &mut visit).unwrap();
            count.to_string()
        }
        other => panic!("line {line}: question {other}"),
    }
}

fn list(words: &Words<'_>, store: &dyn Read) -> String {
    let label = words.named.get("label").and_then(|value| value.split_once(':'));
    let query = ListQuery {
        namespace: NAMESPACE.into(),
        topic: words.named.get("topic").map(|&name| name.to_owned()),
        states: outcomes(words),
        due_from: words.named.get("from").map(|value| Timestamp::from_millis(words.parse(value))),
        due_to: words.named.get("to").map(|value| Timestamp::from_millis(words.parse(value))),
        labels: label.map(|(key, value)| Label { key: key.into(), value: value.into() }).into_iter().collect(),
        limit: words.number("limit", 100) as usize,
        bytes: words.number("bytes", 1 << 20) as usize,
    };
    let mut ids = Vec::new();
    let mut after = None;
    loop {
        let page = read::list(store, &query, after).unwrap();
        assert!(page.items.len() <= query.limit);
        for view in page.items {
            // A list and a get agree, but for what the history of runs leaves out.
            let same = read::get(store, NAMESPACE, &view.id).unwrap();
            if let Some(same) = same.filter(|same| same.generation == view.generation) {
                assert_eq!((&view.receipt, &view.content, view.lane), (&same.receipt, &same.content, same.lane));
            }
            ids.push(view.id);
        }
        let Some(next) = page.next else { return ids.join(" ") };
        assert_eq!(read::Cursor::from_bytes(&next.to_bytes()), Some(next));
        after = Some(next);
    }
}
