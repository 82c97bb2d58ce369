//! The runbooks: one page per alert, and what they tell to do can be done.

use std::collections::BTreeSet;
use std::process::Command;

use crate::dashboards::{self, string};
use crate::{rules, tools};

const SECTIONS: &[&str] =
    &["## What it means", "## What users see", "## How to look", "## What to do", "## When it is safe to ignore"];

fn pages() -> Vec<(String, String)> {
    let names = tools::names("docs/runbooks", ".md").into_iter().filter(|name| name != "README");
    names
        .map(|name| (tools::text(&format!("docs/runbooks/{name}.md")), name))
        .map(|(text, name)| (name, text))
        .collect()
}

/// Each alert has a page, each page an alert, and the list of pages all of them.
///
/// Turns red when an alert is added or renamed without its page.
#[test]
fn every_alert_has_a_page_and_every_page_an_alert() {
    let alerts: BTreeSet<String> = rules::alerts().into_iter().map(|alert| alert.name).collect();
    let pages: BTreeSet<String> = pages().into_iter().map(|(name, _)| name).collect();
    assert_eq!(alerts, pages);
    let index = tools::text("docs/runbooks/README.md");
    for page in pages {
        assert!(index.contains(&format!("({page}.md)")), "docs/runbooks/README.md does not list {page}");
    }
}

/// Every page answers the same five questions.
///
/// Turns red when a section is left out.
#[test]
fn every_page_answers_every_question() {
    for (name, text) in pages() {
        assert!(text.starts_with(&format!("# {name}\n")), "{name}: its title is another");
        let sections: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(sections, SECTIONS, "{name}");
    }
}

/// The commands are ours, with options that exist.
///
/// Turns red when a verb or an option of `bosingak` is renamed and a page is not.
#[test]
fn commands_on_the_pages_exist() {
    let program = harness::binary::find("bosingak").unwrap();
    let mut seen = 0;
    for (name, text) in pages() {
        for command in text.split('`').filter(|code| code.starts_with("bosingak ")) {
            let words: Vec<&str> = command.split_whitespace().skip(1).collect();
            // Verbs are lower case; what is to be filled in is upper case.
            let is_verb = |word: &&&str| word.starts_with(|c: char| c.is_ascii_lowercase());
            let verbs = words.iter().take_while(is_verb);
            let help = tools::run(Command::new(&program).args(verbs).arg("--help"));
            let shown = String::from_utf8_lossy(&help.stdout).into_owned();
            assert!(help.status.success(), "{name}: `{command}`: {}", String::from_utf8_lossy(&help.stderr));
            let usage = shown.lines().find(|line| line.starts_with("Usage:")).unwrap_or("");
            assert!(!usage.ends_with("<COMMAND>"), "{name}: `{command}` is no whole command");
            for option in words.iter().filter(|word| word.starts_with("--")) {
                assert!(shown.contains(*option), "{name}: `{command}`: no {option}");
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} commands found");
}

/// The panels are on the dashboards. They are written `Overview → *Title*`.
///
/// Turns red when a panel is renamed and a page is not.
#[test]
fn panels_on_the_pages_exist() {
    let mut panels = BTreeSet::new();
    for dashboard in dashboards::all() {
        let place = string(&dashboard.json["title"]).trim_start_matches("Bosingak / ").to_owned();
        panels.extend(dashboard.panels().map(|panel| format!("{place} → *{}", string(&panel["title"]))));
    }
    let mut seen = 0;
    for (name, text) in pages() {
        // A title may be broken over two lines.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for (at, _) in text.match_indices(" → *") {
            let title = text[at..].split('*').nth(1).unwrap_or("");
            let known = panels.iter().any(|panel| {
                text[..at].ends_with(panel.split(" → ").next().unwrap_or("?")) && panel.ends_with(&format!("*{title}"))
            });
            assert!(known, "{name}: no panel {title}");
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} panels found");
}
