//! What was said so far of a turn that runs: asked for by readers who come half-way or have missed something, and told by
//! whoever makes the call. Every process is asked, and all others are silent, so nobody has to know who it is.

use std::time::Duration;

use async_nats::{Message, SubscribeError, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use tokio::time::{Instant, timeout_at};
use wire::{TurnEvent, TurnId, subject};

use crate::{Bus, CallError};

/// It comes within milliseconds, or nobody makes the call at the moment.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is told of a turn until now, as it comes in.
#[derive(Debug)]
pub struct Snapshot {
    told: Subscriber,
    until: Instant,
}

impl Bus {
    /// Asks for what was said of a turn until now. What is told later comes as its events; where the two meet, some of it may
    /// come twice.
    ///
    /// # Errors
    /// [`CallError::Disconnected`] once the connection was closed for good.
    pub async fn ask_for_snapshot(&self, turn: TurnId) -> Result<Snapshot, CallError> {
        let inbox = self.client.new_inbox();
        let told = self.client.subscribe(inbox.clone()).await.map_err(|_| CallError::Disconnected)?;
        let asked = self.client.publish_with_reply(subject::snapshot(turn), inbox, Bytes::new());
        asked.await.map_err(|_| CallError::Disconnected)?;
        Ok(Snapshot { told, until: Instant::now() + PATIENCE })
    }

    /// Answers whoever asks, until the process drains. `take` gives the events that tell what was said of a turn, if its call
    /// is made here; each is to be small enough to be sent.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn give_snapshots(
        &self,
        take: impl Fn(TurnId) -> Option<Vec<TurnEvent>> + Send + 'static,
    ) -> Result<(), SubscribeError> {
        let mut asked = self.client.subscribe(subject::SNAPSHOTS).await?;
        let bus = self.clone();
        self.drain.spawn("snapshots", async move {
            loop {
                let question = tokio::select! {
                    Some(question) = asked.next() => question,
                    () = bus.drain.draining() => break,
                    else => break,
                };
                if let Some(events) = subject::turn_of_snapshot(&question.subject).and_then(&take) {
                    bus.give(&question, &events).await;
                }
            }
        });
        Ok(())
    }

    async fn give(&self, question: &Message, events: &[TurnEvent]) {
        let Some(inbox) = &question.reply else { return };
        // An empty message is the end.
        let bodies = events.iter().filter_map(|event| serde_json::to_vec(event).ok()).chain([Vec::new()]);
        for body in bodies {
            if let Err(error) = self.client.publish(inbox.clone(), body.into()).await {
                tracing::debug!(%error, "a snapshot was not sent");
            }
        }
    }
}

impl Snapshot {
    /// Waits for the next event; none when that was all, or nobody tells more. Nothing is lost if this is dropped while it
    /// waits.
    pub async fn next(&mut self) -> Option<TurnEvent> {
        let message = timeout_at(self.until, self.told.next()).await.ok()??;
        // Also where nobody is asked at all, and the server says so.
        if message.payload.is_empty() {
            return None;
        }
        let event = serde_json::from_slice(&message.payload);
        event.inspect_err(|error| tracing::debug!(%error, "a snapshot could not be read")).ok()
    }
}
