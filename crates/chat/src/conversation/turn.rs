//! A turn in hand: accepted, and without a stored outcome.

use std::{collections::VecDeque, time::Instant};

use bus::{AckHandle, Context, Delivery, ReplyTo};
use wire::{MessageId, Settings, TurnId};

use crate::{
    model::{Accepted, BodyHash, NewTurn, Opening},
    store::PastTurn,
};

/// Somebody who waits for the outcome, and the queue's message by which they wait.
pub struct Waiter {
    /// Where the outcome goes.
    pub reply_to: ReplyTo,
    /// Names the request.
    pub context: Context,
    /// Takes the message off the queue.
    pub ack: AckHandle,
}

impl From<Delivery> for Waiter {
    fn from(delivery: Delivery) -> Self {
        Self { reply_to: delivery.reply_to, context: delivery.context, ack: delivery.ack }
    }
}

/// So many may wait for one turn; more are told to look later.
const WAITERS_MAX: usize = 64;

/// Whether somebody may wait.
pub enum Attached {
    /// Now, or already.
    Yes,
    /// No: so many do.
    TooMany(Box<Delivery>),
}

/// A turn in hand.
pub struct HeldTurn {
    /// Its id.
    pub id: TurnId,
    /// Its place in the conversation.
    pub seq: i64,
    /// The id of the user's message.
    pub user_message: MessageId,
    /// The key it was sent with.
    pub idempotency_key: Option<String>,
    /// The hash of its body.
    pub body_hash: BodyHash,
    /// The model to call.
    pub model: String,
    /// How to call it.
    pub settings: Settings,
    /// The prompt that goes first.
    pub opening: Option<Opening>,
    /// Calls to the provider that were, or may have been, made.
    pub attempts: i16,
    /// Who is told the outcome.
    pub waiters: Vec<Waiter>,
    /// Events that were told.
    pub told: u64,
    /// Since when it is in hand.
    pub since: Instant,
}

impl HeldTurn {
    /// A turn that was just accepted: its first attempt needs no record of its own.
    pub fn new(turn: NewTurn, accepted: Accepted, waiter: Waiter) -> Self {
        Self {
            id: turn.id,
            seq: turn.seq,
            user_message: turn.user_message,
            idempotency_key: turn.idempotency_key,
            body_hash: turn.body_hash,
            model: accepted.model,
            settings: accepted.settings,
            opening: accepted.opening,
            attempts: 0,
            waiters: vec![waiter],
            told: 0,
            since: Instant::now(),
        }
    }

    /// A turn that an earlier owner accepted, if it is still open. Nobody waits for it yet.
    pub fn found(past: PastTurn) -> Option<Self> {
        let open = past.open?;
        Some(Self {
            id: past.id,
            seq: open.seq,
            user_message: open.user_message,
            idempotency_key: open.idempotency_key,
            body_hash: open.body_hash,
            model: open.model,
            settings: open.settings,
            opening: open.opening,
            attempts: open.attempts,
            waiters: Vec::new(),
            told: 0,
            since: Instant::now(),
        })
    }

    /// Has the sender of a delivery wait. One who waits already is not told twice: only the queue's message is another.
    pub fn attach(&mut self, delivery: Box<Delivery>) -> Attached {
        let inbox = delivery.reply_to.subject();
        if let Some(waiter) = self.waiters.iter_mut().find(|waiter| waiter.reply_to.subject() == inbox) {
            waiter.ack = delivery.ack;
            return Attached::Yes;
        }
        if self.waiters.len() >= WAITERS_MAX {
            return Attached::TooMany(delivery);
        }
        self.waiters.push(Waiter::from(*delivery));
        Attached::Yes
    }

    /// Whether a delivery with this id and key is about this turn.
    pub fn is_meant_by(&self, id: TurnId, key: Option<&str>) -> bool {
        self.id == id || (key.is_some() && self.idempotency_key.as_deref() == key)
    }
}

/// The turns in hand, in the order they run; the first one is running, or about to.
pub type TurnQueue = VecDeque<HeldTurn>;
