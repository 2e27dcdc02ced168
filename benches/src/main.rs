//! Drives a running OMNICHAT from outside, as its clients would, and says what it reached beside what the same Postgres
//! reaches when the same rows are written one by one. `README.md` tells what is measured and how to read it.

mod audit;
mod batches;
mod cli;
mod driver;
mod folder;
mod gateway;
mod http;
mod latencies;
mod logins;
mod long;
mod machine;
mod memory;
mod pgbench;
mod population;
mod provider;
mod quota;
mod ratio;
mod reads;
mod report;
mod stack;
mod stalls;
mod streams;
mod turns;
mod usage;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

/// The driver and the provider take what they need from the same two cores as what is measured: as little as can be.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One thread: what drives the load must leave the machine to what is measured.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Turns(options) => turns::run(&options).await,
        Command::Ratio(options) => ratio::run(&options).await,
        Command::Memory(options) => memory::run(&options).await,
        Command::Long(options) => long::run(&options).await,
        Command::Reads(options) => reads::run(&options).await,
        Command::Logins(options) => logins::run(&options).await,
        Command::Quota(options) => quota::run(&options).await,
        Command::Stalls(options) => stalls::run(&options).await,
        Command::Streams(options) => streams::run(&options).await,
        Command::Gateway(options) => gateway::run(&options).await,
        Command::Provider => provider::run().await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("benches: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Tells whoever waits what goes on; the report alone goes to standard output.
#[expect(clippy::print_stderr, reason = "a command line tool")]
fn say(text: &str) {
    eprintln!("{text}");
}
