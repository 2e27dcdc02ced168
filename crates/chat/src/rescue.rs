//! Finds turns that were accepted and have no outcome, whether or not the stream still knows them, and has their
//! conversations go on with them.

use std::{sync::Arc, time::Duration};

use ractor::ActorRef;

use crate::{resources::Resources, worker};

/// Before the database is asked again after an error.
const RETRY: Duration = Duration::from_secs(1);

/// Looks once, when the worker has started.
pub fn start(resources: &Arc<Resources>, worker: ActorRef<worker::Message>) {
    let shared = resources.clone();
    resources.drain.spawn("rescue", async move {
        let search = async {
            loop {
                match shared.store.open_conversations(shared.config.rescue_hours).await {
                    Ok(open) => break open,
                    Err(error) => tracing::warn!(%error, "open turns could not be looked for; trying again"),
                }
                tokio::time::sleep(RETRY).await;
            }
        };
        let open = tokio::select! {
            open = search => open,
            () = shared.drain.draining() => return,
        };
        if !open.is_empty() {
            tracing::info!(conversations = open.len(), "found conversations with open turns");
        }
        for (partition, conversation) in open {
            let number = u16::try_from(partition).unwrap_or_default();
            let _ = worker.cast(worker::Message::Wake(number, conversation));
        }
    });
}
