//! `omnichat nats`: what people need who use NATS themselves.

mod context;

use bus::CalloutKeys;
use secrecy::{ExposeSecret, SecretString};

use crate::cli::{ContextCommand, NatsCommand};

/// `omnichat nats …`
pub async fn run(command: NatsCommand) -> anyhow::Result<()> {
    match command {
        NatsCommand::Keys => print_keys(),
        NatsCommand::Context { command: ContextCommand::Save(options) } => context::save(options).await,
    }
}

/// New keys for the callout, as variables: the seeds for the role auth, the public halves for the server.
#[expect(clippy::print_stdout, reason = "what the command is for")]
fn print_keys() -> anyhow::Result<()> {
    let keys = CalloutKeys::random();
    let seeds = keys.seeds().ok_or_else(|| anyhow::anyhow!("new keys have no seeds"))?;
    let text = |seed: &Option<SecretString>| seed.as_ref().map_or("", |seed| seed.expose_secret()).to_owned();
    println!("OMNICHAT__NATS__CALLOUT__ISSUER_SEED={}", text(&seeds.issuer_seed));
    println!("OMNICHAT__NATS__CALLOUT__CURVE_SEED={}", text(&seeds.curve_seed));
    println!("OMNICHAT_NATS_CALLOUT_ISSUER={}", keys.issuer());
    println!("OMNICHAT_NATS_CALLOUT_CURVE={}", keys.curve());
    Ok(())
}
