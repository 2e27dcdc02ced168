//! The command line.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum, error::ErrorKind};

use wire::TurnId;

use crate::{EXIT_USAGE, roles::Role};

/// A chat backend for many users and many models: each answer exactly once, whatever crashes meanwhile.
#[derive(Debug, Parser)]
#[command(name = "omnichat", version, propagate_version = true, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    pub shared: Shared,
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "Examples:
  omnichat up                          everything on this machine, nothing to install or configure
  OPENAI_API_KEY=… omnichat up         the same, with answers from OpenAI
  omnichat up --http 127.0.0.1:0       on a free port; .omnichat/run.json tells which
  omnichat serve chat                  one role, against NATS_URL and DATABASE_URL
  omnichat config --template           every key with its default and meaning

Configuration comes from omnichat.toml (or --config), overridden by variables OMNICHAT__SECTION__KEY.
Exit codes: 0 done, 1 failed, 64 wrong usage or configuration.";

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Shared {
    /// The configuration file [default: omnichat.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How to log, on standard error [default: text on a terminal, else json]
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub log: Option<LogFormat>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormat {
    Json,
    Text,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything, with a private nats-server and a private Postgres
    ///
    /// Both servers are found on this machine or fetched once; they live in the data dir and end with this process. Without
    /// a provider's key the answers come from a simulated model. Stop with Ctrl-C; start again, and everything is still
    /// there.
    Up(UpOptions),
    /// Run roles against NATS_URL and DATABASE_URL
    ///
    /// Each role is a service of its own: run several in one process or one per process, and as many of each as the load
    /// needs. The schema and the streams must have been made by `migrate` and `provision`.
    Serve {
        /// Which roles [default: all]
        #[arg(value_enum)]
        roles: Vec<Role>,
    },
    /// Bring the database's schema up to date, and show what was done
    Migrate,
    /// Make the streams and consumers, and show what was changed
    Provision {
        /// Change nothing: show what differs, and fail if anything does
        #[arg(long)]
        check: bool,
    },
    /// Show what is reachable, with which versions and settings
    Doctor,
    /// Show which worker owns which partition, since when, and how many turns it has in hand
    Partitions,
    /// Turns that were given up after their last attempt
    DeadLetters {
        #[command(subcommand)]
        command: DeadLettersCommand,
    },
    /// Ask a running process whether it is ready
    ///
    /// For the health checks of containers, whose image has neither a shell nor curl.
    Health {
        /// Where it serves HTTP: its http.listen, or its http.status_listen
        #[arg(default_value = "127.0.0.1:8080")]
        address: SocketAddr,
    },
    /// Show the configuration in effect, secrets masked
    Config {
        /// Show every key with its default and meaning instead
        #[arg(long)]
        template: bool,
    },
    /// Run the simulated provider, which speaks the wires of OpenAI, Anthropic and Google, and follows scripts
    ///
    /// A message may carry its own script, such as `[[sim first_ms=500 chunk_ms=50]]`, `[[sim status=500]]` or
    /// `[[sim cut_after=3]]`.
    SimProvider(SimProviderOptions),
    /// What is needed to use NATS directly
    Nats {
        #[command(subcommand)]
        command: NatsCommand,
    },
    /// Print the description of the HTTP API (OpenAPI 3.1)
    Openapi,
    /// Print a completion script
    Completions {
        /// For this shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub enum DeadLettersCommand {
    /// List them, newest first
    List {
        /// The most that are listed
        #[arg(long, value_name = "COUNT", default_value_t = 100)]
        limit: u32,
    },
    /// Show one, as JSON
    Show {
        /// Its turn
        turn: TurnId,
    },
    /// Have the question answered after all, by a new turn
    ///
    /// The turn that was given up stays as it ended. Asked again, the command finds the turn that it made the first time. It
    /// needs DATABASE_URL, and NATS_URL with the password of `ingress`.
    Redrive {
        /// The turn that was given up
        turn: TurnId,
    },
}

#[derive(Debug, Subcommand)]
pub enum NatsCommand {
    /// Make keys with which users are let in to NATS, and print them as variables
    ///
    /// The seeds are secrets of the role auth; the other two are for the configuration of nats-server.
    Keys,
    /// Contexts of the nats CLI
    Context {
        #[command(subcommand)]
        command: ContextCommand,
    },
}

#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// Write a context for the nats CLI
    ///
    /// For a user: the access token or API key comes from OMNICHAT_TOKEN or standard input. For operators: the password
    /// comes from the data dir, or from NATS_PASSWORD.
    Save(ContextOptions),
}

#[derive(Debug, Args)]
pub struct ContextOptions {
    /// What the context is called
    #[arg(default_value = "omnichat")]
    pub name: String,
    /// For somebody who looks after the servers, instead of a user
    #[arg(long = "as", value_enum, value_name = "WHO")]
    pub staff: Option<Staff>,
    /// Where NATS is [default: that of the data dir]
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// Where the HTTP API is [default: that of the data dir]
    #[arg(long, value_name = "URL")]
    pub http: Option<String>,
    /// Where `omnichat up` keeps everything
    #[arg(long, value_name = "FOLDER", default_value = ".omnichat")]
    pub data_dir: PathBuf,
}

/// Who looks after the servers.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Staff {
    /// May use all of JetStream's API
    Operator,
    /// May only look
    Inspector,
}

#[derive(Debug, Args)]
pub struct UpOptions {
    /// Where HTTP is served; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub http: Option<SocketAddr>,
    /// Where NATS listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4222")]
    pub nats: SocketAddr,
    /// Where everything is kept
    #[arg(long, value_name = "FOLDER", default_value = ".omnichat")]
    pub data_dir: PathBuf,
}

#[derive(Debug, Args)]
pub struct SimProviderOptions {
    /// Where it listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    pub listen: SocketAddr,
    /// Milliseconds before the first word
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub first_ms: u64,
    /// Milliseconds between words
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub chunk_ms: u64,
}

/// Help and version are answers; all else is wrong usage.
pub fn explain(error: &clap::Error) -> ExitCode {
    // A closed pipe is nobody's mistake.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(EXIT_USAGE),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
