//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Measures OMNICHAT from outside.
#[derive(Debug, Parser)]
#[command(name = "benches", version, max_term_width = 100)]
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
    /// The same turns per second in rounds, each between two runs of pgbench, so that a machine that drifts does not matter
    Ratio(RatioOptions),
    /// How memory grows, or does not, over many turns and over many conversations that are used once, per process
    Memory(MemoryOptions),
    /// Turns of conversations with ten thousand messages beside turns of new ones
    Long(LongOptions),
    /// How long `GET /projects/{id}` takes, beside the same query by pgbench
    Reads(ReadsOptions),
    /// Logins at a rate that no machine bears, and what other requests notice of them
    Logins(LoginsOptions),
    /// Three workers under the limits that a provider sets to a key, and one of them killed
    Quota(QuotaOptions),
    /// Connections that send or read too slowly: when they are closed, and what other requests notice of them
    Stalls(StallsOptions),
    /// Readers of answers that are being written: what they cost, how late they are told, and what readers who never read do
    /// to the others
    Streams(StreamsOptions),
    /// What a call takes in the crate `llm` beyond the provider's own time, beside a plain HTTP client
    Gateway(GatewayOptions),
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
pub struct RatioOptions {
    /// Rounds; there is one run of pgbench more, in each form
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub rounds: u16,
    /// How long each measurement takes
    #[arg(long, value_name = "S", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Sends in flight
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=900))]
    pub concurrency: u16,
    /// Conversations, spread over 16 users; at least as many as sends in flight
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u16).range(1..=32_000))]
    pub conversations: u16,
    /// The program to measure [default: omnichat beside this program]
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct MemoryOptions {
    /// Turns, over a few hundred conversations
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub turns: u32,
    /// Conversations with one turn each
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub conversations: u32,
    /// Turns between two looks at the memory
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub step: u32,
    /// Turns, and conversations, before memory must stay as it is
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub warm_up: u32,
    /// The program to measure [default: omnichat beside this program]
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct LongOptions {
    /// Messages of a long conversation
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub messages: u32,
    /// Long conversations
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub conversations: u16,
    /// Rounds; in each one every conversation is loaded anew
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub rounds: u16,
    /// The program to measure [default: omnichat beside this program]
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
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

#[derive(Debug, Args)]
pub struct QuotaOptions {
    /// Users' messages at a time
    #[arg(long, value_name = "N", default_value_t = 192, value_parser = clap::value_parser!(u16).range(1..=900))]
    pub senders: u16,
    /// The program to measure [default: omnichat beside this program]
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct GatewayOptions {
    /// How long each of the two is measured at each concurrency
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Rounds by which they take turns
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub rounds: u16,
    /// Calls in flight, one measurement each
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,16",
          value_parser = clap::value_parser!(u16).range(1..=900))]
    pub concurrency: Vec<u16>,
}

#[derive(Debug, Args)]
pub struct StreamsOptions {
    /// Readers
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u16).range(1..=9000))]
    pub readers: u16,
    /// Readers of each turn
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub per_turn: u16,
    /// Frames of a turn per second
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=25))]
    pub frames: u16,
    /// How long it is measured once all readers are there
    #[arg(long, value_name = "S", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=120))]
    pub seconds: u64,
    /// Readers who read, and as many who never do, in the second part
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=4000))]
    pub idle: u16,
    /// Sends of each kind in the third part
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u16).range(1..=30_000))]
    pub sends: u16,
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
