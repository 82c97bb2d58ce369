//! Figures that are read when Prometheus asks for them: of one node, and only while they mean something.
//!
//! What the recorder of [`crate::metrics`] was told once it tells for ever, for the whole process. A partition that moves to
//! another node would leave its last figures behind, and the nodes of `bosingakd dev` would overwrite each other's.

use std::fmt::Write;

use scheduler::read;
use scheduler::store::Read;
use scheduler::time::Timestamp;

use crate::backlog;
use crate::canary;
use crate::metrics as m;
use crate::node::Node;
use crate::partition::Partition;

/// The figures of a node, in the text format of Prometheus.
pub async fn page(node: &Node) -> String {
    let config = node.config();
    let mut page = Page::new(&[("cluster", config.cluster.clone()), ("node", config.node.to_string())]);
    let led: Vec<&Partition> = node.partitions().iter().filter(|partition| partition.leads()).collect();
    canaries(&mut page, &led);
    forecast(&mut page, &led, node.clock().wall());
    dead_letters(&mut page, &led);
    capacity(&mut page, &led).await;
    page.text
}

fn canaries(page: &mut Page, led: &[&Partition]) {
    page.gauge(m::CANARY_AGE, "Seconds since the newest canary that came through was due, or since this node started");
    for partition in led {
        if let Some(age) = partition.canary_age() {
            page.value(&[("partition", partition.number().to_string())], age.as_secs_f64());
        }
    }
    page.gauge(m::CANARY_AGE_MAX, "Age from which on a canary is overdue: three intervals and five seconds");
    for partition in led {
        if let Some(age_max) = partition.canary_age_max() {
            page.value(&[("partition", partition.number().to_string())], age_max.as_secs_f64());
        }
    }
}

fn forecast(page: &mut Page, led: &[&Partition], now: Timestamp) {
    let mut hours = [0; 24];
    for partition in led {
        let counts = partition.feed().due_by_hour(now);
        hours.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    page.gauge(m::FORECAST, "Triggers due in the hour that begins so many hours from now, of partitions led here");
    for (ahead, count) in hours.into_iter().enumerate() {
        page.value(&[("hours_ahead", ahead.to_string())], count as f64);
    }
}

fn dead_letters(page: &mut Page, led: &[&Partition]) {
    page.gauge(m::DEAD_LETTERS, "Triggers given up and kept for a human, of partitions led here");
    for partition in led {
        let topics = partition.feed().topics();
        let own = topics.iter().filter(|topic| !canary::is_own(topic));
        let count = |rows: &dyn Read| own.map(|topic| read::dead_letter_count(rows, topic.id)).sum::<Result<u64, _>>();
        // One that is being opened has nothing to say.
        if let Ok(count) = partition.read_local(count) {
            page.value(&[("partition", partition.number().to_string())], count as f64);
        }
    }
}

async fn capacity(page: &mut Page, led: &[&Partition]) {
    let credits = led.iter().map(|partition| async {
        let sessions = backlog::standing(partition).await?.status.sessions;
        let credits = sessions.iter().filter(|session| !canary::is_session(session));
        Some(credits.map(|session| u64::from(session.credit)).sum::<u64>())
    });
    let credits = futures::future::join_all(credits).await;
    page.gauge(m::CAPACITY, "Deliveries that the executors connected to this node still allow");
    page.value(&[], credits.into_iter().flatten().sum::<u64>() as f64);
}

/// A page being written.
struct Page {
    text: String,
    /// Of every line.
    labels: String,
    name: &'static str,
}

impl Page {
    fn new(labels: &[(&str, String)]) -> Page {
        Page { text: String::new(), labels: written(labels), name: "" }
    }

    /// Begins a gauge.
    fn gauge(&mut self, name: &'static str, help: &str) {
        self.name = name;
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} gauge");
    }

    /// A value of the gauge begun last.
    fn value(&mut self, labels: &[(&str, String)], value: f64) {
        let (name, of_all, own) = (self.name, &self.labels, written(labels));
        let comma = if own.is_empty() { "" } else { "," };
        let _ = writeln!(self.text, "{name}{{{of_all}{comma}{own}}} {value}");
    }
}

fn written(labels: &[(&str, String)]) -> String {
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let labels = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value)));
    labels.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns red when `written` leaves quotes as they are.
    #[test]
    fn a_page_is_what_prometheus_reads() {
        let mut page = Page::new(&[("cluster", "the \"old\\new\" one".into())]);
        page.gauge("bosingak_things", "How many");
        page.value(&[("partition", "3".into())], 1.5);
        page.value(&[], 0.0);
        let labels = r#"cluster="the \"old\\new\" one""#;
        let expected = format!(
            "# HELP bosingak_things How many\n# TYPE bosingak_things gauge\n\
             bosingak_things{{{labels},partition=\"3\"}} 1.5\nbosingak_things{{{labels}}} 0\n"
        );
        assert_eq!(page.text, expected);
    }
}
