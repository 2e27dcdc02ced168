//! Events: told over core NATS to whoever listens at the moment. Nothing durable depends on them.

use async_nats::{HeaderMap, Message};
use futures::{Stream, StreamExt, future, stream, stream::BoxStream};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::watch;
use wire::{
    ConversationEvent, ConversationId, Encoding, TurnEvent, TurnId, UserId, header,
    limits::PAYLOAD_BYTES_MAX, subject,
};

use crate::{Bus, CallError};

/// Events, from the moment on at which they were asked for. Some may never come: what counts is what they are of.
pub struct Events<E> {
    told: BoxStream<'static, Noticed<E>>,
    reconnects: watch::Receiver<u64>,
}

/// The events of a turn.
pub type TurnEvents = Events<TurnEvent>;
/// The events of a conversation.
pub type ConversationEvents = Events<ConversationEvent>;
/// The events of all turns of a user, each with its turn.
pub type UserEvents = Events<(TurnId, TurnEvent)>;

/// What a listener notices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noticed<E = TurnEvent> {
    /// It happened.
    Event(E),
    /// Events may be missing: the connection was lost and made again, or who listens was too slow.
    Missed,
}

impl Bus {
    /// Tells step `seq` (from 1, without gap) of a turn.
    pub async fn tell(&self, user: UserId, turn: TurnId, seq: u64, event: &TurnEvent) {
        let mut headers = HeaderMap::new();
        headers.insert(header::EVENT, event.name());
        headers.insert(header::SEQ, seq.to_string());
        self.publish_event(subject::turn_events(user, turn), headers, event).await;
    }

    /// Tells what happens in a conversation.
    pub async fn tell_conversation(
        &self,
        user: UserId,
        conversation: ConversationId,
        event: &ConversationEvent,
    ) {
        let mut headers = HeaderMap::new();
        headers.insert(header::EVENT, event.name());
        self.publish_event(subject::conversation_events(user, conversation), headers, event).await;
    }

    async fn publish_event(&self, subject: String, headers: HeaderMap, event: &(impl Serialize + Sync)) {
        let Ok(body) = Encoding::Json.encode(event) else { return };
        // The server would end the connection of the whole role.
        if body.len() > PAYLOAD_BYTES_MAX {
            return tracing::warn!(bytes = body.len(), "an event is too large to be told");
        }
        if let Err(error) = self.client.publish_with_headers(subject, headers, body.into()).await {
            tracing::debug!(%error, "an event was not sent");
        }
    }

    /// Listens to a turn of this user. The server takes what comes over one connection in order: what is told after a
    /// request that is made next, and is answered, is heard.
    ///
    /// # Errors
    /// [`CallError::Disconnected`] once the connection was closed for good.
    pub async fn listen(&self, user: UserId, turn: TurnId) -> Result<TurnEvents, CallError> {
        self.relayed(subject::turn_events(user, turn)).await
    }

    /// Listens to all turns of this user, also to those that are still to come.
    ///
    /// # Errors
    /// [`CallError::Disconnected`] once the connection was closed for good.
    pub async fn listen_to_all(&self, user: UserId) -> Result<UserEvents, CallError> {
        let of_turn = |message: &Message| Some((subject::turn_of_event(&message.subject)?, read(message)?));
        self.events(subject::all_turn_events(user), of_turn).await
    }

    /// Listens to a conversation of this user, as [`Bus::listen`] does to a turn.
    ///
    /// # Errors
    /// [`CallError::Disconnected`] once the connection was closed for good.
    pub async fn listen_to_conversation(
        &self,
        user: UserId,
        conversation: ConversationId,
    ) -> Result<ConversationEvents, CallError> {
        self.events(subject::conversation_events(user, conversation), read).await
    }

    async fn events<E: Send + 'static>(
        &self,
        subject: String,
        read: fn(&Message) -> Option<E>,
    ) -> Result<Events<E>, CallError> {
        let told = self.client.subscribe(subject).await.map_err(|_| CallError::Disconnected)?;
        let told = told.filter_map(move |message| future::ready(read(&message).map(Noticed::Event)));
        Ok(Events::new(told, self.reconnects()))
    }

    /// The events of a turn as they are told to its sender, in answers. When those end nothing more is heard.
    pub fn listen_to_steps(&self, steps: impl Stream<Item = TurnEvent> + Send + 'static) -> TurnEvents {
        Events::new(steps.map(Noticed::Event).chain(stream::pending()), self.reconnects())
    }
}

/// What cannot be read, such as an event of a later version, is passed over.
pub(crate) fn read<E: DeserializeOwned>(message: &Message) -> Option<E> {
    let event = serde_json::from_slice(&message.payload);
    event.inspect_err(|error| tracing::debug!(%error, "an event could not be read")).ok()
}

impl<E> Events<E> {
    pub(crate) fn new(
        told: impl Stream<Item = Noticed<E>> + Send + 'static,
        reconnects: watch::Receiver<u64>,
    ) -> Self {
        Self { told: told.boxed(), reconnects }
    }

    /// Waits for the next one; none once the connection is closed for good. Nothing is lost if this is dropped while it waits.
    pub async fn next(&mut self) -> Option<Noticed<E>> {
        tokio::select! {
            biased;
            Ok(()) = self.reconnects.changed() => Some(Noticed::Missed),
            noticed = self.told.next() => noticed,
        }
    }
}
