//! From accepted turn to outcome. The first turn of the queue runs; the next one starts when its outcome is stored.

use std::time::Duration;

use time::OffsetDateTime;
use wire::{Answer, ConversationEvent, Fault, FaultCode, TurnId, TurnStatus, limits};

use super::{Call, Effect, Ended, Machine, Next, Phase, Stage};
use crate::{
    model::{Ending, Outcome, last_step},
    store::Attempt,
    writer::WriteError,
};

/// An actor that failed this often while it had a turn in hand gives that turn up.
pub(super) const FAILURES_MAX: u8 = 3;
/// Before something is tried again that failed for a reason of ours.
const REST: Duration = Duration::from_secs(1);
/// A turn waits so long for a provider that rests.
const WAITS_WITHIN: Duration = Duration::from_secs(30);
/// A call is repeated only as long after the first one: by then whoever asked has given up waiting.
const REPEATED_WITHIN: Duration = Duration::from_secs(120);

impl Machine {
    /// Starts the first turn of the queue, if it waits.
    pub(super) fn advance(&mut self, now: OffsetDateTime) {
        if self.turns.front().is_some_and(|turn| matches!(turn.phase, Phase::Waiting)) {
            self.begin(now);
        }
    }

    /// Begins the first turn of the queue: what needs no call is ended, all else asks for room.
    fn begin(&mut self, now: OffsetDateTime) {
        let Stage::Ready(known) = &self.stage else { return };
        let (user, failures) = (known.user, self.terms.failures);
        let Some(turn) = self.turns.front_mut() else { return };
        turn.phase = Phase::Waiting;
        if self.draining {
            return;
        }
        if turn.cancelled {
            return self.finish(0, Ending::Cancelled(None), now);
        }
        if self.deleted {
            return self.finish(0, Ending::Failed(FaultCode::ConversationNotFound.into()), now);
        }
        if turn.attempts >= limits::ATTEMPTS_MAX || failures >= FAILURES_MAX {
            let reason = turn.failure.clone().unwrap_or_else(|| match failures {
                0 => "the processes that called for it ended".into(),
                _ => format!("the actor that had it in hand failed, {failures} times in a row"),
            });
            return self.finish(0, Ending::GivenUp(reason), now);
        }
        if self.room == Some(turn.id) {
            return self.attempt();
        }
        turn.phase = Phase::Room;
        self.ask(Effect::TakeRoom(user));
    }

    /// The front refuses what is too much; what came before it knew waits here for its turn.
    pub(super) fn room(&mut self, there_is: bool, now: OffsetDateTime) {
        let Some(turn) = self.turns.front_mut().filter(|turn| matches!(turn.phase, Phase::Room)) else {
            // Nobody wants it any more.
            if there_is && self.room.is_none() {
                self.ask(Effect::LeaveRoom);
            }
            return;
        };
        if there_is {
            self.room = Some(turn.id);
            return self.attempt();
        }
        self.rest(0, Next::Begin, REST);
        let _ = now;
    }

    /// A repeated call is recorded before it is made, so that no crash can hide it. The turn's own row stands for the first.
    fn attempt(&mut self) {
        let Some(turn) = self.turns.front_mut() else { return };
        turn.attempts += 1;
        if turn.attempts == 1 {
            return self.call();
        }
        turn.phase = Phase::Recording;
        let record = Effect::RecordAttempt(turn.id, turn.attempts);
        self.ask(record);
    }

    pub(super) fn attempt_recorded(&mut self, id: TurnId, attempt: Attempt, now: OffsetDateTime) {
        let Some(turn) = self.turns.front_mut().filter(|turn| turn.id == id) else { return };
        if !matches!(turn.phase, Phase::Recording) {
            return;
        }
        if matches!(attempt, Attempt::Known) {
            turn.made = turn.attempts;
        }
        match attempt {
            Attempt::Fenced => self.ask(Effect::Abandon),
            Attempt::Recorded if !turn.cancelled && !self.deleted => self.call(),
            // The number was recorded before, and may have been called: take the next one. Or nobody wants it any more.
            Attempt::Recorded | Attempt::Known => self.begin(now),
        }
    }

    fn call(&mut self) {
        let (Some(turn), Stage::Ready(known)) = (self.turns.front_mut(), &self.stage) else { return };
        let Some((messages, left_out)) = known.window.messages_for(turn.id) else {
            return self.ask(Effect::Fail("the turn is not part of its conversation"));
        };
        turn.phase = Phase::Calling;
        let call = Call {
            turn: turn.id,
            user: known.user,
            attempt: turn.attempts,
            model: turn.model.clone(),
            settings: turn.settings.clone(),
            opening: turn.opening.clone(),
            messages,
            left_out,
            told: turn.told,
            waiter: turn.waiters.first().map(|waiter| waiter.ticket),
        };
        self.ask(Effect::Call(Box::new(call)));
    }

    pub(super) fn ended(&mut self, id: TurnId, ended: Ended, told: u64, now: OffsetDateTime) {
        let Some(place) = self.place_of(id) else { return };
        let turn = &mut self.turns[place];
        if !matches!(turn.phase, Phase::Calling | Phase::Stopping) {
            return;
        }
        turn.told = told.max(turn.told);
        if !matches!(ended, Ended::NotMade | Ended::Refused(_) | Ended::Waiting(..)) {
            turn.made = turn.attempts;
        }
        if turn.cancelled || self.deleted {
            return self.ended_unwanted(place, ended, now);
        }
        match ended {
            Ended::Completed(completion) => self.finish(place, Ending::Completed(completion), now),
            Ended::Failed(fault) => self.finish(place, Ending::Failed(fault), now),
            Ended::Passing(fault, wait) => {
                turn.waiting_since = None;
                let since = *turn.failing_since.get_or_insert(now);
                if turn.attempts >= limits::ATTEMPTS_MAX || now + wait > since + REPEATED_WITHIN {
                    return self.finish(place, Ending::Failed(fault), now);
                }
                self.rest(place, Next::Begin, wait);
            }
            Ended::Waiting(fault, wait) => {
                let since = *turn.waiting_since.get_or_insert(now);
                if now + wait > since + WAITS_WITHIN {
                    return self.finish(place, Ending::Failed(fault), now);
                }
                self.rest(place, Next::Call, wait);
            }
            Ended::Refused(fault) => self.finish(place, Ending::Failed(fault), now),
            Ended::NotMade => self.rest(place, Next::Call, REST),
            Ended::Died(reason) => {
                turn.failure = Some(reason);
                self.rest(place, Next::Begin, REST);
            }
            Ended::Stopped(_) => self.rest(place, Next::Begin, REST),
        }
    }

    /// A call ended for a turn that nobody wants any more.
    fn ended_unwanted(&mut self, place: usize, ended: Ended, now: OffsetDateTime) {
        let turn = &self.turns[place];
        let (id, attempt, cancelled) = (turn.id, turn.attempts, turn.cancelled);
        let said = match ended {
            Ended::Completed(completion) => {
                self.ask(Effect::NoteCall(id, attempt, Box::new(completion.report)));
                Some(completion.text)
            }
            Ended::Stopped(text) if !text.is_empty() => Some(text.into()),
            _ => None,
        };
        let ending = match cancelled {
            true => Ending::Cancelled(said),
            false => Ending::Failed(FaultCode::ConversationNotFound.into()),
        };
        self.finish(place, ending, now);
    }

    fn rest(&mut self, place: usize, next: Next, time: Duration) {
        if let Some(turn) = self.turns.get_mut(place) {
            turn.phase = Phase::Resting(next);
            let rest = Effect::Rest(turn.id, time);
            self.ask(rest);
        }
    }

    pub(super) fn rested(&mut self, id: TurnId, now: OffsetDateTime) {
        let Some(turn) = self.place_of(id).and_then(|place| self.turns.get_mut(place)) else { return };
        match std::mem::replace(&mut turn.phase, Phase::Waiting) {
            Phase::Resting(Next::Begin) => self.begin(now),
            Phase::Resting(Next::Call) if self.draining => {}
            Phase::Resting(Next::Call) => self.call(),
            Phase::Resting(Next::Write(outcome)) => {
                turn.phase = Phase::Writing(outcome.clone());
                self.ask(Effect::Write(outcome));
            }
            other => turn.phase = other,
        }
    }

    /// The user wants a turn no more. What is being stored already is not taken back: then it was too late.
    pub(super) fn cancel(&mut self, id: TurnId, now: OffsetDateTime) {
        let accepting = self.accepting.as_mut();
        if let Some(accepting) = accepting.filter(|accepting| accepting.arrival.turn == id) {
            accepting.cancelled = true;
        }
        let Some(place) = self.place_of(id) else { return };
        let turn = &mut self.turns[place];
        turn.cancelled = true;
        match turn.phase {
            Phase::Waiting | Phase::Room | Phase::Resting(Next::Begin | Next::Call) => {
                self.finish(place, Ending::Cancelled(None), now);
            }
            Phase::Calling => self.stop_call(place),
            // Looked at when it is recorded.
            Phase::Recording => {}
            Phase::Stopping | Phase::Resting(Next::Write(_)) | Phase::Writing(_) | Phase::Settling => {}
        }
    }

    /// Nobody may read the conversation any more: what runs is stopped, and what waits is ended without a call.
    pub(super) fn delete(&mut self, now: OffsetDateTime) {
        self.deleted = true;
        let Some(turn) = self.turns.front() else { return };
        match turn.phase {
            Phase::Calling => self.stop_call(0),
            Phase::Resting(Next::Begin | Next::Call) | Phase::Waiting => self.begin(now),
            _ => {}
        }
    }

    fn stop_call(&mut self, place: usize) {
        self.turns[place].phase = Phase::Stopping;
        self.ask(Effect::StopCall);
    }

    fn finish(&mut self, place: usize, ending: Ending, now: OffsetDateTime) {
        let Some(turn) = self.turns.get_mut(place) else { return };
        let outcome = Outcome {
            turn: turn.id,
            conversation: self.terms.id,
            ownership: self.terms.ownership,
            seq: turn.seq,
            user_message: turn.user_message,
            attempts: turn.made,
            ending,
            finished_at: now,
        };
        turn.phase = Phase::Writing(Box::new(outcome.clone()));
        self.ask(Effect::Write(Box::new(outcome)));
    }

    pub(super) fn recorded(&mut self, id: TurnId, result: Result<(), WriteError>, now: OffsetDateTime) {
        let Some(place) = self.place_of(id) else { return };
        let Phase::Writing(outcome) = &self.turns[place].phase else { return };
        let outcome = outcome.clone();
        if !matches!(result, Ok(()) | Err(WriteError::Overloaded)) {
            self.note_unstored(&outcome);
        }
        match result {
            Ok(()) => self.conclude(place, outcome.reply(), now),
            // Somebody has stored an outcome already: that one counts.
            Err(WriteError::Nothing) => {
                self.turns[place].phase = Phase::Settling;
                if let Stage::Ready(known) = &self.stage {
                    let user = known.user;
                    self.ask(Effect::Settle(id, user));
                }
            }
            Err(WriteError::Refused) => match outcome.ending {
                Ending::Completed(_) => {
                    self.finish(place, Ending::Failed(FaultCode::Internal.into()), now);
                }
                Ending::Cancelled(Some(_)) => self.finish(place, Ending::Cancelled(None), now),
                _ => self.ask(Effect::Fail("Postgres refuses to store how the turn ended")),
            },
            Err(WriteError::Overloaded) => self.rest(place, Next::Write(outcome), REST),
            Err(WriteError::Fenced) => self.ask(Effect::Abandon),
            Err(WriteError::Stopped) => self.ask(Effect::Stop("stopped")),
        }
    }

    /// The outcome that tells of the call is not stored, or may not be.
    fn note_unstored(&mut self, outcome: &Outcome) {
        if let Ending::Completed(completion) = &outcome.ending {
            let report = Box::new(completion.report.clone());
            self.ask(Effect::NoteCall(outcome.turn, outcome.attempts, report));
        }
    }

    pub(super) fn settled(
        &mut self,
        id: TurnId,
        outcome: Option<Result<Answer, Fault>>,
        now: OffsetDateTime,
    ) {
        let Some(place) = self.place_of(id) else { return };
        if matches!(self.turns[place].phase, Phase::Settling) {
            // Without one, the conversation was deleted meanwhile: nobody may read the outcome any more.
            let result = outcome.unwrap_or_else(|| Err(FaultCode::ConversationNotFound.into()));
            self.conclude(place, result, now);
        }
    }

    /// The outcome is stored: tell it to all who wait, take the turn off the queue, and go on.
    fn conclude(&mut self, place: usize, result: Result<Answer, Fault>, now: OffsetDateTime) {
        let Some(turn) = self.turns.remove(place) else { return };
        if self.room.take_if(|held| *held == turn.id).is_some() {
            self.ask(Effect::LeaveRoom);
        }
        for waiter in &turn.waiters {
            self.ask(Effect::Answer(waiter.ticket, Box::new(result.clone())));
        }
        if let Some(known) = self.known() {
            known.window.end(turn.id, result.as_ref().ok().map(|answer| answer.response.as_str().into()));
            let (user, id, seq) = (known.user, turn.id, turn.told + 1);
            self.ask(Effect::Tell(user, id, seq, Box::new(last_step(id, &result))));
            let ended = ConversationEvent::TurnEnded { turn_id: id, status: status(&result) };
            self.ask(Effect::TellConversation(user, Box::new(ended)));
        }
        let code = result.as_ref().err().map_or("ok", |fault| fault.code.as_str());
        self.ask(Effect::NoteEnded(Box::new(turn), code));
        if std::mem::take(&mut self.terms.failures) > 0 {
            self.ask(Effect::Recovered);
        }
        self.advance(now);
    }
}

/// Where a turn stands that has ended so.
fn status(result: &Result<Answer, Fault>) -> TurnStatus {
    match result {
        Ok(_) => TurnStatus::Completed,
        Err(fault) if fault.code == FaultCode::TurnCancelled => TurnStatus::Cancelled,
        Err(_) => TurnStatus::Failed,
    }
}
