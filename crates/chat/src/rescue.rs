//! Finds turns that were accepted and have no outcome, whether or not the stream still knows them, and has their
//! conversations go on with them. A turn that its conversation has in hand is not disturbed.

use std::{sync::Arc, time::Duration};

use ractor::ActorRef;
use wire::ConversationId;

use crate::{model::Ownership, resources::Resources, worker};

/// Before the database is asked again after an error.
const RETRY: Duration = Duration::from_secs(1);
/// One statement looks at the turns of so many seconds: few enough for it to end in time, however many there were.
const SLICE_S: i32 = 600;
/// How often the youngest turns are looked at.
const EVERY: Duration = Duration::from_secs(5);
/// Those of this age, in seconds. What is younger is likely on its way; what is older was looked at before.
const YOUNG_S: (i32, i32) = (5, 20);
/// Every so many looks, one slice of all that may be open.
const LOOKS_PER_SLICE: u32 = 6;

/// Looks once through all that may be open in these partitions, the newest turns first: they were just taken.
pub fn search(resources: &Arc<Resources>, worker: ActorRef<worker::Message>, partitions: Vec<i16>) {
    let shared = resources.clone();
    resources.drain.spawn("rescue", async move {
        let search = async {
            for younger in slices(shared.config.rescue_hours) {
                let found = slice(&shared, &partitions, younger, younger + SLICE_S).await;
                if !found.is_empty() {
                    tracing::info!(conversations = found.len(), "found conversations with open turns");
                }
                wake(&worker, found);
            }
        };
        tokio::select! {
            () = search => {}
            () = shared.drain.draining() => {}
        }
    });
}

/// Looks again and again, at what this process owns: for turns that nobody has in hand any more, and for partitions that
/// have another owner.
pub fn watch(resources: &Arc<Resources>, worker: ActorRef<worker::Message>) {
    let shared = resources.clone();
    resources.drain.spawn("rescue watch", async move {
        let mut older = slices(shared.config.rescue_hours).cycle();
        let looks = async {
            for look in 1_u32.. {
                tokio::time::sleep(EVERY).await;
                let owned = give_up_lost(&shared, &worker).await;
                wake(&worker, slice(&shared, &owned, YOUNG_S.0, YOUNG_S.1).await);
                if look.is_multiple_of(LOOKS_PER_SLICE)
                    && let Some(younger) = older.next()
                {
                    let younger = younger.max(YOUNG_S.1);
                    wake(&worker, slice(&shared, &owned, younger, younger + SLICE_S).await);
                }
            }
        };
        tokio::select! {
            () = looks => {}
            () = shared.drain.draining() => {}
        }
    });
}

fn slices(hours: u32) -> impl Iterator<Item = i32> + Clone {
    let seconds = i32::try_from(hours).unwrap_or(i32::MAX / 3600) * 3600;
    (0..seconds).step_by(SLICE_S as usize)
}

fn wake(worker: &ActorRef<worker::Message>, found: Vec<(i16, ConversationId)>) {
    for (partition, conversation) in found {
        let number = u16::try_from(partition).unwrap_or_default();
        let _ = worker.cast(worker::Message::Wake(number, conversation));
    }
}

/// A worker that was stopped for a while, and has nothing to write, would never hear of it.
async fn give_up_lost(resources: &Resources, worker: &ActorRef<worker::Message>) -> Vec<i16> {
    let mut owned = resources.holdings.all();
    match resources.store.lost_partitions(&owned).await {
        Ok(lost) => {
            for Ownership { partition, .. } in &lost {
                let _ = worker.cast(worker::Message::Lost(u16::try_from(*partition).unwrap_or_default()));
            }
            owned.retain(|ownership| !lost.contains(ownership));
        }
        Err(error) => tracing::warn!(%error, "the owners could not be looked up; trying again later"),
    }
    owned.into_iter().map(|ownership| ownership.partition).collect()
}

async fn slice(
    resources: &Resources,
    partitions: &[i16],
    younger_s: i32,
    older_s: i32,
) -> Vec<(i16, ConversationId)> {
    loop {
        match resources.store.open_conversations(partitions, younger_s, older_s).await {
            Ok(open) => return open,
            Err(error) => tracing::warn!(%error, "open turns could not be looked for; trying again"),
        }
        tokio::time::sleep(RETRY).await;
    }
}
