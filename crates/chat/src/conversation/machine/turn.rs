//! A turn in hand: accepted, and without an outcome that was told.

use std::sync::Arc;

use bus::Delivery;
use time::OffsetDateTime;
use wire::{Fault, MessageId, Settings, TurnId, TurnKind, UserId};

use crate::{
    model::{Accepted, BodyHash, NewTurn, Opening, Outcome, TurnRequest},
    store::PastTurn,
};

/// Names a delivery, which the machine itself does not hold: it could not be made without a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// A delivery from the queue, as far as the machine is concerned.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Which one.
    pub ticket: Ticket,
    /// Whoever waits there waits once.
    pub inbox: Arc<str>,
    /// The id that the front gave it.
    pub turn: TurnId,
    /// Whose it is.
    pub user: UserId,
    /// Sends with the same key are the same turn.
    pub idempotency_key: Option<String>,
    /// What is asked, or why it cannot be read.
    pub request: Result<TurnRequest, Fault>,
    /// An id for the user's message, should there be one.
    pub user_message: MessageId,
}

impl Arrival {
    /// Reads a delivery.
    pub fn new(ticket: Ticket, delivery: &Delivery) -> Self {
        Self {
            ticket,
            inbox: delivery.reply_to.subject().into(),
            turn: delivery.turn,
            user: delivery.user,
            idempotency_key: delivery.idempotency_key.clone(),
            request: delivery.encoding.decode(&delivery.body),
            user_message: MessageId::new(),
        }
    }
}

/// Somebody who waits for the outcome.
#[derive(Debug, Clone)]
pub struct Waiter {
    /// By this delivery.
    pub ticket: Ticket,
    /// And here.
    pub inbox: Arc<str>,
}

/// So many may wait for one turn; more are told to look later.
pub const WAITERS_MAX: usize = 64;

/// Where a turn in hand stands.
#[derive(Debug, Clone)]
pub enum Phase {
    /// For the turns before it.
    Waiting,
    /// Asks for room among the turns that run.
    Room,
    /// Its repeated call is being recorded.
    Recording,
    /// The model is being called.
    Calling,
    /// The call was told to stop.
    Stopping,
    /// A moment, and then goes on.
    Resting(Next),
    /// Its outcome is being stored.
    Writing(Box<Outcome>),
    /// An outcome is stored that we do not know: it is being read.
    Settling,
}

/// What comes after a rest.
#[derive(Debug, Clone)]
pub enum Next {
    /// From the beginning: room, and the next attempt.
    Begin,
    /// The same call: the provider has not heard of it.
    Call,
    /// The outcome, once more.
    Write(Box<Outcome>),
}

/// A turn in hand.
#[derive(Debug, Clone)]
pub struct HeldTurn {
    /// Its id.
    pub id: TurnId,
    /// Its place in the conversation.
    pub seq: i64,
    /// What it was asked for by.
    pub kind: TurnKind,
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
    /// The number of the last call, made or about to be.
    pub attempts: i16,
    /// That of the last one that was, or may have been, made.
    pub made: i16,
    /// Why the last one was cut, as far as it is known.
    pub failure: Option<String>,
    /// When the first of them failed that was made here.
    pub failing_since: Option<OffsetDateTime>,
    /// Since when it waits for providers that rest.
    pub waiting_since: Option<OffsetDateTime>,
    /// Its user wants it no more.
    pub cancelled: bool,
    /// Where it stands.
    pub phase: Phase,
    /// Who is told the outcome.
    pub waiters: Vec<Waiter>,
    /// Events that were told.
    pub told: u64,
    /// Since when it is in hand.
    pub since: OffsetDateTime,
}

impl HeldTurn {
    /// A turn that was just accepted: its first attempt needs no record of its own.
    pub fn new(turn: NewTurn, accepted: Accepted, waiter: Waiter, now: OffsetDateTime) -> Self {
        Self {
            id: turn.id,
            seq: turn.seq,
            kind: turn.kind,
            user_message: turn.user_message,
            idempotency_key: turn.idempotency_key,
            body_hash: turn.body_hash,
            model: accepted.model,
            settings: accepted.settings,
            opening: accepted.opening,
            attempts: 0,
            made: 0,
            failure: None,
            failing_since: None,
            waiting_since: None,
            cancelled: false,
            phase: Phase::Waiting,
            waiters: vec![waiter],
            told: 0,
            since: now,
        }
    }

    /// A turn that an earlier owner accepted, if it is still open. Nobody waits for it yet.
    pub fn found(past: PastTurn, now: OffsetDateTime) -> Option<Self> {
        let open = past.open?;
        Some(Self {
            id: past.id,
            seq: past.seq,
            kind: past.kind,
            user_message: past.user_message,
            idempotency_key: open.idempotency_key,
            body_hash: open.body_hash,
            model: open.model,
            settings: open.settings,
            opening: open.opening,
            attempts: open.attempts,
            made: open.attempts,
            failure: None,
            failing_since: None,
            waiting_since: None,
            cancelled: open.cancelled,
            phase: Phase::Waiting,
            waiters: Vec::new(),
            told: 0,
            since: now,
        })
    }

    /// Whether a delivery is about this turn.
    pub fn is_meant_by(&self, arrival: &Arrival) -> bool {
        let key = arrival.idempotency_key.as_deref();
        self.id == arrival.turn || (key.is_some() && self.idempotency_key.as_deref() == key)
    }

    /// Whether something goes on for it that must end before the conversation may leave.
    pub const fn is_active(&self) -> bool {
        !matches!(self.phase, Phase::Waiting | Phase::Resting(Next::Begin | Next::Call))
    }
}
