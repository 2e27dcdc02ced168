//! Events: told over core NATS to whoever listens at the moment. Nothing durable depends on them.

use async_nats::HeaderMap;
use futures::{Stream, StreamExt, stream, stream::BoxStream};
use tokio::sync::watch;
use wire::{Encoding, TurnEvent, TurnId, UserId, header, limits::PAYLOAD_BYTES_MAX, subject};

use crate::{Bus, CallError};

/// The events of a turn, from the moment on at which they were asked for. Some may never come: what counts is the turn.
pub struct TurnEvents {
    told: BoxStream<'static, TurnEvent>,
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
        // The server would end the connection of the whole role.
        if body.len() > PAYLOAD_BYTES_MAX {
            return tracing::warn!(bytes = body.len(), "an event is too large to be told");
        }
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
        // What cannot be read, such as an event of a later version, is passed over.
        let told = told.filter_map(|message| async move {
            let event = serde_json::from_slice(&message.payload);
            event.inspect_err(|error| tracing::debug!(%error, "an event could not be read")).ok()
        });
        Ok(TurnEvents { told: told.boxed(), reconnects })
    }

    /// The events of a turn as they are told to its sender, in answers. When those end nothing more is heard.
    pub fn listen_to_steps(&self, steps: impl Stream<Item = TurnEvent> + Send + 'static) -> TurnEvents {
        TurnEvents { told: steps.chain(stream::pending()).boxed(), reconnects: self.reconnects() }
    }
}

impl TurnEvents {
    /// Waits for the next one; none once the connection is closed for good. Nothing is lost if this is dropped while it waits.
    pub async fn next(&mut self) -> Option<Noticed> {
        tokio::select! {
            biased;
            Ok(()) = self.reconnects.changed() => Some(Noticed::Reconnected),
            event = self.told.next() => event.map(Noticed::Event),
        }
    }
}
