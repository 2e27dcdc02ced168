//! `omnichat sim-provider`

use host::Environment;
use llm::simulator::{Options, Simulator};

use crate::{
    cli::{Shared, SimProviderOptions},
    config,
};

/// Runs the simulated provider until a signal.
#[expect(clippy::print_stdout, reason = "the address, for scripts")]
pub async fn run(shared: &Shared, options: SimProviderOptions) -> anyhow::Result<()> {
    let environment = Environment::of_process();
    let (config, _) = config::load(shared, &environment)?;
    host::telemetry::init(&config.log, &environment)?;
    let pace = Options { first_ms: options.first_ms, chunk_ms: options.chunk_ms, ..Options::default() };
    let mut simulator = Simulator::start(options.listen, pace).await?;
    println!("{}", simulator.base_url());
    let drain = host::Drain::new();
    tokio::select! {
        ended = simulator.run() => Ok(ended?),
        () = drain.draining() => Ok(()),
        signals = drain.signals() => Ok(signals?),
    }
}
