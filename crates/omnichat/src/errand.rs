//! What a command that asks something, and ends, connects to: at once, or it says what is wrong.

use std::time::Duration;

use anyhow::bail;
use bus::{Bus, Role};
use host::Drain;
use tokio::time::timeout;

use crate::config::Config;

/// Longer than it takes where all is well.
const PATIENCE: Duration = Duration::from_secs(3);

/// Connects as `role`.
///
/// # Errors
/// NATS does not answer, or does not let the role's user in.
pub async fn connect(config: &Config, role: Role) -> anyhow::Result<Bus> {
    let bus = Bus::connect(&config.nats, role, &Drain::new()).await?;
    let Ok(ready) = timeout(PATIENCE, bus.ready(&config.nats)).await else {
        let (address, name) = (config.nats.address(), role.name());
        bail!("NATS does not answer at {address}: is it running, and is nats.passwords.{name} right?");
    };
    ready?;
    Ok(bus)
}
