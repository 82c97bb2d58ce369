//! What can be said on the command line, except for the verbs, which are with their nouns.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::{
    api_key, clock, cluster, dead_letter, duration, executor, forecast, gift, output::Format, payment, product, top,
    topic, trigger,
};

/// Schedules triggers and looks after the cluster that fires them.
///
/// Exit codes: 0 done, 1 error, 2 wrong usage or a field the server refused, 3 not found, 4 conflict or wrong state,
/// 5 done in part or unhealthy, 6 unavailable or too late, 7 denied.
#[derive(Parser)]
#[command(name = "bosingak", version, arg_required_else_help = true)]
pub struct Args {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options every command takes.
#[derive(clap::Args)]
pub struct Global {
    /// Nodes of the cluster, separated by commas.
    #[arg(long, global = true, env = "BOSINGAK_ADDRESS", default_value = "http://127.0.0.1:7300")]
    pub address: String,
    /// Tenant boundary.
    #[arg(short, long, global = true, env = "BOSINGAK_NAMESPACE", default_value = "default")]
    pub namespace: String,
    /// File with the API key to show, ID.SECRET in one line; see `api-key new`.
    #[arg(long, global = true, env = "BOSINGAK_API_KEY_FILE", value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// Form of what is printed.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// How long a call may take over all its tries, as in 10s or 1m.
    #[arg(long, global = true, value_parser = duration::parse, default_value = "10s")]
    pub timeout: Duration,
    /// More about what is going on, on stderr.
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

impl Global {
    /// Filter of the logs when the environment says nothing.
    pub fn quiet_logs(&self) -> &'static str {
        if self.verbose { "info,client=debug,executor=debug" } else { "warn" }
    }
}

/// Nouns.
#[derive(Subcommand)]
pub enum Command {
    /// Pieces of work with a due time.
    #[command(subcommand, visible_alias = "triggers")]
    Trigger(trigger::Verb),
    /// Triggers that were given up.
    #[command(subcommand, visible_alias = "dead-letters")]
    DeadLetter(dead_letter::Verb),
    /// Handlers that triggers are for, and their limits.
    #[command(subcommand, visible_alias = "topics")]
    Topic(topic::Verb),
    /// How many triggers are due when.
    Forecast(forecast::Options),
    /// Nodes, partitions, leaders.
    #[command(subcommand)]
    Cluster(cluster::Verb),
    /// The cluster as it goes: leaders, lateness, rates, executors, forecast; live on a terminal.
    Top(top::Options),
    /// Processes that do the work.
    #[command(subcommand, visible_alias = "executors")]
    Executor(Box<executor::Verb>),
    /// What can be given as a gift.
    #[command(subcommand, visible_alias = "products")]
    Product(product::Verb),
    /// Gifts, from the wish to the shop.
    #[command(subcommand, visible_alias = "gifts")]
    Gift(Box<gift::Verb>),
    /// What was paid for gifts, and where the money is.
    #[command(subcommand, visible_alias = "payments")]
    Payment(payment::Verb),
    /// The virtual clock of a development server.
    #[command(subcommand)]
    Clock(clock::Verb),
    /// What callers show to a cluster that asks them.
    #[command(subcommand)]
    ApiKey(api_key::Verb),
    /// Prints a completion script for a shell.
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Prints the version of this program.
    Version,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_are_consistent() {
        Args::command().debug_assert();
    }
}
