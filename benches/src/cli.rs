//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Measures OMNICHAT from outside.
#[derive(Debug, Parser)]
#[command(name = "benches", max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Durable turns per second and their latency, beside pgbench on the same Postgres
    ///
    /// Starts `omnichat up` on an empty data dir with a provider that answers at once, drives it, checks what it stored,
    /// and prints the report as Markdown.
    Turns(TurnsOptions),
    /// How long `GET /projects/{id}` takes, beside the same query by pgbench
    Reads(ReadsOptions),
    /// Logins at a rate that no machine bears, and what other requests notice of them
    Logins(LoginsOptions),
    /// Connections that send or read too slowly: when they are closed, and what other requests notice of them
    Stalls(StallsOptions),
    /// The provider that answers at once; ends with its standard input
    #[command(hide = true)]
    Provider,
}

#[derive(Debug, Args)]
pub struct TurnsOptions {
    /// How long each measurement takes
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Sends in flight in the closed loop, one measurement each, at most 900
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,16,64,128",
          value_parser = clap::value_parser!(u16).range(1..=900))]
    pub concurrency: Vec<u16>,
    /// Conversations, spread over 16 users; at least as many as sends in flight
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u16).range(1..=32_000))]
    pub conversations: u16,
    /// Sends per second in the open loop [default: 70 % of the best closed loop]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub open_rate: Option<u32>,
    /// Leave pgbench out
    #[arg(long)]
    pub without_pgbench: bool,
    /// The program to measure [default: omnichat beside this program]
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
    /// An empty or new folder for the databases; it is kept [default: a temporary one, removed afterwards]
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ReadsOptions {
    /// How long each measurement takes
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Requests in flight, one measurement each
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,32",
          value_parser = clap::value_parser!(u16).range(1..=900))]
    pub concurrency: Vec<u16>,
    /// The program to measure [default: omnichat beside this program]
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct LoginsOptions {
    /// Login attempts per second
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
    /// How long they go on
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Let every attempt through to the password hash, whatever address it comes from
    #[arg(long)]
    pub unlimited: bool,
    /// The program to measure [default: omnichat beside this program]
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct StallsOptions {
    /// Connections of each shape
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=900))]
    pub connections: u16,
    /// The program to measure [default: omnichat beside this program]
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
