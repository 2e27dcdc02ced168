//! A process of its own that plays the model: it answers at once and keeps no prompts.

use std::net::Ipv4Addr;

use llm::simulator::{Options, Simulator};
use tokio::io::AsyncReadExt;

/// The model it is asked for.
pub const MODEL: &str = "simulator";

/// Prints its base URL and serves until standard input ends: with the process that started it.
#[expect(clippy::print_stdout, reason = "the base URL, for the process that started this one")]
pub async fn run() -> anyhow::Result<()> {
    let options = Options { log_prompts: false, log_calls_max: 0, ..Options::default() };
    let mut simulator = Simulator::start((Ipv4Addr::LOCALHOST, 0).into(), options).await?;
    println!("{}", simulator.base_url());
    let (mut input, mut nothing) = (tokio::io::stdin(), Vec::new());
    tokio::select! {
        ended = simulator.run() => Ok(ended?),
        read = input.read_to_end(&mut nothing) => Ok(read.map(drop)?),
    }
}
