//! What Grafana would complain about, or show wrongly, without Grafana.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::dashboards::{self, Dashboard, string};
use crate::selectors;

/// Those of Grafana's units that we use, by its ids; a wrong one is shown as a suffix of the number.
const UNITS: &[&str] = &["s", "short", "percentunit", "bytes", "Bps", "ops", "reqps"];

/// Every panel has a number of its own, a place of its own in 24 columns, a unit, and says what is normal.
///
/// Turns red when `_place` in grafana/generate/panels.py stops advancing `x`.
#[test]
fn panels_have_numbers_places_units_and_explanations() {
    for dashboard in dashboards::all() {
        let mut ids = BTreeSet::new();
        let mut taken = BTreeSet::new();
        for panel in dashboard.list("/panels") {
            let title = format!("{}: {}", dashboard.name, string(&panel["title"]));
            assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{title}: its id is taken");
            let place = |key: &str| panel["gridPos"][key].as_u64().unwrap_or_else(|| panic!("{title}: no {key}"));
            assert!(place("x") + place("w") <= 24, "{title}: beyond 24 columns");
            for x in place("x")..place("x") + place("w") {
                for y in place("y")..place("y") + place("h") {
                    assert!(taken.insert((x, y)), "{title}: overlaps another panel");
                }
            }
        }
        for panel in dashboard.panels() {
            let title = format!("{}: {}", dashboard.name, string(&panel["title"]));
            let unit = string(&panel["fieldConfig"]["defaults"]["unit"]);
            assert!(UNITS.contains(&unit), "{title}: unit {unit} is not on the list of Grafana's");
            let about = string(&panel["description"]);
            assert!(about.contains("ormal") && about.len() > 60, "{title}: does not say what is normal: {about}");
            assert!(!panel["targets"].as_array().expect("targets").is_empty(), "{title}: shows nothing");
        }
    }
}

/// Whatever asks a data source asks the one chosen, for the cluster chosen.
///
/// Turns red when a panel names a data source, or a selector of an expression leaves out `$cluster`.
#[test]
fn everything_asks_the_chosen_data_source_and_cluster() {
    let chosen = json!({"type": "prometheus", "uid": "${datasource}"});
    for dashboard in dashboards::all() {
        let mut sources = Vec::new();
        collect(&dashboard.json, "datasource", &mut sources);
        assert!(sources.len() > 20, "{}", dashboard.name);
        for source in sources {
            assert_eq!(*source, chosen, "{}", dashboard.name);
        }
        for (title, expression) in dashboard.expressions() {
            let selectors = selectors::of(&expression);
            assert!(!selectors.is_empty(), "{title}: {expression}");
            for selector in selectors {
                // An alert about the lack of any target has no cluster.
                let chosen = [r#"cluster="$cluster""#, r#"cluster=~"$cluster|""#];
                assert!(chosen.iter().any(|chosen| selector.contains(chosen)), "{title}: {selector} of any cluster");
            }
        }
        let names: Vec<&str> =
            dashboard.list("/templating/list").iter().map(|variable| string(&variable["name"])).collect();
        assert_eq!(names, ["datasource", "cluster", "node"], "{}", dashboard.name);
    }
}

/// Rates look over `$__rate_interval`, numbers over `$__range`, and quantiles are taken of summed buckets.
///
/// Turns red when a window is written out, as in `[5m]`, or quantiles are averaged.
#[test]
fn windows_follow_the_time_shown_and_quantiles_come_last() {
    for dashboard in dashboards::all() {
        for (title, expression) in dashboard.expressions() {
            let windows = expression.split('[').skip(1).filter_map(|rest| rest.split(']').next());
            // Brackets of regular expressions hold none of these.
            for window in windows.filter(|window| window.ends_with(['s', 'm', 'h', 'd']) || window.starts_with('$')) {
                assert!(matches!(window, "$__rate_interval" | "$__range"), "{title}: [{window}]");
            }
            let quantiles = expression.matches("histogram_quantile(").count();
            let summed = expression.matches("sum by (").filter(|_| expression.contains("le) (rate(")).count();
            assert!(quantiles <= summed, "{title}: a quantile of buckets that are not summed: {expression}");
            assert!(quantiles == 0 || expression.starts_with("histogram_quantile("), "{title}: {expression}");
            assert!(!expression.contains("quantile=\""), "{title}: a quantile a node computed: {expression}");
        }
    }
}

/// The dashboards lead to each other, keeping time and variables.
///
/// Turns red when a uid changes in one place only.
#[test]
fn dashboards_link_to_each_other() {
    let dashboards = dashboards::all();
    let uid = |dashboard: &Dashboard| string(&dashboard.json["uid"]).to_owned();
    let uids: BTreeSet<String> = dashboards.iter().map(uid).collect();
    let expected = ["bosingak-overview", "bosingak-raft-storage", "bosingak-wheel-executors"];
    assert!(uids.iter().map(String::as_str).eq(expected), "bookmarks hold uids: {uids:?}");
    for dashboard in &dashboards {
        let mut reached = BTreeSet::from([uid(dashboard)]);
        for link in dashboard.list("/links") {
            assert!(link["keepTime"] == true && link["includeVars"] == true, "{}: {link}", dashboard.name);
            reached.insert(string(&link["url"]).trim_start_matches("/d/").to_owned());
        }
        assert_eq!(reached, uids, "{}", dashboard.name);
    }
}

/// Everything under this key, at any depth.
fn collect<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                if name == key {
                    found.push(inner);
                } else {
                    collect(inner, key, found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, key, found)),
        _ => {}
    }
}
