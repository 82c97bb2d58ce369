//! The committed dashboards: read, and held against their generator.

use std::process::Command;

use serde_json::Value;

use crate::tools;

/// A committed dashboard.
pub struct Dashboard {
    /// Name of its file, without ending.
    pub name: String,
    /// What is in it.
    pub json: Value,
}

/// All of them.
pub fn all() -> Vec<Dashboard> {
    let names = tools::names("grafana/dashboards", ".json");
    assert_eq!(names.len(), 3, "{names:?}");
    let read = |name: String| {
        let text = tools::text(&format!("grafana/dashboards/{name}.json"));
        let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        Dashboard { name, json }
    };
    names.into_iter().map(read).collect()
}

impl Dashboard {
    /// A list in it, which must be there.
    pub fn list(&self, pointer: &str) -> &[Value] {
        self.json.pointer(pointer).and_then(Value::as_array).unwrap_or_else(|| panic!("{}: no {pointer}", self.name))
    }

    /// Its panels without headings.
    pub fn panels(&self) -> impl Iterator<Item = &Value> {
        self.list("/panels").iter().filter(|panel| panel["type"] != "row")
    }

    /// Its expressions, each with the title of its panel.
    pub fn expressions(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for panel in self.panels() {
            let title = format!("{}: {}", self.name, string(&panel["title"]));
            for target in panel["targets"].as_array().expect("a panel has targets") {
                found.push((title.clone(), string(&target["expr"]).to_owned()));
            }
        }
        found
    }

    /// The queries of its variables, as (variable, label, selector).
    pub fn variables(&self) -> Vec<(String, String, String)> {
        let queries = self.list("/templating/list").iter().filter(|variable| variable["type"] == "query");
        queries
            .map(|variable| {
                let text = string(&variable["query"]["query"]);
                let inner = text.strip_prefix("label_values(").and_then(|text| text.strip_suffix(')'));
                let (selector, label) = inner.and_then(|text| text.rsplit_once(", ")).expect("label_values(x, y)");
                (string(&variable["name"]).to_owned(), label.to_owned(), selector.to_owned())
            })
            .collect()
    }
}

/// As Grafana fills in variables: one cluster, all nodes.
pub fn substitute(expression: &str) -> String {
    let filled = expression
        .replace("$__rate_interval", "1m")
        .replace("$__range", "5m")
        .replace("$cluster", "bosingak")
        .replace("$node", ".*");
    // What is left may only be a group of a regular expression.
    for (at, _) in filled.match_indices('$') {
        let next = filled[at + 1..].chars().next();
        assert!(next.is_some_and(|next| next.is_ascii_digit()), "unknown variable in {expression}");
    }
    filled
}

/// The text of a value that must be one.
pub fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

/// The committed files are what the generator makes.
///
/// Turns red when a panel is changed in the JSON or in the generator only.
#[test]
fn committed_dashboards_are_what_the_generator_makes() {
    let made = tempfile::tempdir().unwrap();
    tools::succeed(Command::new("python3").arg(tools::file("grafana/generate")).arg(made.path()));
    let mut files = 0;
    for entry in std::fs::read_dir(made.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap().to_owned();
        let committed = tools::text(&format!("grafana/dashboards/{name}"));
        let made = std::fs::read_to_string(&path).unwrap();
        assert!(made == committed, "{name} is not what `python3 grafana/generate` makes: run it and commit");
        files += 1;
    }
    assert_eq!(files, all().len(), "a committed dashboard is not generated");
}
