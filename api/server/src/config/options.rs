//! Every option there is: what it means, in which unit, its default and its bounds.

use super::units;

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// `section.key`, as in the file; `BOSINGAK__SECTION__KEY` in the environment.
    pub key: &'static str,
    /// What it is for.
    pub meaning: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// Taken when nothing sets it. Empty: there is none, see the meaning.
    pub default: &'static str,
}

/// What values an option takes. Bounds are inclusive.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A whole number.
    Integer(u64, u64),
    /// A length of time, bounds in milliseconds.
    Duration(u64, u64),
    /// A number of bytes.
    Size(u64, u64),
    /// `ip:port`; port 0 takes a free one.
    Address,
    /// Any text.
    Text,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Texts; in the environment and in flags separated by commas.
    List,
}

impl Kind {
    /// What is expected, for an error message.
    pub fn expectation(self) -> String {
        match self {
            Kind::Integer(min, max) => format!("a whole number from {min} to {max}"),
            Kind::Duration(min, max) => {
                let text = |ms| units::format_duration(std::time::Duration::from_millis(ms));
                format!("{}, from {} to {}", units::DURATION_SHAPE, text(min), text(max))
            }
            Kind::Size(min, max) => {
                format!("{}, from {} to {}", units::SIZE_SHAPE, units::format_size(min), units::format_size(max))
            }
            Kind::Address => "an address and a port, such as \"127.0.0.1:7300\"".into(),
            Kind::Text => "a text".into(),
            Kind::OneOf(words) => format!("one of {}", words.join(", ")),
            Kind::List => "a list of texts".into(),
        }
    }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const SECOND: u64 = 1_000;
const DAY: u64 = 86_400_000;

/// The options, in the order in which they are shown.
pub const OPTIONS: &[Opt] = &[
    Opt {
        key: "node.id",
        meaning: "number of this node in its cluster; never reused for another data directory",
        kind: Kind::Integer(1, i32::MAX as u64),
        default: "1",
    },
    Opt { key: "node.data", meaning: "directory of the log and the state", kind: Kind::Text, default: "./data" },
    Opt {
        key: "cluster.name",
        meaning: "name of the cluster; nodes and data directories of another name are refused",
        kind: Kind::Text,
        default: "bosingak",
    },
    Opt {
        key: "cluster.partitions",
        meaning: "number of partitions; fixed when the cluster is created",
        kind: Kind::Integer(1, 1_024),
        default: "4",
    },
    Opt {
        key: "cluster.members",
        meaning: "the first members, as \"ID=CLIENT_HOST:PORT/PEER_HOST:PORT\", the same list on each of them; \
                  empty: this node alone. Read only while the data directory is empty",
        kind: Kind::List,
        default: "",
    },
    Opt {
        key: "cluster.join",
        meaning: "\"true\": start empty and wait to be added by `bosingak cluster add-node`",
        kind: Kind::OneOf(&["false", "true"]),
        default: "false",
    },
    Opt {
        key: "listen.client",
        meaning: "where clients and executors call",
        kind: Kind::Address,
        default: "127.0.0.1:7300",
    },
    Opt { key: "listen.peers", meaning: "where the other nodes call", kind: Kind::Address, default: "127.0.0.1:7301" },
    Opt {
        key: "listen.admin",
        meaning: "where /metrics, /healthz, /readyz and /canaryz are",
        kind: Kind::Address,
        default: "127.0.0.1:7302",
    },
    Opt {
        key: "listen.advertise_client",
        meaning: "HOST:PORT told to clients; empty: the address listened on",
        kind: Kind::Text,
        default: "",
    },
    Opt {
        key: "listen.advertise_peers",
        meaning: "HOST:PORT told to the other nodes; empty: the address listened on",
        kind: Kind::Text,
        default: "",
    },
    Opt {
        key: "listen.trusted_proxies",
        meaning: "addresses (\"10.0.0.7\") and networks (\"10.0.0.0/8\", \"fd00::/8\") of proxies in front of the nodes, whose \
                  X-Forwarded-For is believed; of everybody else the address of the connection counts",
        kind: Kind::List,
        default: "",
    },
    Opt {
        key: "raft.heartbeat",
        meaning: "how often a leader speaks to its followers",
        kind: Kind::Duration(10, 5 * SECOND),
        default: "100ms",
    },
    Opt {
        key: "raft.election_min",
        meaning: "shortest silence after which a follower stands for election; at least half of election_max and 2.5 heartbeats",
        kind: Kind::Duration(50, 30 * SECOND),
        default: "700ms",
    },
    Opt {
        key: "raft.election_max",
        meaning: "longest such silence; above election_min",
        kind: Kind::Duration(60, 60 * SECOND),
        default: "900ms",
    },
    Opt {
        key: "raft.sync_delay",
        meaning: "added to every sync of the log, to measure as if on a slower disk",
        kind: Kind::Duration(0, SECOND),
        default: "0ms",
    },
    Opt {
        key: "storage.cache",
        meaning: "block cache shared by all partitions",
        kind: Kind::Size(MIB, 1024 * GIB),
        default: "128MiB",
    },
    Opt {
        key: "storage.write_buffer",
        meaning: "memory for rows not yet in files, shared by all partitions",
        kind: Kind::Size(MIB, 64 * GIB),
        default: "128MiB",
    },
    Opt {
        key: "storage.checkpoint_log",
        meaning: "a partition writes a checkpoint after this much log, which is what a start has to apply again",
        kind: Kind::Size(KIB, 64 * GIB),
        default: "64MiB",
    },
    Opt {
        key: "storage.checkpoint_age",
        meaning: "a partition writes a checkpoint this long after the last one, if anything was applied",
        kind: Kind::Duration(SECOND, 86_400 * SECOND),
        default: "5m",
    },
    Opt {
        key: "storage.log_max",
        meaning: "log of a partition that is kept for a node that is away; one that missed more gets a snapshot",
        kind: Kind::Size(KIB, 1024 * GIB),
        default: "1GiB",
    },
    Opt {
        key: "storage.log_segment",
        meaning: "size of the files of the log, of which a node has at least two; at least eight times proposer.entry_bytes_max. \
                  Those that are there keep theirs",
        kind: Kind::Size(MIB, GIB),
        default: "64MiB",
    },
    Opt {
        key: "storage.free_space_min",
        meaning: "writes are refused with DISK_LOW while the disk has less room than this; reads go on",
        kind: Kind::Size(0, 1024 * GIB),
        default: "512MiB",
    },
    Opt {
        key: "proposer.entry_bytes_max",
        meaning: "size at which a log entry takes no further command; one command may be larger than this",
        kind: Kind::Size(KIB, 8 * MIB),
        default: "256KiB",
    },
    Opt {
        key: "proposer.outstanding_max",
        meaning: "entries of a partition under way at once",
        kind: Kind::Integer(1, 64),
        default: "3",
    },
    Opt {
        key: "proposer.queue_bytes_max",
        meaning: "commands of a partition waiting for an entry; more are refused with OVERLOADED",
        kind: Kind::Size(64 * KIB, 4 * GIB),
        default: "32MiB",
    },
    Opt {
        key: "limits.call_timeout",
        meaning: "longest a unary call may take; a shorter grpc-timeout of the caller counts",
        kind: Kind::Duration(100, 600 * SECOND),
        default: "10s",
    },
    Opt {
        key: "limits.message_bytes_max",
        meaning: "largest message taken from a client",
        kind: Kind::Size(128 * KIB, 256 * MIB),
        default: "72MiB",
    },
    Opt {
        key: "limits.connection_age_max",
        meaning: "after this a client is asked to reconnect, so that load spreads again; 0ms: never",
        kind: Kind::Duration(0, DAY),
        default: "0ms",
    },
    Opt {
        key: "limits.event_heartbeat",
        meaning: "how often a stream of events over HTTP says something when there is nothing to say, so that nobody on the way takes \
                  it for dead",
        kind: Kind::Duration(SECOND, 600 * SECOND),
        default: "15s",
    },
    Opt {
        key: "api.keys_file",
        meaning: "TOML file of the API keys that callers have to show, the same on all nodes; it is read again when it changes; empty: \
                  nobody is asked",
        kind: Kind::Text,
        default: "",
    },
    Opt {
        key: "gift.key_file",
        meaning: "file with the key that seals codes and links of gifts, 64 hexadecimal digits, the same on all nodes; empty: no gifts \
                  here",
        kind: Kind::Text,
        default: "",
    },
    Opt {
        key: "gift.link_base",
        meaning: "what links to gifts begin with, such as \"https://gift.example.com/g/\"; must lead to /g/ of the client ports",
        kind: Kind::Text,
        default: "http://127.0.0.1:7300/g/",
    },
    Opt {
        key: "gift.kakao_directory",
        meaning: "TOML file of Kakao ids and the addresses they stand for; empty: nobody has a Kakao id",
        kind: Kind::Text,
        default: "",
    },
    Opt {
        key: "gift.page_rate",
        meaning: "how often in a second one client may ask a node for pages of gifts, over ten seconds; a client is an IPv4 address, or \
                  64 bits of an IPv6 address. 0: as often as it likes",
        kind: Kind::Integer(0, 100_000),
        default: "20",
    },
    Opt {
        key: "clock.kind",
        meaning: "\"virtual\" stands still until AdvanceClock moves it; for tests and trials only",
        kind: Kind::OneOf(&["real", "virtual"]),
        default: "real",
    },
    Opt {
        key: "clock.behind",
        meaning: "how far this node's clock runs behind the machine's, until AdvanceClock of this node moves it on; the same on all \
                  nodes; for tests and load runs only",
        kind: Kind::Duration(0, 366 * DAY),
        default: "0ms",
    },
    Opt {
        key: "canary.interval",
        meaning: "how often each partition sends a trigger of its own the whole way; 0ms: never, else at least 1s. The same on \
                  all nodes",
        kind: Kind::Duration(0, 600 * SECOND),
        default: "10s",
    },
    Opt {
        key: "late.bound",
        meaning: "a trigger handed out, or completed, later than this after its due time counts as late, with the cause",
        kind: Kind::Duration(10, 3_600 * SECOND),
        default: "1s",
    },
    Opt {
        key: "shutdown.grace",
        meaning: "how long a stopping node hands over leadership and finishes calls",
        kind: Kind::Duration(0, 600 * SECOND),
        default: "10s",
    },
    Opt {
        key: "log.format",
        meaning: "\"text\" for people, \"json\" for collectors: one object per line",
        kind: Kind::OneOf(&["text", "json"]),
        default: "text",
    },
    Opt {
        key: "log.filter",
        meaning: "what is logged, in the syntax of tracing's EnvFilter",
        kind: Kind::Text,
        default: "info,openraft=error",
    },
];

/// The option of this key.
pub fn find(key: &str) -> Option<&'static Opt> {
    OPTIONS.iter().find(|option| option.key == key)
}

/// All options with their meaning, as a file that sets every one to its default.
pub fn reference() -> String {
    let mut text = String::from("# Every option with its default. Order: flag > environment > file > default.\n");
    let mut section = "";
    for option in OPTIONS {
        let (of, key) = option.key.split_once('.').unwrap_or(("", option.key));
        if of != section {
            text.push_str(&format!("\n[{of}]\n"));
            section = of;
        }
        let value = match option.kind {
            Kind::Integer(..) => option.default.to_string(),
            Kind::List => "[]".to_string(),
            _ => format!("{:?}", option.default),
        };
        let bounds = match option.kind {
            Kind::Text | Kind::List => String::new(),
            kind => format!(" ({})", kind.expectation()),
        };
        text.push_str(&format!("# {}{bounds}\n{key} = {value}\n", option.meaning));
    }
    text
}
