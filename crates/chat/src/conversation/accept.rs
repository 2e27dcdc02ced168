//! From delivery to accepted turn. One at a time, so that the places of turns have no gaps.

use wire::{Fault, FaultCode, MessageId, SendMessage, TurnEvent};

use super::{
    Accepting, Again, Message, RELOADS_MAX, Stage, State,
    turn::{HeldTurn, Waiter},
};
use crate::{
    model::{Accepted, BodyHash, NewTurn},
    store::StoredTurn,
    writer::WriteError,
};
use bus::Delivery;

impl State {
    /// Begins with the next delivery, if none is in between.
    pub(super) async fn next_arrival(&mut self) {
        while self.accepting.is_none() && !self.draining && !matches!(self.stage, Stage::Loading) {
            let Some(delivery) = self.arrivals.pop_front() else { return };
            self.arrive(delivery, 0).await;
        }
    }

    async fn arrive(&mut self, delivery: Box<Delivery>, reloads: u8) {
        let known = match &self.stage {
            Stage::Ready(known) if known.user == delivery.user => known,
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
            return turn.waiters.push(Waiter::from(*delivery));
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
        let myself = self.myself.clone();
        let done = move |result| drop(myself.cast(Message::Accepted(result)));
        self.resources.writer.accept(turn.clone(), Box::new(done));
        self.accepting = Some(Accepting { delivery, turn, reloads });
    }

    pub(super) async fn accepted(&mut self, result: Result<Accepted, WriteError>) {
        match result {
            Ok(accepted) => self.enqueue(accepted).await,
            Err(WriteError::Nothing) => self.find(),
            Err(WriteError::Refused) => self.give_up(FaultCode::Internal.into()).await,
            Err(reason @ (WriteError::Fenced | WriteError::Stopped)) => self.abandon(&reason),
        }
    }

    /// From here on the turn cannot be lost.
    async fn enqueue(&mut self, accepted: Accepted) {
        let (Some(accepting), Stage::Ready(known)) = (self.accepting.take(), &mut self.stage) else { return };
        known.next_seq = accepting.turn.seq + 1;
        known.window.ask(accepting.turn.id, accepting.turn.content.clone());
        let mut turn = HeldTurn::new(accepting.turn, accepted, Waiter::from(*accepting.delivery));
        let queue_position = u32::try_from(self.turns.len()).unwrap_or(u32::MAX);
        let request_id = turn.waiters.first().map(|waiter| waiter.context.request_id.as_str());
        tracing::debug!(turn = %turn.id, conversation = %self.id, request_id, queue_position, "accepted");
        metrics::counter!("omnichat_turns_accepted_total").increment(1);
        turn.told = 1;
        let event = TurnEvent::Accepted { turn_id: turn.id, queue_position };
        self.resources.bus.tell(known.user, turn.id, turn.told, &event).await;
        self.turns.push_back(turn);
        self.leave_if_drained();
        // A failure to start the child is an error of this actor; the turn is safe, and found when it is loaded again.
        if let Err(error) = self.advance().await {
            tracing::error!(conversation = %self.id, %error, "a turn could not be started");
            self.myself.stop(Some("broken".into()));
        }
        Box::pin(self.next_arrival()).await;
    }

    /// The write found something there already, or no conversation: look what it is.
    pub(super) fn find(&self) {
        let Some(accepting) = &self.accepting else { return };
        let (resources, myself, user) =
            (self.resources.clone(), self.myself.clone(), accepting.delivery.user);
        let (turn, key) = (accepting.turn.id, accepting.turn.idempotency_key.clone());
        self.resources.drain.spawn("find turn", async move {
            let found = resources.store.find_sent(user, turn, key.as_deref()).await;
            let _ = myself.cast(Message::Found(found.map(|found| found.map(Box::new))));
        });
    }

    pub(super) async fn found(&mut self, found: sqlx::Result<Option<Box<StoredTurn>>>) {
        let Some(accepting) = self.accepting.take() else { return };
        let stored = match found {
            Err(error) => {
                tracing::warn!(conversation = %self.id, %error, "a turn could not be looked up; trying again");
                self.accepting = Some(accepting);
                return self.retry(Again::Find);
            }
            Ok(stored) => stored,
        };
        let same = |stored: &StoredTurn| {
            stored.conversation == self.id && stored.body_hash == accepting.turn.body_hash
        };
        let answer = match stored {
            Some(stored) if !same(&stored) => Some(Err(FaultCode::IdempotencyKeyReused.into())),
            Some(stored) => stored.outcome,
            None => None,
        };
        match answer {
            Some(answer) => {
                metrics::counter!("omnichat_replies_resent_total").increment(1);
                self.answer(&accepting.delivery, &answer).await;
                self.next_arrival().await;
            }
            // Open and not in hand, or not there at all: the conversation has changed under us, or is gone.
            None => self.reload(accepting),
        }
    }

    fn reload(&mut self, accepting: Accepting) {
        self.accepting = Some(accepting);
        self.stage = Stage::Loading;
        self.load();
    }

    /// After the conversation was loaded anew.
    pub(super) async fn accept_again(&mut self, accepting: Accepting) {
        if accepting.reloads < RELOADS_MAX {
            return self.arrive(accepting.delivery, accepting.reloads + 1).await;
        }
        tracing::error!(turn = %accepting.turn.id, conversation = %self.id, "a turn can neither be accepted nor found");
        self.answer(&accepting.delivery, &Err(FaultCode::Internal.into())).await;
    }

    async fn give_up(&mut self, fault: Fault) {
        if let Some(accepting) = self.accepting.take() {
            self.answer(&accepting.delivery, &Err(fault)).await;
        }
        self.next_arrival().await;
    }
}
