//! A cluster in one process over loopback, and a state machine that is easy to compare.
#![allow(dead_code, reason = "every test file uses its own part")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use raft::{
    Batch, Checkpoints, Committed, Config, Group, Halt, Health, Leadership, Member, Node, ProposeError, Snapshot,
    StateMachine, Store, Timing,
};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// No condition in these tests takes longer, however busy the machine is.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Counts: `add NAME NUMBER`. Keeps a digest of all entries, so that replicas that differ anywhere differ there.
#[derive(Default)]
pub struct Counters {
    digest: u64,
}

const DIGEST: &[u8] = b"digest";

impl StateMachine for Counters {
    /// The digest after the entry.
    type Reply = u64;

    fn apply(&mut self, _store: &Store, entries: &[Committed], batch: &mut Batch) -> Result<Vec<u64>, Halt> {
        let mut replies = Vec::new();
        for entry in entries {
            let halt = |reason: &str| Halt { index: entry.index, reason: reason.to_owned() };
            let text = std::str::from_utf8(&entry.payload).map_err(|_| halt("not text"))?;
            let words: Vec<&str> = text.split(' ').collect();
            match words.as_slice() {
                ["add", name, number] => {
                    let delta = number.parse().map_err(|_| halt("not a number"))?;
                    batch.add(format!("counter/{name}").as_bytes(), delta);
                }
                ["big", ..] => batch.put(format!("big/{}", entry.index).as_bytes(), &entry.payload),
                ["panic"] => panic!("as asked"),
                other => return Err(halt(&format!("unknown command {:?}", other[0]))),
            }
            self.digest = self
                .digest
                .wrapping_mul(0x0100_0000_01b3)
                .wrapping_add(entry.index)
                .wrapping_add(entry.payload.iter().map(|&b| u64::from(b)).sum());
            replies.push(self.digest);
        }
        batch.put(DIGEST, &self.digest.to_be_bytes());
        Ok(replies)
    }

    fn applied(&mut self, store: &Store) {
        assert_eq!(digest(store), self.digest, "what was applied is readable");
    }

    fn restored(&mut self, store: &Store) -> Result<(), Halt> {
        self.digest = digest(store);
        Ok(())
    }

    fn flushed(&mut self, durable: &Snapshot) {
        durable.get(DIGEST).expect("a durable view can be read");
    }
}

pub fn digest(store: &Store) -> u64 {
    let row = store.get(DIGEST).expect("readable");
    row.map_or(0, |row| u64::from_be_bytes(row.as_ref().try_into().expect("eight bytes")))
}

pub fn counter(store: &Store, name: &str) -> i64 {
    let row = store.get(format!("counter/{name}").as_bytes()).expect("readable");
    row.map_or(0, |row| i64::from_le_bytes(row.as_ref().try_into().expect("eight bytes")))
}

/// Waits until `check` says something; panics with `what` when it does not in time.
pub async fn until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(begun.elapsed() < LIMIT, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub struct Cluster {
    dir: TempDir,
    pub members: Vec<Member>,
    pub nodes: Vec<Option<Node<Counters>>>,
    pub partitions: u32,
    pub balance: bool,
    pub checkpoints: Checkpoints,
}

async fn free_port() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    (listener, port)
}

/// Checkpoints and purges as soon as there is anything.
pub fn eager() -> Checkpoints {
    Checkpoints {
        log_bytes: 1,
        age: Duration::ZERO,
        log_bytes_max: 1 << 30,
        follower_patience: Duration::ZERO,
        interval: Duration::from_millis(20),
    }
}

impl Cluster {
    pub async fn new(nodes: usize, partitions: u32) -> Cluster {
        Cluster::with(nodes, partitions, false, Checkpoints::default()).await
    }

    /// Opens and founds a cluster of so many nodes.
    pub async fn with(nodes: usize, partitions: u32, balance: bool, checkpoints: Checkpoints) -> Cluster {
        let mut cluster = Cluster {
            dir: tempfile::tempdir().expect("a directory"),
            members: Vec::new(),
            nodes: Vec::new(),
            partitions,
            balance,
            checkpoints,
        };
        for _ in 0..nodes {
            cluster.open_next().await;
        }
        let members = cluster.members.clone();
        let founding = cluster.live().into_iter().map(|node| {
            let members = members.clone();
            async move { node.init(&members).await.expect("founded") }
        });
        futures::future::join_all(founding).await;
        cluster
    }

    /// Opens one more node, a member of nothing yet.
    pub async fn open_next(&mut self) -> Member {
        let (listener, port) = free_port().await;
        let node = self.members.len() as u64 + 1;
        let member =
            Member { node, endpoint: format!("client-{node}:7300"), peer_endpoint: format!("127.0.0.1:{port}") };
        self.members.push(member.clone());
        let config = self.config(self.members.len() - 1);
        let node = Node::open(config, listener, |_| Counters::default()).await.expect("opens");
        self.nodes.push(Some(node));
        member
    }

    pub fn dir(&self, at: usize) -> PathBuf {
        self.dir.path().join((at + 1).to_string())
    }

    pub fn config(&self, at: usize) -> Config {
        let mut config = Config::new("test", self.members[at].clone(), self.dir(at));
        config.partitions = self.partitions;
        config.balance = self.balance;
        config.checkpoints = self.checkpoints.clone();
        config.timing = Timing {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(800),
            election_max: Duration::from_millis(1000),
        };
        config.log.segment_bytes = 1 << 20;
        config.store.memory_bytes = 16 << 20;
        config.store.write_buffer_bytes = 4 << 20;
        config
    }

    pub fn node(&self, at: usize) -> &Node<Counters> {
        self.nodes[at].as_ref().expect("it is up")
    }

    pub fn group(&self, at: usize, partition: u32) -> Group<Counters> {
        self.node(at).group(partition).expect("there is one").clone()
    }

    pub fn live(&self) -> Vec<&Node<Counters>> {
        self.nodes.iter().flatten().collect()
    }

    /// Stops a node; its directory stays.
    pub async fn stop(&mut self, at: usize) {
        let node = self.nodes[at].take().expect("it is up");
        node.shutdown().await;
    }

    /// Opens a node that was stopped.
    pub async fn start(&mut self, at: usize) {
        let address = self.members[at].peer_endpoint.clone();
        let listener = TcpListener::bind(&address).await.expect("its port is free again");
        let node = Node::open(self.config(at), listener, |_| Counters::default()).await;
        self.nodes[at] = Some(node.expect("opens again"));
    }

    /// Waits for a leader that the layer above could use; returns where it is and its term.
    pub async fn leader(&self, partition: u32) -> (usize, u64) {
        let begun = Instant::now();
        loop {
            let (at, term) = until("a leader", || {
                self.nodes.iter().enumerate().find_map(|(at, node)| {
                    let leadership = node.as_ref()?.group(partition)?.leadership().borrow().clone();
                    leadership.we_lead.then_some((at, leadership.term))
                })
            })
            .await;
            if self.group(at, partition).read_barrier().await.is_ok() {
                return (at, term);
            }
            assert!(begun.elapsed() < LIMIT, "no leader that a majority confirms");
        }
    }

    /// Proposes until it is certain that the entry was applied; returns its index.
    pub async fn propose(&self, partition: u32, entry: &str) -> u64 {
        let begun = Instant::now();
        loop {
            let (at, term) = self.leader(partition).await;
            let group = self.group(at, partition);
            match group.propose(term, Bytes::from(entry.to_owned())).await {
                Ok(proposed) => return proposed.index,
                Err(ProposeError::OutcomeUnknown) => panic!("the outcome of {entry:?} is unknown"),
                Err(e) => assert!(begun.elapsed() < LIMIT, "{e}"),
            }
        }
    }

    /// Waits until every live replica has applied everything, and checks that they are the same.
    pub async fn settle(&self, partition: u32) -> u64 {
        let (at, _) = self.leader(partition).await;
        let index = self.group(at, partition).read_barrier().await.expect("led");
        let mut digests = BTreeSet::new();
        for node in self.live() {
            let group = node.group(partition).expect("there is one");
            if group.status().health != Health::Running {
                continue;
            }
            let mut applied = group.applied();
            let reached = applied.wait_for(|applied| *applied >= index);
            let reached = tokio::time::timeout(LIMIT, reached).await;
            reached
                .unwrap_or_else(|_| panic!("node {} applied {}", node.id(), *group.applied().borrow()))
                .expect("open");
            digests.insert(digest(&group.store().expect("open")));
        }
        assert_eq!(digests.len(), 1, "replicas differ at index {index}: {digests:?}");
        index
    }

    pub async fn down(mut self) {
        for node in self.nodes.drain(..).flatten() {
            node.shutdown().await;
        }
    }
}

/// Waits until a group tells `what` of its leadership.
pub async fn leadership(group: &Group<Counters>, what: impl Fn(&Leadership) -> bool) -> Leadership {
    let mut leadership = group.leadership();
    let found = tokio::time::timeout(LIMIT, leadership.wait_for(|l| what(l))).await;
    found.expect("in time").expect("open").clone()
}

/// A call handler that answers with who asked and what.
pub struct Echo;

impl raft::CallHandler for Echo {
    fn call(&self, from: u64, request: Bytes) -> Result<Bytes, String> {
        match request.as_ref() {
            b"refuse" => Err("no".into()),
            request => Ok(Bytes::from(format!("{from}:{}", String::from_utf8_lossy(request)))),
        }
    }
}

pub fn echo() -> Arc<dyn raft::CallHandler> {
    Arc::new(Echo)
}
