//! The examples of docs/http.md, run in their order. A small reading of curl's options stands in for curl.

use reqwest::Method;
use serde_json::Value;

use crate::server_support::{One, within};
use crate::support::Http;
use crate::world::World;

const PAGE: &str = include_str!("../../../../docs/http.md");
const ADDRESS: &str = "localhost:7300";

/// A command and what the page says it answers.
struct Example {
    words: Vec<String>,
    answer: String,
}

fn examples() -> Vec<Example> {
    let mut found: Vec<Example> = Vec::new();
    for block in PAGE.split("```").filter_map(|block| block.strip_prefix("console\n")) {
        for line in block.lines() {
            match line.strip_prefix("$ ") {
                Some(command) => found.push(Example { words: words(command), answer: String::new() }),
                None => {
                    let answer = &mut found.last_mut().expect("a command comes first").answer;
                    answer.push_str(line);
                    answer.push('\n');
                }
            }
        }
    }
    found
}

/// As a shell takes a line apart, as far as the page needs it: spaces and single quotes.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], false);
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().expect("one at least").push(c),
        }
    }
    assert!(!quoted, "{line}");
    words
}

fn request(http: &Http, words: &[String]) -> reqwest::RequestBuilder {
    assert_eq!(words[0], "curl");
    let url = words.last().expect("an address");
    let path = url.strip_prefix(ADDRESS).unwrap_or_else(|| panic!("{url} is not at {ADDRESS}"));
    let options = &words[1..words.len() - 1];
    let said = options.iter().position(|word| word == "-X").map(|at| options[at + 1].as_bytes());
    let method = match said {
        Some(said) => Method::from_bytes(said).expect("a method"),
        None if options.iter().any(|word| word == "--json") => Method::POST,
        None => Method::GET,
    };
    let mut request = http.request(method, path);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        request = match option.as_str() {
            "-N" => request,
            "-X" => {
                options.next();
                request
            }
            "--json" => crate::support::with_json(request, options.next().expect("data").parse().expect("JSON")),
            "-H" => {
                let (name, value) = options.next().expect("a header").split_once(": ").expect("a header");
                request.header(name, value)
            }
            other => panic!("{other} is not read here"),
        };
    }
    request
}

/// Everything that is shown is so; … is anything, and what is not shown may be there.
fn matches(shown: &Value, found: &Value) -> bool {
    match (shown, found) {
        (Value::String(shown), _) if shown == "…" => !found.is_null(),
        (Value::Object(shown), Value::Object(found)) => {
            shown.iter().all(|(key, shown)| found.get(key).is_some_and(|found| matches(shown, found)))
        }
        (Value::Array(shown), Value::Array(found)) => {
            shown.len() == found.len() && shown.iter().zip(found).all(|(shown, found)| matches(shown, found))
        }
        (shown, found) => shown == found,
    }
}

/// Turns red when an example of the page is wrong, or its answer another one.
#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_the_page_are_so() {
    // With executors that capture payments, half a day before the 14th of February 2027.
    let world = World::start().await;
    let http = Http::of(&world.one).await;
    let examples = examples();
    assert!(examples.len() >= 15);
    for Example { words, answer } in examples {
        let request = request(&http, &words);
        if words.iter().any(|word| word == "-N") {
            stream(request, &answer).await;
            continue;
        }
        let shown: Value = serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        let found = http.send(request).await.json;
        assert!(matches(&shown, &found), "{words:?}: the page says {shown:#}, and it is {found:#}");
    }
}

/// A stream, line by line; a line ends where the page has ….
async fn stream(request: reqwest::RequestBuilder, answer: &str) {
    let mut response = within(request.send()).await.expect("answered");
    let lines: Vec<&str> = answer.trim_end().lines().collect();
    let mut text = String::new();
    // Whole lines, the last one too.
    while text.lines().count() <= lines.len() {
        let chunk = within(response.chunk()).await.expect("no error").expect("goes on");
        text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
    }
    for (shown, found) in lines.iter().zip(text.lines()) {
        match shown.split_once('…') {
            Some((before, _)) => assert!(found.starts_with(before), "{shown} {found}"),
            None => assert_eq!(*shown, found),
        }
    }
}

/// The table of calls names every one of the document.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_names_every_call() {
    let one = One::start_with(|config| config.canary_interval = None).await;
    let http = Http::of(&one).await;
    for path in http.document["paths"].as_object().expect("paths").keys() {
        let short = path.replace("/v1/namespaces/{namespace}", "…");
        let verb = format!("`/{}`", path.rsplit('/').next().unwrap_or_default());
        assert!(
            PAGE.contains(path.as_str()) || PAGE.contains(&short) || PAGE.contains(&verb),
            "{path} is not on the page"
        );
    }
    one.stop().await;
}
