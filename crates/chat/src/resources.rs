//! What every actor of this process works with.

use std::time::Duration;

use bus::Bus;
use host::{Drain, share::Shares};
use llm::Gateway;
use wire::{TurnId, UserId};

use crate::{
    Config, holdings::Holdings, in_hand::InHand, model::CallMade, residents::Residents, store::Store,
    writer::Writer,
};

/// A turn does not wait longer than this for the books to be kept.
const RECORD_WAIT: Duration = Duration::from_secs(2);

/// Shared by all actors.
pub struct Resources {
    /// The connection in the role `chat`.
    pub bus: Bus,
    /// What turns need to read, and the rare writes.
    pub store: Store,
    /// What users ask for, over connections of their own: turns never wait for it.
    pub requests: Store,
    /// The writes of turns.
    pub writer: Writer,
    /// The models.
    pub gateway: Gateway,
    /// What can be set.
    pub config: Config,
    /// Owns the tasks.
    pub drain: Drain,
    /// Names this process among the workers, and in the database.
    pub worker: String,
    /// Turns that run now, by user.
    pub running: Shares<UserId>,
    /// Conversations in memory, to tell them that something is to stop.
    pub in_hand: InHand,
    /// Partitions that this process owns now.
    pub holdings: Holdings,
    /// Conversations in memory, counted.
    pub residents: Residents,
}

impl Resources {
    /// Notes a call of which no outcome tells. One that cannot be noted now is lost to the books until its provider is asked.
    pub async fn record_call(&self, call: &CallMade) {
        self.record("call", self.store.record_call(call)).await;
    }

    /// Notes what the provider calls a call that runs.
    pub async fn record_generation(&self, turn: TurnId, attempt: i16, provider: &str, generation_id: &str) {
        self.record("generation", self.store.record_generation(turn, attempt, provider, generation_id)).await;
    }

    async fn record(&self, what: &'static str, done: impl Future<Output = sqlx::Result<()>>) {
        let done = tokio::time::timeout(RECORD_WAIT, done).await;
        let error = match done {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "Postgres took too long".to_owned(),
        };
        tracing::warn!(what, error, "what is known of a call could not be kept");
        metrics::counter!("omnichat_calls_unrecorded_total").increment(1);
    }
}
