//! Removes for good what was deleted some time ago, a little at a time: deleted conversations, and the turns of those that
//! went with their project or user. Until then nobody can read it, but the keys of its turns are taken.

use std::{sync::Arc, time::Duration};

use host::postgres::Pool;
use sqlx::ConnectOptions;

use crate::{
    resources::Resources,
    store::{Graveyard, SESSION},
};

/// Between two statements, so that the disk is there for turns.
const BREATH: Duration = Duration::from_millis(20);

/// Looks every `chat.purge_every_s`, over a connection of its own for as long as a round takes.
pub fn start(resources: &Arc<Resources>, pool: &Pool) {
    let (shared, pool) = (resources.clone(), pool.clone());
    let rounds = async move {
        loop {
            tokio::time::sleep(pause(shared.config.purge_every_s)).await;
            if let Err(error) = round(&pool, shared.config.purge_after_hours).await {
                tracing::warn!(%error, "what was deleted could not be removed; it is tried again later");
            }
        }
    };
    let drain = resources.drain.clone();
    resources.drain.spawn("purge", async move {
        // Each statement is whole in itself, so it may be left anywhere.
        tokio::select! {
            () = rounds => {}
            () = drain.draining() => {}
        }
    });
}

/// A little more or less, so that processes started together do not come together.
fn pause(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into()).mul_f64(rand::random_range(0.5..1.5))
}

async fn round(pool: &Pool, hours: u32) -> sqlx::Result<()> {
    let hours = i32::try_from(hours).unwrap_or(i32::MAX);
    let connection = pool
        .patience()
        .wait(async { pool.connect_options().options(SESSION.iter().copied()).connect().await })
        .await?;
    let Some(mut graveyard) = Graveyard::enter(connection, pool.patience(), hours).await? else {
        return Ok(());
    };
    while graveyard.bury().await? {
        tokio::time::sleep(BREATH).await;
    }
    let mut conversations = 0;
    while let Some(conversation) = graveyard.next().await? {
        while graveyard.remove_turns(conversation).await? {
            tokio::time::sleep(BREATH).await;
        }
        graveyard.forget(conversation).await?;
        metrics::counter!("omnichat_purged_conversations_total").increment(1);
        conversations += 1;
    }
    if conversations > 0 {
        tracing::info!(conversations, "removed what was deleted");
    }
    Ok(())
}
