//! Users who are connected to NATS themselves: let in by the same proof as at the other door, and out when it holds no more.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bus::{Bus, CalloutKeys, Connection, Connections, SubscribeError, callout};
use host::Drain;
use wire::Fault;

use crate::{Error, proof::Prover};

/// Lets users in over `callout`; every `recheck` looks, over `warden`, whether those who are connected may stay.
///
/// # Errors
/// The connection is closed.
pub async fn start(
    callout: &Bus,
    warden: Bus,
    keys: CalloutKeys,
    prover: &Arc<Prover>,
    recheck: Duration,
    drain: &Drain,
) -> Result<(), SubscribeError> {
    let admitting = prover.clone();
    let admit = move |credential: String| {
        let prover = admitting.clone();
        async move {
            prover.prove(&credential).await.map_err(|error| {
                let sentence = error.to_string();
                let code = Fault::from(error).code;
                tracing::debug!(code = code.as_str(), error = sentence, "a credential was refused");
                code
            })
        }
    };
    callout::start(callout, keys, admit).await?;
    let (prover, ended) = (prover.clone(), drain.clone());
    drain.spawn("guests", async move {
        let connections = Connections::new(warden);
        loop {
            tokio::select! {
                () = tokio::time::sleep(recheck) => {}
                () = ended.draining() => return,
            }
            if let Err(problem) = expel(&connections, &prover).await {
                tracing::warn!(
                    problem,
                    "whether users may stay connected to NATS is not known; asked again soon"
                );
            }
        }
    });
    Ok(())
}

/// Ends the connections of those who may not stay.
async fn expel(connections: &Connections, prover: &Prover) -> Result<(), String> {
    let mut by_holder: HashMap<_, Vec<Connection>> = HashMap::new();
    for connection in connections.all().await.map_err(|error| error.to_string())? {
        by_holder.entry(connection.holder).or_default().push(connection);
    }
    let holders: Vec<_> = by_holder.keys().copied().collect();
    let expelled =
        if holders.is_empty() { Vec::new() } else { prover.expelled(&holders).await.map_err(told)? };
    for holder in expelled.into_iter().filter_map(|place| holders.get(place)) {
        let theirs = by_holder.get(holder).map_or(&[][..], Vec::as_slice);
        tracing::info!(user_id = %holder.user, connections = theirs.len(), "may not stay connected to NATS");
        for connection in theirs {
            connections.end(connection).await;
        }
    }
    Ok(())
}

fn told(error: Error) -> String {
    error.to_string()
}
