//! Configuration of a node: read from flags, environment, a file and defaults, in that order, and checked once.

pub mod networks;
mod options;
mod source;
pub mod units;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

pub use networks::Networks;
pub use options::{Kind, OPTIONS, Opt, reference};
pub use source::{Origin, Values};

/// A wrong configuration: which key, where it was set, to what, and what was expected.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The file cannot be read.
    #[error("{file}: {reason}")]
    File {
        /// Which.
        file: String,
        /// Why.
        reason: String,
    },
    /// There is no such option.
    #[error("{origin}: there is no option {key}{hint}")]
    Unknown {
        /// Where it was set.
        origin: Origin,
        /// Its name.
        key: String,
        /// A near name, if there is one.
        hint: String,
    },
    /// The value is not one the option takes.
    #[error("{origin}: {key} = {value}: expected {expected}")]
    Value {
        /// Where it was set.
        origin: Origin,
        /// The option.
        key: String,
        /// As given.
        value: String,
        /// What the option takes.
        expected: String,
    },
}

impl Error {
    /// What a process exits with when it cannot start for this: EX_CONFIG of sysexits.h.
    pub const EXIT_CODE: u8 = 78;
}

/// A checked configuration. The meaning, unit, default and bounds of each field are those of the option of the same
/// name in [`OPTIONS`].
#[derive(Clone, Debug)]
pub struct Config {
    /// `node.id`.
    pub node: u64,
    /// `node.data`.
    pub data: PathBuf,
    /// `cluster.name`.
    pub cluster: String,
    /// `cluster.partitions`.
    pub partitions: u32,
    /// `cluster.members`.
    pub members: Vec<MemberAddress>,
    /// `cluster.join`.
    pub join: bool,
    /// `listen.client`.
    pub listen_client: SocketAddr,
    /// `listen.peers`.
    pub listen_peers: SocketAddr,
    /// `listen.admin`.
    pub listen_admin: SocketAddr,
    /// `listen.advertise_client`.
    pub advertise_client: Option<String>,
    /// `listen.advertise_peers`.
    pub advertise_peers: Option<String>,
    /// `listen.trusted_proxies`.
    pub trusted_proxies: Networks,
    /// `raft.heartbeat`.
    pub heartbeat: Duration,
    /// `raft.election_min`.
    pub election_min: Duration,
    /// `raft.election_max`.
    pub election_max: Duration,
    /// `raft.sync_delay`.
    pub sync_delay: Duration,
    /// `storage.cache`.
    pub cache_bytes: u64,
    /// `storage.write_buffer`.
    pub write_buffer_bytes: u64,
    /// `storage.checkpoint_log`.
    pub checkpoint_log_bytes: u64,
    /// `storage.checkpoint_age`.
    pub checkpoint_age: Duration,
    /// `storage.log_max`; not below `storage.checkpoint_log`.
    pub log_max_bytes: u64,
    /// `storage.log_segment`; at least eight times `proposer.entry_bytes_max`.
    pub log_segment_bytes: u64,
    /// `storage.free_space_min`.
    pub free_space_min_bytes: u64,
    /// `proposer.*`.
    pub proposer: ProposerConfig,
    /// `limits.call_timeout`.
    pub call_timeout: Duration,
    /// `limits.message_bytes_max`.
    pub message_bytes_max: usize,
    /// `limits.connection_age_max`; `None` is never.
    pub connection_age_max: Option<Duration>,
    /// `api.keys_file`; `None`: nobody is asked.
    pub api_keys_file: Option<PathBuf>,
    /// `gift.key_file`; `None`: no gifts here.
    pub gift_key_file: Option<PathBuf>,
    /// `gift.link_base`.
    pub gift_link_base: String,
    /// `gift.kakao_directory`.
    pub gift_kakao_directory: Option<PathBuf>,
    /// `gift.page_rate`; `None`: without a limit.
    pub gift_page_rate: Option<NonZeroU32>,
    /// `limits.event_heartbeat`.
    pub event_heartbeat: Duration,
    /// `clock.kind` is "virtual".
    pub virtual_clock: bool,
    /// `clock.behind`; zero on a virtual clock.
    pub clock_behind: Duration,
    /// `canary.interval`; `None` is never.
    pub canary_interval: Option<Duration>,
    /// `late.bound`.
    pub late_bound: Duration,
    /// `shutdown.grace`.
    pub shutdown_grace: Duration,
    /// `log.format` is "json".
    pub log_json: bool,
    /// `log.filter`.
    pub log_filter: String,
}

/// `proposer.*`.
#[derive(Clone, Copy, Debug)]
pub struct ProposerConfig {
    /// `proposer.entry_bytes_max`.
    pub entry_bytes_max: usize,
    /// `proposer.outstanding_max`.
    pub outstanding_max: usize,
    /// `proposer.queue_bytes_max`.
    pub queue_bytes_max: usize,
}

/// One of `cluster.members`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberAddress {
    /// `node.id` of that node.
    pub node: u64,
    /// Where clients reach it, `host:port`.
    pub endpoint: String,
    /// Where peers reach it, `host:port`.
    pub peer_endpoint: String,
}

impl Config {
    /// Checks all values, each on its own and those that depend on another.
    ///
    /// # Errors
    ///
    /// The first value that is not allowed.
    pub fn check(values: &Values) -> Result<Config, Error> {
        let heartbeat = values.duration("raft.heartbeat")?;
        let election_min = values.duration("raft.election_min")?;
        let election_max = values.duration("raft.election_max")?;
        let least = election_max / 2 + heartbeat * 5 / 2;
        if election_min < least {
            let least = units::format_duration(least);
            let expected =
                format!("at least half of raft.election_max and two and a half times raft.heartbeat, {least}");
            return Err(values.refuse("raft.election_min", expected));
        }
        if election_max <= election_min {
            let expected = format!("more than raft.election_min, {}", units::format_duration(election_min));
            return Err(values.refuse("raft.election_max", expected));
        }
        let cluster = values.text("cluster.name")?;
        if cluster.is_empty() || cluster.len() > 64 {
            return Err(values.refuse("cluster.name", "1 to 64 characters".into()));
        }
        let node = values.integer("node.id")?;
        let members =
            values.list("cluster.members")?.iter().map(|text| member(values, text)).collect::<Result<Vec<_>, _>>()?;
        let join = values.text("cluster.join")? == "true";
        if join && !members.is_empty() {
            return Err(values.refuse("cluster.join", "\"false\" when cluster.members is given".into()));
        }
        if !members.is_empty() && !members.iter().any(|member| member.node == node) {
            return Err(values.refuse("cluster.members", format!("a list that holds this node, node.id = {node}")));
        }
        let mut numbers: Vec<u64> = members.iter().map(|member| member.node).collect();
        numbers.sort_unstable();
        numbers.dedup();
        if numbers.len() != members.len() {
            return Err(values.refuse("cluster.members", "every node once".into()));
        }
        let virtual_clock = values.text("clock.kind")? == "virtual";
        let clock_behind = values.duration("clock.behind")?;
        if virtual_clock && !clock_behind.is_zero() {
            return Err(values.refuse("clock.behind", "0ms when clock.kind is \"virtual\"".into()));
        }
        if virtual_clock && members.len() > 1 {
            let expected =
                "\"real\" in a cluster of several processes; `bosingakd dev --clock virtual` has one clock for all";
            return Err(values.refuse("clock.kind", expected.into()));
        }
        let connection_age_max = values.duration("limits.connection_age_max")?;
        let (checkpoint_log_bytes, log_max_bytes) =
            (values.size("storage.checkpoint_log")?, values.size("storage.log_max")?);
        if log_max_bytes < checkpoint_log_bytes {
            let least = units::format_size(checkpoint_log_bytes);
            return Err(values.refuse("storage.log_max", format!("at least storage.checkpoint_log, {least}")));
        }
        let (log_segment_bytes, entry_bytes_max) =
            (values.size("storage.log_segment")?, values.size("proposer.entry_bytes_max")?);
        // A quarter of a file bounds an entry, and one may be larger than entry_bytes_max by a command.
        if log_segment_bytes < 8 * entry_bytes_max {
            let least = units::format_size(8 * entry_bytes_max);
            let expected = format!("at least eight times proposer.entry_bytes_max, {least}");
            return Err(values.refuse("storage.log_segment", expected));
        }
        let canary_interval = values.duration("canary.interval")?;
        if !canary_interval.is_zero() && canary_interval < Duration::from_secs(1) {
            return Err(values.refuse("canary.interval", "\"0ms\" for never, or from 1s to 10m".into()));
        }
        Ok(Config {
            node,
            data: values.text("node.data")?.into(),
            cluster,
            partitions: u32::try_from(values.integer("cluster.partitions")?).unwrap_or(u32::MAX),
            members,
            join,
            listen_client: values.address("listen.client")?,
            listen_peers: values.address("listen.peers")?,
            listen_admin: values.address("listen.admin")?,
            advertise_client: Some(values.text("listen.advertise_client")?).filter(|text| !text.is_empty()),
            advertise_peers: Some(values.text("listen.advertise_peers")?).filter(|text| !text.is_empty()),
            trusted_proxies: trusted_proxies(values)?,
            heartbeat,
            election_min,
            election_max,
            sync_delay: values.duration("raft.sync_delay")?,
            cache_bytes: values.size("storage.cache")?,
            write_buffer_bytes: values.size("storage.write_buffer")?,
            checkpoint_log_bytes,
            checkpoint_age: values.duration("storage.checkpoint_age")?,
            log_max_bytes,
            log_segment_bytes,
            free_space_min_bytes: values.size("storage.free_space_min")?,
            proposer: ProposerConfig {
                entry_bytes_max: entry_bytes_max as usize,
                outstanding_max: values.integer("proposer.outstanding_max")? as usize,
                queue_bytes_max: values.size("proposer.queue_bytes_max")? as usize,
            },
            call_timeout: values.duration("limits.call_timeout")?,
            message_bytes_max: values.size("limits.message_bytes_max")? as usize,
            connection_age_max: Some(connection_age_max).filter(|age| !age.is_zero()),
            api_keys_file: path(values, "api.keys_file")?,
            gift_key_file: path(values, "gift.key_file")?,
            gift_link_base: link_base(values)?,
            gift_kakao_directory: path(values, "gift.kakao_directory")?,
            gift_page_rate: u32::try_from(values.integer("gift.page_rate")?).ok().and_then(NonZeroU32::new),
            event_heartbeat: values.duration("limits.event_heartbeat")?,
            virtual_clock,
            clock_behind,
            canary_interval: Some(canary_interval).filter(|interval| !interval.is_zero()),
            late_bound: values.duration("late.bound")?,
            shutdown_grace: values.duration("shutdown.grace")?,
            log_json: values.text("log.format")? == "json",
            log_filter: values.text("log.filter")?,
        })
    }

    /// Defaults with this data directory, free ports on loopback and no members: a cluster of one, for tests.
    pub fn for_tests(data: PathBuf) -> Config {
        let mut values = Values::defaults();
        for key in ["listen.client", "listen.peers", "listen.admin"] {
            values.set(key, "127.0.0.1:0".into(), Origin::Flag);
        }
        values.set("storage.free_space_min", "0B".into(), Origin::Flag);
        let mut config = Config::check(&values).expect("defaults are allowed");
        config.data = data;
        config
    }
}

fn path(values: &Values, key: &str) -> Result<Option<PathBuf>, Error> {
    Ok(Some(values.text(key)?).filter(|text| !text.is_empty()).map(PathBuf::from))
}

fn link_base(values: &Values) -> Result<String, Error> {
    let base = values.text("gift.link_base")?;
    let web = base.starts_with("https://") || base.starts_with("http://");
    if !web || !base.ends_with('/') {
        return Err(values.refuse("gift.link_base", "an http:// or https:// address that ends with /".into()));
    }
    Ok(base)
}

fn trusted_proxies(values: &Values) -> Result<Networks, Error> {
    let given = values.list("listen.trusted_proxies")?;
    given.iter().map(|text| networks::parse(text.trim()).ok_or(text)).collect::<Result<Networks, _>>().map_err(
        |wrong| {
            values.refuse(
                "listen.trusted_proxies",
                format!("addresses and networks such as \"10.0.0.0/8\", not {wrong:?}"),
            )
        },
    )
}

fn member(values: &Values, text: &str) -> Result<MemberAddress, Error> {
    let parts = || {
        let (node, addresses) = text.split_once('=')?;
        let (endpoint, peer_endpoint) = addresses.split_once('/')?;
        let node = node.trim().parse::<u64>().ok().filter(|node| *node > 0 && *node <= i32::MAX as u64)?;
        let has_port = |address: &str| {
            address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        (has_port(endpoint.trim()) && has_port(peer_endpoint.trim())).then(|| MemberAddress {
            node,
            endpoint: endpoint.trim().into(),
            peer_endpoint: peer_endpoint.trim().into(),
        })
    };
    parts().ok_or_else(|| {
        values.refuse("cluster.members", format!("\"ID=CLIENT_HOST:PORT/PEER_HOST:PORT\", not {text:?}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(file: &str) -> Result<Config, Error> {
        let mut values = Values::defaults();
        values.read_text("wheel.toml", file)?;
        Config::check(&values)
    }

    #[test]
    fn defaults_are_allowed_and_the_reference_says_them() {
        let values = {
            let mut values = Values::defaults();
            values.read_text("reference", &reference()).expect("the reference is a configuration");
            values
        };
        let config = Config::check(&values).expect("allowed");
        assert_eq!(config.heartbeat, Duration::from_millis(100));
        assert_eq!(config.partitions, 4);
    }

    #[test]
    fn flag_beats_environment_beats_file_beats_default() {
        let mut values = Values::defaults();
        values.read_text("wheel.toml", "[node]\nid = 2\n[raft]\nheartbeat = \"70ms\"\n").expect("file");
        values
            .read_environment([
                ("BOSINGAK__RAFT__HEARTBEAT".into(), "80ms".into()),
                ("BOSINGAK_PORT".into(), "tcp://10.0.0.1:7300".into()),
            ])
            .expect("environment");
        values.set("raft.heartbeat", "90ms".into(), Origin::Flag);
        let config = Config::check(&values).expect("allowed");
        assert_eq!((config.node, config.heartbeat), (2, Duration::from_millis(90)));
    }

    #[test]
    fn errors_name_file_key_value_and_expectation() {
        let error = config("[raft]\nheartbeat = \"fast\"\n").expect_err("refused").to_string();
        for part in ["wheel.toml", "raft.heartbeat", "fast", "from 10ms to 5s"] {
            assert!(error.contains(part), "{error}");
        }
        let error = config("[raft]\nhartbeat = \"1s\"\n").expect_err("refused").to_string();
        assert!(error.contains("did you mean raft.heartbeat?"), "{error}");
        let error = config("[raft]\nelection_min = \"690ms\"\n").expect_err("refused").to_string();
        assert!(error.contains("two and a half times raft.heartbeat, 700ms"), "{error}");
        let error = config("[storage]\nlog_max = \"1MiB\"\n").expect_err("refused").to_string();
        assert!(
            error.contains("storage.log_max") && error.contains("at least storage.checkpoint_log, 64MiB"),
            "{error}"
        );
        let error = config("[storage]\nlog_segment = \"1MiB\"\n").expect_err("refused").to_string();
        assert!(
            error.contains("storage.log_segment")
                && error.contains("at least eight times proposer.entry_bytes_max, 2MiB"),
            "{error}"
        );
        let error = config("[canary]\ninterval = \"999ms\"\n").expect_err("refused").to_string();
        assert!(error.contains("from 1s to 10m"), "{error}");
        let error =
            config("[listen]\ntrusted_proxies = [\"10.0.0.1\", \"10.0.0.0/33\"]\n").expect_err("refused").to_string();
        assert!(error.contains("listen.trusted_proxies") && error.contains("not \"10.0.0.0/33\""), "{error}");
        assert_eq!(config("[gift]\npage_rate = 0\n").expect("allowed").gift_page_rate, None);
        assert_eq!(config("[canary]\ninterval = \"0ms\"\n").expect("allowed").canary_interval, None);
        let error = config("[clock]\nkind = \"virtual\"\nbehind = \"1h\"\n").expect_err("refused").to_string();
        assert!(error.contains("clock.behind") && error.contains("0ms when clock.kind is"), "{error}");
        assert_eq!(config("[clock]\nbehind = \"1h\"\n").expect("allowed").clock_behind, Duration::from_secs(3_600));
        let error = config("[node]\nid = 0\n").expect_err("refused").to_string();
        assert!(error.contains("from 1 to 2147483647"), "{error}");
        let error = config("[node\n").expect_err("refused").to_string();
        assert!(error.contains("wheel.toml"), "{error}");
        let error = config("[cluster]\nmembers = [\"1=a:1\"]\n").expect_err("refused").to_string();
        assert!(error.contains("ID=CLIENT_HOST:PORT/PEER_HOST:PORT"), "{error}");
    }

    #[test]
    fn members_hold_this_node_once() {
        let list = "members = [\"1=a:1/a:2\", \"2=b:1/b:2\"]";
        assert_eq!(config(&format!("[cluster]\n{list}\n")).expect("allowed").members.len(), 2);
        assert!(config(&format!("[node]\nid = 3\n[cluster]\n{list}\n")).is_err());
        assert!(config("[cluster]\nmembers = [\"1=a:1/a:2\", \"1=b:1/b:2\"]\n").is_err());
    }
}
