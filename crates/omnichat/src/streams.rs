//! `omnichat provision`

use anyhow::bail;
use bus::{Bus, ProvisionError, Provisioner};
use host::{Drain, Environment};

use crate::{
    cli::Shared,
    config::{self, Config},
};

/// The streams as they are configured.
pub fn planned(config: &Config, bus: &Bus) -> Result<Provisioner, ProvisionError> {
    Ok(config.limits.of_streams(Provisioner::new(bus)?).replicas(config.nats.replicas))
}

/// Makes the streams and consumers, or shows what differs.
#[expect(clippy::print_stdout, reason = "what the command is for")]
pub async fn provision(shared: &Shared, check: bool) -> anyhow::Result<()> {
    let (config, _) = config::load(shared, &Environment::of_process())?;
    let bus = Bus::connect(&config.nats, bus::Role::Provisioner, &Drain::new()).await?;
    bus.ready(&config.nats).await?;
    let provisioner = planned(&config, &bus)?;
    let differences = if check { provisioner.differences().await? } else { provisioner.apply().await? };
    for difference in &differences {
        println!("{}{difference}", if check { "" } else { "mended: " });
    }
    match (differences.is_empty(), check) {
        (true, _) => println!("streams and consumers are as they should be"),
        (false, true) => bail!("{} differences: run `omnichat provision`", differences.len()),
        (false, false) => {}
    }
    Ok(())
}
