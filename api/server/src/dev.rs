//! A cluster for trying things out: real nodes on loopback, in one process, that end together.

use std::path::PathBuf;

use crate::clock::Clock;
use crate::config::{Config, MemberAddress, Origin, Values};
use crate::node::{Listeners, Node, Server};
use crate::vault::Vault;

/// What `bosingakd dev` was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes: 1 to 9.
    pub nodes: u32,
    /// Whether time stands still until it is moved. One clock for all nodes.
    pub virtual_clock: bool,
    /// Where the nodes keep their data, each in a directory of its own.
    pub data: PathBuf,
    /// The client port of the first node; the others take the next ones in steps of ten. 0: free ports.
    pub port: u16,
}

/// Running nodes.
pub struct Cluster {
    servers: Vec<Server>,
}

impl Cluster {
    /// Starts the nodes and founds the cluster, unless the directory holds one.
    ///
    /// `values` are options for all nodes; addresses, ids, members and data directories are set here.
    ///
    /// # Errors
    ///
    /// A port is taken, or the data directory belongs to something else.
    pub async fn start(options: &Options, values: &Values) -> anyhow::Result<Cluster> {
        let mut configs = Vec::new();
        let mut listeners = Vec::new();
        let mut members = Vec::new();
        let default_link_base = Values::defaults().text("gift.link_base")?;
        let mut link_base = None;
        for node in 1..=options.nodes {
            let mut values = values.clone();
            let port = |offset: u16| match options.port {
                0 => 0,
                port => port + (node as u16 - 1) * 10 + offset,
            };
            values.set("node.id", node.to_string(), Origin::Flag);
            values.set("node.data", options.data.join(format!("node-{node}")).display().to_string(), Origin::Flag);
            for (key, offset) in [("listen.client", 0), ("listen.peers", 1), ("listen.admin", 2)] {
                values.set(key, format!("127.0.0.1:{}", port(offset)), Origin::Flag);
            }
            if values.text("gift.key_file")?.is_empty() {
                // One key for all, made by the first node that starts.
                std::fs::create_dir_all(&options.data)?;
                let key = options.data.join("gift.key");
                Vault::open(&key, true)?;
                values.set("gift.key_file", key.display().to_string(), Origin::Flag);
            }
            let mut config = Config::check(&values)?;
            let bound = Listeners::bind(&config).await?;
            let addresses = bound.addresses()?;
            // Where links lead unless somebody said otherwise: to the first node, whatever its port.
            if config.gift_link_base == default_link_base {
                config.gift_link_base =
                    link_base.get_or_insert_with(|| format!("http://{}/g/", addresses.client)).clone();
            }
            members.push(MemberAddress {
                node: config.node,
                endpoint: addresses.client.to_string(),
                peer_endpoint: addresses.peers.to_string(),
            });
            configs.push(config);
            listeners.push(bound);
        }
        let clock = match configs.first() {
            Some(config) if !options.virtual_clock => Clock::of(config),
            _ => Clock::standing_now(),
        };
        let starting = configs.into_iter().zip(listeners).map(|(mut config, listeners)| {
            config.members = members.clone();
            // One clock for all, so that advancing it anywhere advances it everywhere.
            Server::start(config, listeners, clock.clone())
        });
        let servers = futures::future::try_join_all(starting).await?;
        let nodes: Vec<Node> = servers.iter().map(|server| server.node().clone()).collect();
        Node::introduce(&nodes);
        Ok(Cluster { servers })
    }

    /// The nodes, by number.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// Waits until every node is ready.
    pub async fn ready(&self) {
        for server in &self.servers {
            server.node().ready().await;
        }
    }

    /// Waits until a node cannot go on; says which and why.
    pub async fn fatal(&self) -> String {
        let fatal = self.servers.iter().map(|server| {
            Box::pin(async move { format!("node {}: {}", server.node().raft().id(), server.fatal().await) })
        });
        futures::future::select_all(fatal).await.0
    }

    /// Stops all nodes. Leadership is not handed over, since nobody stays to take it.
    pub async fn shutdown(self) {
        futures::future::join_all(self.servers.into_iter().map(Server::stop)).await;
    }
}
