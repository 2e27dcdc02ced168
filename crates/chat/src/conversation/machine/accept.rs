//! From delivery to accepted turn. One at a time, so that the places of turns have no gaps.

use time::OffsetDateTime;
use wire::{ConversationEvent, Fault, FaultCode, TurnEvent, TurnId, TurnKind};

use super::{
    Accepting, Arrival, Effect, HeldTurn, Machine, Stage,
    run::FAILURES_MAX,
    turn::{WAITERS_MAX, Waiter},
};
use crate::{
    conversation::window::Exchange,
    model::{Accepted, BodyHash, NewTurn},
    question::Question,
    store::{PastTurn, Sent, StoredTurn},
    writer::WriteError,
};

/// A turn is offered to the database this often, before its sender is told that something is wrong.
const OFFERS_MAX: u8 = 3;

impl Machine {
    /// Begins with the next delivery, if none is in between.
    pub(super) fn next_arrival(&mut self, now: OffsetDateTime) {
        while self.accepting.is_none() && !self.draining && !matches!(self.stage, Stage::Loading) {
            let Some(arrival) = self.arrivals.pop_front() else { break };
            self.arrive(arrival, now);
        }
        if matches!(self.stage, Stage::Missing) && self.arrivals.is_empty() {
            self.ask(Effect::AskToLeave);
        }
    }

    fn arrive(&mut self, arrival: Arrival, now: OffsetDateTime) {
        if !matches!(&self.stage, Stage::Ready(known) if known.user == arrival.user) {
            return self.answer(&arrival, FaultCode::ConversationNotFound.into());
        }
        let request = match &arrival.request {
            Ok(request) => request,
            Err(fault) => return self.answer(&arrival, fault.clone()),
        };
        let body_hash = BodyHash::of(request);
        if let Some(held) = self.turns.iter_mut().find(|held| held.is_meant_by(&arrival)) {
            if held.body_hash != body_hash {
                return self.answer(&arrival, FaultCode::IdempotencyKeyReused.into());
            }
            self.effects.push(Effect::NoteRedelivery);
            return self.attach(&arrival);
        }
        if self.deleted {
            return self.answer(&arrival, FaultCode::ConversationNotFound.into());
        }
        // The actor failed again and again, and not over a turn in hand: over this, it seems.
        if self.terms.failures >= FAILURES_MAX && self.turns.is_empty() {
            self.terms.failures = 0;
            self.ask(Effect::Recovered);
            return self.answer(&arrival, FaultCode::Internal.into());
        }
        let base = request.regenerates.or(request.follows);
        self.accepting = Some(Accepting { arrival, turn: None, offers: 0, cancelled: false });
        if let Some(known) = self.known() {
            known.window.hold(base);
        }
        match base.filter(|base| !self.is_branch_here(*base)) {
            Some(base) => self.ask(Effect::LoadBranch(base)),
            None => self.offer_new(now),
        }
    }

    /// Has the sender of a delivery wait. One who waits already is not told twice: only the queue's message is another.
    fn attach(&mut self, arrival: &Arrival) {
        let Some(place) = self.turns.iter().position(|held| held.is_meant_by(arrival)) else { return };
        let held = &mut self.turns[place];
        let waiter = Waiter { ticket: arrival.ticket, inbox: arrival.inbox.clone() };
        if let Some(known) = held.waiters.iter_mut().find(|known| known.inbox == waiter.inbox) {
            let before = std::mem::replace(known, waiter);
            return self.ask(Effect::Replace(before.ticket, arrival.ticket));
        }
        if held.waiters.len() < WAITERS_MAX {
            held.waiters.push(waiter);
            let attached = Effect::Attached(arrival.ticket, held.id, count(place));
            return self.ask(attached);
        }
        let pending = Fault::new(FaultCode::AnswerPending).of_turn(held.id);
        self.answer(arrival, pending);
    }

    /// Whether all that a branch at this turn is told of is in memory.
    fn is_branch_here(&mut self, base: TurnId) -> bool {
        let Some(known) = self.known() else { return false };
        let parent = known.window.exchange(base).map(|exchange| exchange.parent);
        parent.is_some_and(|parent| known.window.is_whole(Some(base)) && known.window.is_whole(parent))
    }

    /// What comes before a branch was read.
    pub(super) fn branch_loaded(&mut self, past: &[PastTurn], now: OffsetDateTime) {
        if self.accepting.as_ref().is_none_or(|accepting| accepting.turn.is_some()) {
            return;
        }
        if let Some(known) = self.known() {
            known.window.graft(past);
        }
        self.offer_new(now);
    }

    /// Makes a turn of the delivery in hand, and has it written.
    fn offer_new(&mut self, now: OffsetDateTime) {
        let Some(accepting) = &self.accepting else { return };
        match self.turn_of(&accepting.arrival, now) {
            Ok(turn) => {
                if let Some(known) = self.known() {
                    known.window.hold(turn.parent);
                }
                if let Some(accepting) = &mut self.accepting {
                    accepting.turn = Some(turn);
                }
                self.offer();
            }
            Err(fault) => self.refuse(fault, now),
        }
    }

    fn turn_of(&self, arrival: &Arrival, now: OffsetDateTime) -> Result<NewTurn, Fault> {
        let Stage::Ready(known) = &self.stage else { return Err(FaultCode::ConversationNotFound.into()) };
        let request = arrival.request.clone()?;
        let (body_hash, kind) = (BodyHash::of(&request), request.kind());
        let (user_message, parent, content) = match request.regenerates {
            Some(of) => {
                let before = known.window.exchange(of).ok_or(FaultCode::TurnNotFound)?;
                (before.user_message, before.parent, (&before.question).into())
            }
            None => {
                let parent = match kind {
                    TurnKind::Send => known.window.newest(),
                    _ => request.follows,
                };
                if parent.is_some_and(|parent| known.window.exchange(parent).is_none()) {
                    return Err(FaultCode::MessageNotFound.into());
                }
                let content = request.content.ok_or(FaultCode::InvalidBody)?;
                (arrival.user_message, parent, Question::new(content, request.images))
            }
        };
        Ok(NewTurn {
            id: arrival.turn,
            conversation: self.terms.id,
            user: arrival.user,
            ownership: self.terms.ownership,
            seq: known.next_seq,
            idempotency_key: arrival.idempotency_key.clone(),
            body_hash,
            kind,
            user_message,
            parent,
            content,
            model: request.model,
            settings: request.settings.unwrap_or_default(),
            created_at: now,
        })
    }

    fn offer(&mut self) {
        let Some(Accepting { turn: Some(turn), offers, .. }) = &mut self.accepting else { return };
        *offers += 1;
        let offer = Effect::Offer(Box::new(turn.clone()));
        self.ask(offer);
    }

    pub(super) fn accepted(&mut self, result: Result<Accepted, WriteError>, now: OffsetDateTime) {
        let Some(Accepting { turn: Some(turn), .. }) = &self.accepting else { return };
        match result {
            Ok(accepted) => self.enqueue(accepted, now),
            Err(WriteError::Nothing) => {
                let find = Effect::Find(Box::new(turn.clone()));
                self.ask(find);
            }
            Err(WriteError::Refused) => self.refuse(FaultCode::Internal.into(), now),
            Err(WriteError::Overloaded) => self.refuse(FaultCode::Overloaded.into(), now),
            Err(WriteError::Fenced) => self.ask(Effect::Abandon),
            Err(WriteError::Stopped) => self.ask(Effect::Stop("stopped")),
        }
    }

    /// From here on the turn cannot be lost.
    fn enqueue(&mut self, accepted: Accepted, now: OffsetDateTime) {
        let Some(Accepting { arrival, turn: Some(turn), cancelled, .. }) = self.accepting.take() else {
            return;
        };
        let Stage::Ready(known) = &mut self.stage else { return };
        known.next_seq = turn.seq + 1;
        let exchange =
            Exchange::new(turn.seq, turn.kind, turn.parent, turn.user_message, turn.content.clone().into());
        known.window.ask(turn.id, exchange);
        let queue_position = count(self.turns.len());
        let (id, user, ticket) = (turn.id, known.user, arrival.ticket);
        let (kind, message_id) = (turn.kind, turn.user_message);
        let waiter = Waiter { ticket: arrival.ticket, inbox: arrival.inbox };
        let mut held = HeldTurn::new(turn, accepted, waiter, now);
        held.told = 1;
        held.cancelled = cancelled;
        self.turns.push_back(held);
        self.ask(Effect::NoteAccepted(id, queue_position));
        self.ask(Effect::Tell(
            user,
            id,
            1,
            Box::new(TurnEvent::Accepted { turn_id: id, queue_position: Some(queue_position) }),
        ));
        self.ask(Effect::Attached(ticket, id, queue_position));
        let accepted = ConversationEvent::TurnAccepted { turn_id: id, kind, message_id, queue_position };
        self.ask(Effect::TellConversation(user, Box::new(accepted)));
        self.advance(now);
        self.next_arrival(now);
    }

    /// What the write met: a turn that is there already, or no conversation.
    pub(super) fn found(&mut self, sent: Sent, now: OffsetDateTime) {
        let Some(Accepting { turn: Some(turn), offers, .. }) = &mut self.accepting else { return };
        match sent {
            Sent::Turn(stored) => self.found_turn(*stored, now),
            Sent::ElsewhereAndGone => self.refuse(FaultCode::IdempotencyKeyReused.into(), now),
            Sent::NoConversation => self.refuse(FaultCode::ConversationNotFound.into(), now),
            // It needs an outcome all the same, and no call.
            Sent::WrittenAndGone { seq } => {
                turn.seq = seq;
                self.deleted = true;
                let settings = turn.settings.clone();
                self.enqueue(Accepted { model: String::new(), settings, opening: None }, now);
            }
            Sent::Nothing { next_seq } if *offers < OFFERS_MAX => {
                turn.seq = next_seq;
                self.offer();
            }
            // A turn that is neither accepted nor found.
            Sent::Nothing { .. } => self.refuse(FaultCode::Internal.into(), now),
        }
    }

    fn found_turn(&mut self, stored: StoredTurn, now: OffsetDateTime) {
        let Some(Accepting { turn: Some(turn), arrival, .. }) = &self.accepting else { return };
        if stored.conversation != self.terms.id || stored.body_hash != turn.body_hash {
            return self.refuse(FaultCode::IdempotencyKeyReused.into(), now);
        }
        // It was this very offer that was written: its answer was lost.
        let ours = stored.id == turn.id && stored.view.seq == turn.seq;
        match stored.outcome {
            Some(outcome) => {
                let ticket = arrival.ticket;
                self.accepting = None;
                self.ask(Effect::NoteResent);
                self.ask(Effect::Answer(ticket, Box::new(outcome)));
                self.next_arrival(now);
            }
            None if ours => self.enqueue(stored.accepted, now),
            None => self.refuse(Fault::new(FaultCode::AnswerPending).of_turn(stored.id), now),
        }
    }

    fn refuse(&mut self, fault: Fault, now: OffsetDateTime) {
        if let Some(accepting) = self.accepting.take() {
            self.answer(&accepting.arrival, fault);
        }
        self.next_arrival(now);
    }

    fn answer(&mut self, arrival: &Arrival, fault: Fault) {
        self.ask(Effect::Answer(arrival.ticket, Box::new(Err(fault))));
    }
}

/// Turns before a place.
fn count(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}
