//! How a turn is stopped that another process, or another actor, has in hand. Whoever is asked to cancel a turn, or to delete
//! a conversation, stores that first and then tells all chat processes; each passes it on to the conversation if it has it.
//!
//! A word that is lost costs time only: the calls that run are compared with what is stored, every [`LOOK`].

use std::{sync::Arc, time::Duration};

use bus::SubscribeError;
use wire::subject;

use crate::resources::Resources;

/// Between two looks for calls that nobody wants.
const LOOK: Duration = Duration::from_secs(2);

/// Starts to listen for what other processes say, and to look for what was not heard.
pub async fn start(resources: &Arc<Resources>) -> Result<(), SubscribeError> {
    let in_hand = resources.in_hand.clone();
    let hear = move |heard: &str| {
        if let Some((conversation, turn)) = subject::stopped(heard) {
            in_hand.stop(conversation, turn);
        }
    };
    resources.bus.hear("stops", subject::STOPS, hear).await?;
    let (shared, drain) = (resources.clone(), resources.drain.clone());
    resources.drain.spawn("unwanted calls", async move {
        tokio::select! {
            () = look(&shared) => {}
            () = drain.draining() => {}
        }
    });
    Ok(())
}

async fn look(resources: &Resources) {
    loop {
        tokio::time::sleep(LOOK).await;
        let running = resources.in_hand.running();
        if running.is_empty() {
            continue;
        }
        match resources.store.unwanted(&running).await {
            Ok(unwanted) => {
                for (call, gone) in unwanted {
                    resources.in_hand.stop(call.conversation, (!gone).then_some(call.turn));
                }
            }
            Err(error) => tracing::warn!(%error, "unwanted calls could not be looked for"),
        }
    }
}
