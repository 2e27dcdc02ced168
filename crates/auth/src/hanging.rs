//! Workers that hang: stopped, or cut off without a word. To the server they are there, and get their share of all requests, which
//! nobody answers. So the server is made to end their connections; a worker that comes to itself connects again.

use bus::{Bus, Connections, Role, SubscribeError};
use host::Drain;
use wire::subject;

/// Ends, over `warden`, the connection of every worker that the others, over `bus`, call silent.
///
/// # Errors
/// The connection is closed.
pub async fn start(bus: &Bus, warden: Bus, drain: &Drain) -> Result<(), SubscribeError> {
    let (connections, drain) = (Connections::new(warden), drain.clone());
    let hear = move |heard: &str| {
        if let Some(worker) = subject::silent_worker(heard) {
            drain.spawn("end of a hanging worker", end(connections.clone(), worker.to_owned()));
        }
    };
    bus.hear("silent workers", subject::SILENT, hear).await
}

async fn end(connections: Connections, worker: String) {
    match connections.end_listener(Role::Chat, &subject::presence(&worker)).await {
        Ok(true) => tracing::warn!(worker, "ended the connection of a worker that hangs"),
        // Somebody else was faster, or it is dead.
        Ok(false) => {}
        Err(error) => tracing::warn!(worker, %error, "the connection of a worker that hangs is not found"),
    }
}
