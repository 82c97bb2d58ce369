//! `bosingakd`: one node, or a small cluster to try things out.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use server::clock::Clock;
use server::config::{self, Config, Origin, Values};
use server::dev::{Cluster, Options};
use server::logs;
use server::node::{Addresses, Listeners, Server};
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A replicated timing wheel: schedules triggers, fires each on time, once.
#[derive(Parser)]
#[command(name = "bosingakd", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a node.
    Serve {
        /// Configuration file (TOML). The environment, as BOSINGAK__SECTION__KEY, counts more; flags most.
        #[arg(long, value_name = "FILE")]
        config: Option<String>,
        /// Sets an option: section.key=value. May be given often.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// Data directory; short for --set node.data=DIR.
        #[arg(long, value_name = "DIR")]
        data: Option<String>,
        /// Log as JSON; short for --set log.format=json.
        #[arg(long)]
        json: bool,
        /// Write the bound addresses here as one line of JSON when every partition has a leader.
        #[arg(long, value_name = "FILE")]
        ready_file: Option<PathBuf>,
    },
    /// Runs a cluster on this machine until Ctrl-C. Without --data it forgets everything.
    Dev {
        /// How many nodes.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=9))]
        nodes: u32,
        /// "virtual": time stands still until `bosingak clock advance` moves it.
        #[arg(long, default_value = "real", value_parser = ["real", "virtual"])]
        clock: String,
        /// Keep data here.
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// Client port of the first node, the others in steps of ten; 0 takes free ones.
        #[arg(long, default_value_t = 7300, value_parser = clap::value_parser!(u16).range(0..=65_000))]
        port: u16,
        /// Sets an option on every node: section.key=value. May be given often.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// Write the bound addresses here as lines of JSON when the cluster is ready.
        #[arg(long, value_name = "FILE")]
        ready_file: Option<PathBuf>,
    },
    /// Looks through a data directory that no node has open, changing nothing: checksums of every file, rows against each other.
    ///
    /// Exits with 0 when all is fine, 1 when something is damaged, 2 when it cannot be looked at: a node has it open, or it is none.
    Verify {
        /// Data directory, or a copy of one.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// One line of JSON instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Prints every option with its meaning, default and bounds, as a configuration file.
    Options,
    /// Checks a configuration and exits with 0 or 78.
    Check {
        /// Configuration file (TOML).
        #[arg(long, value_name = "FILE")]
        config: Option<String>,
    },
}

/// See [`Arguments`].
pub fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bosingakd: {error:#}");
            match error.downcast_ref::<config::Error>() {
                Some(_) => ExitCode::from(config::Error::EXIT_CODE),
                None => ExitCode::FAILURE,
            }
        }
    }
}

/// Its exit codes are its own: damage is an answer, and not being able to look is none.
fn verify(data: &Path, json: bool) -> ExitCode {
    match server::verify::verify(data) {
        Ok(report) => match report.print(json) {
            Ok(()) if report.is_fine() => ExitCode::SUCCESS,
            Ok(()) => ExitCode::FAILURE,
            Err(_) => ExitCode::from(2),
        },
        Err(error) => {
            eprintln!("bosingakd: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let done = match command {
        Command::Verify { data, json } => return Ok(verify(&data, json)),
        Command::Serve { config, mut set, data, json, ready_file } => {
            set.extend(data.map(|dir| format!("node.data={dir}")));
            set.extend(json.then(|| "log.format=json".to_string()));
            let config = Config::check(&values(config.as_deref(), &set)?)?;
            logs::start(&config)?;
            runtime()?.block_on(serve(config, ready_file.as_deref()))
        }
        Command::Dev { nodes, clock, data, port, set, ready_file } => {
            let mut values = Values::defaults();
            values.set("log.filter", "warn".into(), Origin::Default);
            values.read_environment(std::env::vars())?;
            set.iter().try_for_each(|text| values.read_flag(text))?;
            logs::start(&Config::check(&values)?)?;
            let forget = data.is_none();
            let data = data.map_or_else(temporary, Ok)?;
            let options = Options { nodes, virtual_clock: clock == "virtual", data: data.clone(), port };
            let result = runtime()?.block_on(dev(&options, &values, ready_file.as_deref()));
            if forget {
                // A directory that cannot be removed is in the system's temporary one anyway.
                let _ = std::fs::remove_dir_all(&data);
            }
            result
        }
        Command::Options => Ok(std::io::stdout().write_all(config::reference().as_bytes())?),
        Command::Check { config } => {
            Config::check(&values(config.as_deref(), &[])?)?;
            println!("ok");
            Ok(())
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

async fn serve(config: Config, ready_file: Option<&Path>) -> anyhow::Result<()> {
    let listeners = Listeners::bind(&config).await?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let clock = Clock::of(&config);
    let (json, node) = (config.log_json, config.node);
    let starting = Server::start(config, listeners, clock);
    // Founding waits for the other members; a signal ends that too.
    let server = tokio::select! {
        server = starting => server?,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    announce(node, server.addresses(), json);
    if let Some(file) = ready_file {
        tokio::select! {
            () = server.node().ready() => write_ready(file, &[line(node, server.addresses())])?,
            _ = interrupt.recv() => return finish(server).await,
            _ = terminate.recv() => return finish(server).await,
        }
    }
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        reason = server.fatal() => {
            tracing::error!(reason, "cannot go on");
            // At once: whatever this process would still say may not be true any more.
            std::process::exit(1);
        }
    }
    finish(server).await
}

async fn finish(server: Server) -> anyhow::Result<()> {
    server.shutdown().await;
    Ok(())
}

async fn dev(options: &Options, values: &Values, ready_file: Option<&Path>) -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let cluster = Cluster::start(options, values).await?;
    cluster.ready().await;
    for server in cluster.servers() {
        announce(server.node().raft().id(), server.addresses(), false);
    }
    if options.virtual_clock {
        println!("the clock stands at {}", cluster.servers()[0].node().clock().wall());
    }
    println!("ready; Ctrl-C ends it");
    if let Some(file) = ready_file {
        let lines = cluster.servers().iter().map(|server| line(server.node().raft().id(), server.addresses()));
        write_ready(file, &lines.collect::<Vec<_>>())?;
    }
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        reason = cluster.fatal() => anyhow::bail!("{reason}"),
    }
    cluster.shutdown().await;
    Ok(())
}

fn values(file: Option<&str>, set: &[String]) -> Result<Values, config::Error> {
    let mut values = Values::defaults();
    if let Some(file) = file {
        values.read_file(file)?;
    }
    values.read_environment(std::env::vars())?;
    set.iter().try_for_each(|text| values.read_flag(text))?;
    Ok(values)
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("api").build()
}

/// One line on standard output that says where the node listens, so that whoever chose port 0 can find it.
fn announce(node: u64, addresses: &Addresses, json: bool) {
    if json {
        println!("{}", line(node, addresses));
    } else {
        let Addresses { client, peers, admin } = addresses;
        println!("node {node} serves: client {client} peers {peers} admin {admin}");
    }
    // A line that stays in a buffer helps nobody who waits for it.
    let _ = std::io::stdout().flush();
}

fn line(node: u64, addresses: &Addresses) -> String {
    serde_json::json!({
        "msg": "serving",
        "node": node,
        "client": addresses.client.to_string(),
        "peers": addresses.peers.to_string(),
        "admin": addresses.admin.to_string(),
    })
    .to_string()
}

/// Written beside and renamed, so that nobody reads half of it.
fn write_ready(file: &Path, lines: &[String]) -> std::io::Result<()> {
    let beside = file.with_extension("part");
    std::fs::write(&beside, lines.join("\n") + "\n")?;
    std::fs::rename(beside, file)
}

fn temporary() -> anyhow::Result<PathBuf> {
    let dir = std::env::temp_dir().join(format!("bosingak-dev-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}
