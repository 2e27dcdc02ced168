//! How the machine's effects are carried out.

use std::{future::Future, sync::Arc, time::Instant};

use bus::ReplyTo;
use identity::Principal;
use ractor::{Actor, ActorProcessingErr};
use tokio::sync::oneshot;
use wire::{
    Answer, CallStatus, Fault, FaultCode, OperationInfo, TurnId, TurnKind, UserId,
    limit::{HISTORY_BYTES, HISTORY_MESSAGES},
    operations::{REGENERATE_TURN, SEND_MESSAGE},
};

use super::{
    Message, RETRY, State, Waiting,
    machine::{Call, Effect, Event, HeldTurn, Ticket},
    window::LeftOut,
};
use crate::{
    audience::{Audience, Inbox, Listener},
    generation::{self, Generation, Job, System},
    model::{CallMade, Opening},
    partition,
    resources::Resources,
    store::Bounds,
};

impl State {
    /// Carries out an effect. What is known at once is an event already; all else comes as a message later.
    pub(super) async fn carry_out_one(
        &mut self,
        effect: Effect,
    ) -> Result<Option<Event>, ActorProcessingErr> {
        match effect {
            Effect::TakeRoom(user) => return Ok(Some(self.take_room(user))),
            Effect::LeaveRoom => self.room = None,
            Effect::Call(call) => self.call(*call).await?,
            Effect::StopCall => drop(self.stop_call.take().map(|stop| stop.send(()))),
            Effect::Offer(turn) => {
                let myself = self.myself.clone();
                let done = move |result| {
                    drop(myself.cast(Message::Happened(Box::new(Event::Accepted(result)))));
                };
                self.resources.writer.accept(turn, Box::new(done));
            }
            Effect::Write(outcome) => {
                let (myself, turn) = (self.myself.clone(), outcome.turn);
                let done = move |result| {
                    drop(myself.cast(Message::Happened(Box::new(Event::Recorded(turn, result)))));
                };
                self.resources.writer.finish(outcome, Box::new(done));
            }
            Effect::Rest(turn, time) => {
                self.myself.send_after(time, move || Message::Happened(Box::new(Event::Rested(turn))));
            }
            Effect::NoteCall(turn, attempt, report) => self.note_call(turn, attempt, *report),
            Effect::Tell(user, turn, seq, event) => self.resources.bus.tell(user, turn, seq, &event).await,
            Effect::Answer(ticket, result) => self.answer(ticket, *result).await,
            Effect::TellConversation(user, event) => {
                self.resources.bus.tell_conversation(user, self.id, &event).await;
            }
            Effect::Attached(ticket, turn, before) => self.attached(ticket, turn, before).await,
            Effect::Replace(before, ticket) => self.replace(before, ticket),
            Effect::Recovered => self.tell_partition(partition::Message::Recovered(self.id)),
            Effect::AskToLeave => self.ask_to_leave(),
            Effect::Abandon => {
                tracing::warn!(conversation = %self.id, "leaving the conversation to the partition's later owner");
                self.tell_partition(partition::Message::Fenced);
                self.myself.stop(Some("fenced".into()));
            }
            Effect::Stop(reason) => self.myself.stop(Some(reason.into())),
            Effect::Fail(reason) => return Err(reason.into()),
            Effect::NoteAccepted(..)
            | Effect::NoteEnded(..)
            | Effect::NoteRedelivery
            | Effect::NoteResent => self.note(&effect),
            Effect::Load
            | Effect::LoadBranch(_)
            | Effect::Find(_)
            | Effect::RecordAttempt(..)
            | Effect::Settle(..) => self.look(effect),
        }
        Ok(None)
    }

    fn tell_partition(&self, message: partition::Message) {
        let _ = self.partition.cast(message);
    }

    fn take_room(&mut self, user: UserId) -> Event {
        self.room = self.resources.running.take(user).ok();
        Event::Room(self.room.is_some())
    }

    /// What asks Postgres, each in a task: its answer comes as an event, and what fails is asked again.
    fn look(&self, effect: Effect) {
        let (id, ownership) = (self.id, self.ownership);
        let config = &self.resources.config;
        let bounds =
            Bounds { messages_max: config.history_messages_max, bytes_max: config.history_bytes_max };
        match effect {
            Effect::LoadBranch(end) => self.spawn("load branch", effect, |it: Arc<Resources>| async move {
                it.store.load_path(id, end, bounds).await.map(Event::BranchLoaded)
            }),
            Effect::Find(ref turn) => {
                let turn = turn.clone();
                self.spawn("find turn", effect, |it: Arc<Resources>| async move {
                    it.store.look_up(&turn).await.map(Event::Found)
                });
            }
            Effect::RecordAttempt(turn, number) => {
                self.spawn("record attempt", effect, |it: Arc<Resources>| async move {
                    let recorded = it.store.record_attempt(ownership, turn, number, &it.worker).await?;
                    Ok(Event::AttemptRecorded(turn, recorded))
                });
            }
            Effect::Settle(turn, user) => {
                let owner = Principal::authorised_by_broker(user);
                self.spawn("find outcome", effect, |it: Arc<Resources>| async move {
                    let stored = it.store.find_turn(owner, turn).await?;
                    Ok(Event::Settled(turn, stored.and_then(|stored| stored.outcome)))
                });
            }
            _ => self.spawn("load conversation", Effect::Load, |it: Arc<Resources>| async move {
                it.store.load_history(id, bounds).await.map(Event::Loaded)
            }),
        }
    }

    fn spawn<F, Fut>(&self, name: &'static str, effect: Effect, ask: F)
    where
        F: FnOnce(Arc<Resources>) -> Fut,
        Fut: Future<Output = sqlx::Result<Event>> + Send + 'static,
    {
        let (myself, id) = (self.myself.clone(), self.id);
        let asked = ask(self.resources.clone());
        self.resources.drain.spawn(name, async move {
            match asked.await {
                // An actor that has stopped meanwhile needs no answer.
                Ok(event) => drop(myself.cast(Message::Happened(Box::new(event)))),
                Err(error) => {
                    tracing::warn!(conversation = %id, %error, asked = name, "Postgres did not answer; trying again");
                    myself.send_after(RETRY, move || Message::Again(Box::new(effect)));
                }
            }
        });
    }

    /// In a task of its own, that the conversation need not outlive: what fails here is asked of the provider later.
    fn note_call(&self, turn: TurnId, attempt: i16, report: llm::Report) {
        let resources = self.resources.clone();
        self.resources.drain.spawn("note call", async move {
            let call = CallMade { turn, attempt, status: CallStatus::Completed, fault: None, report };
            resources.record_call(&call).await;
        });
    }

    /// Has the model called.
    async fn call(&mut self, call: Call) -> Result<(), ActorProcessingErr> {
        match call.left_out {
            Some(LeftOut::ByMessages) => host::limit::hit(HISTORY_MESSAGES.name),
            Some(LeftOut::ByBytes) => host::limit::hit(HISTORY_BYTES.name),
            None => {}
        }
        let (stop, stopped) = oneshot::channel();
        self.stop_call = Some(stop);
        let waiting = call.waiter.and_then(|ticket| self.waiting.get(&ticket));
        let of_turn = self.waiting.values().filter(|waiting| waiting.turn == Some(call.turn));
        self.audience = Audience::new(of_turn.filter_map(Waiting::listener).collect());
        let job = Job {
            turn: call.turn,
            user: call.user,
            attempt: call.attempt,
            model: call.model,
            settings: call.settings,
            system: self.system(call.opening.as_ref()),
            messages: call.messages,
            traceparent: waiting.and_then(|waiting| waiting.context.traceparent.clone()),
            told: call.told,
            audience: self.audience.clone(),
            stop: stopped,
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

    /// Whoever sent a turn waits for it; who wants steps is told that it is accepted, and what happens to it.
    async fn attached(&mut self, ticket: Ticket, turn: TurnId, before: u32) {
        let Some(waiting) = self.waiting.get_mut(&ticket) else { return };
        waiting.turn = Some(turn);
        let listener = waiting.inbox.accepted(&self.resources.bus, turn, before).await;
        let runs = self.machine.calling().is_some_and(|calling| calling.id == turn);
        // A call that is only about to be made looks for its audience itself.
        if let Some(listener) = listener.filter(|_| runs) {
            self.audience.join(listener);
        }
    }

    /// Who has been told something by the one before is told the rest by the later one.
    fn replace(&mut self, before: Ticket, ticket: Ticket) {
        let Some(before) = self.waiting.remove(&before) else { return };
        if let Some(waiting) = self.waiting.get_mut(&ticket) {
            (waiting.inbox, waiting.turn) = (before.inbox, before.turn);
        }
    }

    /// Answers a delivery, and takes it off the queue.
    async fn answer(&mut self, ticket: Ticket, result: Result<Answer, Fault>) {
        let Some(waiting) = self.waiting.remove(&ticket) else { return };
        bus::observe(waiting.operation(), waiting.since, result.as_ref().err());
        let bus = &self.resources.bus;
        match (&waiting.inbox, result) {
            (Inbox::Satisfied, _) => {}
            (Inbox::Steps(listener), result) => {
                listener.end(bus, waiting.turn, result, &waiting.context).await;
            }
            (Inbox::Outcome(reply_to), Ok(answer)) if waiting.kind == TurnKind::Regenerate => {
                let (resources, reply_to) = (self.resources.clone(), reply_to.clone());
                let answered = async move { waiting.show_turn(&resources, &reply_to, &answer).await };
                self.resources.drain.spawn("show regenerated turn", answered);
                return;
            }
            (Inbox::Outcome(reply_to), Ok(answer)) => bus.reply(reply_to, &answer).await,
            (Inbox::Outcome(reply_to), Err(fault)) => {
                bus.reply_fault(reply_to, &fault, &waiting.context).await
            }
        }
        waiting.ack.done().await;
    }

    fn note(&mut self, effect: &Effect) {
        match effect {
            Effect::NoteAccepted(turn, queue_position) => {
                tracing::debug!(%turn, conversation = %self.id, queue_position, "accepted");
                metrics::counter!("omnichat_turns_accepted_total").increment(1);
            }
            Effect::NoteEnded(turn, code) => self.note_ended(turn, code),
            Effect::NoteRedelivery => metrics::counter!("omnichat_redeliveries_total").increment(1),
            _ => metrics::counter!("omnichat_replies_resent_total").increment(1),
        }
    }

    fn note_ended(&mut self, turn: &HeldTurn, code: &'static str) {
        self.idle_since = Instant::now();
        tracing::debug!(turn = %turn.id, conversation = %self.id, code, "finished");
        metrics::counter!("omnichat_turns_finished_total", "code" => code).increment(1);
        let seconds = (wire::now() - turn.since).as_seconds_f64();
        metrics::histogram!("omnichat_turn_seconds").record(seconds);
        if code == FaultCode::AttemptsExhausted.as_str() {
            metrics::counter!("omnichat_dead_letters_total").increment(1);
        }
    }
}

impl Waiting {
    const fn operation(&self) -> &'static OperationInfo {
        match self.kind {
            TurnKind::Regenerate => &REGENERATE_TURN.info,
            TurnKind::Send | TurnKind::Edit => &SEND_MESSAGE.info,
        }
    }

    /// Who is to be told steps.
    fn listener(&self) -> Option<Arc<Listener>> {
        match &self.inbox {
            Inbox::Steps(listener) => Some(listener.clone()),
            Inbox::Outcome(_) | Inbox::Satisfied => None,
        }
    }

    /// Who asked for another answer is shown the new turn, whole.
    async fn show_turn(self, resources: &Resources, reply_to: &ReplyTo, answer: &Answer) {
        let owner = Principal::authorised_by_broker(self.user);
        match resources.store.find_turn(owner, answer.turn_id).await {
            Ok(Some(turn)) => resources.bus.reply(reply_to, &turn.view).await,
            found => {
                let fault = match found {
                    Ok(_) => Fault::new(FaultCode::TurnNotFound),
                    Err(_) => Fault::new(FaultCode::Unavailable).of_turn(answer.turn_id),
                };
                resources.bus.reply_fault(reply_to, &fault, &self.context).await;
            }
        }
        self.ack.done().await;
    }
}
