//! Events: told over core NATS to whoever listens at the moment. Nothing durable depends on them.

use async_nats::{HeaderMap, Subscriber};
use futures::StreamExt;
use tokio::sync::watch;
use wire::{Encoding, TurnEvent, TurnId, UserId, header, subject};

use crate::{Bus, CallError};

/// The events of a turn, from the moment on at which they were asked for. Some may never come: what counts is the turn.
pub struct TurnEvents {
    told: Subscriber,
    reconnects: watch::Receiver<u64>,
}

/// What a listener notices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noticed {
    /// A step of the turn.
    Event(TurnEvent),
    /// The connection was lost and made again: steps may be missing.
    Reconnected,
}

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

    /// Listens to a turn of this user. The server takes what comes over one connection in order: what is told after a
    /// request that is made next, and is answered, is heard.
    ///
    /// # Errors
    /// [`CallError::Disconnected`] once the connection was closed for good.
    pub async fn listen(&self, user: UserId, turn: TurnId) -> Result<TurnEvents, CallError> {
        let reconnects = self.reconnects();
        let subscribed = self.client.subscribe(subject::turn_events(user, turn)).await;
        let told = subscribed.map_err(|_| CallError::Disconnected)?;
        Ok(TurnEvents { told, reconnects })
    }
}

impl TurnEvents {
    /// Waits for the next one; none once the connection is closed for good. What cannot be read, such as an event of a
    /// later version, is passed over. Nothing is lost if this is dropped while it waits.
    pub async fn next(&mut self) -> Option<Noticed> {
        loop {
            let message = tokio::select! {
                biased;
                Ok(()) = self.reconnects.changed() => return Some(Noticed::Reconnected),
                message = self.told.next() => message?,
            };
            match serde_json::from_slice(&message.payload) {
                Ok(event) => return Some(Noticed::Event(event)),
                Err(error) => tracing::debug!(%error, "an event could not be read"),
            }
        }
    }
}
