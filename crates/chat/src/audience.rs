//! Who is told a turn in answers: its outcome, or the steps on the way to it. And what they were told so far, for those who come
//! later.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bus::{Bus, Context, ReplyTo, Wants};
use wire::{Answer, Fault, TurnEvent, TurnId};

use crate::model::last_step;

/// A text is told again in pieces of at most so many bytes, as a stored one is shown: any of them can be sent, and is a frame.
const PIECE_BYTES: usize = 16 * 1024;

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
    told: Told,
}

/// What was told of the call.
#[derive(Debug, Default)]
struct Told {
    /// The step that it began with, and which attempt that is.
    begun: Option<(TurnEvent, i16)>,
    text: String,
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
        Self(Arc::new(Mutex::new(Members { following, joining: Vec::new(), told: Told::default() })))
    }

    /// Adds somebody, who is told from the next step on.
    pub fn join(&self, listener: Arc<Listener>) {
        self.lock().joining.push(listener);
    }

    /// Whether nobody listens.
    pub fn is_empty(&self) -> bool {
        let members = self.lock();
        members.following.is_empty() && members.joining.is_empty()
    }

    /// Tells a step; to who has joined since the last one, all that was told so far in its place.
    pub async fn tell(&self, bus: &Bus, step: &TurnEvent) {
        let (following, joining, so_far) = self.note(step);
        for listener in following {
            listener.tell(bus, step).await;
        }
        for listener in joining {
            for step in &so_far {
                listener.tell(bus, step).await;
            }
        }
    }

    /// What was told of the call until now, in as few steps as can be; none before it has begun.
    pub fn so_far(&self) -> Option<Vec<TurnEvent>> {
        let so_far = self.lock().told.steps();
        (!so_far.is_empty()).then_some(so_far)
    }

    /// Whether this is the same audience, not another of the same people.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Notes that a step is told. Gives those who follow, those who are to follow from now on, and what these have to be told.
    fn note(&self, step: &TurnEvent) -> (Vec<Arc<Listener>>, Vec<Arc<Listener>>, Vec<TurnEvent>) {
        let mut members = self.lock();
        members.told.note(step);
        let following = members.following.clone();
        let joining = mem::take(&mut members.joining);
        members.following.extend(joining.iter().cloned());
        let so_far = if joining.is_empty() { Vec::new() } else { members.told.steps() };
        (following, joining, so_far)
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn note(&mut self, step: &TurnEvent) {
        match step {
            TurnEvent::Started { attempt, .. } | TurnEvent::Restarted { attempt, .. } => {
                self.begun = Some((step.clone(), *attempt));
                self.text.clear();
            }
            TurnEvent::Delta { text, .. } => self.text.push_str(text),
            _ => {}
        }
    }

    fn steps(&self) -> Vec<TurnEvent> {
        let Some((begun, attempt)) = &self.begun else { return Vec::new() };
        let mut steps = vec![begun.clone()];
        let mut offset = 0;
        while offset < self.text.len() {
            let end = self.text.floor_char_boundary(offset + PIECE_BYTES);
            steps.push(TurnEvent::delta(*attempt, &self.text[..end], offset));
            offset = end;
        }
        steps
    }
}
