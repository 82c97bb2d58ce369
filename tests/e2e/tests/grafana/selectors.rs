//! Finds what an expression selects.

/// Every selector of an expression whose metric is ours, a recorded one, or one Prometheus makes, labels included.
pub fn of(expression: &str) -> Vec<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    let mut rest = expression;
    let mut quoted = false;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            quoted = !quoted;
        }
        let name = &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())];
        if quoted || name.is_empty() {
            rest = &rest[first.len_utf8()..];
            continue;
        }
        rest = &rest[name.len()..];
        let is_metric = matches!(name, "up" | "ALERTS")
            || name.starts_with("bosingak_")
            || name.starts_with("process_")
            || name.contains(':');
        if !is_metric {
            continue;
        }
        let end = if rest.starts_with('{') { rest.find('}').map_or(0, |end| end + 1) } else { 0 };
        found.push(format!("{name}{}", &rest[..end]));
        rest = &rest[end..];
    }
    found
}

/// Turns red when labels are cut off, or names inside of texts are taken for metrics.
#[test]
fn selectors_are_found() {
    let expression =
        r#"sum by (cluster) (rate(bosingak_x_total{a="b", c=~"up|d"}[5m])) > 2 * cluster:y:sum and up == 1"#;
    assert_eq!(of(expression), [r#"bosingak_x_total{a="b", c=~"up|d"}"#, "cluster:y:sum", "up"]);
}
