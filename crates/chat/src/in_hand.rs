//! The conversations that this process has in memory, and the calls to the model that are made for them.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ractor::{ActorId, ActorRef};
use wire::{ConversationId, TurnEvent, TurnId};

use crate::{audience::Audience, conversation::Message, store::Running};

/// All of them.
#[derive(Clone, Default)]
pub struct InHand(Arc<Mutex<All>>);

#[derive(Default)]
struct All {
    actors: HashMap<ConversationId, ActorRef<Message>>,
    calls: HashMap<TurnId, Call>,
}

struct Call {
    conversation: ConversationId,
    /// No other call has the same.
    audience: Audience,
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
        self.lock().actors.insert(conversation, actor);
        Registration { all: self.clone(), conversation, actor: id, call: None }
    }

    /// Tells the conversation, if this process has it, that a turn is wanted no more, or that it was deleted.
    pub(crate) fn stop(&self, conversation: ConversationId, turn: Option<TurnId>) {
        if let Some(actor) = self.lock().actors.get(&conversation) {
            // One that is ending has nothing to stop.
            let _ = actor.cast(Message::Stop(turn));
        }
    }

    /// What was told so far of the call for a turn, if it is made here and has begun.
    pub(crate) fn so_far(&self, turn: TurnId) -> Option<Vec<TurnEvent>> {
        let audience = self.lock().calls.get(&turn)?.audience.clone();
        audience.so_far()
    }

    /// The calls that run.
    pub(crate) fn running(&self) -> Vec<Running> {
        let all = self.lock();
        let calls = all.calls.iter();
        calls.map(|(turn, call)| Running { conversation: call.conversation, turn: *turn }).collect()
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
            (Some((_, before)), Some((_, now))) => before.is(now),
            (before, now) => before.is_none() && now.is_none(),
        };
        if same {
            return;
        }
        let mut all = self.all.lock();
        if let Some(before) = self.call.take() {
            all.forget(&before);
        }
        if let Some((turn, audience)) = call {
            let audience = audience.clone();
            all.calls.insert(turn, Call { conversation: self.conversation, audience: audience.clone() });
            self.call = Some((turn, audience));
        }
    }
}

impl All {
    /// A later owner of the turn in this process may have noted a call of its own.
    fn forget(&mut self, (turn, audience): &(TurnId, Audience)) {
        if self.calls.get(turn).is_some_and(|call| call.audience.is(audience)) {
            self.calls.remove(turn);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        if let Some(call) = self.call.take() {
            all.forget(&call);
        }
        if let Entry::Occupied(held) = all.actors.entry(self.conversation)
            && held.get().get_id() == self.actor
        {
            held.remove();
        }
    }
}
