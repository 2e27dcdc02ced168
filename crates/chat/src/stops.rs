//! How a turn is stopped that another process, or another actor, has in hand. Whoever is asked to cancel a turn, or to delete
//! a conversation, stores that first and then tells all chat processes; each passes it on to the conversation if it has it.
//!
//! Readers who come half-way ask for what was said so far in the same manner, and whoever makes the call tells them.
//!
//! A word that is lost costs time only: the calls that run are compared with what is stored, every [`LOOK`].

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bus::SubscribeError;
use ractor::{ActorId, ActorRef};
use wire::{ConversationId, TurnId, subject};

use crate::{audience::Audience, conversation::Message, resources::Resources, store::Running};

/// Between two looks for calls that nobody wants.
const LOOK: Duration = Duration::from_secs(2);

/// The conversations that this process has in memory, and the calls that are made for them.
#[derive(Clone, Default)]
pub struct InHand(Arc<Mutex<All>>);

#[derive(Default)]
struct All {
    held: HashMap<ConversationId, Held>,
    calls: HashMap<TurnId, Audience>,
}

struct Held {
    actor: ActorRef<Message>,
    calls_for: Option<TurnId>,
}

/// A conversation that is in memory as long as this is.
pub struct Registration {
    all: InHand,
    conversation: ConversationId,
    actor: ActorId,
    call: Option<(TurnId, Audience)>,
}

impl InHand {
    /// Notes that this actor has the conversation from now on.
    pub(crate) fn register(&self, conversation: ConversationId, actor: ActorRef<Message>) -> Registration {
        let id = actor.get_id();
        self.lock().held.insert(conversation, Held { actor, calls_for: None });
        Registration { all: self.clone(), conversation, actor: id, call: None }
    }

    /// Tells the conversation, if this process has it, that a turn is wanted no more, or that it was deleted.
    pub(crate) fn stop(&self, conversation: ConversationId, turn: Option<TurnId>) {
        if let Some(held) = self.lock().held.get(&conversation) {
            // One that is ending has nothing to stop.
            let _ = held.actor.cast(Message::Stop(turn));
        }
    }

    /// Those who are told of the call for a turn, if it is made here.
    fn audience(&self, turn: TurnId) -> Option<Audience> {
        self.lock().calls.get(&turn).cloned()
    }

    /// The calls that run.
    fn running(&self) -> Vec<Running> {
        let all = self.lock();
        let calls = all.held.iter().filter_map(|(conversation, held)| {
            held.calls_for.map(|turn| Running { conversation: *conversation, turn })
        });
        calls.collect()
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration {
    /// Notes for which turn the model is being called, and who is told of it.
    pub(crate) fn calls_for(&mut self, call: Option<(TurnId, &Audience)>) {
        // Told after every event, and rarely anything new.
        let same = match (&self.call, call) {
            (Some((turn, audience)), Some((now, told))) => *turn == now && audience.is(told),
            (before, now) => before.is_none() && now.is_none(),
        };
        if same {
            return;
        }
        let mut all = self.all.lock();
        if let Some((turn, audience)) = self.call.take() {
            all.forget(turn, &audience);
        }
        if let Some(held) = all.held.get_mut(&self.conversation)
            && held.actor.get_id() == self.actor
        {
            held.calls_for = call.map(|(turn, _)| turn);
            if let Some((turn, audience)) = call {
                all.calls.insert(turn, audience.clone());
                self.call = Some((turn, audience.clone()));
            }
        }
    }
}

impl All {
    fn forget(&mut self, turn: TurnId, audience: &Audience) {
        if self.calls.get(&turn).is_some_and(|known| known.is(audience)) {
            self.calls.remove(&turn);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        if let Some((turn, audience)) = self.call.take() {
            all.forget(turn, &audience);
        }
        if let Entry::Occupied(held) = all.held.entry(self.conversation)
            && held.get().actor.get_id() == self.actor
        {
            held.remove();
        }
    }
}

/// Starts to listen for what other processes say, and to look for what was not heard.
pub async fn start(resources: &Arc<Resources>) -> Result<(), SubscribeError> {
    let in_hand = resources.in_hand.clone();
    let hear = move |heard: &str| {
        if let Some((conversation, turn)) = subject::stopped(heard) {
            in_hand.stop(conversation, turn);
        }
    };
    resources.bus.hear("stops", subject::STOPS, hear).await?;
    let in_hand = resources.in_hand.clone();
    resources.bus.give_snapshots(move |turn| in_hand.audience(turn)?.so_far()).await?;
    let (shared, drain) = (resources.clone(), resources.drain.clone());
    resources.drain.spawn("unwanted calls", async move {
        tokio::select! {
            () = look(&shared) => {}
            () = drain.draining() => {}
        }
    });
    Ok(())
}

async fn look(resources: &Resources) {
    loop {
        tokio::time::sleep(LOOK).await;
        let running = resources.in_hand.running();
        if running.is_empty() {
            continue;
        }
        match resources.store.unwanted(&running).await {
            Ok(unwanted) => {
                for (call, gone) in unwanted {
                    resources.in_hand.stop(call.conversation, (!gone).then_some(call.turn));
                }
            }
            Err(error) => tracing::warn!(%error, "unwanted calls could not be looked for"),
        }
    }
}
