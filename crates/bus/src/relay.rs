//! One subscription to the events of a turn, however many readers of it this process has: the server sends each event once, and
//! it is handed on to all of them here.

use std::{collections::HashMap, sync::Arc};

use async_nats::Subscriber;
use futures::{StreamExt, stream};
use tokio::sync::{Mutex, broadcast};
use wire::TurnEvent;

use crate::{
    Bus, CallError,
    live::{Events, Noticed, read},
};

/// Events that wait for a reader. One who is further behind is told that some are missing.
const WAITING_MAX: usize = 64;

/// The turns that are listened to, by the subject of their events.
///
/// The lock is held until a subscription is on its way to the server, so that whatever a later reader asks comes after it.
#[derive(Clone, Default)]
pub(crate) struct Relays(Arc<Mutex<HashMap<String, broadcast::Sender<TurnEvent>>>>);

impl Bus {
    /// What is told there from now on.
    pub(crate) async fn relayed(&self, subject: String) -> Result<Events<TurnEvent>, CallError> {
        let mut relays = self.relays.0.lock().await;
        let told = match relays.get(&subject) {
            Some(relay) => relay.subscribe(),
            None => {
                let subscriber = self.client.subscribe(subject.clone()).await;
                let subscriber = subscriber.map_err(|_| CallError::Disconnected)?;
                let (relay, told) = broadcast::channel(WAITING_MAX);
                relays.insert(subject.clone(), relay.clone());
                self.drain.spawn("turn-relay", self.relays.clone().run(subject, subscriber, relay));
                told
            }
        };
        drop(relays);
        let told = stream::unfold(told, |mut told| async move {
            match told.recv().await {
                Ok(event) => Some((Noticed::Event(event), told)),
                Err(broadcast::error::RecvError::Lagged(_)) => Some((Noticed::Missed, told)),
                Err(broadcast::error::RecvError::Closed) => None,
            }
        });
        Ok(Events::new(told, self.reconnects()))
    }
}

impl Relays {
    /// Hands on what comes, until nobody listens any more or nothing more can come.
    async fn run(self, subject: String, mut told: Subscriber, relay: broadcast::Sender<TurnEvent>) {
        loop {
            tokio::select! {
                message = told.next() => match message {
                    // An error means that nobody listens: that is seen to below.
                    Some(message) => _ = read(&message).map(|event| relay.send(event)),
                    None => {
                        self.0.lock().await.remove(&subject);
                        return;
                    }
                },
                () = relay.closed() => {
                    let mut relays = self.0.lock().await;
                    // Unless somebody has come meanwhile.
                    if relay.receiver_count() == 0 {
                        relays.remove(&subject);
                        return;
                    }
                }
            }
        }
    }
}
