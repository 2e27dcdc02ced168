//! Events: told over core NATS to whoever listens at the moment. Nothing durable depends on them.

use async_nats::HeaderMap;
use wire::{Encoding, TurnEvent, TurnId, UserId, header, subject};

use crate::Bus;

impl Bus {
    /// Tells step `seq` (from 1, without gap) of a turn.
    pub async fn tell(&self, user: UserId, turn: TurnId, seq: u64, event: &TurnEvent) {
        let Ok(body) = Encoding::Json.encode(event) else { return };
        let mut headers = HeaderMap::new();
        headers.insert(header::EVENT, event.name());
        headers.insert(header::SEQ, seq.to_string());
        if let Err(error) =
            self.client.publish_with_headers(subject::turn_events(user, turn), headers, body.into()).await
        {
            tracing::debug!(%error, "an event was not sent");
        }
    }
}
