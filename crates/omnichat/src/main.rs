//! OMNICHAT: a chat backend for many users and many models. Each answer exactly once, whatever crashes meanwhile.

mod banner;
mod cli;
mod completions;
mod config;
mod dead_letters;
mod doctor;
mod errand;
mod health;
mod keys;
mod limits;
mod models;
mod nats;
mod openapi;
mod partitions;
mod reload;
mod roles;
mod schema;
mod secrets;
mod serve;
mod sim_provider;
mod streams;
mod up;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Wrong usage, or a configuration that cannot work.
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return cli::explain(&error),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

#[expect(clippy::print_stderr, reason = "the last word of a command that failed")]
fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("omnichat: {error:#}");
    ExitCode::from(if error.chain().any(is_configuration) { EXIT_USAGE } else { 1 })
}

/// A transparent error is not its own source, so those that hold a mistake are looked into.
fn is_configuration(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.is::<host::ConfigError>()
        || cause.is::<llm::ConfigError>()
        || matches!(cause.downcast_ref(), Some(host::postgres::Error::Config(_)))
        || matches!(cause.downcast_ref(), Some(bus::ConnectError::Config(_)))
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Completions { shell } => return completions::print(shell),
        Command::Openapi => return openapi::print(),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match cli.command {
            Command::Up(options) => up::run(&cli.shared, options).await,
            Command::Serve { roles } => serve::run(&cli.shared, &roles).await,
            Command::Migrate => schema::migrate(&cli.shared).await,
            Command::Provision { check } => streams::provision(&cli.shared, check).await,
            Command::Doctor => doctor::run(&cli.shared).await,
            Command::Partitions => partitions::run(&cli.shared).await,
            Command::DeadLetters { command } => dead_letters::run(&cli.shared, command).await,
            Command::Health { address } => health::run(address).await,
            Command::Config { template } => config::show(&cli.shared, template),
            Command::Nats { command } => nats::run(command).await,
            Command::SimProvider(options) => sim_provider::run(&cli.shared, options).await,
            Command::Completions { .. } | Command::Openapi => Ok(()),
        }
    })
}
