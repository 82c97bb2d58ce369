//! A real Prometheus on loopback, with the committed configuration, looking at a real cluster.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use harness::cluster::Cluster;
use harness::ports::Ports;
use harness::process::{Process, Program};
use harness::wait;
use serde_json::Value;

use crate::tools;

/// It ends, and its data go, when this is dropped.
pub struct Prometheus {
    address: SocketAddr,
    http: reqwest::Client,
    // In this order: the process first, then what it uses.
    process: Process,
    _ports: Ports,
    _data: tempfile::TempDir,
}

impl Prometheus {
    /// Starts one that scrapes the nodes of `cluster` every second, and waits until it has reached all of them.
    ///
    /// `None` where Prometheus cannot be had, after saying so.
    pub async fn watch(cluster: &Cluster) -> Option<Prometheus> {
        let binary = tools::find("prometheus")?;
        let data = tempfile::Builder::new().prefix("bosingak-prometheus-").tempdir().unwrap();
        let config = data.path().join("prometheus.yml");
        std::fs::write(&config, configuration(cluster)).unwrap();
        let mut ports = Ports::reserve().unwrap();
        let address = ports.take().unwrap();
        let flag = |name: &str, value: &Path| format!("--{name}={}", value.display()).into();
        let process = Process::start(Program {
            name: "prometheus".into(),
            binary,
            arguments: vec![
                flag("config.file", &config),
                flag("storage.tsdb.path", &data.path().join("data")),
                format!("--web.listen-address={address}").into(),
            ],
            environment: Vec::new(),
            log: data.path().join("log"),
            piped: false,
        })
        .unwrap();
        // Without it a client panics, one that only speaks http:// too. Somebody else may have installed it before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut prometheus = Prometheus { address, http: reqwest::Client::new(), process, _ports: ports, _data: data };
        for node in cluster.nodes() {
            prometheus.until("scrape of every node", &format!("up{{node=\"{}\"}} == 1", node.id)).await;
        }
        Some(prometheus)
    }

    /// The series an expression returns now, of which at least one sample is a number.
    ///
    /// # Errors
    ///
    /// What Prometheus says is wrong with the expression.
    pub async fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let answer = self.ask("query", &[("query", expression)]).await?;
        let series = answer["result"].as_array().cloned().unwrap_or_default();
        // A quotient of nothing by nothing is a sample too, and shows nothing.
        let shows = series.iter().any(|one| one["value"][1].as_str().is_some_and(|value| value != "NaN"));
        Ok(if shows { series } else { Vec::new() })
    }

    /// The values of a label over the series that a selector selects.
    pub async fn label_values(&self, label: &str, selector: &str) -> Result<Vec<Value>, String> {
        let answer = self.ask(&format!("label/{label}/values"), &[("match[]", selector)]).await?;
        Ok(answer.as_array().cloned().unwrap_or_default())
    }

    /// The rules it has loaded, with what came of evaluating them.
    pub async fn rules(&self) -> Result<Value, String> {
        self.ask("rules", &[]).await
    }

    /// Waits until an expression returns a series.
    pub async fn until(&mut self, what: &str, expression: &str) -> Vec<Value> {
        let waited = wait::until(what, Duration::from_secs(60), || async {
            match self.query(expression).await {
                Ok(series) if !series.is_empty() => Ok(series),
                other => Err(format!("{expression}: {other:?}")),
            }
        })
        .await;
        waited.unwrap_or_else(|error| panic!("{error}\nprometheus says:\n{}", self.process.log_tail(20)))
    }

    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let url = format!("http://{}/api/v1/{path}", self.address);
        let url = reqwest::Url::parse_with_params(&url, parameters).map_err(|error| error.to_string())?;
        let answer = self.http.get(url).send().await.map_err(|error| error.to_string())?;
        let text = answer.text().await.map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].clone()),
            _ => Err(text),
        }
    }
}

/// The committed configuration with the addresses of this cluster, and a quicker beat.
fn configuration(cluster: &Cluster) -> String {
    let mut text = tools::text("grafana/prometheus.yml");
    let mut replace = |from: &str, to: &str| {
        assert!(text.contains(from), "grafana/prometheus.yml has no {from}");
        text = text.replace(from, to);
    };
    replace(": 5s", ": 1s");
    replace("rules/*.yml", &tools::file("grafana/rules/*.yml").display().to_string());
    for (node, port) in cluster.nodes().iter().zip([7302, 7312, 7322]) {
        replace(&format!("127.0.0.1:{port}"), &node.admin.to_string());
    }
    text
}
