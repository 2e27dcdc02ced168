//! Finds turns that were accepted and have no outcome, whether or not the stream still knows them, and has their
//! conversations go on with them.

use std::{sync::Arc, time::Duration};

use ractor::ActorRef;

use crate::{resources::Resources, worker};

/// Before the database is asked again after an error.
const RETRY: Duration = Duration::from_secs(1);
/// One statement looks at the turns of this many minutes: few enough for it to end in time, however many there were.
const SLICE_MINUTES: i32 = 10;

/// Looks once, the newest turns first: when the worker starts, and when a partition is started again.
pub fn start(resources: &Arc<Resources>, worker: ActorRef<worker::Message>, partitions: Vec<i16>) {
    let shared = resources.clone();
    resources.drain.spawn("rescue", async move {
        let minutes = i32::try_from(shared.config.rescue_hours).unwrap_or(i32::MAX / 60) * 60;
        let search = async {
            for younger in (0..minutes).step_by(SLICE_MINUTES as usize) {
                for (partition, conversation) in slice(&shared, &partitions, younger).await {
                    let number = u16::try_from(partition).unwrap_or_default();
                    let _ = worker.cast(worker::Message::Wake(number, conversation));
                }
            }
        };
        tokio::select! {
            () = search => {}
            () = shared.drain.draining() => {}
        }
    });
}

async fn slice(resources: &Resources, partitions: &[i16], younger: i32) -> Vec<(i16, wire::ConversationId)> {
    loop {
        match resources.store.open_conversations(partitions, younger, younger + SLICE_MINUTES).await {
            Ok(open) => {
                if !open.is_empty() {
                    tracing::info!(conversations = open.len(), "found conversations with open turns");
                }
                return open;
            }
            Err(error) => tracing::warn!(%error, "open turns could not be looked for; trying again"),
        }
        tokio::time::sleep(RETRY).await;
    }
}
