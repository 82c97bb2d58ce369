//! The rules, by Prometheus's own tool, and what it does not check.

use std::process::Command;

use crate::tools;

/// A rule of grafana/rules/alerts.yml.
pub struct Alert {
    /// Its name.
    pub name: String,
    /// Its lines.
    text: String,
}

impl Alert {
    /// What is written behind `key:`, on that line.
    fn value(&self, key: &str) -> &str {
        let key = format!(" {key}: ");
        let line = self.text.lines().find(|line| line.contains(&key));
        let line = line.unwrap_or_else(|| panic!("{} has no {key}", self.name));
        line.split_once(&key).map_or("", |(_, value)| value)
    }
}

/// All alerts, in order; a name may come twice, with another severity.
pub fn alerts() -> Vec<Alert> {
    let text = tools::text("grafana/rules/alerts.yml");
    let parts = text.split("- alert: ").skip(1);
    parts.map(|part| Alert { name: part.lines().next().unwrap_or("").to_owned(), text: part.to_owned() }).collect()
}

fn promtool(arguments: &[&str], files: &[String]) {
    let Some(tool) = tools::find("promtool") else { return };
    let files = files.iter().map(|file| tools::file(file));
    let said = tools::succeed(Command::new(tool).args(arguments).args(files));
    assert!(said.contains("SUCCESS"), "{said}");
}

fn all_in(directory: &str) -> Vec<String> {
    tools::names(directory, ".yml").into_iter().map(|name| format!("{directory}/{name}.yml")).collect()
}

/// Prometheus takes the configuration and the rules it names.
///
/// Turns red when a rule does not parse, or `rule_files` names nothing.
#[test]
fn promtool_accepts_configuration_and_rules() {
    promtool(&["check", "config"], &["grafana/prometheus.yml".into()]);
    promtool(&["check", "rules"], &all_in("grafana/rules"));
    assert!(tools::text("grafana/prometheus.yml").contains("rules/*.yml"));
}

/// Alerts fire when they should, say what they should, and are silent when they should be.
///
/// Turns red when a threshold, a `for`, or a word of an annotation changes.
#[test]
fn unit_tests_of_alerts_pass() {
    promtool(&["test", "rules"], &all_in("grafana/rules/tests"));
}

/// Every alert has a unit test in which it fires and one in which it does not.
///
/// Turns red when an alert is added without either.
#[test]
fn every_alert_has_a_test_that_fires_and_one_that_does_not() {
    let tests: String = all_in("grafana/rules/tests").iter().map(|file| tools::text(file)).collect();
    let cases: Vec<&str> = tests.split("alertname: ").skip(1).collect();
    for alert in alerts() {
        let severity = alert.value("severity");
        let own = || cases.iter().filter(|case| case.lines().next() == Some(&alert.name));
        let silent = own().any(|case| case.lines().nth(1).is_some_and(|line| line.trim() == "exp_alerts: []"));
        let fires = own().any(|case| case.contains(&format!("severity: '{severity}'")));
        assert!(fires, "{} ({severity}) fires in no test", alert.name);
        assert!(silent, "{} is silent in no test", alert.name);
    }
}

/// Every alert says how urgent it is, what happens, and where to read on.
///
/// Turns red when an annotation is missing or a runbook_url names another page.
#[test]
fn every_alert_says_what_it_is() {
    let alerts = alerts();
    assert!(alerts.len() >= 20, "{}", alerts.len());
    for alert in alerts {
        assert!(alert.name.starts_with("Bosingak"), "{}", alert.name);
        assert!(matches!(alert.value("severity"), "critical" | "warning"), "{}", alert.name);
        assert!(!alert.value("summary").is_empty(), "{}", alert.name);
        assert!(!alert.value("description").is_empty(), "{}", alert.name);
        assert_eq!(alert.value("runbook_url"), format!("docs/runbooks/{}.md", alert.name));
    }
}

/// What the compose file mounts is there, and Grafana looks for dashboards where they are mounted.
///
/// Turns red when a directory is renamed in one place only.
#[test]
fn compose_mounts_what_is_there() {
    let compose = tools::text("grafana/compose.yml");
    let mounts: Vec<&str> = compose.lines().filter_map(|line| line.trim().strip_prefix("- ./")).collect();
    assert_eq!(mounts.len(), 4, "{mounts:?}");
    for mount in mounts {
        let here = mount.split(':').next().unwrap_or("");
        assert!(tools::file(&format!("grafana/{here}")).exists(), "{here} is mounted and not there");
    }
    let provider = tools::text("grafana/provisioning/dashboards/bosingak.yml");
    let path = provider.lines().find_map(|line| line.trim().strip_prefix("path: ")).expect("a path");
    assert!(compose.contains(&format!("./dashboards:{path}:ro")), "dashboards are not mounted at {path}");
}
