//! Events: told over core NATS to whoever listens at the moment. Nothing durable depends on them.

use async_nats::{HeaderMap, Subject, Subscriber};
use futures::StreamExt;
use tokio::sync::watch;
use wire::{Encoding, TurnEvent, TurnId, UserId, header, subject};

use crate::{Bus, CallError};

/// The events of a turn, from the moment on at which they were asked for. Some may never come: what counts is the turn.
pub struct TurnEvents {
    told: Subscriber,
    reconnects: watch::Receiver<u64>,
}

/// The events of all turns of a user, in the same way.
pub struct UserEvents(TurnEvents);

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
        self.listen_on(subject::turn_events(user, turn)).await
    }

    /// Listens to all turns of this user, also to those that are still to come.
    ///
    /// # Errors
    /// [`CallError::Disconnected`] once the connection was closed for good.
    pub async fn listen_to_all(&self, user: UserId) -> Result<UserEvents, CallError> {
        self.listen_on(subject::all_turn_events(user)).await.map(UserEvents)
    }

    async fn listen_on(&self, subject: String) -> Result<TurnEvents, CallError> {
        let reconnects = self.reconnects();
        let told = self.client.subscribe(subject).await.map_err(|_| CallError::Disconnected)?;
        Ok(TurnEvents { told, reconnects })
    }
}

impl TurnEvents {
    /// Waits for the next one; none once the connection is closed for good. What cannot be read, such as an event of a
    /// later version, is passed over. Nothing is lost if this is dropped while it waits.
    pub async fn next(&mut self) -> Option<Noticed> {
        self.notice().await.map(|(_, noticed)| noticed)
    }

    /// The same, with the subject that an event came on.
    async fn notice(&mut self) -> Option<(Option<Subject>, Noticed)> {
        loop {
            let message = tokio::select! {
                biased;
                Ok(()) = self.reconnects.changed() => return Some((None, Noticed::Reconnected)),
                message = self.told.next() => message?,
            };
            match serde_json::from_slice(&message.payload) {
                Ok(event) => return Some((Some(message.subject), Noticed::Event(event))),
                Err(error) => tracing::debug!(%error, "an event could not be read"),
            }
        }
    }
}

impl UserEvents {
    /// Waits for the next one, as [`TurnEvents::next`] does; says which turn it is of, if it is an event.
    pub async fn next(&mut self) -> Option<(Option<TurnId>, Noticed)> {
        let (subject, noticed) = self.0.notice().await?;
        Some((subject.and_then(|subject| subject::turn_of_event(&subject)), noticed))
    }
}
