//! SIGHUP: the configuration is read again and judged, and takes effect at the next start. What runs goes on with what it
//! has, so a bad file harms nobody, and whoever wrote it is told.

use host::{Drain, Environment};
use tokio::signal::unix::{SignalKind, signal};

use crate::{cli::Shared, config};

/// Judges the configuration at every SIGHUP, until the process drains.
///
/// # Errors
/// The process cannot listen for signals.
pub fn watch(shared: &Shared, drain: &Drain) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let (shared, drained) = (shared.clone(), drain.clone());
    drain.spawn("reload", async move {
        loop {
            tokio::select! {
                _ = hangup.recv() => judge(&shared),
                () = drained.draining() => return,
            }
        }
    });
    Ok(())
}

fn judge(shared: &Shared) {
    match config::load(shared, &Environment::of_process()) {
        Ok(_) => tracing::info!("SIGHUP: the configuration is good, and takes effect at the next start"),
        Err(error) => tracing::error!(%error, "SIGHUP: the configuration is not good; nothing is changed"),
    }
}
