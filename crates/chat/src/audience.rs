//! Who is told a turn in answers: its outcome, or the steps on the way to it.

use std::{
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bus::{Bus, Context, ReplyTo, Wants};
use wire::{Answer, Fault, TurnEvent, TurnId};

use crate::model::last_step;

/// The inbox of a sender.
#[derive(Debug)]
pub enum Inbox {
    /// It is told the outcome.
    Outcome(ReplyTo),
    /// It is told steps.
    Steps(Arc<Listener>),
    /// It was told all that it wanted.
    Satisfied,
}

/// Somebody who asked for steps.
#[derive(Debug)]
pub struct Listener {
    inbox: ReplyTo,
    /// Steps that were told.
    told: AtomicU64,
}

/// Those who are told the steps of a call, by whoever makes it. Who comes later is told what came before first.
#[derive(Debug, Clone, Default)]
pub struct Audience(Arc<Mutex<Members>>);

#[derive(Debug, Default)]
struct Members {
    following: Vec<Arc<Listener>>,
    joining: Vec<Arc<Listener>>,
}

impl Inbox {
    /// As it is wanted there.
    pub fn new(reply_to: ReplyTo) -> Self {
        match reply_to.wants() {
            Wants::Outcome => Self::Outcome(reply_to),
            Wants::Steps | Wants::Acceptance => {
                Self::Steps(Arc::new(Listener { inbox: reply_to, told: AtomicU64::new(0) }))
            }
        }
    }

    /// Tells that the turn is accepted, behind so many others. Gives who wants to be told more.
    pub async fn accepted(&mut self, bus: &Bus, turn_id: TurnId, before: u32) -> Option<Arc<Listener>> {
        let Self::Steps(listener) = self else { return None };
        listener.tell(bus, &TurnEvent::Accepted { turn_id, queue_position: Some(before) }).await;
        if listener.inbox.wants() == Wants::Steps {
            return Some(listener.clone());
        }
        bus.reply_end(&listener.inbox).await;
        *self = Self::Satisfied;
        None
    }
}

impl Listener {
    /// Tells the next step. They are numbered by inbox, from 1.
    pub async fn tell(&self, bus: &Bus, step: &TurnEvent) {
        let seq = self.told.fetch_add(1, Ordering::Relaxed) + 1;
        bus.reply_step(&self.inbox, seq, step).await;
    }

    /// Says that the turn is still in hand.
    pub async fn reassure(&self, bus: &Bus) {
        bus.reply_alive(&self.inbox).await;
    }

    /// Tells how it ended: as the last step, if it was said of which `turn` these are the steps; as a fault, if there were none.
    pub async fn end(
        &self,
        bus: &Bus,
        turn: Option<TurnId>,
        result: Result<Answer, Fault>,
        context: &Context,
    ) {
        match (turn, result) {
            (None, Err(fault)) => bus.reply_fault(&self.inbox, &fault, context).await,
            (None, Ok(answer)) => self.tell_last(bus, &TurnEvent::Completed(Box::new(answer))).await,
            (Some(turn), result) => self.tell_last(bus, &last_step(turn, &result)).await,
        }
    }

    async fn tell_last(&self, bus: &Bus, step: &TurnEvent) {
        self.tell(bus, step).await;
        bus.reply_end(&self.inbox).await;
    }
}

impl Audience {
    /// Of a call that is about to be made.
    pub fn new(following: Vec<Arc<Listener>>) -> Self {
        Self(Arc::new(Mutex::new(Members { following, joining: Vec::new() })))
    }

    /// Adds somebody, who is told from the next step on.
    pub fn join(&self, listener: Arc<Listener>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).joining.push(listener);
    }

    /// Whether nobody listens.
    pub fn is_empty(&self) -> bool {
        let members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        members.following.is_empty() && members.joining.is_empty()
    }

    /// Tells a step; to who has joined since the last one, all of `so_far` in its place.
    pub async fn tell(&self, bus: &Bus, step: &TurnEvent, so_far: impl FnOnce() -> Vec<TurnEvent>) {
        let (following, joining) = self.take_in();
        for listener in following {
            listener.tell(bus, step).await;
        }
        if joining.is_empty() {
            return;
        }
        let so_far = so_far();
        for listener in joining {
            for step in &so_far {
                listener.tell(bus, step).await;
            }
        }
    }

    /// Those who follow, and those who are to follow from now on.
    fn take_in(&self) -> (Vec<Arc<Listener>>, Vec<Arc<Listener>>) {
        let mut members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let following = members.following.clone();
        let joining = mem::take(&mut members.joining);
        members.following.extend(joining.iter().cloned());
        (following, joining)
    }
}
