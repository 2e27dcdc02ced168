//! From delivery to accepted turn. One at a time, so that the places of turns have no gaps.

use bus::Delivery;
use ractor::ActorProcessingErr;
use wire::{Answer, Fault, FaultCode, MessageId, SendMessage, TurnEvent};

use super::{
    Accepting, Again, Message, Stage, State,
    turn::{Attached, HeldTurn, Waiter},
};
use crate::{
    model::{Accepted, BodyHash, NewTurn},
    store::{Sent, StoredTurn},
    writer::WriteError,
};

/// A turn is offered to the database this often, before its sender is told that something is wrong.
const OFFERS_MAX: u8 = 3;

impl State {
    /// Begins with the next delivery, if none is in between.
    pub(super) async fn next_arrival(&mut self) {
        while self.accepting.is_none() && !self.draining && !matches!(self.stage, Stage::Loading) {
            let Some(delivery) = self.arrivals.pop_front() else { break };
            self.arrive(delivery).await;
        }
        if matches!(self.stage, Stage::Missing) && self.arrivals.is_empty() {
            self.ask_to_leave();
        }
    }

    async fn arrive(&mut self, delivery: Box<Delivery>) {
        let known = match &self.stage {
            Stage::Ready(known) if known.user == delivery.user && !known.deleted => known,
            _ => return self.answer(&delivery, &Err(FaultCode::ConversationNotFound.into())).await,
        };
        let request: SendMessage = match delivery.encoding.decode(&delivery.body) {
            Ok(request) => request,
            Err(fault) => return self.answer(&delivery, &Err(fault)).await,
        };
        let body_hash = BodyHash::of(&request);
        let key = delivery.idempotency_key.as_deref();
        if let Some(turn) = self.turns.iter_mut().find(|turn| turn.is_meant_by(delivery.turn, key)) {
            if turn.body_hash != body_hash {
                return self.answer(&delivery, &Err(FaultCode::IdempotencyKeyReused.into())).await;
            }
            metrics::counter!("omnichat_redeliveries_total").increment(1);
            let id = turn.id;
            if let Attached::TooMany(delivery) = turn.attach(delivery) {
                self.answer(&delivery, &Err(Fault::new(FaultCode::AnswerPending).of_turn(id))).await;
            }
            return;
        }
        let turn = NewTurn {
            id: delivery.turn,
            conversation: self.id,
            user: delivery.user,
            ownership: self.ownership,
            seq: known.next_seq,
            idempotency_key: delivery.idempotency_key.clone(),
            body_hash,
            user_message: MessageId::new(),
            parent: known.window.newest().map(MessageId::answer_to),
            content: request.content.into(),
            model: request.model,
            settings: request.settings.unwrap_or_default(),
            created_at: wire::now(),
        };
        self.offer(Accepting { delivery, turn, offers: 1 });
    }

    fn offer(&mut self, accepting: Accepting) {
        let myself = self.myself.clone();
        let done = move |result| drop(myself.cast(Message::Accepted(result)));
        self.resources.writer.accept(accepting.turn.clone(), Box::new(done));
        self.accepting = Some(accepting);
    }

    pub(super) async fn accepted(
        &mut self,
        result: Result<Accepted, WriteError>,
    ) -> Result<(), ActorProcessingErr> {
        match result {
            Ok(accepted) => return self.enqueue(accepted).await,
            Err(WriteError::Nothing) => self.find(),
            Err(WriteError::Refused) => self.refuse(FaultCode::Internal.into()).await,
            Err(WriteError::Overloaded) => self.refuse(FaultCode::Overloaded.into()).await,
            Err(WriteError::Fenced) => self.abandon(),
            Err(WriteError::Stopped) => self.myself.stop(Some("stopped".into())),
        }
        Ok(())
    }

    /// From here on the turn cannot be lost.
    async fn enqueue(&mut self, accepted: Accepted) -> Result<(), ActorProcessingErr> {
        let (Some(accepting), Stage::Ready(known)) = (self.accepting.take(), &mut self.stage) else {
            return Ok(());
        };
        known.next_seq = accepting.turn.seq + 1;
        known.window.ask(accepting.turn.id, accepting.turn.content.clone());
        let mut turn = HeldTurn::new(accepting.turn, accepted, Waiter::from(*accepting.delivery));
        let queue_position = u32::try_from(self.turns.len()).unwrap_or(u32::MAX);
        let request_id = turn.waiters.first().map(|waiter| waiter.context.request_id.as_str());
        tracing::debug!(turn = %turn.id, conversation = %self.id, request_id, queue_position, "accepted");
        metrics::counter!("omnichat_turns_accepted_total").increment(1);
        turn.told = 1;
        let event = TurnEvent::Accepted { turn_id: turn.id, queue_position: Some(queue_position) };
        self.resources.bus.tell(known.user, turn.id, turn.told, &event).await;
        self.turns.push_back(turn);
        self.advance().await?;
        self.next_arrival().await;
        Ok(())
    }

    /// The write found something there already, or no conversation: look what it is.
    pub(super) fn find(&self) {
        let Some(accepting) = &self.accepting else { return };
        let (resources, myself, turn) = (self.resources.clone(), self.myself.clone(), accepting.turn.clone());
        self.resources.drain.spawn("find turn", async move {
            let found = resources.store.look_up(&turn).await;
            let _ = myself.cast(Message::Found(found));
        });
    }

    pub(super) async fn found(&mut self, found: sqlx::Result<Sent>) -> Result<(), ActorProcessingErr> {
        let Some(accepting) = &mut self.accepting else { return Ok(()) };
        match found {
            Err(error) => {
                tracing::warn!(conversation = %self.id, %error, "a turn could not be looked up; trying again");
                self.retry(Again::Find);
            }
            Ok(Sent::Turn(stored)) => return self.found_turn(*stored).await,
            Ok(Sent::ElsewhereAndGone) => self.refuse(FaultCode::IdempotencyKeyReused.into()).await,
            Ok(Sent::NoConversation) => self.refuse(FaultCode::ConversationNotFound.into()).await,
            Ok(Sent::Nothing { next_seq }) if accepting.offers < OFFERS_MAX => {
                accepting.turn.seq = next_seq;
                accepting.offers += 1;
                if let Some(accepting) = self.accepting.take() {
                    self.offer(accepting);
                }
            }
            Ok(Sent::Nothing { .. }) => {
                tracing::error!(turn = %accepting.turn.id, conversation = %self.id, "a turn is neither accepted nor found");
                self.refuse(FaultCode::Internal.into()).await;
            }
        }
        Ok(())
    }

    async fn found_turn(&mut self, stored: StoredTurn) -> Result<(), ActorProcessingErr> {
        let Some(accepting) = &self.accepting else { return Ok(()) };
        let same = stored.conversation == self.id && stored.body_hash == accepting.turn.body_hash;
        match stored.outcome {
            _ if !same => self.refuse(FaultCode::IdempotencyKeyReused.into()).await,
            Some(outcome) => {
                metrics::counter!("omnichat_replies_resent_total").increment(1);
                self.conclude_arrival(outcome).await;
            }
            // It was this very offer that was written: its answer was lost.
            None if stored.id == accepting.turn.id && stored.view.seq == accepting.turn.seq => {
                return self.enqueue(stored.accepted).await;
            }
            None => self.refuse(Fault::new(FaultCode::AnswerPending).of_turn(stored.id)).await,
        }
        Ok(())
    }

    async fn refuse(&mut self, fault: Fault) {
        self.conclude_arrival(Err(fault)).await;
    }

    async fn conclude_arrival(&mut self, result: Result<Answer, Fault>) {
        if let Some(accepting) = self.accepting.take() {
            self.answer(&accepting.delivery, &result).await;
        }
        self.next_arrival().await;
    }
}
