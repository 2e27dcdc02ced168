//! From accepted turn to outcome. The first turn of the queue runs; the next one starts when its outcome is stored.

use identity::Principal;
use ractor::{Actor, ActorProcessingErr};
use wire::{Answer, Fault, FaultCode, Problem, TurnEvent, limits, operations::SEND_MESSAGE};

use super::{Again, Message, Stage, State};
use crate::{
    error::fault_of_call,
    generation::{self, CallFailure, Generated, Generation, Job, System},
    model::{Ending, Opening, Outcome},
    store::{Attempt, StoredTurn},
    writer::WriteError,
};

impl State {
    /// Starts the first turn of the queue, if none is running.
    pub(super) async fn advance(&mut self) -> Result<(), ActorProcessingErr> {
        let Stage::Ready(known) = &self.stage else { return Ok(()) };
        if self.running.is_some() || self.draining {
            return Ok(());
        }
        let Some(turn) = self.turns.front_mut() else { return Ok(()) };
        // The front refuses what is too much; what came before it knew waits here for its turn.
        match self.resources.running.take(known.user) {
            Ok(share) => self.running = Some(share),
            Err(_) => {
                self.retry(Again::Advance);
                return Ok(());
            }
        }
        if known.deleted {
            self.finish(Ending::Failed(FaultCode::ConversationNotFound.into()));
            return Ok(());
        }
        turn.attempts += 1;
        match turn.attempts {
            1 => self.generate().await?,
            number if number <= limits::ATTEMPTS_MAX => self.record_attempt(),
            _ => self.finish(Ending::Failed(FaultCode::AttemptsExhausted.into())),
        }
        Ok(())
    }

    /// A repeated call is recorded before it is made, so that no crash can hide it.
    pub(super) fn record_attempt(&self) {
        let Some(turn) = self.turns.front() else { return };
        let (resources, myself, ownership) = (self.resources.clone(), self.myself.clone(), self.ownership);
        let (turn, number) = (turn.id, turn.attempts);
        self.resources.drain.spawn("record attempt", async move {
            let recorded = resources.store.record_attempt(ownership, turn, number, &resources.worker).await;
            let _ = myself.cast(Message::AttemptRecorded(recorded));
        });
    }

    pub(super) async fn attempt_recorded(
        &mut self,
        recorded: sqlx::Result<Attempt>,
    ) -> Result<(), ActorProcessingErr> {
        match recorded {
            Ok(Attempt::Recorded) => self.generate().await?,
            Ok(Attempt::Known) => {
                self.running = None;
                self.advance().await?;
            }
            Ok(Attempt::Fenced) => self.abandon(),
            Err(error) => {
                tracing::warn!(conversation = %self.id, %error, "an attempt could not be recorded; trying again");
                self.retry(Again::Attempt);
            }
        }
        Ok(())
    }

    /// Has the model called for the first turn of the queue.
    pub(super) async fn generate(&mut self) -> Result<(), ActorProcessingErr> {
        let (Some(turn), Stage::Ready(known)) = (self.turns.front(), &self.stage) else {
            return Err("there is no turn to run".into());
        };
        let messages =
            known.window.messages_for(turn.id).ok_or("the turn is not part of its conversation")?;
        let job = Job {
            turn: turn.id,
            user: known.user,
            attempt: turn.attempts,
            model: turn.model.clone(),
            settings: turn.settings.clone(),
            system: self.system(turn.opening.as_ref()),
            messages,
            traceparent: turn.waiters.first().and_then(|waiter| waiter.context.traceparent.clone()),
            told: turn.told,
        };
        let generation = match &self.generation {
            Some(generation) => generation.clone(),
            None => {
                let arguments = generation::Arguments {
                    resources: self.resources.clone(),
                    conversation: self.myself.clone(),
                };
                let (generation, _) =
                    Actor::spawn_linked(None, Generation, arguments, self.myself.get_cell()).await?;
                self.generation.insert(generation).clone()
            }
        };
        generation.cast(Box::new(job))?;
        Ok(())
    }

    /// The prompt that goes first: as the turn before had it, if that is the same.
    fn system(&self, opening: Option<&Opening>) -> System {
        match (opening, &self.system) {
            (None, _) => System::None,
            (Some(wanted), System::Known(known, _)) if wanted == known => self.system.clone(),
            (Some(wanted), _) => System::Load(wanted.clone()),
        }
    }

    pub(super) fn generated(&mut self, generated: Generated) {
        if !self.is_front(generated.turn) || self.outcome.is_some() {
            return;
        }
        if let Some(turn) = self.turns.front_mut() {
            turn.told = generated.told;
        }
        match generated.result {
            Ok(completion) => {
                self.system = generated.system;
                self.finish(Ending::Completed(completion));
            }
            Err(CallFailure::Call(error)) => {
                tracing::warn!(turn = %generated.turn, %error, "the model gave no answer");
                self.finish(Ending::Failed(fault_of_call(&error)));
            }
            // The provider was not called.
            Err(CallFailure::Prompt(fault)) => self.finish(Ending::Failed(fault)),
            Err(CallFailure::Database(error)) => {
                tracing::warn!(turn = %generated.turn, %error, "a prompt could not be read; trying again");
                self.retry(Again::Generate);
            }
            Err(CallFailure::Died(_)) => {
                self.running = None;
                self.retry(Again::Advance);
            }
        }
    }

    fn finish(&mut self, ending: Ending) {
        let Some(turn) = self.turns.front() else { return };
        let outcome = Outcome {
            turn: turn.id,
            conversation: self.id,
            ownership: self.ownership,
            seq: turn.seq,
            user_message: turn.user_message,
            ending,
            finished_at: wire::now(),
        };
        self.outcome = Some(outcome);
        self.write_outcome();
    }

    pub(super) fn write_outcome(&self) {
        let Some(outcome) = self.outcome.clone() else { return };
        let myself = self.myself.clone();
        let done = move |result| drop(myself.cast(Message::Recorded(result)));
        self.resources.writer.finish(outcome, Box::new(done));
    }

    pub(super) async fn recorded(
        &mut self,
        result: Result<(), WriteError>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(outcome) = self.outcome.take() else { return Ok(()) };
        match result {
            Ok(()) => self.conclude(outcome.reply()).await,
            // Somebody has stored an outcome already: that one counts.
            Err(WriteError::Nothing) => {
                self.settle();
                Ok(())
            }
            Err(WriteError::Refused) if matches!(outcome.ending, Ending::Completed(_)) => {
                self.finish(Ending::Failed(FaultCode::Internal.into()));
                Ok(())
            }
            Err(WriteError::Refused) => Err("Postgres refuses to store that the turn failed".into()),
            Err(WriteError::Overloaded) => {
                self.outcome = Some(outcome);
                self.retry(Again::Finish);
                Ok(())
            }
            Err(WriteError::Fenced) => {
                self.abandon();
                Ok(())
            }
            Err(WriteError::Stopped) => {
                self.myself.stop(Some("stopped".into()));
                Ok(())
            }
        }
    }

    /// Reads the outcome that somebody else has stored.
    pub(super) fn settle(&self) {
        let (Some(turn), Stage::Ready(known)) = (self.turns.front(), &self.stage) else { return };
        let (resources, myself, id) = (self.resources.clone(), self.myself.clone(), turn.id);
        let owner = Principal::authorised_by_broker(known.user);
        self.resources.drain.spawn("find outcome", async move {
            let stored = resources.store.find_turn(owner, id).await;
            let _ = myself.cast(Message::Settled(stored.map(|stored| stored.map(Box::new))));
        });
    }

    pub(super) async fn settled(
        &mut self,
        stored: sqlx::Result<Option<Box<StoredTurn>>>,
    ) -> Result<(), ActorProcessingErr> {
        match stored {
            Ok(stored) => {
                // Without one, the conversation was deleted meanwhile: nobody may read the outcome any more.
                let outcome = stored.and_then(|stored| stored.outcome);
                self.conclude(outcome.unwrap_or(Err(FaultCode::ConversationNotFound.into()))).await
            }
            Err(error) => {
                tracing::warn!(conversation = %self.id, %error, "an outcome could not be read; trying again");
                self.retry(Again::Settle);
                Ok(())
            }
        }
    }

    /// The outcome is stored: tell it to all who wait, take the turn off the queue, and go on.
    async fn conclude(&mut self, result: Result<Answer, Fault>) -> Result<(), ActorProcessingErr> {
        let Some(turn) = self.turns.pop_front() else { return Ok(()) };
        self.running = None;
        self.idle_since = std::time::Instant::now();
        let code = result.as_ref().err().map_or("ok", |fault| fault.code.as_str());
        let request_id = turn.waiters.first().map(|waiter| waiter.context.request_id.as_str());
        tracing::debug!(turn = %turn.id, conversation = %self.id, request_id, code, "finished");
        metrics::counter!("omnichat_turns_finished_total", "code" => code).increment(1);
        metrics::histogram!("omnichat_turn_seconds").record(turn.since.elapsed().as_secs_f64());
        let bus = &self.resources.bus;
        for waiter in &turn.waiters {
            bus::observe(&SEND_MESSAGE.info, turn.since, result.as_ref().err());
            match &result {
                Ok(answer) => bus.reply(&waiter.reply_to, answer).await,
                Err(fault) => bus.reply_fault(&waiter.reply_to, fault, &waiter.context).await,
            }
            waiter.ack.done().await;
        }
        if let Stage::Ready(known) = &mut self.stage {
            known.window.end(turn.id, result.as_ref().ok().map(|answer| answer.response.as_str().into()));
            let event = match result {
                Ok(answer) => TurnEvent::Completed(Box::new(answer)),
                Err(fault) => TurnEvent::Failed(Box::new(Problem::of(&fault, None))),
            };
            bus.tell(known.user, turn.id, turn.told + 1, &event).await;
        }
        self.advance().await
    }
}
